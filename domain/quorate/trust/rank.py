"""Domain-wide reputation: a rank personalised on seeds, in fixed point (governance.md, "Trust").

t'_j = ⌊α·p_j/10⁴⌋ + Σ_i ⌊(10⁴−α)·t_i·w_ij/(10⁴·Σw_i)⌋, 64 rounds from t = p; a node without edges gives to p. All mass
comes from the seeds, so whoever nobody vouches for has none, however many identities it makes up.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import gcd
from operator import floordiv, mul

SCALE = 10**12
ROUNDS = 64
ALPHA = 5_000
_WHOLE = 10_000


def rank(weights: Mapping[tuple[str, str], int], seeds: Iterable[str]) -> dict[str, int]:
    """The reputation of every node, in units of 10⁻¹² of the whole; each term of the sum is floored.

    Args:
        weights: (attester, subject) → weight of the edge, basis points; an edge to oneself is ignored.
        seeds: nodeIds that share p equally, ⌊10¹²/number⌋ each; none: every reputation is 0.
    """
    start = sorted(set(seeds))
    edges = {pair: weight for pair, weight in weights.items() if pair[0] != pair[1]}
    nodes = sorted({node for pair in edges for node in pair}.union(start))
    if not start:
        return dict.fromkeys(nodes, 0)
    place = {node: index for index, node in enumerate(nodes)}
    seeded = [SCALE // len(start) if node in set(start) else 0 for node in nodes]
    found = _Rounds(_rows(edges, place, [place[seed] for seed in start]), len(nodes)).run(seeded)
    return dict(zip(nodes, found, strict=True))


def _rows(
    edges: Mapping[tuple[str, str], int], place: Mapping[str, int], start: list[int]
) -> list[tuple[int, int, int]]:
    """(subject, attester, weight), in order; a node without edges gives to each seed alike."""
    rows = [(place[subject], place[attester], weight) for (attester, subject), weight in edges.items()]
    giving = {attester for _, attester, _ in rows}
    rows += [(seed, node, 1) for node in place.values() if node not in giving for seed in start]
    return sorted(rows)


class _Rounds:
    """The rounds over flat rows in order of subject: a subject's sum is a difference of running totals."""

    def __init__(self, rows: list[tuple[int, int, int]], nodes: int) -> None:
        # (10⁴−α)/10⁴ in lowest terms: the same fraction, so the same floor, of smaller integers.
        common = gcd(_WHOLE - ALPHA, _WHOLE)
        share, whole = (_WHOLE - ALPHA) // common, _WHOLE // common
        given, received = [0] * nodes, [0] * (nodes + 1)
        for subject, attester, weight in rows:
            given[attester] += weight
            received[subject + 1] += 1
        self._bounds = list(accumulate(received))
        self._from = [attester for _, attester, _ in rows]
        self._by = [share * weight for _, _, weight in rows]
        self._over = [whole * given[attester] for _, attester, _ in rows]

    def run(self, seeded: list[int]) -> list[int]:
        """64 rounds; once a round changes nothing the others would not either."""
        kept = [ALPHA * mass // _WHOLE for mass in seeded]
        mass = seeded
        for _ in range(ROUNDS):
            terms = map(floordiv, map(mul, map(mass.__getitem__, self._from), self._by), self._over)
            totals = list(accumulate(terms, initial=0))
            ends = [totals[bound] for bound in self._bounds]
            after = [own + high - low for own, low, high in zip(kept, ends, ends[1:], strict=False)]
            if after == mass:
                break
            mass = after
        return mass
