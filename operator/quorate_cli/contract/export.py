"""`quorate contract export`: the governance_contract_sync document of what is in force, or of a ContractSync."""

import time
from typing import Annotated, Any

import typer

from quorate.api.contract_sync import SyncMode
from quorate.canonical import digest_of, parse_time
from quorate.contracts.content import Content
from quorate.trust.domain import DomainRevision
from quorate_cli.cluster import Cluster
from quorate_cli.contract.reading import Obj, content_of
from quorate_cli.options import Kubeconfig, Sandbox
from quorate_cli.output import BadInputError, CliError, Format, emit
from quorate_cli.sources import Sources, accepted

_HELD = "ContractHeld"


def export(
    name: Annotated[str, typer.Argument(help="Name of the DynamicContract.")],
    sync: Annotated[
        str | None,
        typer.Option("--sync", metavar="NAME", help="The ContractSync; else what is in force, to all members."),
    ] = None,
    mode: Annotated[SyncMode | None, typer.Option("--mode", help="Else the ContractSync's, or Auto.")] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="VERSION", help="Base of a diff; else the one before.")
    ] = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Print the governance_contract_sync JSON document, checked against its schema."""
    from quorate.documents.schema import DocumentRefusedError  # noqa: PLC0415 - jsonschema is slow to import
    from quorate.documents.sync import export_sync  # noqa: PLC0415

    cluster = Sources((), kubeconfig, sandbox).cluster
    contract = cluster.get("DynamicContract", name)
    rollout = None if sync is None else cluster.get("ContractSync", sync)
    content = content_of(cluster, contract, None if rollout is None else rollout["spec"]["digest"])
    if rollout is not None:
        _fits(rollout, name, content)
    domain = accepted(cluster, contract["spec"]["trustDomain"])
    revision = DomainRevision(domain.name, domain.spec)
    wanted = mode or SyncMode((rollout or {"spec": {}})["spec"].get("mode") or SyncMode.AUTO)
    try:
        document = export_sync(
            content,
            digest=_identity(rollout, contract, content),
            source=revision.home_hub,
            targets=_targets(cluster, rollout, revision),
            at=_since(rollout, contract, content),
            base=_base(cluster, contract, content, base),
            mode=wanted,
            rollout=_so_far(cluster, rollout, revision, content),
        )
    except DocumentRefusedError as error:
        raise CliError(f"DynamicContract {name!r}: {error.reason}: {error}") from error
    emit(document, Format.JSON)


def _fits(sync: Obj, name: str, content: Content) -> None:
    spec = sync["spec"]
    if (spec["contract"], spec["version"]) != (name, content.version):
        raise BadInputError(
            f"ContractSync {sync['metadata']['name']!r}: brings {spec['contract']} {spec['version']}; "
            f"the content with its digest is {name} {content.version}"
        )


def _identity(sync: Obj | None, contract: Obj, content: Content) -> str:
    """What the document's id follows from: the sync as it was asked for, or contract and content."""
    if sync is not None:
        return digest_of({"kind": "ContractSync", "name": sync["metadata"]["name"], "spec": sync["spec"]})
    return digest_of({"kind": "DynamicContract", "name": contract["metadata"]["name"], "digest": content.digest})


def _since(sync: Obj | None, contract: Obj, content: Content) -> int:
    if sync is not None:
        return parse_time(sync["metadata"]["creationTimestamp"])
    in_force = (contract.get("status") or {}).get("inForce") or {}
    since = in_force.get("since") if in_force.get("digest") == content.digest else None
    return parse_time(since or contract["metadata"]["creationTimestamp"])


def _base(cluster: Cluster, contract: Obj, content: Content, given: str | None) -> Content | None:
    if given is None and content.previous is None:
        return None
    return content_of(cluster, contract, given or (content.previous.digest if content.previous else "genesis"))


def _targets(cluster: Cluster, sync: Obj | None, domain: DomainRevision) -> list[str]:
    """nodeIds: the members, or the MeshNodes that a ContractSync names or selects."""
    if sync is None:
        return sorted(domain.members)
    spec = sync["spec"]["targets"]
    if spec.get("nodes"):
        return [str(cluster.get("MeshNode", node)["spec"]["nodeId"]) for node in spec["nodes"]]
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return [str(node["spec"]["nodeId"]) for node in cluster.list("MeshNode", labelSelector=selector)]


def _so_far(cluster: Cluster, sync: Obj | None, domain: DomainRevision, content: Content) -> Any:
    """Who holds it by attestation that verifies, and who failed by the ContractSync's status."""
    from quorate.documents.sync import Acknowledgement, Rollout  # noqa: PLC0415

    found = []
    for obj in cluster.list("Attestation"):
        spec = obj["spec"]
        if spec["type"] == _HELD and (spec.get("subject") or {}).get("digest") == content.digest and _good(obj, domain):
            found.append(Acknowledgement(spec["attester"], spec["at"], spec["signature"]))
    status = (sync or {}).get("status") or {}
    failed = [
        (str(cluster.get("MeshNode", item["node"])["spec"]["nodeId"]), str(item["reason"]))
        for item in status.get("failed") or ()
    ]
    holding = frozenset(item.node_id for item in found)
    return Rollout(holding, tuple(failed), tuple(found), status.get("consensusDigest"))


def _good(obj: Obj, domain: DomainRevision) -> bool:
    """Unexpired, and signed by a Machine key of the accepted revision."""
    from quorate.trust.attestations import judge_attestation  # noqa: PLC0415

    recorded, expires = parse_time(obj["metadata"]["creationTimestamp"]), obj["spec"].get("expiresAt")
    if expires is not None and time.time() >= parse_time(expires):
        return False
    return judge_attestation(domain, obj["spec"], recorded=recorded).accepted
