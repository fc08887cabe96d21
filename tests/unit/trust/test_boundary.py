"""Boundaries: what a crossing needs, and what becomes of it without that."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.canonical import format_time
from quorate.trust import edges
from quorate.trust.boundary import KEPT_SECONDS, Border, Crossing, Verdict
from quorate.trust.domain import DomainHistory
from tests.unit.trust.domains import NODES, after, changed, first, history, key, member, public
from tests.unit.trust.vouching import SINCE, about, attested, trusts

LATER = SINCE + 500
FOREIGN = NODES[3]
TRUST = {"decayBasisPoints": 10_000, "maxChainLength": 2}
VOTE = Crossing(FOREIGN, public("foreign"), "sha256:" + "d" * 64, 100)


def asks(action: str = "Deny", **more: Any) -> dict[str, Any]:
    """One boundary from `partner`."""
    return {"fromDomain": "partner", "onViolation": action, **more}


def receiver(*boundary: dict[str, Any], **more: Any) -> DomainHistory:
    """A domain with boundaries, node 0 its home hub."""
    return history(first(boundary=list(boundary), trust={**TRUST, **more}))


def judge(chain: DomainHistory, *records: Any, crossing: Crossing = VOTE, at: int = LATER) -> Verdict:
    return Border(chain, "partner", records).judge(crossing, at)


def release(by: int = 1, **more: Any) -> Any:
    """Member `by` lets the crossing through; `release` and `digest` may be given."""
    subject = {"kind": "Vote", "name": "v", "digest": more.pop("digest", VOTE.digest)}
    return attested(by, "BoundaryCrossing", subject, {"release": more.pop("release", True)}, **more)


@pytest.mark.parametrize(
    ("action", "reason", "passes"),
    [
        ("Deny", "BoundaryDenied", False),
        ("Quarantine", "BoundaryQuarantined", False),
        ("Warn", "BoundaryWarned", True),
    ],
)
def test_what_follows_from_a_violation(action: str, reason: str, passes: bool) -> None:
    """The domain says what becomes of who is not trusted enough; the sentence names actor, score and rule."""
    verdict = judge(receiver(asks(action, minScoreBasisPoints=6000)), trusts(0, FOREIGN, 5999))
    assert (verdict.reason, verdict.passes, verdict.score, verdict.minimum) == (reason, passes, 5999, 6000)
    assert verdict.message == (
        f"{FOREIGN} of partner has score 5999 in acme; boundary from partner asks for minScoreBasisPoints 6000"
    )


def test_enough_trust_crosses() -> None:
    """A score equal to the minimum passes, and the verdict shows the path."""
    verdict = judge(receiver(asks(minScoreBasisPoints=6000)), trusts(0, 1, 10_000), record := trusts(1, FOREIGN, 6000))
    assert (verdict.reason, verdict.score) == ("BoundaryMet", 6000)
    assert verdict.document("partner")["path"][-1] == record.digest


def test_unknown_is_not_trusted() -> None:
    """Nobody vouches: 0. A domain with boundaries, none of them with this one, denies it; one without asks nothing."""
    assert judge(receiver(asks(minScoreBasisPoints=1))).score == 0
    other = {"fromDomain": "elsewhere", "onViolation": "Warn"}
    assert judge(receiver(other)).reason == "BoundaryDenied"
    assert judge(receiver(other), trusts(0, FOREIGN, 1)).reason == "BoundaryMet"
    assert judge(receiver()).reason == "BoundaryMet"
    assert judge(history(first())).passes


@pytest.mark.parametrize(
    ("boundary", "trust", "minimum"),
    [
        (asks(minScoreBasisPoints=7), {"minScoreBasisPoints": 9}, 7),
        (asks(), {"minScoreBasisPoints": 9}, 9),
        (asks(), {}, 1),
        (asks(requireAttestations=["Compliance"]), {}, 0),
        (asks(minScoreBasisPoints=0), {"minScoreBasisPoints": 9}, 0),
    ],
)
def test_where_the_minimum_comes_from(boundary: Any, trust: Any, minimum: int) -> None:
    """The boundary's own, else the domain's, else some path unless attestations are asked for instead."""
    assert judge(receiver(boundary, **trust), trusts(0, FOREIGN, 10_000)).minimum == minimum


def test_seeds_are_the_roots() -> None:
    """With seeds trust starts at them alone, and the best of them counts; without, at the home hub."""
    records = [trusts(0, FOREIGN, 9000), trusts(1, FOREIGN, 3000), trusts(2, FOREIGN, 4000)]
    assert judge(receiver(asks()), *records).score == 9000
    assert judge(receiver(asks(), seeds=[NODES[1], NODES[2]]), *records).score == 4000


def test_a_root_that_acts_abroad_is_itself() -> None:
    """The home hub with a key that it has here is trusted fully, though nobody vouches for it."""
    own = Crossing(NODES[0], public("vote-0"), VOTE.digest, VOTE.recorded)
    assert judge(receiver(asks(minScoreBasisPoints=10_000)), crossing=own).reason == "BoundaryMet"


@pytest.mark.parametrize("node", [0, 1])
def test_a_borrowed_node_id_is_not_the_member(node: int) -> None:
    """Attack: the other domain lists a trusted member's nodeId with a key of its own: score 0, root or not."""
    impostor = Crossing(NODES[node], public("foreign"), VOTE.digest, VOTE.recorded)
    verdict = judge(receiver(asks(minScoreBasisPoints=1)), trusts(0, 1, 10_000), crossing=impostor)
    assert (verdict.reason, verdict.score) == ("BoundaryDenied", 0)
    real = Crossing(NODES[1], public("vote-1"), VOTE.digest, VOTE.recorded)
    assert judge(receiver(asks(minScoreBasisPoints=1)), trusts(0, 1, 10_000), crossing=real).score == 10_000


