"""The compliance report: what entries say, in the documented form, and a page that hostile entries cannot steer."""

import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.audit.entry import Draft, Tether
from quorate.audit.record import GENESIS_HASH, Record
from quorate.canonical import canonical_bytes, digest_of_bytes
from quorate_cli.audit.shown import Shown
from quorate_cli.report.collect import FORMAT, MOST_LISTED, Collector
from quorate_cli.report.page import render

SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "schemas/compliance-report.json").read_text())
VALID = jsonschema.Draft202012Validator(SCHEMA)  # compiled once: the schema is not what is tested
CHAIN = "mesh.example/fleet"
START = 1_770_000_000_000_000
ALICE, BOB = "a" * 8 + "-0000-4000-8000-000000000001", "b" * 8 + "-0000-4000-8000-000000000002"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)></style>&lt;\u202e\x1b[2J"
Entry = tuple[str, Mapping[str, Any], Mapping[str, Any]]


def shown(number: int, entry: Entry, chain: str = CHAIN) -> Shown:
    """A sealed entry: (event type, what Draft takes, detail); one second after the one before."""
    event, more, detail = entry
    given = {"subject_key": f"key{number}", "subject": {"kind": "Thing", "name": "thing"}, **more}
    draft = Draft(previous=None, event_type=event, tether=Tether("5.5"), timestamp=START, detail=detail, **given)
    return Shown.of(
        Record(chain, 0, number, START + number * 1_000_000, GENESIS_HASH, bytes(32), draft.content).encode()
    )


def content_of(*documents: Mapping[str, Any]) -> dict[str, bytes]:
    """Content by digest."""
    return {digest_of_bytes(data): data for data in map(canonical_bytes, documents)}


def report(entries: Sequence[Entry], content: Mapping[str, bytes] | None = None, since: int | None = None) -> Any:
    """The report document of entries, valid by its schema."""
    collector = Collector((content or {}).get, since)
    for number, entry in enumerate(entries):
        collector.feed(shown(number, entry))
    document = {
        "format": FORMAT,
        "generatedAt": "2026-02-03T00:00:00Z",
        "period": {"since": None, "until": None},
        "sources": ["quorate at localhost"],
        "verification": None,
        "guards": [{"source": "quorate at localhost", "ddlGuard": True, "pgaudit": False}],
        **collector.document(),
    }
    VALID.validate(document)
    return document


REVISION = {"members": [{"nodeId": ALICE, "role": "GovernanceHub", "weight": 60, "keys": []}], "adminThreshold": 1,
            "admins": [{"name": "ada", "publicKey": "x"}], "voting": {"Standard": {}}}  # fmt: skip
ASKED = {"type": "Standard", "target": {"kind": "DynamicContract", "name": "rules", "clause": "1"}, "proposer": ALICE,
         "change": {"patch": []}}  # fmt: skip
OUTCOME = {"sums": {"approve": 60, "reject": 40}, "tests": [{"name": "quorum", "left": 1, "right": 0, "holds": True}],
           "votes": [{"voter": ALICE, "choice": "Approve", "counted": True, "weight": 60, "time": "2026-02-02T00:00Z"}],
           "electorate": {"totalWeight": 100}, "rules": {}, "domains": {}}  # fmt: skip
CONTENT = content_of(REVISION, ASKED, OUTCOME)
REVISION_DIGEST, PROPOSAL, OUTCOME_DIGEST = CONTENT
OLD, NEW, EVIDENCE = (f"sha256:{letter * 64}" for letter in "def")
STORY: list[Entry] = [
    ("trust.domain.accepted", {"subject": {"kind": "TrustDomain", "name": "fleet"}},
     {"revision": 1, "digest": REVISION_DIGEST, "authority": "Admins", "firstUse": False, "previousDigest": ""}),
    ("trust.node.verified", {"subject": {"kind": "MeshNode", "name": "hub-a"}, "actor_id": ALICE}, {"reason": "Ready"}),
    ("governance.contract.genesis", {"subject_key": "c1", "subject": {"kind": "DynamicContract", "name": "rules"}},
     {"digest": OLD, "version": "v1"}),
    ("governance.proposal.opened", {"subject_key": PROPOSAL, "actor_id": ALICE,
     "subject": {"kind": "GovernanceProposal", "namespace": "default", "name": "change"}}, {"revisions": {"fleet": 1}}),
    ("governance.vote.accepted", {"actor_id": ALICE, "about": [PROPOSAL]}, {"statement": {"choice": "Approve"}}),
    ("governance.vote.refused", {"actor_id": BOB, "about": [PROPOSAL]},
     {"statement": {"choice": "Reject"}, "reason": "BadSignature", "message": "not bob's"}),
    ("governance.proposal.decided", {"subject_key": PROPOSAL, "subject": {"kind": "GovernanceProposal",
     "namespace": "default", "name": "change"}},
     {"outcome": "Adopted", "reason": "Early", "decidedAt": "2026-02-02T00:00:05Z", "outcomeDigest": OUTCOME_DIGEST}),
    ("governance.proposal.executed", {"subject_key": PROPOSAL, "subject": {"kind": "GovernanceProposal",
     "namespace": "default", "name": "change"}}, {"evidenceDigest": EVIDENCE, "resultDigest": NEW}),
    ("governance.contract.changed", {"subject_key": "c1", "subject": {"kind": "DynamicContract", "name": "rules"}},
     {"baseDigest": OLD, "digest": NEW, "version": "v2", "proposalDigest": PROPOSAL, "evidenceDigest": EVIDENCE}),
    ("governance.contract.drifted", {"subject_key": "c1", "subject": {"kind": "DynamicContract", "name": "rules"}},
     {"digest": NEW, "held": OLD, "message": "edited"}),
    ("trust.attestation.accepted", {"subject": {"kind": "Attestation", "name": "a"}, "actor_id": BOB},
     {"statement": {"type": "Audit"}}),
    ("system.quarantine.raised", {"subject": {"kind": "Chain", "name": "c"}}, {"cause": "Rollback"}),
]  # fmt: skip


def test_the_schema_is_one() -> None:
    """The schema is valid itself."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_section_says_what_the_entries_say() -> None:
    """Revisions, decisions with numbers, votes, refusals, contract changes with digests, attestations, operations."""
    found = report(STORY, CONTENT)
    (domain,) = found["domains"]
    assert domain["revisions"][0]["members"] == [
        {"nodeId": ALICE, "role": "GovernanceHub", "weight": 60, "learner": False, "suspended": False}
    ]
    assert found["members"] == {ALICE: "hub-a"} and found["outcomes"] == {"Adopted": 1}
    (proposal,) = found["proposals"]
    assert proposal["numbers"]["sums"] == OUTCOME["sums"] and proposal["executed"]["evidenceDigest"] == EVIDENCE
    assert (proposal["recordedVotes"], proposal["refusedVotes"], proposal["target"]["clause"]) == (1, 1, "1")
    assert [step["sequence"] for step in proposal["steps"]] == [3, 6, 7]
    votes = {item["member"]: (item["recorded"], item["approve"], item["refused"]) for item in found["votes"]}
    assert votes == {ALICE: (1, 1, 0), BOB: (0, 0, 1)}
    (contract,) = found["contracts"]
    changed, drifted = contract["events"][1:]
    assert (changed["oldDigest"], changed["newDigest"], changed["evidenceDigest"]) == (OLD, NEW, EVIDENCE)
    assert (drifted["heldDigest"], drifted["message"]) == (OLD, "edited")
    assert found["refusals"]["byReason"] == [{"event": "governance.vote.refused", "reason": "BadSignature", "count": 1}]
    assert found["attestations"][0]["type"] == "Audit" and found["operations"][0]["detail"] == {"cause": "Rollback"}
    times = {"firstSealedAt": "2026-02-02T02:40:00Z", "lastSealedAt": "2026-02-02T02:40:11Z"}
    assert found["chains"] == [{"chain": CHAIN, "first": 0, "last": 11, "entries": 12, "epoch": 0, **times}]


def test_before_the_period_is_context() -> None:
    """Of what came before the period only the rules in force, names and the openings of what it decided are told."""
    found = report(STORY, CONTENT, since=START + 6_000_000)
    assert found["domains"][0]["revisions"][0]["before"] and found["members"] == {ALICE: "hub-a"}
    assert [event["before"] for event in found["contracts"][0]["events"]] == [True, False, False]
    assert found["proposals"][0]["openedAt"] == "2026-02-02T02:40:03Z"
    assert found["votes"] == [] and found["refusals"]["total"] == 0 and found["chains"][0]["first"] == 6
    later = report(STORY, CONTENT, since=START + 9_000_000)
    assert later["proposals"] == [] and [e["before"] for e in later["contracts"][0]["events"]] == [True, False]


def test_missing_content_is_said() -> None:
    """Without the outcome document and the statements the report tells what entries say, and what is not there."""
    found = report(STORY)
    assert found["proposals"][0]["numbers"] is None and found["proposals"][0]["outcome"] == "Adopted"
    page = render(found)
    assert "outcome document is not in the sources" in page and "statement itself is not in the sources" in page


def test_a_flood_of_refusals_is_counted_and_cut() -> None:
    """All refusals are counted; only the last are listed, so the report stays small."""
    collector = Collector(lambda _: None, None)
    refused = shown(0, ("governance.vote.refused", {"actor_id": BOB}, {"reason": "TooLate"}))
    for _ in range(MOST_LISTED + 5):
        collector.feed(refused)
    refusals = collector.document()["refusals"]
    assert refusals["total"] == MOST_LISTED + 5 and len(refusals["last"]) == MOST_LISTED


class Reader(HTMLParser):
    """Collects the elements, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: set[tuple[str, tuple[str, ...]]] = set()
        self.said: list[str] = []
        self.styles: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, tuple(sorted(name for name, _ in attrs))))
        self.styles |= {str(value) for name, value in attrs if name == "style"}

    def handle_data(self, data: str) -> None:
        self.said.append(data)


