"""The life of a proposal and what may still happen to it."""

from typing import Any

import pytest

from quorate.api.conditions import Reason
from quorate.api.governance_proposal import Phase
from quorate.canonical import format_time
from quorate.identity.ed25519 import public_key_of
from quorate.identity.statements import act_statement, proposal_statement
from quorate.proposals.amendment import OpenRevision, Standing, judge_act, judge_spec
from quorate.proposals.lifecycle import (
    Action,
    Due,
    EventType,
    HistoryError,
    Life,
    Step,
    Timing,
    derive,
    due,
    shown_phase,
)

OPENED = Step(EventType.OPENED, 1000)
TIMING = Timing(timelock=60, execution_window=300)


def decided(outcome: str, at: int = 1102, t: int = 1100) -> Step:
    return Step(EventType.DECIDED, at, {"outcome": outcome, "reason": "Passed", "decidedAt": format_time(t)})


def executed(outcome: str = "Executed") -> Step:
    return Step(EventType.EXECUTED, 1170, {"outcome": outcome})


@pytest.mark.parametrize(
    ("steps", "phase", "succeeded", "final"),
    [
        ([], Phase.DRAFT, None, False),
        ([Step(EventType.REFUSED, 990, {"reason": "NoAcceptedRevision"})], Phase.DRAFT, None, False),
        ([Step(EventType.REFUSED, 990), OPENED], Phase.VOTING, None, False),
        ([OPENED, decided("Adopted")], Phase.ADOPTED, True, False),
        ([OPENED, decided("Rejected")], Phase.REJECTED, False, True),
        ([OPENED, decided("Expired")], Phase.EXPIRED, False, True),
        ([OPENED, decided("Withdrawn")], Phase.WITHDRAWN, False, True),
        ([OPENED, decided("Stopped")], Phase.STOPPED, False, True),
        ([OPENED, Step(EventType.SUPERSEDED, 1050)], Phase.SUPERSEDED, False, True),
        ([OPENED, decided("Adopted"), executed()], Phase.EXECUTED, True, True),
        ([OPENED, decided("Adopted"), Step(EventType.FAILED, 1170, {"outcome": "Failed"})], Phase.FAILED, False, True),
        (
            [OPENED, decided("Adopted"), Step(EventType.FAILED, 1170, {"outcome": "Stopped"})],
            Phase.STOPPED,
            False,
            True,
        ),
        (
            [OPENED, decided("Adopted"), Step(EventType.FAILED, 1470, {"outcome": "Expired"})],
            Phase.EXPIRED,
            False,
            True,
        ),
        ([OPENED, decided("Adopted"), executed("EmergencyExecuted")], Phase.EMERGENCY_EXECUTED, None, False),
        ([OPENED, decided("Adopted"), executed("EmergencyExecuted"), decided("Ratified")], Phase.RATIFIED, True, True),
        ([OPENED, decided("Adopted"), executed("EmergencyExecuted"), decided("Reversed")], Phase.REVERSED, False, True),
    ],
)
def test_phases(steps: list[Step], phase: Phase, succeeded: bool | None, final: bool) -> None:
    """Each history of entries has one phase, one value of Succeeded, and is final or not."""
    life = derive(steps, TIMING)
    assert (life.phase, life.succeeded, life.final) == (phase, succeeded, final)


@pytest.mark.parametrize(
    "steps",
    [
        [decided("Adopted")],
        [OPENED, OPENED],
        [OPENED, executed()],
        [OPENED, decided("Adopted"), decided("Adopted")],
        [OPENED, decided("Adopted"), Step(EventType.SUPERSEDED, 1150)],
        [OPENED, decided("Adopted"), executed(), executed()],
        [OPENED, decided("Rejected"), OPENED],
        [OPENED, decided("Ratified")],
        [OPENED, decided("Adopted"), executed("EmergencyExecuted"), decided("Adopted")],
        [OPENED, Step("governance.proposal.other", 1001)],
    ],
)
def test_impossible_histories(steps: list[Step]) -> None:
    """A digest opens, is decided and executes once: any other order of entries is refused."""
    with pytest.raises(HistoryError):
        derive(steps, TIMING)


