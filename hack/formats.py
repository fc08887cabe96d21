"""Write the examples of docs/formats.md between their markers: `python hack/formats.py`.

Every value follows from the seeds below; tests/unit/test_formats.py derives all of it again from the page alone.
"""

import base64
import json
import re
from pathlib import Path

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft, Tether, content_hash
from quorate.audit.merkle import inclusion_proof, root_of
from quorate.audit.record import GENESIS_HASH, Record, chain_hash, leaf_hash
from quorate.canonical import canonical_bytes, encode_base64, parse_time
from quorate.contracts.content import Content
from quorate.contracts.patch import Target, successor
from quorate.identity.ed25519 import public_key_of
from quorate.identity.statements import (
    act_statement,
    attestation_statement,
    heartbeat_statement,
    proposal_statement,
    recovery_statement,
    trust_domain_statement,
    vote_statement,
)
from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate.trust.domain import parse_domain

PAGE = Path(__file__).resolve().parents[1] / "docs/formats.md"
MESH, DOMAIN = "mesh", "acme"
HUB, WITNESS = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
CONTRACT = "6b1b36cb-1111-4222-8333-444455556666"
SEEDS = {
    name: bytes([number]) * 32
    for number, name in enumerate(["root", "rescue", "alice", "bob", "node-a", "node-b", "log", "witness"], 1)
}
LOG = SignerKey(f"{MESH}/{DOMAIN}", SEEDS["log"])


def public(name):
    return encode_base64(public_key_of(SEEDS[name]))


def statement_example(shape, statement, signer):
    """The object, and what its signature covers."""
    lines = [
        "The object:",
        block("json", json.dumps(shape, indent=2, ensure_ascii=False)),
        "The payload:",
        block("text", statement.payload.decode()),
        "| item | value |",
        "|---|---|",
        f"| payloadType | `{statement.payload_type}` |",
        f"| digest | `{statement.digest}` |",
        f"| seed | `{SEEDS[signer].hex()}` |",
        f"| publicKey | `{public(signer)}` |",
        f"| signature | `{statement.sign(SEEDS[signer])}` |",
    ]
    return "\n".join(lines)


def block(language, text):
    return f"```{language}\n{text}\n```"


def as_json(value):
    return block("json", json.dumps(value, indent=2, ensure_ascii=False))


GENESIS = Content.genesis(
    {"contractId": CONTRACT, "version": "v2026.01.05", "clauses": {"1": {"text": "Nodes keep logs for 30 days."}}}
)


def trust_domain():
    def member(node, role, weight, vote, machine, *more):
        keys = [
            {"purpose": "Vote", "name": vote, "publicKey": public(vote)},
            {"purpose": "Machine", "name": machine, "publicKey": public(machine), "notAfter": "2027-01-01T00:00:00Z"},
        ]
        return {"nodeId": node, "role": role, "weight": weight, "keys": [*keys, *more]}

    cosigner = SignerKey("witness.example", SEEDS["witness"], COSIGNATURE).verifier
    spec = {
        "meshId": MESH,
        "revision": 1,
        "homeHub": HUB,
        "admins": [{"name": "root", "publicKey": public("root")}],
        "adminThreshold": 1,
        "recovery": {
            "keys": [{"name": "rescue", "publicKey": public("rescue")}],
            "threshold": 1,
            "delaySeconds": 604800,
        },
        "log": {"origin": LOG.name, "keys": [str(LOG.verifier)]},
        "members": [
            member(HUB, "GovernanceHub", 60, "alice", "node-a"),
            member(
                WITNESS,
                "ComplianceWitness",
                40,
                "bob",
                "node-b",
                {"purpose": "Witness", "name": "cosigner", "publicKey": str(cosigner)},
            ),
        ],
        "contracts": [{"name": "house-rules", "contractId": CONTRACT, "genesisDigest": GENESIS.digest}],
        "phaseId": "5.5",
        "voting": {
            "Standard": {"quorumBasisPoints": 5000, "thresholdBasisPoints": 5000, "votingPeriodSeconds": 259200}
        },
    }
    statement = trust_domain_statement(DOMAIN, spec)
    return {**spec, "signatures": [{"name": "root", "signature": statement.sign(SEEDS["root"])}]}, statement


SPEC, DOMAIN_STATEMENT = trust_domain()


