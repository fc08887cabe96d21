"""Bad manifests of every kind but TrustDomain, each with the exact sentence that the API server must answer."""

from tests.slice.bad_trust_domains import TRUST_DOMAINS
from tests.slice.refusals import (
    ACT,
    DIGEST,
    REMOVED,
    SIGNATURE,
    TIME,
    UPPER_CASE,
    Bad,
    at_least,
    at_most,
    matches,
    required,
    rule,
    too_long,
    unsupported,
)

CREATED = [
    *TRUST_DOMAINS,
    Bad(
        "MeshNode",
        {"spec.nodeId": UPPER_CASE},
        matches(
            "spec.nodeId",
            "3F0A1C5E-7B2D-4C89-9E31-5A6B7C8D9E01",
            r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        ),
    ),
    Bad("MeshNode", {"spec.nodeId": REMOVED}, required("spec.nodeId")),
    Bad("MeshNode", {"spec.heartbeat.intervalSeconds": 9}, at_least("spec.heartbeat.intervalSeconds", 9, 10)),
    Bad(
        "MeshNode",
        {"spec.heartbeat.graceSeconds": 30},
        rule("spec.heartbeat", "graceSeconds 30 must be at least intervalSeconds 60"),
    ),
    Bad(
        "MeshNode",
        {"spec.connections.0.type": "direct"},
        unsupported("spec.connections[0].type", "direct", "Direct", "Relay", "Backup"),
    ),
    Bad(
        "MeshNode",
        {"spec.privileges": ["ProposePolicy", "ProposePolicy"]},
        'spec.privileges[1]: Duplicate value: "ProposePolicy"',
    ),
    Bad(
        "MeshNode",
        {"spec.surprise": 1},
        (
            'MeshNode in version "v1alpha1" cannot be handled as a MeshNode: strict decoding error: unknown field'
            ' "spec.surprise"'
        ),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.type": "Fast"},
        unsupported("spec.type", "Fast", "Standard", "Expedited", "Constitutional", "Emergency", "Optimistic"),
    ),
    Bad("GovernanceProposal", {"spec.signature": REMOVED}, rule("spec", "signature is required unless draft is true")),
    Bad(
        "GovernanceProposal", {"spec.draft": True}, rule("spec", "draft excludes signature: signing opens the proposal")
    ),
    Bad(
        "GovernanceProposal",
        {"spec.target.clause": REMOVED},
        rule("spec.target", "a DynamicContract target requires exactly one of clause and section"),
    ),
    Bad(
        "GovernanceProposal", {"spec.target.clause": "5.x"}, matches("spec.target.clause", "5.x", r"[0-9]+([.][0-9]+)*")
    ),
    Bad(
        "GovernanceProposal",
        {"spec.target": {"kind": "DynamicContract", "name": "a", "section": "surfaces"}},
        rule("spec", "type Standard cannot change the surfaces: Constitutional is required"),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.target": {"kind": "TrustDomain", "name": "fleet"}},
        (
            "[spec: Invalid value: change.patch is required for a DynamicContract and excluded for a TrustDomain,"
            " spec: Invalid value: change.resultDigest is required for a TrustDomain and excluded for a DynamicCo"
            "ntract, spec: Invalid value: type Standard cannot authorise a revision of a TrustDomain: Constitutio"
            "nal is required]"
        ),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.change.baseDigest": "sha256:abc"},
        matches("spec.change.baseDigest", "sha256:abc", r"sha256:[0-9a-f]{64}"),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.change.patch": []},
        rule("spec.change.patch", "0: spec.change.patch in body should have at least 1 items"),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.change.patch": REMOVED},
        rule("spec", "change.patch is required for a DynamicContract and excluded for a TrustDomain"),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.change.patch.0.from": "/text"},
        rule("spec.change.patch[0]", "from is required for move and copy, and excluded otherwise: op is test"),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.change.patch.0.value": REMOVED},
        (
            "governanceproposals.quorate.dev \"NAME\" is forbidden: ValidatingAdmissionPolicy 'quorate-patch-value'"
            " with binding 'quorate-patch-value' denied request: spec.change.patch: op test requires value; if it"
            " is null, use kubectl apply --server-side: plain kubectl apply drops null"
        ),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.change.patch.0.op": "delete"},
        unsupported("spec.change.patch[0].op", "delete", "add", "remove", "replace", "move", "copy", "test"),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.domains": ["fleet"]},
        rule("spec", "domains must be empty or name at least two domains"),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.domains": ["north", "south"]},
        rule("spec", "domains must include trustDomain fleet"),
    ),
    Bad(
        "GovernanceProposal",
        {"spec.domains": ["fleet", "south"], "spec.type": "Expedited"},
        rule("spec", "type Expedited excludes domains"),
    ),
    Bad("GovernanceProposal", {"spec.rationale": "x" * 4097}, too_long("spec.rationale", 4096)),
    Bad("GovernanceProposal", {"spec.revision": 0}, at_least("spec.revision", 0, 1)),
    Bad("GovernanceProposal", {"spec.endorsements": [ACT]}, rule("spec", "endorsements may hold acts Endorse only")),
    Bad(
        "Vote",
        {"spec.choice": "Maybe"},
        unsupported(
            "spec.choice", "Maybe", "Approve", "Reject", "Abstain", "Veto", "Retract", "PartyA", "PartyB", "Compromise"
        ),
    ),
    Bad(
        "Vote",
        {"spec.voter": "witness-a"},
        matches("spec.voter", "witness-a", r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
    ),
    Bad("Vote", {"spec.sequence": -1}, at_least("spec.sequence", -1, 0)),
    Bad("Vote", {"spec.sequence": 9007199254740992}, at_most("spec.sequence", 9007199254740992, 9007199254740991)),
    Bad(
        "Vote",
        {"spec.castAt": ["2026-11-21T12:00:00Z"]},
        'spec.castAt: Invalid value: "array": spec.castAt in body must be of type string: "array"',
    ),
    Bad("Vote", {"spec.castAt": "2026-11-21T12:00:00.5Z"}, too_long("spec.castAt", 20)),
    Bad(
        "Vote",
        {"spec.castAt": "2026-13-21T12:00:00Z"},
        matches("spec.castAt", "2026-13-21T12:00:00Z", TIME),
    ),
    Bad("Vote", {"spec.signature": SIGNATURE + "=="}, too_long("spec.signature", 86)),
    Bad("Vote", {"spec.proposal.digest": REMOVED}, required("spec.proposal.digest")),
    Bad(
        "PolicyConflict",
        {"spec.severity": "Huge"},
        unsupported("spec.severity", "Huge", "Low", "Medium", "High", "Critical"),
    ),
    Bad(
        "PolicyConflict",
        {"spec.parties": []},
        rule("spec.parties", "0: spec.parties in body should have at least 2 items"),
    ),
    Bad(
        "PolicyConflict",
        {"spec.arbitrators": ["3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"] * 6},
        "spec.arbitrators: Too many: 6: must have at most 5 items",
    ),
    Bad(
        "Attestation",
        {"spec.type": "Gossip"},
        unsupported(
            "spec.type",
            "Gossip",
            "Trust",
            "ContractHeld",
            "ContractChange",
            "Compliance",
            "BoundaryCrossing",
            "Delegation",
            "Recovery",
            "CancelRecovery",
            "Resume",
        ),
    ),
    Bad("Attestation", {"spec.statement": REMOVED}, required("spec.statement")),
    Bad(
        "Attestation",
        {"spec.expiresAt": "tomorrow"},
        matches("spec.expiresAt", "tomorrow", TIME),
    ),
    Bad(
        "DynamicContract",
        {"spec.genesis.version": "1.0"},
        matches("spec.genesis.version", "1.0", r"v[0-9]{4}[.][0-9]{2}[.][0-9]{2}(-[1-9][0-9]{0,5})?"),
    ),
    Bad(
        "DynamicContract",
        {"spec.genesis.contractId": "fleet-rules"},
        matches(
            "spec.genesis.contractId", "fleet-rules", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
        ),
    ),
    Bad(
        "DynamicContract",
        {"spec.genesis.clauses": {"intro": {"text": "Hello."}}},
        rule("spec.genesis", "clauses holds the name intro, which is not a clause id: numbers joined by dots"),
    ),
    Bad(
        "DynamicContract", {"spec.genesis.clauses": {"1": {"title": "Empty"}}}, required("spec.genesis.clauses.1.text")
    ),
    Bad(
        "DynamicContract",
        {"spec.genesis.clauses": {"1": {"text": "x" * 4097}}},
        too_long("spec.genesis.clauses.1.text", 4096),
    ),
    Bad(
        "DynamicContract",
        {"spec.genesis.clauses": {"1": {"text": "a", "minimumType": "Any"}}},
        unsupported(
            "spec.genesis.clauses.1.minimumType",
            "Any",
            "Standard",
            "Expedited",
            "Constitutional",
            "Emergency",
            "Optimistic",
        ),
    ),
    Bad(
        "DynamicContract",
        {"spec.genesis.surfaces.cold.rateLimitTier": "Endless"},
        unsupported(
            "spec.genesis.surfaces.cold.rateLimitTier", "Endless", "Restricted", "Standard", "Extended", "Unlimited"
        ),
    ),
    Bad(
        "ContractSync", {"spec.targets": {}}, rule("spec.targets", "targets requires exactly one of nodes and selector")
    ),
    Bad(
        "ContractSync",
        {"spec.targets.nodes": ["hub-a"]},
        rule("spec.targets", "targets requires exactly one of nodes and selector"),
    ),
    Bad(
        "ContractSync",
        {"spec.mode": "Partial"},
        unsupported("spec.mode", "Partial", "Full", "Incremental", "Diff", "Auto"),
    ),
    Bad(
        "ContractSync",
        {"spec.rollout.waves.0.percentBasisPoints": 0},
        at_least("spec.rollout.waves[0].percentBasisPoints", 0, 1),
    ),
    Bad("AuditCheckpoint", {"spec.verify": "Some"}, unsupported("spec.verify", "Some", "None", "SinceLast", "Full")),
    Bad("AuditCheckpoint", {"spec.chain": "two words"}, matches("spec.chain", "two words", r"[^\s]+")),
    Bad("MissionPolicy", {"spec.mode": "Strict"}, unsupported("spec.mode", "Strict", "Audit", "Warn", "Enforce")),
    Bad(
        "MissionPolicy",
        {"spec.memory.limit": "20 gigabytes"},
        matches("spec.memory.limit", "20 gigabytes", r"[0-9]+([.][0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?"),
    ),
    Bad(
        "MissionPolicy",
        {"spec.memory.warnBasisPoints": 9600},
        rule("spec.memory", "warnBasisPoints 9600 must not exceed cleanupBasisPoints 9500"),
    ),
    Bad(
        "MissionPolicy",
        {"spec.latency.quantile": 0.99},
        (
            'spec.latency.quantile: Invalid value: "float64": spec.latency.quantile in body must be of type int32'
            ': "float64", <nil>: Invalid value: "": Checked value must be of type integer with format int32 in sp'
            "ec.latency.quantile, spec.latency.quantile: Invalid value: 0.99: spec.latency.quantile in body shoul"
            "d be greater than or equal to 1"
        ),
    ),
]
"""Refused when the object is created."""

CHANGED = [
    Bad(
        "MeshNode",
        {"spec.nodeId": "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e09"},
        rule(
            "spec",
            "nodeId 3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e09 differs from 3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01: "
            "nodeId is immutable",
        ),
    ),
    Bad("Vote", {"spec.choice": "Reject"}, rule("spec", "choice Reject differs from Approve: choice is immutable")),
    Bad(
        "Vote",
        {"spec.proposal.digest": DIGEST},
        rule("spec", "proposal is immutable: delete the object and create it anew"),
    ),
    Bad("Vote", {"spec.sequence": 2}, rule("spec", "sequence 2 differs from 1: sequence is immutable")),
    Bad(
        "Vote",
        {"spec.rationale": REMOVED},
        rule("spec", "rationale is immutable: delete the object and create it anew"),
    ),
    Bad(
        "Attestation",
        {"spec.statement": {"weightBasisPoints": 1}},
        rule("spec", "statement is immutable: delete the object and create it anew"),
    ),
    Bad(
        "Attestation",
        {"spec.expiresAt": REMOVED},
        rule("spec", "expiresAt nothing differs from 2027-05-21T12:00:00Z: expiresAt is immutable"),
    ),
    Bad(
        "DynamicContract",
        {"spec.trustDomain": "other"},
        rule("spec", "trustDomain other differs from fleet: trustDomain is immutable"),
    ),
    Bad(
        "DynamicContract",
        {"spec.genesis.version": "v2027.01.01"},
        rule("spec", "genesis is immutable: delete the object and create it anew"),
    ),
]
"""Refused when an existing object is changed."""
