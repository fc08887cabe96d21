"""The five chapters (issue "a rule changes by signed vote, and the log proves it"); each asks only what it showed."""

import json
from collections.abc import Callable, Sequence

from quorate_cli.demo.proof import prove
from quorate_cli.demo.scene import Scene

PROPOSAL = "raise-memory-ceiling"
FLEET = "example-mesh/fleet"
REFUSED = {
    "forged": ("BadSignature", "Eve signs in Bob's name"),
    "other-text": ("OtherProposal", "Dave was shown another text, 80 GiB, under the same name"),
    "fork": ("NotInElectorate", "Eve's own vote: a fork attests, but votes in nothing"),
}
"""Votes that are refused for good: Ready=False, Stalled=True."""
NOT_COUNTED = {
    "alice-first": ("Overtaken", "Alice changed her mind"),
    "replayed": ("Duplicate", "Alice's first vote again, in an object of another name"),
}
"""Votes in order that do not count: Counted=False."""


def up(scene: Scene) -> None:
    """Keys, a constitution, and a sandbox that is told nothing but its digest."""
    stage = scene.stage
    place = scene.put_programs_on_path()
    stage.say(
        f"""Everything happens in {scene.folder}: a copy of examples/fleet, and in bin/ the programs that are used.
        First the members make keys, and the admins' signatures make a constitution out of the template. Who can
        write to the cluster will not matter: what matters is the digest of this document, the pin."""
    )
    stage.export({"PATH": f"{place}:$PATH"})
    stage.run("quorate domain create -f trustdomain.yaml --keys keys --make-keys --sign --dry-run -o yaml > fleet.yaml")
    stage.run("quorate domain pin -f fleet.yaml", said=[f"{FLEET}=sha256:"])
    hub = scene.nodes["hub-a"]
    stage.attach(
        f"quorate sandbox up --name {scene.sandbox.name} --nodes 2 --gpus-per-node 4 "
        f'--node-id {hub} --pin "$(quorate domain pin -f fleet.yaml)"'
    )
    scene.use_sandbox()
    stage.run(f"quorate sandbox status --name {scene.sandbox.name}", said=["apiserver", "postgres", "operator"])


def ready(scene: Scene) -> None:
    """The examples are applied, the nodes prove their keys, everything becomes Ready."""
    stage = scene.stage
    scene.give_log_key("keys/log.key")
    stage.say(
        "The constitution, the five members and the contract are plain manifests; any GitOps tool could apply them."
    )
    stage.run("kubectl apply --server-side -f fleet.yaml -f meshnodes.yaml -f contract.yaml")
    stage.run("kubectl wait td/fleet --for=condition=Authorized --timeout=30s")
    stage.say(
        """Each node gets a namespace and an identity of its own, in which it may write its own votes and heartbeats
        and nothing else. A heartbeat is signed with the node's Machine key over a challenge of the constitution:
        that proves the key. The sandbox plays the five nodes and sends one every 10 s."""
    )
    stage.run(
        f"for node in {' '.join(scene.nodes)}; do\n"
        "  quorate node register $node --domain fleet -o name \\\n"
        "    --node-id \"$(kubectl get mn $node -o jsonpath='{.spec.nodeId}')\" | grep meshnode\n"
        "done",
        said=[f"/{node}" for node in scene.nodes],
    )
    scene.start_heartbeats("fleet")
    stage.run("kubectl wait td,mn,dc --all --for=condition=Ready --timeout=60s")
    stage.run("kubectl wait td/fleet --for=jsonpath='{.status.members.verified}'=5 --timeout=30s")
    stage.run("kubectl get quorate -A", said=["memory-rules", "fleet"])


