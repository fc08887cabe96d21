"""The log as `prove` and `export` read it: through the store's own port, with a reader's rights."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from quorate_cli.output import CliError, UnreachableError
from quorate_operator.errors import OperatorError

if TYPE_CHECKING:
    from quorate_operator.store.log import PostgresLog, PostgresStore

T = TypeVar("T")


@asynccontextmanager
async def opened(dsn: str) -> "AsyncIterator[PostgresLog]":
    """The log of a database; its schema is checked."""
    async with opened_store(dsn) as store:
        yield store.log


@asynccontextmanager
async def opened_store(dsn: str) -> "AsyncIterator[PostgresStore]":
    """Log and content of a database; its schema is checked."""
    from quorate_operator.store.log import PostgresStore  # noqa: PLC0415 - psycopg is slow to import

    store = PostgresStore(dsn, connections=2)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def run(work: "Coroutine[None, None, T]") -> T:
    """Run to the end.

    Raises:
        UnreachableError: database or directory cannot be reached.
        CliError: anything else that the store refused.
    """
    try:
        return asyncio.run(work)
    except OperatorError as error:
        away = error.reason in ("DatabaseUnavailable", "FilesUnavailable")
        raise (UnreachableError if away else CliError)(error.message) from error
