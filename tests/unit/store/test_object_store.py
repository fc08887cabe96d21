"""The port `Files` on object stores: against a real S3 server process, and the same on a directory."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.audit import tiles
from quorate_operator.errors import OperatorError
from quorate_operator.store.directory import LogDirectory, find
from quorate_operator.store.directory_writer import write_view
from quorate_operator.store.files import Files, LocalFiles, open_files
from tests.unit.audit.tree import CHAIN, Tree

pytest.importorskip("obstore")
TREE = Tree([b"record %d" % number for number in range(700)])


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Endpoint of an S3 server in a process of its own."""
    pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server,s3]'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _await(endpoint, server)
            urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT"), timeout=10).close()
            yield endpoint
        finally:
            server.kill()


def _await(endpoint: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=1).close()
        except OSError:
            continue
        return
    raise AssertionError("the S3 server does not answer")


@pytest.fixture(params=["directory", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """An empty place of each kind."""
    if request.param == "directory":
        return open_files(str(tmp_path / "published"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3"))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return open_files(f"s3://bucket/{os.urandom(4).hex()}")


def test_bytes_are_kept_by_name(files: Files) -> None:
    """What was written is read, replaced, listed and removed by its name; what is not there is None."""
    assert files.read("a/b", 10) is None and files.folders("") == []
    files.remove_folder("a/x.p")
    for name, data in {"a/b": b"one", "a/x.p/1": b"1", "a/x.p/2": b"2", "c%2F/d/e": b"odd"}.items():
        files.write(name, data)
    files.flush()
    assert files.read("a/b", 3) == b"one" and files.read("a/b", 2) is None and files.read("c%2F/d/e", 9) == b"odd"
    assert files.folders("") == ["a", "c%2F"] and files.folders("c%2F") == ["d"] and files.folders("none") == []
    files.write("a/b", b"two")
    files.remove_folder("a/x.p")
    files.flush()
    assert files.read("a/b", 3) == b"two" and files.read("a/x.p/1", 9) is None
    assert files.read("a", 9) is None


async def test_a_view_grows_there(files: Files) -> None:
    """A chain is published step by step and read back, partial tiles that are not needed any more are gone."""
    place = LogDirectory.of(files, CHAIN)
    for size in (200, 300, 700):
        await write_view(place, TREE, TREE.note(size))
    assert place.tiles(tiles.covering(0, 700, 700)) == TREE.every_tile()
    assert [record for _, record in place.records(0, 700, 700)] == TREE.records
    assert [found.base for found in find(files)] == ["mesh.example/fleet"]
    assert files.read(place.name("tile/0/000.p/200"), 9000) is None


def test_what_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL of no store, a place that is away and one that may not be written are refused with their name."""
    with pytest.raises(OperatorError, match="ObjectStoreUnusable: nothing://x"):
        open_files("nothing://x")
    settings = {"ENDPOINT_URL": "http://127.0.0.1:9", "ALLOW_HTTP": "true", "REGION": "x"}
    settings |= {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(OperatorError, match="FilesUnavailable: s3://bucket/x, a/checkpoint"):
        open_files("s3://bucket/x").read("a/checkpoint", 9)
    (tmp_path / "file").touch()
    with pytest.raises(OperatorError, match=r"FilesUnavailable.*file"):
        LocalFiles(tmp_path / "file").write("a/b", b"")
