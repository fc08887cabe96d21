"""Form of a TrustDomain: what must hold before a signature is looked at (trust.md, Revisions, "Form").

The models check fields one by one; what follows here is what the design leaves to the operator: uniqueness, thresholds
against the keys that exist, and keys that may not be used at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import ValidationError

from quorate.api.conditions import Reason
from quorate.api.trust_domain import TrustDomainSpec
from quorate.canonical import NotCanonicalError, canonical_bytes, parse_time
from quorate.identity.ed25519 import KeyRefusedError, parse_public_key
from quorate.identity.vkey import COSIGNATURE, ED25519, parse_verifier_key

MAX_DOCUMENT_BYTES = 768 * 1024
YEAR_SECONDS = 31_536_000


class FormError(ValueError):
    """A document of the wrong form: `reason` is stable, the message names field, value and rule."""

    def __init__(self, field: str, rule: str, *, reason: str = Reason.INVALID) -> None:
        super().__init__(f"{field}: {rule}")
        self.reason = reason
        self.field = field
        self.rule = rule


def check_fields(model: Any, document: Any, root: str) -> None:
    """Validate `document` strictly against a model; FormError names the first field that is wrong."""
    try:
        model.model_validate_json(orjson.dumps(document), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        value = repr(first.get("input"))[:80]
        raise FormError(field, f"{first['msg']} (got {value})") from error
    except TypeError as error:
        raise FormError(root, f"cannot be written as JSON: {error}") from error


def check_domain_form(name: str, spec: Mapping[str, Any]) -> None:
    """Refuse a spec whose form is wrong: FormError with reason Invalid or DuplicateKey."""
    try:
        size = len(canonical_bytes(dict(spec)))
    except NotCanonicalError as error:
        raise FormError("spec", str(error)) from error
    if size > MAX_DOCUMENT_BYTES:
        raise FormError("spec", f"has {size} bytes, more than {MAX_DOCUMENT_BYTES}", reason=Reason.TOO_LARGE)
    check_fields(TrustDomainSpec, spec, "spec")
    if spec["revision"] == 1 and spec.get("previousDigest") is not None:
        raise FormError("spec.previousDigest", f"{spec['previousDigest']!r} must be absent in revision 1")
    if spec["revision"] > 1 and spec.get("previousDigest") is None:
        raise FormError("spec.previousDigest", f"is absent; revision {spec['revision']} requires it")
    _check_set("spec.admins", spec["admins"], "spec.adminThreshold", spec["adminThreshold"])
    recovery = spec.get("recovery")
    if recovery is not None:
        _check_set("spec.recovery.keys", recovery["keys"], "spec.recovery.threshold", recovery["threshold"])
    _check_log(name, spec)
    _check_members(spec["members"])
    _check_unique("spec.contracts", "name", spec.get("contracts") or ())
    _check_unique("spec.contracts", "contractId", spec.get("contracts") or ())
    for kind, rules in (spec.get("voting") or {}).items():
        if rules is not None:
            _check_rules(kind, rules, spec["voting"])


def _check_unique(field: str, name: str, items: Sequence[Mapping[str, Any]]) -> None:
    seen: set[Any] = set()
    for index, item in enumerate(items):
        if item[name] in seen:
            raise FormError(f"{field}[{index}].{name}", f"{item[name]!r} occurs twice; it must be unique")
        seen.add(item[name])


def _key(field: str, text: str) -> bytes:
    try:
        return parse_public_key(text)
    except KeyRefusedError as error:
        raise FormError(field, f"{text!r}: {error}") from error


def _check_set(field: str, keys: Sequence[Mapping[str, Any]], threshold_field: str, threshold: int) -> None:
    """A set of named keys: names and keys once each, threshold between 1 and their number."""
    _check_unique(field, "name", keys)
    seen: set[bytes] = set()
    for index, key in enumerate(keys):
        raw = _key(f"{field}[{index}].publicKey", key["publicKey"])
        if raw in seen:
            raise FormError(
                f"{field}[{index}].publicKey",
                f"{key['publicKey']!r} occurs twice in the set",
                reason=Reason.DUPLICATE_KEY,
            )
        seen.add(raw)
    if not 1 <= threshold <= len(seen):
        raise FormError(threshold_field, f"{threshold} must be between 1 and the number of keys, {len(seen)}")


def _check_log(name: str, spec: Mapping[str, Any]) -> None:
    log = spec.get("log")
    if log is None:
        return
    if log["origin"] != f"{spec['meshId']}/{name}":
        raise FormError("spec.log.origin", f"{log['origin']!r} must be <meshId>/<name>, {spec['meshId']}/{name}")
    seen: set[bytes] = set()
    for index, text in enumerate(log["keys"]):
        field = f"spec.log.keys[{index}]"
        try:
            key = parse_verifier_key(text)
        except KeyRefusedError as error:
            raise FormError(field, f"{text!r}: {error}") from error
        if key.algorithm != ED25519:
            raise FormError(field, f"{text!r}: a log key must be of algorithm 0x01 (Ed25519)")
        if key.public_key in seen:
            raise FormError(field, f"{text!r}: its public key occurs twice in the set", reason=Reason.DUPLICATE_KEY)
        seen.add(key.public_key)


def _member_key(field: str, key: Mapping[str, Any]) -> bytes:
    if key["purpose"] != "Witness":
        return _key(field, key["publicKey"])
    try:
        witness = parse_verifier_key(key["publicKey"])
    except KeyRefusedError as error:
        raise FormError(field, f"{key['publicKey']!r}: {error}") from error
    if witness.algorithm != COSIGNATURE:
        raise FormError(field, f"{key['publicKey']!r}: a Witness key must be of algorithm 0x04 (cosignature)")
    return witness.public_key


def _check_members(members: Sequence[Mapping[str, Any]]) -> None:
    _check_unique("spec.members", "nodeId", members)
    owners: dict[bytes, str] = {}
    for index, member in enumerate(members):
        place = f"spec.members[{index}]"
        keys = member.get("keys") or ()
        _check_names(f"{place}.keys", keys)
        for position, key in enumerate(keys):
            field = f"{place}.keys[{position}].publicKey"
            raw = _member_key(field, key)
            if raw in owners:
                rule = f"{key['publicKey']!r} is already a key of {owners[raw]}; it may stand once among all members"
                raise FormError(field, rule, reason=Reason.DUPLICATE_KEY)
            owners[raw] = member["nodeId"]
            _check_time(f"{place}.keys[{position}].notAfter", key.get("notAfter"))
        threshold = member.get("voteThreshold")
        votes = sum(key["purpose"] == "Vote" for key in keys)
        if threshold is not None and not 1 <= threshold <= votes:
            raise FormError(f"{place}.voteThreshold", f"{threshold} must be between 1 and its Vote keys, {votes}")


def _check_time(field: str, text: Any) -> None:
    """The model knows the pattern of a time, not the calendar."""
    if text is None:
        return
    try:
        parse_time(text)
    except ValueError as error:
        raise FormError(field, str(error)) from error


def _check_names(field: str, keys: Iterable[Mapping[str, Any]]) -> None:
    """Within one purpose a name stands once: keyName is binding, so it must be unambiguous."""
    seen: set[tuple[str, str]] = set()
    for index, key in enumerate(keys):
        pair = (key["purpose"], key["name"])
        if pair in seen:
            raise FormError(f"{field}[{index}].name", f"{key['name']!r} occurs twice among its {key['purpose']} keys")
        seen.add(pair)


def _check_rules(kind: str, rules: Mapping[str, Any], voting: Mapping[str, Any]) -> None:
    field = f"spec.voting.{kind}"

    def require(*names: str) -> None:
        for name in names:
            if rules.get(name) is None:
                raise FormError(f"{field}.{name}", f"is absent; {kind} requires it")

    if kind in ("Emergency", "Expedited") and voting.get("Standard") is None:
        raise FormError(field, f"{kind} needs Standard, whose rules it falls back on")
    if kind == "Optimistic":
        require("objectionBasisPoints", "votingPeriodSeconds")
        return
    if kind == "Emergency":
        require("votingPeriodSeconds", "ratificationSeconds")
        return
    require("thresholdBasisPoints", "votingPeriodSeconds")
    adaptive = rules.get("adaptiveQuorum")
    if (rules.get("quorumBasisPoints") is None) == (adaptive is None):
        written = "neither is" if adaptive is None else "both are"
        rule = f"{written} written; exactly one of quorumBasisPoints and adaptiveQuorum is required"
        raise FormError(f"{field}.quorumBasisPoints", rule)
    if adaptive is not None and adaptive["floorBasisPoints"] > adaptive["startBasisPoints"]:
        floor, start = adaptive["floorBasisPoints"], adaptive["startBasisPoints"]
        rule = f"{floor} must not exceed startBasisPoints, {start}"
        raise FormError(f"{field}.adaptiveQuorum.floorBasisPoints", rule)