def test_times_follow_the_decision_not_its_entry() -> None:
    """Timelock and window run from T, the second as of which the votes were counted."""
    life = derive([OPENED, decided("Adopted")], TIMING)
    assert (life.decided_at, life.execute_after, life.execute_before) == (1100, 1160, 1460)
    assert derive([OPENED, decided("Adopted")], Timing()).execute_before is None


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (1102, Due(Action.WAIT, 1160)),
        (1159, Due(Action.WAIT, 1160)),
        (1160, Due(Action.EXECUTE, 1461)),
        (1460, Due(Action.EXECUTE, 1461)),
        (1461, Due(Action.EXPIRE)),
    ],
)
def test_due_after_adoption(now: int, expected: Due) -> None:
    """Execution is due from the end of the timelock to the end of the window, both included, and expires after."""
    assert due(derive([OPENED, decided("Adopted")], TIMING), now) == expected


def test_due_elsewhere() -> None:
    """An open vote is for the tally to decide, a ratification two seconds after its end, a final one not at all."""
    emergency = Timing.of({"ratificationSeconds": 100, "timelockSeconds": 60}, "Emergency")
    life = derive([OPENED, decided("Adopted"), executed("EmergencyExecuted")], emergency)
    assert life.execute_after == 1100 and life.ratification_ends == 1270
    assert due(life, 1271) == Due(Action.WAIT, 1272)
    assert due(life, 1272) == Due(Action.RATIFY)
    assert due(derive([OPENED], TIMING), 5) == Due(Action.DECIDE)
    assert due(derive([OPENED, decided("Rejected")], TIMING), 5) == Due(Action.NONE)


def test_conflict_stands_beside_adopted() -> None:
    """Conflict is shown only where the proposal is adopted and not yet executed."""
    assert shown_phase(derive([OPENED, decided("Adopted")], TIMING), conflict=True) is Phase.CONFLICT
    assert shown_phase(derive([OPENED], TIMING), conflict=True) is Phase.VOTING


SEED, OTHER = bytes([1]) * 32, bytes([2]) * 32
KEY = public_key_of(SEED)
NODE = "11111111-1111-4111-8111-111111111111"


def spec(**change: Any) -> dict[str, Any]:
    base = {
        "trustDomain": "acme",
        "proposer": NODE,
        "keyName": "alice",
        "type": "Standard",
        "target": {"kind": "DynamicContract", "name": "rules", "clause": "1"},
        "change": {"baseDigest": "sha256:" + "0" * 64, "patch": [{"op": "remove", "path": "/rule"}]},
        "revision": 1,
        **change,
    }
    return {**base, "signature": proposal_statement("m", "ns", "p", base).sign(SEED)}


def current(life: Life | None = None, ends: int = 1100, amendments: int = 0) -> OpenRevision:
    statement = proposal_statement("m", "ns", "p", spec())
    return OpenRevision(statement.digest, statement.fields, ends, amendments, life or derive([OPENED], TIMING))


def judge(
    live: dict[str, Any], state: OpenRevision | None = None, recorded: int = 1050, key: bytes | None = KEY
) -> Any:
    return judge_spec(state or current(), namespace="ns", name="p", spec=live, public_key=key, recorded=recorded)


def unsigned(live: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in live.items() if name != "signature"}


