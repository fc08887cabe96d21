"""What the hub makes of witnesses' Leases: which cosignatures count, what it offers, and when it stops the chain."""

from typing import Any

import pytest

from quorate.audit.checkpoint import Checkpoint, parse_checkpoint
from quorate.audit.note import MAX_SIGNATURES, cosign, parse_note, verify_note
from quorate.audit.quarantine import Cause, resumed_draft
from quorate.audit.witness import Conflict, Cosign, WitnessState, judge
from quorate.audit.witness_form import encode_conflict, parse_offers
from quorate.canonical import format_time
from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate_operator.custody.outside import told_by_leases
from quorate_operator.kube.resources import CONFLICT_ANNOTATION, COSIGNED_ANNOTATION, HEARTBEAT_LABEL, Key
from quorate_operator.reconcile.checkpoint import manifest
from quorate_operator.reconcile.cosignatures import MAX_LINES, Shown, _new_lines
from tests.unit.proposals.fleet import MESH, member, node, seed
from tests.unit.reconcile.town import CHAIN, Town, sign_domain

LOG = SignerKey(CHAIN, seed("log"))
W1, W2, W3, SPARE, STRANGER = (
    SignerKey(f"{MESH}/{name}", seed(name), COSIGNATURE) for name in ("w1", "w2", "w3", "spare", "stranger")
)
CHECKPOINT = Key("AuditCheckpoint", "", "fleet")


def witness(name: str, *keys: SignerKey, **more: Any) -> dict[str, Any]:
    """A member that is a ComplianceWitness with these Witness keys."""
    found = member(name, role="ComplianceWitness", **more)
    own = [{"purpose": "Witness", "name": key.name.split("/")[1], "publicKey": str(key.verifier)} for key in keys]
    return {**found, "keys": [*found["keys"], *own]}


class Watched(Town):
    """A town whose log is signed and witnessed."""

    async def begin(self, **spec: Any) -> None:
        await self.restart()
        await self.found(log={"origin": CHAIN, "keys": [str(LOG.verifier)]})
        self.apply("AuditCheckpoint", "fleet", {**manifest(CHAIN)["spec"], "verify": "None", **spec})
        await self.sign()

    def domain_spec(self, **more: Any) -> dict[str, Any]:
        spec = super().domain_spec(**more)
        witnesses = [witness("w1", W1, SPARE), witness("w2", W2), witness("w3", W3, suspended=True)]
        hub = [{**item, "keys": [*item["keys"]]} for item in spec["members"]]
        key = {"purpose": "Witness", "name": "hub", "publicKey": str(STRANGER.verifier)}
        hub[1]["keys"].append(key)  # a GovernanceHub is no witness, whatever keys it has
        return sign_domain({**spec, "members": [*hub, *witnesses]})

    async def sign(self) -> str:
        """Sign the head, and let the operator see it."""
        note = await self.context.log.checkpoint(CHAIN, LOG)
        self.agenda.mark(CHECKPOINT)
        await self.settle()
        return note

    async def grow(self) -> str:
        """One more entry and a checkpoint of it."""
        self.propose(f"p{len(self.entries)}")
        await self.settle()
        return await self.sign()

    async def show(self, who: str, note: str = "", conflict: Conflict | None = None, name: str = "fleet") -> None:
        """What a node writes into its Lease."""
        notes = {COSIGNED_ANNOTATION: note} if note else {}
        if conflict is not None:
            notes[CONFLICT_ANNOTATION] = encode_conflict(conflict).decode()
        labels = {HEARTBEAT_LABEL: "cosignature"}
        self.apply("Lease", f"quorate-cosignature-{name}", {}, f"quorate-node-{who}", annotations=notes, labels=labels)
        await self.settle()

    def cosigned(self, note: str, *keys: SignerKey, at: int | None = None) -> str:
        """The note with the cosignatures of these keys."""
        parsed = parse_note(note)
        moment = int(self.now) if at is None else at
        return str(parsed.extended([cosign(parsed.text, key, at=moment) for key in keys]))

    @property
    def shown(self) -> list[str]:
        """Names of the cosignatures in the status."""
        return [item["name"] for item in self.status(CHECKPOINT).get("cosignatures") or ()]

    @property
    def ready(self) -> tuple[str, str]:
        return self.condition(CHECKPOINT, "Ready")[:2]


@pytest.fixture
async def town() -> Watched:
    town = Watched()
    await town.begin(requireWitnesses=2)
    return town


