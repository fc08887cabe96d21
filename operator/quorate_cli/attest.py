"""`quorate attest`: sign what a member knows of a node, a contract or a held vote (docs/trust.md, "Attestations").

Delegations are signed by `quorate delegate`, recoveries by `quorate domain recover`, resumptions by `quorate audit`.
"""

import re
import time
from typing import Annotated, Any

import typer

from quorate.api.schema import UUID4
from quorate.canonical import NotCanonicalError, canonical_bytes, format_time, is_digest, parse_json, parse_time
from quorate.identity.statements import attestation_statement, vote_statement
from quorate.trust.attestations import check_attestation_form
from quorate.trust.edges import NODE_KIND, purpose_of
from quorate.trust.form import FormError
from quorate_cli.delegate import make_attestation, member_named, next_attestation
from quorate_cli.options import DryRun, Key, Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Format
from quorate_cli.publish import publish
from quorate_cli.signers import Signer, open_signer
from quorate_cli.sources import Constitution, Sources, voting_identity

Obj = dict[str, Any]
app = typer.Typer(no_args_is_help=True, help="Sign an Attestation: trust, compliance, a held contract, a release.")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Domain = Annotated[str, typer.Option("--domain", help="TrustDomain under whose constitution you attest.")]
Expires = Annotated[
    str | None, typer.Option("--expires", metavar="TIME|180d", help="Void from then on: a time, or so long from now.")
]
Files = Annotated[
    list[str] | None,
    typer.Option("--file", "-f", metavar="FILE", help="Offline: TrustDomain, and what it is about."),
]
Statement = Annotated[
    str | None, typer.Option("--statement", metavar="JSON", help="More to state: an object of strings and integers.")
]
Digest = Annotated[str | None, typer.Option("--digest", metavar="DIGEST", help="Digest of what it is about.")]


class _Desk:
    """Where one attestation is signed: who, under which constitution, and when."""

    def __init__(
        self,
        kind: str,
        domain: str,
        key: str,
        *,
        files: list[str] | None,
        namespace: str | None,
        dry_run: bool,
        output: Format,
        kubeconfig: str | None,
        sandbox: str | None,
    ) -> None:
        self.kind, self._dry_run, self._output = kind, dry_run, output
        self.signer: Signer = open_signer(key)
        self.sources = Sources(files, kubeconfig, sandbox)
        self.constitution: Constitution = self.sources.constitution(domain)
        self._offline = bool(files) and dry_run
        self.namespace = namespace or self.sources.namespace(None, offline=self._offline)
        self._now = int(time.time())

    def _holder(self) -> tuple[str, str]:
        purpose = purpose_of(self.kind)
        if purpose == "Vote":
            return voting_identity(self.constitution, self.signer, node_id=None, key_name=None)
        held = self.constitution.holder_of(self.signer.public_key, purpose)
        if held is None:
            rule = f"is a {purpose} key of no member of TrustDomain {self.constitution.name}; {self.kind} needs one"
            raise CliError(f"--key {self.signer.label}: {rule}")
        return held

    def sign(self, subject: Obj, statement: Obj, expires: str | None, verb: str) -> None:
        """Sign it, and print or apply it."""
        holder = self._holder()
        cluster = None if self._offline else self.sources.cluster
        sequence = next_attestation(cluster, self.constitution, self.signer, self.kind, self._now, holder=holder)
        document = make_attestation(
            self.kind,
            statement,
            self.signer,
            self.constitution,
            sequence=sequence,
            now=self._now,
            namespace=self.namespace,
            expires=_expires(expires, self._now),
            subject=subject,
            holder=holder,
        )
        try:
            check_attestation_form(document["spec"])
        except FormError as error:
            raise BadInputError(str(error)) from error
        publish([document], None if self._dry_run else self.sources.cluster, self._output, verb=verb)


def _expires(text: str | None, now: int) -> str | None:
    if text is None:
        return None
    span = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text)
    if span:
        return format_time(now + int(span[1]) * _UNITS[span[2]])
    try:
        parse_time(text)
    except ValueError as error:
        raise BadInputError(f"--expires: {error}, nor a span like 12h or 180d") from error
    return text


def _statement(text: str | None, **fields: Any) -> Obj:
    if text is None:
        return fields
    try:
        stated = parse_json(text)
        canonical_bytes(stated)
    except NotCanonicalError as error:
        raise BadInputError(f"--statement: {error}") from error
    if not isinstance(stated, dict):
        raise BadInputError("--statement: must be a JSON object")
    return {**stated, **fields}


def node_named(constitution: Constitution, text: str) -> str:
    """A nodeId as it is, of a member or not; else the member with a Vote key of this name."""
    return text if re.fullmatch(UUID4, text) else member_named(constitution, text)


def _subject(kind: str, name: str, digest: str | None) -> Obj:
    if digest is not None and not is_digest(digest):
        raise BadInputError(f"--digest {digest!r}: must be sha256:<64 hexadecimal digits>")
    return {"kind": kind, "name": name, **({} if digest is None else {"digest": digest})}


