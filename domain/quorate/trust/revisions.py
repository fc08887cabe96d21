"""Which revision of a TrustDomain is accepted, and by what authority (trust.md, "Revisions of a TrustDomain")."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quorate.api.conditions import Reason
from quorate.canonical import format_time, is_digest
from quorate.identity.statements import Statement, act_statement, without_nulls
from quorate.trust.domain import DomainHistory, DomainRevision, parse_domain
from quorate.trust.form import FormError

RECOVERY_MAY_CHANGE = frozenset({"revision", "previousDigest", "admins", "adminThreshold", "recovery", "signatures"})


class Authority(StrEnum):
    """What authorised a revision."""

    ADMINS = "Admins"
    PROPOSAL = "Proposal"
    RECOVERY = "Recovery"


@dataclass(frozen=True)
class Announcement:
    """An announced recovery: the fields of its statement, the second of its entry, and whether it was cancelled."""

    revision: int
    previous_digest: str
    result_digest: str
    announced: int
    cancelled: bool = False


@dataclass(frozen=True)
class Verdict:
    """What becomes of a candidate.

    `accepted`: append it to the chain; `unchanged`: it already is in the chain; else `reason` and `message` refuse it.
    `fork` marks a fully authorised rival of an accepted revision. `retry_at`: from then on the answer may differ.
    """

    reason: str
    message: str
    accepted: bool = False
    unchanged: bool = False
    fork: bool = False
    authority: Authority | None = None
    first_use: bool = False
    revision: DomainRevision | None = None
    retry_at: int | None = None


def signers(statement: Statement, signatures: Sequence[Mapping[str, Any]], keys: Mapping[str, bytes]) -> frozenset[str]:
    """Names of the distinct keys of a set with a valid signature; a name binds, so only that key is tried."""
    found: dict[bytes, str] = {}
    for item in signatures:
        key = keys.get(item["name"])
        if key is not None and key not in found and statement.verify(key, item["signature"]):
            found[key] = item["name"]
    return frozenset(found.values())


def check_revision(
    name: str,
    spec: Mapping[str, Any],
    history: DomainHistory | None,
    *,
    pin: str | None,
    now: int,
    authorised_digests: Collection[str] = (),
    announcements: Sequence[Announcement] = (),
) -> Verdict:
    """Decide about a candidate revision against the accepted chain (None: nothing accepted yet).

    Args:
        name: metadata.name of the TrustDomain.
        spec: the candidate.
        history: what the log holds for this name.
        pin: the configured digest of revision 1, if any; a chain that began otherwise takes nothing any more.
        now: Unix seconds; only recoveries depend on it.
        authorised_digests: results of executed Constitutional proposals.
        announcements: recoveries announced against this domain.
    """
    try:
        candidate = parse_domain(name, spec)
    except FormError as error:
        return Verdict(error.reason, str(error))
    if history is not None and pin not in (None, history.accepted[0].revision.digest):
        remembered = history.accepted[0].revision.digest
        message = f"the log holds revision 1 {remembered}, but {candidate.subject_key} is pinned to {pin}"
        return Verdict(Reason.PIN_MISMATCH, message)
    if history is not None and candidate.digest in {item.revision.digest for item in history.accepted}:
        return Verdict(Reason.ACCEPTED, "already accepted", unchanged=True, revision=candidate)
    refusal = _check_place(candidate, history, pin)
    if refusal is not None:
        return refusal
    verdict = _authorise(candidate, history, now, authorised_digests, announcements)
    if not verdict.accepted:
        return verdict
    if history is not None and candidate.revision <= history.latest.revision:
        message = (
            f"revision {candidate.revision} is authorised, but another one with this number was accepted before: "
            f"{history.accepted[candidate.revision - 1].revision.digest}"
        )
        return Verdict(Reason.FORK, message, fork=True, revision=candidate)
    return verdict


def _check_place(candidate: DomainRevision, history: DomainHistory | None, pin: str | None) -> Verdict | None:
    accepted = 0 if history is None else history.latest.revision
    number = candidate.revision
    if number > accepted + 1:
        return Verdict(
            Reason.MISSING_REVISION,
            f"spec.revision {number} cannot follow the accepted revision {accepted}: {accepted + 1} comes first",
        )
    if history is not None:
        latest = history.latest
        for field, value, wanted in (
            ("metadata.name", candidate.name, latest.name),
            ("spec.meshId", candidate.mesh_id, latest.mesh_id),
        ):
            if value != wanted:
                return Verdict(Reason.PREVIOUS_MISMATCH, f"{field} {value!r} must stay {wanted!r}")
    if number == 1:
        wanted_pin = history.accepted[0].revision.digest if history is not None else pin
        if wanted_pin is not None and candidate.digest != wanted_pin:
            message = f"revision 1 has digest {candidate.digest}, but {candidate.subject_key} is pinned to {wanted_pin}"
            return Verdict(Reason.PIN_MISMATCH, message)
        return None
    assert history is not None
    before = history.accepted[number - 2].revision.digest
    if candidate.previous_digest != before:
        message = (
            f"spec.previousDigest {candidate.previous_digest} is not the digest of revision {number - 1}, {before}"
        )
        return Verdict(Reason.PREVIOUS_MISMATCH, message)
    return None


def _authorise(
    candidate: DomainRevision,
    history: DomainHistory | None,
    now: int,
    authorised_digests: Collection[str],
    announcements: Sequence[Announcement],
) -> Verdict:
    signatures = candidate.spec.get("signatures") or ()
    if history is None or candidate.revision == 1:
        missing = _missing(candidate, candidate, signatures, "its own")
        if missing:
            return Verdict(Reason.UNAUTHORIZED, missing)
        return _accept(candidate, Authority.ADMINS, first_use=True)
    before = history.accepted[candidate.revision - 2].revision
    recovery = _by_recovery(candidate, before, history, now, announcements)
    if recovery is not None and recovery.accepted:
        return recovery
    by_proposal = candidate.digest in authorised_digests
    missing = None if by_proposal else _missing(candidate, before, signatures, f"revision {before.revision}'s")
    if missing is None and _admins_differ(before, candidate):
        missing = _missing(candidate, candidate, signatures, "the new")
    if missing is not None:
        return recovery or Verdict(Reason.UNAUTHORIZED, missing)
    return _accept(candidate, Authority.PROPOSAL if by_proposal else Authority.ADMINS)


def _accept(candidate: DomainRevision, authority: Authority, *, first_use: bool = False) -> Verdict:
    message = f"revision {candidate.revision} is authorised by {authority.lower()}"
    return Verdict(
        Reason.ACCEPTED, message, accepted=True, authority=authority, first_use=first_use, revision=candidate
    )


def _missing(
    candidate: DomainRevision, of: DomainRevision, signatures: Sequence[Mapping[str, Any]], whose: str
) -> str | None:
    good = signers(candidate.statement, signatures, of.admins)
    if len(good) >= of.admin_threshold:
        return None
    names = f" ({', '.join(sorted(good))})" if good else ""
    return (
        f"spec.signatures: {len(good)} of {whose} admins{names} signed this content, adminThreshold asks for "
        f"{of.admin_threshold}"
    )


def _admins_differ(before: DomainRevision, after: DomainRevision) -> bool:
    return set(before.admins.values()) != set(after.admins.values()) or before.admin_threshold != after.admin_threshold


def _by_recovery(
    candidate: DomainRevision,
    before: DomainRevision,
    history: DomainHistory,
    now: int,
    announcements: Sequence[Announcement],
) -> Verdict | None:
    """The verdict by an announced recovery; None where none was announced for this candidate."""
    mine = [
        item
        for item in announcements
        if item.result_digest == candidate.digest
        and item.revision == candidate.revision
        and item.previous_digest == candidate.previous_digest
        and not item.cancelled
    ]
    if not mine:
        return None
    good = signers(candidate.statement, candidate.spec.get("signatures") or (), before.recovery_keys)
    threshold = (before.spec.get("recovery") or {}).get("threshold")
    if threshold is None or len(good) < threshold:
        return Verdict(
            Reason.UNAUTHORIZED, f"spec.signatures: {len(good)} of the recovery keys signed, not {threshold}"
        )
    if _admins_went_on(before, candidate.revision, history):
        message = f"the recovery was cancelled: the admins signed the accepted revision {candidate.revision}"
        return Verdict(Reason.UNAUTHORIZED, message)
    changed = _changed_fields(before, candidate) - RECOVERY_MAY_CHANGE
    if changed:
        return Verdict(Reason.UNAUTHORIZED, f"a recovery may not change {', '.join(sorted(changed))}")
    start = max(min(item.announced for item in mine), history.recorded(before.revision))
    due = start + int(before.spec["recovery"]["delaySeconds"])
    if now < due:
        message = f"the announced recovery may be accepted from {format_time(due)} on"
        return Verdict(Reason.UNAUTHORIZED, message, retry_at=due)
    return _accept(candidate, Authority.RECOVERY)


def _admins_went_on(before: DomainRevision, number: int, history: DomainHistory) -> bool:
    """Whether revision `number` was accepted with the admins' signatures: that cancels what was announced."""
    if number > history.latest.revision:
        return False
    rival = history.accepted[number - 1].revision
    return len(signers(rival.statement, rival.spec.get("signatures") or (), before.admins)) >= before.admin_threshold


