"""`quorate restore check`: what the cluster knows and the restored log does not (docs/quarantine.md)."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from quorate_cli.audit.reading import opened_store, run
from quorate_cli.cluster import Cluster, RefusedError
from quorate_cli.options import Dsn, Kubeconfig, Output, Sandbox
from quorate_cli.output import Column, ExitCode, Format, emit, tell, warn
from quorate_cli.place import connect, find_dsn
from quorate_operator.custody.losses import KINDS, Loss, State, losses
from quorate_operator.kube.resources import BY_KIND

app = typer.Typer(no_args_is_help=True, help="After an older database was restored.")
_ADVICE = {
    State.STOPPED: "the chain is stopped: `quorate audit quarantine show`; two people resume it first",
    State.NOT_STOPPED: "nobody signed that the chain goes on from here, as it was never stopped: find the newer "
    "database, or say --never-stopped",
    State.DOMAIN_FIRST: "first its TrustDomain: once the revision in its spec is accepted, run this again",
    State.NOT_CLEARED: "clearing mends nothing: see FOLLOWS",
}


@app.callback()
def _group() -> None:
    """A group of one command, so that its name is part of the command line."""


@app.command()
def check(
    domain: Annotated[str | None, typer.Option("--domain", metavar="NAME", help="Only this TrustDomain.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Clear these statuses; the log alone says what is.")] = False,
    never_stopped: Annotated[
        bool, typer.Option("--never-stopped", help="With --apply: also where no quarantine noticed the loss.")
    ] = False,
    output: Output = Format.TABLE,
    dsn: Dsn = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """List objects whose status names an entry, revision or content that the log lacks, and what follows for each.

    With --apply, after the chain was resumed, their status is cleared and the operator derives it from the log again.
    No entry is made up. Exit code 0: nothing is lost, or all was cleared; 1: something is left.
    """
    cluster, place = connect(kubeconfig, sandbox), find_dsn(dsn, sandbox, kubeconfig)
    found = run(_losses(cluster, place, domain))
    cleared = _clear(cluster, found, never_stopped=never_stopped) if apply else frozenset()
    if found or output is not Format.TABLE:
        emit([_row(loss, cleared) for loss in found], output, columns=_COLUMNS, wide=_WIDE, name=_name)
    left = [loss for loss in found if loss.key not in cleared]
    for state in sorted({loss.state for loss in left} - {State.READY}):
        tell(f"{state}: {_ADVICE[state]}")
    if not found:
        tell("the log holds everything that the cluster names")
    elif cleared:
        tell(f"{len(cleared)} cleared; the operator derives them from the log again")
    elif not apply and any(loss.state is State.READY for loss in found):
        tell("with --apply they are cleared, and FOLLOWS happens")
    if left:
        raise typer.Exit(int(ExitCode.FAILED))


async def _losses(cluster: Cluster, dsn: str, domain: str | None) -> list[Loss]:
    objects = [obj for kind in KINDS for obj in cluster.list(kind)]  # first: the log may only have more by then
    async with opened_store(dsn) as store:
        return await losses(objects, store.log, store.content, domain=domain)


def _clear(cluster: Cluster, found: Sequence[Loss], *, never_stopped: bool) -> frozenset[Any]:
    """Clear what may be, in order; an object that somebody changed meanwhile is left for the next run."""
    may = {State.READY, State.NOT_STOPPED} if never_stopped else {State.READY}
    cleared = set()
    for loss in found:
        if loss.state not in may:
            continue
        key = loss.key
        path = BY_KIND[key.kind].path(key.namespace, key.name, "status")
        try:
            cluster.request("PATCH", path, body=loss.patch, content_type="application/merge-patch+json")
        except RefusedError as error:
            if error.status != 409:
                raise
            warn(f"{key} changed meanwhile: run this again")
            continue
        cleared.add(key)
    return frozenset(cleared)


def _row(loss: Loss, cleared: frozenset[Any]) -> dict[str, Any]:
    return {
        "kind": loss.key.kind,
        "namespace": loss.key.namespace or None,
        "name": loss.key.name,
        "chain": loss.chain,
        "missing": list(loss.names),
        "state": "cleared" if loss.key in cleared else str(loss.state),
        "follows": loss.follows,
    }


def _name(row: dict[str, Any]) -> str:
    return f"{row['kind'].lower()}.quorate.dev/{row['name']}"


_COLUMNS: list[Column] = [
    ("object", lambda row: f"{row['kind']}/{row['name']}"),
    ("state", lambda row: row["state"]),
    ("missing", lambda row: ", ".join(row["missing"])),
    ("follows", lambda row: row["follows"]),
]
_WIDE: list[Column] = [("namespace", lambda row: row["namespace"]), ("chain", lambda row: row["chain"])]
