"""The contract of the ports Log, Content and Term, clause by clause, against every implementation."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from quorate.audit.checkpoint import open_checkpoint
from quorate.audit.entry import Captured, Draft, Tether
from quorate.audit.merkle import verify_inclusion
from quorate.audit.record import leaf_hash
from quorate.audit.verify import ChainVerifier, Verdict
from quorate.canonical import digest_of_bytes, encode_base64
from quorate.identity.vkey import SignerKey
from quorate_operator.errors import LostLeadership, OperatorError
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.memory import MemoryStore, Shared

CHAIN = "mesh/domain"
Store = Any
OpenStore = Callable[[], Awaitable[Store]]


def draft(key: str, previous: UUID | None = None, **more: Any) -> Draft:
    more.setdefault("timestamp", time.time_ns() // 1000)
    return Draft(
        subject_key=key,
        previous=previous,
        event_type="governance.vote.accepted",
        subject={"kind": "Vote", "name": "v"},
        tether=Tether("0"),
        **more,
    )


@pytest.fixture(params=["memory", "postgres"])
async def open_store(request: pytest.FixtureRequest) -> AsyncIterator[OpenStore]:
    """Opens stores that share one database, as several processes do."""
    opened: list[Store] = []
    shared = Shared()
    dsn = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""

    async def open_one() -> Store:
        if not dsn:
            return MemoryStore(shared)
        store = PostgresStore(dsn)
        await store.open()
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    """A store that leads."""
    store = await open_store()
    await store.take("test")
    return store


async def verdict(store: Store, chain: str = CHAIN) -> Verdict:
    verifier = ChainVerifier(chain)
    async for entry in store.log.entries(chain):
        verifier.feed(entry)
    heads = {head.chain_id: head for head in await store.log.chains()}
    return verifier.finish(heads.get(chain)).verdict


async def test_appended_entries_are_found_and_verify(store: Store) -> None:
    """All drafts of an append are recorded in order, found by subject and by digest, and the chain verifies."""
    data = b'{"a":1}'
    digest = digest_of_bytes(data)
    first = draft("a", about=[digest])
    second = draft("a", first.entry_id)
    done = await store.log.append(CHAIN, [first, second, draft(digest)], content={digest: data})
    assert [item.sequence for item in done] == [0, 1, 2] and not any(item.existing for item in done)
    heads = await store.log.heads(["a", digest, "none"])
    assert {key: item.sequence for key, item in heads.items()} == {"a": 1, digest: 2}
    assert [item.sequence for item in await store.log.about(digest)] == [0, 2]
    assert set(await store.log.recorded([done[1].entry_id, UUID(int=0)])) == {done[1].entry_id}
    assert await store.content.get([digest]) == {digest: data}
    assert done[0].subject_key == "a" and done[0].about == [digest] and done[0].header.content == first.content
    assert await verdict(store) is Verdict.UNANCHORED


async def test_what_is_about_a_name_is_read_on_from_a_known_entry(store: Store) -> None:
    """Of the known entry's chain it and what came after, of other chains everything, of an unknown name nothing."""
    digest, other = digest_of_bytes(b"one"), digest_of_bytes(b"two")
    own = await store.log.append(CHAIN, [draft(digest), *(draft(f"vote {n}", about=[digest]) for n in range(3))])
    above = await store.log.append(f"{CHAIN}x", [draft("above", about=[digest, other])])
    below = await store.log.append(CHAIN[:-1], [draft("below", about=[digest, other])])
    last = own[2]
    found = await store.log.since({digest: last, other: None, "none": None, own[1].subject_key: own[1]})
    ids = {name: [item.entry_id for item in items] for name, items in found.items()}
    elsewhere = [item.entry_id for item in (*below, *above)]
    assert ids == {
        digest: [elsewhere[0], own[2].entry_id, own[3].entry_id, elsewhere[1]],
        other: elsewhere,
        "none": [],
        own[1].subject_key: [own[1].entry_id],
    }
    everything = (await store.log.since({digest: None}))[digest]
    assert [item.record for item in everything] == [item.record for item in await store.log.about(digest)]


async def test_an_append_is_all_or_nothing(store: Store) -> None:
    """If any id is recorded nothing is written and the recorded ones come back as existing."""
    one = (await store.log.append(CHAIN, [draft("a")]))[0]
    data = b"x"
    again = await store.log.append(CHAIN, [draft("b"), draft("a", question="other.one")], {digest_of_bytes(data): data})
    assert [(item.entry_id, item.existing, item.record) for item in again] == [(one.entry_id, True, one.record)]
    assert await store.log.heads(["b"]) == {} and await store.content.get([digest_of_bytes(data)]) == {}


async def test_an_unknown_previous_is_refused(store: Store) -> None:
    """A draft after an entry that is not its subject's last one, and is not recorded, gets LogBehind."""
    with pytest.raises(OperatorError, match="LogBehind"):
        await store.log.append(CHAIN, [draft("a", UUID(int=1))])
    assert await store.log.chains() == []


