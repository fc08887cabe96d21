"""The worked example of docs/governance.md is what the code computes."""

from pathlib import Path

from quorate.proposals import tally

PAGE = (Path(__file__).resolve().parents[3] / "docs/governance.md").read_text()
RULES = tally.Rules(written={}, period=300, quorum=5000, threshold=5000, veto=3300, minimum_voters=2, early=True)
TWO = tally.Sums(approve=6000, voters=2, total=10000, outstanding_voters=2, outstanding_veto=4000)
THREE = tally.Sums(approve=8000, voters=3, total=10000, outstanding_voters=1, outstanding_veto=2000)
SIGNS = {"quorum": "≥", "minimumVoters": "≥", "threshold": ">"}


def test_the_numbers_are_those_of_the_tally() -> None:
    """Both sides of each test of the example stand on the page, and each holds."""
    example = PAGE[PAGE.index("## Worked example") :]
    shown = [test for test in tally.tests(RULES, TWO, 0) if test.name in SIGNS]
    rows = {name: next(line for line in example.splitlines() if line.startswith(f"| {name} |")) for name in SIGNS}
    assert all(test.holds for test in shown)
    assert all(f"{test.left} {SIGNS[test.name]} " in rows[test.name] for test in shown)
    assert all(f"{test.right} |" in rows[test.name] for test in shown)


def test_the_witnesses_veto_is_waited_for() -> None:
    """Two hubs alone do not decide; with one witness the other's veto no longer can."""
    assert not tally.surely_passes(RULES, TWO)
    assert tally.surely_passes(RULES, THREE)
    both, one = TWO._replace(veto=4000), THREE._replace(veto=2000)
    assert (both.veto * 10000, 3300 * both.cast, tally.veto_holds(RULES, both)) == (40_000_000, 33_000_000, True)
    assert (one.veto * 10000, 3300 * one.cast, tally.veto_holds(RULES, one)) == (20_000_000, 33_000_000, False)
