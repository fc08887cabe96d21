"""Members m0 … m9 of one domain (and those of its parent), a conflict between two proposals, and votes on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quorate.api.policy_conflict import Level, Severity
from quorate.canonical import format_time
from quorate.conflicts.arbitration import Arbitration
from quorate.conflicts.arbitrators import Seat, seats
from quorate.conflicts.detect import Candidate
from quorate.conflicts.document import Conflict
from quorate.identity.statements import proposal_statement, vote_statement
from quorate.proposals.votes import Ballot
from quorate.trust.domain import DomainHistory
from tests.unit.proposals.fleet import MESH, OPENED, PERIOD, STANDARD, constitution, history, member, node, seed

NAMES = tuple(f"m{number}" for number in range(10))
BY_NODE = {node(name): name for name in (*NAMES, *(f"p{number}" for number in range(6)))}


def candidate(
    name: str, decided: int = 100, lock: int = 50, *, proposer: str = "m0", text: str = "x", **more: Any
) -> Candidate:
    """An adopted proposal on clause 1 of contract `rules`."""
    spec = {
        "trustDomain": "fleet",
        "proposer": node(proposer),
        "keyName": "main",
        "type": "Standard",
        "target": {"kind": "DynamicContract", "name": "rules", "clause": "1"},
        "change": {
            "baseDigest": "sha256:" + "0" * 64,
            "patch": [{"op": "replace", "path": "/text", "value": text}],
        },
        "revision": 1,
        **more,
    }
    return Candidate(proposal_statement(MESH, "default", name, spec), decided, decided + lock)


@dataclass
class Arena:
    """The conflict of proposals `a` and `b`; votes are recorded in seconds after its opening."""

    members: Sequence[Mapping[str, Any]] = field(default_factory=lambda: [member(name) for name in NAMES])
    parent: Sequence[Mapping[str, Any]] | None = None
    severity: Severity = Severity.LOW
    excluded: frozenset[str] = frozenset()
    revised: Sequence[tuple[int, Sequence[Mapping[str, Any]]]] = ()
    known_parent: bool = True
    ballots: list[Ballot] = field(default_factory=list)

    @property
    def conflict(self) -> Conflict:
        """Its parties by ascending digest."""
        first, second = sorted((candidate("a"), candidate("b", proposer="m1")), key=lambda item: item.digest)
        return Conflict(MESH, "fleet", (first.party, second.party))

    @property
    def histories(self) -> dict[str, DomainHistory]:
        """The domain, and its parent where there is one and it is known."""
        more: dict[str, Any] = {} if self.parent is None else {"parent": "above"}
        specs = [(0, constitution(self.members, {"Standard": STANDARD}, **more))]
        for number, (recorded, members) in enumerate(self.revised, 2):
            specs.append((OPENED + recorded, constitution(members, {"Standard": STANDARD}, revision=number, **more)))
        found = {"fleet": history(*specs)}
        if self.parent is not None and self.known_parent:
            found["above"] = history((0, constitution(self.parent, {"Standard": STANDARD})), name="above")
        return found

    def case(self) -> Arbitration:
        """What is recorded."""
        return Arbitration(self.conflict, OPENED, self.severity, self.excluded, self.histories, tuple(self.ballots))

    def bench(self, level: Level = Level.DOMAIN) -> tuple[Seat, ...]:
        """Who sits at a level."""
        case = self.case()
        return seats(
            level, self.conflict.digest, self.severity, case.lineage, excluded=self.excluded, second=OPENED
        ) or ()  # fmt: skip

    def vote(self, seat: Seat, choice: str, at: int = 10, *, level: Level = Level.DOMAIN, **more: Any) -> Ballot:
        """Record a vote of an arbitrator."""
        spec: dict[str, Any] = {
            "proposal": {"namespace": "default", "name": self.conflict.name, "digest": self.conflict.digest},
            "revision": level.revision,
            "voter": seat.node_id,
            "keyName": "main",
            "domain": seat.domain,
            "choice": choice,
            "sequence": 1,
            "castAt": format_time(OPENED + at),
            **more,
        }
        name = BY_NODE[seat.node_id]
        spec["signature"] = vote_statement(MESH, spec).sign(seed(f"{name}.main"))
        ballot = Ballot.of(MESH, spec, OPENED + at)
        self.ballots.append(ballot)
        return ballot

    def cast(self, pattern: str, at: int = 10, *, level: Level = Level.DOMAIN) -> "Arena":
        """The arbitrators of a level in their order: A, B, C (Compromise), `-` not at all."""
        words = {"A": "PartyA", "B": "PartyB", "C": "Compromise"}
        for seat, letter in zip(self.bench(level), pattern, strict=False):
            if letter != "-":
                self.vote(seat, words[letter], at, level=level)
        return self


END = OPENED + PERIOD
"""The second at which the first level ends."""
