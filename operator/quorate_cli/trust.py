"""`quorate trust`: a score explained edge by edge, and the ranks of a domain (docs/trust.md).

On a cluster it reads the accepted revision and the Attestations that the operator recorded; with -f the documents
alone. Either way every signature is verified again, by what the revisions say of its key.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from quorate.api.attestation import AttestationType
from quorate.canonical import format_time, parse_time
from quorate.proposals.chains import build_chains
from quorate.proposals.folder import DocumentError, created, sort_documents
from quorate.trust.domain import DomainRevision, parse_domain
from quorate.trust.edges import Graph, Revisions, about_node, standing, trust_graph
from quorate.trust.form import FormError
from quorate.trust.path import Path, ScoreRules, best_path
from quorate.trust.rank import SCALE, rank
from quorate.trust.record import AttestationRecord
from quorate.trust.wilson import wilson
from quorate_cli.attest import node_named
from quorate_cli.options import Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, Column, Format, emit, show_fields, show_table, warn
from quorate_cli.pins import Pins, parse_pins
from quorate_cli.sources import Constitution, Sources, constitution_of
from quorate_cli.watching import Watch, each, readings

Obj = dict[str, Any]
app = typer.Typer(no_args_is_help=True, help="Explain a trust score edge by edge; rank a domain's nodes.")

Domain = Annotated[str, typer.Option("--domain", help="TrustDomain whose attestations are meant.")]
Files = Annotated[
    list[str] | None, typer.Option("--file", "-f", metavar="FILE", help="Offline: TrustDomain and Attestations.")
]
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="As of this time; else now.")]


@dataclass(frozen=True)
class _Known:
    """The one revision that is known, taken as in force at every time."""

    latest: DomainRevision

    def at(self, second: int) -> DomainRevision:
        """That revision."""
        return self.latest


@dataclass(frozen=True)
class Scene:
    """What a domain's members attest, at one second; `names` gives each attestation's object by digest."""

    constitution: Constitution
    history: Revisions
    records: tuple[AttestationRecord, ...]
    names: dict[str, str]
    second: int
    unseen: int = 0
    """Attestations on the cluster that are refused or not recorded yet: left out."""

    @property
    def revision(self) -> DomainRevision:
        """The revision in force."""
        found = self.history.at(self.second)
        if found is None:
            raise BadInputError(f"--at {format_time(self.second)}: no revision of the domain was in force")
        return found

    @property
    def rules(self) -> ScoreRules:
        """How scores are derived."""
        return ScoreRules.of(self.revision.spec)

    @property
    def graph(self) -> Graph:
        """The edges that hold."""
        return trust_graph(self.history, self.records, self.second)


def _reading(
    domain: str,
    files: list[str] | None,
    pins: list[str] | None,
    at: str | None,
    kubeconfig: str | None,
    box: str | None,
    watch: bool,
) -> Callable[[], Scene]:
    if watch and (files or at is not None):
        raise BadInputError("--watch: shows what a cluster says now; leave out --file and --at")
    sources = Sources(files, kubeconfig, box)
    try:
        given = None if at is None else parse_time(at)
    except ValueError as error:
        raise BadInputError(f"--at: {error}") from error

    def read() -> Scene:
        second = int(time.time()) if given is None else given
        return _offline(sources, domain, pins, second) if files else _live(sources, domain, second)

    return read


def _live(sources: Sources, domain: str, second: int) -> Scene:
    constitution = sources.constitution(domain)
    objects = [item for item in sources.cluster.list("Attestation") if item["spec"]["domain"] == domain]
    recorded = [item for item in objects if (item.get("status") or {}).get("recordedAt")]
    scene = _of(constitution, _Known(_parsed(constitution)), recorded, second)
    return replace(scene, unseen=len(objects) - len(recorded))


def _offline(sources: Sources, domain: str, pins: list[str] | None, second: int) -> Scene:
    try:
        folder = sort_documents(sources.documents)
        chains = build_chains(folder, parse_pins(pins or ()))
    except DocumentError as error:
        raise BadInputError(str(error)) from error
    document = sources.given("TrustDomain", domain)
    if document is None:
        raise BadInputError(f"--domain {domain!r}: no TrustDomain of this name among the documents")
    history: Revisions | None = chains.histories.get(domain)
    if history is None:
        warn(f"TrustDomain {domain}: revision 1 is not among the documents; the one there is taken as in force")
        history = _Known(_parsed(constitution_of(document)))
    objects = [item for item in folder.attestations if item["spec"]["domain"] == domain]
    return _of(Constitution(domain, dict(history.latest.spec), history.latest.digest), history, objects, second)


def _parsed(constitution: Constitution) -> DomainRevision:
    try:
        return parse_domain(constitution.name, constitution.spec)
    except FormError as error:
        raise BadInputError(f"TrustDomain {constitution.name}: {error}") from error


def _of(constitution: Constitution, history: Revisions, objects: Sequence[Any], second: int) -> Scene:
    records, names = [], {}
    for item in objects:
        record = AttestationRecord.of(constitution.mesh_id, item["spec"], created(item))
        records.append(record)
        names[record.digest] = f"{item['metadata'].get('namespace') or 'default'}/{item['metadata'].get('name')}"
    return Scene(constitution, history, tuple(records), names, second)


def path_document(scene: Scene, path: Path) -> Obj:
    """The score and each edge of its path, as `-o json` prints it."""
    rules = scene.rules
    return {
        "domain": scene.constitution.name,
        "domainRevision": scene.revision.revision,
        "at": format_time(scene.second),
        "from": path.source,
        "to": path.target,
        "scoreBasisPoints": path.score,
        "minScoreBasisPoints": rules.minimum,
        "trusted": path.score >= max(rules.minimum or 0, 1),
        "rules": {"decayBasisPoints": rules.decay, "maxChainLength": rules.length},
        "edges": list(_edges(scene, path)),
    }


def _edges(scene: Scene, path: Path) -> Iterator[Obj]:
    for hop in path.hops:
        expires = hop.edge.expires_at
        yield {
            "from": hop.edge.attester,
            "to": hop.edge.subject,
            "weightBasisPoints": hop.edge.weight,
            "scoreBasisPoints": hop.score,
            "attestation": scene.names.get(hop.edge.digest),
            "digest": hop.edge.digest,
            "expiresAt": None if expires is None else format_time(expires),
        }


@app.command()
def path(
    source: Annotated[str, typer.Argument(metavar="A", help="Whose eyes: a nodeId, or a member's Vote key by name.")],
    target: Annotated[str, typer.Argument(metavar="B", help="Who is looked at: the same.")],
    domain: Domain,
    files: Files = None,
    at: At = None,
    pins: Pins = None,
    watch: Watch = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Explain the score of B in the eyes of A, edge by edge."""
    read = _reading(domain, files, pins, at, kubeconfig, sandbox, watch)

    def found() -> tuple[Scene, Obj]:
        scene = read()
        ends = [node_named(scene.constitution, text) for text in (source, target)]
        return scene, path_document(scene, best_path(scene.graph, ends[0], ends[1], scene.rules))

    each(
        lambda: readings(found),
        lambda pair: _show_path(*pair, output),
        watch=watch,
        output=output,
        key=lambda pair: (pair[0].unseen, pair[0].rules, {**pair[1], "at": None}),
    )


