"""`--watch`: each change once, and what happens while the API server is away; over real sockets where it matters."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from quorate_cli import cluster as clusters
from quorate_cli.cluster import Cluster, NotFoundError, RefusedError
from quorate_cli.output import CliError, Format, UnreachableError
from quorate_cli.watching import GIVE_UP_SECONDS, INTERVAL_SECONDS, each, readings
from quorate_operator.kube.connection import Connection
from tests.unit.cli.conftest import Quorate

Obj = dict[str, Any]
AWAY = UnreachableError("API server https://hub: Connection refused")


class Time:
    """A clock that a pause moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def play(*tries: Sequence[object], output: Format | None = None, shown: Callable[[Any], None] = print) -> Time:
    """Watch what one attempt after another yields; an exception in a list is raised there."""
    left, time = iter(tries), Time()

    def start() -> Iterator[object]:
        for item in next(left):
            if isinstance(item, BaseException):
                raise item
            yield item

    each(start, shown, watch=True, output=output, pause=time.pause, clock=time.clock)
    return time


def test_each_change_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Equal to the last, nothing is shown; dashes stand between two tables, never before the first."""
    play(["a", "a", "b", "a"], output=Format.TABLE)
    assert capsys.readouterr().out == "a\n---\nb\n---\na\n"


def test_a_change_that_no_reader_sees_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Another resourceVersion with the same table is no change to whoever reads the table."""
    play([("1", "same"), ("2", "same"), ("3", "other")], shown=lambda item: print(item[1]))
    assert capsys.readouterr().out == "same\nother\n"


def test_a_gap_is_told_once_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    """The server goes away and stays so for three attempts: one warning, one word when it is back, nothing twice."""
    time = play(["a", AWAY], [AWAY], [RefusedError("starting", 503)], ["a", "b"], output=Format.TABLE)
    captured = capsys.readouterr()
    assert captured.out == "a\n---\nb\n"
    assert captured.err.splitlines() == [
        f"warning: {AWAY}; asked again until it answers",
        "the API server answers again",
    ]
    assert time.pauses == [INTERVAL_SECONDS] * 3


def test_a_gap_without_end_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    """After GIVE_UP_SECONDS without an answer the command ends as unreachable."""
    with pytest.raises(UnreachableError, match="Connection refused"):
        play(["a", AWAY], *([AWAY] for _ in range(10_000)))
    assert capsys.readouterr().out == "a\n"
    assert GIVE_UP_SECONDS / INTERVAL_SECONDS < 10_000


@pytest.mark.parametrize("error", [AWAY, RefusedError("forbidden", 403), NotFoundError("there is none")])
def test_the_first_question_is_not_asked_again(error: CliError) -> None:
    """What fails at once fails as without --watch."""
    with pytest.raises(type(error)):
        play([error], ["never"])


def test_what_is_gone_ends_the_watch(capsys: pytest.CaptureFixture[str]) -> None:
    """A deleted object, and a request that no waiting makes right, end it with their sentence."""
    for error in (NotFoundError("PolicyConflict 'a' was deleted"), RefusedError("bad field selector", 400)):
        with pytest.raises(type(error)):
            play(["a", error], ["never"])
    assert capsys.readouterr().out == "a\na\n"


def test_what_cannot_be_shown_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """A content that is missing for a moment ends no watch; at the first look it is an error."""

    def shown(item: str) -> None:
        print(f"half of {item}")
        if item == "bad":
            raise CliError("its content is not on this cluster")

    play(["a", "bad", "b"], output=Format.TABLE, shown=shown)
    captured = capsys.readouterr()
    assert captured.out == "half of a\n---\nhalf of b\n"
    assert captured.err == "warning: its content is not on this cluster\n"
    with pytest.raises(CliError):
        play(["bad"], shown=shown)


def test_an_interrupt_is_an_end() -> None:
    """Ctrl-C during a watch, and during a pause in a gap, is how it ends, not an error."""
    play(["a", KeyboardInterrupt()])
    play(["a", AWAY], [KeyboardInterrupt()])


def test_a_slow_reading_takes_a_fifth_of_the_time() -> None:
    """Readings of 10 s are followed by pauses of 40 s; quick ones by INTERVAL_SECONDS."""
    time, costs = Time(), iter([0.001, 10.0, 0.0])

    def read() -> float:
        time.now += (cost := next(costs))
        return cost

    found = readings(read, pause=time.pause, clock=time.clock)
    assert [next(found) for _ in range(3)] == [0.001, 10.0, 0.0]
    assert time.pauses == [INTERVAL_SECONDS, 40.0]


