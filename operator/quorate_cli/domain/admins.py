"""`quorate domain admins`: who may authorise the next revision, shown or changed."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from quorate_cli.domain.revise import finish, named_key, next_revision
from quorate_cli.options import DryRun, Keys, Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, Column, Format, emit, tell
from quorate_cli.sources import Sources

Obj = dict[str, Any]
_COLUMNS: list[Column] = [("admin", lambda row: row["name"]), ("public key", lambda row: row["publicKey"])]


def admins(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="The TrustDomain.")],
    add: Annotated[
        list[str] | None, typer.Option("--add", metavar="NAME=KEY", help="A public key or its file; repeatable.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="NAME", help="Repeatable.")] = None,
    threshold: Annotated[int | None, typer.Option("--threshold", min=1, help="How many must sign.")] = None,
    keys: Keys = None,
    files: Annotated[
        list[str] | None, typer.Option("--file", "-f", metavar="FILE", help="The revision in force.")
    ] = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show the admins, or change them: the thresholds of both the old and the new set must sign."""
    sources = Sources(files, kubeconfig, sandbox)
    before = sources.constitution(domain)
    spec = before.spec
    if not add and not remove and threshold is None:
        emit(spec["admins"], output, columns=_COLUMNS, name=lambda row: str(row["name"]))
        tell(f"{spec['adminThreshold']} of {len(spec['admins'])} must sign a revision")
        return
    document = next_revision(before)
    document["spec"]["admins"] = _changed(spec["admins"], add or (), remove or ())
    document["spec"]["adminThreshold"] = spec["adminThreshold"] if threshold is None else threshold
    finish(document, before, keys, sources, output, dry_run=dry_run)


def _changed(admins: list[Obj], add: Sequence[str], remove: Sequence[str]) -> list[Obj]:
    names = [admin["name"] for admin in admins]
    for name in remove:
        if name not in names:
            raise BadInputError(f"--remove {name!r}: is no admin; they are {', '.join(names)}")
    kept = [admin for admin in admins if admin["name"] not in remove]
    found = {admin["name"] for admin in kept}
    for text in add:
        name, public = named_key(text, "--add")
        if name in found:
            raise BadInputError(f"--add {name!r}: is an admin already; --remove it to replace its key")
        kept, found = [*kept, {"name": name, "publicKey": public}], {*found, name}
    return kept
