"""The spool: durable, chained, signed, bounded; handed in at least once, applied once."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from quorate.audit import captured
from quorate.audit.rules import check_bytes
from quorate_agent.nodekey import open_key
from quorate_agent.ports import Captured, SpoolError
from quorate_agent.spool import FIRST, BrokenSpoolError, FileSpool

SEED = bytes(range(32))
SUBJECT = {"kind": "Pod", "name": "train-0", "namespace": "team", "uid": "u1"}


def entry(number: int = 1, *, vital: bool = True, size: int = 0) -> Captured:
    detail = {"number": number, "filler": "x" * size}
    return Captured("mission.ladder.started", 1_000_000 * number, "u1", SUBJECT, detail, vital=vital)


def spool(path: Path, *, most: int = 2**20, segment: int = 2_048) -> FileSpool:
    return FileSpool(path, SEED, "agent/node-1/abc", most=most, segment=segment)


def numbers(lines: list[bytes]) -> list[int]:
    return [orjson.loads(line)["payload"]["captured"]["sourceSeq"] for line in lines]


def test_lines_are_entries_that_the_log_takes(tmp_path: Path) -> None:
    """A line is the canonical content of a captured entry, signed by the node and chained to the line before."""
    made = spool(tmp_path)
    made.append([entry(1), entry(2)])
    first, second = (dict(check_bytes(line)) for line in made.waiting(10))
    for content in (first, second):
        captured.verify(content, open_public())
    assert first["payload"]["detail"]["chain"] == FIRST
    assert len(second["payload"]["detail"]["chain"]) == 64
    assert first["entry_id"] != second["entry_id"]


def open_public() -> bytes:
    from quorate.identity import ed25519  # noqa: PLC0415

    return ed25519.public_key_of(SEED)


def test_replay_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What is acknowledged is not handed in again, over restarts and files; what is not, is."""
    made = spool(tmp_path)
    for number in range(1, 21):
        made.append([entry(number)])
    assert len(list(tmp_path.glob("*.spool"))) > 2
    assert numbers(made.waiting(5)) == [1, 2, 3, 4, 5]
    made.acknowledge(7)
    again = spool(tmp_path)
    assert numbers(again.waiting(100)) == list(range(8, 21))
    assert (again.sequence, again.depth) == (20, 13)
    again.acknowledge(20)
    assert again.waiting(10) == []
    again.append([entry(21)])
    assert numbers(spool(tmp_path).waiting(10)) == [21]


def test_everything_handed_in_leaves_nothing_but_the_chain(tmp_path: Path) -> None:
    """When the operator has all, files go; a later start neither reuses a sequence nor breaks the chain."""
    made = spool(tmp_path)
    for number in range(1, 9):
        made.append([entry(number)])
        made.acknowledge(number)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) < 2_048
    again = spool(tmp_path)
    again.append([entry(9)])
    assert numbers(again.waiting(10)) == [9]
    assert again._chain != FIRST


@pytest.mark.parametrize("cut", range(1, 400, 29))
def test_a_torn_last_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    """Whatever part of the last write a crash left: the entries before stand, and the next has its sequence."""
    made = spool(tmp_path, segment=2**20)
    made.append([entry(1)])
    made.append([entry(2)])
    made.append([entry(3)])
    path = next(tmp_path.glob("*.spool"))
    os.truncate(path, path.stat().st_size - cut)
    again = spool(tmp_path, segment=2**20)
    assert numbers(again.waiting(10)) == [1, 2]
    again.append([entry(4)])
    assert numbers(spool(tmp_path).waiting(10)) == [1, 2, 3]


