"""`quorate mesh`: the governance_mesh_topology document of what is live, and its drawing."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quorate.api.conditions import ConditionType, is_true
from quorate.canonical import parse_time
from quorate.trust.domain import DomainRevision
from quorate.trust.edges import Edge, trust_graph
from quorate.trust.record import AttestationRecord
from quorate_cli.cluster import Cluster
from quorate_cli.options import Kubeconfig, Namespace, Sandbox
from quorate_cli.output import BadInputError, CliError, Format, emit, warn
from quorate_cli.sources import Sources, accepted
from quorate_operator.kube.resources import HEARTBEAT_LABEL

if TYPE_CHECKING:
    from quorate.documents.topology import Mesh

Obj = dict[str, Any]
app = typer.Typer(no_args_is_help=True, help="Export the topology of the mesh, or draw it.")
Domains = Annotated[
    list[str] | None, typer.Option("--domain", help="Only this TrustDomain; repeatable. Else all with a revision.")
]
_NAMESPACE, _LEASE = "quorate-node-", "quorate-heartbeat-"


@app.command()
def export(
    domains: Domains = None,
    previous: Annotated[
        Path | None, typer.Option("--previous", metavar="FILE", help="The topology document before this one.")
    ] = None,
    attestation: Annotated[
        str | None, typer.Option("--attestation", metavar="NAME", help="An Attestation of this document's hash.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="The document's time; an attested one keeps its own.")
    ] = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Print the governance_mesh_topology JSON document, checked against its schema."""
    from quorate.documents.schema import DocumentRefusedError  # noqa: PLC0415 - jsonschema is slow to import
    from quorate.documents.topology import export_topology  # noqa: PLC0415

    sources = Sources((), kubeconfig, sandbox)
    now = _second(at)
    mesh = live_mesh(sources.cluster, domains, now)
    signed = None
    if attestation is not None:
        signed = sources.cluster.get("Attestation", attestation, sources.namespace(namespace))["spec"]
    try:
        made = export_topology(
            mesh, now=now, previous=None if previous is None else _document(previous), attestation=signed
        )
    except DocumentRefusedError as error:
        raise CliError(f"topology: {error.reason}: {error}") from error
    for note in made.notes:
        warn(note)
    emit(made.document, Format.JSON)


@app.command()
def draw(
    file: Annotated[Path | None, typer.Argument(help="A topology document; else the live mesh.")] = None,
    domains: Domains = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Print the topology as a Mermaid flowchart."""
    from quorate.documents.drawing import draw as drawn  # noqa: PLC0415
    from quorate.documents.topology import export_topology  # noqa: PLC0415 - jsonschema is slow to import

    if file is not None:
        print(drawn(_document(file)), end="")
        return
    now = int(time.time())
    mesh = live_mesh(Sources((), kubeconfig, sandbox).cluster, domains, now)
    names = {str(obj["spec"]["nodeId"]): str(obj["metadata"]["name"]) for obj in mesh.nodes}
    print(drawn(export_topology(mesh, now=now).document, names), end="")


def _second(at: str | None) -> int:
    try:
        return int(time.time()) if at is None else parse_time(at)
    except ValueError as error:
        raise BadInputError(f"--at: {error}") from error


def _document(path: Path) -> Obj:
    from quorate.documents.reading import read  # noqa: PLC0415
    from quorate.documents.schema import DocumentKind, DocumentRefusedError  # noqa: PLC0415

    try:
        kind, document = read(path.read_bytes())
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except DocumentRefusedError as error:
        raise BadInputError(f"{path}: {error}") from error
    if kind is not DocumentKind.MESH_TOPOLOGY:
        raise BadInputError(f"{path}: is a {kind}, not a {DocumentKind.MESH_TOPOLOGY}")
    return document


def live_mesh(cluster: Cluster, names: list[str] | None, now: int) -> "Mesh":
    """What the cluster holds: accepted revisions, MeshNodes, newest verified heartbeats, Trust edges that stand."""
    from quorate.documents.topology import Mesh  # noqa: PLC0415 - jsonschema is slow to import

    wanted = names or _with_revision(cluster)
    revisions = tuple(DomainRevision(name, accepted(cluster, name).spec) for name in sorted(set(wanted)))
    nodes = tuple(
        obj for obj in cluster.list("MeshNode") if not names or set(names) & set(obj["spec"].get("trustDomains") or ())
    )
    return Mesh(revisions, nodes, _last_seen(cluster, nodes), _edges(cluster, revisions, now))


def _with_revision(cluster: Cluster) -> list[str]:
    found = []
    for obj in cluster.list("TrustDomain"):
        name = str(obj["metadata"]["name"])
        if (obj.get("status") or {}).get("accepted"):
            found.append(name)
        else:
            warn(f"TrustDomain {name}: no revision is accepted yet: left out")
    return found


def _last_seen(cluster: Cluster, nodes: tuple[Obj, ...]) -> dict[str, int]:
    """Second of each node's newest heartbeat, where the operator verified its signature."""
    verified = {
        f"{_NAMESPACE}{obj['metadata']['name']}": str(obj["spec"]["nodeId"])
        for obj in nodes
        if is_true(obj.get("status"), ConditionType.IDENTITY_VERIFIED)
    }
    seen: dict[str, int] = {}
    for lease in cluster.list("Lease", labelSelector=HEARTBEAT_LABEL):
        meta = lease["metadata"]
        node = verified.get(meta["namespace"])
        text = (meta.get("annotations") or {}).get(HEARTBEAT_LABEL)
        if node is None or text is None or not meta["name"].startswith(_LEASE):
            continue
        try:
            renewed = parse_time(json.loads(text)["renewTime"])
        except (ValueError, KeyError, TypeError):
            continue
        seen[node] = max(renewed, seen.get(node, 0))
    return seen


@dataclass(frozen=True)
class _Accepted:
    """The accepted revision, taken as in force at every time: an edge by a key that is gone since does not stand."""

    latest: DomainRevision

    def at(self, second: int) -> DomainRevision:
        """That revision."""
        return self.latest


def _edges(cluster: Cluster, revisions: tuple[DomainRevision, ...], now: int) -> tuple[Edge, ...]:
    """The strongest direct edge of each pair over the domains."""
    objects = [obj for obj in cluster.list("Attestation") if (obj.get("status") or {}).get("recordedAt")]
    best: dict[tuple[str, str], Edge] = {}
    for revision in revisions:
        records = [
            AttestationRecord.of(revision.mesh_id, obj["spec"], parse_time(obj["metadata"]["creationTimestamp"]))
            for obj in objects
            if obj["spec"]["domain"] == revision.name
        ]
        for pair, edge in trust_graph(_Accepted(revision), records, now).edges.items():
            if pair not in best or edge.weight > best[pair].weight:
                best[pair] = edge
    return tuple(best.values())
