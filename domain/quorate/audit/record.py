"""The record of an entry: the bytes that are hashed into the tree (audit.md, 2; docs/formats.md).

Big-endian: 0x01 ‖ u16 length ‖ chain id (UTF-8) ‖ u32 epoch ‖ u64 sequence ‖ i64 sealed time (Unix µs) ‖
32 bytes previous chain hash ‖ 32 bytes entry_hash ‖ content. At most 65 535 bytes, the limit of C2SP tiles.
"""

import struct
from dataclasses import dataclass
from hashlib import sha256

MAX_RECORD_BYTES = 65_535
GENESIS_HASH = bytes(32)
VERSION = 1
CHAIN_TAG = b"quorate.dev/chain/v1\x00"
HEADER = struct.Struct(">IQq32s32s")


class RecordError(ValueError):
    """Bytes that are not a record, or an entry too large to be one."""


def record_prefix(chain_id: str) -> bytes:
    """What every record of a chain begins with; `HEADER` and the content follow."""
    name = chain_id.encode()
    return struct.pack(">BH", VERSION, len(name)) + name


@dataclass(frozen=True)
class Record:
    """One sealed entry. `sequence` counts from 0 in its chain; `sealed_at` is Unix microseconds."""

    chain_id: str
    epoch: int
    sequence: int
    sealed_at: int
    previous: bytes
    entry_hash: bytes
    content: bytes

    def encode(self) -> bytes:
        """The record's bytes; RecordError when they exceed MAX_RECORD_BYTES."""
        fixed = HEADER.pack(self.epoch, self.sequence, self.sealed_at, self.previous, self.entry_hash)
        data = record_prefix(self.chain_id) + fixed + self.content
        if len(data) > MAX_RECORD_BYTES:
            raise RecordError(f"the record has {len(data)} bytes, more than {MAX_RECORD_BYTES}")
        return data

    @classmethod
    def decode(cls, data: bytes) -> "Record":
        """Parse a record; RecordError for anything that `encode` cannot have written."""
        try:
            version, length = struct.unpack_from(">BH", data)
            epoch, sequence, sealed_at, previous, entry_hash = HEADER.unpack_from(data, 3 + length)
            chain_id = data[3 : 3 + length].decode()
        except (struct.error, UnicodeDecodeError) as error:
            raise RecordError(f"not a record: {error}") from error
        if version != VERSION:
            raise RecordError(f"record version {version} is not {VERSION}")
        if len(data) > MAX_RECORD_BYTES:
            raise RecordError(f"the record has {len(data)} bytes, more than {MAX_RECORD_BYTES}")
        return cls(chain_id, epoch, sequence, sealed_at, previous, entry_hash, data[3 + length + HEADER.size :])


def leaf_hash(record: bytes) -> bytes:
    """RFC 6962 leaf: SHA-256(0x00 ‖ record)."""
    return sha256(b"\x00" + record).digest()


def chain_hash(previous: bytes, leaf: bytes) -> bytes:
    """SHA-256(tag ‖ previous chain hash ‖ leaf hash)."""
    return sha256(CHAIN_TAG + previous + leaf).digest()
