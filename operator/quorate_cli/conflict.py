"""`quorate conflict`: show a conflict, raise one with evidence, vote on it as its arbitrator (docs/conflicts.md)."""

import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from quorate.api.policy_conflict import Level
from quorate.canonical import digest_of_bytes, is_digest
from quorate.conflicts.document import PROPOSAL, Conflict
from quorate_cli.delegate import make_attestation, next_attestation
from quorate_cli.options import DryRun, Key, Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Column, Format, emit_objects, paint, show_fields, show_table
from quorate_cli.publish import publish
from quorate_cli.signers import Signer, open_signer
from quorate_cli.sources import Constitution, Sources, name_of, voting_identity, why_not
from quorate_cli.vote import MAX_RATIONALE, Question, make_vote, next_sequence, question_in_document
from quorate_cli.watching import Watch, each, readings

Obj = dict[str, Any]
app = typer.Typer(no_args_is_help=True, help="Conflicts between adopted rules, and their arbitration.")
Files = Annotated[list[str] | None, typer.Option("--file", "-f", metavar="FILE", help="Offline: documents instead.")]
_LIST: list[Column] = [
    ("name", lambda item: f"{item['metadata']['namespace']}/{item['metadata']['name']}"),
    ("domain", lambda item: item["spec"]["domain"]),
    ("cause", lambda item: (item.get("status") or {}).get("cause")),
    ("severity", lambda item: (item.get("status") or {}).get("severity")),
    ("level", lambda item: (item.get("status") or {}).get("level")),
    ("ends", lambda item: (item.get("status") or {}).get("endsAt")),
    ("outcome", lambda item: (item.get("status") or {}).get("outcome")),
]
_PARTIES: list[Column] = [
    ("side", lambda row: row[0]),
    ("kind", lambda row: row[1]["kind"]),
    ("name", lambda row: "/".join(filter(None, (row[1].get("namespace"), row[1]["name"])))),
    ("clause", lambda row: row[1].get("clause")),
    ("digest", lambda row: row[1]["digest"]),
]
_SEATS: list[Column] = [
    ("arbitrator", lambda item: item["nodeId"]),
    ("domain", lambda item: item["domain"]),
    ("choice", lambda item: item.get("choice")),
]