@pytest.mark.parametrize(
    ("label", "purpose", "recorded", "score"),
    [
        ("vote-1", "Vote", SINCE, 10_000),
        ("machine-1", "Vote", SINCE, 0),
        ("machine-1", "Machine", SINCE, 10_000),
        ("vote-1", "Machine", SINCE, 0),
        ("vote-1", "Vote", LATER, 0),
    ],
)
def test_a_key_of_another_purpose_or_an_expired_one_is_not_the_members(
    label: str, purpose: str, recorded: int, score: int
) -> None:
    """Attack: the other domain lists a member's nodeId with that member's stolen Machine key, or its expired one."""
    member_1 = changed(member(1), {"keys.0.notAfter": format_time(LATER), "keys.1.notAfter": format_time(LATER)})
    chain = history(first(boundary=[asks()], trust=TRUST, members=[member(0), member_1]))
    crossing = Crossing(NODES[1], public(label), VOTE.digest, recorded, purpose)
    assert judge(chain, trusts(0, 1, 10_000), crossing=crossing).score == score


class TestRequiredAttestations:
    chain = receiver(asks("Quarantine", requireAttestations=["Compliance", "ContractHeld"]))
    held = attested(1, "ContractHeld", about(FOREIGN), {}, key="machine-1")

    def test_each_type_must_be_there(self) -> None:
        """What is missing is named."""
        verdict = judge(self.chain, self.held)
        assert (verdict.reason, verdict.missing) == ("BoundaryQuarantined", ("Compliance",))
        assert "attestations Compliance, ContractHeld, of which Compliance is missing" in verdict.message
        assert judge(self.chain, self.held, attested(0, "Compliance", about(FOREIGN), {})).passes

    @pytest.mark.parametrize(
        "record",
        [
            attested(0, "Compliance", about(FOREIGN), {"compliant": False}),
            attested(0, "Compliance", about(1), {}),
            attested(0, "Compliance", about(FOREIGN), {}, expires=LATER),
            attested(0, "Compliance", about(FOREIGN), {}, signer="foreign"),
            attested(0, "Compliance", about(FOREIGN), {}, domain="partner"),
            attested(3, "Compliance", about(FOREIGN), {}, key="foreign"),
        ],
    )
    def test_what_is_none(self, record: Any) -> None:
        """A denial, about another, expired, forged, made in the other domain, or by the actor itself."""
        assert judge(self.chain, self.held, record).missing == ("Compliance",)

    def test_a_type_that_does_not_exist_is_never_there(self) -> None:
        """A boundary that asks for an unknown type stays closed."""
        chain = receiver(asks(requireAttestations=["Blessing"]))
        assert judge(chain, attested(0, "Compliance", about(FOREIGN), {})).reason == "BoundaryDenied"


