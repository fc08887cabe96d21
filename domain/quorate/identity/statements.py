"""The statements that Quorate signs, rebuilt from the fields of an object (the table of trust.md, docs/formats.md).

A statement is a flat object; its canonical bytes are the payload of a DSSE envelope. Absent and null are the same and
omitted, except inside `change.patch[].value` and an attestation's `statement`; `[]`, `""`, `0` and `false` stay.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quorate.canonical import canonical_bytes, decode_base64, digest_of_bytes, encode_base64
from quorate.identity import ed25519
from quorate.lazy import lazy

Spec = Mapping[str, Any]


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1: `DSSEv1 SP len(type) SP type SP len(body) SP body`, lengths in ASCII decimal bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True)
class Statement:
    """What one signature covers: `kind` is the first column of trust.md's table, `fields` the object."""

    kind: str
    fields: Mapping[str, Any]

    @lazy
    def payload(self) -> bytes:
        """The canonical bytes; raises NotCanonicalError if a field has no canonical form."""
        return canonical_bytes(dict(self.fields))

    @lazy
    def digest(self) -> str:
        """`sha256:…` of the payload."""
        return digest_of_bytes(self.payload)

    @property
    def payload_type(self) -> str:
        """The DSSE payload type."""
        return f"application/vnd.quorate.{self.kind}.v1+json"

    @lazy
    def signing_bytes(self) -> bytes:
        """What a key signs: the DSSE pre-authentication encoding."""
        return pre_authentication_encoding(self.payload_type, self.payload)

    def forget(self) -> None:
        """Let go of the bytes; the digest stays, and who asks for the bytes again makes them again."""
        _ = self.digest
        self.__dict__.pop("payload", None)
        self.__dict__.pop("signing_bytes", None)

    def verify(self, public_key: bytes, signature: Any) -> bool:
        """Whether `signature` (86 characters of base64) is `public_key`'s over this statement."""
        try:
            raw = decode_base64(signature, length=64)
        except ValueError:
            return False
        return ed25519.verify(public_key, self.signing_bytes, raw)

    def sign(self, private_key: bytes) -> str:
        """The signature as 86 characters of base64 without padding."""
        return encode_base64(ed25519.sign(private_key, self.signing_bytes))


def without_nulls(value: Any, *, keep: tuple[str, ...] = ()) -> Any:
    """A copy of `value` without null members of objects; the values of members named in `keep` are left untouched."""
    if isinstance(value, Mapping):
        return {
            name: item if name in keep else without_nulls(item, keep=keep)
            for name, item in value.items()
            if item is not None or name in keep
        }
    if isinstance(value, list | tuple):
        return [without_nulls(item, keep=keep) for item in value]
    return value


def rationale_digest(rationale: Any) -> str | None:
    """The digest of the rationale's UTF-8 bytes, None (omitted) where there is no rationale."""
    return None if rationale is None else digest_of_bytes(str(rationale).encode())


def trust_domain_statement(name: str, spec: Spec) -> Statement:
    """The whole spec of a TrustDomain without `signatures`, plus its name."""
    fields = {key: value for key, value in spec.items() if key != "signatures"}
    return Statement("trustdomain", without_nulls({**fields, "name": name}))


def proposal_statement(mesh_id: str, namespace: str, name: str, spec: Spec) -> Statement:
    """What a proposer signs; acts, `draft` and `signature` are outside."""
    fields = {
        "meshId": mesh_id,
        "domain": spec.get("trustDomain"),
        "namespace": namespace,
        "name": name,
        "proposer": spec.get("proposer"),
        "keyName": spec.get("keyName"),
        "type": spec.get("type"),
        "domains": spec.get("domains"),
        "target": spec.get("target"),
        "revision": spec.get("revision"),
        "rationaleDigest": rationale_digest(spec.get("rationale")),
    }
    payload = without_nulls(fields)
    if spec.get("change") is not None:
        payload["change"] = _change(spec["change"])
    return Statement("proposal", payload)


def _change(change: Spec) -> dict[str, Any]:
    """`change` without nulls, but for the value of each patch operation, which is kept as written."""
    plain = without_nulls({key: value for key, value in change.items() if key != "patch"})
    if change.get("patch") is None:
        return dict(plain)
    return {**plain, "patch": [without_nulls(operation, keep=("value",)) for operation in change["patch"]]}


def vote_statement(mesh_id: str, spec: Spec) -> Statement:
    """What a voter signs; the vote binds the proposal's digest."""
    proposal = spec.get("proposal") or {}
    fields = {
        "meshId": mesh_id,
        "domain": spec.get("domain"),
        "proposalDigest": proposal.get("digest"),
        "revision": spec.get("revision"),
        "voter": spec.get("voter"),
        "keyName": spec.get("keyName"),
        "choice": spec.get("choice"),
        "sequence": spec.get("sequence"),
        "rationaleDigest": rationale_digest(spec.get("rationale")),
        "castAt": spec.get("castAt"),
    }
    return Statement("vote", without_nulls(fields))


def act_statement(mesh_id: str, domain: str, act: Spec) -> Statement:
    """An endorsement, stop, withdrawal or recovery cancellation: {act, proposalDigest, by, keyName, at}."""
    fields = {name: act.get(name) for name in ("proposalDigest", "act", "by", "keyName", "at")}
    return Statement("act", without_nulls({"meshId": mesh_id, "domain": domain, **fields}))


def attestation_statement(mesh_id: str, spec: Spec) -> Statement:
    """What an attester signs, delegations and recoveries too; `statement` is kept as written."""
    fields = {
        name: spec.get(name)
        for name in ("domain", "attester", "keyName", "sequence", "at", "subject", "type", "expiresAt")
    }
    payload = without_nulls({"meshId": mesh_id, **fields})
    if spec.get("statement") is not None:
        payload["statement"] = spec["statement"]
    return Statement("attestation", payload)


def heartbeat_statement(mesh_id: str, domain: str, heartbeat: Spec) -> Statement:
    """Proof of possession: {nodeId, renewTime, challenge, held}; held is `{}` when nothing is held."""
    fields = {name: heartbeat.get(name) for name in ("nodeId", "renewTime", "challenge", "held")}
    return Statement("heartbeat", without_nulls({"meshId": mesh_id, "domain": domain, **fields}))


def resume_statement(resume: Spec) -> Statement:
    """With what the installation's key lets chain `system` go on ; other chains take Attestations."""
    names = ("chain", "quarantine", "epoch", "size", "head", "finding", "keyName", "at")
    return Statement("resume", without_nulls({name: resume.get(name) for name in names}))


def recovery_statement(mesh_id: str, domain: str, recovery: Spec) -> Statement:
    """The announcement that the recovery set will replace the admins."""
    fields = {name: recovery.get(name) for name in ("revision", "previousDigest", "resultDigest", "at")}
    return Statement("recovery", without_nulls({"meshId": mesh_id, "domain": domain, **fields}))