class Choice(StrEnum):
    """What an arbitrator chooses."""

    PARTY_A = "party-a"
    PARTY_B = "party-b"
    COMPROMISE = "compromise"
    RETRACT = "retract"


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="Name of the PolicyConflict; absent: a list of all.")] = None,
    namespace: Namespace = None,
    watch: Watch = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show the parties, who decides until when, how they voted, and how it ended."""
    sources = Sources((), kubeconfig, sandbox)
    cluster = sources.cluster
    if name is None:
        each(
            lambda: readings(lambda: cluster.list("PolicyConflict", namespace or "")),
            lambda found: _list(found, output),
            watch=watch,
            output=output,
        )
        return
    where = sources.namespace(namespace)

    def until_resolved() -> Iterator[Obj]:
        for conflict in cluster.changes("PolicyConflict", name, where):
            yield conflict
            if (conflict.get("status") or {}).get("outcome"):
                return

    each(until_resolved, lambda conflict: _show(conflict, output), watch=watch, output=output)


def _list(found: list[Obj], output: Format) -> None:
    if output in (Format.TABLE, Format.WIDE):
        show_table(_LIST, found)
    else:
        emit_objects(found, output)


def _show(conflict: Obj, output: Format) -> None:
    if output not in (Format.TABLE, Format.WIDE):
        meta = {name: value for name, value in conflict["metadata"].items() if name != "managedFields"}
        emit_objects([{**conflict, "metadata": meta}], output)
        return
    status, spec = conflict.get("status") or {}, conflict["spec"]
    outcome, votes = status.get("outcome"), status.get("votes") or {}
    styles = {"Blocked": "bad", None: "warn"}
    show_fields(
        {
            "Conflict": f"{conflict['metadata']['namespace']}/{conflict['metadata']['name']}",
            "Domain": spec["domain"],
            "Cause": status.get("cause"),
            "Severity": status.get("severity"),
            "Outcome": paint(str(outcome or "open"), styles.get(outcome, "good")),
            "Reason": status.get("reason"),
            "Raised by": status.get("raisedBy"),
            "Opened": status.get("openedAt"),
            "Level": f"{status['level']} (votes carry revision {status['voteRevision']})"
            if "level" in status
            else None,
            "Ends": status.get("endsAt") if outcome is None else None,
            "Decided at": status.get("decidedAt"),
            "Votes": ", ".join(f"{side} {number}" for side, number in votes.items()) or None,
            "Because": why_not(conflict, "Ready").strip() or None,
            "Digest": status.get("digest"),
        }
    )
    print()
    show_table(_PARTIES, list(zip(("PartyA", "PartyB"), spec["parties"], strict=False)))
    print()
    show_table(_SEATS, status.get("arbitrators") or [])


@app.command()
def arbitrate(
    conflict: Annotated[str, typer.Argument(metavar="CONFLICT", help="Name of the PolicyConflict.")],
    choice: Annotated[Choice, typer.Argument(help="Which party proceeds; retract takes your key's vote back.")],
    key: Key,
    namespace: Namespace = None,
    files: Files = None,
    level: Annotated[
        Level | None, typer.Option("--level", help="Offline: the level that decides; else from status, else Domain.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", help="The domain you sit for; else where the key is.")
    ] = None,
    rationale: Annotated[str | None, typer.Option("--rationale", help="Why; its digest is signed.")] = None,
    sequence: Annotated[int | None, typer.Option("--sequence", min=0, help="Else the next one.")] = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Sign an arbitrator's vote and cast it. The vote binds the conflict's digest and its level."""
    if rationale is not None and len(rationale) > MAX_RATIONALE:
        raise BadInputError(f"--rationale: has {len(rationale)} characters; at most {MAX_RATIONALE} are allowed")
    signer, sources = open_signer(key), Sources(files, kubeconfig, sandbox)
    given = sources.given("PolicyConflict", conflict)
    found = given or sources.cluster.get("PolicyConflict", conflict, sources.namespace(namespace))
    own = sources.constitution(str(found["spec"]["domain"]))
    constitution, who, name = _seat(found, signer, sources, domain)
    offline = bool(files) and dry_run
    question = _question(found, own, level, namespace)
    now = int(time.time())
    cluster = None if offline else sources.cluster
    document = make_vote(
        question,
        choice.value,
        signer,
        mesh_id=own.mesh_id,
        domain=constitution.name,
        voter=who,
        key_name=name,
        sequence=next_sequence(cluster, question, who, name, now) if sequence is None else sequence,
        now=now,
        namespace=question.namespace,
        rationale=rationale,
    )
    publish([document], None if dry_run else sources.cluster, output, verb=f"cast: {choice.value} by {name}")


def _seat(found: Obj, signer: Signer, sources: Sources, domain: str | None) -> tuple[Constitution, str, str]:
    """The constitution for which the key's member sits, its nodeId and the key's name."""
    seats = (found.get("status") or {}).get("arbitrators") or []
    names = [domain] if domain else sorted({seat["domain"] for seat in seats}) or [str(found["spec"]["domain"])]
    for name in names:
        constitution = sources.constitution(name)
        held = constitution.holder_of(signer.public_key, "Vote")
        sits = held and {"nodeId": held[0], "domain": name} in [
            {"nodeId": seat["nodeId"], "domain": seat["domain"]} for seat in seats
        ]
        if held is not None and (sits or not seats):
            return constitution, *held
    if not seats:
        return sources.constitution(names[0]), *voting_identity(
            sources.constitution(names[0]), signer, node_id=None, key_name=None
        )
    who = ", ".join(f"{seat['nodeId']} ({seat['domain']})" for seat in seats)
    raise CliError(f"--key {signer.label}: is no Vote key of an arbitrator of this level: {who}")


