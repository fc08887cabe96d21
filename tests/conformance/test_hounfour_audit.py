"""The entry hash against loa-hounfour v8.2.0 (raw domain tag)."""

import pytest

from quorate.audit.entry import content_hash
from quorate.canonical import canonical_bytes
from tests.conformance.vectors import folder, load

BASE = {
    "entry_id": "550e8400-e29b-41d4-a716-446655440000",
    "timestamp": "2026-02-25T10:00:00Z",
    "event_type": "commons.transition.executed",
}
NEW = "loa-commons:audit:governedcredits:8-0-0"
# hounfour-spec.md §4.2: the same entry under different tags and with more fields.
TABLE = [
    (
        BASE,
        "loa-commons:audit:GovernedCredits:8.0.0",
        "8130c0f4709494429384410aece64bc07ac5214747b231204743c5f534325394",
    ),
    (BASE, NEW, "71de714b5dcefc7f43d6ca1c29da6c970cefcc2af916ae20ac820600f3f37d79"),
    (
        BASE,
        "loa-commons:audit:GovernedCredits:8.2.0",
        "e757733c38766d7afa74a7481d37152b7b5e3bf7612d8171890770c7cc05b817",
    ),
    ({**BASE, "actor_id": "agent-001"}, NEW, "6651c67079c6bd7ffb23ec03fe5f916f7ce97a16df0e4fab016deb77a6e19ba9"),
    (
        {**BASE, "actor_id": "agent-001", "payload": {"amount": "1000"}},
        NEW,
        "94021303892b142a1dbe21ddc85c4dda66fb77c11d1fd09a604250494c50ff47",
    ),
    ({**BASE, "payload": None}, NEW, "5c9a4b1e552c2b3f7bb13ac20b95313a59ae0640bc11790909ff7fc1dacb6db1"),
]


def test_published_vector() -> None:
    """The vector's entry has the vector's canonical JSON and hash."""
    case = load(folder("hounfour") / "conformance/commons/audit-trail/hash-reference-vector.json")
    given = case["input"]
    content = canonical_bytes(given["entry"])
    assert content.decode() == given["canonical_json"]
    assert "sha256:" + content_hash(content, given["domain_tag"]).hex() == case["expected_output"]["entry_hash"]


@pytest.mark.parametrize(("entry", "tag", "expected"), TABLE)
def test_reference_values(entry: dict[str, object], tag: str, expected: str) -> None:
    """Optional fields count only when present, and the tag is bound as it is written."""
    assert content_hash(canonical_bytes(entry), tag).hex() == expected
