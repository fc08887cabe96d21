"""`quorate domain recover`: the recovery set replaces lost admin keys, after an announced delay (trust.md).

Announcement and cancellation travel in Attestations of a member; what counts are the recovery keys' or the admins'
signatures inside.
"""

import time
from typing import Annotated, Any

import typer

from quorate.canonical import encode_base64, format_time
from quorate.identity.statements import act_statement, recovery_statement
from quorate_cli.delegate import make_attestation, next_attestation
from quorate_cli.domain.document import add_signature, check_form
from quorate_cli.options import DryRun, Keys, Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Format, tell
from quorate_cli.publish import publish
from quorate_cli.signers import Signer, open_signer, sign_statement
from quorate_cli.sources import Constitution, Sources, constitution_of
from quorate_cli.yamlfiles import one_of_kind

Obj = dict[str, Any]
app = typer.Typer(no_args_is_help=True, help="Replace lost admin keys by the recovery set, after its delay.")

_Revision = Annotated[
    str, typer.Option("--revision", "-r", metavar="FILE", help="The next revision, with the new admins.")
]
_Carrier = Annotated[
    str, typer.Option("--carrier", metavar="KEY", help="Vote key of the member whose Attestation carries it.")
]
_Files = Annotated[
    list[str] | None, typer.Option("--file", "-f", metavar="FILE", help="Offline: the revision in force.")
]


@app.command()
def announce(
    revision: _Revision,
    carrier: _Carrier,
    keys: Keys = None,
    files: _Files = None,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Announce a recovery, signed by the recovery threshold (--key); its delay runs from the entry in the log."""
    sources = Sources(files, kubeconfig, sandbox)
    document, before = _next(sources, revision)
    spec, signers = document["spec"], _signers(keys)
    result = constitution_of(document)
    now = int(time.time())
    statement: Obj = {
        "revision": spec["revision"],
        "previousDigest": spec["previousDigest"],
        "resultDigest": result.digest,
        "at": format_time(now),
    }
    signed = recovery_statement(before.mesh_id, before.name, statement)
    held = {key["publicKey"]: key["name"] for key in (before.spec.get("recovery") or {}).get("keys") or ()}
    statement["signatures"] = [
        {"name": _name(signer, held, "recovery key", before), "signature": sign_statement(signer, signed)}
        for signer in signers
    ]
    delay = (before.spec.get("recovery") or {}).get("delaySeconds")
    tell(f"note: complete it {delay} s after its entry: `quorate domain recover complete`; admins may cancel it before")
    _carry("Recovery", statement, carrier, before, sources, namespace, dry_run=dry_run, output=output, now=now)


@app.command()
def cancel(
    attestation: Annotated[str, typer.Argument(help="Name of the Attestation that announced it.")],
    carrier: _Carrier,
    keys: Keys = None,
    files: _Files = None,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Cancel an announced recovery, signed by adminThreshold admins (--key)."""
    sources = Sources(files, kubeconfig, sandbox)
    found = sources.given("Attestation", attestation)
    found = found or sources.cluster.get("Attestation", attestation, sources.namespace(namespace))
    if found["spec"].get("type") != "Recovery":
        raise BadInputError(f"Attestation {attestation}: is of type {found['spec'].get('type')}, not Recovery")
    before = sources.constitution(str(found["spec"]["domain"]))
    digest = recovery_statement(before.mesh_id, before.name, found["spec"]["statement"]).digest
    held = {key["publicKey"]: key["name"] for key in before.spec["admins"]}
    now = int(time.time())
    acts = []
    for signer in _signers(keys):
        name = _name(signer, held, "admin", before)
        act: Obj = {
            "act": "CancelRecovery",
            "proposalDigest": digest,
            "by": name,
            "keyName": name,
            "at": format_time(now),
        }
        act["signature"] = sign_statement(signer, act_statement(before.mesh_id, before.name, act))
        acts.append(act)
    statement: Obj = {"acts": acts}
    _carry("CancelRecovery", statement, carrier, before, sources, namespace, dry_run=dry_run, output=output, now=now)


@app.command()
def complete(
    revision: _Revision,
    keys: Keys = None,
    files: _Files = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Sign the announced revision with the recovery keys and apply it, once the delay is over."""
    sources = Sources(files, kubeconfig, sandbox)
    document, before = _next(sources, revision)
    held = {key["publicKey"]: key["name"] for key in (before.spec.get("recovery") or {}).get("keys") or ()}
    for signer in _signers(keys):
        add_signature(document, signer, name=_name(signer, held, "recovery key", before))
    publish([document], None if dry_run else sources.cluster, output, verb="recovered")


def _next(sources: Sources, path: str) -> tuple[Obj, Constitution]:
    """The next revision in a file, linked to the one in force, which it names."""
    document = one_of_kind(path, "TrustDomain")
    before = sources.constitution(str((document.get("metadata") or {}).get("name")))
    spec: Obj = document.setdefault("spec", {})
    spec.setdefault("revision", int(before.spec["revision"]) + 1)
    spec.setdefault("previousDigest", before.digest)
    check_form(document)
    if spec["previousDigest"] != before.digest:
        rule = f"must be the digest of the revision in force, {before.digest}"
        raise BadInputError(f"TrustDomain {before.name}: spec.previousDigest {spec['previousDigest']}: {rule}")
    return document, before


def _signers(keys: list[str] | None) -> list[Signer]:
    if not keys:
        raise BadInputError("--key: at least one key is required")
    return [open_signer(key) for key in keys]


def _name(signer: Signer, held: dict[str, str], what: str, domain: Constitution) -> str:
    name = held.get(encode_base64(signer.public_key))
    if name is None:
        raise CliError(f"--key {signer.label}: is no {what} of TrustDomain {domain.name}")
    return name


def _carry(
    kind: str,
    statement: Obj,
    carrier: str,
    domain: Constitution,
    sources: Sources,
    namespace: str | None,
    *,
    dry_run: bool,
    output: Format,
    now: int,
) -> None:
    signer = open_signer(carrier)
    offline = dry_run and bool(sources.documents)
    sequence = next_attestation(None if offline else sources.cluster, domain, signer, kind, now)
    where = namespace or sources.namespace(None, offline=offline)
    document = make_attestation(kind, statement, signer, domain, sequence=sequence, now=now, namespace=where)
    verb = "announced" if kind == "Recovery" else "cancelled"
    publish([document], None if dry_run else sources.cluster, output, verb=verb)
