"""`quorate audit quarantine`: which chains are stopped, and a signature with which one goes on (docs/quarantine.md)."""

import json
import re
import time
from typing import Annotated, Any

import typer

from quorate.api.attestation import AttestationType
from quorate.audit.quarantine import MAX_FINDING, SYSTEM
from quorate.canonical import format_time
from quorate.identity.statements import attestation_statement, resume_statement
from quorate_cli.cluster import Cluster
from quorate_cli.options import DryRun, Key, Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Column, Format, emit, show_fields, tell
from quorate_cli.place import connect
from quorate_cli.publish import announce, publish
from quorate_cli.signers import Signer, open_signer, sign_statement
from quorate_cli.sources import Sources, voting_identity

Obj = dict[str, Any]
ANNOTATION = "quorate.dev/resume"
app = typer.Typer(no_args_is_help=True, help="Chains of the log that are stopped, and how they go on.")
_TERMS = ("quarantine", "epoch", "size", "head")


def open_quarantines(cluster: Cluster, chain: str | None = None) -> list[Obj]:
    """What is stopped: {chain, object, quarantine …, signatures[], note} for each, from the AuditCheckpoints."""
    rows = []
    resumes = [item for item in cluster.list("Attestation") if item["spec"]["type"] == AttestationType.RESUME]
    for obj in cluster.list("AuditCheckpoint"):
        found = (obj.get("status") or {}).get("quarantine")
        if found is None or chain not in (None, obj["spec"]["chain"]):
            continue
        terms = {"chain": obj["spec"]["chain"], "quarantine": found["number"]}
        terms |= {name: found[name] for name in ("epoch", "size", "head")}
        rows.append(
            {
                **terms,
                "cause": found["cause"],
                "message": found["message"],
                "raisedAt": found["raisedAt"],
                "needsFinding": bool(found.get("needsFinding")),
                "ready": _ready(obj),
                "signatures": [_signature(item) for item in resumes if _is_about(item, terms)],
            }
        )
    return rows


def _ready(obj: Obj) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((str(item["message"]) for item in conditions if item["type"] == "Ready"), "")


def _is_about(attestation: Obj, terms: Obj) -> bool:
    stated = attestation["spec"]["statement"]
    return all(stated.get(name) == value for name, value in terms.items())


def _signature(attestation: Obj) -> Obj:
    spec, conditions = attestation["spec"], (attestation.get("status") or {}).get("conditions") or ()
    reason = next((item["reason"] for item in conditions if item["type"] == "Ready"), "Waiting")
    return {
        "attestation": f"{attestation['metadata']['namespace']}/{attestation['metadata']['name']}",
        "by": spec["attester"],
        "keyName": spec["keyName"],
        "at": spec["at"],
        "finding": spec["statement"].get("finding"),
        "reason": reason,
    }


