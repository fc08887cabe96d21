"""Edges: which attestation stands between two nodes, and when it holds."""

from itertools import permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.canonical import format_time
from quorate.trust.edges import GraphOverTime, trust_graph
from tests.unit.trust.domains import NODES, REMOVED, after, first, history, key, member
from tests.unit.trust.vouching import SINCE, attested, trusts, weights

LATER = SINCE + 500
OLD = history(first())


def edges(*records, at=LATER, chain=OLD):
    return weights(trust_graph(chain, records, at))


def test_an_attestation_is_an_edge_from_its_recorded_second_on() -> None:
    """Before it is recorded it says nothing."""
    assert edges(trusts(0, 1, 7000), at=SINCE) == {(0, 1): 7000}
    assert edges(trusts(0, 1, 7000), at=SINCE - 1) == {}


def test_self_attestation_is_ignored() -> None:
    """Attack: whoever vouches for itself gains nothing."""
    assert edges(trusts(0, 0, 10_000)) == {}


def test_from_its_expiry_on_an_edge_is_gone() -> None:
    """An expired edge is no edge; the last second before is still one."""
    record = trusts(0, 1, expires=LATER)
    assert edges(record, at=LATER - 1) == {(0, 1): 9000}
    assert edges(record, at=LATER) == {}


def test_the_highest_sequence_that_holds_stands() -> None:
    """A higher sequence replaces a lower one, whatever the order of recording; expired, it uncovers the older."""
    low, high = trusts(0, 1, 9000, at=SINCE + 5), trusts(0, 1, 100, sequence=2, expires=LATER)
    assert edges(low, high, at=LATER - 1) == {(0, 1): 100}
    assert edges(low, high, at=LATER) == {(0, 1): 9000}


def test_two_contents_with_one_sequence_void_both() -> None:
    """Equivocation: neither stands, the next lower one does."""
    records = [trusts(0, 1, 9000, sequence=2), trusts(0, 1, 10, sequence=2), trusts(0, 1, 300)]
    assert edges(*records) == {(0, 1): 300}
    assert edges(*records[:2]) == {}


def test_the_same_attestation_twice_is_one() -> None:
    """A copy is no second edge and no equivocation."""
    assert edges(trusts(0, 1), trusts(0, 1, at=SINCE + 1, signed_at=SINCE)) == {(0, 1): 9000}


def test_of_several_keys_the_highest_sequence_stands() -> None:
    """A member's keys speak for one member: there is one edge between two nodes."""
    chain = history(first(members=[member(0, keys=[key("vote-0"), key("spare")]), member(1)]))
    records = [trusts(0, 1, 8000, key="spare", sequence=2), trusts(0, 1, 200)]
    assert edges(*records, chain=chain) == {(0, 1): 8000}
    tied = [trusts(0, 1, 8000, key="spare"), trusts(0, 1, 200)]
    assert edges(*tied, chain=chain) == edges(*reversed(tied), chain=chain)


@pytest.mark.parametrize(
    "record",
    [
        trusts(0, 1, signer="vote-1"),
        trusts(0, 1, key="machine-0"),
        trusts(0, 1, key="nobody"),
        trusts(3, 1),
        trusts(0, 1, domain="other"),
        trusts(0, 1, signed_at=SINCE + 301),
        attested(0, "Trust", {"kind": "TrustDomain", "name": NODES[1]}, {"weightBasisPoints": 9000}),
        attested(0, "Compliance", {"kind": "MeshNode", "name": NODES[1]}, {"weightBasisPoints": 9000}),
        trusts(0, 1, 10_001),
        trusts(0, 1, 0),
    ],
)
def test_what_is_no_edge(record) -> None:
    """Another's signature, a Machine key, a stranger, another domain, a time ahead, another subject, no weight."""
    assert edges(record) == {}


def test_a_revoked_introducer_loses_everything_it_certified() -> None:
    """Attack: hard revocation, the key is removed, voids all its attestations from that second on."""
    revised = after(first(), "ann", "bob", members=[member(0, keys=[key("new")]), member(1), member(2)])
    chain = history(first(), revised, seconds=[100, LATER])
    assert edges(trusts(0, 1), chain=chain, at=LATER - 1) == {(0, 1): 9000}
    assert edges(trusts(0, 1), chain=chain, at=LATER) == {}


def test_a_key_of_the_same_name_is_another_key() -> None:
    """A key replaced under its name takes its attestations along: only the bytes that signed count."""
    revised = after(
        first(), "ann", "bob", members=[member(0, keys=[{**key("other"), "name": "vote-0"}]), member(1), member(2)]
    )
    assert edges(trusts(0, 1), chain=history(first(), revised, seconds=[100, LATER])) == {}


@pytest.mark.parametrize(("recorded", "stays"), [(SINCE, True), (SINCE + 99, True), (SINCE + 100, False)])
def test_a_key_that_ended_leaves_what_was_certified_before(recorded: int, stays: bool) -> None:
    """Attack: soft revocation, notAfter, voids what was recorded from that date on; what is older stays."""
    ended = [key("vote-0", notAfter=format_time(SINCE + 100))]
    revised = after(first(), "ann", "bob", members=[member(0, keys=ended), member(1), member(2)])
    chain = history(first(), revised, seconds=[100, LATER])
    assert bool(edges(trusts(0, 1, at=recorded), chain=chain)) is stays


def test_a_member_that_left_vouches_for_nobody() -> None:
    """Removed from the members, an attester's edges are gone; those to it stay."""
    revised = after(first(), "ann", "bob", members=[member(1), member(2)], homeHub=NODES[1], learner=REMOVED)
    chain = history(first(), revised, seconds=[100, LATER])
    assert edges(trusts(0, 1), trusts(1, 0), chain=chain) == {(1, 0): 9000}


def test_order_never_matters() -> None:
    """Whatever the order in which attestations are given, the graph is the same."""
    records = [
        trusts(0, 1, 9000),
        trusts(0, 1, 100, sequence=2, expires=LATER + 5),
        trusts(1, 2, 500, sequence=7),
        trusts(1, 2, 600, sequence=7),
        trusts(1, 2, 700, sequence=3),
    ]
    expected = edges(*records)
    assert expected == {(0, 1): 100, (1, 2): 700}
    assert all(edges(*order) == expected for order in permutations(records))
    shuffled = [trusts(0, node, sequence=number) for number in range(20) for node in (1, 2)]
    Random(3).shuffle(shuffled)
    assert edges(*shuffled) == {(0, 1): 9000, (0, 2): 9000}


TIMED = st.tuples(
    st.sampled_from([0, 1, 2]), st.sampled_from([1, 2, 3]), st.integers(0, 30), st.integers(1, 4), st.integers(1, 3)
)


@given(st.lists(TIMED, max_size=12), st.lists(st.integers(-2, 50), max_size=8))
@settings(max_examples=60, deadline=None)
def test_from_second_to_second_the_graph_is_the_one_made_anew(
    given_: list[tuple[int, ...]], seconds: list[int]
) -> None:
    """Forwards or backwards, through expiries, equivocation and a removed key: the same edges as without a past."""
    revised = after(first(), "ann", "bob", members=[member(0, keys=[key("new")]), member(1), member(2)])
    chain = history(first(), revised, seconds=[100, SINCE + 25])
    records = [
        trusts(by, node, weight, at=SINCE + at, sequence=sequence, expires=SINCE + at + 9 * sequence)
        for by, node, at, weight, sequence in given_
        if by != node
    ]
    graphs = GraphOverTime(chain, records)
    for second in seconds:
        assert graphs.at(SINCE + second).out == trust_graph(chain, records, SINCE + second).out
