"""The agent's socket against hostile workloads, over real sockets (docs/mission-protocol.md, "Bounds")."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quorate.api.mission_policy import LadderAction
from quorate.missions.samples import Acknowledged, Answer, Latencies, Report
from quorate_agent import listening, workloads
from tests.unit.sdk.rig import HELLO, SESSION, Agent, Client, Processes, agent_at, until

REPORT = {"type": "report", "seq": 1, "span": 0}


def test_a_conversation(agent: Agent) -> None:
    """Hello, report, directive, answer: what the page describes, byte by byte from plain sockets."""
    client = Client(agent.path).hello()
    client.send(REPORT | {"latency": {"": [[111, 3]]}})
    assert client.read() == {"type": "received", "seq": 1}
    assert [(found.uid, found.counts) for found in agent.of(Latencies)] == [("u1", {111: 3})]
    assert agent.takes() == {LadderAction.FREE_MEMORY}
    assert not agent.ask("Checkpoint")
    assert agent.ask("FreeMemory", limit=5)
    asked = client.read()
    assert (asked["id"], asked["action"], asked["arguments"]) == ("d1", "FreeMemory", {"limit": 5})
    client.send({"type": "answer", "id": "d1", "answer": "Done", "reason": ""})
    assert client.read() == {"type": "received", "id": "d1"}
    assert [(found.decision, found.answer) for found in agent.of(Acknowledged)] == [("d1", Answer.DONE)]
    client.close()


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        (b'{"type":"report","seq":1,"span":0,"objective":{"loss":NaN}}', ""),
        (b'{"type":"report","seq":1,"span":0,"latency":{"":[[1e300,1]]}}', ""),
        (b'{"type":"report","seq":1,"span":0,"latency":{"":[[-5,1]]}}', 'latency[""][0][0]'),
        (b'{"type":"report","seq":1,"span":0,"latency":{"":[[5,99999999999]]}}', 'latency[""][0][1]'),
        (b'{"type":"report","seq":1,"span":99999999999}', "span"),
        (b'{"type":"report","seq":1,"span":-1}', "span"),
        (b'{"type":"report","seq":1,"span":0,"uid":"u2"}', "uid"),
        (b"\x00\xff", ""),
        (b"[" * 60_000, ""),
    ],
)  # fmt: skip
def test_a_lie_ends_the_connection(agent: Agent, frame: bytes, field: str) -> None:
    """A message that cannot be is answered with its reason, ends the connection and changes nothing."""
    client = Client(agent.path).hello()
    client.send(frame)
    answer = client.read()
    assert (answer["type"], answer["field"]) == ("refused", field)
    assert client.ended()
    assert agent.events == []
    assert agent.server.refusals == 1


def test_an_oversized_message_is_not_read(agent: Agent) -> None:
    """A length over the bound ends the connection before the bytes come."""
    client = Client(agent.path).hello()
    client.sock.sendall((65_537).to_bytes(4, "big"))
    assert client.read()["value"] == "65537"
    assert client.ended()


def test_hello_is_first(agent: Agent) -> None:
    """Whoever begins with something else is refused."""
    client = Client(agent.path)
    client.send(REPORT)
    assert client.read()["rule"] == "the first message is a hello"


def test_another_version_is_refused(agent: Agent) -> None:
    """A client of a version that the agent does not speak is told so."""
    client = Client(agent.path)
    client.send(HELLO | {"protocol": 2})
    assert client.read() == {"type": "refused", "field": "protocol", "value": "2", "rule": "this agent speaks 1"}


def test_slowloris(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hello and a frame that dribble in are given up, byte by byte or not; a session that is quiet in time is not."""
    monkeypatch.setattr(workloads, "PATIENCE", 0.6)
    late, dribbling, quiet = Client(agent.path), Client(agent.path).hello(), Client(agent.path).hello(session="1" * 32)
    begun = time.monotonic()
    ended = {"late": 0.0, "dribbling": 0.0}
    for client in (late, dribbling):
        client.sock.sendall((60_000).to_bytes(4, "big"))

    def drip() -> bool:
        for name, client in (("late", late), ("dribbling", dribbling)):
            try:
                client.sock.send(b" ")
            except OSError:
                ended[name] = ended[name] or time.monotonic() - begun
        return all(ended.values())

    until(drip, 10)
    assert all(0.3 < seconds < 5 for seconds in ended.values())
    quiet.send(REPORT)
    assert quiet.read() == {"type": "received", "seq": 1}


