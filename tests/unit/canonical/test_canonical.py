"""Canonical JSON against the reference implementation, and what is refused; times and base64."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from quorate.canonical import (
    MAX_DEPTH,
    MAX_INTEGER,
    NotCanonicalError,
    canonical_bytes,
    decode_base64,
    digest_of,
    encode_base64,
    format_time,
    hex_of_digest,
    is_digest,
    parse_json,
    parse_time,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# Names from both sides of the surrogates: UTF-16 orders U+FFFD after an astral character, code points before it.
NAMES = TEXT | st.text("a\x7fé\ue000\ufffd\U00010000\U0010ffff", max_size=3)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=20)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class TestCanonicalBytes:
    @given(VALUES)
    def test_agrees_with_the_oracle(self, value: Any) -> None:
        """The bytes are those of the rfc8785 package."""
        assert canonical_bytes(value) == rfc8785.dumps(value)

    @given(VALUES)
    def test_round_trip(self, value: Any) -> None:
        """Canonical bytes parse strictly to the same value and are their own canonical form."""
        data = canonical_bytes(value)
        assert parse_json(data) == value
        assert canonical_bytes(parse_json(data)) == data

    @pytest.mark.parametrize(
        ("value", "sentence"),
        [
            ({"a": [0.5]}, "/a/0: 0.5 is a floating-point number; use an integer or a string"),
            (1.0, "/: 1.0 is a floating-point number; use an integer or a string"),
            (float("nan"), "/: nan is a floating-point number; use an integer or a string"),
            ({"n": MAX_INTEGER + 1}, "/n: integer 9007199254740992 is outside ±(2^53-1); write it as a string"),
            ([-MAX_INTEGER - 1], "/0: integer -9007199254740992 is outside ±(2^53-1); write it as a string"),
            ({"a": "\ud800"}, "/a: the string holds a lone surrogate"),
            ({"\udfff": 1}, "/'\\udfff': the string holds a lone surrogate"),
            ({1: 2}, "/: object name 1 is not a string"),
            ({"a": {1, 2}}, "/a: set has no canonical form"),
            ({"a": b"x"}, "/a: bytes has no canonical form"),
            ([{"\U00010000": 1}, 0.5], "/1: 0.5 is a floating-point number; use an integer or a string"),
        ],
        ids=str,
    )
    def test_refusals(self, value: Any, sentence: str) -> None:
        """What has no canonical form is refused with its path, never rounded or replaced."""
        with pytest.raises(NotCanonicalError) as caught:
            canonical_bytes(value)
        assert str(caught.value) == sentence

    def test_depth(self) -> None:
        """Containers nest 64 deep and no deeper, whether built or parsed."""
        data = canonical_bytes(nested(MAX_DEPTH))
        assert parse_json(data) == nested(MAX_DEPTH)
        for refuse in (lambda: canonical_bytes(nested(MAX_DEPTH + 1)), lambda: parse_json(b"[" + data + b"]")):
            with pytest.raises(NotCanonicalError, match="nested deeper than 64 levels"):
                refuse()

    def test_absurd_depth(self) -> None:
        """Nesting beyond the parser's own limit is the same refusal."""
        with pytest.raises(NotCanonicalError, match="nested deeper"):
            parse_json(b"[" * 200_000)

    def test_no_unicode_normalisation(self) -> None:
        """Composed and decomposed letters stay two strings."""
        assert digest_of("é") != digest_of("e\u0301")


