"""docs/trust.md: its worked example and its numbers are what the code gives."""

import re
from pathlib import Path

from quorate.api.attestation import AttestationType
from quorate.api.conditions import Reason
from quorate.trust.path import ScoreRules, Scores
from quorate.trust.rank import rank
from quorate.trust.wilson import wilson
from tests.unit.trust.vouching import graph

PAGE = (Path(__file__).parents[3] / "docs/trust.md").read_text()
EXAMPLE = PAGE[PAGE.index("## Worked example") : PAGE.index("## Boundaries")]
EDGES = [(a, b, int(weight)) for a, b, weight in re.findall(r"^\| ([\w-]+) \| ([\w-]+) \| (\d+) \|$", EXAMPLE, re.M)]


def test_the_worked_example() -> None:
    """Scores, paths and ranks of the table follow from its edges."""
    decay, length, seed = re.findall(r"decay (\d+), maxChainLength (\d+), seed ([\w-]+)", EXAMPLE)[0]
    scores = Scores(graph(*EDGES), seed, ScoreRules(int(decay), int(length)))
    ranks = rank({(a, b): weight for a, b, weight in EDGES}, [seed])
    rows = re.findall(r"^\| ([\w-]+) \| (\d+) \| ([\w -]+) \| (\d+) \|$", EXAMPLE, re.M)
    assert len(EDGES) == 5
    assert len(rows) == 4
    for node, score, path, share in rows:
        hops = scores.path(node).hops
        shown = " ".join([seed, *(hop.edge.subject for hop in hops)]) if hops else "-"
        assert (scores.of(node), shown, ranks[node]) == (int(score), path, int(share))


def test_small_samples() -> None:
    """The three examples of the Wilson bound."""
    found = re.findall(r"(\d+) of (\d+) is (\d+)", PAGE)
    assert [(int(s), int(n), wilson(int(s), int(n))) for s, n, _ in found] == [
        (int(s), int(n), int(bound)) for s, n, bound in found
    ]
    assert len(found) == 3


def test_every_type_and_verdict_has_a_row() -> None:
    """Each type of attestation and each verdict of a boundary stands in a table."""
    rows = " ".join(re.findall(r"^\| ([\w, ]+) \|", PAGE, re.M))
    assert [str(item) for item in AttestationType if str(item) not in rows] == []
    assert [str(item) for item in Reason if item.startswith("Boundary") and str(item) not in rows] == []
