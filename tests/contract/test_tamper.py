"""A superuser changes the database, past every trigger; the verification of the stored bytes finds and names it."""

from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest

from quorate.audit.verify import ChainReport, Verdict
from quorate_operator.verification import ChainRequest, verify_database
from tests.chains import ABOUT, CHAIN, SIGNER, build, draft, tamper, with_content, write
from tests.contract.conftest import TEMPLATE
from tests.contract.server import Server

SIZE = 600
WHOLE = build(SIZE)
KEYS = (str(SIGNER.verifier),)
ENTRY = "UPDATE quorate.audit_entry SET"
IDS = "UPDATE quorate.audit_event_id SET"
NAMES = "UPDATE quorate.audit_about SET"
HEAD = "UPDATE quorate.chain_head SET"
TILE = "UPDATE quorate.merkle_tile SET"
NOTE = "UPDATE quorate.checkpoint SET"
ANOTHER_TILE = """
INSERT INTO quorate.merkle_tile SELECT chain_id, 0, 7, hashes, root FROM quorate.merkle_tile WHERE number = 1
"""
NIL = "'00000000-0000-0000-0000-000000000000'"


def flipped(column: str, byte: str = "octet_length({0}) - 1") -> str:
    """One bit of one byte of a column changed."""
    place = byte.format(column)
    return f"{column} = set_byte({column}, {place}, get_byte({column}, {place}) # 1)"


@pytest.fixture(scope="module")
def filled(postgres: Server) -> str:
    """Name of a database with one chain of SIZE entries and two checkpoints."""
    name = f"t_{uuid4().hex}"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    write(postgres.dsn(name), WHOLE, WHOLE.note(300), WHOLE.note())
    return name


@pytest.fixture
def dsn(postgres: Server, filled: str) -> str:
    """A copy of it, as a superuser."""
    name = f"t_{uuid4().hex}"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {filled} STRATEGY file_copy")
    return postgres.dsn(name)


def verified(dsn: str, **terms: object) -> ChainReport:
    """The report of the one chain."""
    (report,) = verify_database(dsn, [ChainRequest(CHAIN, KEYS, **terms)]).chains  # type: ignore[arg-type]
    return report


