"""`quorate propose` and `quorate amend`: sign a proposal, or its next revision."""

from typing import Annotated, Any

import typer

from quorate.canonical import NotCanonicalError, digest_of, parse_json
from quorate.identity.statements import proposal_statement
from quorate_cli.options import DryRun, Key, Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Format
from quorate_cli.publish import publish
from quorate_cli.signers import Signer, open_signer, sign_statement
from quorate_cli.sources import Constitution, Sources, constitution_of, digest_of_statement, name_of, voting_identity
from quorate_cli.yamlfiles import one_of_kind

Obj = dict[str, Any]
propose_app, amend_app = typer.Typer(), typer.Typer()
ACTS = ("endorsements", "withdrawal", "stops")
TYPES = ("Standard", "Expedited", "Constitutional", "Emergency", "Optimistic")


def sign_proposal(document: Obj, signer: Signer, constitution: Constitution, namespace: str) -> Obj:
    """Complete and sign a GovernanceProposal in place; returns it. Proposer and key come from the constitution."""
    spec = document["spec"]
    who, key_name = voting_identity(constitution, signer, node_id=spec.get("proposer"), key_name=spec.get("keyName"))
    spec["proposer"], spec["keyName"] = who, key_name
    spec.setdefault("revision", 1)
    spec.pop("draft", None)
    name = name_of(document)
    statement = proposal_statement(constitution.mesh_id, namespace, name, spec)
    digest_of_statement(statement, f"GovernanceProposal {name}: spec")
    spec["signature"] = sign_statement(signer, statement)
    document["metadata"]["namespace"] = namespace
    return document


def base_digest(sources: Sources, target: Obj) -> str:
    """The digest of the target as it is now: of the clause or section in force, or of the accepted revision."""
    if target.get("kind") == "TrustDomain":
        return sources.constitution(str(target.get("name"))).digest
    contract = sources.object("DynamicContract", str(target.get("name")))
    status = contract.get("status") or {}
    if "inForce" in status:
        if "section" in target:
            return str(status.get("surfacesDigest") or digest_of(None))
        return str((status.get("clauseDigests") or {}).get(target.get("clause"), digest_of(None)))
    return _genesis_base(contract, target)


def _genesis_base(contract: Obj, target: Obj) -> str:
    from quorate.contracts.content import Content  # noqa: PLC0415 - only offline
    from quorate.contracts.form import ContractRefusedError  # noqa: PLC0415

    try:
        content = Content.genesis((contract.get("spec") or {}).get("genesis") or {})
    except ContractRefusedError as error:
        raise BadInputError(f"DynamicContract {name_of(contract)}: {error}") from error
    return content.surfaces_digest if "section" in target else content.clause_digest(str(target.get("clause")))


def check_applies(sources: Sources, spec: Obj) -> None:
    """Refuse a patch that does not apply to the contract in the documents; on a cluster the operator checks it."""
    target = spec["target"]
    contract = sources.given("DynamicContract", str(target.get("name")))
    if target.get("kind") != "DynamicContract" or contract is None or "inForce" in (contract.get("status") or {}):
        return
    from quorate.contracts.content import Content  # noqa: PLC0415
    from quorate.contracts.form import ContractRefusedError  # noqa: PLC0415
    from quorate.contracts.patch import Target, changed_target, check_type  # noqa: PLC0415

    try:
        content, part = Content.genesis(contract["spec"]["genesis"]), Target.parse(target)
        check_type(content, part, str(spec.get("type")))
        changed_target(content, part, spec["change"])
    except ContractRefusedError as error:
        raise CliError(f"the change does not apply to {name_of(contract)}: {error}") from error


_Name = Annotated[str | None, typer.Argument(help="Name of the GovernanceProposal; else the file's.")]
_Contract = Annotated[str | None, typer.Option("--contract", help="DynamicContract to change.")]
_Clause = Annotated[str | None, typer.Option("--clause", metavar="ID", help="Clause to change; else the surfaces.")]
_Text = Annotated[str | None, typer.Option("--text", help="The clause's new text.")]
_Patch = Annotated[str | None, typer.Option("--patch", metavar="JSON", help="RFC 6902 operations.")]
_Revise = Annotated[
    str | None, typer.Option("--revise", metavar="FILE", help="Authorise this next revision of the TrustDomain.")
]
_Rationale = Annotated[str | None, typer.Option("--rationale", help="Why; its digest is signed.")]