def _reference(text: str) -> tuple[str, str]:
    kind, _, name = text.partition("/")
    if not kind or not name:
        raise BadInputError(f"{text!r}: must be KIND/NAME")
    return kind, name


@app.command()
def trust(
    node: Annotated[str, typer.Argument(help="nodeId of whom you trust, or the name of a member's Vote key.")],
    weight: Annotated[int, typer.Option("--weight", min=1, max=10_000, help="How much, in basis points.")],
    domain: Domain,
    key: Key,
    expires: Expires = None,
    files: Files = None,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Vouch for a node. A higher sequence replaces what you said of it before; weight 1 takes nearly all of it back."""
    desk = _Desk(
        "Trust", domain, key, files=files, namespace=namespace, dry_run=dry_run, output=output, kubeconfig=kubeconfig,
        sandbox=sandbox,
    )  # fmt: skip
    target = node_named(desk.constitution, node)
    desk.sign(_subject(NODE_KIND, target, None), {"weightBasisPoints": weight}, expires, f"trusts {target}: {weight}")


@app.command()
def compliance(
    subject: Annotated[str, typer.Argument(metavar="KIND/NAME", help="Say, MeshNode/NODEID.")],
    domain: Domain,
    key: Key,
    fails: Annotated[bool, typer.Option("--fails", help="It does not comply.")] = False,
    digest: Digest = None,
    statement: Statement = None,
    expires: Expires = None,
    files: Files = None,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Attest that something complies, or does not."""
    desk = _Desk(
        "Compliance", domain, key, files=files, namespace=namespace, dry_run=dry_run, output=output,
        kubeconfig=kubeconfig, sandbox=sandbox,
    )  # fmt: skip
    kind, name = _reference(subject)
    name = node_named(desk.constitution, name) if kind == NODE_KIND else name
    stated = _statement(statement, compliant=not fails)
    desk.sign(_subject(kind, name, digest), stated, expires, f"{'fails' if fails else 'complies'}: {kind}/{name}")


def _contract(
    desk: _Desk, contract: str, digest: str | None, statement: str | None, expires: str | None, verb: str
) -> None:
    if digest is None:
        status = desk.sources.object("DynamicContract", contract).get("status") or {}
        digest = (status.get("inForce") or {}).get("digest")
    if digest is None:
        raise CliError(f"DynamicContract {contract!r}: nothing is in force; give --digest")
    desk.sign(_subject("DynamicContract", contract, digest), _statement(statement), expires, f"{verb} {digest}")


@app.command()
def held(
    contract: Annotated[str, typer.Argument(help="Name of the DynamicContract.")],
    domain: Domain,
    key: Key,
    digest: Digest = None,
    statement: Statement = None,
    expires: Expires = None,
    files: Files = None,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Acknowledge with a Machine key that your node holds a contract: the digest in force, or --digest."""
    desk = _Desk(
        "ContractHeld", domain, key, files=files, namespace=namespace, dry_run=dry_run, output=output,
        kubeconfig=kubeconfig, sandbox=sandbox,
    )  # fmt: skip
    _contract(desk, contract, digest, statement, expires, "holds")


@app.command()
def change(
    contract: Annotated[str, typer.Argument(help="Name of the DynamicContract.")],
    domain: Domain,
    key: Key,
    digest: Digest = None,
    statement: Statement = None,
    expires: Expires = None,
    files: Files = None,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Attest that a contract was changed to the digest in force, or --digest."""
    desk = _Desk(
        "ContractChange", domain, key, files=files, namespace=namespace, dry_run=dry_run, output=output,
        kubeconfig=kubeconfig, sandbox=sandbox,
    )  # fmt: skip
    _contract(desk, contract, digest, statement, expires, "changed to")


@app.command()
def release(
    crossing: Annotated[str, typer.Argument(metavar="KIND/NAME", help="Vote/NAME or Attestation/NAME.")],
    domain: Domain,
    key: Key,
    take_back: Annotated[bool, typer.Option("--take-back", help="Hold again what you released.")] = False,
    where: Annotated[str | None, typer.Option("--in", metavar="NS", help="Its namespace; else where you are.")] = None,
    expires: Expires = None,
    files: Files = None,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Let a vote or an attestation of another domain count that a boundary of yours holds (Quarantine)."""
    desk = _Desk(
        "BoundaryCrossing", domain, key, files=files, namespace=namespace, dry_run=dry_run, output=output,
        kubeconfig=kubeconfig, sandbox=sandbox,
    )  # fmt: skip
    kind, name = _reference(crossing)
    if kind not in ("Vote", "Attestation"):
        raise BadInputError(f"{crossing!r}: must be Vote/NAME or Attestation/NAME")
    spec = desk.sources.object(kind, name, where or desk.namespace).get("spec") or {}
    make = vote_statement if kind == "Vote" else attestation_statement
    digest = make(desk.constitution.mesh_id, spec).digest
    verb = "takes back" if take_back else "releases"
    desk.sign(_subject(kind, name, digest), {"release": not take_back}, expires, f"{verb} {kind}/{name}")
