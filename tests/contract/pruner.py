"""A process that is killed while it prunes: `python -m tests.contract.pruner DSN PLACE NUMBER STEP`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.contract.archiving import CHAIN, RULES, keeping


async def _main(dsn: str, place: Path, number: int, step: str) -> None:
    def reached(now: str) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGKILL)

    async with keeping(dsn, place, reached=reached) as pruner:
        await pruner.prune(CHAIN, number, RULES)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
