"""Signatures verified by several processes: what they say is what one process says."""

import os
import signal
from collections.abc import Callable
from multiprocessing import active_children

import pytest

from quorate.identity.statements import Statement
from quorate.proposals import outcome
from quorate.proposals.decision import Case, decide
from quorate.proposals.votes import Ballot
from quorate_cli import verifying
from quorate_cli.verifying import PIECES, verify_ahead, verify_together
from tests.unit.proposals.fleet import OPENED, PERIOD, Fleet, public

VERIFIED = Statement.verify


def poll(count: int) -> Case:
    """Votes of ten members in turn, in all pieces; every third is signed by another member, every tenth by nobody."""
    fleet = Fleet()
    for number in range(count):
        name, signer = f"m{number % 10}", f"m{(number + (number % 3 == 2)) % 10}.main"
        fleet.vote(name, "Reject" if number % 7 else "Approve", number % PERIOD, sequence=number + 1, signer=signer)
    fleet.ballots = [
        Ballot(item.statement, "A" * 86 if number % 10 == 9 else item.signature, item.recorded)
        for number, item in enumerate(fleet.ballots)
    ]
    return fleet.case()


def verdicts(case: Case) -> list[tuple[str, bool, bool]]:
    """Of each vote, in the order given: digest, whether its signature is known, whether it holds."""
    found = []
    for number, ballot in enumerate(case.ballots):
        key = public(f"m{number % 10}.main")
        found.append((ballot.digest, ballot.knows(key), ballot.signed_by(key)))
    return found


def verified_only_in(process: int) -> Callable[..., bool]:
    """Verifies; ends any other process when that verifies its second signature, as an OOM killer would."""
    seen: list[int] = []

    def verify(statement: Statement, public_key: bytes, signature: object) -> bool:
        seen.append(os.getpid())
        if os.getpid() != process and seen.count(os.getpid()) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return VERIFIED(statement, public_key, signature)

    return verify


@pytest.mark.parametrize("count", [0, 1, PIECES, 2 * PIECES + 3])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_as_one_process(count: int, processes: int) -> None:
    """Whatever the number of processes and votes, every vote has the digest and the verdict it has by itself."""
    shared, alone = poll(count), poll(count)
    verify_together(shared.ballots, shared.histories, processes)
    found = verdicts(shared)
    assert [known for _, known, _ in found] == [True] * count
    assert [(digest, holds) for digest, _, holds in found] == [(digest, holds) for digest, _, holds in verdicts(alone)]


def test_the_outcome() -> None:
    """The document of a tally is the same one, bad signatures in every process's share included."""
    shared, alone = poll(600), poll(600)
    verify_together(shared.ballots, shared.histories, 2)
    documents = [outcome.document(decide(case, OPENED + PERIOD + 2)) for case in (shared, alone)]
    assert documents[0] == documents[1]
    reasons = {vote["reason"] for vote in documents[0]["votes"]}
    assert "BadSignature" in reasons and "Counted" in reasons


def test_bad_signatures_in_a_childs_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only a child looked at is refused too."""
    case, here = poll(300), os.getpid()

    def verify(statement: Statement, public_key: bytes, signature: object) -> bool:
        assert os.getpid() != here, "verified by this process"
        return VERIFIED(statement, public_key, signature)

    monkeypatch.setattr(Statement, "verify", verify)
    # This process gets no number: the pipe is empty for it, as if the child had been quicker throughout.
    read = os.read
    monkeypatch.setattr(os, "read", lambda file, size: b"" if os.getpid() == here and size == 1 else read(file, size))
    verify_together(case.ballots, case.histories, 2)
    found = [holds for _, _, holds in verdicts(case)]
    assert found == [number % 3 != 2 and number % 10 != 9 for number in range(300)]


def test_a_child_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is killed at work leaves votes unknown, none wrong: they are verified when they are asked for."""
    case, alone = poll(600), verdicts(poll(600))
    monkeypatch.setattr(Statement, "verify", verified_only_in(os.getpid()))
    verify_together(case.ballots, case.histories, 3)
    found = verdicts(case)
    assert [(digest, holds) for digest, _, holds in found] == [(digest, holds) for digest, _, holds in alone]
    assert sum(not known for _, known, _ in found) <= 2 * 3, "more than the piece at which each child was"


def test_what_is_known_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look verifies nothing."""
    case = poll(300)
    verify_together(case.ballots, case.histories, 2)

    def verify(*_: object) -> bool:
        raise AssertionError("verified again")

    monkeypatch.setattr(Statement, "verify", verify)
    verify_together(case.ballots, case.histories, 1)


def test_nothing_stays_behind() -> None:
    """No process and no open file is left."""
    case = poll(40)
    first = _next_file()
    verify_together(case.ballots, case.histories, 3)
    assert _next_file() == first
    assert not active_children()


def _next_file() -> int:
    """The number that the next opened file gets: the lowest free one."""
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    return reading


@pytest.mark.parametrize(("votes", "cores"), [(verifying.FEW - 1, 2), (verifying.FEW, 1), (verifying.FEW, None)])
def test_few_votes_or_one_core(monkeypatch: pytest.MonkeyPatch, votes: int, cores: int | None) -> None:
    """No process is started where there is nothing to win."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(verifying, "verify_together", lambda *_: pytest.fail("started"))
    case = poll(votes)
    verify_ahead(case.ballots, case.histories)