def signed(build, spec, signer):
    statement = build(spec)
    return {**spec, "signature": statement.sign(SEEDS[signer])}, statement, signer


PROPOSAL_SPEC, PROPOSAL, _ = signed(
    lambda spec: proposal_statement(MESH, "quorate-node-hub-a", "longer-logs", spec),
    {
        "trustDomain": DOMAIN,
        "proposer": HUB,
        "keyName": "alice",
        "type": "Standard",
        "target": {"kind": "DynamicContract", "name": "house-rules", "clause": "1"},
        "change": {
            "baseDigest": GENESIS.clause_digest("1"),
            "patch": [
                {"op": "replace", "path": "/text", "value": "Nodes keep logs for 90 days."},
                {"op": "add", "path": "/rule", "value": None},
                {"op": "remove", "path": "/rule"},
            ],
        },
        "revision": 1,
        "rationale": "The auditors ask for a quarter.",
    },
    "alice",
)


def metadata(namespace, name, spec):
    return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


def act(kind, by, digest, signer):
    shape = {"act": kind, "proposalDigest": digest, "by": by, "keyName": signer, "at": "2026-02-01T13:00:00Z"}
    return signed(lambda item: act_statement(MESH, DOMAIN, item), shape, signer)


def attestation(kind, subject, inner):
    spec = {"domain": DOMAIN, "attester": HUB, "keyName": "alice", "sequence": 1, "at": "2026-02-01T12:00:00Z"}
    if subject:
        spec["subject"] = subject
    spec |= {"type": kind, "expiresAt": "2026-08-01T00:00:00Z", "statement": inner}
    return signed(lambda item: attestation_statement(MESH, item), spec, "alice")


VOTE_SPEC, VOTE, _ = signed(
    lambda spec: vote_statement(MESH, spec),
    {
        "domain": DOMAIN,
        "proposal": {"namespace": "quorate-node-hub-a", "name": "longer-logs", "digest": PROPOSAL.digest},
        "revision": 1,
        "voter": WITNESS,
        "keyName": "bob",
        "choice": "Approve",
        "sequence": 0,
        "castAt": "2026-02-01T14:00:00Z",
    },
    "bob",
)
HEARTBEAT = {
    "nodeId": HUB,
    "renewTime": "2026-02-01T12:00:00Z",
    "challenge": "q83vEjRWeJA",
    "held": {CONTRACT: GENESIS.digest},
}
RECOVERY = {
    "revision": 2,
    "previousDigest": DOMAIN_STATEMENT.digest,
    "resultDigest": "sha256:" + "ab" * 32,
    "at": "2026-02-01T12:00:00Z",
}


def lease(heartbeat):
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": f"quorate-heartbeat-{DOMAIN}",
            "namespace": "quorate-node-hub-a",
            "labels": {"quorate.dev/heartbeat": "true"},
            "annotations": {"quorate.dev/heartbeat": json.dumps(heartbeat, sort_keys=True, separators=(",", ":"))},
        },
        "spec": {"holderIdentity": HUB, "leaseDurationSeconds": 180, "renewTime": "2026-02-01T12:00:00.000000Z"},
    }


