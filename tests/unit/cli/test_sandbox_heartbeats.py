"""When the sandbox's example nodes heartbeat."""

import json
from pathlib import Path
from typing import Any

from quorate_cli.output import CliError
from quorate_cli.sandbox.heartbeats import run


def test_each_file_beats_at_its_own_pace_and_failures_are_tried_again(tmp_path: Path) -> None:
    """A node beats at once and then every `every` seconds; one that fails beats again a second later."""
    for name, every in (("a", 10), ("b", 30)):
        entry = {"node": name, "domain": "d", "key": "k", "every": every}
        (tmp_path / f"{name}.json").write_text(json.dumps(entry))
    sent: list[tuple[float, str]] = []
    due: dict[Path, float] = {}
    for now in (100.0, 100.5, 101.0, 110.0, 111.5, 130.0):

        def send(entry: dict[str, Any], now: float = now) -> None:
            if entry["node"] == "a" and now == 100.0:
                raise CliError("no challenge yet")
            sent.append((now, entry["node"]))

        run(tmp_path, send, now, due)
    assert sent == [(100.0, "b"), (101.0, "a"), (111.5, "a"), (130.0, "a"), (130.0, "b")]


def test_broken_and_removed_files_stop_nothing(tmp_path: Path) -> None:
    """A half-written file does not keep the other nodes from beating; a removed one is forgotten."""
    (tmp_path / "a.json").write_text('{"node": ')
    (tmp_path / "b.json").write_text('{"node": "b", "domain": "d", "key": "k"}')
    sent: list[dict[str, Any]] = []
    due: dict[Path, float] = {}
    run(tmp_path, sent.append, 1.0, due)
    assert [entry["node"] for entry in sent] == ["b"]
    (tmp_path / "a.json").unlink()
    run(tmp_path, sent.append, 5.0, due)
    assert list(due) == [tmp_path / "b.json"]
