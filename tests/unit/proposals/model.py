"""A small reference model of one domain and its proposals, and a desk that drives the real code beside it.

The model knows what people did and when, and reads governance.md naively (`oracle`); it shares no code with what it
checks. The desk signs, judges and decides with the code of `quorate.proposals`, as the operator does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quorate.api.governance_proposal import Phase
from quorate.canonical import format_time, parse_time
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import (
    act_statement,
    attestation_statement,
    proposal_statement,
    vote_statement,
)
from quorate.proposals.acts import ActRecord
from quorate.proposals.amendment import OpenRevision, Standing, judge_act, judge_spec
from quorate.proposals.decision import Case, Progress, decide
from quorate.proposals.delegation import DelegationRecord
from quorate.proposals.lifecycle import EventType, Life, Step, Timing, derive
from quorate.proposals.opening import Opening, check_opening
from quorate.proposals.votes import Ballot, vote_key
from quorate.trust.domain import DomainHistory
from tests.unit.proposals.fleet import MESH, constitution, history, member, node, seed
from tests.unit.proposals.oracle import Oracle, Said

NAMES = ("m0", "m1", "m2", "m3", "m4")
ADMINS = ("ada", "bob")
WEIGHTS = (3, 2, 2, 1, 1)
PERIOD, RATIFICATION = 10, 6
VOTING: dict[str, dict[str, Any]] = {
    "Standard": {
        "quorumBasisPoints": 5000,
        "thresholdBasisPoints": 5000,
        "vetoBasisPoints": 3333,
        "allowVeto": ["ComplianceWitness"],
        "minimumVoters": 2,
        "votingPeriodSeconds": PERIOD,
    },
    "Constitutional": {
        "quorumBasisPoints": 6000,
        "quorumBasis": "Approve",
        "thresholdBasisPoints": 6666,
        "votingPeriodSeconds": PERIOD,
        "earlyDecision": True,
    },
    "Expedited": {
        "quorumBasisPoints": 5000,
        "thresholdBasisPoints": 6667,
        "votingPeriodSeconds": 5,
        "earlyDecision": True,
    },
    "Optimistic": {"votingPeriodSeconds": PERIOD, "objectionBasisPoints": 3000},
    "Emergency": {"votingPeriodSeconds": PERIOD, "ratificationSeconds": RATIFICATION},
}


def members_with(keys: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """m0 … m4; `keys` counts how often each key was replaced. m3 needs two keys, m4 is a witness."""
    found = []
    for name, weight in zip(NAMES, WEIGHTS, strict=True):
        item = member(name, weight, keys=("main", "second"))
        for key in item["keys"]:
            key["publicKey"] = member(name, keys=(f"{key['name']}{keys.get((name, key['name']), 0)}",))["keys"][0][
                "publicKey"
            ]
        if name == "m3":
            item["voteThreshold"] = 2
        if name == "m4":
            item["role"] = "ComplianceWitness"
        found.append(item)
    return found


@dataclass
class Facts:
    """What was done to one proposal revision, as the model remembers it."""

    kind: str
    opened: int
    digest: str
    amendments: int = 0
    votes: list[Said] = field(default_factory=list)
    endorsed: dict[str, int] = field(default_factory=dict)
    stops: dict[str, int] = field(default_factory=dict)
    withdrawn: int | None = None
    superseded: int | None = None
    executed: int | None = None


@dataclass
class Model:
    """The reference: revisions, delegations and the open proposal."""

    revisions: list[tuple[int, dict[str, Any]]]
    delegations: list[Said] = field(default_factory=list)
    facts: Facts | None = None
    _phases: dict[Any, Any] = field(default_factory=dict)

    def replaced(self, now: int, keys: set[tuple[str, str]]) -> None:
        """A revision recorded at a second is in force at it: what the old keys signed in that second is not good."""

        def good(said: Said) -> bool:
            return said.recorded < now or (said.who, str(said.fields["keyName"])) not in keys

        self.delegations = [said for said in self.delegations if good(said)]
        self._phases.clear()
        if self.facts is not None:
            self.facts.votes = [said for said in self.facts.votes if good(said)]
            if self.facts.withdrawn == now and (node("m0"), "main") in keys:
                self.facts.withdrawn = None

    def oracle(self, opened: int) -> Oracle:
        """The naive reading of the open proposal's vote."""
        assert self.facts is not None
        return Oracle(self.revisions, self.facts.votes, self.delegations, self.facts.kind, opened)

    def decision(self, now: int) -> tuple[str, str, int] | None:
        """(outcome, reason, T) once it may be taken."""
        found = self.verdict(now)
        return found if found[2] + 2 <= now else None

    def closes(self, now: int) -> int:
        """The last second at which an amendment or a withdrawal is in time."""
        assert self.facts is not None
        return min(self.verdict(now)[2], self._votes(self.facts)[3])

    def verdict(self, now: int) -> tuple[str, str, int]:
        """(outcome, reason, T) with nothing more recorded."""
        facts = self.facts
        assert facts is not None
        at, outcome, reason, end = self._votes(facts)
        closes, found = min(at, end), []
        if facts.superseded is not None and facts.superseded <= closes:
            found.append((facts.superseded, 0, "Superseded", "Superseded"))
        if facts.withdrawn is not None and facts.withdrawn <= closes:
            found.append((facts.withdrawn, 1, "Withdrawn", "Withdrawn"))
        if len(facts.stops) == len(ADMINS):
            stopped = max(facts.stops.values())
            late = stopped >= facts.executed if facts.executed is not None else stopped > at and outcome != "Adopted"
            found += [] if late else [(stopped, 2, "Stopped", "Stopped")]
        if found:
            at, _, outcome, reason = min(found)
        elif facts.kind == "Emergency" and facts.executed is not None:
            ratified = self._ratified(facts, facts.executed)
            if ratified[0] + 2 <= now:
                at, outcome, reason = ratified
            else:
                outcome = "EmergencyExecuted"
        return outcome, reason, at

    def _votes(self, facts: Facts) -> tuple[int, str, str, int]:
        """T, outcome, reason, end of the vote, or of an emergency's endorsement."""
        if facts.kind == "Emergency":
            end = facts.opened + PERIOD
            if len(facts.endorsed) == len(ADMINS) and max(facts.endorsed.values()) <= end:
                return max(facts.opened, *facts.endorsed.values()), "Adopted", "Passed", end
            return end, "Expired", "NotEndorsed", end
        key = (len(facts.votes), len(self.delegations), len(self.revisions))
        if key not in self._phases:
            self._phases.clear()
            outcome, reason, at, end, _ = self.oracle(facts.opened).decide()
            self._phases[key] = (at, outcome, reason, end)
        return self._phases[key]  # type: ignore[no-any-return]

    def _ratified(self, facts: Facts, executed: int) -> tuple[int, str, str]:
        wanted = ("quorumBasisPoints", "thresholdBasisPoints", "vetoBasisPoints", "allowVeto", "minimumVoters")
        rules = {name: VOTING["Standard"][name] for name in wanted} | {"votingPeriodSeconds": RATIFICATION}
        outcome, reason, at, _ = self.oracle(executed).phase(rules, executed + RATIFICATION)
        return at, "Ratified" if outcome == "Adopted" else "Reversed", reason

    def sums(self, second: int, end: int, rules: Mapping[str, Any], opened: int) -> tuple[int, ...]:
        """(approve, reject, abstain, veto) at a second."""
        oracle = self.oracle(opened)
        return tuple(oracle.sums(oracle.choices(rules, second, end)[0]).values())


