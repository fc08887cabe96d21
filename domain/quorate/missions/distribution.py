"""The one signed document by which node agents get their policies (docs/missions-distribution.md).

Pure: the operator makes it, the agent reads it, both with this code.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quorate.canonical import (
    MAX_INTEGER,
    NotCanonicalError,
    canonical_bytes,
    decode_base64,
    digest_of,
    digest_of_bytes,
    encode_base64,
    parse_json,
)
from quorate.identity import ed25519
from quorate.identity.statements import pre_authentication_encoding
from quorate.missions.policies import Policy, compile_policy
from quorate.missions.refusal import PolicyRefusedError

CONTENT, SIGNATURE = "content", "signature"
"""Its data keys: the document, and 86 characters of base64."""
FORMAT = "quorate.dev/node-policies/v1"
PAYLOAD_TYPE = "application/vnd.quorate.nodepolicies.v1+json"
MAX_BYTES = 900 * 1024
_MEMBERS = dict.fromkeys(("format", "hub", "namespaces", "policies", "serial")).keys()


class DistributionRefusedError(ValueError):
    """A document that an agent must not use; it goes on with the one that it has.

    Attributes:
        field: path in the document, or `signature`.
        value: what stands there.
        rule: what it breaks.
    """

    def __init__(self, field: str, value: Any, rule: str) -> None:
        self.field = field
        self.value = value
        self.rule = rule
        shown = repr(value) if isinstance(value, str) else value
        super().__init__(f"{field} {shown}: {rule}")


@dataclass(frozen=True, slots=True)
class Seen:
    """The document that an agent accepted last, which no later one may be older than."""

    serial: int
    digest: str


@dataclass(frozen=True, slots=True)
class NodePolicies:
    """A document that was accepted.

    Attributes:
        serial: counts up with every document of a hub.
        hub: node id of the operator that signed it.
        digest: of the document's bytes, `sha256:…`.
        policies: compiled, by name.
        namespaces: labels of namespaces by name, those pairs alone that a policy's selector asks for.
        refused: name → why this version of the code cannot judge the policy; the others hold all the same.
    """

    serial: int
    hub: str
    digest: str
    policies: tuple[Policy, ...]
    namespaces: Mapping[str, Mapping[str, str]]
    refused: Mapping[str, str]

    @property
    def seen(self) -> Seen:
        """What the next document is compared with."""
        return Seen(self.serial, self.digest)


def entry_of(name: str, version: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A policy as the document holds it: `version` is that of the contract that it implements, or empty."""
    return {"name": name, "version": version, "spec": dict(spec)}


def policy_digest(entry: Mapping[str, Any]) -> str:
    """What tells one state of a policy from another: the digest of its entry."""
    return digest_of(dict(entry))