def vote(scene: Scene) -> None:
    """A proposal opens; votes come by CLI and from a folder; four are refused or do not count, each with its reason."""
    stage = scene.stage
    stage.say(
        """Alice, of the first hub, proposes that 60 GiB become 72. The proposal is signed before it meets the
        cluster. Votes bind its digest, so nobody can change the question under the voters."""
    )
    documents = "-f fleet.yaml -f contract.yaml"
    stage.run(f"quorate propose -f proposal.yaml {documents} --key keys/alice.key --dry-run -o yaml > {PROPOSAL}.yaml")
    stage.run(f"kubectl apply -f {PROPOSAL}.yaml")
    stage.run(f"kubectl wait gp/{PROPOSAL} --for=condition=Ready --timeout=30s")
    stage.say(
        """Carol and Dave, the witnesses, vote offline, in files for the votes/ folder of a GitOps repository.
        Alice's first vote is such a file too; then she changes her mind, and votes again as Bob does: directly."""
    )
    offline = f"-f {PROPOSAL}.yaml -f fleet.yaml --dry-run -o yaml"
    for choice, who in (("approve", "carol"), ("reject", "dave")):
        stage.run(f"quorate vote {choice} {PROPOSAL} --key keys/{who}.key {offline} > votes/{who}.yaml")
    stage.run(
        f"quorate vote abstain {PROPOSAL} --key keys/alice.key {offline} | {_named('alice-first')} > alice-first.yaml"
    )
    stage.run("kubectl apply -f alice-first.yaml")
    stage.run("kubectl wait vt/alice-first --for=condition=Counted --timeout=30s")
    for who in ("alice", "bob"):
        stage.run(f"quorate vote approve {PROPOSAL} --key keys/{who}.key")
    _refusals(scene, offline)
    stage.say("Alice and Bob count, 6000 of 10000. The witnesses could still veto, so nothing is decided yet:")
    stage.run(f"kubectl get gp {PROPOSAL} -o wide", said=["Voting", "6000"], within=15)
    scene.check_tally(PROPOSAL, approve=6000, reject=0, abstain=0, veto=0, cast=6000, outstanding=4000, voters=2)
    stage.say("Now the repository's folder is synced:")
    stage.run("kubectl apply -f votes/", said=["-carol-", "-dave-"])
    stage.run(f"kubectl wait gp/{PROPOSAL} --for=condition=Succeeded --timeout=30s")
    stage.run(f"kubectl get gp {PROPOSAL} -o wide", said=["Adopted", "8000", "2000"])
    scene.check_tally(PROPOSAL, approve=8000, reject=2000, abstain=0, veto=0, cast=10000, outstanding=0, voters=4)


def _named(name: str) -> str:
    """The shell filter that gives a printed Vote another name; its signature does not cover the name."""
    return f"sed 's/^  name: .*/  name: {name}/'"


def _refusals(scene: Scene, offline: str) -> None:
    stage = scene.stage
    stage.say("Whoever may write to the cluster can try more. Four votes that must not count:")
    bob = f"--voter {scene.nodes['hub-b']} --key-name bob"
    stage.run(
        f"quorate vote reject {PROPOSAL} --key keys/eve.key {bob} \\\n"
        f"  {offline} 2> warning.txt | {_named('forged')} > forged.yaml"
    )
    stage.run(f"{_named('replayed')} alice-first.yaml > replayed.yaml")
    stage.run(
        "sed 's/72/80/' proposal.yaml > other.yaml && quorate propose -f other.yaml -f fleet.yaml -f contract.yaml \\\n"
        "  --key keys/alice.key --dry-run -o yaml > other-signed.yaml"
    )
    stage.run(
        f"quorate vote reject {PROPOSAL} --key keys/dave.key -f other-signed.yaml -f fleet.yaml --dry-run -o yaml \\\n"
        f"  | {_named('other-text')} > other-text.yaml"
    )
    stage.run(f"quorate vote approve {PROPOSAL} --key keys/eve.key {offline} | {_named('fork')} > fork.yaml")
    stage.run("kubectl apply -f forged.yaml -f replayed.yaml -f other-text.yaml -f fork.yaml")
    names = " ".join(f"vt/{name}" for name in REFUSED)
    stage.run(f"kubectl wait {names} --for=condition=Stalled --timeout=30s")
    stage.run("kubectl wait vt/alice-first vt/replayed --for=condition=Counted=false --timeout=30s")
    everything = REFUSED | NOT_COUNTED
    stage.run("kubectl get votes", said=list(everything), within=10)
    for name, (reason, why) in everything.items():
        stage.say(f"{why}: {reason}.")
        stage.run(
            f'kubectl get vt {name} -o jsonpath=\'{{.status.conditions[?(@.type=="Counted")].message}}{{"\\n"}}\''
        )
        scene.check_counted(name, reason)
    reasons = sorted({reason for reason, _ in everything.values()})
    stage.run("kubectl get events --field-selector type=Warning", said=reasons, within=15)