@pytest.mark.parametrize(
    ("live", "reason"),
    [
        (unsigned(spec(revision=2)), Reason.NOT_SIGNED),
        (spec(type="Constitutional"), Reason.SPEC_CHANGED),
        (spec(revision=2, proposer="22222222-2222-4222-8222-222222222222"), Reason.PROPOSER_NOT_ALLOWED),
        (spec(revision=2, trustDomain="other"), Reason.PROPOSER_NOT_ALLOWED),
        ({**spec(revision=2), "type": "Constitutional"}, Reason.BAD_SIGNATURE),
    ],
)
def test_edits_that_change_nothing(live: dict[str, Any], reason: Reason) -> None:
    """An edit that is not a validly signed higher revision by the same proposer leaves the open one as it is."""
    verdict = judge(live)
    assert (verdict.standing, verdict.reason) == (Standing.REFUSED, reason)


def test_amendment_in_time() -> None:
    """A signed higher revision whose entry is at the end or before supersedes, by any higher number."""
    assert judge(spec(revision=7), recorded=1100).standing is Standing.AMENDS
    assert judge(spec()).standing is Standing.OPEN
    assert judge(spec(revision=2), key=None).reason is Reason.UNKNOWN_KEY


def test_amendment_limits() -> None:
    """After min(end, decision) it is AmendmentTooLate, and the sixth is TooManyAmendments."""
    assert judge(spec(revision=2), recorded=1101).reason is Reason.AMENDMENT_TOO_LATE
    early = derive([OPENED, decided("Adopted", at=1042, t=1040)], TIMING)
    assert judge(spec(revision=2), current(early), recorded=1043).reason is Reason.AMENDMENT_TOO_LATE
    assert judge(spec(revision=2), current(amendments=4)).standing is Standing.AMENDS
    assert judge(spec(revision=2), current(amendments=5)).reason is Reason.TOO_MANY_AMENDMENTS


def act(kind: str, seed: bytes = SEED, **change: Any) -> dict[str, Any]:
    by = {"by": NODE, "keyName": "alice"} if kind == "Withdraw" else {"by": "root", "keyName": "root"}
    fields = {"act": kind, "proposalDigest": current().digest, "at": format_time(1050), **by, **change}
    return {**fields, "signature": act_statement("m", "acme", fields).sign(seed)}


ADOPTED = derive([OPENED, decided("Adopted")], TIMING)
EXECUTED = derive([OPENED, decided("Adopted"), executed()], TIMING)


@pytest.mark.parametrize(
    ("what", "life", "recorded", "reason"),
    [
        (act("Withdraw"), None, 1100, Reason.ACCEPTED),
        (act("Withdraw"), None, 1101, Reason.TOO_LATE),
        (act("Withdraw"), ADOPTED, 1101, Reason.TOO_LATE),
        (act("Withdraw", by="root"), None, 1050, Reason.PROPOSER_NOT_ALLOWED),
        (act("Withdraw", seed=OTHER), None, 1050, Reason.BAD_SIGNATURE),
        (act("Withdraw", proposalDigest="sha256:" + "1" * 64), None, 1050, Reason.OTHER_PROPOSAL),
        (act("Stop"), None, 1050, Reason.ACCEPTED),
        (act("Stop"), ADOPTED, 1169, Reason.ACCEPTED),
        (act("Stop"), EXECUTED, 1171, Reason.TOO_LATE),
        (act("Stop", keyName="other"), None, 1050, Reason.UNKNOWN_KEY),
        (act("Endorse"), None, 1100, Reason.ACCEPTED),
        (act("Endorse"), ADOPTED, 1101, Reason.TOO_LATE),
    ],
)
def test_acts(what: dict[str, Any], life: Life | None, recorded: int, reason: Reason) -> None:
    """The proposer withdraws until min(end, decision); admins stop before the executing entry; each act is signed."""
    verdict = judge_act(current(life), what, public_key=KEY, recorded=recorded)
    assert (verdict.reason, verdict.accepted) == (reason, reason is Reason.ACCEPTED)


def test_act_without_a_key() -> None:
    """An act by a key that is not in force is UnknownKey."""
    assert judge_act(current(), act("Stop"), public_key=None, recorded=1050).reason is Reason.UNKNOWN_KEY
