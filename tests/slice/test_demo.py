"""`quorate demo`: what the newcomer is told is what happens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quorate_cli.sandbox.instance import Sandbox

NAME = "test-demo"


@pytest.mark.long
def test_the_demo_comes_out_as_told(tmp_path: Path) -> None:
    """Every step has the outcome that the story tells, off a terminal without a colour code, and can be told again."""
    state = {"QUORATE_STATE": str(tmp_path / "state")}
    try:
        for folder in ("first", "again"):
            done = _demo(tmp_path / folder, state)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr
            assert "\033" not in done.stdout
            assert "TAMPERED: what is stored is not what was sealed" in done.stdout
    finally:
        Sandbox(NAME, tmp_path / "state").down()


def _demo(folder: Path, state: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "quorate_cli", "demo", f"--name={NAME}", f"--dir={folder}"]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=400, env={**os.environ, **state}
    )
