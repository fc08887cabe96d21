"""One JSON object per line: time, level, logger, message. Never a secret."""

import logging
import sys
from datetime import UTC, datetime

import orjson

from quorate.redaction import redact


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
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return orjson.dumps(line).decode()


def configure(level: int = logging.INFO) -> None:
    """Send everything to standard error; the HTTP client from its warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("httpx", "httpcore", "grpclib", "hpack", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
