"""Entries about names, read on from where the last look ended."""

import random
import time
from collections.abc import Iterable

from quorate.audit.entry import Draft, Tether
from quorate.canonical import digest_of_bytes
from quorate_operator.reconcile.followed import Followed
from quorate_operator.store.memory import MemoryStore
from quorate_operator.store.ports import Recorded

HOME, BELOW, ABOVE = "mesh/home", "mesh/below", "mesh/zabove"
P, Q, R = (digest_of_bytes(name.encode()) for name in "pqr")


def draft(name: str, about: Iterable[str]) -> Draft:
    """An entry about names."""
    now = time.time_ns() // 1000
    return Draft(
        name, None, "governance.vote.accepted", {"kind": "Vote", "name": "v"}, Tether("0"), now, about=sorted(about)
    )


async def led() -> MemoryStore:
    """A store that leads."""
    store = MemoryStore()
    await store.take("test")
    return store


def places(entries: Iterable[Recorded]) -> list[tuple[str, int]]:
    """Where entries stand."""
    return [(item.chain_id, item.sequence) for item in entries]


async def test_it_always_has_what_the_log_says() -> None:
    """Whatever comes in whichever chain, in any order of looks: the same entries in the same order as `about` has."""
    chance, store = random.Random(7), await led()
    names, followed = [P, Q, R], Followed(limit=12)
    for number in range(60):
        about = chance.sample(names, chance.randrange(1, 3))
        await store.log.append(chance.choice([HOME, HOME, HOME, BELOW, ABOVE]), [draft(f"v{number}", about)])
        asked = chance.sample(names, chance.randrange(1, 4))
        found = await followed.get(store.log, asked)
        assert {name: places(items) for name, items in found.items()} == {
            name: places(await store.log.about(name)) for name in asked
        }


async def test_what_did_not_change_is_the_same_object() -> None:
    """Entries that are known are not decoded again, and the tuple is the same while nothing came."""
    store = await led()
    await store.log.append(HOME, [draft("v1", [P]), draft("v2", [P])])
    await store.log.append(BELOW, [draft("v3", [P])])
    followed = Followed()
    first = (await followed.get(store.log, [P]))[P]
    assert (await followed.get(store.log, [P]))[P] is first
    await store.log.append(HOME, [draft("v4", [P])])
    second = (await followed.get(store.log, [P]))[P]
    own = [item for item in first if item.chain_id == HOME]
    assert [item is other for item, other in zip(own, second[1:], strict=False)] == [True, True]


async def test_a_log_that_lost_the_known_entry_is_read_again() -> None:
    """Where the entry at which the last look ended is gone or another one, everything about the name is read anew."""
    store, other, followed = await led(), await led(), Followed()
    await store.log.append(HOME, [draft("v1", [P]), draft("v2", [P])])
    await other.log.append(HOME, [draft("v1", [P]), draft("x2", [P]), draft("x3", [P])])
    await followed.get(store.log, [P])
    found = (await followed.get(other.log, [P]))[P]
    assert [item.subject_key for item in found] == ["v1", "x2", "x3"]
    shorter = await led()
    await shorter.log.append(HOME, [draft("v1", [P])])
    assert len((await followed.get(shorter.log, [P]))[P]) == 1
    assert (await followed.get((await led()).log, [P]))[P] == ()


async def test_what_was_asked_for_longest_ago_is_forgotten() -> None:
    """No more entries are held than the limit, but for what one look asks for; whoever made something of it hears."""
    store, gone = await led(), list[str]()
    followed = Followed(limit=4, dropped=gone.append)
    for name in (P, Q, R):
        await store.log.append(HOME, [draft(f"{name}{number}", [name]) for number in range(2)])
        await followed.get(store.log, [name])
    assert gone == [P]
    everything = await followed.get(store.log, [P, Q, R])
    assert [len(items) for items in everything.values()] == [2, 2, 2] and gone == [P]
    await followed.get(store.log, [R])
    assert gone == [P, P]
