"""The anchors' Go program: built once, and one started system that is measured round by round."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import IO

from quorate_cli.sandbox.binaries import cache_root

HERE = Path(__file__).parent


def version_of(module: str) -> str:
    """The pinned version of a required module, without its `v`."""
    found = re.search(rf"^\s*{re.escape(module)} v(\S+)", (HERE / "go.mod").read_text(), re.MULTILINE)
    assert found, f"{module} is not in go.mod"
    return found[1]


def built() -> Path:
    """The program, compiled into the cache unless these very sources were before."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit("the anchors are Go programs: install Go (https://go.dev/dl) or leave them out")
    digest = hashlib.sha256(subprocess.run([go, "version"], check=True, capture_output=True).stdout)
    for source in sorted([*HERE.glob("*.go"), *HERE.glob("go.*")]):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    program = cache_root() / "anchors" / digest.hexdigest()[:16]
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            made = Path(folder) / "anchors"
            subprocess.run([go, "build", "-o", str(made), "."], cwd=HERE, check=True)
            made.replace(program)
    return program


@dataclass(frozen=True)
class Started:
    """A system that runs and waits for its next round."""

    asked: IO[str]
    said: IO[str]
    signal: Callable[[int], None]

    def round(self) -> tuple[float, float]:
        """Entries per second, and the 99th percentile of their milliseconds, of one round; it stands still after it."""
        self.signal(SIGCONT)
        self.asked.write("\n")
        self.asked.flush()
        for line in self.said:
            if line.startswith("{"):  # immudb greets there, too.
                self.signal(SIGSTOP)
                figure = json.loads(line)
                return float(figure["perSecond"]), float(figure["p99Ms"])
        raise SystemExit("an anchor ended before its round did: its errors stand beside this")


@contextmanager
def started(system: str, place: Path, **flags: object) -> Iterator[Started]:
    """A system with an empty directory below `place`; `flags` are the program's."""
    words = [word for name, value in flags.items() for word in (f"-{name}", str(value))]
    with (
        tempfile.TemporaryDirectory(dir=place) as folder,
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [built(), "-system", system, "-dir", folder, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdin and process.stdout
        try:
            yield Started(process.stdin, process.stdout, process.send_signal)
        finally:
            process.send_signal(SIGCONT)
            process.stdin.close()
            process.stdout.read()  # It says good-bye, too; a full pipe would hold it up.
            if process.wait(60):
                errors.seek(0)
                sys.stderr.write(errors.read())
