"""Entries captured away from the log: what their source signs, and who checks it (audit.md, 5).

A machine that cannot reach the log keeps what happened in a spool and hands it in when it can, after weeks if need be.
It signs each entry at once with its Machine key. What is signed is the content of the entry but for what only the log
knows: its id, which follows from source and sequence, its `previous`, which is null, and the signature itself.

The log checks form and order: a source's sequence only increases, and (source, sequence) is recorded once. That the
signature is the source's is checked by whoever appends, against the Machine key of the node that `source` names in the
electorate of the entry's time, and can be checked again by anybody from the record alone.
"""

from collections.abc import Mapping
from typing import Any

from quorate.audit.entry import Draft
from quorate.canonical import canonical_bytes, decode_base64, parse_json
from quorate.identity import ed25519

TAG = b"quorate.dev/captured/v1\x00"


class CapturedError(ValueError):
    """A captured entry whose signature is not its source's."""


def statement(content: Mapping[str, Any]) -> bytes:
    """The bytes that a source signs for an entry with this content document.

    Tag ‖ canonical JSON of the content without `entry_id`, `payload.previous` and `payload.captured.signature`.
    """
    payload = {name: value for name, value in content["payload"].items() if name != "previous"}
    payload["captured"] = {name: value for name, value in payload["captured"].items() if name != "signature"}
    document = {name: value for name, value in content.items() if name != "entry_id"}
    return TAG + canonical_bytes(document | {"payload": payload})


def statement_of(draft: Draft) -> bytes:
    """What the source of a captured draft signs; the signature that the draft carries plays no part."""
    return statement(parse_json(draft.content))


def verify(content: Mapping[str, Any], machine_key: bytes) -> None:
    """Raise CapturedError unless the Ed25519 public key (32 bytes) signed the captured entry with this content."""
    try:
        signature = decode_base64(content["payload"]["captured"]["signature"], length=64)
        signed = statement(content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CapturedError(f"not a captured entry: {error}") from error
    if not ed25519.verify(machine_key, signed, signature):
        source = content["payload"]["captured"]["source"]
        raise CapturedError(f"the signature is not by the Machine key of source {source!r}")
