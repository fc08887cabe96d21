"""One JSON object per line: time, level, logger, message, and where known object and reason. Never a secret."""

import logging
import sys
from datetime import UTC, datetime

import orjson

from quorate.redaction import redact

_FIELDS = ("object", "reason", "chain", "entry", "term")


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        line |= {name: str(getattr(record, name)) for name in _FIELDS if getattr(record, name, None) is not None}
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return orjson.dumps(line).decode()


def configure(level: int = logging.INFO) -> None:
    """Send everything to standard error as JSON; chatty libraries from their warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("aiohttp.access", "asyncio", "kopf", "psycopg", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
