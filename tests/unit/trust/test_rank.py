"""The seeded rank: the formula as written, and the closed-form bound under each attack."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.trust.rank import ALPHA, ROUNDS, SCALE, rank

NAMES = "abcdef"
HONEST = {("1", "2"): 10, ("2", "3"): 10, ("3", "4"): 10, ("4", "1"): 10, ("1", "3"): 10, ("2", "4"): 10}
WEIGHTS = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), st.integers(1, 10_000), max_size=25
)
SEEDS = st.lists(st.sampled_from(NAMES), max_size=4)


def naive(weights, seeds):
    """The formula term by term, all 64 rounds."""
    edges = {pair: weight for pair, weight in weights.items() if pair[0] != pair[1]}
    start = sorted(set(seeds))
    nodes = sorted({node for pair in edges for node in pair} | set(start))
    if not start:
        return dict.fromkeys(nodes, 0)
    p = {node: SCALE // len(start) if node in start else 0 for node in nodes}
    out = {node: {b: weight for (a, b), weight in edges.items() if a == node} for node in nodes}
    out = {node: row or dict.fromkeys(start, 1) for node, row in out.items()}
    t = dict(p)
    for _ in range(ROUNDS):
        t = {
            j: ALPHA * p[j] // 10**4
            + sum((10**4 - ALPHA) * t[i] * row[j] // (10**4 * sum(row.values())) for i, row in out.items() if j in row)
            for j in nodes
        }
    return t


@given(WEIGHTS, SEEDS)
def test_the_formula_as_written(weights, seeds) -> None:
    """Equal to the formula written out, to the last unit."""
    assert rank(weights, seeds) == naive(weights, seeds)


@given(st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_the_formula_as_written_where_few_change(random, degree, seeds) -> None:
    """The same of larger graphs, in whose first and last rounds only some nodes change."""
    names = [f"n{number}" for number in range(24)]
    weights = {(a, random.choice(names)): random.randint(1, 10_000) for a in names for _ in range(degree)}
    assert rank(weights, names[:seeds]) == naive(weights, names[:seeds])


@given(WEIGHTS, SEEDS, st.randoms(use_true_random=False))
def test_order_never_matters(weights, seeds, random) -> None:
    """Edges and seeds in any order give the same ranks."""
    items = list(weights.items())
    random.shuffle(items)
    shuffled = list(seeds)
    random.shuffle(shuffled)
    assert rank(dict(items), shuffled) == rank(weights, seeds)


@given(WEIGHTS, SEEDS)
def test_no_rank_comes_from_nowhere(weights, seeds) -> None:
    """All ranks together never exceed the whole, and only flooring is lost."""
    total = sum(rank(weights, seeds).values())
    assert total <= SCALE
    assert not seeds or total > SCALE - 2 * (len(weights) + len(NAMES) * len(NAMES) + 2)


def test_without_seeds_nobody_has_a_rank() -> None:
    """No seeds: 0 for everybody (with a uniform start sybils would win)."""
    assert set(rank(HONEST, []).values()) == {0}


def test_a_clique_without_an_edge_from_outside_has_nothing() -> None:
    """Reference: four honest nodes, seed 1, a clique of three sybils: their share is 0, as are a thousand's."""
    sybils = [f"s{i}" for i in range(3)]
    clique = {(a, b): 10_000 for a in sybils for b in sybils if a != b}
    many = {(f"t{i}", f"t{(i + step) % 1000}"): 10_000 for i in range(1000) for step in (1, 2)}
    ranks = rank({**HONEST, **clique, **many}, ["1"])
    assert sum(ranks[name] for name in ranks if name[0] in "st") == 0
    assert {name: ranks[name] for name in "1234"} == rank(HONEST, ["1"])


def test_self_attestation_is_ignored() -> None:
    """Attack: an edge to oneself changes nothing."""
    assert rank({**HONEST, ("4", "4"): 10_000}, ["1"]) == rank(HONEST, ["1"])


def test_mutual_praise_adds_nothing() -> None:
    """Attack: two that praise each other without an edge from outside stay at 0, and lower nobody."""
    praise = {("x", "y"): 10_000, ("y", "x"): 10_000, ("x", "1"): 1}
    ranks = rank({**HONEST, **praise}, ["1"])
    assert (ranks["x"], ranks["y"]) == (0, 0)
    assert {name: ranks[name] for name in "1234"} == rank(HONEST, ["1"])


@pytest.mark.parametrize("size", [1, 2, 10, 1000])
@pytest.mark.parametrize("weight", [1, 10, 10_000])
def test_a_compromised_node_lets_in_no_more_than_the_bound(size: int, weight: int) -> None:
    """Attack: the group that v lets in has at most ((1−α)/α)·c·t_v, and all but flooring of it when it is a sink."""
    sybils = [f"s{i}" for i in range(size)]
    ring = {(sybils[i], sybils[(i + 1) % size]): 10_000 for i in range(size)} if size > 1 else {}
    ranks = rank({**HONEST, ("3", "s0"): weight, **ring}, ["1"])
    given_by_3 = 10 + weight
    bound = (10**4 - ALPHA) * weight * ranks["3"] // (ALPHA * given_by_3)
    share = sum(ranks[name] for name in sybils)
    assert share <= bound
    if size > 1:
        assert share > bound - 64 * size


@given(WEIGHTS, st.integers(1, 10_000))
def test_sybils_gain_no_more_than_the_bound_in_any_graph(weights, weight) -> None:
    """Property: whatever the graph, one edge a→s0 into a group that nobody else praises gives it at most the bound."""
    ring = {("s0", "s1"): 10_000, ("s1", "s2"): 5_000, ("s2", "s0"): 10_000, ("s1", "s0"): 5_000}
    given_by_a = weight + sum(value for (a, b), value in weights.items() if a == "a" and b != "a")
    ranks = rank({**weights, ("a", "s0"): weight, **ring}, ["b"])
    share = ranks["s0"] + ranks["s1"] + ranks["s2"]
    # One unit for each floor that t_a may still lose between two rounds.
    assert share <= (10**4 - ALPHA) * weight * ranks.get("a", 0) // (ALPHA * given_by_a) + 64


def test_fresh_identities_lower_nobody() -> None:
    """Attack: edges from identities that nobody praises, to whomever, change no honest rank."""
    fresh = {(f"f{i}", target): 10_000 for i in range(100) for target in "1234"}
    ranks = rank({**HONEST, **fresh}, ["1"])
    assert {name: ranks[name] for name in "1234"} == rank(HONEST, ["1"])