class Server:
    """One PolicyConflict behind HTTP: `say` is a new state of it, seen by get and watch; it can be away."""

    def __init__(self) -> None:
        self.version, self.outcome = 1, "open"
        self.changed = threading.Condition()
        self.cut = False
        self.stale, self.deleted = 0, False
        """So many watches are told that their version is too old; the object is gone."""
        self.watches: list[str] = []
        self.port = 0

    def document(self) -> Obj:
        meta = {"name": "c", "namespace": "default", "resourceVersion": str(self.version)}
        return {"kind": "PolicyConflict", "metadata": meta, "status": {"outcome": self.outcome}}

    def say(self, outcome: str) -> None:
        with self.changed:
            self.version, self.outcome = self.version + 1, outcome
            self.changed.notify_all()

    def delete(self) -> None:
        with self.changed:
            self.deleted = True
            self.changed.notify_all()

    def leave(self) -> None:
        """Every open answer breaks off, in the middle of a line."""
        with self.changed:
            self.cut = True
            self.changed.notify_all()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Listening, on the same port each time."""
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                if "watch=true" not in self.path:
                    body = json.dumps(own.document()).encode()
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                seen = int(self.path.partition("resourceVersion=")[2].partition("&")[0])
                own.watches.append(self.path)
                self.end_headers()
                if own.stale:
                    own.stale -= 1
                    self.wfile.write(b'{"type": "ERROR", "object": {"kind": "Status", "code": 410}}\n')
                    return
                with own.changed:
                    while not own.cut:
                        if own.deleted:
                            self.wfile.write(json.dumps({"type": "DELETED", "object": own.document()}).encode() + b"\n")
                            return
                        if own.version > seen:
                            seen = own.version
                            self.wfile.write(
                                json.dumps({"type": "MODIFIED", "object": own.document()}).encode() + b"\n"
                            )
                        own.changed.wait()
                self.wfile.write(b'{"type": "MODIF')

            def log_message(self, *_: object) -> None:
                pass

        self.cut = False
        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.leave()
            server.shutdown()
            server.server_close()
            thread.join()


def test_a_real_server_that_goes_away_and_comes_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes before, during and after its absence are each shown once, though its last line broke off."""
    monkeypatch.setattr(clusters, "SHORTEST_WATCH_SECONDS", 0.0)
    server = Server()
    with socket.create_server(("127.0.0.1", 0)) as free:
        server.port = free.getsockname()[1]
    cluster = Cluster(Connection(server=f"http://127.0.0.1:{server.port}"))
    script = iter(["Voting", "leave", "PartyA"])
    serving = server.serving()
    serving.__enter__()

    def shown(conflict: Obj) -> None:
        nonlocal serving
        print(conflict["status"]["outcome"])
        step = next(script, "PartyA")
        if step == "leave":
            serving.__exit__(None, None, None)
        else:
            server.say(step)

    def pause(_: float) -> None:
        nonlocal serving
        server.say("Compromise")
        serving = server.serving()
        serving.__enter__()

    def until_decided() -> Iterator[Obj]:
        for conflict in cluster.changes("PolicyConflict", "c", "default"):
            yield conflict
            if conflict["status"]["outcome"] == "PartyA":
                return

    each(until_decided, shown, watch=True, output=None, pause=pause)
    serving.__exit__(None, None, None)
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["open", "Voting", "Compromise", "PartyA"]
    assert [line for line in captured.err.splitlines() if "asked again" in line or "answers again" in line] == [
        captured.err.splitlines()[0],
        "the API server answers again",
    ]


def test_a_version_that_is_too_old_and_a_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that the server cannot go on with begins with a new reading; the object's deletion ends it."""
    monkeypatch.setattr(clusters, "SHORTEST_WATCH_SECONDS", 0.0)
    server = Server()
    server.stale = 2
    with server.serving():
        found = Cluster(Connection(server=f"http://127.0.0.1:{server.port}")).changes("PolicyConflict", "c", "default")
        read = [next(found)["metadata"]["resourceVersion"] for _ in range(3)]
        server.say("PartyA")
        assert next(found)["status"]["outcome"] == "PartyA"
        server.delete()
        with pytest.raises(NotFoundError, match="PolicyConflict 'c' was deleted"):
            next(found)
    assert read == ["1", "1", "1"]
    assert len(server.watches) == 3 and all("timeoutSeconds=30" in path for path in server.watches)


def test_a_watch_is_of_a_cluster_and_of_now(quorate: Quorate) -> None:
    """Documents do not change, and a given second stays: --watch with either is refused."""
    for more in (("-f", "x.yaml"), ("--at", "2026-01-01T00:00:00Z")):
        for command in (("path", "a", "b"), ("rank",)):
            result = quorate("trust", *command, "--domain", "fleet", "--watch", *more)
            assert result.code == 2 and "--watch" in result.err
