"""When the log is verified, and what follows from a result: an engine that answers as told, a log in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from quorate.audit.entry import Draft, Tether
from quorate.audit.quarantine import FAILED, RAISED, SYSTEM, Finding
from quorate.audit.record import Record
from quorate.canonical import format_time, parse_json
from quorate.identity.vkey import SignerKey, VerifierKey
from quorate_operator.custody.outside import Outside, Told
from quorate_operator.custody.quarantines import Quarantines
from quorate_operator.custody.verifications import DAY, SPREAD_SECONDS, Verifications
from quorate_operator.custody.verified import Verified
from quorate_operator.errors import OperatorError, Transient
from quorate_operator.kube.resources import Obj
from quorate_operator.store.memory import MemoryStore
from quorate_operator.verification.request import ChainRequest

A, B = "mesh/a", "mesh/b"
SIGNER = SignerKey(A, bytes(range(32)))
NIGHT = 2 * 3600
NOON = 1_700_000_000 // DAY * DAY + 12 * 3600
FAULT = {"chainId": A, "phase": "content", "message": "changed", "sequence": 1, "entryId": "x"}


class Engine:
    """Answers with what is in `faults`; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[str, str | int | None]]] = []
        self.anchors: list[tuple[str, ...]] = []
        self.faults: dict[str, Mapping[str, Any]] = {}
        self.error: OperatorError | None = None

    async def verify(self, requests: Sequence[ChainRequest]) -> Mapping[str, Any]:
        self.asked.append([(item.chain_id, item.since) for item in requests])
        self.anchors += [item.anchors for item in requests]
        if self.error is not None:
            raise self.error
        return {
            "seconds": 0.5,
            "entriesPerSecond": 10,
            "chains": [
                {
                    "chain": item.chain_id,
                    "verdict": "Tampered" if item.chain_id in self.faults else "Intact",
                    "checked": 1,
                    **({"fault": self.faults[item.chain_id]} if item.chain_id in self.faults else {}),
                }
                for item in requests
            ],
        }


class World:
    """Two chains, their AuditCheckpoints, a clock."""

    def __init__(self) -> None:
        self.now = float(NOON)
        self.store = MemoryStore(clock=lambda: int(self.now * 1_000_000))
        self.engine = Engine()
        self.objects: dict[str, Obj] = {}
        self.told: list[tuple[str, Finding | None]] = []
        self.notes: list[Told] = []
        self.quarantines = Quarantines(self.store.log, clock=lambda: self.now)
        self.verifications = Verifications(
            self.store.log,
            self.engine,
            Outside(self.store.log, self.keys, [self.outside]),
            self.keys,
            self.quarantines,
            objects=self.objects.values,
            told=lambda chain, finding: self.told.append((chain, finding)),
            results={},
            clock=lambda: self.now,
            at=NIGHT,
        )

    async def outside(self) -> list[Told]:
        return self.notes

    async def keys(self, chains: Any) -> dict[str, list[VerifierKey]]:
        return {chain: [SIGNER.verifier] for chain in chains}

    async def append(self, chain: str, key: str) -> None:
        draft = Draft(key, None, "a.b.c", {"kind": "K", "name": "n"}, Tether("0"), int(self.now * 1_000_000))
        await self.store.log.append(chain, [draft])

    def show(self, chain: str, verify: str | None = None, generation: int = 1) -> None:
        """An AuditCheckpoint."""
        spec = {"chain": chain, **({} if verify is None else {"verify": verify})}
        self.objects[chain] = {"metadata": {"name": chain[-1], "generation": generation}, "spec": spec}

    async def turn(self) -> list[list[tuple[str, str | int | None]]]:
        """What was asked in a turn."""
        before = len(self.engine.asked)
        await self.verifications.turn()
        return self.engine.asked[before:]


@pytest.fixture
async def world() -> World:
    """Two chains with an entry each, looked at once."""
    made = World()
    await made.store.take("test")
    for chain in (A, B):
        await made.append(chain, f"first {chain}")
        made.show(chain)
    assert await made.turn() == []
    return made


async def test_what_came_since(world: World) -> None:
    """After a checkpoint its chain is verified: everything the first time, then from the size that was found intact."""
    world.verifications.grown(A)
    assert await world.turn() == [[(A, None)]]
    await world.append(A, "second")
    world.verifications.grown(A)
    world.verifications.grown(B)
    assert await world.turn() == [[(A, 1), (B, None)]]
    assert world.verifications.results[A] == Verified(
        "Intact", "what came since the last one was verified: 1 entries, Intact", 2, 500, NOON
    )
    assert await world.turn() == []


