"""A real agent's socket in a thread, and plain clients that speak the protocol by hand."""

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quorate.api.mission_policy import LadderAction
from quorate.missions.protocol import Directive
from quorate.missions.samples import Event
from quorate_agent.ports import Owner
from quorate_agent.workloads import Workloads

SESSION = "0" * 32
HELLO = {"type": "hello", "protocol": 1, "session": SESSION, "client": "test", "takes": ["FreeMemory"]}


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait for a condition; its value."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        pause.wait(0.005)
    return found


class Processes:
    """A resolver from a table; a process that is not in it belongs to `usual`."""

    def __init__(self, usual: str | None = "u1") -> None:
        self.usual = usual
        self.owners: dict[int, str] = {}

    def start_of(self, pid: int) -> int | None:
        """Field 22 of the process's stat."""
        try:
            return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        except OSError:
            return None

    def owner_of(self, pid: int, start: int) -> Owner | None:
        """By the table."""
        assert start == self.start_of(pid)
        uid = self.owners.get(pid, self.usual)
        return None if uid is None else Owner(uid, "")


class Steady:
    """The agent's clock."""

    def now(self) -> int:
        """Microseconds."""
        return time.monotonic_ns() // 1_000


class Agent:
    """`Workloads` on a loop of its own thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self.changed: list[str] = []
        self.processes = Processes()
        self.loop = asyncio.new_event_loop()
        self.server = Workloads(path, self.processes, Steady(), self._take, self.changed.append)
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def _take(self, events: Sequence[Event]) -> None:
        self.events += events

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self.loop).result(10)

    def stop(self) -> None:
        """End every connection."""
        asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call on the loop's thread."""

        async def called() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(10)

    def takes(self, uid: str = "u1") -> frozenset[LadderAction]:
        """What a pod's workloads take."""
        return self.call(self.server.takes, uid)

    def ask(self, action: str, name: str = "d1", seconds: int = 30, **arguments: int) -> bool:
        """Ask pod u1."""
        directive = Directive(name, LadderAction(action), seconds * 1_000_000, "cap", "memory", arguments)
        return self.call(self.server.direct, "u1", directive)

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def agent_at(path: Path) -> Iterator[Agent]:
    """An agent that listens at `path`."""
    agent = Agent(path)
    agent.start()
    try:
        yield agent
    finally:
        agent.stop()


class Client:
    """A workload by hand."""

    def __init__(self, path: Path, seconds: float = 20) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(seconds)
        self.sock.connect(str(path))

    def send(self, message: Any) -> None:
        """One message, framed."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.sock.sendall(len(data).to_bytes(4, "big") + data)

    def read(self) -> Any:
        """The next message; None at the end."""
        head = self._exactly(4)
        return None if head is None else json.loads(self._exactly(int.from_bytes(head, "big")) or b"null")

    def hello(self, **other: Any) -> "Client":
        """Say hello and be welcomed."""
        self.send(HELLO | other)
        assert self.read() == {"type": "welcome", "protocol": 1, "interval": 1_000_000}
        return self

    def ended(self) -> bool:
        """Whether the other end closes without another word."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            try:
                more = self.sock.recv(count - len(data))
            except ConnectionResetError:
                return None
            if not more:
                return None
            data += more
        return data


def own_folder(tmp_path: Path) -> Path:
    """A directory that only its owner can write."""
    folder = tmp_path / f"run-{os.getpid()}"
    folder.mkdir(mode=0o755)
    return folder
