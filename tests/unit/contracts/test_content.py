"""Content of a contract, its versions, form and size."""

import pytest

from quorate.api.conditions import Reason
from quorate.canonical import canonical_bytes, digest_of, parse_time
from quorate.contracts.content import NULL_DIGEST, Content, Previous, clause_order
from quorate.contracts.form import MAX_CONTENT_BYTES, ContractRefusedError, type_suffices
from quorate.contracts.version import Version, VersionError, next_version

GENESIS = {
    "contractId": "6b1b36cb-1111-4222-8333-444455556666",
    "version": "v2026.01.05",
    "clauses": {"1": {"text": "One."}, "2.10": {"title": "Ten", "text": "Ten.", "minimumType": "Constitutional"}},
    "surfaces": {"cold": {"capabilities": ["inference"], "rateLimitTier": "Restricted"}},
}


def test_genesis_is_its_own_content() -> None:
    """The digest of a genesis is that of the canonical bytes of its spec, nulls omitted."""
    content = Content.genesis({**GENESIS, "surfaces": {**GENESIS["surfaces"], "warming": None}})
    assert content.digest == digest_of(GENESIS)
    assert content.clause_digest("1") == digest_of({"text": "One."})
    assert content.clause_digest("9") == NULL_DIGEST == digest_of(None)
    assert content.surfaces_digest == digest_of(GENESIS["surfaces"])


def test_successor_round_trip() -> None:
    """What is written as canonical bytes is read back as the same content, previous and proposal included."""
    digest = "sha256:" + "a" * 64
    content = Content(
        GENESIS["contractId"], "v2026.01.05-1", GENESIS["clauses"], None, Previous("v2026.01.05", digest), digest
    )
    again = Content.parse(content.data)
    assert again == content and again.digest == content.digest
    assert "surfaces" not in content.document


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"contractId": "x"}, "contractId 'x'"),
        ({"version": "v2026.1.5"}, "version 'v2026.1.5'"),
        ({"version": "v2026.02.30"}, "no calendar day"),
        ({"clauses": {"1.": {"text": "a"}}}, "clause id '1.'"),
        ({"clauses": {"1": {"title": "a"}}}, "text is required"),
        ({"clauses": {"1": {"text": "a" * 4097}}}, "text has 4097 characters; at most 4096"),
        ({"clauses": {"1": {"text": "a", "rule": 1}}}, "rule must be a string"),
        ({"clauses": {"1": {"text": "a", "minimumType": "Fast"}}}, "minimumType 'Fast'"),
        ({"clauses": {"1": {"text": "a", "owner": "me"}}}, "unknown fields: 'owner'"),
        ({"clauses": {str(i): {"text": "a"} for i in range(129)}}, "129 clauses; at most 128"),
        ({"surfaces": {"hot": {}}}, "unknown state 'hot'"),
        ({"surfaces": {"cold": {"schemas": ["A"]}, "warming": {}}}, "warming is missing schemas present in cold: A"),
        ({"extra": 1}, "unknown fields"),
    ],
)
def test_form(change: dict[str, object], said: str) -> None:
    """A genesis of the wrong form is refused with a sentence that names field, value and rule."""
    with pytest.raises(ContractRefusedError) as caught:
        Content.genesis({**GENESIS, **change})
    assert caught.value.reason is Reason.INVALID
    assert said in str(caught.value)


def test_too_large() -> None:
    """Content over 512 KiB of canonical UTF-8 is TooLarge, measured in bytes, not in characters."""
    clauses = {str(i): {"text": "€" * 4096} for i in range(43)}
    with pytest.raises(ContractRefusedError) as caught:
        Content.genesis({**GENESIS, "clauses": clauses})
    assert caught.value.reason is Reason.TOO_LARGE
    assert str(MAX_CONTENT_BYTES) in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b'{"a": 1}',
        b"{",
        canonical_bytes({**GENESIS, "previous": {"version": "v2026.01.05", "digest": NULL_DIGEST}}),
        canonical_bytes(
            {**GENESIS, "previous": {"version": "v2026.01.05", "digest": NULL_DIGEST}, "proposalDigest": NULL_DIGEST}
        ),
    ],
)
def test_parse_refuses(data: bytes) -> None:
    """Bytes that are not canonical, no content, or a successor that is no greater than what it replaced are refused."""
    with pytest.raises(ContractRefusedError):
        Content.parse(data)


def test_versions_are_ordered_by_number() -> None:
    """Versions compare as day and number: -10 comes after -9, and a bare day before both."""
    texts = ["v2026.01.05", "v2026.01.05-2", "v2026.01.05-9", "v2026.01.05-10", "v2026.01.06", "v2027.01.01"]
    assert [str(version) for version in sorted(map(Version.parse, reversed(texts)))] == texts
    assert Version.parse("v2026.01.05-10").without_number() == "v2026.01.05"


@pytest.mark.parametrize(
    "text", ["v2026.01.05-0", "v2026.01.05-01", "2026.01.05", "v2026.01.05-1000000", "v2026.01.05\n", None]
)
def test_malformed_versions(text: object) -> None:
    """A version has exactly one spelling; anything else is refused."""
    with pytest.raises(VersionError):
        Version.parse(text)


@pytest.mark.parametrize(
    ("current", "at", "expected"),
    [
        ("v2026.01.04", "2026-01-05T00:00:00Z", "v2026.01.05"),
        ("v2026.01.05", "2026-01-05T23:59:59Z", "v2026.01.05-1"),
        ("v2026.01.05-9", "2026-01-05T23:59:59Z", "v2026.01.05-10"),
        ("v2026.03.01", "2026-01-05T00:00:00Z", "v2026.03.01-1"),
    ],
)
def test_next_version(current: str, at: str, expected: str) -> None:
    """The next version is the execution's day where that is greater, else the current day's next number."""
    assert next_version(current, parse_time(at)) == expected
    assert Version.parse(expected) > Version.parse(current)


def test_no_successor() -> None:
    """The last number of a day has no successor on that day."""
    with pytest.raises(VersionError, match="no successor"):
        next_version("v2026.01.05-999999", parse_time("2026-01-05T00:00:00Z"))


@pytest.mark.parametrize(
    ("kind", "enough"),
    [
        ("Optimistic", ["Optimistic"]),
        ("Expedited", ["Optimistic", "Expedited"]),
        ("Standard", ["Optimistic", "Expedited", "Standard", "Emergency"]),
        ("Emergency", ["Optimistic", "Expedited", "Standard", "Emergency"]),
        ("Constitutional", ["Optimistic", "Expedited", "Standard", "Emergency", "Constitutional"]),
        ("Unknown", []),
    ],
)
def test_type_order(kind: str, enough: list[str]) -> None:
    """Optimistic < Expedited < Standard = Emergency < Constitutional, and an unknown type never suffices."""
    minima = ["Optimistic", "Expedited", "Standard", "Emergency", "Constitutional"]
    assert [minimum for minimum in minima if type_suffices(kind, minimum)] == enough


def test_clause_order() -> None:
    """Clause ids sort by number."""
    assert sorted(["2.10", "10", "2.9", "2"], key=clause_order) == ["2", "2.9", "2.10", "10"]
