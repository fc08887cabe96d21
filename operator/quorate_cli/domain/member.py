"""`quorate domain member`: members and their keys, each command one signed revision of the constitution."""

import time
from typing import Annotated, Any

import typer

from quorate.canonical import format_time, parse_json
from quorate_cli.domain.revise import finish, member_of, named_key, next_revision
from quorate_cli.heartbeat import HEARTBEAT
from quorate_cli.options import DryRun, Keys, Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, Format, warn
from quorate_cli.sources import Constitution, Sources

Obj = dict[str, Any]
app = typer.Typer(no_args_is_help=True, help="Add, change and remove members and their keys.")
WEEK = 7 * 24 * 3600

_Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="The TrustDomain.")]
_Node = Annotated[str, typer.Argument(metavar="NODEID", help="The member.")]
_Files = Annotated[
    list[str] | None, typer.Option("--file", "-f", metavar="FILE", help="The revision in force; else the cluster's.")
]
_KeyName = Annotated[str, typer.Option("--key-name", metavar="NAME", help="The member's key.")]


@app.command()
def add(
    domain: _Domain,
    node_id: _Node,
    role: Annotated[str, typer.Option("--role", help="GovernanceHub, ComplianceWitness or TrustFork.")],
    weight: Annotated[int, typer.Option("--weight", min=0, max=10_000, help="Basis points of a full weight.")],
    vote: Annotated[list[str] | None, typer.Option("--vote", metavar="NAME=KEY", help="Vote key; repeatable.")] = None,
    machine: Annotated[
        list[str] | None, typer.Option("--machine", metavar="NAME=KEY", help="Machine key; repeatable.")
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option("--witness", metavar="NAME=KEY", help="Witness key (C2SP); repeatable.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option("--vote-threshold", min=1, help="How many of its Vote keys must agree; else 1.")
    ] = None,
    learner: Annotated[bool, typer.Option("--learner", help="It holds contracts, but does not vote yet.")] = False,
    keys: Keys = None,
    files: _Files = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Add a member. KEY is a public key or the file that holds it."""
    sources = Sources(files, kubeconfig, sandbox)
    before = sources.constitution(domain)
    if before.member(node_id) is not None:
        raise BadInputError(f"NODEID {node_id}: is a member already")
    given = (("Vote", vote), ("Machine", machine), ("Witness", witness))
    entries = [_key(purpose, text) for purpose, texts in given for text in texts or ()]
    member: Obj = {"nodeId": node_id, "role": role, "weight": weight}
    member |= {"learner": True} if learner else {}
    member |= {"keys": entries} if entries else {}
    member |= {} if threshold is None else {"voteThreshold": threshold}
    document = next_revision(before)
    document["spec"]["members"] = [*(document["spec"].get("members") or ()), member]
    finish(document, before, keys, sources, output, dry_run=dry_run)


@app.command()
def rotate(
    domain: _Domain,
    node_id: _Node,
    key_name: _KeyName,
    to: Annotated[str, typer.Option("--to", metavar="NAME=KEY", help="The key that follows it.")],
    overlap: Annotated[
        int, typer.Option("--overlap-seconds", min=0, help="How long the old key still signs; 0: it goes at once.")
    ] = WEEK,
    keys: Keys = None,
    files: _Files = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Replace a member's key by another of the same purpose; for a while both sign.

    A vote counts only if its key is in force both when it was recorded and when the vote is decided.
    """
    sources = Sources(files, kubeconfig, sandbox)
    before = sources.constitution(domain)
    document = next_revision(before)
    member = member_of(document["spec"], node_id)
    old = _held(member, key_name)
    kept = [key for key in member["keys"] if key is not old or overlap]
    if overlap:
        old["notAfter"] = format_time(int(time.time()) + overlap)
    member["keys"] = [*kept, _key(old["purpose"], to)]
    finish(document, before, keys, sources, output, dry_run=dry_run)


@app.command()
def revoke(
    domain: _Domain,
    node_id: _Node,
    key_name: Annotated[str | None, typer.Option("--key-name", metavar="NAME", help="The key to remove.")] = None,
    whole: Annotated[bool, typer.Option("--member", help="Remove the member with all its keys.")] = False,
    keys: Keys = None,
    files: _Files = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Remove a key at once, or a member: its votes leave the tally of every open proposal.

    The electorate of a proposal that is open stays that of its opening.
    """
    if whole == (key_name is not None):
        raise BadInputError("give either --key-name NAME or --member")
    sources = Sources(files, kubeconfig, sandbox)
    before = sources.constitution(domain)
    document = next_revision(before)
    member = member_of(document["spec"], node_id)
    if whole:
        document["spec"]["members"] = [item for item in document["spec"]["members"] if item is not member]
    else:
        gone = _held(member, str(key_name))
        member["keys"] = [key for key in member["keys"] if key is not gone]
    finish(document, before, keys, sources, output, dry_run=dry_run)


@app.command()
def suspend(
    domain: _Domain,
    node_id: _Node,
    lift: Annotated[bool, typer.Option("--lift", help="Let it vote again.")] = False,
    keys: Keys = None,
    files: _Files = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Take a member out of the electorate of proposals that open from now on, or let it back in."""
    sources = Sources(files, kubeconfig, sandbox)
    before = sources.constitution(domain)
    document = next_revision(before)
    member = member_of(document["spec"], node_id)
    if bool(member.get("suspended")) != lift:
        raise BadInputError(f"NODEID {node_id}: is {'not suspended' if lift else 'suspended already'}")
    member.pop("suspended", None)
    member |= {} if lift else {"suspended": True}
    finish(document, before, keys, sources, output, dry_run=dry_run)


@app.command()
def promote(
    domain: _Domain,
    node_id: _Node,
    keys: Keys = None,
    files: _Files = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Make a learner a voter; warns if its heartbeat does not hold the contracts in force."""
    sources = Sources(files, kubeconfig, sandbox)
    before = sources.constitution(domain)
    document = next_revision(before)
    member = member_of(document["spec"], node_id)
    if not member.pop("learner", False):
        raise BadInputError(f"NODEID {node_id}: is no learner")
    if not dry_run or not files:
        _warn_of_held(sources, before, node_id)
    finish(document, before, keys, sources, output, dry_run=dry_run)


def _key(purpose: str, text: str) -> Obj:
    name, public = named_key(text, f"--{purpose.lower()}")
    return {"purpose": purpose, "name": name, "publicKey": public}


def _held(member: Obj, name: str) -> Obj:
    found: list[Obj] = [key for key in member.get("keys") or () if key["name"] == name]
    if len(found) != 1:
        names = ", ".join(key["name"] for key in member.get("keys") or ()) or "none"
        raise BadInputError(
            f"--key-name {name!r}: member {member['nodeId']} has {len(found)} such keys; it has {names}"
        )
    return found[0]


def _warn_of_held(sources: Sources, before: Constitution, node_id: str) -> None:
    """A voter that does not hold the contracts in force would vote about what it has not."""
    held = _heartbeat(sources, before.name, node_id)
    for entry in before.spec.get("contracts") or ():
        contract = sources.cluster.find("DynamicContract", entry["name"])
        digest = ((contract or {}).get("status") or {}).get("inForce", {}).get("digest")
        if digest is not None and held.get(entry["contractId"]) != digest:
            warn(f"{node_id}: its last heartbeat does not hold contract {entry['name']} as it is in force, {digest}")


def _heartbeat(sources: Sources, domain: str, node_id: str) -> Obj:
    """What the member's last heartbeat says that it holds; empty where there is none."""
    for node in sources.cluster.list("MeshNode"):
        if node["spec"].get("nodeId") != node_id:
            continue
        lease = sources.cluster.find("Lease", f"quorate-heartbeat-{domain}", f"quorate-node-{node['metadata']['name']}")
        text = (((lease or {}).get("metadata") or {}).get("annotations") or {}).get(HEARTBEAT)
        try:
            return dict(parse_json(text)["held"]) if text else {}
        except (ValueError, KeyError, TypeError):
            return {}
    return {}
