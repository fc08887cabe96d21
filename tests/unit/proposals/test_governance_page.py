"""The worked example of docs/governance.md is what the code computes."""

from pathlib import Path

from quorate.proposals.tally import Rules, Sums, surely_passes, tests, veto_holds

PAGE = (Path(__file__).resolve().parents[3] / "docs/governance.md").read_text()
RULES = Rules(written={}, period=300, quorum=5000, threshold=5000, veto=3300, minimum_voters=2, early=True)
TWO = Sums(approve=6000, voters=2, total=10000, outstanding_voters=2, outstanding_veto=4000)
THREE = Sums(approve=8000, voters=3, total=10000, outstanding_voters=1, outstanding_veto=2000)
SIGNS = {"quorum": "≥", "minimumVoters": "≥", "threshold": ">"}


def test_the_numbers_are_those_of_the_tally() -> None:
    """Both sides of each test of the example stand on the page."""
    example = PAGE[PAGE.index("## Worked example") :].replace("· 10000", "").replace("· 6000", "")
    for test in tests(RULES, TWO, 0):
        if test.name in SIGNS:
            row = next(line for line in example.splitlines() if line.startswith(f"| {test.name} |"))
            assert test.holds
            assert f"{test.left} {SIGNS[test.name]} " in row
            assert str(test.right) in row


def test_the_witnesses_veto_is_waited_for() -> None:
    """Two hubs alone do not decide; with one witness the other's veto no longer can."""
    assert (TWO.all_veto().veto * 10000, 3300 * TWO.all_veto().cast) == (40_000_000, 33_000_000)
    assert veto_holds(RULES, TWO.all_veto())
    assert not surely_passes(RULES, TWO)
    assert (THREE.all_veto().veto * 10000, 3300 * THREE.all_veto().cast) == (20_000_000, 33_000_000)
    assert surely_passes(RULES, THREE)
