"""`quorate proposal evidence|export|verify`: what a decision leaves, fetched and verified offline."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quorate.audit.verify import Verdict
from quorate.canonical import digest_of_bytes
from quorate_cli.audit import EXIT
from quorate_cli.cluster import Cluster
from quorate_cli.contract import base_of
from quorate_cli.options import Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import (
    BadInputError,
    CliError,
    ExitCode,
    Format,
    emit,
    paint,
    show_fields,
    tell,
)
from quorate_cli.pins import Pins, parse_pins
from quorate_cli.receiver import Applied, Mine, MineProof, OtherEvidence, bundle_bytes, pinned
from quorate_cli.sources import SYSTEM_NAMESPACE, Sources, accepted, why_not
from quorate_cli.verifying import verify_ahead

if TYPE_CHECKING:
    from quorate.proposals.evidence import Report

Obj = dict[str, Any]


def fetch_content(cluster: Cluster, reference: str | None, digest: str | None, what: str) -> bytes:
    """The bytes of a content ConfigMap; CliError if there is none yet or they do not have their digest."""
    if not reference:
        raise CliError(f"{what}: there is none yet")
    text = (cluster.get("ConfigMap", reference, SYSTEM_NAMESPACE).get("data") or {}).get("content", "")
    data = str(text).encode()
    expected = digest or "sha256:" + reference.removeprefix("quorate-")
    if digest_of_bytes(data) != expected:
        raise CliError(f"{what}: ConfigMap {SYSTEM_NAMESPACE}/{reference} does not have the digest {expected}")
    return data


def evidence(
    name: Annotated[str, typer.Argument(help="Name of the GovernanceProposal.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the bundle here.")] = None,
    proof_out: Annotated[Path | None, typer.Option("--proof-out", metavar="FILE", help="Write the proof here.")] = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Fetch the evidence bundle of a decision, and its proof once a checkpoint covers it."""
    sources = Sources((), kubeconfig, sandbox)
    proposal = sources.cluster.get("GovernanceProposal", name, sources.namespace(namespace))
    bundle, proof = _fetch(sources.cluster, proposal, with_proof=proof_out is not None)
    if out is None:
        print(bundle.decode())
    else:
        _write(out, bundle)
    if proof_out is not None:
        if proof is None:
            raise CliError(f"proof of {name!r}: there is none yet: no checkpoint covers its entries")
        _write(proof_out, proof)


