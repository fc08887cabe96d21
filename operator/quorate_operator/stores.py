"""The store as the operator uses it, and how it is opened: on Postgres, its meters shown as metrics."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from quorate_operator.config import Config
from quorate_operator.errors import OperatorError
from quorate_operator.http import metrics
from quorate_operator.store.ports import Content, Log, Term

if TYPE_CHECKING:
    from quorate_operator.store.drain import Backlog
    from quorate_operator.store.guards import Catalogue

_log = logging.getLogger(__name__)


class Store(Term, Protocol):
    """The store as the operator uses it: ports, the term, and whether it answers."""

    @property
    def log(self) -> Log:
        """Port `Log`."""
        ...

    @property
    def content(self) -> Content:
        """Port `Content`."""
        ...

    async def ping(self) -> bool:
        """Whether the database answers."""
        ...

    async def identity(self) -> Mapping[str, str]:
        """What tells this database from another: {systemIdentifier, timeline}; empty where it may not be read."""
        ...

    async def partitions_ahead(self) -> int | None:
        """How many partitions are ready behind the last entry, of the chain with the fewest; None in memory."""
        ...

    @property
    def catalogue(self) -> "Catalogue | None":
        """Port `Catalogue`; None where there is none, as in memory."""
        ...

    async def close(self) -> None:
        """Finish what is under way, then disconnect."""
        ...


OpenStore = Callable[[Config], Awaitable[Store]]


async def open_postgres(config: Config) -> Store:
    """The store on Postgres, its schema checked.

    Raises:
        Stalled, Transient: see `Database.open`.
    """
    from quorate_operator.store.intake import read_key  # noqa: PLC0415 - tests of the frame run without it
    from quorate_operator.store.log import PostgresStore  # noqa: PLC0415 - as above

    key = None
    try:
        key = read_key(config.log_keys)
    except OperatorError as error:
        _log.info(error.message, extra={"reason": error.reason})
    store = PostgresStore(config.dsn, intake_key=key)
    store.log.meter.appended = metrics.APPEND_SECONDS.observe
    store.log.meter.locked = metrics.LOCK_SECONDS.observe
    store.log.meter.retried = lambda reason: metrics.APPEND_RETRIES.labels(reason).inc()
    if store.drainer is not None:
        store.drainer.report = _show_intake
    try:
        await store.open()
    except BaseException:
        await store.close()
        raise
    return store


def _show_intake(backlog: "Mapping[str, Backlog]") -> None:
    now = time.time_ns() // 1000
    metrics.INTAKE_WAITING.set(sum(waiting.count for waiting in backlog.values()))
    metrics.INTAKE_AGE.set(max((waiting.age(now) for waiting in backlog.values()), default=0))