async def test_a_checkpoint_is_ready_with_enough_witnesses(town: Watched) -> None:
    """Two distinct members are two witnesses; their lines are kept, and stand in the note that everybody gets."""
    (note,) = await town.context.log.checkpoints(CHAIN)
    assert town.ready == ("False", "WitnessesMissing") and town.status(CHECKPOINT)["note"] == note
    await town.show("w1", town.cosigned(note, W1, SPARE))
    assert town.shown == [W1.name] and town.ready == ("False", "WitnessesMissing"), "a member has one line"
    at = int(town.now)
    await town.show("w2", town.cosigned(note, W2))
    assert town.ready == ("True", "Ready")
    status = town.status(CHECKPOINT)
    assert {"name": W2.name, "at": format_time(at)} in status["cosignatures"]
    assert await town.context.log.checkpoints(CHAIN) == [status["note"]]
    found = verify_note(status["note"], [LOG.verifier], [key.verifier for key in (W1, W2, SPARE)])
    assert len(found.cosignatures) == 2
    await town.restart()
    await town.settle()
    assert town.ready == ("True", "Ready") and town.status(CHECKPOINT)["note"] == status["note"]


async def test_what_does_not_count(town: Watched) -> None:
    """Not a suspended member, a hub, a stranger, another log's note, a wrong signature, a time to come."""
    (note,) = await town.context.log.checkpoints(CHAIN)
    other = Checkpoint(f"{MESH}/other", 1, bytes(32)).sign(SignerKey(CHAIN, LOG.seed))
    wrong = town.cosigned(note, W1).replace(W1.name, W2.name)
    bad = town.cosigned(note, W1)
    for shown in (
        town.cosigned(note, W3),
        town.cosigned(note, STRANGER),
        town.cosigned(note, SignerKey(W1.name, seed("x"), COSIGNATURE)),
        town.cosigned(other, W1),
        wrong,
        bad[:-20] + ("A" if bad[-20] != "A" else "B") + bad[-19:],
        town.cosigned(note, W1, at=int(town.now) + 301),
        note,
        "x",
    ):
        await town.show("w1", shown)
        assert town.shown == [] and await town.context.log.checkpoints(CHAIN) == [note], shown
    await town.show("w1", town.cosigned(note, W1), name="other")
    assert town.shown == []
    await town.show("anywhere", town.cosigned(note, W1))
    assert town.shown == [W1.name], "the signature counts, the namespace never"


async def test_an_older_note_is_cosigned_and_offers_a_proof(town: Watched) -> None:
    """A witness that is behind counts for the older note, and is offered what it needs to go on."""
    (old,) = await town.context.log.checkpoints(CHAIN)
    state = WitnessState(CHAIN)
    first = judge(state, old, [LOG.verifier], [])
    assert isinstance(first, Cosign)
    newest = await town.grow()
    await town.show("w1", town.cosigned(old, W1))
    status = town.status(CHECKPOINT)
    assert town.shown == [] and status["note"] == newest
    assert (await town.context.log.checkpoints(CHAIN))[0].endswith(
        str(parse_note(town.cosigned(old, W1)).signatures[-1])
    )
    assert [item["size"] for item in status["consistency"]] == [parse_checkpoint(parse_note(old).text).size]
    again = judge(first.state, status["note"], [LOG.verifier], parse_offers(status["consistency"]))
    assert isinstance(again, Cosign)
    await town.show("w1", town.cosigned(newest, W1))
    assert town.shown == [W1.name] and not town.status(CHECKPOINT).get("consistency")
    await town.grow()
    assert town.shown == [] and town.status(CHECKPOINT)["consistency"]


async def test_a_removed_witness_counts_no_more(town: Watched) -> None:
    """The accepted revision says who is a witness now; what was cosigned stays in the note."""
    (note,) = await town.context.log.checkpoints(CHAIN)
    await town.show("w1", town.cosigned(note, W1))
    await town.show("w2", town.cosigned(note, W2))
    assert town.ready == ("True", "Ready")
    spec = town.domain_spec(log={"origin": CHAIN, "keys": [str(LOG.verifier)]})
    previous = town.status(town.domain)["accepted"]["digest"]
    members = [item for item in spec["members"] if item["nodeId"] != node("w2")]
    revised = {**spec, "revision": 2, "previousDigest": previous, "members": members}
    revised.pop("signatures")
    town.apply("TrustDomain", "fleet", sign_domain(revised))
    await town.settle()
    assert town.status(town.domain)["accepted"]["revision"] == 2
    assert town.shown == [W1.name] and town.ready == ("False", "WitnessesMissing")
    assert W2.name in town.status(CHECKPOINT)["note"]


def conflicting(note: str, key: SignerKey = LOG) -> Conflict:
    """Two notes of one size; the second is signed by whoever else holds the log's key."""
    size = parse_checkpoint(parse_note(note).text).size
    return Conflict(note, Checkpoint(CHAIN, size, bytes(32)).sign(key))


async def test_a_proven_split_view_stops_the_chain(town: Watched) -> None:
    """Evidence that the log's key signed two histories raises a quarantine with the evidence in it, once."""
    (note,) = await town.context.log.checkpoints(CHAIN)
    await town.show("w1", town.cosigned(note, W1), conflicting(note))
    (raised,) = await town.context.log.quarantines()
    assert raised.cause == Cause.SPLIT_VIEW and raised.evidence["conflict"]["newer"] == conflicting(note).newer
    await town.show("w2", town.cosigned(note, W2), conflicting(note))
    assert len(await town.context.log.quarantines()) == 1
    assert town.condition(CHECKPOINT, "Ready")[1] == "ChainQuarantined"