class Desk:
    """The real code: what is recorded, and what it says. Every verb takes effect on it and on the model."""

    def __init__(self, now: int = 1_000_000) -> None:
        self.now, self.keys = now, dict[tuple[str, str], int]()
        first = (now - 100, constitution(members_with({}), VOTING))
        self.revisions: list[tuple[int, dict[str, Any]]] = [first]
        self.model = Model([first])
        self.history: DomainHistory = history(first)
        self.delegations: list[DelegationRecord] = []
        self.case: Case | None = None
        self.life, self.sequence, self.number = Life(), 1, 0
        self.steps: list[Step] = []
        self._replaced: dict[str, int] = {}

    def signer(self, who: str, key: str) -> bytes:
        """The seed of a member's key as it is now."""
        return seed(f"{who}.{key}{self.keys.get((who, key), 0)}")

    # Proposals.

    def open(self, kind: str, *, amends: bool = False) -> bool:
        """Open a proposal of m0, or amend the open one; whether it was accepted."""
        before, facts = self.case, self.model.facts
        self.number += not amends
        revision = int(before.statement.fields["revision"]) + 1 if amends and before else 1
        spec = self._spec(kind, revision)
        statement = proposal_statement(MESH, "default", f"p{self.number}", spec)
        spec["signature"] = statement.sign(self.signer("m0", "main"))
        if amends:
            assert before is not None and facts is not None
            current = vote_key(self.history.latest, node("m0"), "main")
            verdict = judge_spec(
                self.current(),
                namespace="default",
                name=f"p{self.number}",
                spec=spec,
                public_key=parse_public_key(current.public_key) if current else None,
                recorded=self.now,
            )
            if verdict.standing is not Standing.AMENDS:
                return False
        opening = check_opening(statement, spec["signature"], {"fleet": self.history}, second=self.now)
        assert isinstance(opening, Opening), opening
        amendments = facts.amendments + 1 if amends and facts else 0
        self.case = Case(statement, self.now, {"fleet": self.history})
        self.life = Life(Phase.VOTING, opened_at=self.now)
        self.steps = [Step(EventType.OPENED, self.now)]
        self.model.facts = Facts(kind, self.now, statement.digest, amendments)
        self.model._phases.clear()
        return True

    def _spec(self, kind: str, revision: int) -> dict[str, Any]:
        return {
            "trustDomain": "fleet",
            "proposer": node("m0"),
            "keyName": "main",
            "type": kind,
            "target": {"kind": "DynamicContract", "name": "rules", "clause": "1"},
            "change": {"baseDigest": "sha256:" + "0" * 64, "patch": [{"op": "add", "path": "/text", "value": "x"}]},
            "revision": revision,
        }

    def recorded(self, **more: Any) -> Case:
        """The case with all that is recorded by now."""
        assert self.case is not None
        return replace(self.case, histories={"fleet": self.history}, delegations=tuple(self.delegations), **more)

    def progress(self) -> Progress:
        """Where the vote stands."""
        return decide(self.recorded(), self.now)

    def current(self) -> OpenRevision:
        """The open revision as acts and amendments are judged against it."""
        assert self.case is not None and self.model.facts is not None
        found = self.progress()
        reached = found.decision.at if found.decision is not None else None
        if reached is None and found.next_check is not None:
            reached = found.next_check - 2
        fields = self.case.statement.fields
        return OpenRevision(self.case.digest, fields, found.deadline, self.model.facts.amendments, self.life, reached)

    # Votes and delegations.

    def vote(self, who: str, key: str, choice: str, sequence: int, *, stale: bool = False) -> None:
        """Record a vote; a `stale` one is signed by a key that nobody has."""
        assert self.case is not None and self.model.facts is not None
        spec = {
            "proposal": {"digest": self.case.digest},
            "revision": self.case.statement.fields["revision"],
            "voter": node(who),
            "keyName": key,
            "domain": "fleet",
            "choice": choice,
            "sequence": sequence,
            "castAt": format_time(self.now),
        }
        signature = vote_statement(MESH, spec).sign(seed("stale") if stale else self.signer(who, key))
        ballot = Ballot.of(MESH, {**spec, "signature": signature}, self.now)
        self.case = self.recorded(ballots=(*self.case.ballots, ballot))
        if not stale:
            self._replaced.setdefault(ballot.digest, self.keys.get((who, key), 0))
            self.model.facts.votes.append(Said(ballot.statement.fields, self.now, ballot.digest))

    def again(self, index: int) -> None:
        """Record a vote that is there once more, now: a retry."""
        assert self.case is not None and self.model.facts is not None
        old = self.case.ballots[index % len(self.case.ballots)]
        self.case = self.recorded(ballots=(*self.case.ballots, Ballot(old.statement, old.signature, self.now)))
        said = [item for item in self.model.facts.votes if item.digest == old.digest and item.recorded == old.recorded]
        # Under another key of the same name the old signature is bad.
        said = [item for item in said if self._key_then(item) == self.keys.get(self._key_of(item), 0)]
        self.model.facts.votes += [Said(item.fields, self.now, item.digest) for item in said[:1]]

    @staticmethod
    def _key_of(said: Said) -> tuple[str, str]:
        return next(name for name in NAMES if node(name) == said.who), str(said.fields["keyName"])

    def _key_then(self, said: Said) -> int:
        """How often the key had been replaced when the vote was recorded."""
        return self._replaced[said.digest]

    def delegate(
        self, who: str, key: str, to: str | None, types: Sequence[str], lasts: int, sequence: int | None = None
    ) -> None:
        """Record a delegation, or with `to` None its revocation."""
        self.sequence += 1
        spec = {
            "domain": "fleet",
            "attester": node(who),
            "keyName": key,
            "sequence": sequence or self.sequence,
            "at": format_time(self.now),
            "type": "Delegation",
            "expiresAt": format_time(self.now + lasts),
            "statement": {"to": "" if to is None else node(to), "types": list(types)},
        }
        statement = attestation_statement(MESH, spec)
        signature = statement.sign(self.signer(who, key))
        self.delegations.append(DelegationRecord.of(MESH, {**spec, "signature": signature}, self.now))
        self.model.delegations.append(Said(statement.fields, self.now, statement.digest))

    # Acts.

    def act(self, kind: str, by: str, *, forged: bool = False) -> bool:
        """Endorse, Stop or Withdraw; whether it was accepted."""
        assert self.case is not None and self.model.facts is not None
        withdraw = kind == "Withdraw"
        spec: dict[str, Any] = {
            "act": kind,
            "proposalDigest": self.case.digest,
            "by": node(by) if withdraw else by,
            "keyName": "main" if withdraw else by,
            "at": format_time(self.now),
        }
        signer = seed("stale") if forged else self.signer(by, "main") if withdraw else seed(by)
        spec["signature"] = act_statement(MESH, "fleet", spec).sign(signer)
        key = vote_key(self.history.latest, node(by), "main") if withdraw else None
        public = parse_public_key(key.public_key) if key else self.history.latest.admins.get(by)
        verdict = judge_act(self.current(), spec, public_key=public, recorded=self.now)
        if verdict.accepted:
            record = ActRecord.of(MESH, "fleet", spec, self.now)
            self.case = self.recorded(acts=(*self.case.acts, record))
        return verdict.accepted

    # Constitution and time.

    def revise(self, changed: Sequence[tuple[str, str]]) -> None:
        """A revision that replaces these keys."""
        for item in changed:
            self.keys[item] = self.keys.get(item, 0) + 1
        spec = constitution(members_with(self.keys), VOTING, revision=len(self.revisions) + 1)
        self.revisions.append((self.now, spec))
        self.model.revisions.append((self.now, spec))
        self.model.replaced(self.now, {(node(who), key) for who, key in changed})
        self.history = history(*self.revisions)

    def settle(self) -> None:
        """Record a decision that may be taken, as the operator's entry does."""
        decision = self.progress().decision
        assert decision is not None and self.case is not None
        detail = {
            "outcome": str(decision.outcome),
            "reason": str(decision.reason),
            "decidedAt": format_time(decision.at),
        }
        self.steps.append(Step(EventType.DECIDED, self.now, detail))
        rules = VOTING[self.case.type]
        self.life = derive(self.steps, Timing.of(rules, self.case.type))
        assert parse_time(detail["decidedAt"]) == decision.at

    def execute(self) -> None:
        """The executing entry of an adopted emergency or change."""
        assert self.case is not None and self.model.facts is not None
        emergency = self.case.type == "Emergency"
        outcome = "EmergencyExecuted" if emergency else "Executed"
        self.steps.append(Step(EventType.EXECUTED, self.now, {"outcome": outcome}))
        self.life = derive(self.steps, Timing.of(VOTING[self.case.type], self.case.type))
        self.case = self.recorded(executed=self.now)
        self.model.facts.executed = self.now
