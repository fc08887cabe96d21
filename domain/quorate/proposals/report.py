"""What a verification of evidence is given and what it found (trust.md, "Evidence and proof")."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from quorate.audit.verify import Verdict
from quorate.identity.statements import Statement
from quorate.proposals.bundle import Entry

APPLICABLE = frozenset({"Adopted", "EmergencyExecuted", "Reversed"})


class Check(StrEnum):
    """What a finding is about."""

    FORM = "form"
    REVISION = "revision"
    PROPOSAL = "proposal"
    ELECTORATE = "electorate"
    SIGNATURE = "signature"
    ENTRY = "entry"
    OUTCOME = "outcome"
    CONFLICT = "conflict"
    OWN_VOTE = "own vote"
    REPLAY = "replay"
    EXECUTION = "execution"
    PROOF = "proof"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, missing or worth an alarm, in one sentence."""

    check: Check
    message: str
    reason: str | None = None


@dataclass(frozen=True)
class Pinned:
    """What the verifier knows by itself.

    Args of note: `pins` and `accepted` are keyed `<meshId>/<domain>`: the digest of revision 1, and the digests of the
    revisions that a receiver accepted; `applied` are proposals that it executed; `evidence` holds bundles by digest,
    for revisions that a proposal authorised; `contract` are the bytes of base and result, to check the execution;
    `own` are votes and delegations that this member signed, `accepting` the proof bundles of their accepting entries.
    """

    pins: Mapping[str, str] = field(default_factory=dict)
    accepted: Mapping[str, Sequence[str]] = field(default_factory=dict)
    own: Sequence[Statement] = ()
    accepting: Sequence[bytes] = ()
    applied: Collection[str] = ()
    evidence: Mapping[str, bytes] = field(default_factory=dict)
    contract: tuple[bytes, bytes] | None = None


@dataclass
class Report:
    """What a verification found. `anchored`: every entry is proven under a signed checkpoint.

    `blocked`: why the change does not execute although it was adopted: a conflict that it did not win.
    """

    digest: str = ""
    proposal_digest: str = ""
    outcome: str | None = None
    reason: str | None = None
    anchored: bool = False
    blocked: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[Finding] = field(default_factory=list)
    missing: list[Finding] = field(default_factory=list)
    alarms: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """TAMPERED with a fault, CANNOT_TELL if something needed is missing, else INTACT only when anchored."""
        if self.faults:
            return Verdict.TAMPERED
        if self.missing or not self.proposal_digest:
            return Verdict.CANNOT_TELL
        return Verdict.INTACT if self.anchored else Verdict.UNANCHORED

    @property
    def applicable(self) -> bool:
        """Whether a receiver may apply the change: nothing is wrong or missing, and the outcome changes a contract."""
        return not self.faults and not self.missing and self.outcome in APPLICABLE and self.blocked is None

    def fault(self, check: Check, message: str, reason: str | None = None) -> None:
        """Note that something is wrong."""
        self.faults.append(Finding(check, message, reason))

    def subject(self, entry: Entry, key: str, events: Collection[str], about: str | None = None) -> None:
        """An entry must be of one of these types, about this subject and (where given) this digest."""
        name, payload = entry["entry_id"], entry["payload"]
        if entry["event_type"] not in events:
            self.fault(Check.ENTRY, f"entry {name} is {entry['event_type']}, expected {' or '.join(sorted(events))}")
        if payload["subject"]["key"] != key:
            self.fault(Check.ENTRY, f"entry {name} is about {payload['subject']['key']}, not about {key}")
        if about is not None and about not in payload.get("about", ()):
            self.fault(Check.ENTRY, f"entry {name} does not name {about} in payload.about")