async def test_what_proves_nothing_stops_nothing(town: Watched) -> None:
    """Anybody may write evidence; without the log's signature on both sides it is a line in the operator's log."""
    (note,) = await town.context.log.checkpoints(CHAIN)
    for conflict in (Conflict(note, note), conflicting(note, SignerKey(CHAIN, seed("forger")))):
        await town.show("w1", conflict=conflict)
        assert await town.context.log.quarantines() == []


async def test_everything_that_witnesses_show_is_told(town: Watched) -> None:
    """Cosigned notes and both sides of evidence are compared with the database, as notes of the log that they name."""
    (note,) = await town.context.log.checkpoints(CHAIN)
    conflict = conflicting(note)
    await town.show("w1", town.cosigned(note, W1), conflict)
    told = told_by_leases(town.view.all("Lease"))
    assert [item.note for item in told] == [town.cosigned(note, W1), conflict.older, conflict.newer]
    assert {item.chain for item in told} == {CHAIN}


async def test_a_proof_has_the_witnesses_that_are_asked_for(town: Watched) -> None:
    """A proof waits for the cosignatures that the AuditCheckpoint of its log wants, and stays the same then."""
    proposal = town.propose()
    await town.settle()
    for who in ("m0", "m1", "m2", "m3", "w1", "w2"):
        town.vote(proposal, who, "Approve")
    await town.settle(103)
    assert town.status(proposal)["outcome"] == "Executed"
    note = await town.sign()
    await town.show("w1", town.cosigned(note, W1))
    assert "proofRef" not in town.status(proposal)
    await town.show("w2", town.cosigned(note, W2, W1))
    proof = town.status(proposal)["proofRef"]
    assert W1.name in town.content(proof).decode() and W2.name in town.content(proof).decode()
    await town.show("w3", town.cosigned(note, SPARE, W3))
    await town.restart()
    await town.settle()
    assert town.status(proposal)["proofRef"] == proof


async def test_old_notes_are_read_once(town: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness that stays at an old checkpoint does not make the hub read all notes since, again and again."""
    (old,) = await town.context.log.checkpoints(CHAIN)
    starts: list[int] = []
    real = town.context.log.checkpoints

    async def checkpoints(chain: str, start: int = 0) -> list[str]:
        starts.append(start)
        return await real(chain, start)

    monkeypatch.setattr(town.context.log, "checkpoints", checkpoints)
    await town.show("w1", town.cosigned(old, W1))
    size = parse_checkpoint(parse_note(await town.grow()).text).size
    starts.clear()
    for _ in range(2):
        town.agenda.mark(CHECKPOINT)
        await town.settle()
    assert starts == [size, size] and town.status(CHECKPOINT)["consistency"]


def test_a_note_stays_readable() -> None:
    """However many witnesses there are, a note never gets more lines than a reader takes."""
    keys = [SignerKey(f"{MESH}/n{number}", seed(f"n{number}"), COSIGNATURE) for number in range(120)]
    note = parse_note(Checkpoint(CHAIN, 1, bytes(32)).sign(LOG))
    shown = [
        Shown(Key("Lease", "n", "l"), Checkpoint(CHAIN, 1, bytes(32)), verify_note(str(cosigned), [LOG.verifier], own))
        for key in keys
        if (own := [key.verifier]) and (cosigned := note.extended([cosign(note.text, key, at=1)]))
    ]
    members = {key.verifier: key.name for key in keys}
    lines = _new_lines(note, shown, members)
    assert len(parse_note(str(note.extended(lines))).signatures) == MAX_LINES < MAX_SIGNATURES


async def test_a_resumed_chain_is_not_stopped_by_what_was_given_up(town: Watched) -> None:
    """Evidence stays in a Lease until its witness is reset; people resumed in its knowledge, so it stops nothing."""
    (note,) = await town.context.log.checkpoints(CHAIN)
    conflict = conflicting(note)
    await town.show("w1", town.cosigned(note, W1), conflict)
    (raised,) = await town.context.log.quarantines()
    lost = parse_checkpoint(parse_note(conflict.newer).text)
    draft = resumed_draft(
        raised,
        phase_id="1",
        now=int(town.now * 1_000_000),
        lost=[lost],
        finding="the key was copied",
        signatures=[],
        verification={"verdict": "Intact", "checked": raised.size, "root": ""},
    )
    await town.context.log.resume(raised, draft)
    newest = await town.sign()
    await town.show("w2", town.cosigned(newest, W2), conflict)
    assert [item.resumed_at is None for item in await town.context.log.quarantines()] == [False]
    await town.show("w2", town.cosigned(newest, W2), Conflict(note, Checkpoint(CHAIN, lost.size, b"x" * 32).sign(LOG)))
    assert len(await town.context.log.quarantines()) == 2, "other evidence stops it again"
