"""`quorate endorse`, `withdraw`, `stop`: signed acts on the digest of an open proposal."""

import time
from http import HTTPStatus
from typing import Annotated, Any

import typer

from quorate.canonical import format_time
from quorate.identity.statements import act_statement
from quorate_cli.cluster import Cluster, RefusedError
from quorate_cli.options import DryRun, Key, Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import CliError, Format
from quorate_cli.publish import announce, publish
from quorate_cli.signers import Signer, open_signer, sign_statement
from quorate_cli.sources import Constitution, Sources, voting_identity
from quorate_cli.vote import question_in_document, question_on_cluster

Obj = dict[str, Any]
FIELDS = {"Withdraw": "withdrawal", "Endorse": "endorsements", "Stop": "stops"}
"""Act → where it stands in a proposal's spec; lists are append-only, and outside the digest."""
_TRIES = 10
endorse_app, withdraw_app, stop_app = typer.Typer(), typer.Typer(), typer.Typer()

_Proposal = Annotated[str, typer.Argument(metavar="PROPOSAL", help="Name of the GovernanceProposal.")]
_Files = Annotated[
    list[str] | None,
    typer.Option("--file", "-f", metavar="FILE", help="Offline: proposal and TrustDomain documents."),
]


def make_act(
    kind: str, signer: Signer, constitution: Constitution, digest: str, *, by: str, key_name: str, now: int
) -> Obj:
    """A signed act: Endorse, Withdraw or Stop; `now` in Unix seconds becomes `at`."""
    act: Obj = {"act": kind, "proposalDigest": digest, "by": by, "keyName": key_name, "at": format_time(now)}
    act["signature"] = sign_statement(signer, act_statement(constitution.mesh_id, constitution.name, act))
    return act


def _command(app: typer.Typer, kind: str, says: str) -> None:
    @app.command(help=says)
    def command(
        name: _Proposal,
        key: Key,
        files: _Files = None,
        namespace: Namespace = None,
        dry_run: DryRun = False,
        output: Output = Format.TABLE,
        kubeconfig: Kubeconfig = None,
        sandbox: Sandbox = None,
    ) -> None:
        _act(kind, name, key, Sources(files, kubeconfig, sandbox), namespace, output=output, dry_run=dry_run)


_command(
    endorse_app,
    "Endorse",
    "Endorse an Emergency proposal as an admin: with adminThreshold of them it is executed at once.",
)
_command(withdraw_app, "Withdraw", "Withdraw a proposal, by a Vote key of its proposer, while it is open.")
_command(stop_app, "Stop", "Stop a proposal as an admin: adminThreshold of them end it, until it is executed.")


def _act(
    kind: str, name: str, key: str, sources: Sources, namespace: str | None, *, output: Format, dry_run: bool
) -> None:
    signer = open_signer(key)
    document = sources.given("GovernanceProposal", name) if dry_run else None
    live = document or sources.cluster.get("GovernanceProposal", name, sources.namespace(namespace))
    constitution = sources.constitution(str(live["spec"]["trustDomain"]))
    if document is None:
        question = question_on_cluster(live)
    else:
        question = question_in_document(live, constitution.mesh_id, namespace or "default")
    by, key_name = _actor(kind, signer, constitution, live)
    act = make_act(kind, signer, constitution, question.digest, by=by, key_name=key_name, now=int(time.time()))
    if dry_run:
        meta = {"name": name, "namespace": question.namespace}
        head = {"apiVersion": "quorate.dev/v1alpha1", "kind": "GovernanceProposal", "metadata": meta}
        publish([{**head, "spec": {**live["spec"], **_with(act, live)}}], None, output)
        return
    announce([add_act(sources.cluster, act, live)], output, verb=f"{kind.lower()} signed by {by}")


def _with(act: Obj, proposal: Obj) -> Obj:
    field = FIELDS[act["act"]]
    return {field: act if act["act"] == "Withdraw" else [*(proposal["spec"].get(field) or ()), act]}


def add_act(cluster: Cluster, act: Obj, proposal: Obj) -> Obj:
    """Add the act to the proposal that it was signed for, whoever else writes to the object meanwhile.

    Raises:
        RefusedError: as the API server says; also where the proposal was signed anew.
        CliError: it never rests.
    """
    meta = proposal["metadata"]
    for _ in range(_TRIES):
        try:
            return cluster.patch(proposal, {"spec": _with(act, proposal)})
        except RefusedError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            newer = cluster.get("GovernanceProposal", meta["name"], meta["namespace"])
            if newer["spec"].get("signature") != proposal["spec"]["signature"]:
                raise
            proposal = newer
    raise CliError(f"GovernanceProposal {meta['name']} changes all the time: nothing was written, try again")


def _actor(kind: str, signer: Signer, constitution: Constitution, live: Obj) -> tuple[str, str]:
    if kind == "Withdraw":
        return voting_identity(constitution, signer, node_id=live["spec"]["proposer"], key_name=None)
    admin = constitution.admin_of(signer.public_key)
    if admin is None:
        rule = f"is no admin's key in TrustDomain {constitution.name}"
        raise CliError(f"--key {signer.label}: {rule}; only admins {kind.lower()}")
    return admin, admin