def test_silence_ends_a_session(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that says nothing for too long is closed."""
    monkeypatch.setattr(workloads, "SILENCE", 0.1)
    assert Client(agent.path).hello().ended()


def test_a_flood_is_read_at_its_pace(agent: Agent) -> None:
    """Forty messages at once, then twenty a second: the rest stays with the sender, others are served meanwhile."""
    flood, other = Client(agent.path).hello(), Client(agent.path).hello(session="1" * 32)
    flood.sock.setblocking(False)
    frame = b'{"type":"takes","takes":["FreeMemory"]}'
    data = (len(frame).to_bytes(4, "big") + frame) * 20_000
    begun, sent = time.monotonic(), 0
    while sent < len(data) and time.monotonic() - begun < 1.5:
        try:
            sent += flood.sock.send(data[sent : sent + 65_536])
        except BlockingIOError:
            break
    assert sent < len(data)
    other.send(REPORT | {"objective": {"loss": 5}})
    assert other.read() == {"type": "received", "seq": 1}
    assert [found.value for found in agent.of(Report)] == [5]


def test_whoever_does_not_read_is_closed(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload that asks and never reads the answers ends its own connection, and holds nobody up."""
    monkeypatch.setattr(workloads, "PATIENCE", 0.3)
    monkeypatch.setattr(workloads, "Allowance", lambda **_: _Free())
    deaf = Client(agent.path, seconds=15)
    deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    deaf.hello()
    frame = b'{"type":"answer","id":"x","answer":"Done","reason":""}'
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        deaf.sock.sendall((len(frame).to_bytes(4, "big") + frame) * 200_000)


class _Free:
    """No pace at all."""

    def may(self, _: int) -> bool:
        """Always."""
        return True


def test_thousands_of_connections(agent: Agent) -> None:
    """One pod holds sixteen connections at most, however many it opens; another pod's workload is served meanwhile."""
    child = subprocess.Popen(
        [sys.executable, "-c", _MANY, str(agent.path), "2000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    agent.processes.owners[child.pid] = "hostile"
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(b"go\n")
    child.stdin.flush()
    until(lambda: agent.server.turned_away > 20)
    other = Client(agent.path).hello()
    other.send(REPORT)
    assert other.read() == {"type": "received", "seq": 1}
    assert agent.call(lambda: agent.server._admission._open["hostile"]) <= 16
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()


_MANY = """
import socket, sys
sys.stdin.readline()
held = []
for _ in range(int(sys.argv[2])):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(5)
    try:
        sock.connect(sys.argv[1])
    except OSError:
        continue
    held.append(sock)
    del held[:-600]
sys.stdin.readline()
"""


def test_a_workload_speaks_only_for_its_own_pod(agent: Agent) -> None:
    """Two processes say the same session: each is its own pod's, by what the kernel says of the process."""
    code = (
        "import sys; from tests.unit.sdk.rig import Client; from pathlib import Path; sys.stdin.readline();"
        f"c = Client(Path(sys.argv[1])).hello(session={SESSION!r}); c.send({REPORT | {'objective': {'loss': 2}}!r});"
        "print(c.read())"
    )
    command, root = [sys.executable, "-c", code, str(agent.path)], Path(__file__).resolve().parents[3]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
    agent.processes.owners[child.pid] = "u2"
    mine = Client(agent.path).hello()
    mine.send(REPORT | {"objective": {"loss": 1}})
    assert mine.read() == {"type": "received", "seq": 1}
    out, _ = child.communicate(b"go\n", timeout=60)
    assert b"'received', 'seq': 1" in out
    assert [(found.uid, found.value) for found in agent.of(Report)] == [("u1", 1), ("u2", 2)]


def test_a_process_of_no_pod_is_closed_without_a_word(agent: Agent) -> None:
    """Who is in no pod of the node gets nothing."""
    agent.processes.usual = None
    assert Client(agent.path).ended()
    assert agent.server.turned_away == 1


def test_a_process_that_has_ended_is_nobody(tmp_path: Path) -> None:
    """A connection whose process is gone is not taken for whoever has its pid by now."""
    left, right = socket.socketpair()
    child = os.fork()
    if child == 0:
        os._exit(0)
    handle = os.pidfd_open(child)
    os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOWAIT)
    assert not listening._lives(handle)
    os.waitpid(child, 0)
    os.close(handle)
    found = listening.peer_of(left, Processes("u1"))
    assert found is not None
    assert found.pid == os.getpid()
    left.close()
    right.close()


def test_a_reconnect_replaces_the_session(agent: Agent) -> None:
    """The same session on a second connection ends the first, and goes on with its count and its directive."""
    first = Client(agent.path).hello()
    first.send(REPORT | {"objective": {"loss": 1}})
    first.read()
    assert agent.ask("FreeMemory")
    assert first.read()["id"] == "d1"
    second = Client(agent.path)
    second.send(HELLO)
    assert second.read()["type"] == "welcome"
    assert second.read()["id"] == "d1"
    assert first.ended()
    second.send(REPORT | {"objective": {"loss": 1}})
    assert second.read() == {"type": "received", "seq": 1}
    assert len(agent.of(Report)) == 1
    assert agent.takes() == {LadderAction.FREE_MEMORY}


def test_a_pod_that_is_gone_is_forgotten(agent: Agent) -> None:
    """Its connections end and it takes nothing any more."""
    client = Client(agent.path).hello()
    agent.call(agent.server.forget, "u1")
    assert client.ended()
    assert agent.takes() == frozenset()


def test_the_agent_makes_its_socket_only_where_nobody_else_writes(path: Path, tmp_path: Path) -> None:
    """A directory that others can write, or a symlink, is refused; so is what is no socket; a dead one is replaced."""
    folder = path.parent
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="nobody else may write it"):
        listening.listen(path)
    folder.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(NotADirectoryError, match="is a symlink or no directory"):
        listening.listen(link / path.name)
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="is no socket, and is not removed"):
        listening.listen(path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        listening.listen(path)
    path.unlink()
    listening.listen(path).close()
    with agent_at(path) as agent:
        Client(agent.path).hello().close()
    assert not path.exists()
