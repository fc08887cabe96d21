"""Archives: entries that left the database, with what proves them (audit.md, 10; docs/archive.md).

An archive is one range of a chain as a C2SP tlog-tiles directory and a `manifest.json`: the state of the chain at both
ends of the range, the frontier before it, the proof that the range is a prefix of the checkpoint's tree, and the
digest of every file. So it verifies by itself, and the chain that goes on after it verifies from where it ends.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.audit.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from quorate.audit.entry import content_hash
from quorate.audit.merkle import Frontier, ProofError, verify_consistency
from quorate.audit.record import GENESIS_HASH, Record, RecordError, chain_hash, leaf_hash
from quorate.canonical import NotCanonicalError, canonical_bytes, digest_of_bytes, hex_of_digest, is_digest, parse_json
from quorate.identity.vkey import VerifierKey

FORMAT = "quorate.dev/archive/v1"
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 32 * 1024 * 1024
_PATH = re.compile(
    r"checkpoint|content/[0-9a-f]{64}|tile/(entries|\d{1,2})(/x\d{3})*/\d{3}(\.p/\d{1,3})?",
    re.ASCII,
)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
KEPT_KINDS = frozenset(
    {"TrustDomain", "DynamicContract", "GovernanceProposal", "Vote", "Attestation", "MeshNode", "Quarantine"}
)
"""Kinds whose entries the operator reads again: pruning leaves a copy of them in the database."""


class ArchiveError(ValueError):
    """An archive that cannot be read, or does not hold what it says; the message names the place and the rule."""


@dataclass(frozen=True)
class Point:
    """A chain after its first `size` entries; epoch and sealed time (Unix µs) are those of the last of them."""

    size: int
    epoch: int
    sealed_at: int
    chain_hash: bytes

    def after(self, chain: str, record: bytes) -> "Point":
        """The point after one more entry; ArchiveError if the record cannot follow here."""
        try:
            header = Record.decode(record)
        except RecordError as error:
            raise ArchiveError(f"entry {self.size}: {error}") from error
        if header.chain_id != chain or header.sequence != self.size:
            raise ArchiveError(f"entry {self.size}: the record is of entry {header.sequence} of {header.chain_id!r}")
        if header.previous != self.chain_hash:
            raise ArchiveError(f"entry {self.size}: its previous hash is not its predecessor's chain hash")
        if header.epoch not in (self.epoch, self.epoch + 1) or header.sealed_at < self.sealed_at:
            raise ArchiveError(f"entry {self.size}: epoch or sealed time cannot follow those of its predecessor")
        if content_hash(header.content) != header.entry_hash:
            raise ArchiveError(f"entry {self.size}: the content does not have the entry hash of its record")
        hashed = chain_hash(self.chain_hash, leaf_hash(record))
        return Point(self.size + 1, header.epoch, header.sealed_at, hashed)

    def document(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {
            "size": self.size,
            "epoch": self.epoch,
            "sealedAt": self.sealed_at,
            "chainHash": self.chain_hash.hex(),
        }


GENESIS = Point(0, 0, -(2**53) + 1, GENESIS_HASH)
"""Where every chain begins; any sealed time may follow."""


@dataclass(frozen=True)
class StoredPrune:
    """How far a chain was pruned: entries below `point.size` are no longer in the database.

    `manifest` is the digest of the last archive's manifest. Ids, tiles and checkpoints of pruned entries stay, and a
    copy of the entries of KEPT_KINDS. Verification starts at `point`, with the frontier that the tiles give for its
    size; a checkpoint of at least that size proves it.
    """

    chain_id: str
    point: Point
    manifest: str


@dataclass(frozen=True)
class Manifest:
    """What an archive holds.

    Attributes:
        chain: the chain.
        before: the chain before the first archived entry.
        after: the chain after the last one.
        frontier: the tree's frontier of size `before.size`.
        consistency: the proof from `after.size` to the checkpoint's size; empty where they are equal.
        checkpoint: the signed note.
        files: digest of every file beside the manifest, by path.
    """

    chain: str
    before: Point
    after: Point
    frontier: tuple[bytes, ...]
    consistency: tuple[bytes, ...]
    checkpoint: str
    files: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the archive's directory below the chain's: `<first>-<end>`."""
        return f"{self.before.size}-{self.after.size}"

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical_bytes(
            {
                "format": FORMAT,
                "chain": self.chain,
                "before": self.before.document(),
                "after": self.after.document(),
                "frontier": [item.hex() for item in self.frontier],
                "consistency": [item.hex() for item in self.consistency],
                "checkpoint": self.checkpoint,
                "files": dict(self.files),
            }
        )

    @property
    def digest(self) -> str:
        """What `system.partition.pruned` names."""
        return digest_of_bytes(self.encode())

    @property
    def content(self) -> list[str]:
        """Digests of the bulky content that left with the entries."""
        return [f"sha256:{path.removeprefix('content/')}" for path in self.files if path.startswith("content/")]


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest; ArchiveError for bytes that `Manifest.encode` cannot have written."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise ArchiveError(f"the manifest has {len(data)} bytes, more than {MAX_MANIFEST_BYTES}")
    try:
        document = parse_json(data)
        if canonical_bytes(document) != data:
            raise ArchiveError("the manifest is not canonical JSON")
    except NotCanonicalError as error:
        raise ArchiveError(f"the manifest: {error}") from error
    fields = {"format", "chain", "before", "after", "frontier", "consistency", "checkpoint", "files"}
    if not isinstance(document, dict) or set(document) != fields or document["format"] != FORMAT:
        raise ArchiveError(f"the manifest is not of format {FORMAT} with {', '.join(sorted(fields))}")
    if not isinstance(document["chain"], str) or not isinstance(document["checkpoint"], str):
        raise ArchiveError("the manifest's chain and checkpoint must be strings")
    manifest = Manifest(
        document["chain"],
        _point("before", document["before"]),
        _point("after", document["after"]),
        _hashes("frontier", document["frontier"]),
        _hashes("consistency", document["consistency"]),
        document["checkpoint"],
        _files(document["files"]),
    )
    if manifest.before.size >= manifest.after.size:
        raise ArchiveError(f"the manifest's range {manifest.name} holds no entry")
    if len(manifest.frontier) != manifest.before.size.bit_count():
        raise ArchiveError(f"a frontier of size {manifest.before.size} has not {len(manifest.frontier)} hashes")
    return manifest