@app.command()
def show(
    chain: Annotated[str | None, typer.Argument(metavar="[CHAIN]", help="Only this chain, in full.")] = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show which chains are stopped, why, and who signed already that they go on."""
    rows = open_quarantines(connect(kubeconfig, sandbox), chain)
    if output in (Format.JSON, Format.YAML, Format.NAME):
        emit(rows, output, name=lambda row: str(row["chain"]))
        return
    if not rows:
        tell("nothing is stopped" if chain is None else f"chain {chain} is not stopped")
        return
    if chain is None:
        emit(rows, output, columns=_COLUMNS, wide=_WIDE)
        return
    for row in rows:
        _show_one(row)


def _show_one(row: Obj) -> None:
    show_fields(
        {
            "chain": row["chain"],
            "quarantine": row["quarantine"],
            "raised at": row["raisedAt"],
            "cause": row["cause"],
            "finding": row["message"],
            "epoch": row["epoch"],
            "entries": row["size"],
            "head": row["head"],
            "resumes only with --finding": row["needsFinding"],
            "state": row["ready"],
        }
    )
    for item in row["signatures"]:
        text = f" with finding {item['finding']!r}" if item["finding"] else ""
        print(f"signed by {item['keyName']} of {item['by']} at {item['at']}: {item['reason']}{text}")


_COLUMNS: list[Column] = [
    ("chain", lambda row: row["chain"]),
    ("number", lambda row: row["quarantine"]),
    ("since", lambda row: row["raisedAt"]),
    ("cause", lambda row: row["cause"]),
    ("entries", lambda row: row["size"]),
    ("signed by", lambda row: ", ".join(item["keyName"] for item in row["signatures"])),
]
_WIDE: list[Column] = [("finding", lambda row: row["message"]), ("head", lambda row: row["head"])]


@app.command()
def resume(
    chain: Annotated[str, typer.Argument(metavar="CHAIN", help="`<meshId>/<domain>` or `system`.")],
    key: Key,
    by: Annotated[str | None, typer.Option("--by", metavar="NODE", help="nodeId; else the key's member.")] = None,
    finding: Annotated[str | None, typer.Option("--finding", metavar="TEXT", help="What was found out.")] = None,
    namespace: Namespace = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Sign that a stopped chain goes on from the head that `show` shows. Two Vote keys of different names are needed.

    Each run adds one signature. Who signs second signs the finding of the first, unless --finding says otherwise. Chain
    `system` goes on by one signature of the installation's log key.
    """
    if finding is not None and not 0 < len(finding.strip()) <= len(finding) <= MAX_FINDING:
        raise BadInputError(f"--finding: must be a text of at most {MAX_FINDING} characters")
    sources = Sources(None, kubeconfig, sandbox)
    row = next(iter(open_quarantines(sources.cluster, chain)), None)
    if row is None:
        raise CliError(f"chain {chain!r} is not stopped; `quorate audit quarantine show` lists what is")
    signer = open_signer(key)
    terms = {"chain": chain, **{name: row[name] for name in _TERMS}}
    text = finding or _found_by_others(row)
    if text is None and row["needsFinding"]:
        raise BadInputError("--finding: is required, the chain was stopped more than twice in 24 hours")
    if text is not None:
        terms["finding"] = text
    if chain == SYSTEM:
        _resume_system(sources.cluster, terms, signer, dry_run=dry_run, output=output)
        return
    document = _attestation(sources, terms, signer, by, len(row["signatures"]))
    document["metadata"]["namespace"] = sources.namespace(namespace)
    verb = f"signed: {chain} goes on from entry {row['size']}, in epoch {row['epoch'] + 1}"
    publish([document], None if dry_run else sources.cluster, output, verb=verb)


def _found_by_others(row: Obj) -> str | None:
    findings = [item["finding"] for item in row["signatures"] if item["finding"]]
    if findings:
        tell(f"you sign the finding of {row['signatures'][0]['keyName']}: {findings[0]}")
    return findings[0] if findings else None


def _attestation(sources: Sources, terms: Obj, signer: Signer, by: str | None, before: int) -> Obj:
    domain = str(terms["chain"]).partition("/")[2]
    constitution = sources.constitution(domain)
    who, name = voting_identity(constitution, signer, node_id=by, key_name=None)
    now = int(time.time())
    spec: Obj = {
        "domain": domain,
        "attester": who,
        "keyName": name,
        "sequence": now + before,
        "at": format_time(now),
        "type": str(AttestationType.RESUME),
        "statement": terms,
    }
    spec["signature"] = sign_statement(signer, attestation_statement(constitution.mesh_id, spec))
    label = re.sub(
        r"[^a-z0-9-]+", "-", f"resume-{domain[:150]}-{terms['quarantine']}-{name}-{before + 1}".lower()
    ).strip("-")
    return {
        "apiVersion": "quorate.dev/v1alpha1",
        "kind": "Attestation",
        "metadata": {"name": label},
        "spec": spec,
    }


def _resume_system(cluster: Cluster, terms: Obj, signer: Signer, *, dry_run: bool, output: Format) -> None:
    document: Obj = {**terms, "keyName": SYSTEM, "at": format_time(int(time.time()))}
    document["signature"] = sign_statement(signer, resume_statement(document))
    for obj in cluster.list("AuditCheckpoint"):
        if obj["spec"]["chain"] == SYSTEM:
            change = {"metadata": {"annotations": {ANNOTATION: json.dumps(document, sort_keys=True)}}}
            if dry_run:
                emit(document, output if output in (Format.JSON, Format.YAML) else Format.JSON)
                return
            patched = cluster.request(
                "PATCH",
                f"/apis/quorate.dev/v1alpha1/auditcheckpoints/{obj['metadata']['name']}",
                body=change,
                content_type="application/merge-patch+json",
            )
            announce([patched], output, verb="signed: system goes on")
            return
