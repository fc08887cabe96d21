"""The example fleet under names of its own, signed by keys of its own, on a sandbox with an operator."""

import copy
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from quorate.audit.record import Record
from quorate.audit.verify import ChainVerifier, Verdict
from quorate.canonical import parse_json
from quorate.proposals.evidence import Pinned, verify
from quorate_cli.database import reading
from quorate_cli.domain import add_signature
from quorate_cli.output import CliError, to_yaml
from quorate_cli.place import READER
from quorate_cli.proposal import fetch_content
from quorate_cli.propose import base_digest, sign_proposal
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.signers import Signer, open_signer
from quorate_cli.sources import Constitution, Sources, constitution_of
from quorate_cli.templates import Filler
from quorate_cli.vote import Question, make_vote, question_in_document
from quorate_cli.yamlfiles import read_document

T = TypeVar("T")
Obj = dict[str, Any]
EXAMPLES = Path(__file__).parents[2] / "examples" / "fleet"
ADMINS = ("ada", "grace")
MEMBERS = ("alice", "bob", "carol", "dave", "eve")


def wait_for(what: str, probe: Callable[[], T], seconds: float = 60.0) -> T:
    """Poll until truthy; a server that is just away is asked again; what is waited for is part of the failure.

    The bound is for a slow machine: nothing is proven by how soon it comes.
    """
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        try:
            if value := probe():
                return value
        except CliError as error:
            said = f" ({error})"
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds:g} s{said}"
        time.sleep(0.03)


