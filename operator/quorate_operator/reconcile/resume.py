"""Attestation of type Resume: what it is worth (audit.md, 9). Its record is the entry with which the chain goes on.

The chain is stopped, so nothing about it can be recorded now; enough of them are acted on by `resumptions`.
"""

from collections.abc import Sequence

from quorate.api.conditions import ConditionType, Reason, observe
from quorate.audit.quarantine import Quarantine, needs_finding
from quorate.canonical import parse_time
from quorate.trust.attestations import Judged, check_attestation_form
from quorate.trust.form import FormError
from quorate.trust.resumption import judge_resume
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.domains import Constitution
from quorate_operator.reconcile.protocol import Plan


def decide_resume(obj: Obj, constitution: Constitution, quarantines: Sequence[Quarantine], now: int) -> Plan:
    """Accepted while its quarantine is open, Resumed once the chain went on, else why it is worth nothing."""
    judged = _judge(obj, constitution, quarantines)
    good = judged.reason in (Reason.ACCEPTED, Reason.RESUMED)
    observations = [observe(ConditionType.READY, good, judged.reason, judged.message)]
    if not good:
        observations.append(observe(ConditionType.STALLED, True, judged.reason, judged.message))
    fields = {} if judged.statement is None else {"digest": judged.statement.digest}
    return Plan(status=status_with(obj, fields, observations, now=now))


def _judge(obj: Obj, constitution: Constitution, quarantines: Sequence[Quarantine]) -> Judged:
    spec = obj["spec"]
    try:
        check_attestation_form(spec)
    except FormError as error:
        return Judged(error.reason, str(error))
    number = spec["statement"]["quarantine"]
    ended = next((item for item in quarantines if item.number == number and item.resumed_at is not None), None)
    if ended is not None:
        return Judged(Reason.RESUMED, f"chain {constitution.chain} goes on in epoch {ended.epoch + 1}")
    standing = next((item for item in quarantines if item.resumed_at is None), None)
    if standing is None:
        return Judged(Reason.NOT_QUARANTINED, f"chain {constitution.chain} has no open quarantine")
    judged = judge_resume(
        constitution.latest,
        spec,
        standing,
        recorded=parse_time(obj["metadata"]["creationTimestamp"]),
        finding_needed=needs_finding(standing, quarantines),
    )
    if not judged.accepted:
        return judged
    message = "signed; the chain goes on once two Vote keys of different names signed the same and it verifies"
    return Judged(judged.reason, message, judged.statement)
