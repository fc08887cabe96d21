"""Where a command finds the objects that it signs about: documents given with -f first, then the cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from quorate.canonical import NotCanonicalError, digest_of_bytes, encode_base64, parse_json
from quorate.identity.statements import Statement, trust_domain_statement
from quorate_cli.cluster import Cluster
from quorate_cli.output import BadInputError, CliError, warn
from quorate_cli.place import connect
from quorate_cli.signers import Signer
from quorate_cli.yamlfiles import read_documents

Obj = dict[str, Any]
SYSTEM_NAMESPACE = "quorate-system"


@dataclass(frozen=True)
class Constitution:
    """The revision of a TrustDomain that is used: its spec, and where it comes from."""

    name: str
    spec: Obj
    digest: str

    @property
    def mesh_id(self) -> str:
        """The mesh."""
        return str(self.spec["meshId"])

    def holder_of(self, public_key: bytes, purpose: str) -> tuple[str, str] | None:
        """(nodeId, key name) of the member that has this key for this purpose."""
        text = encode_base64(public_key)
        for member in self.spec.get("members") or ():
            for key in member.get("keys") or ():
                if key.get("publicKey") == text and key.get("purpose") == purpose:
                    return str(member["nodeId"]), str(key["name"])
        return None

    def admin_of(self, public_key: bytes) -> str | None:
        """The name of the admin who has this key."""
        text = encode_base64(public_key)
        return next((str(key["name"]) for key in self.spec.get("admins") or () if key.get("publicKey") == text), None)

    def member(self, node_id: str) -> Obj | None:
        """The member with this nodeId."""
        return next((m for m in self.spec.get("members") or () if m.get("nodeId") == node_id), None)


class Sources:
    """Documents and, only if they do not suffice, the cluster."""

    def __init__(
        self, files: Sequence[str] | None = None, kubeconfig: str | None = None, sandbox: str | None = None
    ) -> None:
        self.documents = read_documents(files or ())
        self._connect: Callable[[], Cluster] = lambda: connect(kubeconfig, sandbox)

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster, connected at the first use."""
        return self._connect()

    def namespace(self, given: str | None, *, offline: bool = False) -> str:
        """The namespace to use: the given one, else the kubeconfig's (offline: `default`)."""
        return given or ("default" if offline else self.cluster.namespace)

    def given(self, kind: str, name: str | None = None) -> Obj | None:
        """The object among the documents (the one with the highest revision); None if there is none."""
        found = [
            document
            for document in self.documents
            if document.get("kind") == kind and name in (None, (document.get("metadata") or {}).get("name"))
        ]
        return max(found, key=_revision, default=None)

    def object(self, kind: str, name: str, namespace: str = "") -> Obj:
        """The object from the documents, else from the cluster; NotFoundError if it is nowhere."""
        return self.given(kind, name) or self.cluster.get(kind, name, namespace)

    def constitution(self, name: str) -> Constitution:
        """The TrustDomain among the documents, else the accepted revision on the cluster (never the live spec)."""
        document = self.given("TrustDomain", name)
        if document is not None:
            return constitution_of(document)
        return accepted(self.cluster, name)


def _revision(document: Obj) -> int:
    revision = (document.get("spec") or {}).get("revision")
    return revision if isinstance(revision, int) else 0


def digest_of_statement(statement: Statement, where: str) -> str:
    """The statement's digest; BadInputError names the field that has no canonical form."""
    try:
        return statement.digest
    except NotCanonicalError as error:
        raise BadInputError(f"{where}: {error}") from error


def constitution_of(document: Obj) -> Constitution:
    """The constitution in a TrustDomain document."""
    name, spec = name_of(document), document.get("spec") or {}
    if not isinstance(spec.get("meshId"), str) or not spec["meshId"]:
        raise BadInputError(f"TrustDomain {name}: spec.meshId is required and must be a string")
    digest = digest_of_statement(trust_domain_statement(name, spec), f"TrustDomain {name}: spec")
    return Constitution(name, spec, digest)


def name_of(document: Obj) -> str:
    """metadata.name; BadInputError if there is none."""
    name = (document.get("metadata") or {}).get("name")
    if not isinstance(name, str) or not name:
        raise BadInputError(f"{document.get('kind', 'document')}: metadata.name is required")
    return name


def accepted(cluster: Cluster, name: str) -> Constitution:
    """The accepted revision of a TrustDomain: the live spec if it has that digest, else the content by digest."""
    live = cluster.get("TrustDomain", name)
    status = (live.get("status") or {}).get("accepted")
    if not status:
        raise CliError(f"TrustDomain {name!r}: no revision is accepted yet{why_not(live, 'Authorized', 'Ready')}")
    constitution = constitution_of(live)
    if constitution.digest == status["digest"]:
        return constitution
    spec = read_content(cluster, status.get("contentRef"), status["digest"])
    return Constitution(name, {key: value for key, value in spec.items() if key != "name"}, status["digest"])


def read_content(cluster: Cluster, reference: str | None, digest: str) -> Obj:
    """The content ConfigMap of a digest, checked against it."""
    reference = reference or f"quorate-{digest.removeprefix('sha256:')}"
    text = str((cluster.get("ConfigMap", reference, SYSTEM_NAMESPACE).get("data") or {}).get("content", ""))
    if digest_of_bytes(text.encode()) != digest:
        raise CliError(f"ConfigMap {SYSTEM_NAMESPACE}/{reference}: its content does not have the digest {digest}")
    return dict(parse_json(text))


def why_not(obj: Obj, *types: str) -> str:
    """` (Reason: message)` of the first of these conditions that is not True, or nothing."""
    conditions = {item["type"]: item for item in (obj.get("status") or {}).get("conditions") or ()}
    for kind in types:
        item = conditions.get(kind)
        if item is not None and item["status"] != "True":
            return f" ({item['reason']}: {item['message']})"
    return ""


def voting_identity(
    constitution: Constitution, signer: Signer, *, node_id: str | None, key_name: str | None
) -> tuple[str, str]:
    """(nodeId, keyName) under which a Vote key signs: from the constitution, or as given (then only warned about)."""
    held = constitution.holder_of(signer.public_key, "Vote")
    if node_id and key_name:
        if held != (node_id, key_name):
            warn(f"--key {signer.label}: is not Vote key {key_name!r} of {node_id} in TrustDomain {constitution.name}")
        return node_id, key_name
    if held is None:
        public = encode_base64(signer.public_key)
        rule = f"its public key {public} is a Vote key of no member of TrustDomain {constitution.name}"
        raise CliError(f"--key {signer.label}: {rule}")
    if node_id not in (None, held[0]):
        raise CliError(f"--key {signer.label}: belongs to {held[0]}, not to {node_id}")
    return held[0], key_name or held[1]