def _changed_fields(before: DomainRevision, after: DomainRevision) -> set[str]:
    old, new = without_nulls(before.spec), without_nulls(after.spec)
    return {name for name in {*old, *new} if old.get(name) != new.get(name)}


def announcement_verdict(
    statement: Statement, signatures: Sequence[Mapping[str, Any]], latest: DomainRevision
) -> str | None:
    """Why a recovery statement may not be announced against the latest revision; None if it may."""
    fields = statement.fields
    if latest.spec.get("recovery") is None:
        return "spec.recovery: the domain has no recovery set"
    if (fields.get("meshId"), fields.get("domain")) != (latest.mesh_id, latest.name):
        return f"meshId and domain {fields.get('meshId')}/{fields.get('domain')} must be {latest.subject_key}"
    if not is_digest(fields.get("resultDigest")):
        return f"resultDigest: {fields.get('resultDigest')!r} is not a digest"
    if fields.get("revision") != latest.revision + 1 or fields.get("previousDigest") != latest.digest:
        return f"a recovery replaces the latest revision, {latest.revision} with digest {latest.digest}"
    good = signers(statement, signatures, latest.recovery_keys)
    threshold = int(latest.spec["recovery"]["threshold"])
    if len(good) < threshold:
        return f"signatures: {len(good)} of the recovery keys signed the announcement, the threshold is {threshold}"
    return None


def cancellation_verdict(recovery: Statement, acts: Sequence[Mapping[str, Any]], latest: DomainRevision) -> str | None:
    """Why acts `CancelRecovery` do not cancel an announced recovery; None if adminThreshold admins signed them.

    Each act is {act, proposalDigest, by, keyName, at, signature}; its proposalDigest is the digest of the recovery
    statement, `by` = `keyName` = an admin's name, and a key counts once.
    """
    good: set[bytes] = set()
    for act in acts:
        key = latest.admins.get(act["by"])
        if key is None or act["keyName"] != act["by"]:
            continue
        if (act["act"], act["proposalDigest"]) != ("CancelRecovery", recovery.digest):
            continue
        if act_statement(latest.mesh_id, latest.name, act).verify(key, act["signature"]):
            good.add(key)
    if len(good) >= latest.admin_threshold:
        return None
    return (
        f"acts: {len(good)} of the admins cancelled {recovery.digest}, adminThreshold asks for {latest.admin_threshold}"
    )
