"""docs/formats.md, derived again from the page alone: by its own words first, then by the code."""

import base64
import json
import re
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from quorate.audit.checkpoint import open_checkpoint
from quorate.audit.entry import check_content
from quorate.audit.merkle import verify_inclusion
from quorate.audit.record import Record
from quorate.canonical import parse_json, parse_time
from quorate.contracts.content import Content
from quorate.contracts.patch import Target, successor
from quorate.identity.statements import (
    Statement,
    act_statement,
    attestation_statement,
    heartbeat_statement,
    proposal_statement,
    recovery_statement,
    trust_domain_statement,
    vote_statement,
)
from quorate.identity.vkey import parse_verifier_key
from quorate.trust.domain import DomainRevision, parse_domain
from quorate.trust.heartbeat import judge_heartbeat
from quorate.trust.revisions import announcement_verdict, cancellation_verdict, check_revision

PAGE = (Path(__file__).resolve().parents[2] / "docs/formats.md").read_text()
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n(.*?)<!-- end -->", PAGE, re.DOTALL))
STATEMENTS = [name for name, body in EXAMPLES.items() if "| payloadType |" in body]
FIELDS = dict(re.findall(r"^\| (\w+) \| (meshId, .+?) \|$", PAGE, re.MULTILINE))
TREE = r"root `([0-9a-f]{64})`; the log key is `(\S+)`, its seed `([0-9a-f]{64})`"


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", EXAMPLES[name], re.DOTALL)


