"""`quorate domain create|sign|pin|show`: the constitution as a document."""

from pathlib import Path
from typing import Annotated, Any

import typer

from quorate.canonical import encode_base64
from quorate.identity.statements import trust_domain_statement
from quorate_cli.options import DryRun, Keys, Kubeconfig, Output, Sandbox
from quorate_cli.output import (
    BadInputError,
    CliError,
    ExitCode,
    Format,
    emit,
    emit_objects,
    show_fields,
    show_table,
    tell,
)
from quorate_cli.publish import publish
from quorate_cli.signers import Signer, open_signer, sign_statement
from quorate_cli.sources import Constitution, Sources, accepted, constitution_of, name_of, why_not
from quorate_cli.yamlfiles import one_of_kind

Obj = dict[str, Any]
APPLY_LIMIT = 256 * 1024

File = Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="The TrustDomain.")]


def check_form(document: Obj) -> None:
    """BadInputError if the revision's form is wrong (trust.md, "Form"), with field, value and rule."""
    from quorate.trust.domain import parse_domain  # noqa: PLC0415 - pulls in pydantic; only where a form is checked
    from quorate.trust.form import FormError  # noqa: PLC0415

    try:
        parse_domain(name_of(document), document.get("spec") or {})
    except FormError as error:
        raise BadInputError(f"TrustDomain {name_of(document)}: {error}") from error


def add_signature(document: Obj, signer: Signer, *, name: str | None = None, previous: Obj | None = None) -> str:
    """Sign a TrustDomain in place as the admin or recovery key that `signer` is; the name under which it signed.

    A key that is in none of the sets is refused, unless `name` says as whom it signs.
    """
    spec = document["spec"]
    who = name or _signing_name(spec, signer) or (_signing_name(previous["spec"], signer) if previous else None)
    if who is None:
        public = encode_base64(signer.public_key)
        rule = f"its public key {public} is no admin's and no recovery key"
        raise CliError(
            f"--key {signer.label}: {rule} of TrustDomain {name_of(document)}; --previous FILE or --as NAME?"
        )
    statement = trust_domain_statement(name_of(document), spec)
    others = [item for item in spec.get("signatures") or () if item.get("name") != who]
    spec["signatures"] = [*others, {"name": who, "signature": sign_statement(signer, statement)}]
    return who


def _signing_name(spec: Obj, signer: Signer) -> str | None:
    text = encode_base64(signer.public_key)
    keys = [*(spec.get("admins") or ()), *((spec.get("recovery") or {}).get("keys") or ())]
    return next((str(key["name"]) for key in keys if key.get("publicKey") == text), None)


def _link(document: Obj, previous: Constitution | None) -> None:
    """Set revision and previousDigest where the template leaves them out."""
    spec = document["spec"]
    if previous is not None:
        spec.setdefault("revision", int(previous.spec["revision"]) + 1)
        spec.setdefault("previousDigest", previous.digest)
    spec.setdefault("revision", 1)


