"""The few ways in which reconciling fails; the planner is the one adapter that maps them.

`Stalled` needs a human and is not retried until something changes; `Waiting` is retried after a known time;
`Transient` with exponential backoff and jitter; `Fatal` means that in-memory state can no longer be trusted, so the
process stops (architecture.md, How work flows). Messages reach conditions and logs: never put a secret into one.
"""


class OperatorError(Exception):
    """Base: a stable reason (CamelCase, the condition's reason) and a sentence for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Stalled(OperatorError):  # noqa: N818 - the design's own word
    """No retry can mend it: the object, or its cluster, must change first."""


class Waiting(OperatorError):  # noqa: N818 - the design's own word
    """Something else must happen first; looked at again after `retry_after` seconds or when it changes."""

    def __init__(self, reason: str, message: str, *, retry_after: float = 10.0) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class Transient(OperatorError):  # noqa: N818 - the design's own word
    """Expected to pass: retried with exponential backoff and jitter; `retry_after` is a lower bound in seconds."""

    def __init__(self, reason: str, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class Fatal(OperatorError):  # noqa: N818 - the design's own word
    """In-memory state can no longer be trusted: the process stops, and starting again heals it."""


class LostLeadership(Fatal):
    """Another leader holds the Lease or a later term: nothing more may be written."""

    def __init__(self, message: str) -> None:
        super().__init__("LostLeadership", message)


class Conflict(OperatorError):  # noqa: N818 - the API server's own word
    """HTTP 409: the object changed since it was gathered (or exists already); gather again."""

    def __init__(self, message: str) -> None:
        super().__init__("Conflict", message)
