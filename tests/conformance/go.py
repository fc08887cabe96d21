"""The Go program that verifies Quorate's files with public modules, built once for a test run."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

MODULE = Path(__file__).parent / "outsider"


class RefusedError(Exception):
    """The outsider's sentence."""


@cache
def binary() -> str:
    """Path of the program; skips the test, with the reason, where it cannot be built."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed: the outsider's proof needs it, https://go.dev/dl")
    target = f"{mkdtemp(prefix='quorate-outsider-')}/outsider"
    command = [go, "build", "-o", target, "."]
    built = subprocess.run(command, cwd=MODULE, capture_output=True, text=True, timeout=300, check=False)
    if built.returncode and ("proxy" in built.stderr or "go.mod requires go" in built.stderr):
        pytest.skip(f"the outsider cannot be built here: {built.stderr.splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    return target


def outsider(command: str, *arguments: object, log: Sequence[object] = (), witnesses: Sequence[object] = ()) -> Any:
    """What the program found; RefusedError with its sentence if it refuses."""
    keys = [part for key in log for part in ("-log", str(key))]
    keys += [part for key in witnesses for part in ("-witness", str(key))]
    done = subprocess.run(
        [binary(), command, *map(str, arguments), *keys], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise RefusedError(done.stderr.strip())
    return json.loads(done.stdout)
