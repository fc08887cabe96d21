"""Entry point: `python -m quorate_operator` or `quorate-operator`."""

import gc
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from quorate_operator import logs
from quorate_operator.config import ConfigError, parse
from quorate_operator.errors import OperatorError
from quorate_operator.kube.connection import KubeconfigError

if TYPE_CHECKING:
    from quorate_operator.reconcile.protocol import Reconciler

_log = logging.getLogger("quorate_operator")


def main() -> NoReturn:
    """Run the operator; exit code 0 after a graceful stop, 1 after an error, 2 for an unusable configuration."""
    logs.configure()
    sys.exit(_main())


def collect_rarely() -> None:
    """Look for cycles of garbage seldom: reference counts free nearly everything, and the view is large and long-lived.

    At the interpreter's own thresholds a tenth of an append's processor time goes into walking it.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _main() -> int:
    import uvloop  # noqa: PLC0415 - a wrong flag should answer at once

    from quorate_operator.app import Operator  # noqa: PLC0415
    from quorate_operator.stores import open_postgres  # noqa: PLC0415

    try:
        config = parse(sys.argv[1:], os.environ)
        collect_rarely()
        uvloop.run(Operator(config, os.environ, open_postgres, _reconcilers).run())
    except (ConfigError, KubeconfigError) as error:
        sys.stderr.write(f"quorate-operator: {error}\n")
        return 2
    except OperatorError as error:
        _log.critical(error.message, extra={"reason": error.reason})
        return 1
    except OSError as error:
        _log.critical("%s", error, extra={"reason": "OsError"})
        return 1
    return 0


def _reconcilers() -> "list[Reconciler[Any]]":
    from quorate_operator.reconcile.registry import reconcilers  # noqa: PLC0415 - imported while electing

    return reconcilers()


if __name__ == "__main__":
    main()
