"""Ten thousand signed votes of a thousand members: the tally by two processes, against nothing but their signatures."""

import base64
import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from quorate.canonical import format_time
from quorate.identity.ed25519 import public_key_of
from quorate.identity.statements import Statement, proposal_statement, vote_statement
from quorate.proposals.decision import Case, decide
from quorate.proposals.votes import Ballot
from quorate.trust.domain import AcceptedRevision, DomainHistory, parse_domain
from quorate_cli.verifying import verify_ahead
from tests.bench.figure import Figure, percentile
from tests.bench.fleet import MESH, STANDARD, Fleet, public, seed

MEMBERS, KEYS, TURNS, MORE = 1000, 5, 2, 40
"""Each of a member's five keys votes twice; three of them have to agree."""
OPENED, PERIOD = 1_800_000_000, 86_400
PLAIN = {**STANDARD, "vetoBasisPoints": 3300, "minimumVoters": 100, "votingPeriodSeconds": PERIOD}
EARLY = {**PLAIN, "earlyDecision": True, "quorumBasisPoints": 10_000}
"""Looked at whenever a vote arrives, and never decided before the end."""


@dataclass(frozen=True)
class Vote:
    """A signed vote, parsed: its statement's fields, and what verifying it takes."""

    fields: dict[str, Any]
    signature: str
    recorded: int
    public_key: bytes
    message: bytes


@dataclass(frozen=True)
class Poll:
    """The proposal, its domain and the votes on it."""

    statement: Statement
    history: DomainHistory
    votes: list[Vote]

    def ballots(self) -> list[Ballot]:
        """The votes, of which nothing was looked at."""
        return [Ballot(Statement("vote", vote.fields), vote.signature, vote.recorded) for vote in self.votes]

    def case(self, ballots: Sequence[Ballot], **more: Any) -> Case:
        """The proposal with some of its votes."""
        return Case(self.statement, OPENED, {"tally": self.history}, ballots, **more)


def run() -> Iterator[Figure]:
    """Whole tallies, with and without a look at every vote; one more vote."""
    for rules, named in ((PLAIN, "decided at the end"), (EARLY, "looked at for an early decision at each vote")):
        poll = _poll(rules)
        # What was made before is neither looked through nor copied while a process is started.
        gc.collect()
        gc.freeze()
        bare = min(_seconds(lambda poll=poll: _bare(poll.votes)) for _ in range(3))  # type: ignore[misc]
        taken = min(_tally(poll) for _ in range(3))
        one = percentile(_one_more(poll), 95)
        gc.unfreeze()
        votes = f"{len(poll.votes)} votes, {named}"
        baseline = "bare verification of the signatures, two processes"
        yield Figure(f"tally of {votes}, two processes", taken, "s", baseline, bare, 2.0)
        yield Figure(f"tally of {votes}, beside bare verification", taken, "s", baseline, bare, 1.3, of_ratio=True)
        yield Figure(f"one vote more than {votes}, p95", 1000 * one, "ms", "all of them again", 1000 * taken, 5.0)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _bare(votes: Sequence[Vote]) -> None:
    """Each signature decoded and verified, half of them by another process."""
    other = get_context("fork").Process(target=_verify, args=(votes[1::2],))
    other.start()
    _verify(votes[::2])
    other.join()


def _verify(votes: Sequence[Vote]) -> None:
    for vote in votes:
        signature = base64.b64decode(vote.signature + "==")
        Ed25519PublicKey.from_public_bytes(vote.public_key).verify(signature, vote.message)


def _tally(poll: Poll) -> float:
    """Seconds from parsed statements to the decision with the reason of every vote."""
    begun = time.perf_counter()
    case = poll.case(poll.ballots())
    verify_ahead(case.ballots, case.histories)
    progress = decide(case, OPENED + PERIOD + 2)
    assert len(progress.tally.votes) == len(poll.votes)
    taken = time.perf_counter() - begun
    assert progress.decision is not None
    assert progress.tally.sums.voters > MEMBERS // 2, progress.tally.sums
    return taken


def _one_more(poll: Poll) -> list[float]:
    """Seconds from a further vote's statement to the decision, its sums and tests, by an operator that goes on."""
    ballots = sorted(poll.ballots(), key=lambda ballot: ballot.recorded)
    verify_ahead(ballots, {"tally": poll.history})
    first = len(ballots) - MORE
    case = poll.case(ballots[:first])
    decide(case, ballots[first].recorded)
    found = []
    for count in range(first, len(ballots)):
        last = ballots[count]
        begun = time.perf_counter()
        more = Ballot(last.statement, last.signature, last.recorded)
        case = poll.case([*case.ballots, more], kept=case.kept)
        progress = decide(case, last.recorded)
        found.append(time.perf_counter() - begun)
        assert progress.tally.sums.voters > 0
    return found


def _poll(rules: dict[str, Any]) -> Poll:
    fleet = Fleet("tally", members=MEMBERS, contracts=1, voting=rules)
    spec = {**fleet.domain["spec"], "members": [_member(fleet, index) for index in range(MEMBERS)]}
    history = DomainHistory([AcceptedRevision(parse_domain(fleet.name, spec), OPENED - 100)])
    _ = history.latest.electorate.digest
    proposal = fleet.proposal("p", fleet.contract_objects[0], "Other words.")
    statement = proposal_statement(MESH, "default", "p", proposal["spec"])
    chance = random.Random(1)
    votes = [
        _vote(fleet, statement.digest, index, f"k{key}", turn, chance)
        for turn in range(1, TURNS + 1)
        for index in range(MEMBERS)
        for key in range(KEYS)
    ]
    chance.shuffle(votes)
    return Poll(statement, history, votes)


def _member(fleet: Fleet, index: int) -> dict[str, Any]:
    keys = [{"purpose": "Vote", "name": f"k{key}", "publicKey": public(f"m{index}.k{key}")} for key in range(KEYS)]
    weight, threshold = 1 + index % 7, KEYS // 2 + 1
    return {**fleet.domain["spec"]["members"][index], "weight": weight, "keys": keys, "voteThreshold": threshold}


def _vote(fleet: Fleet, digest: str, index: int, key: str, turn: int, chance: random.Random) -> Vote:
    recorded = OPENED + 1 + chance.randrange(PERIOD - 2)
    spec = {
        "proposal": {"digest": digest},
        "revision": 1,
        "voter": fleet.node_id(index),
        "keyName": key,
        "domain": fleet.name,
        "choice": chance.choice(("Approve", "Approve", "Approve", "Reject", "Abstain")),
        "sequence": turn,
        "castAt": format_time(recorded),
    }
    statement, private = vote_statement(MESH, spec), seed(f"m{index}.{key}")
    signature = statement.sign(private)
    return Vote(dict(statement.fields), signature, recorded, public_key_of(private), statement.signing_bytes)
