"""docs/formats.md: each example is derived again, by Quorate's code and by the page's own rules."""

import base64
import json
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from quorate.canonical import parse_json, parse_time
from quorate.contracts.content import NULL_DIGEST, Content
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import (
    Statement,
    act_statement,
    attestation_statement,
    heartbeat_statement,
    proposal_statement,
    recovery_statement,
    resume_statement,
    trust_domain_statement,
    vote_statement,
)
from quorate.identity.vkey import parse_verifier_key
from quorate.trust.attestations import check_attestation_form
from quorate.trust.domain import AcceptedRevision, DomainHistory, DomainRevision, parse_domain
from quorate.trust.heartbeat import judge_heartbeat
from quorate.trust.revisions import announcement_verdict, check_revision, signers

DOCS = Path(__file__).resolve().parents[2] / "docs"
# The log's page goes on with the example of formats.md, so names are unique on both.
PAGE = "\n".join((DOCS / name).read_text(encoding="utf-8") for name in ("formats.md", "audit-format.md"))
MESH, DOMAIN = "mesh.example", "fleet"
EXAMPLES = ("trustdomain", "proposal", "removal", "vote", "act", "attestation", "heartbeat", "recovery", "resume")
KIND = {name: "proposal" if name == "removal" else name for name in EXAMPLES}
PROPOSAL_NAMES = {"proposal": "lower-ceiling", "removal": "drop-warning"}


@cache
def fences() -> dict[str, str]:
    """The content of each fenced block by what stands behind its language."""
    found = re.findall(r"^```(?:json|text) ([^\n]+)\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == len(dict(found))
    return dict(found)


def obj(info: str) -> Any:
    return json.loads(fences()[info])


def facts(info: str) -> dict[str, str]:
    """The two-column table that follows a block: name → the first `code` of the value."""
    rest = PAGE.split(f" {info}\n", 1)[1].split("\n```\n", 1)[1]
    rows = re.match(r"\n(?:\|[^\n]*\|\n)+", rest)
    assert rows is not None
    return dict(re.findall(r"^\| ([^|`]+) \| `([^`]+)`", rows[0], re.MULTILINE))


def rows(header: str) -> list[list[str]]:
    """The cells of the table under a header line, without backquotes."""
    lines = PAGE.split(header + "\n", 1)[1].splitlines()[1:]
    table = lines[: next(i for i, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in table]


def seed(name: str) -> Ed25519PrivateKey:
    seeds = {row[0]: row[1] for row in rows("| key | seed (hexadecimal) | public key |")}
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seeds[name]))


