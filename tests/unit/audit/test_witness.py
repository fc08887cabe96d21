"""What a witness decides, case by case, and what proves that a log showed two histories."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.merkle import consistency_proof, root_of
from quorate.audit.note import NoteError, cosign, parse_note, sign_note, signature_line, verify_note
from quorate.audit.witness import (
    EARLIER_VIEWS,
    Conflict,
    ConflictError,
    Consistency,
    Cosign,
    Refusal,
    Refuse,
    Seen,
    WitnessState,
    check_conflict,
    enough,
    judge,
    witnesses_of,
)
from quorate.identity.vkey import COSIGNATURE, SignerKey

ORIGIN = "mesh/fleet"
LOG = SignerKey(ORIGIN, bytes(32))
KEYS = [LOG.verifier]
OTHER = SignerKey(ORIGIN, bytes([9]) * 32)
START = WitnessState(ORIGIN)


def leaves(size: int, branch: int = 0, fork_at: int = 0) -> list[bytes]:
    """Leaf hashes of a history; another `branch` differs from leaf `fork_at` on."""
    return [bytes([branch if n >= fork_at else 0]) + n.to_bytes(31, "big") for n in range(size)]


def note(tree: Sequence[bytes], signer: SignerKey = LOG, origin: str = ORIGIN) -> str:
    return Checkpoint(origin, len(tree), root_of(tree)).sign(signer)


def offer(tree: Sequence[bytes], *sizes: int) -> list[Consistency]:
    """What a log with this tree offers to witnesses that are at these sizes."""
    return [Consistency(size, root_of(tree[:size]), tuple(consistency_proof(tree, size))) for size in sizes]


def seen(tree: Sequence[bytes]) -> WitnessState:
    decision = judge(START, note(tree), KEYS, ())
    assert isinstance(decision, Cosign)
    return decision.state


AT_5 = seen(leaves(5))
AT_8 = seen(leaves(8))
LONE_ROOT = replace(offer(leaves(9), 5)[0], root=bytes(32))
NO_PROOF = replace(offer(leaves(9, 1, 2), 5)[0], proof=())
UNSIGNED = note(leaves(9)).partition("\n\n")[0] + "\n"
BROKEN = note(leaves(9)).replace("\n9\n", "\n8\n")
CASES = {
    "first sight": (START, note(leaves(5)), [], 5),
    "first sight of a first entry": (START, note(leaves(1)), [], 1),
    "same size and root": (AT_5, note(leaves(5)), [], 5),
    "growth with proof": (AT_5, note(leaves(9)), offer(leaves(9), 5), 9),
    "growth from a power of two": (AT_8, note(leaves(9)), offer(leaves(9), 8), 9),
    "growth, several offers": (AT_5, note(leaves(9)), offer(leaves(9), 3, 5, 8), 9),
    "growth, one offer of two is good": (AT_5, note(leaves(9)), [LONE_ROOT, *offer(leaves(9), 5)], 9),
    "growth without proof": (AT_5, note(leaves(9)), [], Refusal.PROOF_MISSING),
    "growth with the proof of another size": (AT_5, note(leaves(9)), offer(leaves(9), 4), Refusal.PROOF_MISSING),
    "growth with a bad proof": (AT_5, note(leaves(9, 1, 2)), [NO_PROOF], Refusal.PROOF_WRONG),
    "growth with a bad proof and the right root": (
        AT_5,
        note(leaves(9)),
        [replace(offer(leaves(9), 5)[0], proof=(bytes(32),))],
        Refusal.PROOF_WRONG,
    ),
    "rewritten and grown": (AT_5, note(leaves(9, 1, 2)), offer(leaves(9, 1, 2), 5), Refusal.SPLIT_VIEW),
    "rewritten at a power of two": (AT_8, note(leaves(9, 1, 7)), offer(leaves(9, 1, 7), 8), Refusal.SPLIT_VIEW),
    "same size, other root": (AT_5, note(leaves(5, 1)), [], Refusal.SPLIT_VIEW),
    "older": (AT_5, note(leaves(3)), [], Refusal.HAVE_NEWER),
    "older with a proof": (AT_5, note(leaves(3)), offer(leaves(5), 3), Refusal.HAVE_NEWER),
    "older, other root, never seen": (AT_5, note(leaves(3, 1)), [], Refusal.HAVE_NEWER),
    "wrong origin": (AT_5, note(leaves(9), origin="mesh/other"), [], Refusal.WRONG_ORIGIN),
    "unknown key": (AT_5, note(leaves(9), OTHER), offer(leaves(9), 5), Refusal.UNKNOWN_KEY),
    "unknown key and another root": (AT_5, note(leaves(5, 1), OTHER), [], Refusal.UNKNOWN_KEY),
    "bad signature": (AT_5, BROKEN, offer(leaves(9), 5), Refusal.BAD_SIGNATURE),
    "no signature": (AT_5, UNSIGNED, [], Refusal.MALFORMED),
    "no checkpoint": (AT_5, sign_note("hello\n", LOG), [], Refusal.MALFORMED),
    "no entries": (START, note([]), [], Refusal.MALFORMED),
    "empty": (START, "", [], Refusal.MALFORMED),
}


@pytest.mark.parametrize("case", CASES)
def test_every_case(case: str) -> None:
    """A witness cosigns the first view, the same one and a proven larger one, and names why it refuses any other."""
    state, shown, consistency, expected = CASES[case]
    decision = judge(state, shown, KEYS, consistency)
    if isinstance(expected, int):
        assert isinstance(decision, Cosign) and decision.state.last is not None
        assert decision.state.last.size == expected
    else:
        assert isinstance(decision, Refuse) and decision.reason is expected
        assert decision.state.last == state.last
        assert (decision.state.conflict is not None) == decision.alarm == (expected is Refusal.SPLIT_VIEW)


@pytest.mark.parametrize("case", [name for name, item in CASES.items() if item[3] is Refusal.SPLIT_VIEW])
def test_a_split_view_is_proven_and_stays(case: str) -> None:
    """Its evidence convinces whoever has the log's key, and nothing is cosigned any more, not even what was before."""
    state, shown, consistency, _ = CASES[case]
    decision = judge(state, shown, KEYS, consistency)
    conflict = decision.state.conflict
    assert conflict is not None
    older, newer = check_conflict(conflict, KEYS, origin=ORIGIN)
    assert state.last is not None and older.size == state.last.size <= newer.size
    for again in (state.last.note, note(leaves(20))):
        later = judge(decision.state, again, KEYS, offer(leaves(20), older.size))
        assert isinstance(later, Refuse) and later.reason is Refusal.IN_CONFLICT and later.state == decision.state


