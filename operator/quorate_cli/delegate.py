"""`quorate delegate`: a member's weight follows another member's own choice (governance.md, "Delegation")."""

import re
import time
from typing import Annotated, Any

import typer

from quorate.canonical import format_time, parse_time
from quorate.identity.statements import attestation_statement
from quorate_cli.cluster import Cluster
from quorate_cli.options import DryRun, Key, Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import BadInputError, Format
from quorate_cli.propose import TYPES
from quorate_cli.publish import publish
from quorate_cli.signers import Signer, open_signer, sign_statement
from quorate_cli.sources import Constitution, Sources, voting_identity

Obj = dict[str, Any]
app = typer.Typer()


def make_attestation(
    kind: str,
    statement: Obj,
    signer: Signer,
    constitution: Constitution,
    *,
    sequence: int,
    now: int,
    namespace: str,
    expires: str | None = None,
    subject: Obj | None = None,
    holder: tuple[str, str] | None = None,
) -> Obj:
    """A signed Attestation of `holder` (nodeId, key name), else of the member whose Vote key this is.

    `now` in Unix seconds becomes `at`.
    """
    attester, key_name = holder or voting_identity(constitution, signer, node_id=None, key_name=None)
    spec: Obj = {
        "domain": constitution.name,
        "attester": attester,
        "keyName": key_name,
        "sequence": sequence,
        "at": format_time(now),
        **({} if subject is None else {"subject": subject}),
        "type": kind,
        **({} if expires is None else {"expiresAt": expires}),
        "statement": statement,
    }
    spec["signature"] = sign_statement(signer, attestation_statement(constitution.mesh_id, spec))
    label = f"{constitution.name[:150]}-{kind}-{key_name}-{attester[:8]}-{sequence}".lower()
    name = re.sub(r"[^a-z0-9-]+", "-", label).strip("-")
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "quorate.dev/v1alpha1", "kind": "Attestation", "metadata": meta, "spec": spec}


def next_attestation(
    cluster: Cluster | None,
    constitution: Constitution,
    signer: Signer,
    kind: str,
    now: int,
    *,
    holder: tuple[str, str] | None = None,
) -> int:
    """Above every attestation of this key and type that the cluster knows, and at least the current second."""
    if cluster is None:
        return now
    holder = holder or voting_identity(constitution, signer, node_id=None, key_name=None)
    specs = [item["spec"] for item in cluster.list("Attestation")]
    own = [
        int(spec["sequence"]) + 1
        for spec in specs
        if (spec["domain"], spec["type"]) == (constitution.name, kind) and (spec["attester"], spec["keyName"]) == holder
    ]
    return max([now, *own])


def member_named(constitution: Constitution, text: str) -> str:
    """The nodeId that `text` is, or that of the one member with a Vote key of this name; BadInputError otherwise."""
    if constitution.member(text) is not None:
        return text
    found = {
        str(member["nodeId"])
        for member in constitution.spec.get("members") or ()
        for key in member.get("keys") or ()
        if key.get("purpose") == "Vote" and key.get("name") == text
    }
    if len(found) != 1:
        rule = "is neither a member's nodeId nor the name of one member's Vote key"
        raise BadInputError(f"{text!r}: {rule} in TrustDomain {constitution.name}")
    return found.pop()


@app.command()
def delegate(
    key: Key,
    domain: Annotated[str, typer.Option("--domain", help="TrustDomain in which you delegate.")],
    to: Annotated[str | None, typer.Argument(metavar="[TO]", help="nodeId, or name of a Vote key, of whom.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", help=f"Repeatable; else Standard. {', '.join(TYPES)}")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="Void from then on, YYYY-MM-DDTHH:MM:SSZ.")
    ] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take back what this key delegated.")] = False,
    files: Annotated[
        list[str] | None, typer.Option("--file", "-f", metavar="FILE", help="Offline: the TrustDomain document.")
    ] = None,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Delegate your weight to a member: it follows that member's own vote, unless you vote yourself."""
    if revoke == (to is not None):
        raise BadInputError("give either the member to delegate to, or --revoke")
    wrong = [kind for kind in types or () if kind not in TYPES]
    if wrong:
        raise BadInputError(f"--type {wrong[0]!r}: must be one of {', '.join(TYPES)}")
    _check_time(expires)
    signer = open_signer(key)
    sources = Sources(files, kubeconfig, sandbox)
    constitution = sources.constitution(domain)
    target = "" if to is None else member_named(constitution, to)
    if target and target == voting_identity(constitution, signer, node_id=None, key_name=None)[0]:
        raise BadInputError(f"{to!r}: is yourself; a delegation names another member")
    statement: Obj = {"to": target, "types": [] if revoke else sorted(set(types or ("Standard",)))}
    offline = dry_run and bool(files)
    now = int(time.time())
    sequence = next_attestation(None if offline else sources.cluster, constitution, signer, "Delegation", now)
    where = namespace or sources.namespace(None, offline=offline)
    document = make_attestation(
        "Delegation", statement, signer, constitution, sequence=sequence, now=now, namespace=where, expires=expires
    )
    verb = "revoked what was delegated" if revoke else f"delegates to {target}"
    publish([document], None if dry_run else sources.cluster, output, verb=verb)


def _check_time(text: str | None) -> None:
    try:
        if text is not None:
            parse_time(text)
    except ValueError as error:
        raise BadInputError(f"--expires: {error}") from error
