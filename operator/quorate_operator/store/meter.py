"""What the store tells of its appends, for metrics and benchmarks."""

from collections.abc import Callable
from dataclasses import dataclass


def _nothing(_: object) -> None:
    pass


@dataclass
class Meter:
    """Called as it happens: `appended` with the seconds from an append's call until it is durable.

    `locked` with the seconds that a transaction waited for term and head, `retried` with the reason why a batch is done
    again.
    """

    appended: Callable[[float], None] = _nothing
    locked: Callable[[float], None] = _nothing
    retried: Callable[[str], None] = _nothing
