"""What crosses a boundary, recorded: an entry whenever the verdict on it changes (docs/trust.md, "Boundaries").

The verdict itself is a function of what is recorded (`quorate.trust.boundary`); the entry makes it part of the domain's
history, beside condition and Event.
"""

from collections.abc import Mapping
from uuid import UUID

from quorate.api.attestation import AttestationType
from quorate.api.conditions import ConditionType, Observation, Reason, observe
from quorate.audit.entry import Draft, Tether
from quorate.canonical import digest_of, parse_time
from quorate.identity.statements import Statement
from quorate.trust.boundary import Verdict, has_boundary, required_types
from quorate.trust.domain import DomainHistory
from quorate.trust.record import AttestationRecord
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.domains import Constitution
from quorate_operator.reconcile.protocol import Context, Note
from quorate_operator.store.ports import Recorded

DENIED = "trust.boundary.denied"
QUARANTINED = "trust.boundary.quarantined"
WARNED = "trust.boundary.warned"
PASSED = "trust.boundary.passed"
EVENTS: Mapping[Reason, str] = {
    Reason.BOUNDARY_DENIED: DENIED,
    Reason.BOUNDARY_QUARANTINED: QUARANTINED,
    Reason.BOUNDARY_WARNED: WARNED,
    Reason.BOUNDARY_RELEASED: PASSED,
    Reason.BOUNDARY_MET: PASSED,
}


def attestation_topic(kind: str, chain: str) -> str:
    """The digest under which the attestations of one type and one domain are found, by the domain's chain."""
    return digest_of({"kind": str(kind), "domain": chain})


async def asked_about(context: Context, constitution: Constitution) -> tuple[Recorded, ...]:
    """Entries of the attestations that decide what may cross into a domain; none while it asks for nothing."""
    found: list[Recorded] = []
    for topic in asked_topics(constitution):
        found += await context.log.about(topic)
    return tuple(found)


def asked_topics(constitution: Constitution) -> list[str]:
    """Under which digests they are found."""
    return [attestation_topic(kind, constitution.chain) for kind in sorted(asked_kinds(constitution.history))]


class AskedRecords:
    """Attestations by the id of their entry: an entry never changes, so each signature is verified once."""

    def __init__(self) -> None:
        self._kept: dict[UUID, AttestationRecord] = {}

    def of(self, entry: Recorded) -> AttestationRecord:
        """The attestation that an entry accepted."""
        if entry.entry_id not in self._kept:
            statement, recorded = Statement("attestation", entry.detail["statement"]), entry.detail["recordedAt"]
            self._kept[entry.entry_id] = AttestationRecord(statement, entry.detail["signature"], parse_time(recorded))
        return self._kept[entry.entry_id]


def asked_kinds(history: DomainHistory) -> frozenset[str]:
    """Types of attestations whose arrival may change what crosses into a domain."""
    if not has_boundary(history):
        return frozenset()
    return frozenset({AttestationType.TRUST, AttestationType.BOUNDARY_CROSSING, *required_types(history)})


def crossing_subject(chain: str, digest: str) -> str:
    """Subject key of the entries about one crossing: what was signed, in the domain that it crosses into."""
    return digest_of({"kind": "Crossing", "domain": chain, "digest": digest})


def crossing_entry(
    obj: Obj,
    verdict: Verdict,
    last: Recorded | None,
    *,
    digest: str,
    from_domain: str,
    into: Constitution,
    about: tuple[str, ...],
    now: int,
) -> Draft | None:
    """The entry that the verdict needs; None where the last one says it, or nothing was ever in the way.

    Args:
        obj: The Vote or Attestation.
        verdict: The receiving domain's, now.
        last: The last entry about this crossing.
        digest: Of the signed statement.
        from_domain: Under which it was signed.
        into: The receiving domain.
        about: Digests besides its own under which the entry is found.
        now: Unix seconds.
    """
    event = EVENTS[verdict.reason]
    if (event == PASSED) if last is None else (last.event_type == event):
        return None
    meta = obj["metadata"]
    return Draft(
        crossing_subject(into.chain, digest),
        None if last is None else last.entry_id,
        event,
        {"kind": obj["kind"], "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
        Tether(into.latest.phase_id),
        now * 1_000_000,
        actor_id=str(obj["spec"].get("voter") or obj["spec"].get("attester")),
        question="boundary.judge",
        about=[digest, *about],
        detail=verdict.document(from_domain),
    )


def crossing_note(entry: Draft | None, verdict: Verdict) -> tuple[Note, ...]:
    """The Event of an entry: a warning unless what stood in the way is gone."""
    if entry is None:
        return ()
    return (Note("Normal" if entry.event_type == PASSED else "Warning", str(verdict.reason), verdict.message),)


def crossing_condition(verdict: Verdict | None) -> tuple[Observation, ...]:
    """WithinBoundary, where something is crossed and the receiving domain asks for something."""
    if verdict is None or (verdict.reason == Reason.BOUNDARY_MET and not verdict.minimum and not verdict.missing):
        return ()
    within = verdict.reason in (Reason.BOUNDARY_MET, Reason.BOUNDARY_RELEASED)
    return (observe(ConditionType.WITHIN_BOUNDARY, within, str(verdict.reason), verdict.message),)