def test_an_earlier_view_is_remembered() -> None:
    """Another root at a size that the witness saw is a split view, also when the witness is further by now."""
    state = AT_5
    for size in (6, 7, 9):
        decision = judge(state, note(leaves(size)), KEYS, offer(leaves(size), state.last.size if state.last else 0))
        assert isinstance(decision, Cosign)
        state = decision.state
    assert [view.size for view in state.earlier] == [5, 6, 7]
    decision = judge(state, note(leaves(6, 1)), KEYS, ())
    assert isinstance(decision, Refuse) and decision.reason is Refusal.SPLIT_VIEW


def test_views_are_bounded() -> None:
    """A witness keeps a bounded number of earlier views, the newest ones."""
    state = START
    for size in range(1, EARLIER_VIEWS + 10):
        state = state.advanced(Seen(size, bytes(32), ""))
    assert len(state.earlier) == EARLIER_VIEWS and state.earlier[-1].size == EARLIER_VIEWS + 8


def test_only_the_logs_own_lines_are_remembered() -> None:
    """Others' cosignatures, and lines of strangers, are no part of what a witness stores and shows."""
    shown = note(leaves(5))
    witness = SignerKey("mesh/w", bytes([3]) * 32, COSIGNATURE)
    text = parse_note(shown).text
    decision = judge(START, shown + signature_line(text, OTHER) + str(cosign(text, witness, at=1)), KEYS, ())
    assert isinstance(decision, Cosign) and decision.state.last == Seen(5, root_of(leaves(5)), shown)


