"""`python -m quorate_operator.verification`: a request on standard input, the report on standard output."""

import json
import os
import sys

from quorate_operator.errors import OperatorError
from quorate_operator.verification.request import EXIT, UNREACHABLE, parse_request
from quorate_operator.verification.run import verify_database


def main() -> int:
    """Run one verification; the DSN is in QUORATE_DSN, as command lines are visible to everybody on the machine."""
    requests, workers = parse_request(json.load(sys.stdin))
    try:
        report = verify_database(os.environ["QUORATE_DSN"], requests, workers=workers)
    except OperatorError as error:
        json.dump({"error": error.message}, sys.stdout)
        return UNREACHABLE
    json.dump(report.document(), sys.stdout)
    return EXIT[report.verdict]


if __name__ == "__main__":
    sys.exit(main())