class TestRelease:
    chain = receiver(asks("Quarantine", minScoreBasisPoints=1))

    def test_a_member_lets_it_through(self) -> None:
        """A BoundaryCrossing about this digest releases what is held; the sentence names who did."""
        verdict = judge(self.chain, record := release())
        assert (verdict.reason, verdict.passes, verdict.score) == ("BoundaryReleased", True, 0)
        assert f"{NODES[1]} released it by {record.digest}" in verdict.message

    @pytest.mark.parametrize("action", ["Deny", "Warn"])
    def test_only_what_is_held_is_released(self, action: str) -> None:
        """What is denied stays denied, what is warned of needs none."""
        verdict = judge(receiver(asks(action, minScoreBasisPoints=1)), release())
        assert verdict.reason == {"Deny": "BoundaryDenied", "Warn": "BoundaryWarned"}[action]

    @pytest.mark.parametrize(
        "records",
        [
            [release(digest="sha256:" + "e" * 64)],
            [release(release=False)],
            [release(), release(release=False, sequence=2)],
            [release(), release(release=False)],
            [release(expires=LATER)],
            [release(signer="foreign")],
            [release(at=LATER + 1)],
        ],
    )
    def test_what_releases_nothing(self, records: Any) -> None:
        """Another digest, a refusal, one taken back, two contents of one sequence, expired, forged, too late."""
        assert judge(self.chain, *records).reason == "BoundaryQuarantined"

    @pytest.mark.parametrize("change", [{"suspended": True}, {"learner": True}])
    def test_who_may_not_release(self, change: Any) -> None:
        """Suspended members and learners release nothing."""
        chain = history(
            first(boundary=[asks("Quarantine")], trust=TRUST, members=[member(0), member(1, **change), member(2)])
        )
        assert judge(chain, release()).reason == "BoundaryQuarantined"

    def test_nobody_releases_itself(self) -> None:
        """The actor's own release, as a member of the receiving domain, is none."""
        own = Crossing(NODES[1], public("vote-1"), VOTE.digest, VOTE.recorded)
        assert judge(self.chain, release(1), crossing=own).reason == "BoundaryQuarantined"
        assert judge(self.chain, release(2), crossing=own).reason == "BoundaryReleased"


class TestTime:
    def test_a_verdict_changes_when_something_is_recorded_or_expires(self) -> None:
        """Between two seconds of the border every verdict is the same."""
        border = Border(receiver(asks()), "partner", [trusts(0, FOREIGN, at=LATER, expires=LATER + 10)])
        passing = [border.judge(VOTE, second).passes for second in (LATER - 1, LATER, LATER + 9, LATER + 10)]
        assert passing == [False, True, True, False]
        assert {LATER, LATER + 10} <= set(border.seconds())
        assert border.epoch(LATER) == border.epoch(LATER + 9) != border.epoch(LATER + 10)

    def test_a_revision_changes_what_is_asked(self) -> None:
        """The revision in force at the second judges: a boundary that is lifted lifts what it stopped."""
        revised = after(first(boundary=[asks()], trust=TRUST), "ann", "bob", boundary=[])
        chain = history(first(boundary=[asks()], trust=TRUST), revised, seconds=[100, LATER])
        border = Border(chain, "partner", ())
        assert [border.judge(VOTE, second).passes for second in (99, 100, LATER - 1, LATER)] == [False] * 3 + [True]

    def test_a_removed_introducer_closes_the_way(self) -> None:
        """Who was let in by a key that is revoked is out from that second on."""
        opening = first(boundary=[asks()], trust=TRUST)
        revised = after(opening, "ann", "bob", members=[member(0, keys=[key("new")]), member(1), member(2)])
        border = Border(history(opening, revised, seconds=[100, LATER]), "partner", [trusts(0, FOREIGN)])
        assert [border.judge(VOTE, second).passes for second in (LATER - 1, LATER)] == [True, False]


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from([1, 2, 3]), st.integers(0, 40)), max_size=8),
    st.integers(0, 8),
)
@settings(max_examples=40, deadline=None)
def test_what_was_known_before_is_taken_over_only_where_it_still_holds(
    given_: list[tuple[int, int, int]], split: int
) -> None:
    """A border made of an earlier one says at every second what a new one says."""
    chain = receiver(asks(minScoreBasisPoints=1))
    records = [
        trusts(by, node, 9000, at=SINCE + at, sequence=number, expires=SINCE + at + 10)
        for number, (by, node, at) in enumerate(given_)
    ]
    earlier = Border(chain, "partner", records[:split])
    seconds = range(SINCE - 1, SINCE + 60, 3)
    for second in seconds:
        earlier.judge(VOTE, second)
    grown, fresh = Border(chain, "partner", records, earlier), Border(chain, "partner", records)
    assert [grown.judge(VOTE, second) for second in seconds] == [fresh.judge(VOTE, second) for second in seconds]
    assert Border(chain, "partner", records[:split], grown).verdicts == {} or split >= len(records)


def test_many_attestations_cost_what_each_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand seconds each looks at its own attestation, and verdicts of the last ones asked for are kept."""
    looked: list[int] = []
    plain = edges.holds
    monkeypatch.setattr(edges, "holds", lambda *given: looked.append(1) or plain(*given))
    records = [trusts(0, f"stranger-{number}", at=SINCE + number) for number in range(1000)]
    border = Border(receiver(asks()), "partner", [*records, trusts(0, FOREIGN, at=SINCE + 600)])
    passing = [border.judge(VOTE, second).passes for second in border.seconds()]
    assert passing == [False] * 601 + [True] * 400
    assert len(looked) <= 3 * len(records)
    assert len(border.verdicts) == KEPT_SECONDS
    assert not border.judge(VOTE, SINCE).passes
