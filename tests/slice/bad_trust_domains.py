"""Bad TrustDomains, each with the exact sentence that the API server must answer."""

from tests.slice.refusals import (
    REMOVED,
    SIGNATURE,
    Bad,
    at_least,
    at_most,
    matches,
    required,
    rule,
    unsupported,
)

TRUST_DOMAINS = [
    Bad(
        "TrustDomain",
        {"spec.members.0.role": "King"},
        unsupported("spec.members[0].role", "King", "GovernanceHub", "ComplianceWitness", "TrustFork"),
    ),
    Bad("TrustDomain", {"spec.members.0.weight": 10001}, at_most("spec.members[0].weight", 10001, 10000)),
    Bad("TrustDomain", {"spec.members.0.weight": REMOVED}, required("spec.members[0].weight")),
    Bad(
        "TrustDomain",
        {"spec.members.0.keys.0.publicKey": "AAAA"},
        matches(
            "spec.members[0].keys[0].publicKey",
            "AAAA",
            r"([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]|[^\s+]+[+][0-9a-f]{8}[+][A-Za-z0-9+/]+=*)",
        ),
    ),
    Bad(
        "TrustDomain",
        {"spec.admins.0.publicKey": "A" * 42 + "B"},
        matches(
            "spec.admins[0].publicKey",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
            r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]",
        ),
    ),
    Bad(
        "TrustDomain",
        {"spec.adminThreshold": 3},
        rule("spec", "adminThreshold 3 must not exceed the number of admins, 2"),
    ),
    Bad("TrustDomain", {"spec.adminThreshold": 0}, at_least("spec.adminThreshold", 0, 1)),
    Bad(
        "TrustDomain",
        {"spec.recovery.threshold": 2},
        rule("spec", "recovery.threshold 2 must not exceed the number of recovery.keys, 1"),
    ),
    Bad(
        "TrustDomain",
        {"spec.revision": 2},
        rule("spec", "previousDigest is required from revision 2 on: revision is 2"),
    ),
    Bad("TrustDomain", {"spec.phaseId": "five"}, matches("spec.phaseId", "five", r"[0-9]+([.][0-9]+)*")),
    Bad("TrustDomain", {"spec.phaseId": REMOVED}, required("spec.phaseId")),
    Bad(
        "TrustDomain",
        {"spec.voting.Standard.thresholdBasisPoints": 10000},
        at_most("spec.voting.Standard.thresholdBasisPoints", 10000, 9999),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting.Standard.quorumBasisPoints": 10001},
        at_most("spec.voting.Standard.quorumBasisPoints", 10001, 10000),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting.Standard.quorumBasisPoints": 50.5},
        (
            'spec.voting.Standard.quorumBasisPoints: Invalid value: "float64": spec.voting.Standard.quorumBasisPo'
            'ints in body must be of type int32: "float64", <nil>: Invalid value: "": Checked value must be of ty'
            "pe integer with format int32 in spec.voting.Standard.quorumBasisPoints"
        ),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting.Standard.quorumBasisPoints": REMOVED},
        rule("spec.voting", "Standard requires exactly one of quorumBasisPoints and adaptiveQuorum"),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting.Standard.votingPeriodSeconds": 31536001},
        at_most("spec.voting.Standard.votingPeriodSeconds", 31536001, 31536000),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting.Standard.votingPeriodSeconds": REMOVED},
        rule("spec.voting", "Standard requires thresholdBasisPoints and votingPeriodSeconds"),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting.Constitutional.quorumBasisPoints": 5000},
        rule("spec.voting", "Constitutional requires exactly one of quorumBasisPoints and adaptiveQuorum"),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting.Constitutional.adaptiveQuorum.floorBasisPoints": 9001},
        rule(
            "spec.voting.Constitutional.adaptiveQuorum", "floorBasisPoints 9001 must not exceed startBasisPoints 9000"
        ),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting.Emergency.ratificationSeconds": REMOVED},
        rule("spec.voting", "Emergency requires votingPeriodSeconds and ratificationSeconds"),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting.Optimistic.objectionBasisPoints": REMOVED},
        rule("spec.voting", "Optimistic requires votingPeriodSeconds and objectionBasisPoints"),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting": {"Emergency": {"votingPeriodSeconds": 1, "ratificationSeconds": 1}}},
        rule("spec.voting", "Emergency requires Standard: it falls back on it"),
    ),
    Bad(
        "TrustDomain",
        {"spec.voting.Casual": {"votingPeriodSeconds": 1}},
        (
            'TrustDomain in version "v1alpha1" cannot be handled as a TrustDomain: strict decoding error: unknown'
            ' field "spec.voting.Casual"'
        ),
    ),
    Bad(
        "TrustDomain",
        {"spec.localOverridesPermitted": {"hub": ["5.5"]}},
        rule("spec", "localOverridesPermitted holds the name hub, which is not a nodeId"),
    ),
    Bad(
        "TrustDomain",
        {"spec.signatures.0.signature": SIGNATURE[:-1] + "B"},
        matches(
            "spec.signatures[0].signature",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
            r"[A-Za-z0-9+/]{85}[AQgw]",
        ),
    ),
]
"""Refused when the object is created."""