KNOWN = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "h4", "p", "div", "table", "thead",
         "tbody", "tr", "th", "td", "span", "code", "time", "ul", "li", "b", "i", "pre", "strong", "footer",
         "br"}  # fmt: skip


def parsed(page: str) -> Reader:
    """The page's elements; none of them can load or run anything."""
    reader = Reader()
    reader.feed(page)
    assert {tag for tag, _ in reader.found} <= KNOWN
    attributes = {name for _, names in reader.found for name in names}
    assert attributes <= {"class", "style", "lang", "charset", "name", "content", "http-equiv"}
    assert all(re.fullmatch(r"width:\d+\.\d{3}%", style) for style in reader.styles)
    assert "default-src 'none'" in page and "://" not in page.partition("</style>")[2]
    return reader


def hostile_story(text: str) -> tuple[list[Entry], dict[str, bytes]]:
    """The story with `text` wherever an entry can carry text that somebody chose."""

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, Mapping):
            return {name: spoil(item, name) for name, item in value.items()}
        if isinstance(value, list | tuple) and key != "about":
            return [spoil(item) for item in value]
        fixed = isinstance(value, str) and (value.startswith("sha256:") or key in ("kind", "subject_key", "key"))
        return text if isinstance(value, str) and not fixed and text else value

    documents = content_of(*(spoil(document) for document in (REVISION, ASKED, OUTCOME)))
    renamed = dict(zip(CONTENT, documents, strict=True))

    def name(value: Any) -> Any:
        return json.loads(_replaced(json.dumps(value), renamed))

    return [(event, name(spoil(more)), name(spoil(detail))) for event, more, detail in STORY], documents


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def test_hostile_text_stays_text() -> None:
    """Mark-up, quotes and control characters in names, reasons, messages and statements are shown, never obeyed."""
    page = render(report(*hostile_story(HOSTILE)))
    said = "".join(parsed(page).said)
    assert "<script>" not in page and "<img" not in page and "\u202e" not in page and "\x1b" not in page
    assert said.count("<script>alert(1)</script>") > 10 and r"\u202e\x1b[2J" in said


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_any_text_stays_text(text: str) -> None:
    """Whatever text entries hold, the page has only its own elements and attributes."""
    parsed(render(report(*hostile_story(text))))


