"""What a resumption cites, and what a checkpoint from outside says: every single-field mutation is named."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.quarantine import (
    SYSTEM,
    Cause,
    Quarantine,
    ResumptionError,
    check_resumption,
    compare,
    evidence_bytes,
    raised_draft,
    resumed_draft,
)
from quorate.audit.record import Record
from quorate.canonical import digest_of_bytes, parse_json

CHAIN = "mesh/acme"
HEAD = bytes(range(32))
OPEN = Quarantine(CHAIN, 3, Cause.DATABASE_BEHIND, "behind", 1_700_000_000_000_000, 4, 7, HEAD, {"note": "n"})
LOST = Checkpoint(CHAIN, 9, bytes(32))


def entry(quarantine: Quarantine = OPEN, *names: str, finding: str | None = None) -> tuple[Record, dict[str, Any]]:
    """Record and content of a resumption with signatures of these names."""
    terms = {**quarantine.terms, **({} if finding is None else {"finding": finding})}
    signed = [{"statement": {"keyName": name, "statement": terms}, "signature": "x"} for name in names]
    draft = resumed_draft(
        quarantine, phase_id="5.5", now=1, lost=[LOST], finding=finding, signatures=signed, verification={}
    )
    record = Record(quarantine.chain_id, quarantine.epoch + 1, quarantine.size, 1, quarantine.head, bytes(32), b"")
    return record, parse_json(draft.content)


def test_a_resumption_that_cites_its_place() -> None:
    """Its lost checkpoints come back; with a finding it holds as well."""
    assert check_resumption(*entry(OPEN, "alice", "bob")) == [LOST]
    assert check_resumption(*entry(OPEN, "alice", "bob", finding="why")) == [LOST]


def test_system_takes_one_signature() -> None:
    """The statement of the installation's key holds the terms itself."""
    quarantine = replace(OPEN, chain_id=SYSTEM)
    record, content = entry(quarantine)
    signed = {"statement": {**quarantine.terms, "keyName": SYSTEM, "at": "t"}, "signature": "x"}
    content["payload"]["detail"]["signatures"] = [signed]
    assert len(check_resumption(record, content)) == 1


@pytest.mark.parametrize("change", [{"epoch": 6}, {"sequence": 8}, {"previous": bytes(32)}, {"chain_id": "mesh/other"}])
def test_another_place(change: Mapping[str, Any]) -> None:
    """Moved to another place of any chain it is no resumption."""
    record, content = entry(OPEN, "alice", "bob")
    with pytest.raises(ResumptionError, match="the resumption cites"):
        check_resumption(replace(record, **change), content)


@pytest.mark.parametrize("name", ["chain", "quarantine", "epoch", "size", "head"])
def test_another_detail(name: str) -> None:
    """Whatever it cites differently from its place, or from what was signed, is named."""
    record, content = entry(OPEN, "alice", "bob")
    content["payload"]["detail"][name] = 99
    with pytest.raises(ResumptionError):
        check_resumption(record, content)
    record, content = entry(OPEN, "alice", "bob")
    content["payload"]["detail"]["signatures"][1]["statement"]["statement"] = {**OPEN.terms, name: 99}
    with pytest.raises(ResumptionError, match="'bob' is not about this resumption"):
        check_resumption(record, content)


@pytest.mark.parametrize("names", [(), ("alice",), ("alice", "alice")])
def test_too_few_names(names: tuple[str, ...]) -> None:
    """Two signatures of different names, or it is none."""
    with pytest.raises(ResumptionError, match="it takes 2"):
        check_resumption(*entry(OPEN, *names))


def test_a_finding_that_was_not_signed() -> None:
    """A finding that the signers did not state, or one that is left out."""
    record, content = entry(OPEN, "alice", "bob")
    content["payload"]["detail"]["finding"] = "all is well"
    with pytest.raises(ResumptionError):
        check_resumption(record, content)
    record, content = entry(OPEN, "alice", "bob", finding="disk failure")
    del content["payload"]["detail"]["finding"]
    with pytest.raises(ResumptionError):
        check_resumption(record, content)


@pytest.mark.parametrize(
    "lost", [None, 5, [5], [{}], [{"size": "x", "root": "y"}], [{"size": 1, "root": "y"}], [{"size": None, "root": ""}]]
)
def test_lost_of_the_wrong_form(lost: Any) -> None:
    """Hostile content is refused, not crashed on."""
    record, content = entry(OPEN, "alice", "bob")
    content["payload"]["detail"]["lost"] = lost
    with pytest.raises(ResumptionError):
        check_resumption(record, content)


@pytest.mark.parametrize(
    "change",
    [
        {"event_type": "governance.vote.accepted"},
        {"payload": {}},
        {"payload": None},
        {"payload": {"detail": []}},
        {"payload": {"detail": {"signatures": 5}}},
    ],
)
def test_another_entry(change: Mapping[str, Any]) -> None:
    """Nothing else may begin an epoch, whatever its form."""
    record, content = entry(OPEN, "alice", "bob")
    with pytest.raises(ResumptionError):
        check_resumption(record, {**deepcopy(content), **change})


@pytest.mark.parametrize("signatures", [5, [5], [{"statement": 5}], [{"statement": {"statement": 5}}], [{}, {}]])
def test_signatures_of_the_wrong_form(signatures: Any) -> None:
    """As are signatures that are none."""
    record, content = entry(OPEN, "alice", "bob")
    content["payload"]["detail"]["signatures"] = signatures
    with pytest.raises(ResumptionError):
        check_resumption(record, content)


def test_the_raised_entry() -> None:
    """It says what is signed to resume, and names the evidence by digest."""
    draft = raised_draft(OPEN, 5)
    assert {name: draft.detail[name] for name in OPEN.terms} == OPEN.terms
    assert draft.detail["evidence"] == digest_of_bytes(evidence_bytes(OPEN))
    assert draft.detail["raisedAt"] == "2023-11-14T22:13:20.000000Z"
    assert parse_json(draft.content)["payload"]["tether"]["phaseId"] == "0"


@pytest.mark.parametrize(
    ("size", "root", "cause"),
    [
        (9, bytes(32), None),
        (20, bytes(32), None),
        (8, None, Cause.DATABASE_BEHIND),
        (0, None, Cause.CHAIN_LOST),
        (9, HEAD, Cause.OTHER_HISTORY),
        (20, None, Cause.OTHER_HISTORY),
    ],
)
def test_a_checkpoint_from_outside(size: int, root: bytes | None, cause: Cause | None) -> None:
    """A checkpoint of 9 entries against databases of other sizes and roots."""
    finding = compare(LOST, size, root, source="here", note="n")
    assert (finding.cause if finding else None) == cause
    assert finding is None or finding.evidence == {"note": "n", "source": "here", "size": size}