def export(
    name: Annotated[str, typer.Argument(help="Name of the GovernanceProposal.")],
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Print the governance_proposal JSON document of a proposal on a clause, checked against its schema."""
    from quorate.documents.proposal import export_proposal  # noqa: PLC0415 - jsonschema is slow to import
    from quorate.documents.schema import DocumentRefusedError  # noqa: PLC0415

    sources = Sources((), kubeconfig, sandbox)
    proposal = sources.cluster.get("GovernanceProposal", name, sources.namespace(namespace))
    spec, digest = proposal["spec"], (proposal.get("status") or {}).get("digest")
    if spec["target"].get("clause") is None:
        raise CliError(f"GovernanceProposal {name!r}: NoClauseTarget: only a proposal on a clause has a document")
    if digest is None:
        raise CliError(f"GovernanceProposal {name!r}: it has not opened yet{why_not(proposal, 'Ready')}")
    contract = sources.cluster.get("DynamicContract", spec["target"]["name"])
    domain = accepted(sources.cluster, spec["trustDomain"])
    try:
        base = base_of(sources.cluster, contract, digest)
        emit(export_proposal(proposal, digest=digest, base=base, domain_spec=domain.spec), Format.JSON)
    except DocumentRefusedError as error:
        raise CliError(f"GovernanceProposal {name!r}: {error.reason}: {error}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    tell(f"{path}: {len(data)} bytes, {digest_of_bytes(data)}")


def _fetch(cluster: Cluster, proposal: Obj, *, with_proof: bool) -> tuple[bytes, bytes | None]:
    status, name = proposal.get("status") or {}, proposal["metadata"]["name"]
    bundle = fetch_content(cluster, status.get("evidenceRef"), status.get("evidenceDigest"), f"evidence of {name!r}")
    reference = status.get("proofRef") if with_proof else None
    return bundle, fetch_content(cluster, reference, None, f"proof of {name!r}") if reference else None


def verify(
    bundle: Annotated[str, typer.Argument(help="A bundle in a file, or the name of a GovernanceProposal.")],
    proof: Annotated[str | None, typer.Option("--proof", metavar="FILE", help="The proof document.")] = None,
    pins: Pins = None,
    mine: Mine = None,
    mine_proofs: MineProof = None,
    applied: Applied = None,
    evidence: OtherEvidence = None,
    namespace: Namespace = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Re-derive a decision from its evidence: revisions, electorate, signatures, outcome; with a proof, the log too."""
    parse_pins(pins or ())  # before a cluster is asked
    if bundle == "-" or Path(bundle).is_file():
        data, proven = bundle_bytes(bundle), None if proof is None else bundle_bytes(proof)
    elif "/" in bundle or bundle.endswith(".json"):
        raise BadInputError(f"{bundle}: No such file or directory")
    else:
        sources = Sources((), kubeconfig, sandbox)
        found = sources.cluster.get("GovernanceProposal", bundle, sources.namespace(namespace))
        data, proven = _fetch(sources.cluster, found, with_proof=proof is None)
        proven = proven if proof is None else bundle_bytes(proof)
    from quorate.proposals.evidence import verify as verify_evidence  # noqa: PLC0415 - the decision code

    trusted = pinned(pins, data, mine=mine, proofs=mine_proofs, applied=applied, evidence=evidence)
    report = verify_evidence(data, pinned=trusted, proof=proven, ahead=verify_ahead)
    _report(report, output)
    # An alarm is for this member alone: it says nothing against the bundle, and yet something is wrong.
    alarmed = report.alarms and report.verdict in (Verdict.INTACT, Verdict.UNANCHORED)
    raise typer.Exit(int(ExitCode.FAILED if alarmed else EXIT[report.verdict]))


def _report(report: "Report", output: Format) -> None:
    findings = [("fault", item) for item in report.faults]
    findings += [("missing", item) for item in report.missing]
    findings += [("alarm", item) for item in report.alarms]
    if output in (Format.JSON, Format.YAML):
        rows = [{"level": level, "check": item.check.value, "reason": item.reason, "message": item.message}
                for level, item in findings]  # fmt: skip
        head = {"verdict": report.verdict.value, "digest": report.digest, "proposalDigest": report.proposal_digest}
        tail = {"outcome": report.outcome, "reason": report.reason, "anchored": report.anchored}
        tail |= {} if report.blocked is None else {"blocked": report.blocked}
        emit({**head, **tail, "checked": report.counts, "findings": rows, "notes": report.notes}, output)
        return
    if output is Format.NAME:
        print(report.verdict.value)
        return
    counts = ", ".join(f"{value} {name}" for name, value in report.counts.items())
    outcome = f"{report.outcome} ({report.reason})" if report.outcome else None
    show_fields({"Evidence": report.digest, "Proposal": report.proposal_digest, "Outcome": outcome, "Checked": counts})
    for level, item in findings:
        print(paint(f"{level}: {item.check.value}: {item.message}", "warn" if level == "alarm" else "bad"))
    for note in report.notes:
        print(f"note: {note}")
    print(paint(f"{report.verdict.value.upper()}{_MEANING[report.verdict]}", _STYLES.get(report.verdict, "warn")))


_MEANING = {
    Verdict.INTACT: ": re-derived from the documents, and every entry is in the log under a signed checkpoint",
    Verdict.TAMPERED: ": the bundle does not hold what it claims",
    Verdict.UNANCHORED: ": re-derived from the documents; without --proof nothing shows that the log holds them",
    Verdict.CANNOT_TELL: ": something needed is missing",
}
_STYLES = {Verdict.INTACT: "good", Verdict.TAMPERED: "bad"}
