"""C2SP verifier keys (`name+hash+base64`), as log and witness keys are written (C2SP signed-note.md).

The key id is the first four bytes of SHA-256(name ‖ LF ‖ algorithm byte ‖ public key). Algorithm 0x01 is Ed25519 over
the note's text, 0x04 the timestamped cosignature of witnesses (tlog-cosignature).
"""

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256

from quorate.identity.ed25519 import KeyRefusedError, check_public_key, public_key_of

ED25519 = 0x01
COSIGNATURE = 0x04
_PRIVATE = "PRIVATE+KEY+"
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)


def _check_name(name: str) -> str:
    if not name or "+" in name or any(character.isspace() for character in name) or not name.isprintable():
        raise KeyRefusedError(f"key name {name!r} must not be empty nor hold spaces or plus signs")
    return name


def key_id(name: str, algorithm: int, public_key: bytes) -> bytes:
    """The four bytes that name a key in a signature line."""
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + public_key).digest()[:4]


@dataclass(frozen=True)
class VerifierKey:
    """A named public key."""

    name: str
    algorithm: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that name this key in a signature line."""
        return key_id(self.name, self.algorithm, self.public_key)

    def __str__(self) -> str:
        blob = base64.b64encode(bytes([self.algorithm]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{blob}"


@dataclass(frozen=True)
class SignerKey:
    """A named private key (32-byte seed). Its repr shows no secret."""

    name: str
    seed: bytes
    algorithm: int = ED25519

    def __repr__(self) -> str:
        return f"SignerKey({self.name!r})"

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, self.algorithm, public_key_of(self.seed))

    def encode(self) -> str:
        """The private key as text: `PRIVATE+KEY+name+hash+base64`."""
        blob = base64.b64encode(bytes([self.algorithm]) + self.seed).decode()
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{blob}"


def _parse(text: str) -> tuple[str, bytes, int, bytes]:
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise KeyRefusedError("a C2SP key has the form name+hash+base64")
    name, identifier, blob = parts
    if _KEY_ID.fullmatch(identifier) is None:
        raise KeyRefusedError(f"C2SP key {name!r}: the hash {identifier!r} must be eight lower-case hexadecimal digits")
    try:
        raw, identity = base64.b64decode(blob, validate=True), bytes.fromhex(identifier)
    except (binascii.Error, ValueError) as error:
        raise KeyRefusedError(f"malformed C2SP key {name!r}: {error}") from error
    if len(raw) != 33 or raw[0] not in (ED25519, COSIGNATURE):
        raise KeyRefusedError(f"C2SP key {name!r} is not an Ed25519 key")
    return _check_name(name), identity, raw[0], raw[1:]


def parse_verifier_key(text: str) -> VerifierKey:
    """Parse and check a verifier key; KeyRefusedError says what is wrong."""
    name, identity, algorithm, public_key = _parse(text)
    key = VerifierKey(name, algorithm, check_public_key(public_key))
    if key.key_id != identity:
        raise KeyRefusedError(f"C2SP key {name!r} says hash {identity.hex()}, its key gives {key.key_id.hex()}")
    return key


def parse_signer_key(text: str) -> SignerKey:
    """Parse a private key; KeyRefusedError names the key but never shows it."""
    if not text.startswith(_PRIVATE):
        raise KeyRefusedError("a C2SP private key begins with PRIVATE+KEY+")
    name, identity, algorithm, seed = _parse(text.strip().removeprefix(_PRIVATE))
    key = SignerKey(name, seed, algorithm)
    if key.verifier.key_id != identity:
        raise KeyRefusedError(f"C2SP private key {name!r} does not fit its hash")
    return key