async def test_none_is_not_verified_after_checkpoints(world: World) -> None:
    """spec.verify None leaves out what follows checkpoints, not what is done by night."""
    world.show(A, "None")
    world.verifications.grown(A)
    assert await world.turn() == []
    world.now += DAY
    assert {chain for asked in await world.turn() + await world.turn() for chain, _ in asked} == {A, B}


async def test_every_night_all_of_each_chain(world: World) -> None:
    """Each chain is due once a day within an hour after the time that was set, one at a time."""
    midnight = NOON + 12 * 3600
    world.now = midnight + NIGHT - 1
    assert await world.turn() == []
    world.now = midnight + NIGHT + SPREAD_SECONDS
    assert len(await world.turn()) == 1
    assert len(await world.turn()) == 1
    assert await world.turn() == []
    assert [[since for _, since in asked] for asked in world.engine.asked] == [[None], [None]]
    world.now += DAY
    assert len(await world.turn()) == 1


async def test_full_is_met_once_for_each_generation(world: World) -> None:
    """spec.verify Full verifies everything when the spec changes, and then no more than usual."""
    world.verifications.grown(A)
    await world.turn()
    world.show(A, "Full", generation=2)
    assert await world.turn() == [[(A, None)]]
    assert await world.turn() == []
    world.show(A, "Full", generation=3)
    assert await world.turn() == [[(A, None)]]
    assert world.verifications.results[A].full_at == NOON


async def test_force(world: World) -> None:
    """A suspicion verifies all of one chain, or of every chain."""
    world.verifications.force(B)
    assert await world.turn() == [[(B, None)]]
    world.verifications.force()
    assert await world.turn() + await world.turn() == [[(A, None)], [(B, None)]]


async def test_a_fault_stops_the_chain(world: World) -> None:
    """It is told, the chain is stopped, and both are entries in `system`; once, however often it is found."""
    world.engine.faults[A] = FAULT
    world.verifications.grown(A)
    await world.turn()
    (found,) = await world.store.log.quarantines()
    assert (found.chain_id, found.cause, found.message) == (A, "VerificationFailed", "entry 1: content: changed")
    assert world.verifications.results[A].verdict == "Tampered"
    assert [(chain, finding is not None) for chain, finding in world.told] == [(A, True)]
    world.verifications.force(A)
    await world.turn()
    assert len(await world.store.log.quarantines()) == 1
    events = [entry async for entry in world.store.log.entries(SYSTEM)]
    assert len(events) == 2
    contents = [parse_json(Record.decode(entry.record).content) for entry in events]
    assert {content["event_type"] for content in contents} == {FAILED, RAISED}


async def test_no_result_stops_nothing(world: World) -> None:
    """An engine that gives no result is told and asked again at the next occasion; nothing is stopped."""
    world.verifications.grown(A)
    await world.turn()
    world.engine.error = Transient("VerificationUnavailable", "killed")
    world.show(A, "Full", generation=2)
    with pytest.raises(Transient):
        await world.turn()
    result = world.verifications.results[A]
    assert (result.verdict, result.message, result.size, result.at) == ("CannotTell", "killed", 1, NOON)
    assert await world.store.log.quarantines() == []
    assert await world.turn() == []


async def test_notes_from_outside_are_anchors(world: World) -> None:
    """What is verified must agree with the signed notes that are kept outside; a stranger's note is none."""
    note = await world.store.log.checkpoint(A, SIGNER)
    world.notes = [Told(A, note, "here"), Told(A, note.replace("mesh/a", "mesh/x", 1), "there")]
    world.verifications.grown(A)
    await world.turn()
    assert world.engine.anchors == [(note,)]


async def test_results_outlive_the_process(world: World) -> None:
    """A new leader goes on from what the AuditCheckpoint shows, so it verifies only what came since."""
    world.show(A)
    world.objects[A]["status"] = {
        "result": "Intact", "verifiedSize": 1, "verifiedAt": "2026-01-01T00:00:00Z", "verifiedGeneration": 1,
    }  # fmt: skip
    await world.append(A, "second")
    world.verifications.grown(A)
    assert await world.turn() == [[(A, 1)]]


async def test_a_night_that_was_missed(world: World) -> None:
    """Who leads after the night was missed verifies everything at once; a night that was not missed is not repeated."""
    status = {"result": "Intact", "verifiedSize": 1, "verifiedGeneration": 1}
    world.objects[A]["status"] = {**status, "fullyVerifiedAt": format_time(NOON - 2 * DAY)}
    world.objects[B]["status"] = {**status, "fullyVerifiedAt": format_time(NOON - 3600)}
    later = World()
    later.store.shared, later.verifications._log = world.store.shared, world.store.log
    later.objects |= world.objects
    assert await later.turn() == [[(A, None)]]
    assert await later.turn() == []
