"""The helpers for CuPy and PyTorch, over stand-ins with the same calls."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import quorate_mission
from quorate_mission import Cannot, Directive, Mission
from tests.unit.sdk.stand_ins import GIB, cupy_module, torch_module


@pytest.fixture
def mission(tmp_path: Path) -> Iterator[Mission]:
    """A mission without an agent."""
    found = quorate_mission.connect(str(tmp_path / "none.sock"))
    yield found
    found.close(5)


def helper(monkeypatch: pytest.MonkeyPatch, name: str, module: Any) -> Any:
    """The helper, imported over a stand-in."""
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, f"quorate_mission.{name}", raising=False)
    return importlib.import_module(f"quorate_mission.{name}")


def ask(mission: Mission, action: str, **arguments: int) -> Any:
    """What the handler of an action returns."""
    message = {"id": "d", "action": action, "policy": "p", "rule": "memory", "within": 10**6, "arguments": arguments}
    handler = mission._handlers[action]
    assert handler is not None
    return handler(Directive(message, lambda *_: None))


def test_the_helpers_are_only_imported_when_used() -> None:
    """A workload without CuPy or PyTorch imports the package; the helper says what is missing."""
    code = (
        "import sys, quorate_mission; assert not {'cupy', 'torch', 'numpy'} & set(sys.modules);"
        "sys.modules['cupy'] = None; import quorate_mission.cupy"
    )
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert "ModuleNotFoundError: import of cupy halted" in found.stderr


def test_the_pool_keeps_its_limit_and_gives_back(mission: Mission, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in use is given back after caches were dropped, and the policy's limit is kept from then on."""
    cupy = cupy_module()

    def drop() -> None:
        cupy.pool.used = 2 * GIB

    governed = helper(monkeypatch, "cupy", cupy).GovernedPool
    governed(mission, limit=10 * GIB, drop=drop)
    assert cupy.pool.limit == 10 * GIB
    cupy.pool.used, cupy.pool.held, cupy.pinned.held = 5 * GIB, 9 * GIB, GIB
    assert ask(mission, "FreeMemory", limit=4 * GIB) == f"{7 * GIB} bytes given back, {2 * GIB} held"
    assert (cupy.pool.limit, cupy.pinned.held) == (4 * GIB, 0)


def test_a_pool_that_needs_more_says_so(mission: Mission, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the arrays in use are over the limit the answer is Refused, and the limit stays as it was."""
    cupy = cupy_module()
    helper(monkeypatch, "cupy", cupy).GovernedPool(mission)
    cupy.pool.used = cupy.pool.held = 5 * GIB
    with pytest.raises(Cannot, match=f"{5 * GIB} bytes are in use, the limit is {4 * GIB}; 0 were given back"):
        ask(mission, "FreeMemory", limit=4 * GIB)
    assert cupy.pool.limit == 0


def test_torch_keeps_its_limit_and_gives_back(mission: Mission, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is a share of the device; what the allocator holds unused is given back."""
    torch = torch_module()
    helper(monkeypatch, "torch", torch).govern(mission, limit=20 * GIB)
    assert torch.fraction == (0.25, 0)
    torch.pool.used, torch.pool.held = GIB, 6 * GIB
    assert ask(mission, "FreeMemory", limit=4 * GIB) == f"{5 * GIB} bytes given back, {GIB} held"
    torch.pool.used = torch.pool.held = 5 * GIB
    with pytest.raises(Cannot, match="bytes are held, the limit is"):
        ask(mission, "FreeMemory", limit=4 * GIB)


def test_checkpoints_are_whole_or_not_there(mission: Mission, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A checkpoint is replaced as a whole, restored by RollBack, and one that fails leaves the old one."""
    path, state, loaded = tmp_path / "c.pt", {"step": 1}, list[Any]()
    torch = torch_module()
    helper(monkeypatch, "torch", torch).checkpoints(mission, str(path), lambda: state, loaded.append)
    with pytest.raises(Cannot, match="there is no checkpoint"):
        ask(mission, "RollBack")
    assert ask(mission, "Checkpoint") == f"saved {path}"
    assert ask(mission, "CheckpointAndAbort") == f"saved {path}"
    assert ask(mission, "RollBack") == f"restored {path}"
    assert loaded == [{"step": 1}]

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    torch.save = full
    with pytest.raises(OSError, match="No space"):
        ask(mission, "Checkpoint")
    assert [found.name for found in tmp_path.iterdir()] == ["c.pt"]
    assert json.loads(path.read_text()) == {"step": 1}


def test_facts_of_torch(mission: Mission, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, seed and determinism are reported as the facts of a run."""
    helper(monkeypatch, "torch", torch_module()).facts(mission)
    assert mission._facts == {"torch": "2.9.0", "cuda": "13.0", "seed": "7", "deterministic": "True"}
