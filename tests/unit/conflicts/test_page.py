"""The worked example of docs/conflicts.md is what the code computes."""

import re
from pathlib import Path

from quorate.api.policy_conflict import Cause
from quorate.conflicts.arbitrators import rank
from quorate.conflicts.document import ConflictEvent

PAGE = (Path(__file__).resolve().parents[3] / "docs/conflicts.md").read_text()


def test_the_hashes_are_those_that_choose() -> None:
    """Each nodeId of the example is followed by its rank, in the order in which they are given."""
    example = PAGE[PAGE.index("## Worked example") :]
    nodes = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", example)
    hashes = re.findall(r"^([0-9a-f]{64})  -$", example, re.MULTILINE)
    assert len(nodes) == 3
    assert hashes == [rank("sha256:" + "0" * 64, node).hex() for node in nodes]


def test_every_cause_and_entry_is_explained() -> None:
    """Each cause stands in the table of conflicts, each entry in the table of entries."""
    assert [cause for cause in Cause if f"| `{cause}` |" not in PAGE] == []
    assert [event for event in ConflictEvent if f"| `{event}` |" not in PAGE] == []