@pytest.mark.parametrize("where", ["first", "middle", "chain"])
def test_a_changed_line_is_never_sent(tmp_path: Path, where: str) -> None:
    """A line that is not as it was written, or one that is missing, breaks the spool when it is opened."""
    made = spool(tmp_path, segment=2**20)
    for number in range(1, 5):
        made.append([entry(number)])
    path = next(tmp_path.glob("*.spool"))
    lines = path.read_bytes().splitlines(keepends=True)
    if where == "chain":
        del lines[1]
    else:
        at = 0 if where == "first" else 2
        lines[at] = lines[at].replace(b'"number":', b'"numbes":')
    path.write_bytes(b"".join(lines))
    with pytest.raises(BrokenSpoolError, match=r"line|follow"):
        spool(tmp_path)


def fill(made: FileSpool) -> None:
    for _ in range(100):
        made.append([entry(3, size=500)])


def test_a_full_spool_keeps_room_for_actions(tmp_path: Path) -> None:
    """Records are dropped and counted when three fourths are used; actions are refused when all is."""
    made = spool(tmp_path, most=20_000, segment=4_096)
    while not made.dropped:
        made.append([entry(1, vital=False, size=500)])
    held = made.sequence
    made.append([entry(2)])
    assert made.sequence == held + 1
    with pytest.raises(SpoolError, match="waiting to be handed in"):
        fill(made)
    assert numbers(spool(tmp_path, most=20_000).waiting(10_000)) == list(range(1, made.sequence + 1))
    made.acknowledge(made.sequence)
    made.append([entry(4)])


def test_a_full_disk_takes_nothing_back(tmp_path: Path) -> None:
    """The kernel refuses a write: the append fails, nothing of it is left, and with room again it goes on."""
    script = """
import resource, sys
from pathlib import Path
from tests.unit.agent.test_spool import entry, numbers, spool, SpoolError
made = spool(Path(sys.argv[1]), segment=2**20)
made.append([entry(1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
for number in range(2, 9):
    try:
        made.append([entry(number)])
    except SpoolError as error:
        print(error)
        break
held = made.sequence
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
made.append([entry(99)])
assert numbers(made.waiting(100)) == list(range(1, held + 2)), numbers(made.waiting(100))
"""
    ran = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert "File too large" in ran.stdout
    assert len(spool(tmp_path).waiting(100)) >= 2


def test_a_write_that_cannot_be_taken_back_stops_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails twice: nothing more is written until the next start has looked."""
    made = spool(tmp_path)
    made.append([entry(1)])

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(SpoolError, match="Input/output"):
            made.append([entry(2)])
    with pytest.raises(SpoolError, match="next start"):
        made.append([entry(3)])
    again = spool(tmp_path)
    again.append([entry(4)])
    assert numbers(again.waiting(10)) == [1, 2]


def test_killed_at_any_line(tmp_path: Path) -> None:
    """Killed while it writes: what was said to be on the disk is there, chained, and no sequence is used twice."""
    script = """
import sys
from pathlib import Path
from tests.unit.agent.test_spool import entry, spool
made = spool(Path(sys.argv[1]))
print(made.sequence, flush=True)
while True:
    made.append([entry(made.sequence + 1)])
    print(made.sequence, flush=True)
    if made.sequence % 5 == 0:
        made.acknowledge(made.sequence - 3)
"""
    chance = random.Random(7)
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [int(writer.stdout.readline()) for _ in range(chance.randint(2, 60))]
            writer.send_signal(signal.SIGKILL)
            said += [int(line) for line in writer.stdout.read().split()]
        again = spool(tmp_path)
        assert again.sequence >= said[-1]
        found = numbers(again.waiting(100_000))
        assert found == list(range(again.acknowledged + 1, again.sequence + 1))


def test_the_key_stays(tmp_path: Path) -> None:
    """A node's key is made once, for the agent alone; another key is another source."""
    one = open_key(tmp_path / "state", "node-1")
    assert open_key(tmp_path / "state", "node-1") == one
    assert (tmp_path / "state/node.key").stat().st_mode & 0o777 == 0o600
    assert open_key(tmp_path / "other", "node-1").source != one.source
    (tmp_path / "state/node.key").chmod(0o644)
    with pytest.raises(SpoolError, match="0600"):
        open_key(tmp_path / "state", "node-1")