def execute(scene: Scene) -> None:
    """Adopted becomes executed; the evidence is verified offline; two attempts to get around a vote fail."""
    stage = scene.stage
    stage.say("The timelock passes, and the change comes into force:")
    stage.run(f"kubectl wait gp/{PROPOSAL} --for=jsonpath='{{.status.phase}}'=Executed --timeout=60s")
    stage.run("kubectl wait dc/memory-rules --for=condition=Ready --timeout=30s")
    stage.run("quorate contract show memory-rules", said=["72 GiB"], within=10)
    stage.run(f"quorate proposal show {PROPOSAL} -o wide", said=["Executed", "approve 8000"])
    stage.say(
        """The evidence is one file: every revision of the constitution, the electorate, the question, every vote,
        and the log's entries; the proof shows that the log holds those. Whoever has the pin needs neither cluster
        nor database:"""
    )
    stage.run(f"quorate proposal evidence {PROPOSAL} --out evidence.json --proof-out proof.json", within=60)
    stage.run(
        "KUBECONFIG=/dev/null quorate proposal verify evidence.json --proof proof.json \\\n"
        '  --pin "$(quorate domain pin -f fleet.yaml)"',
        said=["INTACT", "Adopted"],
    )
    _usurp(scene)
    _replace_content(scene)


def _usurp(scene: Scene) -> None:
    stage = scene.stage
    stage.say(
        """Somebody with every right on the cluster makes Eve's fork a hub, in a well-formed next revision. The
        admins' signatures are not on it:"""
    )
    digest = stage.quiet("kubectl get td fleet -o jsonpath='{.status.accepted.digest}'")
    patch = [
        {"op": "add", "path": "/spec/revision", "value": 2},
        {"op": "add", "path": "/spec/previousDigest", "value": digest},
        {"op": "replace", "path": "/spec/members/4/role", "value": "GovernanceHub"},
    ]
    stage.run(f"kubectl patch td fleet --type=json -p '{json.dumps(patch)}'")
    stage.run("kubectl wait td/fleet --for=condition=Authorized=false --timeout=30s")
    stage.run("quorate domain show fleet", code=1, said=["Revision:", "TrustFork", "Unauthorized"], within=10)
    stage.say("Revision 1 stays in force. The owner of the manifest puts the signed one back:")
    stage.run("kubectl replace -f fleet.yaml")
    stage.run("kubectl wait td/fleet --for=condition=Authorized --timeout=30s")


def _replace_content(scene: Scene) -> None:
    stage = scene.stage
    stage.say(
        """What is in force lies in an immutable ConfigMap named by its digest. Deleted, it is back before anybody
        can put another in its place; so the intruder stops the operator's process for that moment:"""
    )
    stage.export({"OPERATOR": str(scene.sandbox.pid("operator"))}, apply=True)
    content = "$(kubectl get dc memory-rules -o jsonpath='{.status.inForce.contentRef}')"
    stage.run(
        "kill -STOP $OPERATOR\n"
        f"kubectl get cm {content} -n quorate-system -o yaml \\\n"
        "  | sed 's/72 GiB/96 GiB/' | kubectl replace --force -f -\n"
        "kill -CONT $OPERATOR",
        said=["replaced"],
    )
    stage.run("kubectl get events --field-selector reason=Drifted", said=["Drifted"], within=30)
    stage.run('kubectl get dc memory-rules -o jsonpath=\'{.status.conditions[?(@.type=="Drifted")].message}{"\\n"}\'')
    stage.run(f'kubectl get cm {content} -n quorate-system -o jsonpath=\'{{.data.content}}\' | grep -o "[0-9]* GiB"',
              said=["72 GiB"], within=20)  # fmt: skip


CHAPTERS: Sequence[tuple[str, Callable[[Scene], None]]] = (
    ("A sandbox comes up", up),
    ("A constitution, five members, a contract", ready),
    ("A proposal, and who may decide it", vote),
    ("Adopted, executed, proven; and two ways around a vote", execute),
    ("The log, re-derived; and one byte of it changed", prove),
)
"""Title and teller of each chapter."""


def look_around(scene: Scene) -> None:
    """How to go on."""
    stage = scene.stage
    stage.say("The sandbox stays up. Look around:")
    stage.export({"PATH": f"{scene.folder / 'bin'}:$PATH", "KUBECONFIG": scene.short(scene.sandbox.kubeconfig)})
    stage.suggest(
        [
            f"cd {scene.folder}",
            "kubectl get quorate -A",
            f"quorate proposal show {PROPOSAL} -o wide",
            "quorate audit log",
            f"quorate sandbox logs operator --name {scene.sandbox.name}",
            f"quorate sandbox down --name {scene.sandbox.name}",
        ]
    )