def condition(obj: Obj, kind: str) -> tuple[str, str]:
    """(status, reason) of a condition; empty while it is not there."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return next(((item["status"], item["reason"]) for item in found if item["type"] == kind), ("", ""))


@contextmanager
def watching(sandbox: Sandbox, *arguments: str, until: str | None = None) -> Iterator[list[str]]:
    """`quorate … --watch` beside what is done meanwhile; afterwards all its lines.

    It has ended by itself, or of Ctrl-C once a line held `until`.
    """
    command = [sys.executable, "-m", "quorate_cli", *arguments, "--watch"]
    environment = {**os.environ, "KUBECONFIG": str(sandbox.kubeconfig)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    limit = threading.Timer(120, process.kill)
    limit.start()
    lines: list[str] = []
    try:
        assert process.stdout is not None
        lines.append(process.stdout.readline())
        yield lines
        for line in process.stdout:
            lines.append(line)
            if until is not None and until in line:
                process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0, lines
    finally:
        limit.cancel()
        process.kill()
        process.wait(10)


class Fleet:
    """One TrustDomain, its contract and one proposal.

    `voting` replaces fields of the Standard rules; `change` edits the template's spec, before it is filled and signed.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        folder: Path,
        *,
        name: str = "",
        change: Callable[[Obj], None] = lambda spec: None,
        **voting: Any,
    ) -> None:
        self.sandbox, self.cluster, self.folder = sandbox, sandbox.admin(), folder
        tag = uuid.uuid4().hex[:8]
        self.name, self.contract_name, self.proposal_name = name or f"fleet-{tag}", f"rules-{tag}", f"raise-{tag}"
        self.namespace = "default"
        shutil.copytree(EXAMPLES, folder)
        self.contract = read_document(folder / "contract.yaml")
        self.contract["metadata"]["name"], self.contract["spec"]["trustDomain"] = self.contract_name, self.name
        self.contract["spec"]["genesis"]["contractId"] = str(uuid.uuid4())
        self.domain = self._constitution(read_document(folder / "trustdomain.yaml"), change, voting)
        self.constitution: Constitution = constitution_of(self.domain)
        self.chain = f"{self.constitution.mesh_id}/{self.name}"
        self.cast = 0

    def _constitution(self, template: Obj, change: Callable[[Obj], None], voting: dict[str, Any]) -> Obj:
        spec = template["spec"]
        template["metadata"]["name"] = self.name
        spec["homeHub"] = spec["members"][0]["nodeId"] = self.sandbox.node_id
        spec["log"]["origin"] = f"{spec['meshId']}/{self.name}"
        genesis = self.contract["spec"]["genesis"]
        spec["contracts"][0] |= {"name": self.contract_name, "contractId": genesis["contractId"]}
        (self.folder / "contract.yaml").write_text(to_yaml([self.contract]))
        spec["voting"]["Standard"] |= voting
        change(spec)
        template["spec"] = Filler(self.folder, self.folder / "keys", make_keys=True).fill(spec)
        for admin in ADMINS:
            add_signature(template, self.signer(admin))
        return template

    def signer(self, name: str) -> Signer:
        """The signer of a key that was made for this fleet."""
        return open_signer(str(self.folder / "keys" / f"{name}.key"))

    def found(self) -> None:
        """Apply constitution, log key and contract, and wait until both are in force."""
        shutil.copy(self.folder / "keys" / "log.key", self.sandbox.log_keys / f"{self.name}.key")
        for document in (self.domain, self.contract):
            wait_for("an API server", lambda document=document: self.cluster.apply(document))
        wait_for("the contract in force", lambda: condition(self.get("DynamicContract"), "Ready")[0] == "True")

    def get(self, kind: str, name: str | None = None) -> Obj:
        """The fleet's object of a kind."""
        own = {
            "TrustDomain": self.name,
            "DynamicContract": self.contract_name,
            "GovernanceProposal": self.proposal_name,
        }
        namespaced = kind in ("GovernanceProposal", "Vote")
        return self.cluster.get(kind, name or own[kind], self.namespace if namespaced else "")

    def status(self) -> Obj:
        """The proposal's status."""
        return dict(self.get("GovernanceProposal").get("status") or {})

    def proposal(self, *, gib: int = 72, signed_by: str = "alice", **fields: Any) -> Obj:
        """A signed proposal on clause 2.1."""
        document = read_document(self.folder / "proposal.yaml")
        document["metadata"]["name"] = self.proposal_name
        spec = document["spec"]
        spec |= {"trustDomain": self.name, **fields}
        spec["target"]["name"] = self.contract_name
        spec["change"]["patch"][0]["value"] = f"A training pod may hold at most {gib} GiB of GPU memory."
        sources = Sources([str(self.folder / "contract.yaml")])
        spec["change"]["baseDigest"] = base_digest(sources, spec["target"])
        return sign_proposal(document, self.signer(signed_by), self.constitution, self.namespace)

    def open(self, **fields: Any) -> Obj:
        """Apply the proposal and wait until it is open."""
        wait_for("an API server", lambda: self.cluster.apply(self.proposal(**fields)))
        wait_for("the opening", lambda: condition(self.get("GovernanceProposal"), "Accepted")[0] == "True")
        return self.get("GovernanceProposal")

    def question(self, proposal: Obj | None = None) -> Question:
        """What voters are asked, by the signed document."""
        return question_in_document(proposal or self.proposal(), self.constitution.mesh_id, self.namespace)

    def ballot(
        self,
        key: str,
        choice: str,
        *,
        name: str | None = None,
        question: Question | None = None,
        sequence: int | None = None,
        signed_by: str | None = None,
        now: int | None = None,
        unsigned: Mapping[str, Any] | None = None,
    ) -> Obj:
        """A Vote of the member that has this key; `signed_by`: somebody else signs it; `unsigned`: set afterwards."""
        self.cast += 1
        member = next(
            member for member in self.constitution.spec["members"] if any(k["name"] == key for k in member["keys"])
        )
        vote = make_vote(
            question or self.question(),
            choice,
            self.signer(signed_by or key),
            mesh_id=self.constitution.mesh_id,
            domain=self.name,
            voter=member["nodeId"],
            key_name=key,
            sequence=self.cast if sequence is None else sequence,
            now=int(time.time()) if now is None else now,
            namespace=self.namespace,
        )
        vote["spec"] |= unsigned or {}
        vote["metadata"]["name"] = f"{self.proposal_name}-{name or f'{key}-{self.cast}'}"
        return vote

    def vote(self, key: str, choice: str, **more: Any) -> str:
        """Apply such a Vote; its name."""
        document = self.ballot(key, choice, **more)
        wait_for("an API server", lambda: self.cluster.apply(document))
        return str(document["metadata"]["name"])

    def renamed(self, vote: str, name: str) -> Obj:
        """The same signed statement in another object."""
        spec = copy.deepcopy(self.get("Vote", vote)["spec"])
        meta = {"name": f"{self.proposal_name}-{name}", "namespace": self.namespace}
        return {"apiVersion": "quorate.dev/v1alpha1", "kind": "Vote", "metadata": meta, "spec": spec}

    def counted(self, vote: str, reason: str, seconds: float = 60.0) -> Obj:
        """Wait until a vote's condition Counted has this reason; the Vote."""

        def probe() -> Obj | None:
            obj = self.get("Vote", vote)
            return obj if condition(obj, "Counted")[1] == reason else None

        return wait_for(f"Counted with {reason} of {vote}", probe, seconds)

    def phase(self, phase: str, seconds: float = 60.0) -> Obj:
        """Wait for a phase of the proposal; its status."""
        return wait_for(
            f"phase {phase}", lambda: self.status() if self.status().get("phase") == phase else None, seconds
        )

    def entries(self) -> list[Obj]:
        """The chain's entries as the log holds them, after the whole chain was verified.

        Raises:
            AssertionError: the chain does not verify, or an entry id is there twice.
        """
        with reading(self.sandbox.dsn(READER)) as reader:
            verifier = ChainVerifier(self.chain, keys=(), stored=(), anchors=())
            found = []
            for stored in reader.entries(self.chain):
                assert verifier.feed(stored), verifier.report.fault
                found.append(parse_json(Record.decode(stored.record).content))
            report = verifier.finish(reader.head(self.chain))
        assert report.verdict in (Verdict.UNANCHORED, Verdict.INTACT), report
        assert len({entry["entry_id"] for entry in found}) == len(found)
        return found

    def events(self) -> Counter[str]:
        """How many entries of each type the chain holds."""
        return Counter(str(entry["event_type"]) for entry in self.entries())

    def evidence(self) -> bytes:
        """The evidence bundle, fetched and verified offline against the pin."""
        status = self.status()
        bundle = fetch_content(self.cluster, status.get("evidenceRef"), status.get("evidenceDigest"), "evidence")
        report = verify(bundle, pinned=Pinned(pins={self.chain: self.constitution.digest}), proof=None)
        assert report.verdict is Verdict.UNANCHORED, report
        return bundle