def create(
    file: File,
    keys_folder: Annotated[
        Path | None, typer.Option("--keys", metavar="DIR", help="Folder of the keys that the template names.")
    ] = None,
    make_keys: Annotated[bool, typer.Option("--make-keys", help="Make the keys that do not exist yet.")] = False,
    sign_all: Annotated[bool, typer.Option("--sign", help="Sign with every admin key in --keys.")] = False,
    keys: Keys = None,
    previous: Annotated[
        str | None, typer.Option("--previous", metavar="FILE", help="The revision before, for a next revision.")
    ] = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Fill a template (keys, digests, revision), check its form, sign it, and apply it."""
    document = one_of_kind(file, "TrustDomain")
    from quorate_cli.templates import Filler  # noqa: PLC0415 - pulls in the contract parser

    folder = Path() if file == "-" else Path(file).parent
    store = keys_folder or folder / "keys"
    document["spec"] = Filler(folder, store, make_keys=make_keys).fill(document.get("spec") or {})
    before = None if previous is None else one_of_kind(previous, "TrustDomain")
    _link(document, None if before is None else constitution_of(before))
    signers = [open_signer(key) for key in keys or ()]
    if sign_all:
        signers += [open_signer(str(path)) for path in _admin_files(document["spec"], store)]
    check_form(document)
    for signer in signers:
        add_signature(document, signer, previous=before)
    warn_of_size(document)
    publish([document], None if dry_run else Sources((), kubeconfig, sandbox).cluster, output)


def _admin_files(spec: Obj, folder: Path) -> list[Path]:
    publics = {str(admin["publicKey"]) for admin in spec.get("admins") or ()}
    found = [path for path in sorted(folder.glob("*.pub")) if path.read_text().strip() in publics]
    return [path.with_suffix(".key") for path in found if path.with_suffix(".key").exists()]


def warn_of_size(document: Obj) -> None:
    """Say so where kubectl's client-side apply would not take it."""
    size = len(trust_domain_statement(name_of(document), document["spec"]).payload)
    if size > APPLY_LIMIT:
        tell(f"note: the revision has {size} bytes; with kubectl use `apply --server-side` (over {APPLY_LIMIT} bytes)")


def sign(
    file: File,
    keys: Keys = None,
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Sign under this name.")] = None,
    previous: Annotated[
        str | None, typer.Option("--previous", metavar="FILE", help="The revision before: its admins sign too.")
    ] = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Add signatures to a filled revision, and apply it."""
    if not keys:
        raise BadInputError("--key: at least one key is required")
    document = one_of_kind(file, "TrustDomain")
    document.setdefault("spec", {})
    before = None if previous is None else one_of_kind(previous, "TrustDomain")
    check_form(document)
    for key in keys:
        add_signature(document, open_signer(key), name=name, previous=before)
    publish([document], None if dry_run else Sources((), kubeconfig, sandbox).cluster, output)


def pin(
    name: Annotated[str | None, typer.Argument(help="A TrustDomain on the cluster, at revision 1.")] = None,
    file: Annotated[str | None, typer.Option("--file", "-f", metavar="FILE", help="Revision 1 in a file.")] = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Print the pin, `meshId/name=digest` of revision 1, as the operator's --pin takes it."""
    if (name is None) == (file is None):
        raise BadInputError("give either a name or --file")
    if file is not None:
        constitution = constitution_of(one_of_kind(file, "TrustDomain"))
    else:
        constitution = accepted(Sources((), kubeconfig, sandbox).cluster, str(name))
    if constitution.spec.get("revision") != 1:
        rule = "a pin is the digest of revision 1: give that revision with --file"
        raise BadInputError(
            f"TrustDomain {constitution.name}: has revision {constitution.spec.get('revision')}; {rule}"
        )
    print(f"{constitution.mesh_id}/{constitution.name}={constitution.digest}")


def show(
    name: Annotated[str | None, typer.Argument(help="A TrustDomain on the cluster; the revision in force.")] = None,
    file: Annotated[str | None, typer.Option("--file", "-f", metavar="FILE", help="A revision in a file.")] = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show the revision in force: members, weights, keys and voting rules."""
    if (name is None) == (file is None):
        raise BadInputError("give either a name or --file")
    live: Obj = {}
    if file is not None:
        constitution = constitution_of(one_of_kind(file, "TrustDomain"))
    else:
        cluster = Sources((), kubeconfig, sandbox).cluster
        live = cluster.get("TrustDomain", str(name))
        constitution = accepted(cluster, str(name))
    value = {"name": constitution.name, "digest": constitution.digest, "spec": constitution.spec}
    if output in (Format.JSON, Format.YAML):
        emit(value, output)
    elif output is Format.NAME:
        emit_objects([{"apiVersion": "quorate.dev/v1alpha1", "kind": "TrustDomain", "metadata": value}], output)
    else:
        _show(constitution, live, wide=output is Format.WIDE)
    if live and why_not(live, "Authorized"):
        tell(f"the live spec is not what is in force{why_not(live, 'Authorized')}")
        raise typer.Exit(int(ExitCode.FAILED))


def _show(constitution: Constitution, live: Obj, *, wide: bool) -> None:
    spec = constitution.spec
    status = live.get("status") or {}
    show_fields(
        {
            "Domain": f"{constitution.mesh_id}/{constitution.name}",
            "Revision": spec.get("revision"),
            "Digest": constitution.digest,
            "Accepted at": (status.get("accepted") or {}).get("at"),
            "Home hub": spec.get("homeHub"),
            "Admins": f"{spec.get('adminThreshold')} of {', '.join(item['name'] for item in spec.get('admins') or ())}",
            "Log": (spec.get("log") or {}).get("origin"),
            "Contracts": ", ".join(item["name"] for item in spec.get("contracts") or ()) or None,
        }
    )
    print()
    rules = spec.get("voting") or {}
    show_table(_RULES if wide else _RULES[:5], [{"type": kind, **rules[kind]} for kind in rules])
    print()
    show_table(_MEMBERS if wide else _MEMBERS[:4], spec.get("members") or [])


_RULES = [
    ("type", lambda row: row["type"]),
    ("quorum bp", lambda row: row.get("quorumBasisPoints") or "adaptive" * ("adaptiveQuorum" in row)),
    ("threshold bp", lambda row: row.get("thresholdBasisPoints")),
    ("veto bp", lambda row: row.get("vetoBasisPoints")),
    ("period s", lambda row: row.get("votingPeriodSeconds")),
    ("minimum voters", lambda row: row.get("minimumVoters")),
    ("early", lambda row: bool(row.get("earlyDecision"))),
    ("timelock s", lambda row: row.get("timelockSeconds")),
    ("window s", lambda row: row.get("executionWindowSeconds")),
]
_MEMBERS = [
    ("node id", lambda row: row["nodeId"]),
    ("role", lambda row: row["role"]),
    ("weight", lambda row: row["weight"]),
    ("votes", lambda row: row["role"] != "TrustFork" and not row.get("learner") and not row.get("suspended")),
    ("threshold", lambda row: row.get("voteThreshold", 1)),
    ("keys", lambda row: ", ".join(f"{key['purpose']}:{key['name']}" for key in row.get("keys") or ())),
]
