"""`quorate vote`: sign a choice on a proposal's digest."""

import re
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from quorate.canonical import format_time
from quorate.identity.statements import proposal_statement, vote_statement
from quorate_cli.cluster import Cluster
from quorate_cli.options import DryRun, Key, Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Format
from quorate_cli.publish import publish
from quorate_cli.signers import Signer, open_signer, sign_statement
from quorate_cli.sources import Sources, digest_of_statement, name_of, voting_identity, why_not

Obj = dict[str, Any]
app = typer.Typer()
MAX_RATIONALE = 4096


class Choice(StrEnum):
    """What a voter chooses."""

    APPROVE = "approve"
    REJECT = "reject"
    ABSTAIN = "abstain"
    VETO = "veto"
    RETRACT = "retract"


@dataclass(frozen=True)
class Question:
    """What is voted on."""

    namespace: str
    name: str
    digest: str
    revision: int
    trust_domain: str

    def manifest(self) -> Obj:
        """`spec.proposal` of a vote."""
        return {"namespace": self.namespace, "name": self.name, "digest": self.digest}


def question_on_cluster(proposal: Obj) -> Question:
    """The open revision, from status: what was recorded at the opening, never the live spec."""
    meta, status = proposal["metadata"], proposal.get("status") or {}
    if not status.get("digest"):
        raise CliError(f"GovernanceProposal {meta['name']!r}: is not open{why_not(proposal, 'Accepted', 'Ready')}")
    revision = int(status.get("revision") or proposal["spec"]["revision"])
    return Question(meta["namespace"], meta["name"], status["digest"], revision, proposal["spec"]["trustDomain"])


def question_in_document(proposal: Obj, mesh_id: str, namespace: str) -> Question:
    """The proposal of a document, by the digest of its statement."""
    name, spec = name_of(proposal), proposal.get("spec") or {}
    namespace = (proposal.get("metadata") or {}).get("namespace") or namespace
    statement = proposal_statement(mesh_id, namespace, name, spec)
    digest = digest_of_statement(statement, f"GovernanceProposal {name}: spec")
    if not isinstance(spec.get("revision"), int):
        raise BadInputError(f"GovernanceProposal {name}: spec.revision is required and must be an integer")
    return Question(namespace, name, digest, spec["revision"], str(spec.get("trustDomain", "")))


def make_vote(
    question: Question,
    choice: str,
    signer: Signer,
    *,
    mesh_id: str,
    domain: str,
    voter: str,
    key_name: str,
    sequence: int,
    now: int,
    namespace: str,
    rationale: str | None = None,
) -> Obj:
    """A signed Vote; `now` in Unix seconds becomes castAt."""
    spec: Obj = {
        "proposal": question.manifest(),
        "revision": question.revision,
        "voter": voter,
        "keyName": key_name,
        "domain": domain,
        "choice": choice.title().replace("-", ""),  # as the API writes it: Approve, PartyA
        "sequence": sequence,
        **({} if rationale is None else {"rationale": rationale}),
        "castAt": format_time(now),
    }
    spec["signature"] = sign_statement(signer, vote_statement(mesh_id, spec))
    # Two members may have keys of one name; the sequence tells a key's own votes apart.
    label = re.sub(r"[^a-z0-9-]+", "-", f"{question.name[:180]}-{key_name}-{voter[:8]}-{sequence}".lower()).strip("-")
    return {
        "apiVersion": "quorate.dev/v1alpha1",
        "kind": "Vote",
        "metadata": {"name": label, "namespace": namespace},
        "spec": spec,
    }


def next_sequence(cluster: Cluster | None, question: Question, voter: str, key_name: str, now: int) -> int:
    """Above every vote of this key on this proposal that the cluster knows, and at least the current second.

    The second makes a vote signed offline later overtake one signed offline earlier without knowing it.
    """
    if cluster is None:
        return now
    votes = cluster.list("Vote", fieldSelector=f"spec.proposal.digest={question.digest}")
    own: list[Obj] = [
        vote["spec"] for vote in votes if (vote["spec"]["voter"], vote["spec"]["keyName"]) == (voter, key_name)
    ]
    return max([now, *(int(spec["sequence"]) + 1 for spec in own)])


@app.command()
def vote(
    choice: Annotated[Choice, typer.Argument(help="What you choose; retract takes your key's vote back.")],
    proposal: Annotated[str, typer.Argument(metavar="PROPOSAL", help="Name of the GovernanceProposal.")],
    key: Key,
    namespace: Namespace = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="FILE", help="Offline: proposal and TrustDomain documents."),
    ] = None,
    into: Annotated[
        str | None, typer.Option("--into", metavar="NS", help="Namespace of the Vote; else the proposal's.")
    ] = None,
    voter: Annotated[str | None, typer.Option("--voter", metavar="NODEID", help="Else the key's member.")] = None,
    key_name: Annotated[str | None, typer.Option("--key-name", help="Else the key's name in the domain.")] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", help="The electorate you vote in; else the proposal's domain.")
    ] = None,
    rationale: Annotated[str | None, typer.Option("--rationale", help="Why; its digest is signed.")] = None,
    sequence: Annotated[int | None, typer.Option("--sequence", min=0, help="Else the next one.")] = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Sign a vote and cast it. The vote binds the digest of the proposal that is open now."""
    if rationale is not None and len(rationale) > MAX_RATIONALE:
        raise BadInputError(f"--rationale: has {len(rationale)} characters; at most {MAX_RATIONALE} are allowed")
    signer = open_signer(key)
    sources = Sources(files, kubeconfig, sandbox)
    question, mesh = _question(sources, proposal, namespace)
    electorate = domain or question.trust_domain
    constitution = sources.constitution(electorate)
    who, name = voting_identity(constitution, signer, node_id=voter, key_name=key_name)
    now = int(time.time())
    offline = bool(files) and dry_run
    number = (
        next_sequence(None if offline else sources.cluster, question, who, name, now) if sequence is None else sequence
    )
    document = make_vote(
        question,
        choice.value,
        signer,
        mesh_id=mesh or constitution.mesh_id,
        domain=electorate,
        voter=who,
        key_name=name,
        sequence=number,
        now=now,
        namespace=into or question.namespace,
        rationale=rationale,
    )
    publish([document], None if dry_run else sources.cluster, output, verb=f"cast: {choice.value} by {name}")


def _question(sources: Sources, name: str, namespace: str | None) -> tuple[Question, str]:
    document = sources.given("GovernanceProposal", name)
    if document is None:
        where = sources.namespace(namespace)
        return question_on_cluster(sources.cluster.get("GovernanceProposal", name, where)), ""
    domain = str((document.get("spec") or {}).get("trustDomain", ""))
    mesh = sources.constitution(domain).mesh_id
    return question_in_document(document, mesh, namespace or "default"), mesh