@propose_app.command()
def propose(
    key: Key,
    name: _Name = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="FILE", help="The proposal, and offline its domain and contract."),
    ] = None,
    namespace: Namespace = None,
    domain: Annotated[str | None, typer.Option("--domain", help="TrustDomain that decides.")] = None,
    contract: _Contract = None,
    clause: _Clause = None,
    text: _Text = None,
    patch: _Patch = None,
    revise: _Revise = None,
    kind: Annotated[str | None, typer.Option("--type", help=", ".join(TYPES))] = None,
    domains: Annotated[
        list[str] | None, typer.Option("--also", metavar="DOMAIN", help="Another domain that must adopt; repeatable.")
    ] = None,
    rationale: _Rationale = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Sign a proposal and open it: from a file, or from --contract --clause --text."""
    sources = Sources(files, kubeconfig, sandbox)
    signer = open_signer(key)
    document = sources.given("GovernanceProposal", name) or _new(name)
    fields = {"trustDomain": domain, "type": kind, "rationale": rationale}
    _change(document, fields, contract=contract, clause=clause, text=text, patch=patch, revise=revise)
    where = namespace or document["metadata"].get("namespace")
    where = where or sources.namespace(None, offline=dry_run and bool(files))
    _complete(document["spec"], sources)
    if domains:
        document["spec"]["domains"] = sorted({document["spec"]["trustDomain"], *domains})
    constitution = sources.constitution(str(document["spec"].get("trustDomain")))
    sign_proposal(document, signer, constitution, where)
    publish([document], None if dry_run else sources.cluster, output, verb="proposed")


@amend_app.command()
def amend(
    key: Key,
    name: _Name = None,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="The proposal as it is to be; offline also domain, contract."
        ),
    ] = None,
    namespace: Namespace = None,
    contract: _Contract = None,
    clause: _Clause = None,
    text: _Text = None,
    patch: _Patch = None,
    revise: _Revise = None,
    rationale: _Rationale = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Sign the next revision of an open proposal; what is not given stays, its base is that of now.

    The open revision is superseded: votes on it do not count for the next one, whose vote begins anew.
    """
    sources = Sources(files, kubeconfig, sandbox)
    signer = open_signer(key)
    given = sources.given("GovernanceProposal", name)
    if name is None and given is None:
        raise BadInputError("give a name, or a file with exactly one GovernanceProposal")
    offline = dry_run and given is not None
    live = given if offline else None
    where = namespace or ((given or {}).get("metadata") or {}).get("namespace")
    where = where or sources.namespace(None, offline=offline)
    if live is None:
        live = sources.cluster.get("GovernanceProposal", name or name_of(given or {}), where)
    document = _next_revision(live, given)
    fields = {"rationale": rationale}
    _change(document, fields, contract=contract, clause=clause, text=text, patch=patch, revise=revise)
    if given is None:
        document["spec"]["change"].pop("baseDigest", None)
    _complete(document["spec"], sources)
    constitution = sources.constitution(str(document["spec"]["trustDomain"]))
    sign_proposal(document, signer, constitution, str(where))
    publish([document], None if dry_run else sources.cluster, output, verb="amended")


def _next_revision(live: Obj, given: Obj | None) -> Obj:
    """The live proposal, or the given one on top of it, numbered after it; acts are append-only and stay."""
    spec: Obj = dict((given or live).get("spec") or {})
    for field in ("trustDomain", "proposer", "type", "target", "domains"):
        if field in live["spec"]:
            spec.setdefault(field, live["spec"][field])
    spec.pop("keyName", None)  # any Vote key of the proposer may sign
    opened = int((live.get("status") or {}).get("revision") or 0)
    spec["revision"] = max(opened, int(live["spec"].get("revision") or 1)) + 1
    spec["change"] = dict(spec.get("change") or {})
    spec.update({field: live["spec"][field] for field in ACTS if field in live["spec"]})
    spec.pop("signature", None)
    meta = {"name": name_of(live)}
    return {"apiVersion": "quorate.dev/v1alpha1", "kind": "GovernanceProposal", "metadata": meta, "spec": spec}


def _change(
    document: Obj,
    fields: dict[str, str | None],
    *,
    contract: str | None,
    clause: str | None,
    text: str | None,
    patch: str | None,
    revise: str | None,
) -> None:
    """Write what the flags say into the document."""
    spec: Obj = document.setdefault("spec", {})
    spec.update({field: value for field, value in fields.items() if value is not None})
    if contract:
        part = {"section": "surfaces"} if clause is None else {"clause": clause}
        spec["target"] = {"kind": "DynamicContract", "name": contract, **part}
    elif clause is not None:
        spec["target"] = {"kind": "DynamicContract", "name": (spec.get("target") or {}).get("name"), "clause": clause}
    change: Obj = spec.setdefault("change", {})
    if text is not None:
        change["patch"] = [{"op": "replace", "path": "/text", "value": text}]
    if patch is not None:
        change["patch"] = _operations(patch)
    if revise is not None:
        revision = constitution_of(one_of_kind(revise, "TrustDomain"))
        spec["target"] = {"kind": "TrustDomain", "name": revision.name}
        spec.setdefault("type", "Constitutional")
        spec.setdefault("trustDomain", revision.name)
        change["resultDigest"] = revision.digest


def _new(name: str | None) -> Obj:
    if name is None:
        raise BadInputError("give a name, or a file with exactly one GovernanceProposal")
    return {"apiVersion": "quorate.dev/v1alpha1", "kind": "GovernanceProposal", "metadata": {"name": name}}


def _operations(text: str) -> Any:
    try:
        operations = parse_json(text)
    except NotCanonicalError as error:
        raise BadInputError(f"--patch: {error}") from error
    if not isinstance(operations, list):
        raise BadInputError("--patch: must be a JSON list of RFC 6902 operations")
    return operations


def _complete(spec: Obj, sources: Sources) -> None:
    """Fill what the spec leaves out, and refuse what cannot become a proposal."""
    spec.setdefault("type", "Standard")
    if spec["type"] not in TYPES:
        raise BadInputError(f"spec.type {spec['type']!r}: must be one of {', '.join(TYPES)}")
    target, change = spec.get("target"), spec.get("change")
    if not isinstance(target, dict) or not isinstance(change, dict) or not ({"patch", "resultDigest"} & set(change)):
        raise BadInputError("a proposal needs spec.target and spec.change: --contract, --clause and --text or --patch")
    if not isinstance(spec.get("trustDomain"), str):
        contract = sources.object("DynamicContract", str(target.get("name")))
        spec["trustDomain"] = contract["spec"]["trustDomain"]
    if "baseDigest" not in change:
        change["baseDigest"] = base_digest(sources, target)
    check_applies(sources, spec)
