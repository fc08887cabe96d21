"""Form of a TrustDomain: each rule of trust.md, "Form", as a row."""

from typing import Any

import pytest

from quorate.trust.form import FormError, check_domain_form
from tests.unit.trust.domains import (
    NAME,
    NODES,
    REMOVED,
    base_spec,
    changed,
    key,
    log_key,
    member,
    named,
    public,
    witness_key,
)

LOW_ORDER = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
STANDARD = "voting.Standard"
ADAPTIVE = {"startBasisPoints": 4000, "floorBasisPoints": 5000, "confirmSeconds": 60}

# Changes, field, reason, parts of the sentence: the value and the rule.
WRONG: list[tuple[dict[str, Any], str, str, tuple[str, ...]]] = [
    ({"adminThreshold": 0}, "spec.adminThreshold", "Invalid", ("0", "greater than or equal to 1")),
    ({"adminThreshold": 4}, "spec.adminThreshold", "Invalid", ("4", "between 1 and the number of keys, 3")),
    ({"admins": []}, "spec.admins", "Invalid", ("[]", "at least 1")),
    ({"admins.1.name": "ann"}, "spec.admins[1].name", "Invalid", ("'ann'", "unique")),
    ({"admins.1.publicKey": public("ann")}, "spec.admins[1].publicKey", "DuplicateKey", (public("ann"), "twice")),
    ({"admins.0.publicKey": LOW_ORDER}, "spec.admins[0].publicKey", "Invalid", (LOW_ORDER, "low order")),
    ({"admins.0.publicKey": "/" * 42 + "8"}, "spec.admins[0].publicKey", "Invalid", ("y >= p",)),
    ({"admins.0.publicKey": log_key("x")}, "spec.admins[0].publicKey", "Invalid", (log_key("x"), "43")),
    ({"recovery.threshold": 3}, "spec.recovery.threshold", "Invalid", ("3", "number of keys, 2")),
    ({"recovery.threshold": 0}, "spec.recovery.threshold", "Invalid", ("0", "greater than or equal to 1")),
    ({"recovery.keys.1.name": "rex"}, "spec.recovery.keys[1].name", "Invalid", ("'rex'", "unique")),
    (
        {"recovery.keys.1.publicKey": public("rex")},
        "spec.recovery.keys[1].publicKey",
        "DuplicateKey",
        (public("rex"), "twice"),
    ),
    ({"recovery.delaySeconds": 31_536_001}, "spec.recovery.delaySeconds", "Invalid", ("31536001", "31536000")),
    ({"log.origin": "mesh/other"}, "spec.log.origin", "Invalid", ("'mesh/other'", "mesh/acme")),
    ({"log.keys.0": witness_key("w")}, "spec.log.keys[0]", "Invalid", (witness_key("w"), "0x01")),
    ({"log.keys.1": log_key("log")}, "spec.log.keys[1]", "DuplicateKey", (log_key("log"), "twice")),
    ({"log.keys.1": log_key("log", "other")}, "spec.log.keys[1]", "DuplicateKey", ("other", "twice")),
    ({"log.keys.0": "mesh/acme+00000000+" + log_key("log").split("+", 2)[2]}, "spec.log.keys[0]", "Invalid", ("hash",)),
    ({"members.1.nodeId": NODES[0]}, "spec.members[1].nodeId", "Invalid", (NODES[0], "unique")),
    ({"members.1.nodeId": "node-b"}, "spec.members[1].nodeId", "Invalid", ("'node-b'", "match pattern")),
    ({"members.1.role": "King"}, "spec.members[1].role", "Invalid", ("'King'",)),
    ({"members.1.weight": REMOVED}, "spec.members[1].weight", "Invalid", ("required",)),
    ({"members.1.weight": -1}, "spec.members[1].weight", "Invalid", ("-1", "greater than or equal to 0")),
    ({"members.1.weight": 10_001}, "spec.members[1].weight", "Invalid", ("10001", "less than or equal to 10000")),
    ({"members.1.weight": True}, "spec.members[1].weight", "Invalid", ("True", "integer")),
    ({"members.1.weight": 1.0}, "spec", "Invalid", ("1.0", "floating-point")),
    (
        {"members.1.keys.0.publicKey": public("vote-0")},
        "spec.members[1].keys[0].publicKey",
        "DuplicateKey",
        (public("vote-0"), NODES[0]),
    ),
    (
        {"members.0.keys.1.publicKey": public("vote-0")},
        "spec.members[0].keys[1].publicKey",
        "DuplicateKey",
        (public("vote-0"), "once among all members"),
    ),
    (
        {"members.1.keys.1": key("w", "Witness", publicKey=witness_key("vote-0"))},
        "spec.members[1].keys[1].publicKey",
        "DuplicateKey",
        (witness_key("vote-0"), NODES[0]),
    ),
    (
        {"members.0.keys.2": key("more", name="vote-0")},
        "spec.members[0].keys[2].name",
        "Invalid",
        ("'vote-0'", "Vote keys"),
    ),
    ({"members.0.keys.0.publicKey": log_key("x")}, "spec.members[0].keys[0].publicKey", "Invalid", ("43 characters",)),
    ({"members.0.keys.0.publicKey": LOW_ORDER}, "spec.members[0].keys[0].publicKey", "Invalid", ("low order",)),
    ({"members.0.keys.0.purpose": "Witness"}, "spec.members[0].keys[0].publicKey", "Invalid", ("name+hash+base64",)),
    (
        {"members.0.keys.0": key("w", "Witness", publicKey=log_key("w"))},
        "spec.members[0].keys[0].publicKey",
        "Invalid",
        (log_key("w"), "0x04"),
    ),
    (
        {"members.0.keys.0.notAfter": "2026-02-30T00:00:00Z"},
        "spec.members[0].keys[0].notAfter",
        "Invalid",
        ("2026-02-30T00:00:00Z",),
    ),
    ({"members.0.keys.0.notAfter": "2026-02-03"}, "spec.members[0].keys[0].notAfter", "Invalid", ("'2026-02-03'",)),
    ({"members.0.voteThreshold": 2}, "spec.members[0].voteThreshold", "Invalid", ("2", "its Vote keys, 1")),
    ({"members.0.voteThreshold": 0}, "spec.members[0].voteThreshold", "Invalid", ("0", "greater than or equal to 1")),
    ({"contracts.1.name": "house"}, "spec.contracts[1].name", "Invalid", ("'house'", "unique")),
    ({"contracts.1.contractId": NODES[3]}, "spec.contracts[1].contractId", "Invalid", (NODES[3], "unique")),
    ({"revision": 0}, "spec.revision", "Invalid", ("0", "greater than or equal to 1")),
    ({"revision": 2}, "spec.previousDigest", "Invalid", ("absent", "revision 2 requires it")),
    ({"previousDigest": "sha256:" + "c" * 64}, "spec.previousDigest", "Invalid", ("c" * 64, "absent in revision 1")),
    ({f"{STANDARD}.thresholdBasisPoints": 10_000}, f"spec.{STANDARD}.thresholdBasisPoints", "Invalid", ("9999",)),
    ({f"{STANDARD}.thresholdBasisPoints": REMOVED}, f"spec.{STANDARD}.thresholdBasisPoints", "Invalid", ("requires",)),
    ({f"{STANDARD}.votingPeriodSeconds": REMOVED}, f"spec.{STANDARD}.votingPeriodSeconds", "Invalid", ("requires",)),
    ({f"{STANDARD}.votingPeriodSeconds": 31_536_001}, f"spec.{STANDARD}.votingPeriodSeconds", "Invalid", ("31536001",)),
    ({f"{STANDARD}.timelockSeconds": 31_536_001}, f"spec.{STANDARD}.timelockSeconds", "Invalid", ("31536001",)),
    ({f"{STANDARD}.quorumBasisPoints": REMOVED}, f"spec.{STANDARD}.quorumBasisPoints", "Invalid", ("neither",)),
    (
        {f"{STANDARD}.adaptiveQuorum": {**ADAPTIVE, "floorBasisPoints": 1}},
        f"spec.{STANDARD}.quorumBasisPoints",
        "Invalid",
        ("both", "exactly one"),
    ),
    (
        {f"{STANDARD}.quorumBasisPoints": REMOVED, f"{STANDARD}.adaptiveQuorum": ADAPTIVE},
        f"spec.{STANDARD}.adaptiveQuorum.floorBasisPoints",
        "Invalid",
        ("5000", "startBasisPoints, 4000"),
    ),
    *(
        ({f"voting.{kind}": {name: 60}}, f"spec.voting.{kind}.{other}", "Invalid", (f"{kind} requires it",))
        for kind, name, other in (
            ("Optimistic", "votingPeriodSeconds", "objectionBasisPoints"),
            ("Optimistic", "objectionBasisPoints", "votingPeriodSeconds"),
            ("Emergency", "votingPeriodSeconds", "ratificationSeconds"),
            ("Emergency", "ratificationSeconds", "votingPeriodSeconds"),
            ("Expedited", "quorumBasisPoints", "thresholdBasisPoints"),
            ("Constitutional", "quorumBasisPoints", "thresholdBasisPoints"),
        )
    ),
    ({f"{STANDARD}": REMOVED}, "spec.voting.Emergency", "Invalid", ("needs Standard",)),
    ({"voting.Quadratic": {}}, "spec.voting.Quadratic", "Invalid", ("not permitted",)),
    ({"surprise": 1}, "spec.surprise", "Invalid", ("1", "not permitted")),
    ({"parent": "lone\ud800"}, "spec", "Invalid", ("/parent", "lone surrogate")),
    ({"members": [member(0)] * 1025}, "spec.members", "Invalid", ("at most 1024",)),
    (
        {"contracts": [{"name": "c", "contractId": NODES[3], "genesisDigest": "sha256:" + "a" * 64}] * 1025},
        "spec.contracts",
        "Invalid",
        ("at most 1024",),
    ),
    ({"parent": "x" * (768 * 1024)}, "spec", "TooLarge", ("bytes, more than 786432",)),
]

