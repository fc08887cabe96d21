"""The last verification of a chain, as the operator keeps it and as an AuditCheckpoint shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import ConditionType, Observation, Reason, find_condition, observe
from quorate.audit.verify import Verdict
from quorate.canonical import format_time, parse_time
from quorate_operator.kube.resources import Obj


@dataclass(frozen=True)
class Verified:
    """The last verification of a chain; times are Unix seconds.

    `size` entries from the first on were found intact by `at`, all of them in one go by `full_at`. `generation` is that
    of the AuditCheckpoint whose demand for a full one was met last.
    """

    verdict: str
    message: str
    size: int = 0
    milliseconds: int = 0
    at: int | None = None
    full_at: int | None = None
    generation: int = 0


def read_result(obj: Obj) -> Verified:
    """The result that an AuditCheckpoint's status shows."""
    status = obj.get("status") or {}
    condition = find_condition(status, ConditionType.VERIFIED) or {}
    return Verified(
        status.get("result", ""),
        condition.get("message", ""),
        size=status.get("verifiedSize", 0),
        milliseconds=status.get("durationMilliseconds", 0),
        at=_second(status, "verifiedAt"),
        full_at=_second(status, "fullyVerifiedAt"),
        generation=status.get("verifiedGeneration", 0),
    )


def _second(status: Mapping[str, Any], name: str) -> int | None:
    return parse_time(status[name]) if status.get(name) else None


def fields_of(result: Verified | None) -> dict[str, Any]:
    """A result as fields of the status; None leaves what the process before wrote."""
    if result is None:
        return {}
    return {
        "result": result.verdict,
        "durationMilliseconds": result.milliseconds,
        "verifiedSize": result.size,
        "verifiedAt": None if result.at is None else format_time(result.at),
        "fullyVerifiedAt": None if result.full_at is None else format_time(result.full_at),
        "verifiedGeneration": result.generation,
    }


def condition_of(result: Verified | None) -> Observation:
    """Condition Verified: True if the last verification found no fault, Unknown without a result."""
    if result is None:
        return observe(ConditionType.VERIFIED, None, Reason.NOT_VERIFIED, "not verified yet")
    if result.verdict == Verdict.TAMPERED:
        return observe(ConditionType.VERIFIED, False, Reason.VERIFICATION_FAILED, result.message)
    if result.verdict == Verdict.CANNOT_TELL:
        return observe(ConditionType.VERIFIED, None, Reason.NOT_VERIFIED, result.message)
    return observe(ConditionType.VERIFIED, True, Reason.INTACT, result.message)
