"""The planner: when it looks, in which order it acts, and what it does about each kind of failure."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from quorate.audit.entry import Draft, Tether
from quorate_operator.errors import Conflict, Fatal, LostLeadership, Stalled, Transient, Waiting
from quorate_operator.kube.resources import Key
from quorate_operator.planner import Agenda
from quorate_operator.reconcile.protocol import Note, Plan

from .fakes import Told, World, node


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    await world.store.take("test")
    world.planner.open()
    task = asyncio.create_task(world.planner.run())
    try:
        yield world
    finally:
        world.planner.stop()
        await asyncio.wait_for(task, 5)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the fakes raise no event
            await asyncio.sleep(0.001)


def draft(world: World, subject: str = "s") -> Draft:
    return Draft(
        subject_key=subject,
        previous=None,
        event_type="trust.node.verified",
        subject={"kind": "MeshNode", "name": "a"},
        tether=Tether(phase_id="0"),
        timestamp=time.time_ns() // 1000,
        detail={},
    )


async def test_nothing_is_decided_before_the_barrier() -> None:
    """A marked key waits until every kind was listed."""
    told = Told(lambda obj, now: Plan())
    world = World(told)
    world.add(node("a"))
    task = asyncio.create_task(world.planner.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not told.gathers
    world.planner.open()
    await until(lambda: bool(told.decided))
    world.planner.stop()
    await task


async def test_status_is_written_once_and_not_again_when_it_holds() -> None:
    """A second look at an object whose status is as wanted makes no request."""
    told = Told(lambda obj, now: Plan(status={"observedGeneration": 1}))
    async with running(World(told)) as world:
        key = world.add(node("a"))
        await until(lambda: world.status(key) is not None)
        world.planner.mark([key])
        await until(lambda: len(told.decided) == 2)
    assert world.client.calls == [("status", key)]


async def test_keys_of_a_pass_are_gathered_together_by_kind_in_dependency_order() -> None:
    """One gather per kind, earlier kinds first, each at most a batch."""
    first, second = Told(lambda obj, now: Plan()), Told(lambda obj, now: Plan(), kind="Vote")
    world = World(first, second, batch=2)
    for name in "abc":
        world.add({**node(name), "kind": "Vote"})
        world.add(node(name))
    async with running(world):
        await until(lambda: len(first.decided) == len(second.decided) == 3)
    assert [len(keys) for keys in first.gathers] == [len(keys) for keys in second.gathers] == [2, 1]


async def test_audit_comes_before_the_effect() -> None:
    """When the append fails nothing is written but the condition that says why; it is tried again."""
    world: World

    def decide(obj: dict, now: int) -> Plan:
        return Plan(chain="m/d", entries=(draft(world),), status={"phase": "done"})

    world = World(Told(decide))
    append, failures = world.store.log.append, iter([Transient("LogUnavailable", "the database is away")])

    async def flaky(*args: object, **kwargs: object) -> object:
        for error in failures:
            raise error
        return await append(*args, **kwargs)

    world.store.log.append = flaky  # type: ignore[method-assign]
    async with running(world):
        key = world.add(node("a"))
        await until(lambda: world.status(key) is not None)
        assert "phase" not in world.status(key)
        assert {item["reason"] for item in world.status(key)["conditions"]} == {"LogUnavailable"}
        world.now += 60
        await until(lambda: world.status(key).get("phase") == "done")


async def test_a_recorded_entry_is_gathered_again_instead_of_applied() -> None:
    """append(existing=True) performs nothing of the plan; the next look starts from the record."""
    seen: list[int] = []
    world: World

    def decide(obj: dict, now: int) -> Plan:
        seen.append(now)
        if len(seen) == 1:
            return Plan(chain="m/d", entries=(draft(world),), status={"phase": "mine"})
        return Plan(status={"phase": "as recorded"})

    world = World(Told(decide))
    await world.store.take("other")
    await world.store.log.append("m/d", [draft(world)])
    async with running(world):
        key = world.add(node("a"))
        await until(lambda: len(seen) == 1)
        world.now += 1
        await until(lambda: world.status(key) == {"phase": "as recorded"})


async def test_a_conflict_reads_the_object_again() -> None:
    """409: the object itself is read, because the watch may lag, and the decision is made from that."""
    told = Told(lambda obj, now: Plan(status={"seen": obj["spec"]["x"]}))
    async with running(World(told)) as world:
        world.client.put(node("a", 7, x="new"))
        world.view.fold(node("a", 1, x="old"))
        world.planner.mark([Key("MeshNode", "", "a")])
        await until(lambda: ("get", Key("MeshNode", "", "a")) in world.client.calls)
        world.now += 1
        await until(lambda: world.status(Key("MeshNode", "", "a")) == {"seen": "new"})


@pytest.mark.parametrize(
    ("error", "stalled", "again_after"),
    [
        (Stalled("Invalid", "no"), "True", None),
        (Waiting("NamespaceMissing", "no namespace", retry_after=30), None, 30),
        (Transient("LogBusy", "busy", retry_after=3), None, 3),
        (RuntimeError("defect"), None, 1),
    ],
)
async def test_each_failure_has_its_condition_and_its_retry(
    error: Exception, stalled: str | None, again_after: float | None
) -> None:
    """Stalled is not retried, Waiting at its time, Transient and defects with backoff; Ready is False meanwhile."""

    def decide(obj: dict, now: int) -> Plan:
        raise error

    told = Told(decide)
    async with running(World(told)) as world:
        key = world.add(node("a"))
        await until(lambda: world.status(key) is not None)
        conditions = {item["type"]: item["status"] for item in world.status(key)["conditions"]}
        assert conditions["Ready"] == "False"
        assert conditions.get("Stalled") == stalled
        count = len(told.decided)
        world.now += (again_after or 3600) + 0.1
        if again_after is None:
            other = world.add(node("b"))
            await until(lambda: world.status(other) is not None)
            assert told.decided.count(key) == count
        else:
            await until(lambda: told.decided.count(key) > count)


async def test_one_object_that_breaks_gather_does_not_stop_the_others() -> None:
    """An unexpected exception in a batch is narrowed down to its object."""
    told = Told(lambda obj, now: Plan(status={"ok": True}))

    def broken(keys: object) -> None:
        if any(key.name == "bad" for key in keys):  # type: ignore[attr-defined]
            raise KeyError("spec")

    told.broken = broken
    world = World(told)
    keys = [world.add(node(name)) for name in ("a", "bad", "c")]
    async with running(world):
        await until(lambda: world.status(keys[0]) == world.status(keys[2]) == {"ok": True})
        await until(lambda: world.status(keys[1]) is not None)
    assert {item["reason"] for item in world.status(keys[1])["conditions"]} == {"InternalError"}


@pytest.mark.parametrize("error", [LostLeadership("term 2 was taken"), Fatal("Broken", "state")])
async def test_fatal_ends_the_loop(error: Fatal) -> None:
    """Nothing goes on once in-memory state cannot be trusted."""

    def decide(obj: dict, now: int) -> Plan:
        raise error

    world = World(Told(decide))
    world.planner.open()
    world.add(node("a"))
    with pytest.raises(type(error)):
        await asyncio.wait_for(world.planner.run(), 5)


async def test_wake_at_is_kept_and_moved() -> None:
    """A key is looked at when its time comes; a later plan's time replaces the earlier one."""
    told = Told(lambda obj, now: Plan(wake_at=now + 10))
    async with running(World(told)) as world:
        key = world.add(node("a"))
        await until(lambda: len(told.decided) == 1)
        world.now += 5
        world.planner.mark([key])
        await until(lambda: len(told.decided) == 2)
        world.now += 6  # the first appointment's time
        other = world.add(node("b"))
        await until(lambda: other in told.decided)
        assert told.decided.count(key) == 2
        world.now += 5
        await until(lambda: told.decided.count(key) == 3)


