"""Entry point: `python -m quorate_agent` or `quorate-agent`."""

import asyncio
import gc
import logging
import os
import sys
from typing import NoReturn

from quorate_agent.config import ConfigError, parse
from quorate_agent.logs import configure

_log = logging.getLogger("quorate_agent")


def main() -> NoReturn:
    """Run the agent; exit code 0 after a graceful end, 1 after an error, 2 for an unusable configuration."""
    configure()
    code = _main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # a thread that hangs in the driver would hold up an orderly end for ever


def _main() -> int:
    try:
        config = parse(sys.argv[1:], os.environ)
    except ConfigError as error:
        sys.stderr.write(f"quorate-agent: {error}\n")
        return 2
    from quorate_agent.compose import Running  # noqa: PLC0415 - a wrong flag should answer at once
    from quorate_agent.ports import SpoolError  # noqa: PLC0415

    async def run() -> None:
        await Running(config).run()

    gc.freeze()
    try:
        asyncio.run(run())
    except (SpoolError, OSError, ImportError, ValueError) as error:
        _log.critical("%s", error)
        return 1
    except BaseExceptionGroup as errors:
        _log.critical("a part of the agent failed", exc_info=errors)
        return 1
    return 0


if __name__ == "__main__":
    main()
