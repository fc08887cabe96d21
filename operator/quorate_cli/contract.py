"""`quorate contract`: what is in force, and how versions differ."""

from typing import Annotated, Any

import typer

from quorate.canonical import canonical_bytes
from quorate.contracts.content import Content, clause_order
from quorate.contracts.diff import Kind, PartChange, compare
from quorate.contracts.form import ContractRefusedError
from quorate_cli.cluster import Cluster, NotFoundError
from quorate_cli.options import Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Format, emit, paint, show_fields, show_table, tell
from quorate_cli.sources import Sources, read_content, why_not

Obj = dict[str, Any]
app = typer.Typer(no_args_is_help=True, help="Show the contract in force and compare versions.")

File = Annotated[
    str | None, typer.Option("--file", "-f", metavar="FILE", help="A DynamicContract in a file: its genesis.")
]


def genesis_of(contract: Obj) -> Content:
    """The contract as it began; BadInputError where its form is wrong."""
    name = (contract.get("metadata") or {}).get("name")
    try:
        return Content.genesis((contract.get("spec") or {}).get("genesis") or {})
    except ContractRefusedError as error:
        raise BadInputError(f"DynamicContract {name}: {error}") from error


def content_of(cluster: Cluster, contract: Obj, version: str | None = None) -> Content:
    """The content in force, or of a version (`genesis`, `vYYYY.MM.DD[-n]`) or digest in its history.

    Raises:
        CliError: nothing is in force, there is no such version, or its content is not what its digest says.
    """
    genesis, status = genesis_of(contract), contract.get("status") or {}
    in_force = status.get("inForce")
    if version in ("genesis", genesis.version, genesis.digest):
        return genesis
    known = [*([in_force] if in_force else []), *(status.get("history") or ())]
    if version is None:
        if not in_force:
            name = contract["metadata"]["name"]
            raise CliError(f"DynamicContract {name!r}: nothing is in force{why_not(contract, 'Authorized', 'Ready')}")
        wanted = in_force
    else:
        wanted = next((item for item in known if version in (item["version"], item["digest"])), None)
        if wanted is None:
            versions = ", ".join(dict.fromkeys([genesis.version, *(item["version"] for item in known)]))
            raise BadInputError(f"version {version!r}: is not in the history of the contract; it knows {versions}")
    if wanted["digest"] == genesis.digest:
        return genesis
    return _fetch(cluster, wanted)


def base_of(cluster: Cluster, contract: Obj, proposal_digest: str) -> Content:
    """What a proposal changes: the content before its execution, else the one in force."""
    status = contract.get("status") or {}
    known = [status.get("inForce") or {}, *(status.get("history") or ())]
    made = next((item for item in known if item.get("proposalDigest") == proposal_digest), None)
    if made is None:
        return content_of(cluster, contract)
    previous = content_of(cluster, contract, made["digest"]).previous
    return genesis_of(contract) if previous is None else content_of(cluster, contract, previous.digest)


def _fetch(cluster: Cluster, wanted: Obj) -> Content:
    try:
        document = read_content(cluster, wanted.get("contentRef"), wanted["digest"])
        return Content.parse(canonical_bytes(document))
    except NotFoundError as error:
        raise CliError(f"version {wanted['version']}: its content is not on this cluster: {error}") from error
    except ContractRefusedError as error:
        raise CliError(f"version {wanted['version']}: {error}") from error


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="Name of the DynamicContract.")] = None,
    clause: Annotated[str | None, typer.Option("--clause", metavar="ID", help="Only this clause.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="A version, a digest or `genesis`.")] = None,
    file: File = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show the clauses in force, with version, digest and the proposal that made them."""
    contract, content = _load(name, file, version, kubeconfig, sandbox)
    if clause is not None and clause not in content.clauses:
        raise BadInputError(f"--clause {clause}: version {content.version} has {', '.join(sorted(content.clauses))}")
    shown = content.document if clause is None else dict(content.clauses[clause])
    if output in (Format.JSON, Format.YAML):
        emit({**shown, "digest": content.digest} if clause is None else shown, output)
    elif output is Format.NAME:
        print(f"dynamiccontract.quorate.dev/{contract['metadata']['name']}")
    else:
        _show(contract, content, [clause] if clause else sorted(content.clauses, key=clause_order), output)


def _load(
    name: str | None, file: str | None, version: str | None, kubeconfig: str | None, sandbox: str | None
) -> tuple[Obj, Content]:
    if (name is None) == (file is None):
        raise BadInputError("give either a name or --file")
    sources = Sources([file] if file else (), kubeconfig, sandbox)
    if file is None:
        contract = sources.cluster.get("DynamicContract", str(name))
        return contract, content_of(sources.cluster, contract, version)
    found = sources.given("DynamicContract")
    if found is None:
        raise BadInputError(f"{file}: holds no DynamicContract")
    return found, genesis_of(found)


def _show(contract: Obj, content: Content, clauses: list[str], output: Format) -> None:
    status = contract.get("status") or {}
    in_force = status.get("inForce") or {}
    show_fields(
        {
            "Contract": contract["metadata"]["name"],
            "Domain": contract["spec"].get("trustDomain"),
            "Version": content.version,
            "Digest": content.digest,
            "Proposal": content.proposal_digest,
            "In force since": in_force.get("since") if in_force.get("digest") == content.digest else None,
            "Drifted": why_not(contract, "Ready") or None,
        }
    )
    print()
    rows = [{"id": name, "digest": content.clause_digest(name), **content.clauses[name]} for name in clauses]
    columns = [("clause", lambda row: row["id"]), ("title", lambda row: row.get("title")), ("text", _text)]
    wide = [
        ("rule", lambda row: row.get("rule")),
        ("minimum type", lambda row: row.get("minimumType")),
        ("digest", lambda row: row["digest"]),
    ]
    show_table([*columns, *(wide if output is Format.WIDE else [])], rows)


def _text(row: Obj) -> str:
    return str(row.get("text", ""))


@app.command()
def diff(
    name: Annotated[str, typer.Argument(help="Name of the DynamicContract.")],
    before: Annotated[
        str | None, typer.Option("--from", metavar="VERSION", help="Version, digest or `genesis`; else the one before.")
    ] = None,
    after: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="Else what is in force.")] = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Compare two versions clause by clause; nothing given: what is in force with the one before."""
    cluster = Sources((), kubeconfig, sandbox).cluster
    contract = cluster.get("DynamicContract", name)
    new = content_of(cluster, contract, after)
    old = content_of(cluster, contract, before or (new.previous.digest if new.previous else "genesis"))
    changes = compare(old, new)
    if output in (Format.JSON, Format.YAML):
        sides = {
            "from": {"version": old.version, "digest": old.digest},
            "to": {"version": new.version, "digest": new.digest},
        }
        emit({**sides, "changes": [change.document() for change in changes]}, output)
        return
    print(f"{old.version} ({old.digest[:19]}…) → {new.version} ({new.digest[:19]}…)")
    for change in changes:
        _show_change(change)
    if not changes:
        tell("no difference")


def _show_change(change: PartChange) -> None:
    style = {Kind.ADDED: "good", Kind.REMOVED: "bad"}.get(change.kind, "warn")
    print(paint(change.sentence(), style))
    for item in change.fields:
        if item.before is not None:
            print(paint(f"  - {item.field}: {item.before}", "bad"))
        if item.after is not None:
            print(paint(f"  + {item.field}: {item.after}", "good"))