RIGHT: list[dict[str, Any]] = [
    {},
    {"adminThreshold": 3},
    {"admins": named("ann"), "adminThreshold": 1},
    {"recovery": REMOVED},
    {"log": REMOVED},
    {"contracts": REMOVED},
    {"voting": REMOVED},
    {"members": []},
    {"admins.0.publicKey": public("vote-0")},
    {"recovery.keys.0.publicKey": public("ann")},
    {"members.0.keys": REMOVED},
    {"members.0.keys.0.name": "machine-0"},
    {"members.1.keys.0.name": "vote-0"},
    {"members.0.keys.2": key("second"), "members.0.voteThreshold": 2},
    {"members.0.keys.2": key("w", "Witness", publicKey=witness_key("w"))},
    {"members.0.weight": 0, "members.1.weight": 10_000},
    {f"{STANDARD}.votingPeriodSeconds": 31_536_000, f"{STANDARD}.thresholdBasisPoints": 9999},
    {f"{STANDARD}.quorumBasisPoints": REMOVED, f"{STANDARD}.adaptiveQuorum": {**ADAPTIVE, "floorBasisPoints": 4000}},
    {"recovery": None, "parent": None, "voting.Expedited": None, "members.0.voteThreshold": None},
]


@pytest.mark.parametrize(("changes", "field", "reason", "parts"), WRONG, ids=lambda item: str(item)[:60])
def test_wrong_form(changes: dict[str, Any], field: str, reason: str, parts: tuple[str, ...]) -> None:
    """A wrong form is refused by a sentence that names the field, the value and the rule."""
    with pytest.raises(FormError) as caught:
        check_domain_form(NAME, changed(base_spec(), changes))
    assert (caught.value.field, caught.value.reason) == (field, reason)
    for part in (field, *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("changes", RIGHT, ids=lambda item: str(item)[:60])
def test_right_form(changes: dict[str, Any]) -> None:
    """At the limits, and without what is optional, the form is right."""
    check_domain_form(NAME, changed(base_spec(), changes))


def test_1024_members_are_allowed() -> None:
    """A domain may have 1024 members."""
    members = [
        {"nodeId": f"{index:08x}-0000-4000-8000-000000000000", "role": "TrustFork", "weight": 1}
        for index in range(1024)
    ]
    check_domain_form(NAME, changed(base_spec(), {"members": members}))