@pytest.mark.parametrize(
    "conflict",
    [
        Conflict(note(leaves(5)), note(leaves(5))),
        Conflict(note(leaves(5)), note(leaves(9))),
        Conflict(note(leaves(5)), note(leaves(9)), offer(leaves(9), 5)[0]),
        Conflict(note(leaves(5)), note(leaves(9)), LONE_ROOT),
        Conflict(note(leaves(5)), note(leaves(9)), offer(leaves(9, 1), 5)[0]),
        Conflict(note(leaves(9)), note(leaves(5, 1)), offer(leaves(9), 5)[0]),
        Conflict(note(leaves(5)), note(leaves(5, 1), OTHER)),
        Conflict(note(leaves(5)), note(leaves(5, 1), origin="mesh/other")),
        Conflict(note(leaves(5)), ""),
    ],
)
def test_what_proves_nothing_is_no_conflict(conflict: Conflict) -> None:
    """Two notes that one history may have, or that the log did not sign, accuse nobody."""
    with pytest.raises(ConflictError):
        check_conflict(conflict, KEYS, origin=ORIGIN)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 40), st.booleans())
def test_no_two_inconsistent_trees_are_cosigned(first: int, second: int, fork: int, honest: bool) -> None:
    """Of any two trees of a log a witness cosigns both only if one continues the other."""
    one, other = leaves(first), leaves(second, 0 if honest else 1, fork)
    state = seen(one)
    decision = judge(state, note(other), KEYS, offer(other, first) if first < second else ())
    continues = other[:first] == one or one[:second] == other
    if isinstance(decision, Cosign):
        assert continues and second >= first
    elif decision.reason is Refusal.SPLIT_VIEW:
        assert not continues


def test_cosignatures_are_counted_by_witness() -> None:
    """A witness counts once, whatever names and keys it signs under; a key of no member counts nothing."""
    shown = note(leaves(5))
    text = parse_note(shown).text
    one, alias, two = (
        SignerKey(name, bytes([seed]) * 32, COSIGNATURE) for name, seed in (("mesh/a", 1), ("mesh/b", 1), ("mesh/c", 2))
    )
    lines = [cosign(text, key, at=at) for key, at in ((one, 1), (alias, 2), (two, 3), (one, 9))]
    found = verify_note(shown + "".join(map(str, lines)), KEYS, [item.verifier for item in (one, alias, two)])
    assert [(item.key.name, item.at) for item in found.cosignatures] == [("mesh/a", 9), ("mesh/b", 2), ("mesh/c", 3)]
    assert witnesses_of(found.cosignatures) == 2
    assert enough(found.cosignatures, 2) and not enough(found.cosignatures, 3) and enough((), 0)
    members = {one.verifier: "node-1", two.verifier: "node-1"}
    assert witnesses_of(found.cosignatures, members) == 1


def test_each_key_signs_what_it_is_for() -> None:
    """A log key does not cosign, a witness key signs no note, and neither passes for the other."""
    witness = SignerKey("mesh/w", bytes([3]) * 32, COSIGNATURE)
    with pytest.raises(NoteError, match="no witness key"):
        cosign("text\n", LOG, at=1)
    with pytest.raises(NoteError, match="signs no notes"):
        sign_note("text\n", witness)
    same = SignerKey("mesh/w", witness.seed)
    signed = sign_note("text\n", same) + str(cosign("text\n", witness, at=1))
    assert verify_note(signed, [same.verifier, witness.verifier], [same.verifier]).cosignatures == ()


@given(st.integers(0, 400), st.text(max_size=3), st.integers(0, 3))
def test_a_changed_note_is_never_cosigned(position: int, inserted: str, removed: int) -> None:
    """Whatever is changed in a note, the witness cosigns the text that the log signed, or refuses with a reason."""
    honest = note(leaves(9))
    shown = honest[:position] + inserted + honest[position + removed :]
    decision = judge(AT_5, shown, KEYS, offer(leaves(9), 5))
    if isinstance(decision, Cosign):
        assert decision.state.last == Seen(9, root_of(leaves(9)), honest)
    else:
        assert decision.message and not decision.alarm and decision.state == AT_5


@given(st.text(max_size=300) | st.text("— \nabcd01239+/=", max_size=300))
def test_any_text_is_judged(shown: str) -> None:
    """A text that is no note of the log is refused, never an error."""
    assert isinstance(judge(AT_5, shown, KEYS, ()), Refuse)
    assert isinstance(judge(AT_5, "\ud800\n\n— a b\n", KEYS, ()), Refuse)
