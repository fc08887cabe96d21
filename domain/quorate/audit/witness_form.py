"""Documents of witnesses: what one stores, what a log offers it, and evidence that others check (docs/witnesses.md)."""

from collections.abc import Mapping
from typing import Any

from quorate.audit.note import MAX_NOTE_BYTES
from quorate.audit.witness import EARLIER_VIEWS, MAX_PROOF_HASHES, Conflict, Consistency, Seen, WitnessState
from quorate.canonical import NotCanonicalError, canonical_bytes, decode_base64, encode_base64, parse_json

STATE_FORMAT = "quorate.dev/witness/v1"
CONFLICT_FORMAT = "quorate.dev/conflict/v1"
MAX_CONFLICT_BYTES = 65_536
MAX_OFFERS = 64


class FormError(ValueError):
    """A document of the wrong form; the message names field and rule."""


def consistency_document(item: Consistency) -> dict[str, Any]:
    """{size, root, proof}, hashes in base64: an element of AuditCheckpoint.status.consistency."""
    return {"size": item.size, "root": encode_base64(item.root), "proof": [encode_base64(node) for node in item.proof]}


def parse_consistency(value: Any) -> Consistency:
    """The inverse of `consistency_document`; FormError for anything else."""
    fields = _object(value, "consistency")
    proof = fields.get("proof")
    if not isinstance(proof, list) or len(proof) > MAX_PROOF_HASHES:
        raise FormError(f"consistency.proof: must be a list of at most {MAX_PROOF_HASHES} hashes")
    nodes = tuple(_hash(node, "consistency.proof[]") for node in proof)
    return Consistency(_size(fields), _hash(fields.get("root"), "consistency.root"), nodes)


def parse_offers(values: Any) -> list[Consistency]:
    """What a log offers: readable ones of the first `MAX_OFFERS`; others are worth as much as none."""
    found = []
    for value in values[:MAX_OFFERS] if isinstance(values, list) else ():
        try:
            found.append(parse_consistency(value))
        except FormError:
            continue
    return found


def encode_conflict(conflict: Conflict) -> bytes:
    """The evidence as canonical JSON: {format, older, newer, consistency?}."""
    document: dict[str, Any] = {"format": CONFLICT_FORMAT, "older": conflict.older, "newer": conflict.newer}
    if conflict.consistency is not None:
        document["consistency"] = consistency_document(conflict.consistency)
    return canonical_bytes(document)


def parse_conflict(data: bytes | str) -> Conflict:
    """The inverse of `encode_conflict`; FormError for anything else. It proves nothing before `check_conflict`."""
    if len(data) > MAX_CONFLICT_BYTES:
        raise FormError(f"the evidence has over {MAX_CONFLICT_BYTES} bytes")
    fields = _object(_json(data), "evidence")
    if fields.get("format") != CONFLICT_FORMAT:
        raise FormError(f"format: {fields.get('format')!r} must be {CONFLICT_FORMAT!r}")
    consistency = fields.get("consistency")
    return Conflict(
        _text(fields, "older"), _text(fields, "newer"), None if consistency is None else parse_consistency(consistency)
    )


def encode_state(state: WitnessState) -> bytes:
    """What a witness stores of one log, as canonical JSON."""
    document: dict[str, Any] = {
        "format": STATE_FORMAT,
        "origin": state.origin,
        "earlier": [_seen_document(view) for view in state.earlier],
    }
    if state.last is not None:
        document["last"] = _seen_document(state.last)
    if state.conflict is not None:
        document["conflict"] = parse_json(encode_conflict(state.conflict))
    return canonical_bytes(document)


def parse_state(data: bytes) -> WitnessState:
    """The inverse of `encode_state`; FormError for anything else."""
    fields = _object(_json(data), "state")
    if fields.get("format") != STATE_FORMAT:
        raise FormError(f"format: {fields.get('format')!r} must be {STATE_FORMAT!r}")
    earlier = fields.get("earlier")
    if not isinstance(earlier, list) or len(earlier) > EARLIER_VIEWS:
        raise FormError(f"earlier: must be a list of at most {EARLIER_VIEWS} views")
    last, conflict = fields.get("last"), fields.get("conflict")
    return WitnessState(
        _text(fields, "origin"),
        None if last is None else _seen(last),
        tuple(_seen(view) for view in earlier),
        None if conflict is None else parse_conflict(canonical_bytes(conflict)),
    )


def _seen_document(view: Seen) -> dict[str, Any]:
    return {"size": view.size, "root": encode_base64(view.root), "note": view.note}


def _seen(value: Any) -> Seen:
    fields = _object(value, "view")
    return Seen(_size(fields), _hash(fields.get("root"), "root"), _text(fields, "note"))


def _json(data: bytes | str) -> Any:
    try:
        return parse_json(data)
    except NotCanonicalError as error:
        raise FormError(str(error)) from error


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise FormError(f"{name}: must be an object")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NOTE_BYTES:
        raise FormError(f"{name}: must be a text")
    return value


def _size(fields: Mapping[str, Any]) -> int:
    value = fields.get("size")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise FormError(f"size: {value!r} must be a positive integer")
    return value


def _hash(value: Any, name: str) -> bytes:
    try:
        return decode_base64(value, length=32)
    except ValueError as error:
        raise FormError(f"{name}: {error}") from error