# What is changed → phase of the fault, sequence where one entry is at fault, words of the message.
CHANGES: dict[str, tuple[str, str, int | None, str]] = {
    "record, content": (f"{ENTRY} {flipped('record')} WHERE seq = 17", "content", 17, "entry hash"),
    "record, chain id": (f"{ENTRY} {flipped('record', '4')} WHERE seq = 17", "record", 17, "belongs to chain"),
    "record, epoch": (f"{ENTRY} {flipped('record', '12')} WHERE seq = 17", "record", 17, "epoch"),
    "record, sequence": (f"{ENTRY} {flipped('record', '23')} WHERE seq = 17", "record", 17, "its place is 17"),
    "record, sealed": (f"{ENTRY} {flipped('record', '25')} WHERE seq = 17", "chain", 18, "previous hash"),
    "record, previous": (f"{ENTRY} {flipped('record', '40')} WHERE seq = 17", "chain", 17, "previous hash"),
    "record, entry hash": (f"{ENTRY} {flipped('record', '70')} WHERE seq = 17", "content", 17, "entry hash"),
    "record, version": (f"{ENTRY} {flipped('record', '0')} WHERE seq = 0", "record", 0, "version"),
    "seq": (f"{ENTRY} seq = 1000 WHERE seq = 17", "chain", 18, "entry 17 is missing"),
    "reordered": (f"{ENTRY} seq = 100035 - seq WHERE seq IN (17, 18); {ENTRY} seq = seq - 100000 WHERE seq > 90000",
                  "record", 17, "its place is 17"),
    "deleted": ("DELETE FROM quorate.audit_entry WHERE seq = 300", "chain", 301, "entry 300 is missing"),
    "truncated": ("DELETE FROM quorate.audit_entry WHERE seq >= 590", "chain", None, "a head row of size 600"),
    "row added": ("INSERT INTO quorate.audit_entry SELECT chain_id, 600, record FROM quorate.audit_entry WHERE seq = 5",
                  "record", 600, "its place is 600"),
    "id": (f"{IDS} event_id = {NIL} WHERE seq = 17", "index", 17, "index of ids"),
    "id, place": (f"{IDS} seq = 1000 WHERE seq = 17", "index", 17, "lacks"),
    "id, chain": (f"{IDS} chain_id = 'mesh/other' WHERE seq = 17", "index", 17, "lacks"),
    "id, subject": (f"{IDS} subject = {NIL} WHERE seq = 17", "index", 17, "subject"),
    "id deleted": ("DELETE FROM quorate.audit_event_id WHERE seq = 17", "index", 17, "lacks"),
    "id added": (f"INSERT INTO quorate.audit_event_id VALUES ({NIL}, '{CHAIN}', 900, {NIL})", "index", None, "900"),
    "second id": (f"INSERT INTO quorate.audit_event_id VALUES ({NIL}, '{CHAIN}', 17, {NIL})", "index", 17, "of ids"),
    "name": (f"{NAMES} key = {NIL} WHERE seq = 17", "index", 17, ABOUT),
    "name, place": (f"{NAMES} seq = 18 WHERE seq = 17", "index", 17, ABOUT),
    "name, chain": (f"{NAMES} chain_id = 'mesh/other' WHERE seq = 17", "index", 17, ABOUT),
    "name deleted": ("DELETE FROM quorate.audit_about WHERE seq = 17", "index", 17, ABOUT),
    "name added": (f"INSERT INTO quorate.audit_about VALUES ({NIL}, '{CHAIN}', 18)", "index", 18, "not about"),
    "head, epoch": (f"{HEAD} epoch = 1", "record", None, "head row has epoch 1"),
    "head, size": (f"{HEAD} size = 536, frontier = substr(frontier, 1, 96)", "chain", None, "a head row of size 536"),
    "head, chain": (f"{HEAD} {flipped('chain_hash')}", "chain", None, "head row has another chain hash"),
    "head, frontier": (f"{HEAD} {flipped('frontier')}", "merkle", None, "another frontier"),
    "head, sealed": (f"{HEAD} sealed_at = sealed_at + 1", "record", None, "another sealed time"),
    "head deleted": ("DELETE FROM quorate.chain_head", "chain", None, "no head row"),
    "tile, hashes": (f"{TILE} {flipped('hashes', '5')} WHERE number = 1", "merkle", 511, "tile 1 of level 0"),
    "tile, root": (f"{TILE} {flipped('root')} WHERE number = 1", "merkle", 511, "another root"),
    "tile, level": (f"{TILE} level = 3 WHERE number = 1", "merkle", 511, "missing"),
    "tile, number": (f"{TILE} number = 9 WHERE number = 1", "merkle", 511, "missing"),
    "tile, chain": (f"{TILE} chain_id = 'mesh/other' WHERE number = 1", "merkle", 511, "missing"),
    "tile deleted": ("DELETE FROM quorate.merkle_tile WHERE number = 0", "merkle", 255, "missing"),
    "tile added": (ANOTHER_TILE, "merkle", None, "3 full tiles of level 0"),
    "note, text": (f"{NOTE} note = replace(note, E'\\n300\\n', E'\\n301\\n') WHERE size = 300", "checkpoint", None,
                   "does not verify"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_named(dsn: str, name: str) -> None:
    """Each column of each table of the log, changed by itself, is found and named."""
    change, phase, sequence, words = CHANGES[name]
    tamper(dsn, change)
    report = verified(dsn)
    fault = report.fault
    assert fault is not None, "not found"
    assert (fault.phase, fault.sequence) == (phase, sequence), fault
    assert words in fault.message
    assert sequence is None or "record" in name or fault.entry_id is not None


def test_intact_it_is(dsn: str) -> None:
    """Unchanged, everything agrees; intake rows are counted."""
    report = verified(dsn, anchors=(WHOLE.note(500),))
    assert (report.verdict, report.checked, report.anchored_size) == (Verdict.INTACT, SIZE, 500), report.fault
    assert (report.checkpoints, report.unsealed, report.refused, report.notes) == (3, 0, 0, [])


def test_a_history_sealed_again_is_found_by_a_checkpoint_from_outside_alone(postgres: Server, database: str) -> None:
    """An attacker who changes an entry and seals everything after it again, indexes, tiles and head included, passes
    every check within the database, and is found by any checkpoint that was kept outside.
    """

    def change(document: dict) -> None:  # type: ignore[type-arg]
        document["payload"]["detail"] = {"reason": "never happened"}

    dsn = postgres.dsn(database)
    write(dsn, WHOLE.relinked({400: with_content(change)}))
    assert verified(dsn).verdict is Verdict.UNANCHORED
    assert verified(dsn, anchors=(WHOLE.note(400),)).verdict is Verdict.INTACT
    fault = verified(dsn, anchors=(WHOLE.note(401),)).fault
    assert fault is not None and fault.message == "the given checkpoint of size 401 has another root"


def test_a_chain_removed_as_a_whole_is_found_by_its_checkpoint(dsn: str) -> None:
    """Nothing of a chain is left: a checkpoint from outside tells that it was there."""
    tables = ("audit_entry", "audit_event_id", "audit_about", "merkle_tile", "checkpoint", "chain_head")
    tamper(dsn, *[f"DELETE FROM quorate.{table}" for table in tables])
    assert verified(dsn).verdict is not Verdict.INTACT
    assert verified(dsn, anchors=(WHOLE.note(),)).verdict is Verdict.TAMPERED


SINCE: list[Callable[[], str | int]] = [lambda: WHOLE.note(300), lambda: 300, lambda: 599, WHOLE.note]


@pytest.mark.parametrize("number", range(len(SINCE)))
def test_from_a_checkpoint_only_what_came_later_is_read(dsn: str, number: int) -> None:
    """Behind a signed checkpoint, given or stored, the rest is verified with the same result."""
    since = SINCE[number]()
    report = verified(dsn, since=since)
    assert report.fault is None and report.size == SIZE and report.root == WHOLE.frontier().root().hex()
    assert report.checked == (SIZE - 300 if number < 3 else 1)
    assert "are covered by the signed checkpoint" in report.notes[0]
    assert report.verdict is (Verdict.INTACT if isinstance(since, str) else Verdict.UNANCHORED)


@pytest.mark.parametrize("seq", [299, 310, 599])
def test_from_a_checkpoint_changes_behind_it_and_before_its_last_entry_are_found(dsn: str, seq: int) -> None:
    """The last entry before the checkpoint is read too, and the tree there must be the signed one."""
    tamper(dsn, f"{ENTRY} {flipped('record')} WHERE seq = {seq}")
    fault = verified(dsn, since=WHOLE.note(300)).fault
    assert fault is not None and fault.sequence == seq


def test_from_a_checkpoint_indexes_are_compared(dsn: str) -> None:
    """An index row that is gone behind the checkpoint is found; one before it is for the full verification."""
    tamper(dsn, "DELETE FROM quorate.audit_event_id WHERE seq = 401", "DELETE FROM quorate.audit_about WHERE seq = 351")
    fault = verified(dsn, since=WHOLE.note(300)).fault
    assert fault is not None and (fault.phase, fault.sequence) == ("index", 351)
    assert verified(dsn, since=WHOLE.note()).fault is None


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_agree(dsn: str, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Segments verified by several processes give the report of one, also of a chain that is at fault."""
    monkeypatch.setattr("quorate_operator.verification.run.SMALL", 100)
    monkeypatch.setattr("quorate_operator.verification.run.SEGMENT", 128)
    request = ChainRequest(CHAIN, KEYS, (WHOLE.note(450),))
    seen: list[tuple[int, int]] = []
    (report,) = verify_database(dsn, [request], workers=workers, progress=lambda *at: seen.append(at)).chains
    assert (report.verdict, report.checked, report.checkpoints) == (Verdict.INTACT, SIZE, 3), report.fault
    assert seen[-1] == (SIZE, SIZE)
    tamper(dsn, "DELETE FROM quorate.audit_about WHERE seq = 401")
    (report,) = verify_database(dsn, [request], workers=workers).chains
    assert report.fault is not None and (report.fault.phase, report.fault.sequence) == ("index", 401)
    tamper(dsn, f"{ENTRY} {flipped('record')} WHERE seq = 333")
    (report,) = verify_database(dsn, [request], workers=workers).chains
    assert report.fault is not None and (report.fault.phase, report.fault.sequence) == ("content", 333)


def test_whoever_may_read_may_verify(postgres: Server, dsn: str) -> None:
    """The role of readers is enough."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    assert verified(postgres.dsn(str(name), "only_read")).verdict is Verdict.UNANCHORED


def test_a_row_between_the_chains_is_not_taken_for_another(dsn: str) -> None:
    """Verifying one chain does not stumble over another one's rows."""
    other = build(5, "mesh/other", [draft(number) for number in range(1000, 1005)])
    write(dsn, other)
    reports = verify_database(dsn, [ChainRequest(CHAIN, KEYS), ChainRequest("mesh/other")]).chains
    assert [(report.checked, report.verdict) for report in reports] == [
        (SIZE, Verdict.UNANCHORED),
        (5, Verdict.UNANCHORED),
    ]
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM quorate.audit_entry").fetchone() == (SIZE + 5,)