def plain(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def by_code(name: str) -> Statement:
    """The statement of an example's object, by Quorate's code."""
    spec = obj(f"object {name}")
    match KIND[name]:
        case "trustdomain":
            return trust_domain_statement(DOMAIN, spec)
        case "proposal":
            return proposal_statement(MESH, "governance", PROPOSAL_NAMES[name], spec)
        case "vote":
            return vote_statement(MESH, spec)
        case "act":
            return act_statement(MESH, DOMAIN, spec)
        case "attestation":
            return attestation_statement(MESH, spec)
        case "heartbeat":
            return heartbeat_statement(MESH, DOMAIN, spec)
        case "resume":
            return resume_statement(spec)
        case _:
            return recovery_statement(MESH, DOMAIN, spec)


def by_page(name: str) -> bytes:
    """The payload of an example's object, by the page's table of fields and nothing of Quorate's code."""
    spec = obj(f"object {name}")
    if name == "trustdomain":
        spec.pop("signatures")
        return rfc8785.dumps({**spec, "name": DOMAIN})
    table = dict(rows("| statement | fields |"))
    fields = set(re.findall(r"\w+", table[KIND[name]]))
    around = {"meshId": MESH, "namespace": "governance", "name": PROPOSAL_NAMES.get(name)}
    around["domain"] = spec.get("trustDomain") or spec.get("domain") or DOMAIN
    if "rationale" in spec:
        around["rationaleDigest"] = digest(spec["rationale"].encode())
    if name == "vote":
        around["proposalDigest"] = spec["proposal"]["digest"]
    return rfc8785.dumps({field: value for field, value in {**spec, **around}.items() if field in fields})


@pytest.mark.parametrize("name", EXAMPLES)
def test_payloads(name: str) -> None:
    """Each payload on the page is what the code signs, and what the table of fields and RFC 8785 give."""
    payload = fences()[f"payload {name}"].encode()
    assert by_code(name).payload == payload
    assert by_page(name) == payload


@pytest.mark.parametrize("name", EXAMPLES)
def test_signatures(name: str) -> None:
    """Payload type, signed bytes, digest and signature of each example follow from payload and seed."""
    told, payload = facts(f"payload {name}"), fences()[f"payload {name}"].encode()
    statement, key = by_code(name), seed(told["key"])
    prefix = f"DSSEv1 {len(told['payloadType'])} {told['payloadType']} {len(payload)} "
    assert told["payloadType"] == f"application/vnd.quorate.{KIND[name]}.v1+json" == statement.payload_type
    assert told["signed bytes"] == prefix.strip()
    assert statement.signing_bytes == prefix.encode() + payload
    assert told["digest"] == digest(payload) == statement.digest
    assert told["signature"] == plain(key.sign(prefix.encode() + payload))
    assert statement.verify(key.public_key().public_bytes_raw(), told["signature"])


@pytest.mark.parametrize("name", sorted({*EXAMPLES} - {"trustdomain", "recovery"}))
def test_objects_carry_their_signature(name: str) -> None:
    """The `signature` in each object is the one that is derived."""
    assert obj(f"object {name}")["signature"] == facts(f"payload {name}")["signature"]


def test_keys() -> None:
    """Each public key on the page is that of its seed, in 43 characters that the code reads back."""
    for name, _, public in rows("| key | seed (hexadecimal) | public key |"):
        raw = seed(name).public_key().public_bytes_raw()
        assert public == plain(raw)
        assert len(public) == 43
        assert parse_public_key(public) == raw


def test_verifier_keys() -> None:
    """Each C2SP verifier key follows from name, algorithm and key by the page's rule."""
    for key, name, algorithm, text in rows("| key | name | algorithm | verifier key |"):
        typed = bytes.fromhex(algorithm) + seed(key).public_key().public_bytes_raw()
        identity = sha256(name.encode() + b"\n" + typed).digest()[:4].hex()
        assert text == f"{name}+{identity}+{base64.b64encode(typed).decode()}"
        assert str(parse_verifier_key(text)) == text


def revision() -> DomainRevision:
    return parse_domain(DOMAIN, obj("object trustdomain"))


def test_the_revision_is_accepted() -> None:
    """The TrustDomain of the page is authorised by its two admins and equal to its pin."""
    spec = obj("object trustdomain")
    verdict = check_revision(DOMAIN, spec, None, pin=facts("payload trustdomain")["digest"], now=0)
    assert verdict.accepted
    assert signers(by_code("trustdomain"), spec["signatures"], revision().admins) == {"admin-one", "admin-two"}


def test_electorate() -> None:
    """The electorate on the page is that of the TrustDomain on the page: learners and forks are not in it."""
    text = fences()["electorate"].encode()
    electorate = revision().electorate
    assert rfc8785.dumps(electorate.document) == text
    assert f"Digest: `{digest(text)}`" in PAGE
    assert electorate.digest == digest(text)
    votes = [item["nodeId"] for item in obj("object trustdomain")["members"] if item["role"] != "TrustFork"]
    assert [item["nodeId"] for item in json.loads(text)["members"]] == sorted(votes)


def test_contract_content() -> None:
    """The genesis on the page is the one that the TrustDomain lists, and the proposals are based on its clauses."""
    text = fences()["contract"].encode()
    content = Content.parse(text)
    assert content.digest == digest(text) == obj("object trustdomain")["contracts"][0]["genesisDigest"]
    assert f"Digest: `{content.digest}`; clause 2.1: `{content.clause_digest('2.1')}`" in PAGE
    assert f"a clause that does not exist: `{digest(b'null')}`" in PAGE
    assert digest(b"null") == NULL_DIGEST
    for name, clause in (("proposal", "2.1"), ("removal", "2.2")):
        base = digest(rfc8785.dumps(json.loads(text)["clauses"][clause]))
        assert obj(f"object {name}")["change"]["baseDigest"] == base == content.clause_digest(clause)


def test_acts_and_votes_bind_the_proposal() -> None:
    """Vote and act of the page name the digest of its proposal."""
    told = facts("payload proposal")["digest"]
    assert obj("object vote")["proposal"]["digest"] == told == obj("object act")["proposalDigest"]


def test_heartbeat_lease() -> None:
    """The Lease carries the signed heartbeat of the page, and a Machine key of the node signed it."""
    lease, heartbeat = obj("lease"), obj("object heartbeat")
    assert json.loads(lease["metadata"]["annotations"]["quorate.dev/heartbeat"]) == heartbeat
    assert "quorate.dev/heartbeat" in lease["metadata"]["labels"]
    now = parse_time(heartbeat["renewTime"])
    beat = judge_heartbeat(revision(), heartbeat["nodeId"], heartbeat, {heartbeat["challenge"]}, now=now)
    assert beat.verified
    assert beat.key_name == "machine"


def test_recovery_travels_in_an_attestation() -> None:
    """The recovery in its Attestation is the announcement of the page, and it may be announced."""
    spec = obj("attestation Recovery")
    assert spec["statement"] == obj("object recovery")
    assert attestation_statement(MESH, spec).verify(seed("bob").public_key().public_bytes_raw(), spec["signature"])
    assert announcement_verdict(by_code("recovery"), spec["statement"]["signatures"], revision()) is None


def test_cancellation_travels_in_an_attestation() -> None:
    """The cancellation in its Attestation names the recovery's digest and is signed by the admin that it names."""
    spec = obj("attestation CancelRecovery")
    (act,) = spec["statement"]["acts"]
    assert act["proposalDigest"] == facts("payload recovery")["digest"]
    assert act["by"] == act["keyName"]
    assert act_statement(MESH, DOMAIN, act).verify(revision().admins[act["by"]], act["signature"])
    assert attestation_statement(MESH, spec).verify(seed("bob").public_key().public_bytes_raw(), spec["signature"])


def test_resumption_travels_in_an_attestation() -> None:
    """The statement of a Resume has the form that is judged, and its member's Vote key signed it."""
    spec = obj("attestation Resume")
    assert set(spec["statement"]) == set(obj("object resume")) - {"keyName", "at", "signature"}
    check_attestation_form(spec)
    assert attestation_statement(MESH, spec).verify(seed("bob").public_key().public_bytes_raw(), spec["signature"])


def hashed(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("sha256:"))


def test_the_entry_accepts_the_revision() -> None:
    """The first entry of the page is about the TrustDomain of the page and names the digest of its signatures."""
    spec = obj("object trustdomain")
    detail = parse_json(fences()["content 0"])["payload"]["detail"]
    assert detail["digest"] == facts("payload trustdomain")["digest"]
    assert detail["signatures"] == digest(rfc8785.dumps(spec["signatures"]))
    history = DomainHistory([AcceptedRevision(revision(), 0)])
    assert history.agrees_with([detail["digest"]])


def test_proof() -> None:
    """The proof holds entry 1 as it was sealed, and its path leads to the root of the checkpoint."""
    (chain,) = obj("proof")["chains"]
    (entry,) = chain["entries"]
    assert chain["checkpoint"] == fences()["checkpoint"] + "\n"
    record = base64.b64decode(entry["record"], validate=True)
    assert record == bytes.fromhex(facts("content 1")["header"]) + fences()["content 1"].encode()
    (left,) = [base64.b64decode(step, validate=True) for step in entry["path"]]
    assert left == hashed(facts("content 0")["leaf"])
    root = sha256(b"\x01" + left + sha256(b"\x00" + record).digest()).digest()
    assert chain["checkpoint"].split("\n")[:3] == [chain["origin"], "2", base64.b64encode(root).decode()]


def test_every_block_is_checked() -> None:
    """No example stands on the page that no test derives."""
    known = {f"{part} {name}" for name in EXAMPLES for part in ("object", "payload")}
    known |= {
        "attestation Recovery",
        "attestation CancelRecovery",
        "attestation Resume",
        "lease",
        "electorate",
        "contract",
        "proof",
    }
    log = {"content 0", "content 1", "content 2", "checkpoint", "cosigned", "bundle"}
    assert set(fences()) == known | log
