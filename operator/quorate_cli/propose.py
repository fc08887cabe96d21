"""`quorate propose`: sign and open a proposal; amend, withdraw, endorse or stop it."""

import time
from typing import Annotated, Any

import typer

from quorate.canonical import NotCanonicalError, digest_of, format_time, parse_json
from quorate.identity.statements import act_statement, proposal_statement
from quorate_cli.options import DryRun, Key, Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Format
from quorate_cli.publish import announce, publish
from quorate_cli.signers import Signer, open_signer, sign_statement
from quorate_cli.sources import Constitution, Sources, constitution_of, digest_of_statement, name_of, voting_identity
from quorate_cli.yamlfiles import one_of_kind

Obj = dict[str, Any]
app = typer.Typer()
ACTS = ("endorsements", "withdrawal", "stops")
TYPES = ("Standard", "Expedited", "Constitutional", "Emergency", "Optimistic")
MAX_BASIS_POINTS = 10_000


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


def make_act(
    kind: str, signer: Signer, constitution: Constitution, digest: str, *, by: str, key_name: str, now: int
) -> Obj:
    """A signed act: Endorse, Withdraw or Stop; `now` in Unix seconds becomes `at`."""
    act: Obj = {"act": kind, "proposalDigest": digest, "by": by, "keyName": key_name, "at": format_time(now)}
    act["signature"] = sign_statement(signer, act_statement(constitution.mesh_id, constitution.name, act))
    return act


@app.command()
def propose(
    name: Annotated[str | None, typer.Argument(help="Name of the GovernanceProposal; else the file's.")] = None,
    key: Key = "",
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="FILE", help="The proposal, and offline its domain and contract."),
    ] = None,
    namespace: Namespace = None,
    domain: Annotated[str | None, typer.Option("--domain", help="TrustDomain that decides.")] = None,
    contract: Annotated[str | None, typer.Option("--contract", help="DynamicContract to change.")] = None,
    clause: Annotated[str | None, typer.Option("--clause", metavar="ID", help="Clause to change.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="The clause's new text.")] = None,
    patch: Annotated[str | None, typer.Option("--patch", metavar="JSON", help="RFC 6902 operations.")] = None,
    revise: Annotated[
        str | None, typer.Option("--revise", metavar="FILE", help="Authorise this next revision of the TrustDomain.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--type", help=", ".join(TYPES))] = None,
    rationale: Annotated[str | None, typer.Option("--rationale", help="Why; its digest is signed.")] = None,
    amend: Annotated[bool, typer.Option("--amend", help="Open a new revision of the open proposal.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Withdraw the open proposal.")] = False,
    endorse: Annotated[bool, typer.Option("--endorse", help="Endorse an Emergency proposal as an admin.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the proposal as an admin.")] = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Sign a proposal and open it: from a file, or from --contract --clause --text."""
    if not key:
        raise BadInputError("--key: is required: the Vote key of the proposing member, or an admin's key")
    acts = [act for act, wanted in (("Withdraw", withdraw), ("Endorse", endorse), ("Stop", stop)) if wanted]
    if len(acts) + amend > 1:
        raise BadInputError("--amend, --withdraw, --endorse, --stop: give only one of them")
    sources = Sources(files, kubeconfig, sandbox)
    signer = open_signer(key)
    if acts:
        _act(acts[0], name, signer, sources, namespace, output=output, dry_run=dry_run)
        return
    given = {"domain": domain, "contract": contract, "clause": clause, "type": kind, "rationale": rationale}
    document = _document(sources, name, given, text=text, patch=patch, revise=revise)
    offline = dry_run and bool(files)
    where = namespace or document["metadata"].get("namespace") or sources.namespace(None, offline=offline)
    if amend:
        _amend(document, sources, where)
    _complete(document["spec"], sources)
    constitution = sources.constitution(str(document["spec"].get("trustDomain")))
    sign_proposal(document, signer, constitution, where)
    publish([document], None if dry_run else sources.cluster, output, verb="proposed")


def _document(
    sources: Sources, name: str | None, given: dict[str, str | None], *, text: str | None, patch: str | None,
    revise: str | None,
) -> Obj:  # fmt: skip
    document = sources.given("GovernanceProposal", name) or _new(name)
    spec: Obj = document.setdefault("spec", {})
    fields = {"trustDomain": given["domain"], "type": given["type"], "rationale": given["rationale"]}
    spec.update({field: value for field, value in fields.items() if value is not None})
    if given["contract"]:
        clause = {"section": "surfaces"} if given["clause"] is None else {"clause": given["clause"]}
        spec["target"] = {"kind": "DynamicContract", "name": given["contract"], **clause}
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
    return document


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


def _amend(document: Obj, sources: Sources, namespace: str) -> None:
    """Number the revision after the live one, and keep the acts, which are append-only."""
    live = sources.cluster.get("GovernanceProposal", name_of(document), namespace)
    spec = document["spec"]
    for field in ("trustDomain", "proposer", "keyName", "type", "target", "domains"):
        if field in live["spec"]:
            spec.setdefault(field, live["spec"][field])
    opened = int((live.get("status") or {}).get("revision") or 0)
    spec["revision"] = max(opened, int(live["spec"]["revision"])) + 1
    spec.update({field: live["spec"][field] for field in ACTS if field in live["spec"]})


def _act(
    kind: str,
    name: str | None,
    signer: Signer,
    sources: Sources,
    namespace: str | None,
    *,
    output: Format,
    dry_run: bool,
) -> None:
    if name is None:
        raise BadInputError(f"--{kind.lower()}: give the name of the proposal")
    live = sources.cluster.get("GovernanceProposal", name, sources.namespace(namespace))
    digest = (live.get("status") or {}).get("digest")
    if not digest:
        raise CliError(f"GovernanceProposal {name!r}: is not open")
    constitution = sources.constitution(live["spec"]["trustDomain"])
    by, key_name = _actor(kind, signer, constitution, live)
    act = make_act(kind, signer, constitution, digest, by=by, key_name=key_name, now=int(time.time()))
    field = {"Withdraw": "withdrawal", "Endorse": "endorsements", "Stop": "stops"}[kind]
    value = act if kind == "Withdraw" else [*(live["spec"].get(field) or ()), act]
    if dry_run:
        live["spec"][field] = value
        live.pop("status", None)
        live["metadata"] = {"name": name, "namespace": live["metadata"]["namespace"]}
        publish([live], None, output)
        return
    announce([sources.cluster.patch(live, {"spec": {field: value}})], output, verb=f"{kind.lower()} signed by {by}")


def _actor(kind: str, signer: Signer, constitution: Constitution, live: Obj) -> tuple[str, str]:
    if kind == "Withdraw":
        return voting_identity(constitution, signer, node_id=live["spec"]["proposer"], key_name=None)
    admin = constitution.admin_of(signer.public_key)
    if admin is None:
        raise CliError(
            f"--key {signer.label}: is no admin's key in TrustDomain {constitution.name}; only admins {kind}"
        )
    return admin, admin
