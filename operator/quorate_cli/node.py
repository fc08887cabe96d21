"""`quorate node`: register a node on a cluster, and send its heartbeats."""

import threading
import time
import uuid
from typing import Annotated

import typer

from quorate_cli.heartbeat import beat
from quorate_cli.options import DryRun, Key, Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Format, tell, warn
from quorate_cli.place import connect
from quorate_cli.publish import announce, publish
from quorate_cli.signers import open_signer

app = typer.Typer(no_args_is_help=True, help="Register nodes and send their heartbeats.")

Domains = Annotated[list[str], typer.Option("--domain", metavar="NAME", help="A TrustDomain of the node; repeatable.")]

Privileges = Annotated[
    list[str] | None,
    typer.Option(
        "--privilege",
        metavar="NAME",
        help="All that the node's own identity may do, of what its role allows (ProposePolicy, ValidateAttestation, "
        "VoteOnProposal, OverridePolicy); repeatable. Without it: what its role allows.",
    ),
]


@app.command()
def register(
    name: Annotated[str, typer.Argument(help="Name of the MeshNode, at most 50 characters.")],
    domains: Domains,
    node_id: Annotated[
        str | None, typer.Option("--node-id", metavar="UUID", help="The node's UUIDv4; else a new one.")
    ] = None,
    privileges: Privileges = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Print or apply what gives a node an identity: Namespace, ServiceAccount, Role, quota and MeshNode."""
    from quorate.api.manifests import node_identity  # noqa: PLC0415 - pulls in pydantic

    identifier = node_id or str(uuid.uuid4())
    try:
        objects = node_identity(name, identifier, domains, privileges)
    except ValueError as error:
        raise BadInputError(str(error)) from error
    publish(objects, None if dry_run else connect(kubeconfig, sandbox), output, verb="registered")


@app.command()
def heartbeat(
    name: Annotated[str, typer.Argument(help="Name of the MeshNode.")],
    domains: Domains,
    key: Key,
    every: Annotated[
        int | None, typer.Option("--every", metavar="SECONDS", min=1, help="Go on, one heartbeat per interval.")
    ] = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Sign and write the node's heartbeat, once or every so many seconds, with its Machine key."""
    cluster, signer = connect(kubeconfig, sandbox), open_signer(key)
    if every is None:
        now = int(time.time())
        leases = [beat(cluster, node=name, domain=domain, signer=signer, now=now) for domain in domains]
        announce(leases, output, verb="renewed")
        return
    tell(f"a heartbeat of {name} every {every} s; Ctrl-C ends it")
    pause = threading.Event()
    while not pause.wait(0):
        for domain in domains:
            try:
                beat(cluster, node=name, domain=domain, signer=signer, now=int(time.time()))
            except CliError as error:  # the next one may get through: a restart of the API server is no reason to end
                warn(str(error))
        pause.wait(every)
