"""Reputation of a domain: a thousand nodes and ten thousand edges, and what one edge more costs."""

import random
import time
from collections.abc import Callable, Iterator

from quorate.trust.edges import Edge, Graph
from quorate.trust.path import ScoreRules, Scores
from quorate.trust.rank import ROUNDS, SCALE, rank
from tests.bench.figure import Figure, percentile

NODES, EDGES, SEEDS, ADDED = 1_000, 10_000, 5, 30
_RULES = ScoreRules(decay=9_000, length=6)


def run() -> Iterator[Figure]:
    """Rank of the whole domain, and rank and scores again after one more edge."""
    graph = _graph(random.Random(1))
    names = sorted({edge.attester for edge in graph.edges.values()})
    seeds = names[:SEEDS]
    floor = percentile(_milliseconds(lambda _: _floats(graph, seeds), 5), 50)
    ranks = _milliseconds(lambda _: rank(graph.weights, seeds), 9)
    yield Figure("reputation of 1000 nodes and 10 000 edges, p50", percentile(ranks, 50), "ms",
                 "64 rounds of the same in floating point, no flooring", floor, 100.0)  # fmt: skip
    extra = [Edge(names[-1 - i], names[i], 5_000, f"added-{i}", 1, None) for i in range(ADDED)]
    scores = _milliseconds(lambda i: Scores(_with(graph, extra[i]), seeds[0], _RULES), ADDED)
    yield Figure("an edge added: scores of all nodes from a root, p50", percentile(scores, 50), "ms",
                 "reputation of all nodes", percentile(ranks, 50), 10.0)  # fmt: skip
    added = _milliseconds(lambda i: rank(_with(graph, extra[i]).weights, seeds), 9)
    yield Figure("an edge added: reputation of all nodes, p50", percentile(added, 50), "ms",
                 "reputation of all nodes", percentile(ranks, 50), 10.0)  # fmt: skip


def _graph(source: random.Random) -> Graph:
    names = [f"node-{number:04}" for number in range(NODES)]
    edges: dict[tuple[str, str], Edge] = {}
    while len(edges) < EDGES:
        a, b = source.choice(names), source.choice(names)
        if a != b:
            edges[a, b] = Edge(a, b, source.randint(1, 10_000), f"{a}>{b}", 1, None)
    return Graph(edges.values())


def _with(graph: Graph, edge: Edge) -> Graph:
    return graph.changed({(edge.attester, edge.subject): edge})


def _floats(graph: Graph, seeds: list[str]) -> dict[str, float]:
    """What a textbook does: power iteration over the same rows."""
    given: dict[str, int] = {}
    for (attester, _), weight in graph.weights.items():
        given[attester] = given.get(attester, 0) + weight
    start = {seed: SCALE / len(seeds) for seed in seeds}
    mass = dict(start)
    for _ in range(ROUNDS):
        after = {node: value / 2 for node, value in start.items()}
        for (attester, subject), weight in graph.weights.items():
            after[subject] = after.get(subject, 0.0) + mass.get(attester, 0.0) * weight / (2 * given[attester])
        mass = after
    return mass


def _milliseconds(work: Callable[[int], object], times: int) -> list[float]:
    found = []
    for index in range(times):
        begun = time.perf_counter()
        work(index)
        found.append(1000 * (time.perf_counter() - begun))
    return found
