"""Public keys that may be used, and the C2SP form of log and witness keys."""

import pytest

from quorate.canonical import encode_base64
from quorate.identity.ed25519 import KeyRefusedError, check_public_key, parse_public_key, public_key_of, sign, verify
from quorate.identity.vkey import COSIGNATURE, SignerKey, parse_signer_key, parse_verifier_key

P = 2**255 - 19
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SEED = bytes(range(32))
TOP = 2**255
LOG = SignerKey("example.com/log", SEED)


def encoded(y: int) -> bytes:
    return y.to_bytes(32, "little")


@pytest.mark.parametrize(
    "y",
    [sign_bit + y for sign_bit in (0, TOP) for y in (1, P - 1, 0, Y8, P - Y8)],
    ids=hex,
)
def test_low_order(y: int) -> None:
    """Keys of order 1, 2, 4 and 8 are refused with either sign of x."""
    with pytest.raises(KeyRefusedError, match="low order"):
        check_public_key(encoded(y))


@pytest.mark.parametrize("y", [P, P + 1, P + 18, TOP + P, 2 * TOP - 1], ids=hex)
def test_not_canonical(y: int) -> None:
    """Encodings with y ≥ p are refused."""
    with pytest.raises(KeyRefusedError, match="y >= p"):
        check_public_key(encoded(y))


def test_length() -> None:
    """A key has 32 bytes."""
    for raw in (b"", bytes(31), bytes(33)):
        with pytest.raises(KeyRefusedError, match="32 bytes"):
            check_public_key(raw)


def test_text_of_a_key() -> None:
    """A key in a document is 43 characters; padding and trailing bits are refused."""
    text = encode_base64(public_key_of(SEED))
    assert parse_public_key(text) == public_key_of(SEED)
    for wrong in (text + "=", text[:-1], text[:-1] + chr(ord(text[-1]) + 1)):
        with pytest.raises(KeyRefusedError, match="malformed public key"):
            parse_public_key(wrong)


def test_a_signature_of_a_low_order_key_is_none() -> None:
    """The signature that holds for any message under the neutral key is refused before it is verified."""
    assert not verify(encoded(1), b"anything", encoded(1) + bytes(32))


def test_verify_never_raises() -> None:
    """Wrong lengths are wrong, not errors."""
    signature = sign(SEED, b"m")
    key = public_key_of(SEED)
    assert verify(key, b"m", signature)
    for wrong in (b"", signature[:-1], signature + b"\x00", bytes(64)):
        assert not verify(key, b"m", wrong)
    assert not verify(b"", b"m", signature)


class TestC2spKeys:
    @pytest.mark.parametrize("key", [LOG, SignerKey("w", SEED, COSIGNATURE)])
    def test_round_trip(self, key: SignerKey) -> None:
        """Both halves are read back as they were written."""
        assert parse_verifier_key(str(key.verifier)) == key.verifier
        assert parse_signer_key(key.encode() + "\n") == key

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            (str(LOG.verifier).replace("example", "exemple"), "says hash"),
            (str(LOG.verifier).replace("+", "+A", 1), "eight lower-case"),
            ("n+0A0B0C0D+" + str(LOG.verifier).split("+", 2)[2], "eight lower-case"),
            ("n+0a 0b 0c+" + str(LOG.verifier).split("+", 2)[2], "eight lower-case"),
            ("n+00000000+!!!!", "malformed"),
            ("n+00000000+AAAA", "not an Ed25519 key"),
            ("n", "has the form name"),
            ("n+00000000+" + encode_base64(b"\x02" + public_key_of(SEED)), "not an Ed25519 key"),
            ("n+00000000+" + encode_base64(b"\x01" + encoded(1)), "low order"),
            ("+00000000+" + encode_base64(b"\x01" + public_key_of(SEED)), "must not be empty"),
            ("a b+00000000+" + encode_base64(b"\x01" + public_key_of(SEED)), "spaces"),
        ],
    )
    def test_refusals(self, text: str, part: str) -> None:
        """A key that cannot be used is refused, and has one text only."""
        with pytest.raises(KeyRefusedError, match=part):
            parse_verifier_key(text)

    def test_secrets_are_not_shown(self) -> None:
        """Neither a repr nor a refusal shows a private key."""
        text = LOG.encode()
        assert text.rsplit("+", 1)[1] not in repr(LOG)
        with pytest.raises(KeyRefusedError) as caught:
            parse_signer_key(text.replace("example", "exemple"))
        assert text.rsplit("+", 1)[1] not in str(caught.value)
        with pytest.raises(KeyRefusedError, match="PRIVATE"):
            parse_signer_key(str(LOG.verifier))
