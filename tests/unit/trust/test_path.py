"""Path scores: fixed point, decay, bounds, and that attacks gain nothing."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.trust.edges import FULL, Graph
from quorate.trust.path import ScoreRules, Scores, best_path, step
from tests.unit.trust.vouching import edge, graph

NAMES = "abcdefg"
GRAPHS = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), st.integers(1, FULL), max_size=30
).map(lambda found: [(a, b, weight) for (a, b), weight in found.items()])
RULES = st.builds(ScoreRules, st.integers(0, FULL), st.integers(1, 6))


def score(edges, source, target, rules) -> int:
    return best_path(graph(*edges), source, target, rules).score


def naive(edges, source, target, rules) -> int:
    """Every walk of at most `length` edges, one by one."""
    best, frontier = 0, {(source, FULL)}
    for _ in range(rules.length):
        frontier = {
            (b, left)
            for at, so_far in frontier
            for a, b, weight in edges
            if a == at and a != b and (left := so_far * weight // FULL * rules.decay // FULL)
        }
        best = max([best, *(left for at, left in frontier if at == target)])
    return 0 if source == target else best


@pytest.mark.parametrize(
    ("weights", "decay", "expected"),
    [
        ([10_000], 10_000, 10_000),
        ([10_000], 9000, 9000),
        ([9000, 8000], 9000, 5832),
        ([9999, 9999], 9999, 9996),
        ([1], 10_000, 1),
        ([1], 9999, 0),
        ([3333, 3333, 3333], 3333, 13),
        ([10_000], 0, 0),
    ],
)
def test_each_step_is_floored_twice(weights, decay, expected) -> None:
    """S ← ⌊⌊s·w/10⁴⌋·d/10⁴⌋ from 10000, the first hop included."""
    edges = [(NAMES[i], NAMES[i + 1], weight) for i, weight in enumerate(weights)]
    assert score(edges, "a", NAMES[len(weights)], ScoreRules(decay, 6)) == expected


def test_the_floor_falls_between_the_two_factors() -> None:
    """⌊⌊s·w⌋·d⌋ is not ⌊s·w·d⌋: 5000·3333·9999 shows it."""
    assert step(5000, 3333, 9999) == 1665
    assert step(1, 9999, 10_000) == 0


def test_nobody_is_reached_without_a_path() -> None:
    """No path, an edge against the direction, and oneself: 0."""
    edges = [("b", "a", FULL)]
    assert [score(edges, "a", target, ScoreRules(FULL, 6)) for target in "abz"] == [0, 0, 0]


def test_the_longest_chain_is_a_bound() -> None:
    """A path of maxChainLength edges counts, a longer one does not."""
    edges = [("a", "b", FULL), ("b", "c", FULL), ("c", "d", FULL)]
    assert [score(edges, "a", "d", ScoreRules(FULL, length)) for length in (2, 3)] == [0, FULL]


def test_a_worse_but_shorter_way_still_leads_on() -> None:
    """Within maxChainLength the better way to a node may be too long to go on from."""
    edges = [("a", "c", 100), ("a", "b", FULL), ("b", "c", FULL), ("c", "d", FULL)]
    assert score(edges, "a", "d", ScoreRules(FULL, 2)) == 100
    assert score(edges, "a", "d", ScoreRules(FULL, 3)) == FULL


def test_what_a_domain_does_not_say() -> None:
    """Without `trust` every score is 0; absent decay is none, absent maxChainLength one edge."""
    edges = [("a", "b", FULL), ("b", "c", FULL)]
    assert score(edges, "a", "b", ScoreRules.of({})) == 0
    assert [score(edges, "a", target, ScoreRules.of({"trust": {}})) for target in "bc"] == [FULL, 0]
    rules = ScoreRules.of({"trust": {"decayBasisPoints": 0, "maxChainLength": 9}})
    assert score(edges, "a", "b", rules) == 0


def test_mutual_praise_without_an_edge_from_outside_adds_nothing() -> None:
    """Attack: two that praise each other, and a thousand fresh identities around them, all have score 0."""
    clique = [(f"s{i}", f"s{j}", FULL) for i in range(1000) for j in ((i + 1) % 1000, (i + 7) % 1000)]
    scores = Scores(graph(("a", "b", 9000), *clique), "a", ScoreRules(9000, 64))
    assert max(scores.of(f"s{i}") for i in range(1000)) == 0
    assert scores.of("b") == 8100


def test_a_compromised_node_gives_at_most_its_own_score() -> None:
    """Attack: what hangs on one node, however much it is praised there, stays below that node's score."""
    sybils = [("v", "s0", FULL)] + [(f"s{i}", f"s{j}", FULL) for i in range(50) for j in range(50)]
    scores = Scores(graph(("a", "v", 6000), *sybils), "a", ScoreRules(9500, 64))
    assert max(scores.of(f"s{i}") for i in range(50)) == step(scores.of("v"), FULL, 9500)


@given(GRAPHS, RULES)
def test_the_best_of_all_walks(edges, rules) -> None:
    """The score is the maximum over every walk of at most maxChainLength edges: cycles add nothing."""
    scores = Scores(graph(*edges), "a", rules)
    assert [scores.of(target) for target in NAMES] == [naive(edges, "a", target, rules) for target in NAMES]


@given(GRAPHS, RULES, st.randoms(use_true_random=False))
def test_order_never_matters(edges, rules, random) -> None:
    """The same path, whatever the order in which edges are given."""
    shuffled = list(edges)
    random.shuffle(shuffled)
    one, other = Scores(graph(*edges), "a", rules), Scores(graph(*shuffled), "a", rules)
    assert [one.path(target) for target in NAMES] == [other.path(target) for target in NAMES]


@given(GRAPHS, RULES)
def test_never_above_the_weakest_edge_nor_growing_with_hops(edges, rules) -> None:
    """A score is at most every weight on its path, falls from hop to hop, and the path explains it."""
    scores = Scores(graph(*edges), "a", rules)
    for target in NAMES:
        path = scores.path(target)
        left = [FULL, *(hop.score for hop in path.hops)]
        assert all(after <= before for before, after in pairwise(left))
        assert path.score <= min([FULL, *(hop.edge.weight for hop in path.hops)])
        assert len(path.hops) <= rules.length
        ends = ["a", *(hop.edge.subject for hop in path.hops)]
        assert [hop.edge.attester for hop in path.hops] == ends[:-1]
        assert not path.hops or ends[-1] == target


@given(GRAPHS, RULES, st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(1, FULL))
def test_another_edge_never_lowers_a_score(edges, rules, a, b, weight) -> None:
    """Where there was no edge, one more only helps: negative reports do not exist, so none can lower anybody."""
    before = graph(*edges)
    if (a, b) in before.edges:
        return
    after = before.changed({(a, b): edge(a, b, weight)})
    assert isinstance(after, Graph)
    old, new = Scores(before, "a", rules), Scores(after, "a", rules)
    assert all(new.of(target) >= old.of(target) for target in NAMES)