def rows(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| ([\w ]+) \| `(.*)` \|$", text, re.MULTILINE))


def shape(name: str) -> dict[str, Any]:
    """The object of an example."""
    document: dict[str, Any] = json.loads(blocks(name, "json")[0])
    return document


def spec(name: str) -> dict[str, Any]:
    found: dict[str, Any] = shape(name)["spec"]
    return found


def digest(data: bytes) -> str:
    return "sha256:" + sha256(data).hexdigest()


def raw(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def domain() -> DomainRevision:
    return parse_domain("acme", spec("trustdomain"))


def rebuilt(name: str) -> Statement:
    """The statement that the code builds from an example's object."""
    document = shape(name)
    inner = document.get("spec", document)
    place = document.get("metadata", {})
    if name == "trustdomain":
        return trust_domain_statement(place["name"], inner)
    if name == "proposal":
        return proposal_statement("mesh", place["namespace"], place["name"], inner)
    if name == "vote":
        return vote_statement("mesh", inner)
    if name in ("attestation", "delegation"):
        return attestation_statement("mesh", inner)
    make = {"heartbeat": heartbeat_statement, "recovery": recovery_statement}.get(name, act_statement)
    return make("mesh", "acme", inner)


def test_every_kind_has_an_example() -> None:
    """Each kind of statement, each act, the electorate, content, Lease, log and proof have one."""
    kinds = {"trustdomain", "proposal", "vote", "attestation", "heartbeat", "recovery"}
    acts = {"endorse", "stop", "withdraw", "cancelrecovery"}
    assert set(FIELDS) == {*kinds - {"trustdomain"}, "act"}
    assert set(STATEMENTS) == {*kinds, *acts, "delegation"}
    assert set(EXAMPLES) == {*STATEMENTS, "lease", "electorate", "genesis", "content", "log", "proof"}


@pytest.mark.parametrize("name", STATEMENTS)
class TestStatement:
    def test_by_the_words_of_the_page(self, name: str) -> None:
        """Payload, digest, key and signature follow from each other without any of this project's code."""
        payload, item = blocks(name, "text")[0].encode(), rows(EXAMPLES[name])
        assert rfc8785.dumps(json.loads(payload)) == payload
        assert item["digest"] == digest(payload)
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(item["seed"]))
        assert private.public_key().public_bytes_raw() == raw(item["publicKey"])
        kind = item["payloadType"].encode()
        envelope = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
        assert private.sign(envelope) == raw(item["signature"])
        assert (len(item["publicKey"]), len(item["signature"])) == (43, 86)

    def test_by_the_code(self, name: str) -> None:
        """The object rebuilds to the payload, and its signature verifies."""
        statement, item = rebuilt(name), rows(EXAMPLES[name])
        assert statement.payload.decode() == blocks(name, "text")[0]
        assert (statement.payload_type, statement.digest) == (item["payloadType"], item["digest"])
        assert statement.verify(raw(item["publicKey"]), item["signature"])
        assert item["signature"] in json.dumps(shape(name))

    def test_fields_are_those_of_the_table(self, name: str) -> None:
        """A payload holds no field that the table does not list for its kind."""
        statement = rebuilt(name)
        if statement.kind != "trustdomain":
            assert set(statement.fields) <= set(FIELDS[statement.kind].split(", "))


class TestTogether:
    """The examples belong to one another."""

    def test_domain_is_accepted(self) -> None:
        """The TrustDomain is accepted, by its pin too."""
        pin = rows(EXAMPLES["trustdomain"])["digest"]
        assert check_revision("acme", spec("trustdomain"), None, pin=pin, now=0).accepted

    def test_keys_are_the_domains(self) -> None:
        """Each object is signed by the key that its keyName binds."""
        for name in ("proposal", "vote", "attestation", "delegation", "withdraw"):
            fields = rebuilt(name).fields
            member = fields.get("proposer") or fields.get("voter") or fields.get("attester") or fields.get("by")
            key = domain().members[member].key("Vote", fields["keyName"])
            assert key is not None
            assert key.public_key == rows(EXAMPLES[name])["publicKey"]
        for name in ("endorse", "stop", "cancelrecovery"):
            fields = rebuilt(name).fields
            assert fields["by"] == fields["keyName"]
            assert domain().admins[fields["by"]] == raw(rows(EXAMPLES[name])["publicKey"])

    def test_digests_bind(self) -> None:
        """Vote and acts name the proposal, the cancellation names the recovery, the recovery the domain."""
        proposal = rebuilt("proposal").digest
        for name in ("vote", "endorse", "stop", "withdraw"):
            assert rebuilt(name).fields["proposalDigest"] == proposal
        assert rebuilt("cancelrecovery").fields["proposalDigest"] == rebuilt("recovery").digest
        assert rebuilt("recovery").fields["previousDigest"] == domain().digest

    def test_rationale(self) -> None:
        """The rationale is bound by the digest of its UTF-8 bytes."""
        assert rebuilt("proposal").fields["rationaleDigest"] == digest(spec("proposal")["rationale"].encode())

    def test_patch_value_null_is_kept(self) -> None:
        """The example shows the null that must not be dropped."""
        assert '"value":null' in blocks("proposal", "text")[0]

    def test_recovery_and_its_cancellation_hold(self) -> None:
        """The recovery may be announced, and the act cancels it."""
        recovery = rebuilt("recovery")
        assert announcement_verdict(recovery, shape("recovery")["signatures"], domain()) is None
        assert cancellation_verdict(recovery, [shape("cancelrecovery")], domain()) is None

    def test_heartbeat_and_its_lease(self) -> None:
        """The Lease's annotation is the heartbeat, and it verifies."""
        lease, beat = shape("lease"), shape("heartbeat")
        assert parse_json(lease["metadata"]["annotations"]["quorate.dev/heartbeat"]) == beat
        now = parse_time(beat["renewTime"])
        assert judge_heartbeat(domain(), beat["nodeId"], beat, {beat["challenge"]}, now=now).verified


@pytest.mark.parametrize("name", ["electorate", "genesis", "content"])
def test_document_and_digest(name: str) -> None:
    """The text is canonical and the digest is of its bytes."""
    data = blocks(name, "text")[0].encode()
    assert rfc8785.dumps(json.loads(data)) == data
    assert f"digest `{digest(data)}`" in EXAMPLES[name]


def test_electorate_is_the_domains() -> None:
    """The electorate follows from the TrustDomain of the page."""
    assert domain().electorate.document == json.loads(blocks("electorate", "text")[0])


def test_content_follows_from_the_proposal() -> None:
    """The genesis is the domain's contract, the base is its clause, and the change leads to the content."""
    genesis = Content.parse(blocks("genesis", "text")[0].encode())
    assert domain().contracts[genesis.contract_id]["genesisDigest"] == genesis.digest
    change = spec("proposal")["change"]
    assert change["baseDigest"] == digest(rfc8785.dumps(dict(genesis.clauses["1"])))
    second = parse_time("2026-02-05T12:00:00Z")
    proposal = rebuilt("proposal").digest
    result = successor(genesis, Target("1"), change, proposal_digest=proposal, executed_at=second)
    assert result.data.decode() == blocks("content", "text")[0]


def test_member_keys_of_c2sp() -> None:
    """Key ids of log and Witness keys follow from name, algorithm and key."""
    texts = set(re.findall(r'"([^\s"+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)"', EXAMPLES["trustdomain"]))
    assert len(texts) == 2
    for text in texts:
        name, identifier, blob = text.split("+", 2)
        assert sha256(name.encode() + b"\n" + raw(blob)).hexdigest()[:8] == identifier


def records() -> list[tuple[bytes, dict[str, str]]]:
    """Content and table of each record."""
    contents = blocks("log", "text")[:-1]
    tables = [rows(part) for part in EXAMPLES["log"].split("its content:")[1:]]
    return [(content.encode(), table) for content, table in zip(contents, tables, strict=True)]


class TestLog:
    def test_records(self) -> None:
        """Id, entry_hash, header, leaf and chain hash follow from the content and the numbers in the table."""
        namespace, before = uuid5(NAMESPACE_DNS, "quorate.dev"), bytes(32)
        assert len(records()) == 2
        for content, table in records():
            document = json.loads(content)
            check_content(document)
            assert rfc8785.dumps(document) == content
            assert document["payload"]["subject"]["key"] == table["subject key"]
            previous = document["payload"]["previous"] or ""
            assert document["entry_id"] == str(uuid5(namespace, f"{table['subject key']}/{previous}"))
            entry_hash = sha256(b"loa-commons:audit:QuorateEntry:1.0.0" + content).digest()
            assert table["entry_hash"] == entry_hash.hex()
            chain = b"mesh/acme"
            numbers = struct.pack(">IQq", int(table["epoch"]), int(table["sequence"]), int(table["sealed"]))
            header = b"\x01" + struct.pack(">H", len(chain)) + chain + numbers + before + entry_hash
            assert (table["header"], table["previous"]) == (header.hex(), before.hex())
            leaf = sha256(b"\x00" + header + content).digest()
            before = sha256(b"quorate.dev/chain/v1\x00" + before + leaf).digest()
            assert (table["leaf hash"], table["chain hash"]) == (leaf.hex(), before.hex())
            record = Record.decode(header + content)
            assert (record.chain_id, record.content) == ("mesh/acme", content)

    def test_what_the_entries_are_about(self) -> None:
        """The subjects are the domain and the vote of the page."""
        first, second = (json.loads(content)["payload"] for content, _ in records())
        assert (first["subject"]["key"], first["about"]) == (domain().subject_key, [domain().digest])
        assert (second["subject"]["key"], second["about"]) == (rebuilt("vote").digest, [rebuilt("proposal").digest])

    def test_checkpoint(self) -> None:
        """The root is that of the two leaves; the note is signed by the domain's log key."""
        found = re.search(TREE, EXAMPLES["log"])
        assert found is not None
        root, key, seed = found.groups()
        left, right = (bytes.fromhex(table["leaf hash"]) for _, table in records())
        assert sha256(b"\x01" + left + right).hexdigest() == root
        text, _, line = blocks("log", "text")[-1].rpartition("\n\n")
        text += "\n"
        assert text == f"mesh/acme\n2\n{base64.b64encode(bytes.fromhex(root)).decode()}\n"
        name, identifier, blob = key.split("+", 2)
        mark, signer, signature = line.split(" ")
        assert (mark, signer, raw(signature)[:4].hex()) == ("—", name, identifier)
        Ed25519PublicKey.from_public_bytes(raw(blob)[1:]).verify(raw(signature)[4:], text.encode())
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
        assert private.public_key().public_bytes_raw() == raw(blob)[1:]
        assert domain().log_keys == (key,)

    def test_proof(self) -> None:
        """The proof holds record 1, its path leads to the checkpoint's root, and the checkpoint opens."""
        (chain,) = shape("proof")["chains"]
        (item,) = chain["entries"]
        content, table = records()[1]
        record = base64.b64decode(item["record"], validate=True)
        assert record == bytes.fromhex(table["header"]) + content
        checkpoint = open_checkpoint(
            chain["checkpoint"], [parse_verifier_key(domain().log_keys[0])], origin=chain["origin"]
        )
        path = [base64.b64decode(step, validate=True) for step in item["path"]]
        leaf = sha256(b"\x00" + record).digest()
        verify_inclusion(leaf=leaf, index=item["index"], size=checkpoint.size, proof=path, root=checkpoint.root)
        assert chain["checkpoint"] == blocks("log", "text")[-1] + "\n"
