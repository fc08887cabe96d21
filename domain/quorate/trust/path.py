"""The score of one node in the eyes of another: the best path of attestations (governance.md, "Trust").

From s₀ = 10000, per edge, the first included: s ← ⌊⌊s·w/10⁴⌋·d/10⁴⌋. A step never raises a score and never turns two
around, so the best score over paths of at most n edges comes from the best scores over n−1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quorate.trust.edges import FULL, Edge, Graph


@dataclass(frozen=True)
class ScoreRules:
    """`trust` of a domain: decay per hop, longest path, lowest score that counts as trusted, seeds.

    Absent decay is none, absent maxChainLength one edge; without `trust` nothing says how to score: `length` is 0, and
    so is every score.
    """

    decay: int = FULL
    length: int = 1
    minimum: int | None = None
    seeds: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "ScoreRules":
        """From a TrustDomain's spec."""
        written = spec.get("trust")
        if written is None:
            return cls(length=0)
        decay, length = written.get("decayBasisPoints"), written.get("maxChainLength")
        return cls(
            FULL if decay is None else int(decay),
            1 if length is None else int(length),
            written.get("minScoreBasisPoints"),
            tuple(dict.fromkeys(written.get("seeds") or ())),
        )


@dataclass(frozen=True, slots=True)
class Hop:
    """One edge of a path; `score` is what is left after it."""

    edge: Edge
    score: int


@dataclass(frozen=True)
class Path:
    """A best path; no hops: there is none, and the score is 0."""

    source: str
    target: str
    hops: tuple[Hop, ...] = ()

    @property
    def score(self) -> int:
        """In basis points; 0 without a path."""
        return self.hops[-1].score if self.hops else 0


@dataclass(frozen=True, slots=True)
class _Reached:
    """The best way to a node with at most so many edges."""

    score: int
    edge: Edge
    before: "_Reached | None"


_NONE: Mapping[str, Edge] = {}


def step(score: int, weight: int, decay: int) -> int:
    """What is left of a score after one edge."""
    return score * weight // FULL * decay // FULL


class Scores:
    """The best path from one node to every other, within a domain's rules."""

    def __init__(self, graph: Graph, source: str, rules: ScoreRules) -> None:
        self.source = source
        self._best = _search(graph, source, rules)

    def of(self, target: str) -> int:
        """The score of a node: 0 without a path, and for the source itself."""
        found = self._best.get(target)
        return 0 if found is None else found.score

    def path(self, target: str) -> Path:
        """The path behind the score: of equal ones the shortest, then that over the lower nodeId."""
        hops: list[Hop] = []
        at = self._best.get(target)
        while at is not None:
            hops.append(Hop(at.edge, at.score))
            at = at.before
        return Path(self.source, target, tuple(reversed(hops)))


def _search(graph: Graph, source: str, rules: ScoreRules) -> Mapping[str, _Reached]:
    best: dict[str, _Reached] = {}
    scores: dict[str, int] = {}
    decay = rules.decay
    frontier: dict[str, _Reached | None] = {source: None}
    for _ in range(rules.length):
        better: dict[str, _Reached] = {}
        for node in sorted(frontier):
            way = frontier[node]
            score = FULL if way is None else way.score
            for subject, edge in graph.out.get(node, _NONE).items():
                left = score * edge.weight // FULL * decay // FULL  # `step`, which is too dear to call here
                if left > scores.get(subject, 0) and subject != source:
                    scores[subject] = left
                    better[subject] = _Reached(left, edge, way)
        if not better:
            break
        best |= better
        frontier = dict(better)
    return best


def best_path(graph: Graph, source: str, target: str, rules: ScoreRules) -> Path:
    """The best path between two nodes; a node to itself has none."""
    return Scores(graph, source, rules).path(target)