class TestParseJson:
    @pytest.mark.parametrize(
        ("data", "part"),
        [
            (b'{"a": 1, "a": 1}', "'a' occurs twice"),
            (b'{"x": {"a": 1, "\\u0061": 2}}', "'a' occurs twice"),
            (b"1.0", "floating-point"),
            (b"1e3", "floating-point"),
            (b"NaN", "floating-point"),
            (b"-Infinity", "floating-point"),
            (b"9007199254740992", "outside"),
            (b"1" * 5000, "not JSON"),
            (b'"\\ud800"', "lone surrogate"),
            (b'"\\udc00\\ud800"', "lone surrogate"),
            (b'"\xed\xa0\x80"', "not JSON"),
            (b'"\xff"', "not JSON"),
            ("é".encode("latin-1"), "not JSON"),
            (b'\xef\xbb\xbf"a"', "not JSON"),
            ('"a"'.encode("utf-16"), "not JSON"),
            ('"a"'.encode("utf-16-le"), "not JSON"),
            (b'"\x01"', "not JSON"),
            (b"{} {}", "not JSON"),
            (b"[1,]", "not JSON"),
            (b"{'a': 1}", "not JSON"),
            (b"01", "not JSON"),
            (b"", "not JSON"),
        ],
    )
    def test_refusals(self, data: bytes, part: str) -> None:
        """Text that two readers could read differently is refused."""
        with pytest.raises(NotCanonicalError, match=part):
            parse_json(data)

    def test_what_is_allowed(self) -> None:
        """Blanks, escapes of whole characters and minus zero are ordinary JSON."""
        assert parse_json(b' {"a" : "\\ud83d\\ude00", "b": -0}\n') == {"a": "\U0001f600", "b": 0}
        assert canonical_bytes(parse_json(b"-0")) == b"0"


class TestDigest:
    def test_form(self) -> None:
        """A digest is sha256: and 64 lower-case hexadecimal digits."""
        assert digest_of({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        assert hex_of_digest(digest_of({})) == digest_of({})[7:]

    @pytest.mark.parametrize(
        "text",
        ["a" * 64, "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:" + "a" * 64 + "\n", "", None, 7, "٠" * 71],
    )
    def test_wrong_form(self, text: Any) -> None:
        """Any other form is none."""
        assert not is_digest(text)
        with pytest.raises(ValueError, match="is not a digest"):
            hex_of_digest(text)


class TestTime:
    @given(st.integers(-62_135_596_800, 253_402_300_799))
    def test_round_trip(self, second: int) -> None:
        """Every second of the years 1 to 9999 has exactly one text of 20 characters."""
        text = format_time(second)
        assert (len(text), parse_time(text)) == (20, second)

    @pytest.mark.parametrize(
        ("text", "second"),
        [("1970-01-01T00:00:00Z", 0), ("2024-02-29T12:00:00Z", 1_709_208_000), ("1969-12-31T23:59:59Z", -1)],
    )
    def test_known(self, text: str, second: int) -> None:
        """Leap days exist, and times before 1970 are negative."""
        assert parse_time(text) == second

    @pytest.mark.parametrize(
        "text",
        [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2016-12-31T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "2026-01-01T00:00:00.0Z",
            "2026-01-01T00:00:00+00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01t00:00:00z",
            "2026-1-01T00:00:00Z",
            " 2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00Z\n",
            "٢٠٢٦-01-01T00:00:00Z",
            "",
            None,
            0,
        ],
    )
    def test_refusals(self, text: Any) -> None:
        """Impossible dates, leap seconds, fractions, offsets and other forms are refused by their value."""
        with pytest.raises(ValueError, match="is not a time") as caught:
            parse_time(text)
        assert repr(text) in str(caught.value)


class TestBase64:
    @given(st.binary(max_size=70))
    def test_round_trip(self, data: bytes) -> None:
        """Encoding and decoding agree, without padding."""
        text = encode_base64(data)
        assert "=" not in text
        assert decode_base64(text, length=len(data)) == data

    def test_lengths(self) -> None:
        """A key has 43 characters, a signature 86."""
        assert (len(encode_base64(bytes(32))), len(encode_base64(bytes(64)))) == (43, 86)

    @pytest.mark.parametrize(
        "text",
        [
            "A" * 43 + "=",
            "A" * 42 + "=",
            "A" * 42,
            "A" * 44,
            "A" * 42 + "B",
            "A" * 42 + "/",
            "-" + "A" * 42,
            "_" + "A" * 42,
            " " + "A" * 42,
            "A" * 42 + "\n",
            "A" * 20 + "=" + "A" * 22,
            "é" + "A" * 42,
            "",
            None,
            b"A" * 43,
        ],
    )
    def test_refusals(self, text: Any) -> None:
        """Padding, another alphabet, trailing bits, blanks and wrong lengths are refused: one value, one text."""
        with pytest.raises(ValueError, match="base64"):
            decode_base64(text, length=32)