def _question(found: Obj, own: Constitution, level: Level | None, namespace: str | None) -> Question:
    status, meta = found.get("status") or {}, found["metadata"]
    digest = Conflict.of(own.mesh_id, found["spec"]).digest
    if status.get("digest", digest) != digest:
        raise CliError(
            f"PolicyConflict {meta['name']}: status.digest {status['digest']} is not that of its spec, {digest}"
        )
    if status.get("outcome"):
        raise CliError(f"PolicyConflict {meta['name']}: is resolved already: {status['outcome']}")
    revision = (level or Level(status.get("level", Level.DOMAIN))).revision
    where = meta.get("namespace") or namespace or "default"
    return Question(where, name_of(found), digest, revision, own.name)


@app.command("raise")
def raise_(
    parties: Annotated[list[str], typer.Argument(metavar="A B", help="Two parties: PROPOSAL, or KIND/NAME@DIGEST.")],
    key: Key,
    domain: Annotated[str, typer.Option("--domain", help="TrustDomain in which it is arbitrated.")],
    evidence: Annotated[
        list[str], typer.Option("--evidence", metavar="FILE|DIGEST", help="What shows it; repeatable, at least one.")
    ],
    because: Annotated[str | None, typer.Option("--because", help="What the evidence shows.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the PolicyConflict; else from its digest.")
    ] = None,
    namespace: Namespace = None,
    files: Files = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Raise a conflict: the PolicyConflict, and your attestation without which it stops nobody."""
    if len(parties) != 2:
        raise BadInputError(f"parties: {len(parties)} were given; a conflict has exactly two")
    signer, sources = open_signer(key), Sources(files, kubeconfig, sandbox)
    constitution = sources.constitution(domain)
    offline = bool(files) and dry_run
    where = sources.namespace(namespace, offline=offline)
    spec: Obj = {
        "domain": domain,
        "parties": [_party(text, sources, constitution, where) for text in parties],
        "evidence": [_evidence(text, because) for text in evidence],
    }
    conflict = Conflict.of(constitution.mesh_id, spec)
    title = name or conflict.name
    now = int(time.time())
    attestation = make_attestation(
        "Compliance",
        {"compliant": False},
        signer,
        constitution,
        sequence=next_attestation(None if offline else sources.cluster, constitution, signer, "Compliance", now),
        now=now,
        namespace=where,
        subject={"kind": "PolicyConflict", "name": title, "digest": conflict.digest},
    )
    document = {
        "apiVersion": "quorate.dev/v1alpha1",
        "kind": "PolicyConflict",
        "metadata": {"name": title, "namespace": where},
        "spec": spec,
    }
    publish([document, attestation], None if dry_run else sources.cluster, output, verb="raised")


def _party(text: str, sources: Sources, constitution: Constitution, namespace: str) -> Obj:
    reference, at, digest = text.partition("@")
    kind, slash, name = reference.partition("/")
    if at:
        if not slash or not is_digest(digest):
            raise BadInputError(f"{text!r}: must be KIND/NAME@sha256:…, or the name of a GovernanceProposal")
        return {"kind": kind, "name": name, "digest": digest}
    document = sources.given(PROPOSAL, reference)
    if document is not None:
        question = question_in_document(document, constitution.mesh_id, namespace)
        return _proposal(document, question.namespace, question.digest)
    found = sources.cluster.get(PROPOSAL, reference, namespace)
    status = found.get("status") or {}
    if not status.get("digest"):
        raise CliError(f"GovernanceProposal {reference!r}: is not open{why_not(found, 'Accepted', 'Ready')}")
    return _proposal(found, namespace, status["digest"])


def _proposal(document: Obj, namespace: str, digest: str) -> Obj:
    clause = document["spec"]["target"].get("clause")
    party = {"kind": PROPOSAL, "namespace": namespace, "name": name_of(document), "digest": digest}
    return party if clause is None else {**party, "clause": clause}


def _evidence(text: str, because: str | None) -> Obj:
    digest = text
    if not is_digest(text):
        try:
            digest = digest_of_bytes(Path(text).read_bytes())
        except OSError as error:
            raise BadInputError(f"--evidence {text}: {error.strerror}: must be a file, or a digest sha256:…") from error
    return {"digest": digest} if because is None else {"digest": digest, "description": because}
