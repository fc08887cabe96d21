"""The node's own key: an Ed25519 seed, made at first start on the agent's own directory and never leaving it."""

import os
from dataclasses import dataclass
from pathlib import Path

from quorate.canonical import encode_base64
from quorate.identity import ed25519
from quorate_agent.files import sync_directory
from quorate_agent.ports import SpoolError

_FILE = "node.key"


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A seed of 32 bytes, and what its entries call their source: node and key, since a new key is a new source."""

    seed: bytes
    source: str

    @property
    def public(self) -> str:
        """The public key, 43 characters of base64."""
        return encode_base64(ed25519.public_key_of(self.seed))


def open_key(state: Path, node: str) -> NodeKey:
    """The node's key; made where there is none, on the disk before it is used.

    Raises:
        SpoolError: it cannot be read or written, or others may read it.
    """
    path = state / _FILE
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise SpoolError(f"{path}: others may read it; its mode must be 0600")
        seed = path.read_bytes()
    except OSError as error:
        raise SpoolError(f"{path}: {error.strerror}") from error
    if len(seed) != 32:
        raise SpoolError(f"{path}: {len(seed)} bytes, a key has 32")
    return NodeKey(seed, f"agent/{node}/{ed25519.public_key_of(seed).hex()[:16]}")


def _make(path: Path) -> None:
    made = path.with_suffix(".new")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, os.urandom(32))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    made.replace(path)
    sync_directory(path.parent)
