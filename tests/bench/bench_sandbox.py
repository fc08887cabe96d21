"""A full sandbox, binaries cached: from the call until the operator is ready."""

import os
import time
from collections.abc import Iterator

from quorate_cli.sandbox.instance import Sandbox
from tests.bench.figure import Figure


def run() -> Iterator[Figure]:
    """Full sandbox up, against etcd, API server and Postgres alone."""
    bare, full = _seconds(bare=True), _seconds(bare=False)
    yield Figure("full sandbox up, binaries cached", full, "s", "etcd, API server and Postgres only", bare, 10.0)


def _seconds(*, bare: bool) -> float:
    begun = time.perf_counter()
    with Sandbox.up(f"bench-up-{os.getpid()}", bare=bare):
        return time.perf_counter() - begun
