"""Condition types, reasons and the condition list of a status, shared by operator, metrics, CLI and docs.

A reason is API: one stable word. The message beside it is the sentence for people.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quorate.canonical import format_time

MAX_MESSAGE = 8192
"""Characters of a condition's message, which `observe` keeps; Kubernetes takes 32768."""
MAX_NAMED = 5


class ConditionType(StrEnum):
    """What a condition observes."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    AUTHORIZED = "Authorized"
    FORKED = "Forked"
    IDENTITY_VERIFIED = "IdentityVerified"
    HEARTBEATING = "Heartbeating"
    NARROWED = "Narrowed"
    ACCEPTED = "Accepted"
    SPEC_ACCEPTED = "SpecAccepted"
    SUCCEEDED = "Succeeded"
    COUNTED = "Counted"
    WITHIN_BOUNDARY = "WithinBoundary"
    DRIFTED = "Drifted"
    OVERRIDDEN = "Overridden"
    ARCHIVED = "Archived"
    VERIFIED = "Verified"
    GUARDED = "Guarded"
    RESOLVED = "Resolved"
    DISTRIBUTED = "Distributed"
    OVERLAPS = "Overlaps"


class Truth(StrEnum):
    """The status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Every reason that a condition, an Event, an entry or an outcome can give."""

    # Any kind.
    READY = "Ready"
    ACCEPTED = "Accepted"
    NOT_IMPLEMENTED = "NotImplemented"
    INVALID = "Invalid"
    WAITING = "Waiting"
    PROGRESSING = "Progressing"
    LOG_UNAVAILABLE = "LogUnavailable"
    LOG_BEHIND = "LogBehind"
    NOT_HOME_HUB = "NotHomeHub"
    NO_ACCEPTED_REVISION = "NoAcceptedRevision"
    NAMESPACE_MISSING = "NamespaceMissing"
    TOO_LARGE = "TooLarge"
    BAD_SIGNATURE = "BadSignature"
    UNKNOWN_KEY = "UnknownKey"
    REPLAYED = "Replayed"
    RETAINED = "Retained"
    CHAIN_QUARANTINED = "ChainQuarantined"
    # AuditCheckpoint, and the resumption of a chain: docs/quarantine.md.
    INTACT = "Intact"
    NOT_VERIFIED = "NotVerified"
    VERIFICATION_FAILED = "VerificationFailed"
    WITNESSES_MISSING = "WitnessesMissing"
    DDL_GUARD = "DdlGuard"
    NO_DDL_GUARD = "NoDdlGuard"
    CATALOGUE_CHANGED = "CatalogueChanged"
    FINDING_MISSING = "FindingMissing"
    NOT_QUARANTINED = "NotQuarantined"
    RESUMED = "Resumed"
    # TrustDomain: trust.md, "Revisions of a TrustDomain".
    AUTHORIZED = "Authorized"
    FIRST_USE = "FirstUse"
    PIN_MISMATCH = "PinMismatch"
    MISSING_REVISION = "MissingRevision"
    PREVIOUS_MISMATCH = "PreviousMismatch"
    UNAUTHORIZED = "Unauthorized"
    FORK = "Fork"
    DUPLICATE_KEY = "DuplicateKey"
    RECOVERY_ANNOUNCED = "RecoveryAnnounced"
    RECOVERY_CANCELLED = "RecoveryCancelled"
    # MeshNode.
    VERIFIED = "Verified"
    NOT_A_MEMBER = "NotAMember"
    NO_CHALLENGE = "NoChallenge"
    NO_HEARTBEAT = "NoHeartbeat"
    STALE_CHALLENGE = "StaleChallenge"
    HEARTBEATING = "Heartbeating"
    SILENT = "Silent"
    SUSPENDED = "Suspended"
    NO_DOMAIN = "NoDomain"
    PRIVILEGES_NARROWED = "PrivilegesNarrowed"
    PRIVILEGES_OF_ROLE = "PrivilegesOfRole"
    # DynamicContract.
    IN_FORCE = "InForce"
    UNKNOWN_GENESIS = "UnknownGenesis"
    UNKNOWN_DOMAIN = "UnknownDomain"
    DRIFTED = "Drifted"
    NOT_DRIFTED = "NotDrifted"
    RESTORED = "Restored"
    OVERRIDDEN = "Overridden"
    NOT_OVERRIDDEN = "NotOverridden"
    OVERRIDE_NOT_PERMITTED = "OverrideNotPermitted"
    OVERRIDE_STALE = "OverrideStale"
    # A contract's gate and versions: docs/contracts.md.
    GRANTED = "Granted"
    NOT_GRANTED = "NotGranted"
    NO_SURFACE = "NoSurface"
    VERSION_UNSUPPORTED = "VersionUnsupported"
    NOT_IN_FORCE = "NotInForce"
    ROLLBACK = "Rollback"
    # GovernanceProposal: refusal of an opening.
    INVALID_DOMAINS = "InvalidDomains"
    PROPOSER_NOT_ALLOWED = "ProposerNotAllowed"
    TYPE_NOT_ALLOWED = "TypeNotAllowed"
    TOO_MANY_OPEN = "TooManyOpen"
    UNKNOWN_TARGET = "UnknownTarget"
    NO_SUCH_CLAUSE = "NoSuchClause"
    PATCH_FAILED = "PatchFailed"
    INVALID_RESULT = "InvalidResult"
    STALE_BASE = "StaleBase"
    ALREADY_DECIDED = "AlreadyDecided"
    # GovernanceProposal: life.
    DRAFT = "Draft"
    OPEN = "Open"
    VOTING = "Voting"
    SUPERSEDED = "Superseded"
    WITHDRAWN = "Withdrawn"
    STOPPED = "Stopped"
    AMENDMENT_TOO_LATE = "AmendmentTooLate"
    TOO_MANY_AMENDMENTS = "TooManyAmendments"
    NOT_SIGNED = "NotSigned"
    SPEC_CHANGED = "SpecChanged"
    AWAITING_REVISION = "AwaitingRevision"
    TIMELOCK = "Timelock"
    WINDOW_CLOSED = "WindowClosed"
    CONFLICT = "Conflict"
    EXECUTED = "Executed"
    FAILED = "Failed"
    REJECTED = "Rejected"
    EXPIRED = "Expired"
    ADOPTED = "Adopted"
    EMERGENCY_EXECUTED = "EmergencyExecuted"
    RATIFIED = "Ratified"
    REVERSED = "Reversed"
    # PolicyConflict, and what its outcome means for a proposal: docs/conflicts.md.
    ARBITRATION = "Arbitration"
    ESCALATED = "Escalated"
    NOT_RAISED = "NotRaised"
    UNKNOWN_PARTY = "UnknownParty"
    TOO_MANY_CONFLICTS = "TooManyConflicts"
    TOO_FEW_ARBITRATORS = "TooFewArbitrators"
    TIE = "Tie"
    PLURALITY = "Plurality"
    UNRESOLVED = "Unresolved"
    RESOLVED = "Resolved"
    CONFLICT_LOST = "ConflictLost"
    COMPROMISE = "Compromise"
    # Outcome of a tally: governance.md, "Tally".
    PASSED = "Passed"
    EARLY = "Early"
    CONFIRMED = "Confirmed"
    NO_OBJECTION = "NoObjection"
    OBJECTION = "Objection"
    ZERO_WEIGHT = "ZeroWeight"
    QUORUM_NOT_REACHED = "QuorumNotReached"
    NOT_CONFIRMED = "NotConfirmed"
    NOT_ENDORSED = "NotEndorsed"
    VETOED = "Vetoed"
    NO_DECISIVE_VOTE = "NoDecisiveVote"
    THRESHOLD_NOT_REACHED = "ThresholdNotReached"
    REVOKED_DURING_VOTE = "RevokedDuringVote"
    # Vote and Attestation, in the order of governance.md, "Reasons of a vote".
    OTHER_PROPOSAL = "OtherProposal"
    UNKNOWN_CHOICE = "UnknownChoice"
    NOT_IN_ELECTORATE = "NotInElectorate"
    TOO_LATE = "TooLate"
    FROM_THE_FUTURE = "FromTheFuture"
    VETO_NOT_ALLOWED = "VetoNotAllowed"
    KEY_EXPIRED = "KeyExpired"
    KEY_REVOKED = "KeyRevoked"
    EQUIVOCATION = "Equivocation"
    DUPLICATE = "Duplicate"
    OVERTAKEN = "Overtaken"
    RETRACTED = "Retracted"
    KEYS_DISAGREE = "KeysDisagree"
    OUTVOTED = "Outvoted"
    COUNTED = "Counted"
    UNKNOWN_PROPOSAL = "UnknownProposal"
    NOT_ACCEPTED = "NotAccepted"
    # What crosses from one domain into another: docs/trust.md, "Boundaries".
    BOUNDARY_MET = "BoundaryMet"
    BOUNDARY_RELEASED = "BoundaryReleased"
    BOUNDARY_WARNED = "BoundaryWarned"
    BOUNDARY_QUARANTINED = "BoundaryQuarantined"
    BOUNDARY_DENIED = "BoundaryDenied"
    # MissionPolicy: docs/missions-distribution.md.
    DISTRIBUTED = "Distributed"
    CONTRADICTION = "Contradiction"
    OVERRULED = "Overruled"
    OVERRULES = "Overrules"
    NO_MACHINE_KEY = "NoMachineKey"
    NO_AGENT = "NoAgent"
    AGENT_OBSERVES = "AgentObserves"
    # Events: docs/notifications.md.
    VOTE_NEEDED = "VoteNeeded"
    NOTIFICATION_FAILED = "NotificationFailed"
    # Exported documents: api.md.
    NO_CLAUSE_TARGET = "NoClauseTarget"


@dataclass(frozen=True)
class Observation:
    """A condition before it has a time: what a decision returns."""

    type: str
    status: str
    reason: str
    message: str


def observe(condition: ConditionType, status: bool | None, reason: str, message: str) -> Observation:
    """An observation; `status` None is Unknown. A message over 8192 characters is cut, with an ellipsis."""
    truth = Truth.UNKNOWN if status is None else Truth.TRUE if status else Truth.FALSE
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 1] + "…"
    return Observation(condition, truth, reason, message)


def some_of(names: Sequence[str], total: int | None = None) -> str:
    """The first names of a list in a sentence, then how many more there are; `total` where `names` is not all of it."""
    more = (len(names) if total is None else total) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" … and {more} more" if more > 0 else "")


def not_implemented(kind: str) -> tuple[Observation, ...]:
    """What a kind says whose reconciliation does not exist yet: Ready=False, Stalled=True (api.md, "Conventions")."""
    message = f"{kind} is stored, but nothing acts on it in this version"
    return (
        observe(ConditionType.READY, False, Reason.NOT_IMPLEMENTED, message),
        observe(ConditionType.STALLED, True, Reason.NOT_IMPLEMENTED, message),
    )


def merge_conditions(
    current: Iterable[Mapping[str, Any]] | None,
    observations: Iterable[Observation],
    *,
    generation: int,
    now: int,
    remove: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """The condition list of a status after `observations`, as metav1.Condition.

    `lastTransitionTime` becomes `now` (Unix seconds) only where the status differs from the current one. Conditions
    that are not observed stay, except the types in `remove`; the order of first appearance is kept, so that an
    unchanged observation gives an unchanged list.
    """
    gone = set(remove)
    merged = {entry["type"]: dict(entry) for entry in current or () if entry["type"] not in gone}
    for observation in observations:
        before = merged.get(observation.type)
        flipped = before is None or before.get("status") != str(observation.status)
        merged[str(observation.type)] = {
            "type": str(observation.type),
            "status": str(observation.status),
            "observedGeneration": generation,
            "lastTransitionTime": format_time(now) if before is None or flipped else before["lastTransitionTime"],
            "reason": str(observation.reason),
            "message": observation.message,
        }
    return list(merged.values())


def find_condition(status: Mapping[str, Any] | None, condition: str) -> Mapping[str, Any] | None:
    """The condition of this type in a status, None where it is not set."""
    for entry in (status or {}).get("conditions") or ():
        if entry.get("type") == condition:
            return dict(entry)
    return None


def is_true(status: Mapping[str, Any] | None, condition: str) -> bool:
    """Whether the condition of this type is True."""
    entry = find_condition(status, condition)
    return entry is not None and entry.get("status") == Truth.TRUE