def asked_of(
    entries: Iterable[Mapping[str, Any]], namespaces: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Of all namespaces' labels those pairs that a policy's namespaceSelector asks for, without empty namespaces."""
    asked = {
        pair
        for entry in entries
        for pair in ((entry["spec"].get("namespaceSelector") or {}).get("matchLabels") or {}).items()
    }
    kept = {name: {key: labels[key] for key, value in asked if labels.get(key) == value}
            for name, labels in namespaces.items()}  # fmt: skip
    return {name: labels for name, labels in kept.items() if labels}


def document_of(
    serial: int, hub: str, entries: Iterable[Mapping[str, Any]], namespaces: Mapping[str, Mapping[str, str]]
) -> bytes:
    """The document: canonical JSON, policies by name, so that the same policies and serial give the same bytes.

    Raises:
        DistributionRefusedError: it is larger than 900 KiB, which is what a ConfigMap is sure to hold.
    """
    ordered = sorted((dict(entry) for entry in entries), key=lambda entry: str(entry["name"]))
    spaces = {name: dict(labels) for name, labels in namespaces.items()}
    data = canonical_bytes({"format": FORMAT, "hub": hub, "namespaces": spaces, "policies": ordered, "serial": serial})
    if len(data) > MAX_BYTES:
        raise DistributionRefusedError("document", f"{len(data)} bytes", _too_large(len(ordered)))
    return data


def _too_large(count: int) -> str:
    return f"{count} policies must fit into {MAX_BYTES} bytes; remove some, or shorten their specs"


def sign(data: bytes, private_key: bytes) -> str:
    """The DSSE signature of a document by the operator's Machine key, as 86 characters of base64."""
    return encode_base64(ed25519.sign(private_key, pre_authentication_encoding(PAYLOAD_TYPE, data)))


def is_signed(data: bytes, signature: Any, public_key: bytes) -> bool:
    """Whether the signature over the document is this key's."""
    try:
        raw = decode_base64(signature, length=64)
    except ValueError:
        return False
    return ed25519.verify(public_key, pre_authentication_encoding(PAYLOAD_TYPE, data), raw)


def parse(data: bytes, signature: Any, public_key: bytes, *, known: Seen | None = None) -> NodePolicies:
    """The policies of a document, after everything about it was checked.

    Args:
        data: the ConfigMap's `content`, UTF-8.
        signature: its `signature`.
        public_key: the operator's Machine key, 32 bytes.
        known: what this agent accepted before; None at its very first start.

    Raises:
        DistributionRefusedError: size, signature, form or rollback; names field, value and rule.
    """
    if len(data) > MAX_BYTES:
        raise DistributionRefusedError("document", f"{len(data)} bytes", f"at most {MAX_BYTES}")
    if not is_signed(data, signature, public_key):
        key = encode_base64(public_key)
        raise DistributionRefusedError("signature", str(signature)[:86], f"is not of the operator's Machine key {key}")
    document = _document(data)
    serial, digest = document["serial"], digest_of_bytes(data)
    if known is not None:
        _check_order(serial, digest, known)
    policies, refused = _policies(document["policies"])
    return NodePolicies(serial, document["hub"], digest, policies, document["namespaces"], refused)


def _document(data: bytes) -> dict[str, Any]:
    """The document in its one form."""
    try:
        document = parse_json(data)
        canonical = canonical_bytes(document)
    except NotCanonicalError as error:
        raise DistributionRefusedError("document", f"{len(data)} bytes", str(error)) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise DistributionRefusedError("format", found, f"must be {FORMAT}")
    if document.keys() != _MEMBERS:
        raise DistributionRefusedError("document", ", ".join(document)[:256], f"must hold {', '.join(_MEMBERS)}")
    if canonical != data:
        raise DistributionRefusedError("document", f"{len(data)} bytes", "must be canonical JSON")
    if not isinstance(document["hub"], str) or not document["hub"]:
        raise DistributionRefusedError("hub", document["hub"], "must be the node id of the operator")
    serial = document["serial"]
    if type(serial) is not int or not 1 <= serial <= MAX_INTEGER:
        raise DistributionRefusedError("serial", serial, "must be an integer from 1 to 2^53-1")
    _check_namespaces(document["namespaces"])
    return document


def _check_namespaces(namespaces: Any) -> None:
    if not isinstance(namespaces, dict):
        raise DistributionRefusedError("namespaces", type(namespaces).__name__, "must be an object")
    for name, labels in namespaces.items():
        if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
            raise DistributionRefusedError(f"namespaces.{name}", str(labels)[:256], "must be labels")


def _check_order(serial: int, digest: str, known: Seen) -> None:
    if serial < known.serial:
        raise DistributionRefusedError("serial", serial, f"is a rollback: serial {known.serial} was accepted before")
    if serial == known.serial and digest != known.digest:
        rule = f"was accepted before with another content: {known.digest}, now {digest}"
        raise DistributionRefusedError("serial", serial, rule)


def _policies(entries: Any) -> tuple[tuple[Policy, ...], dict[str, str]]:
    """The policies, and those that this version cannot judge with the reason: an operator may be newer than agents."""
    if not isinstance(entries, list):
        raise DistributionRefusedError("policies", type(entries).__name__, "must be a list")
    found, refused, before = list[Policy](), dict[str, str](), ""
    for index, entry in enumerate(entries):
        place = f"policies[{index}]"
        if not isinstance(entry, dict) or entry.keys() != {"name", "version", "spec"}:
            raise DistributionRefusedError(place, str(entry)[:256], "must hold name, version, spec")
        name, version, spec = entry["name"], entry["version"], entry["spec"]
        if not isinstance(name, str) or not isinstance(version, str) or not isinstance(spec, dict):
            raise DistributionRefusedError(place, str(entry)[:256], "name and version are strings, spec is an object")
        if name <= before:
            raise DistributionRefusedError(f"{place}.name", name, f"must come after {before!r}, each once")
        before = name
        try:
            found.append(compile_policy(name, spec, version=version))
        except PolicyRefusedError as error:
            refused[name] = str(error)
    return tuple(found), refused
