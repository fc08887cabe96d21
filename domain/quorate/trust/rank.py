"""Domain-wide reputation: a rank personalised on seeds, in fixed point (governance.md, "Trust").

t'_j = ⌊α·p_j/10⁴⌋ + Σ_i ⌊(10⁴−α)·t_i·w_ij/(10⁴·Σw_i)⌋, 64 rounds from t = p; a node without edges gives to p. All mass
comes from the seeds, so whoever nobody vouches for has none, however many identities it makes up.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import gcd
from operator import floordiv, itemgetter, mul

SCALE = 10**12
ROUNDS = 64
ALPHA = 5_000
_WHOLE = 10_000
_FEW = 8
"""Where less than one node in so many changed, the terms of the others are not computed again."""


def rank(weights: Mapping[tuple[str, str], int], seeds: Iterable[str]) -> dict[str, int]:
    """The reputation of every node, in units of 10⁻¹² of the whole; each term of the sum is floored.

    Args:
        weights: (attester, subject) → weight of the edge, basis points; an edge to oneself is ignored.
        seeds: nodeIds that share p equally, ⌊10¹²/number⌋ each; none: every reputation is 0.
    """
    start = frozenset(seeds)
    nodes = sorted({node for pair in weights for node in pair if pair[0] != pair[1]} | start)
    if not start:
        return dict.fromkeys(nodes, 0)
    place = {node: index for index, node in enumerate(nodes)}
    given: list[list[tuple[int, int]]] = [[] for _ in nodes]
    for (attester, subject), weight in weights.items():
        if attester != subject:
            given[place[attester]].append((place[subject], weight))
    alike = [(place[seed], 1) for seed in start]
    seeded = [SCALE // len(start) if node in start else 0 for node in nodes]
    found = _Rounds([row or alike for row in given]).run(seeded)
    return dict(zip(nodes, found, strict=True))


class _Rounds:
    """The rounds over flat terms in order of subject: a subject's sum is a difference of running totals.

    Args:
        given: (subject, weight) of every edge, by attester.
    """

    def __init__(self, given: list[list[tuple[int, int]]]) -> None:
        # (10⁴−α)/10⁴ in lowest terms: the same fraction, so the same floor, of smaller integers.
        common = gcd(_WHOLE - ALPHA, _WHOLE)
        share, whole = (_WHOLE - ALPHA) // common, _WHOLE // common
        self._out: list[list[tuple[int, int, int]]] = []
        received = [0] * (len(given) + 1)
        for row in given:
            over = whole * sum(weight for _, weight in row)
            self._out.append([(subject, share * weight, over) for subject, weight in row])
            for subject, _ in row:
                received[subject + 1] += 1
        terms = [(subject, attester, by, over) for attester, row in enumerate(self._out) for subject, by, over in row]
        terms.sort(key=itemgetter(0))
        _, self._from, self._by, self._over = zip(*terms, strict=True)
        self._bounds = list(accumulate(received))

    def run(self, seeded: list[int]) -> list[int]:
        """64 rounds; once a round changes nothing the others would not either."""
        kept = [ALPHA * mass // _WHOLE for mass in seeded]
        before, mass, after = [0] * len(seeded), seeded, kept  # whoever has nothing gives nothing: of 0 comes `kept`
        for _ in range(ROUNDS):
            changed = [node for node, (old, new) in enumerate(zip(before, mass, strict=True)) if old != new]
            if not changed:
                break
            few = len(changed) * _FEW < len(mass)
            after = self._moved(changed, before, mass, after) if few else self._round(kept, mass)
            before, mass = mass, after
        return mass

    def _round(self, kept: list[int], mass: list[int]) -> list[int]:
        terms = map(floordiv, map(mul, map(mass.__getitem__, self._from), self._by), self._over)
        totals = list(accumulate(terms, initial=0))
        ends = [totals[bound] for bound in self._bounds]
        return [own + high - low for own, low, high in zip(kept, ends, ends[1:], strict=False)]

    def _moved(self, changed: list[int], before: list[int], mass: list[int], after: list[int]) -> list[int]:
        """The same, where `after` is what came of `before`: each term is floored for itself, so the others stand."""
        found = after.copy()
        for node in changed:
            old, new = before[node], mass[node]
            for subject, by, over in self._out[node]:
                found[subject] += new * by // over - old * by // over
        return found