async def test_dirty_and_relations_are_followed() -> None:
    """A plan's dirty keys, and those that a written status concerns, are looked at next."""
    told = Told(lambda obj, now: Plan(status={"x": 1}, dirty=(Key("Vote", "", "named"),)))
    votes = Told(lambda obj, now: Plan(), kind="Vote")
    votes.relations = {"MeshNode": lambda obj, view: [Key("Vote", "", f"of-{obj['metadata']['name']}")]}
    async with running(World(told, votes)) as world:
        world.add(node("a"))
        await until(lambda: {key.name for keys in votes.gathers for key in keys} == {"named", "of-a"})


_NAMED = Key("Vote", "", "named")


def recording(world_of: list[World]) -> tuple[Told, Told]:
    """Who records an entry, writes a status and then tells _NAMED; and who is told."""

    def decide(obj: dict, now: int) -> Plan:
        world = world_of[0]
        if world.store.shared.rows.get("m/d"):
            return Plan(status={"phase": "recorded"})
        return Plan(chain="m/d", entries=(draft(world),), status={"phase": "new"}, dirty=(_NAMED,))

    return Told(decide), Told(lambda obj, now: Plan(), kind="Vote")


@pytest.mark.parametrize(
    "error", [Transient("ApiUnavailable", "away"), Conflict("changed"), Stalled("ApiRefused", "no")]
)
async def test_whom_a_failed_plan_concerns_is_told_all_the_same(error: Exception) -> None:
    """The entry is in the log and the status write fails: the next look starts from the entry, and they are told."""
    worlds: list[World] = []
    first, told = recording(worlds)
    worlds.append(world := World(first, told))
    failures = iter([error])

    def fail(verb: str, key: Key) -> None:
        for failure in failures:
            raise failure

    async with running(world):
        world.client.fail = fail
        world.add(node("a"))
        await until(lambda: bool(world.client.calls))
        world.now += 60
        await until(lambda: told.gathers == [[_NAMED]])