def _point(name: str, value: Any) -> Point:
    if not isinstance(value, dict) or set(value) != {"size", "epoch", "sealedAt", "chainHash"}:
        raise ArchiveError(f"the manifest's {name} must hold size, epoch, sealedAt and chainHash")
    numbers = [value["size"], value["epoch"], value["sealedAt"]]
    if any(type(number) is not int for number in numbers) or min(numbers[:2]) < 0:
        raise ArchiveError(f"the manifest's {name} must hold numbers, size and epoch from 0")
    size, epoch, sealed_at = numbers
    return Point(size, epoch, sealed_at, _hashes(name, [value["chainHash"]])[0])


def _hashes(name: str, value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > 128:
        raise ArchiveError(f"the manifest's {name} must be a list of at most 128 hashes")
    if not all(isinstance(item, str) and _HASH.fullmatch(item) for item in value):
        raise ArchiveError(f"the manifest's {name} must hold hashes of 64 hexadecimal digits")
    return tuple(bytes.fromhex(item) for item in value)


def _files(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ArchiveError("the manifest's files must be an object")
    for path, digest in value.items():
        if _PATH.fullmatch(path) is None or not is_digest(digest):
            raise ArchiveError(f"the manifest's files: {path[:80]!r} must be a name of the layout, its value a digest")
        if path.startswith("content/") and hex_of_digest(digest) != path.removeprefix("content/"):
            raise ArchiveError(f"the manifest's files: {path} must have the digest in its name")
    return dict(value)


class ArchiveVerifier:
    """Verifies an archive from its manifest, its records in ascending sequence, and the log's keys.

    Raises:
        ArchiveError: no key of `keys` signed the checkpoint, or it is of another chain.
    """

    def __init__(self, manifest: Manifest, keys: Sequence[VerifierKey]) -> None:
        self._manifest = manifest
        self._point = manifest.before
        self._frontier = Frontier(manifest.before.size, manifest.frontier)
        try:
            self.checkpoint: Checkpoint = open_checkpoint(manifest.checkpoint, keys, origin=manifest.chain)
        except CheckpointError as error:
            raise ArchiveError(f"the archive's checkpoint: {error}") from error

    def feed(self, record: bytes) -> None:
        """Check the next record; ArchiveError if it cannot stand here."""
        self._point = self._point.after(self._manifest.chain, record)
        self._frontier.append(leaf_hash(record))

    def finish(self) -> Point:
        """The chain after the last record, once everything leads to the checkpoint; else ArchiveError."""
        if self._point != self._manifest.after:
            raise ArchiveError(f"the records end at entry {self._point.size} with another state than the manifest says")
        try:
            verify_consistency(
                old_size=self._point.size,
                old_root=self._frontier.root(),
                size=self.checkpoint.size,
                root=self.checkpoint.root,
                proof=self._manifest.consistency,
            )
        except ProofError as error:
            raise ArchiveError(f"the records do not lead to the checkpoint: {error}") from error
        return self._point


def check_file(manifest: Manifest, path: str, data: bytes) -> None:
    """ArchiveError unless the manifest names the file with the digest of `data`."""
    if manifest.files.get(path) != digest_of_bytes(data):
        raise ArchiveError(f"{path} is not the file that the manifest names")


def is_kept(content: Mapping[str, Any]) -> bool:
    """Whether pruning leaves a copy of the entry with this content in the database."""
    return content["payload"]["subject"]["kind"] in KEPT_KINDS