def _show_path(scene: Scene, document: Obj, output: Format) -> None:
    _warn_of(scene)
    domain = scene.constitution.name
    if scene.rules.length == 0:
        warn(f"TrustDomain {domain}: spec.trust allows no edge (absent: none), so every score is 0")
    if output in (Format.JSON, Format.YAML):
        emit(document, output)
        return
    rules = document["rules"]
    show_fields(
        {
            "From": document["from"],
            "To": document["to"],
            "Score": f"{document['scoreBasisPoints']} of 10000",
            "Trusted": f"{'yes' if document['trusted'] else 'no'} (minScoreBasisPoints {scene.rules.minimum or 0})",
            "Rules": f"decay {rules['decayBasisPoints']}, at most {rules['maxChainLength']} edges",
            "As of": f"{document['at']}, revision {document['domainRevision']} of {domain}",
        }
    )
    if document["edges"]:
        print()
        show_table(_EDGES, document["edges"])


def _warn_of(scene: Scene) -> None:
    if scene.unseen:
        name = scene.constitution.name
        warn(f"{scene.unseen} Attestations of {name} are refused or not recorded yet: left out")


_EDGES: list[Column] = [
    ("from", lambda row: row["from"]),
    ("to", lambda row: row["to"]),
    ("weight", lambda row: row["weightBasisPoints"]),
    ("score", lambda row: row["scoreBasisPoints"]),
    ("attestation", lambda row: row["attestation"]),
    ("expires", lambda row: row["expiresAt"]),
]


def rank_document(scene: Scene) -> list[Obj]:
    """Every node by falling rank, with what Compliance attestations say of it."""
    ranks = rank(scene.graph.weights, scene.rules.seeds)
    found = []
    for node, units in sorted(ranks.items(), key=lambda item: (-item[1], item[0])):
        good, all_ = _compliance(scene, node)
        found.append(
            {
                "node": node,
                "rank": units,
                "shareBasisPoints": units * 10_000 // SCALE,
                "member": node in scene.revision.members,
                "compliant": good,
                "observed": all_,
                "complianceBasisPoints": wilson(good, all_),
            }
        )
    return found


def _compliance(scene: Scene, node: str) -> tuple[int, int]:
    """(attesters who say that it complies, attesters who say anything)."""
    records = [
        record
        for record in scene.records
        if record.type == AttestationType.COMPLIANCE
        and about_node(record) == node
        and isinstance(record.content.get("compliant"), bool)
    ]
    stood = [record.content["compliant"] for _, record in standing(scene.history, records, scene.second)]
    return sum(stood), len(stood)


@app.command("rank")
def rank_nodes(
    domain: Domain,
    files: Files = None,
    at: At = None,
    pins: Pins = None,
    watch: Watch = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Rank the nodes of a domain from its seeds, in units of 10⁻¹² of the whole."""
    read = _reading(domain, files, pins, at, kubeconfig, sandbox, watch)

    def found() -> tuple[Scene, list[Obj]]:
        scene = read()
        return scene, rank_document(scene)

    each(
        lambda: readings(found),
        lambda pair: _show_ranks(*pair, output),
        watch=watch,
        output=output,
        key=lambda pair: (pair[0].unseen, pair[0].rules, pair[1]),
    )


def _show_ranks(scene: Scene, rows: list[Obj], output: Format) -> None:
    _warn_of(scene)
    if not scene.rules.seeds:
        warn(f"TrustDomain {scene.constitution.name}: spec.trust.seeds is empty, so every rank is 0")
    emit(rows, output, columns=_RANKS, name=lambda row: str(row["node"]))


_RANKS: list[Column] = [
    ("node", lambda row: row["node"]),
    ("rank", lambda row: row["rank"]),
    ("share", lambda row: row["shareBasisPoints"]),
    ("member", lambda row: row["member"]),
    ("complies", lambda row: f"{row['compliant']} of {row['observed']}"),
    ("at least", lambda row: row["complianceBasisPoints"]),
]