@pytest.mark.parametrize("gone", [False, True])
async def test_whom_an_entry_concerns_that_was_there_already_is_told(gone: bool) -> None:
    """The answer to an append was lost: the second finds the entry; they are told, also if the object is gone since."""
    worlds: list[World] = []
    first, told = recording(worlds)
    worlds.append(world := World(first, told))
    append = world.store.log.append

    async def lost(*args: object, **kwargs: object) -> object:
        await append(*args, **kwargs)
        if gone:
            world.view.remove(Key("MeshNode", "", "a"))
        raise Transient("LogUnavailable", "no answer")

    world.store.log.append = lost  # type: ignore[method-assign]
    async with running(world):
        key = world.add(node("a"))
        await until(lambda: bool(first.decided))
        world.now += 60
        await until(lambda: told.gathers == [[_NAMED]])
    assert gone or world.status(key)["phase"] == "recorded"


async def test_events_are_recorded_after_the_status() -> None:
    """An Event tells only what has happened."""
    told = Told(lambda obj, now: Plan(status={"x": 1}, events=(Note("Warning", "BadSignature", "no"),)))
    async with running(World(told)) as world:
        failed = iter([Transient("ApiUnavailable", "away")])

        def fail(verb: str, key: Key) -> None:
            for error in failed:
                raise error

        world.client.fail = fail
        world.add(node("a"))
        await until(lambda: len(world.client.calls) >= 2)
        assert world.recorder.notes == []
        world.now += 60
        await until(lambda: world.recorder.notes == [("a", "BadSignature")])


def test_agenda_takes_the_oldest_marks_first_and_forgets_cancelled_appointments() -> None:
    """The dirty set is a queue without doubles; a cancelled appointment never fires."""
    agenda, keys = Agenda(), [Key("Vote", "", name) for name in "cab"]
    for key in (*keys, keys[0]):
        agenda.mark(key)
    assert agenda.take("Vote", 2) == keys[:2]
    assert agenda.take("Vote", 2) == keys[2:]
    agenda.wake(keys[0], 5.0)
    agenda.wake(keys[1], 7.0)
    agenda.wake(keys[0], None)
    assert agenda.next_due() == 7.0
    agenda.collect_due(10.0)
    assert agenda.take("Vote", 9) == [keys[1]]


def test_what_belongs_together_is_taken_together() -> None:
    """Behind the oldest mark come those that belong to it, never more than the limit, and each key once."""
    agenda, keys = Agenda(), [Key("Vote", proposal, name) for name in "abc" for proposal in ("p", "q")]
    for key in keys:
        agenda.mark(key)

    def together(key: Key) -> list[Key]:
        return [Key("Vote", key.namespace, name) for name in "dcba"]

    taken = [agenda.take("Vote", 2, together) for _ in range(4)]
    assert [[key.namespace for key in batch] for batch in taken] == [["p", "p"], ["q", "q"], ["p", "q"], []]
    assert sorted(key for batch in taken for key in batch) == sorted(keys)