LEAF = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
NAMES = sorted({name for _, _, detail in STORY for name in detail} | {*REVISION, *ASKED, *OUTCOME, "statement"})


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_values_of_any_form_are_told(data: st.DataObject) -> None:
    """A forged entry or document may hold anything in any member: the report is written all the same."""
    spoilt = {
        name: data.draw(VALUE, name) for name in data.draw(st.sets(st.sampled_from(NAMES), min_size=1, max_size=4))
    }
    documents = content_of(*({**document, **spoilt} for document in (REVISION, ASKED, OUTCOME)))
    names = dict(zip(CONTENT, documents, strict=True))
    collector = Collector(documents.get, None)
    for number, (event, more, detail) in enumerate(STORY):
        changed = {**json.loads(_replaced(json.dumps(detail), names)), **spoilt}
        collector.feed(shown(number, (event, json.loads(_replaced(json.dumps(more), names)), changed)))
    document = {**report([]), **collector.document()}
    VALID.validate(document)
    parsed(render(document))


@pytest.mark.parametrize("verdict", ["Intact", "Unanchored", "Tampered", "CannotTell"])
def test_the_verdict_is_at_the_top(verdict: str) -> None:
    """The page says first what the verification found, and names the fault."""
    fault = {"chainId": CHAIN, "phase": "content", "message": "changed", "sequence": 7, "entryId": "x"}
    chain = {"source": "q", "chain": CHAIN, "verdict": verdict, "checked": 12, "anchoredSize": 0, "checkpoints": 0,
             "root": "00", **({"fault": fault} if verdict == "Tampered" else {})}  # fmt: skip
    document = report(STORY, CONTENT)
    document["verification"] = {"verdict": verdict, "checked": 12, "chains": [chain]}
    VALID.validate(document)
    said = "".join(parsed(render(document)).said)
    assert said.index(f"Log: {verdict}") < said.index("Decisions")
    assert ("entry 7: content: changed" in said) is (verdict == "Tampered")