@pytest.mark.parametrize("shift", [-301, 301])
async def test_event_times_are_bounded(store: Store, shift: int) -> None:
    """An event more than 5 minutes from its intake is refused, and the message names both times."""
    with pytest.raises(OperatorError, match="EntryRefused: timestamp"):
        await store.log.append(CHAIN, [draft("a", timestamp=time.time_ns() // 1000 + shift * 1_000_000)])


def captured(number: int, source: str = "node-7", **more: Any) -> Draft:
    month_ago = time.time_ns() // 1000 - 30 * 86_400_000_000
    origin = Captured(source, number, encode_base64(bytes(64)))
    return draft(f"{source}/spool", timestamp=month_ago, captured=origin, **more)


async def test_captured_entries_may_be_old(store: Store) -> None:
    """What was captured weeks ago is recorded in the order of its source, once; a retry returns it."""
    done = await store.log.append(CHAIN, [captured(3), captured(4)])
    done += await store.log.append("mesh/other", [captured(9), captured(1, "node-8")])
    assert [item.existing for item in done] == [False] * 4
    again = await store.log.append(CHAIN, [captured(4)])
    assert [(item.entry_id, item.existing) for item in again] == [(done[1].entry_id, True)]
    assert done[0].payload["captured"]["sourceSeq"] == 3 and await verdict(store) is Verdict.UNANCHORED


@pytest.mark.parametrize("drafts", [[captured(5)], [captured(7)], [captured(8), captured(8, question="a")],
                                    [captured(9), captured(8)]])  # fmt: skip
async def test_a_source_only_comes_further(store: Store, drafts: list[Draft]) -> None:
    """A captured entry whose sequence does not follow its source's last one, on any chain, is refused."""
    await store.log.append("mesh/other", [captured(6), captured(7, detail={"n": 1})])
    refused = drafts[0].captured is not None and drafts[0].captured.source_seq != 7
    if refused:
        with pytest.raises(OperatorError, match="EntryRefused"):
            await store.log.append(CHAIN, drafts)
    else:
        assert [item.existing for item in await store.log.append(CHAIN, drafts)] == [True]


async def test_captured_entries_are_not_of_the_future(store: Store) -> None:
    """Also a captured event is at most 5 minutes ahead."""
    ahead = time.time_ns() // 1000 + 301_000_000
    with pytest.raises(OperatorError, match="EntryRefused: timestamp"):
        await store.log.append(CHAIN, [replace(captured(1), timestamp=ahead)])


@pytest.mark.parametrize("drafts", [[], [draft("a"), draft("a")], [draft("a", detail={"x": 1.5})]])
async def test_what_may_not_be_logged_is_refused(store: Store, drafts: list[Draft]) -> None:
    """An empty append, one id twice and content without canonical form get EntryRefused."""
    with pytest.raises(OperatorError, match="EntryRefused"):
        await store.log.append(CHAIN, drafts)


async def test_content_must_have_its_digest(store: Store) -> None:
    """Bytes under another digest are refused and nothing is written."""
    with pytest.raises(OperatorError, match="ContentCorrupt"):
        await store.log.append(CHAIN, [draft("a")], {digest_of_bytes(b"x"): b"y"})
    assert await store.log.heads(["a"]) == {}


async def test_a_later_term_fences_the_earlier(open_store: OpenStore) -> None:
    """Whoever has no term, or an earlier one, gets LostLeadership at an append and a checkpoint; nothing is written."""
    old, new = await open_store(), await open_store()
    with pytest.raises(LostLeadership):
        await old.log.append(CHAIN, [draft("a")])
    assert await old.take("old") < await new.take("new")
    await new.log.append(CHAIN, [draft("a")])
    with pytest.raises(LostLeadership):
        await old.log.append(CHAIN, [draft("b")])
    with pytest.raises(LostLeadership):
        await old.log.checkpoint(CHAIN, SignerKey(CHAIN, bytes(32)))
    assert [head.size for head in await new.log.chains()] == [1]


async def test_checkpoints_and_proofs(store: Store) -> None:
    """The checkpoint is signed and kept; proofs of any leaf, across tiles, lead to its root."""
    for start in range(0, 600, 200):
        await store.log.append(CHAIN, [draft(f"k{n}") for n in range(start, start + 200)])
    signer = SignerKey(CHAIN, bytes(range(32)))
    note = await store.log.checkpoint(CHAIN, signer)
    head = open_checkpoint(note, [signer.verifier], origin=CHAIN)
    assert head.size == 600 and await store.log.checkpoint(CHAIN, signer) == note
    assert await store.log.checkpoints(CHAIN) == [note]
    leaves = [leaf_hash(entry.record) async for entry in store.log.entries(CHAIN)]
    for size in (1, 255, 256, 257, 512, 513, 600):
        for index in {0, size // 2, size - 1}:
            made, path = await store.log.inclusion_proof(CHAIN, index, size)
            verify_inclusion(leaf=leaves[index], index=index, size=size, proof=path, root=made.root)
    assert made.root == head.root
    with pytest.raises(OperatorError, match="ChainUnknown"):
        await store.log.inclusion_proof(CHAIN, 0, 601)
