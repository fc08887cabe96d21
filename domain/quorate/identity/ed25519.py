"""Ed25519 with the strict acceptance rules of docs/formats.md.

Verification is cofactorless with S < L and R compared as bytes (what OpenSSL does); public keys of order 1, 2, 4 and 8
and encodings with y ≥ p are refused before that, so one signature can never stand for two messages.
"""

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from quorate.canonical import decode_base64

_P = 2**255 - 19
_Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_LOW_ORDER_Y = frozenset({1, _P - 1, 0, _Y8, _P - _Y8})


class KeyRefusedError(ValueError):
    """A public key that may not be used; the message says why."""


def check_public_key(raw: bytes) -> bytes:
    """`raw` itself if it is an acceptable public key (32 bytes, canonical, of full order); else KeyRefusedError."""
    if len(raw) != 32:
        raise KeyRefusedError(f"an Ed25519 public key has 32 bytes, not {len(raw)}")
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P:
        raise KeyRefusedError("the public key is not canonically encoded (y >= p)")
    if y in _LOW_ORDER_Y:
        raise KeyRefusedError("the public key is of low order: anyone can sign for it")
    return raw


def parse_public_key(text: object) -> bytes:
    """The 32 bytes of a key written as 43 characters of base64; KeyRefusedError names what is wrong."""
    return _parsed(text if isinstance(text, str) else repr(text))


@lru_cache(maxsize=8192)
def _parsed(text: str) -> bytes:
    try:
        raw = decode_base64(text, length=32)
    except ValueError as error:
        raise KeyRefusedError(f"malformed public key: {error}") from error
    return check_public_key(raw)


@lru_cache(maxsize=8192)
def _loaded(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(check_public_key(public_key))


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` is good under the strict rules; never raises for bad keys or signatures."""
    try:
        _loaded(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def sign(private_key: bytes, message: bytes) -> bytes:
    """The 64-byte signature of `message` by the 32-byte seed `private_key`."""
    return Ed25519PrivateKey.from_private_bytes(private_key).sign(message)


def public_key_of(private_key: bytes) -> bytes:
    """The 32-byte public key of a 32-byte seed."""
    return Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()
