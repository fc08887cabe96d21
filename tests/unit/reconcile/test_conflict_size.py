"""A conflict that hundreds decide: nothing that is written of it outgrows what it is written to."""

import pytest

from quorate.api.conditions import MAX_MESSAGE, some_of
from quorate.audit.entry import MAX_CONTENT_BYTES
from quorate.canonical import canonical_bytes
from quorate.proposals.evidence import Pinned, verify

from . import town as towns
from .test_conflicts import adopt, propose
from .town import CHAIN, STANDARD, Town

MANY = tuple(f"m{number}" for number in range(300))


async def test_three_hundred_hubs_do_not_stop_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody votes at two levels, 298 sit at the second: the message tells the next step, entries fit, both end."""
    monkeypatch.setattr(towns, "NAMES", MANY)
    town = await Town().restart()
    await town.found(voting={"Standard": {**STANDARD, "quorumBasisPoints": 100, "timelockSeconds": 30}})
    one, other = propose(town, "a"), propose(town, "b", "m1")
    await adopt(town, one, other)
    await town.settle(102)
    (conflict,) = [key for key in town.server.objects if key.kind == "PolicyConflict"]
    await town.settle(102)
    assert len(town.status(conflict)["arbitrators"]) == 298
    message = town.condition(conflict, "Ready")[2]
    assert "… and 293 more vote with `quorate conflict arbitrate`" in message
    assert len(message) < MAX_MESSAGE
    await town.settle(102)
    assert not town.errors
    assert (town.status(conflict)["outcome"], town.status(one)["phase"]) == ("Blocked", "Failed")
    entries = [row.recorded for row in town.shared.rows[CHAIN]]
    assert max(len(canonical_bytes(item.content)) for item in entries) < MAX_CONTENT_BYTES
    (resolved,) = [item for item in entries if item.event_type == "governance.conflict.resolved"]
    assert resolved.detail["seats"] == 298
    report = verify(town.content(town.status(one)["evidenceRef"]), pinned=Pinned())
    assert report.faults == []


def test_a_list_in_a_sentence_is_short() -> None:
    """Five names, then how many more."""
    names = [f"n{number}" for number in range(900)]
    assert some_of(names) == "n0, n1, n2, n3, n4 … and 895 more"
    assert some_of(names[:5]) == "n0, n1, n2, n3, n4"
    assert some_of(names[:1], 7) == "n0 … and 2 more"
