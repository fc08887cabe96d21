"""`quorate contract show` and `diff`: what is in force, what holds here, and how versions differ."""

from typing import Annotated, Any

import typer

from quorate.contracts.author import author_of
from quorate.contracts.content import Content, clause_order
from quorate.contracts.diff import Kind, PartChange, compare
from quorate.contracts.drift import Remedy, detect
from quorate_cli.cluster import Cluster
from quorate_cli.contract.reading import File, Obj, content_of, load, overlay_of, voted_content
from quorate_cli.options import Dsn, Kubeconfig, Output, Sandbox
from quorate_cli.output import (
    BadInputError,
    ExitCode,
    Format,
    emit,
    paint,
    show_fields,
    show_table,
    tell,
)
from quorate_cli.place import find_dsn
from quorate_cli.sources import SYSTEM_NAMESPACE, Sources, why_not
from quorate_cli.watching import Watch, each

Version = Annotated[str | None, typer.Option("--version", help="A version, a digest or `genesis`.")]


def show(
    name: Annotated[str | None, typer.Argument(help="Name of the DynamicContract.")] = None,
    clause: Annotated[str | None, typer.Option("--clause", metavar="ID", help="Only this clause.")] = None,
    version: Version = None,
    effective: Annotated[bool, typer.Option("--effective", help="With the local overrides that hold here.")] = False,
    watch: Watch = False,
    file: File = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show the clauses in force, with version, digest and the proposal that made them."""
    if effective and (version is not None or file is not None):
        raise BadInputError("--effective: is what holds now; leave out --version and --file")
    if name is not None and file is None:
        cluster = Sources((), kubeconfig, sandbox).cluster
        each(
            lambda: cluster.changes("DynamicContract", name),
            lambda obj: _print(obj, content_of(cluster, obj, version), clause, effective, output),
            watch=watch,
            output=output,
        )
        return
    if watch:
        raise BadInputError("--watch: needs the name of a DynamicContract on a cluster")
    _print(*load(name, file, version, kubeconfig, sandbox), clause, effective, output)


def _print(contract: Obj, content: Content, clause: str | None, effective: bool, output: Format) -> None:
    if clause is not None and clause not in content.clauses:
        raise BadInputError(f"--clause {clause}: version {content.version} has {', '.join(sorted(content.clauses))}")
    document, digest = content.document, content.digest
    if effective:
        overlay = overlay_of(contract, content)
        document, digest = overlay.effective, overlay.effective_digest
    shown = document if clause is None else dict(document["clauses"][clause])
    if output in (Format.JSON, Format.YAML):
        emit({**shown, "digest": digest} if clause is None else shown, output)
    elif output is Format.NAME:
        print(f"dynamiccontract.quorate.dev/{contract['metadata']['name']}")
    else:
        _show(contract, content, document, digest, [clause] if clause else [*content.clauses], output)


def _show(
    contract: Obj, content: Content, document: dict[str, Any], digest: str, clauses: list[str], output: Format
) -> None:
    status = contract.get("status") or {}
    in_force = status.get("inForce") or {}
    current = in_force.get("digest") == content.digest
    overridden = document.get("overridden", ())
    show_fields(
        {
            "Contract": contract["metadata"]["name"],
            "Domain": contract["spec"].get("trustDomain"),
            "Version": content.version,
            "Digest": content.digest,
            "Effective": digest if digest != content.digest else None,
            "Proposal": content.proposal_digest,
            "Evidence": in_force.get("evidenceDigest") if current else None,
            "In force since": in_force.get("since") if current else None,
            "Holders": status.get("holders") if current else None,
            "Accepted": _accepted(status) if current else None,
            "Drifted": why_not(contract, "Ready") or None,
            "Overridden": _overridden(status),
        }
    )
    print()
    rows = [
        {"id": name, "digest": content.clause_digest(name), **document["clauses"][name], "here": name in overridden}
        for name in sorted(clauses, key=clause_order)
    ]
    columns = [("clause", lambda row: row["id"]), ("title", lambda row: row.get("title")), ("text", _text)]
    wide = [
        ("rule", lambda row: row.get("rule")),
        ("minimum type", lambda row: row.get("minimumType")),
        ("digest", lambda row: row["digest"]),
    ]
    show_table([*columns, *(wide if output is Format.WIDE else [])], rows)


def _accepted(status: Obj) -> str | None:
    """`v2 (in force), v1 until 2026-01-31T…`."""
    told = [
        f"{item['version']} until {item['until']}" if item.get("until") else f"{item['version']} (in force)"
        for item in status.get("accepts") or ()
    ]
    return ", ".join(told) or None


def _overridden(status: Obj) -> str | None:
    found = (item for item in status.get("conditions") or () if item["type"] == "Overridden")
    condition = next(found, None)
    if condition is None or condition["reason"] == "NotOverridden":
        return None
    return str(condition["message"])


def _text(row: Obj) -> str:
    return str(row.get("text", "")) + (" (overridden here)" if row["here"] else "")


def diff(
    name: Annotated[str, typer.Argument(help="Name of the DynamicContract.")],
    before: Annotated[
        str | None, typer.Option("--from", metavar="VERSION", help="Version, digest or `genesis`; else the one before.")
    ] = None,
    after: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="Else what is in force.")] = None,
    held: Annotated[
        bool,
        typer.Option("--held", help="Compare what was voted, from the log's database, with the ConfigMap; 1: drifted."),
    ] = False,
    dsn: Dsn = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Compare two versions clause by clause; nothing given: what is in force with the one before."""
    sources = Sources((), kubeconfig, sandbox)
    contract = sources.cluster.get("DynamicContract", name)
    if held:
        if before is not None or after is not None:
            raise BadInputError("--held: compares with what is in force; leave out --from and --to")
        _held(sources.cluster, contract, voted_content(contract, find_dsn(dsn, sandbox, kubeconfig)), output)
        return
    new = content_of(sources.cluster, contract, after)
    old = content_of(sources.cluster, contract, before or (new.previous.digest if new.previous else "genesis"))
    found = compare(old, new)
    if output in (Format.JSON, Format.YAML):
        sides = {
            "from": {"version": old.version, "digest": old.digest},
            "to": {"version": new.version, "digest": new.digest},
        }
        emit({**sides, "changes": [change.document() for change in found]}, output)
        return
    print(f"{old.version} ({old.digest[:19]}…) → {new.version} ({new.digest[:19]}…)")
    for change in found:
        _show_change(change)
    if not found:
        tell("no difference")


def _held(cluster: Cluster, contract: Obj, voted: Content, output: Format) -> None:
    """What stands in the ConfigMap against what was voted, and who wrote it."""
    obj = cluster.find("ConfigMap", f"quorate-{voted.digest.removeprefix('sha256:')}", SYSTEM_NAMESPACE) or {}
    text = (obj.get("data") or {}).get("content")
    author = author_of((obj.get("metadata") or {}).get("managedFields"), "data")
    drift = detect(voted, None if text is None else str(text).encode(), author=author)
    if drift is None:
        tell("no difference: the content is as voted")
        return
    if output in (Format.JSON, Format.YAML):
        wrote = None if author is None else author.document()
        parts = [change.document() for change in drift.parts]
        emit({"inForce": drift.digest, "held": drift.held_digest, "author": wrote, "changes": parts}, output)
    else:
        print(drift.report(Remedy.REPORT))
        for change in drift.parts:
            _show_change(change)
    raise typer.Exit(int(ExitCode.FAILED))


def _show_change(change: PartChange) -> None:
    style = {Kind.ADDED: "good", Kind.REMOVED: "bad"}.get(change.kind, "warn")
    print(paint(change.sentence(), style))
    for item in change.fields:
        if item.before is not None:
            print(paint(f"  - {item.field}: {item.before}", "bad"))
        if item.after is not None:
            print(paint(f"  + {item.field}: {item.after}", "good"))