def record_examples():
    second = parse_time("2026-02-01T12:00:00Z") * 1_000_000
    accepted = Draft(
        f"{MESH}/{DOMAIN}",
        None,
        "trust.domain.accepted",
        {"kind": "TrustDomain", "name": DOMAIN, "generation": 1},
        Tether("5.5"),
        second,
        question="trustdomain.accept",
        about=[DOMAIN_STATEMENT.digest],
        detail={"revision": 1, "digest": DOMAIN_STATEMENT.digest},
    )
    voted = Draft(
        VOTE.digest,
        None,
        "governance.vote.accepted",
        {"kind": "Vote", "namespace": "quorate-node-witness-b", "name": "yes"},
        Tether("5.5", "v2026.01.05", ("1",)),
        second + 7_200_000_000,
        actor_id=WITNESS,
        about=[PROPOSAL.digest],
        detail={"recordedAt": "2026-02-01T14:00:00Z"},
    )
    previous, leaves, records, parts = GENESIS_HASH, [], [], []
    for sequence, draft in enumerate((accepted, voted)):
        content = draft.content
        sealed = draft.timestamp + 1_500_000
        record = Record(LOG.name, 0, sequence, sealed, previous, content_hash(content), content)
        data = record.encode()
        leaf = leaf_hash(data)
        head = chain_hash(previous, leaf)
        leaves.append(leaf)
        records.append(data)
        rows = [
            ("subject key", draft.subject_key),
            ("entry_hash", record.entry_hash.hex()),
            ("epoch", 0),
            ("sequence", sequence),
            ("sealed", sealed),
            ("previous", previous.hex()),
            ("header", data[: -len(content)].hex()),
            ("leaf hash", leaf.hex()),
            ("chain hash", head.hex()),
        ]
        table = "\n".join(["| item | value |", "|---|---|", *(f"| {name} | `{value}` |" for name, value in rows)])
        parts += [f"Record {sequence}, its content:", block("text", content.decode()), table, ""]
        previous = head
    root = root_of(leaves)
    note = Checkpoint(LOG.name, 2, root).sign(LOG)
    parts += [
        f"The tree of both has root `{root.hex()}`; the log key is `{LOG.verifier}`, its seed `{LOG.seed.hex()}`.",
        "The checkpoint:",
        block("text", note.removesuffix("\n")),
    ]
    proven = {
        "index": 1,
        "record": base64.b64encode(records[1]).decode(),
        "path": [base64.b64encode(item).decode() for item in inclusion_proof(leaves, 1)],
    }
    proof = {
        "format": "quorate.dev/proof/v1",
        "evidenceDigest": "sha256:" + "cd" * 32,
        "chains": [{"origin": LOG.name, "checkpoint": note, "entries": [proven]}],
    }
    return "\n".join(parts), as_json(proof)


def examples():
    heartbeat, beat, _ = signed(lambda item: heartbeat_statement(MESH, DOMAIN, item), HEARTBEAT, "node-a")
    recovery = recovery_statement(MESH, DOMAIN, RECOVERY)
    announced = {**RECOVERY, "signatures": [{"name": "rescue", "signature": recovery.sign(SEEDS["rescue"])}]}
    cancel, cancelling, _ = act("CancelRecovery", "root", recovery.digest, "root")
    subject = {"kind": "MeshNode", "name": "witness-b"}
    shape, trust, _ = attestation("Trust", subject, {"weightBasisPoints": 5000})
    delegation, delegating, _ = attestation("Delegation", None, {"to": WITNESS, "types": ["Standard"]})
    electorate = parse_domain(DOMAIN, SPEC).electorate
    changed = successor(
        GENESIS,
        Target("1"),
        PROPOSAL_SPEC["change"],
        proposal_digest=PROPOSAL.digest,
        executed_at=parse_time("2026-02-05T12:00:00Z"),
    )
    log, proof = record_examples()
    found = {
        "trustdomain": statement_example({"metadata": {"name": DOMAIN}, "spec": SPEC}, DOMAIN_STATEMENT, "root"),
        "proposal": statement_example(metadata("quorate-node-hub-a", "longer-logs", PROPOSAL_SPEC), PROPOSAL, "alice"),
        "vote": statement_example(metadata("quorate-node-witness-b", "yes", VOTE_SPEC), VOTE, "bob"),
        "attestation": statement_example({"spec": shape}, trust, "alice"),
        "delegation": statement_example({"spec": delegation}, delegating, "alice"),
        "heartbeat": statement_example(heartbeat, beat, "node-a"),
        "lease": as_json(lease(heartbeat)),
        "recovery": statement_example(announced, recovery, "rescue"),
        "cancelrecovery": statement_example(cancel, cancelling, "root"),
        "electorate": block("text", canonical_bytes(electorate.document).decode())
        + f"\n\ndigest `{electorate.digest}`",
        "genesis": block("text", GENESIS.data.decode()) + f"\n\ndigest `{GENESIS.digest}`",
        "content": block("text", changed.data.decode()) + f"\n\ndigest `{changed.digest}`",
        "log": log,
        "proof": proof,
    }
    for kind, by, signer in (("Endorse", "root", "root"), ("Stop", "root", "root"), ("Withdraw", HUB, "alice")):
        shape, statement, _ = act(kind, by, PROPOSAL.digest, signer)
        found[kind.lower()] = statement_example(shape, statement, signer)
    return found


def main():
    text = PAGE.read_text()
    for name, body in examples().items():
        pattern = re.compile(rf"(<!-- example: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert len(pattern.findall(text)) == 1, name
        text = pattern.sub(lambda match, body=body: f"{match[1]}{body}\n{match[2]}", text)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
