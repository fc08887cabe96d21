"""The SQL view `quorate.entry`: what it shows is what the record says, for whoever may read and nobody else."""

import re
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from quorate.audit.entry import Draft, Tether
from quorate.audit.record import Record
from quorate.canonical import parse_json
from quorate_operator.store.log import PostgresStore
from tests.contract.server import Server

ROOT = Path(__file__).resolve().parents[2]
CHAIN = "mesh/ächzend"
ABOUT = f"sha256:{'ab' * 32}"


def entry(name: str, **more: Any) -> Draft:
    return Draft(f"uid:{name}", None, "governance.vote.accepted", {"kind": "Vote", "name": name}, Tether("5.5"),
                 time.time_ns() // 1000, **more)  # fmt: skip


@pytest.fixture
async def filled(postgres_dsn: str) -> list[Record]:
    """Entries with a NUL, with what only looks like one, and with signs of every width."""
    store = PostgresStore(postgres_dsn)
    await store.open()
    await store.take("test")
    texts = ["a\0b", r"a\u0000b", "\\\0", "\\\\u0000\0\0", "é𝄞", '"quoted"']
    drafts = [entry(f"v{n}", actor_id="node", detail={"text": text}) for n, text in enumerate(texts)]
    await store.log.append(CHAIN, [*drafts, entry("last", about=[ABOUT])])
    records = [Record.decode(stored.record) async for stored in store.log.entries(CHAIN)]
    await store.close()
    return records


async def test_the_view_shows_the_record(postgres: Server, database: str, filled: list[Record]) -> None:
    """Every column is what the record says; a NUL, which jsonb cannot hold, is shown as U+FFFD."""
    with psycopg.connect(postgres.dsn(database, "only_read")) as connection:
        rows = connection.execute(
            "SELECT seq, epoch, extract(epoch FROM sealed_at) * 1000000, entry_id::text, event_type, actor_id,"
            " subject_key, content FROM quorate.entry WHERE chain_id = %s ORDER BY seq",
            (CHAIN,),
        ).fetchall()
    assert len(rows) == len(filled) == 7
    for row, record in zip(rows, filled, strict=True):
        content = parse_json(record.content)
        content["payload"]["detail"] = {k: v.replace("\0", "\ufffd") for k, v in content["payload"]["detail"].items()}
        assert row[:3] == (record.sequence, record.epoch, record.sealed_at)
        assert row[3:5] == (content["entry_id"], content["event_type"])
        assert row[5:] == (content.get("actor_id"), content["payload"]["subject"]["key"], content)


async def test_entries_are_found_by_name(postgres: Server, database: str, filled: list[Record]) -> None:
    """`entries_about` finds an entry by its subject key and by what it is about, through the indexes."""
    with psycopg.connect(postgres.dsn(database, "only_read")) as connection:
        for name, wanted in (("uid:v3", [3]), (ABOUT, [6]), ("uid:nobody", [])):
            query = "SELECT seq FROM quorate.entries_about(%s)"
            assert [row[0] for row in connection.execute(query, (name,))] == wanted
        plan = "EXPLAIN SELECT * FROM quorate.entry WHERE chain_id = %s AND seq = 3"
        assert "Index" in "".join(row[0] for row in connection.execute(plan, (CHAIN,)))


async def test_the_pages_queries_run(postgres: Server, database: str, filled: list[Record]) -> None:
    """The queries of docs/searching.md are answered."""
    queries = re.findall(r"```sql\n(.*?);\n```", (ROOT / "docs/searching.md").read_text(), re.DOTALL)
    with psycopg.connect(postgres.dsn(database, "only_read")) as connection:
        assert [len(connection.execute(query).fetchall()) for query in queries] == [0, 0]
    assert filled


async def test_only_readers_read(postgres: Server, database: str, filled: list[Record]) -> None:
    """Other roles may not use the view, and nobody may write through it."""
    for login in ("only_app", "only_maint"):
        with (
            psycopg.connect(postgres.dsn(database, login)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("SELECT * FROM quorate.entry")
    for change in (
        "DELETE FROM quorate.entry",
        "UPDATE quorate.entry SET seq = 9",
        "INSERT INTO quorate.entry (seq) VALUES (9)",
    ):
        with psycopg.connect(postgres.dsn(database, "only_read")) as connection, pytest.raises(psycopg.Error):
            connection.execute(change)
    assert filled
