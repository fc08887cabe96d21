"""What the documentation tells people to type, typed: every block under `<!-- run -->`, in the order of the pages."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from quorate_cli.sandbox import binaries
from quorate_cli.sandbox.instance import Sandbox

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "docs/concepts.md",
    "docs/contracts.md",
    "docs/quarantine.md",
    "docs/cli.md",
    "docs/searching.md",
    "docs/publication.md",
    "docs/verification.md",
    "docs/witnesses.md",
    "docs/database.md",
    "docs/trust.md",
    "docs/conflicts.md",
    "docs/signers.md",
    "docs/notifications.md",
    "docs/mission-test.md",
    "README.md",
)
"""In the order in which their blocks run: later pages look at what the first one made."""
BLOCK = re.compile(r"<!-- run -->\n```sh\n(.*?)```", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
SECONDS = 240


class Block(NamedTuple):
    """Commands of a page, and the line that they begin at."""

    page: str
    line: int
    text: str


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        found += [Block(page, text.count("\n", 0, m.start(1)) + 1, m[1]) for m in BLOCK.finditer(text)]
    return found


class Shell:
    """Runs blocks in one folder; variables that a block exports reach the next one."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.failed = False

    def run(self, block: Block) -> None:
        variables = self.folder / "variables"
        done = subprocess.run(
            ["/bin/sh", "-euc", f'{block.text}\nenv -0 > "{variables}"'], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        self.failed = done.returncode != 0
        assert not self.failed, f"{block.page}:{block.line}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        pairs = variables.read_bytes().rstrip(b"\x00").split(b"\x00")
        self.environment = dict(pair.decode().split("=", 1) for pair in pairs)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A copy of the examples, with quorate and kubectl on the path; the sandbox that the pages start ends with it."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "examples/fleet", folder, dirs_exist_ok=True)
    programs = folder / "bin"
    programs.mkdir()
    script = programs / "quorate"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m quorate_cli "$@"\n')
    script.chmod(0o755)
    (programs / "kubectl").symlink_to(binaries.find(["kubectl"], say=print)["kubectl"])
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("QUORATE_", "KUBECONFIG", "XDG_"))
    }
    cache = os.environ.get("QUORATE_CACHE", str(Path.home() / ".cache/quorate"))
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    yield Shell(folder, {**kept, "PATH": path, "HOME": str(folder), "QUORATE_CACHE": cache})
    Sandbox("first", state_root=folder / ".local/state/quorate/sandbox").down()


@pytest.mark.parametrize("block", blocks(), ids=lambda block: f"{block.page}:{block.line}")
def test_what_the_page_says_works(shell: Shell, block: Block) -> None:
    """Every command of the block ends well, after those above it."""
    if shell.failed:
        pytest.skip("a block above it failed")
    shell.run(block)


def test_links_lead_somewhere() -> None:
    """Every relative link of the documentation names a file."""
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    pages += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", CODE.sub("", page.read_text()))
        if not (page.parent / target).exists()
    ]
    assert broken == []
