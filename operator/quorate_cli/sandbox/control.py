"""The other end of the supervisor's protocol (`supervisor.py`)."""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import Layout
from quorate_cli.sandbox.supervisor import Spec

_TIMEOUT_SECONDS = 15.0


class Control:
    """A connection to a supervisor."""

    def __init__(self, connection: socket.socket, process: subprocess.Popen[bytes] | None = None) -> None:
        connection.settimeout(_TIMEOUT_SECONDS)
        self._connection = connection
        self._reader = connection.makefile("rb")
        self._process = process
        """The supervisor, where this process started it and so has to reap it."""

    @classmethod
    def launch(cls, layout: Layout) -> Self:
        """Start a supervisor that lives as long as this connection, until `detach`."""
        ours, theirs = socket.socketpair()
        log = (layout.logs / "supervisor.log").open("ab")
        with theirs, log:
            process = subprocess.Popen(
                [sys.executable, "-m", "quorate_cli.sandbox.supervisor", str(layout.state), str(layout.control),
                 str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                pass_fds=[theirs.fileno()], cwd=layout.state, env=os.environ | python_path(),
            )  # fmt: skip
        return cls(ours, process)

    @classmethod
    def connect(cls, path: Path) -> Self | None:
        """A connection to the supervisor that listens there; None if there is none."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            return None
        return cls(connection)

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """One request and its answer: the sandbox's state.

        Raises:
            SandboxError: the supervisor refused, or is gone.
        """
        try:
            self._connection.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
            line = self._reader.readline()
        except OSError as error:
            raise SandboxError(f"the sandbox's supervisor does not answer ({error})") from None
        if not line:
            raise SandboxError("the sandbox's supervisor has ended; run `quorate sandbox up` again")
        answer: dict[str, Any] = json.loads(line)
        if answer.get("errno") == errno.ENOSPC:
            raise SandboxError(f"the disk is full ({answer['error']}); free some space and run it again")
        if "error" in answer:
            raise SandboxError(f"{answer['error']}")
        return answer

    def start(self, spec: Spec) -> dict[str, Any]:
        """Start a component."""
        return self.ask("start", spec=asdict(spec))

    def wait_end(self, timeout: float) -> bool:
        """Wait until the supervisor has ended; False after `timeout` seconds."""
        self._connection.settimeout(timeout)
        try:
            while self._reader.readline():
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        return True

    def close(self) -> None:
        """Close the connection (and take everything down, if this one launched and did not detach)."""
        self._reader.close()
        self._connection.close()


def python_path() -> dict[str, str]:
    """PYTHONPATH with which a child finds the packages that this process found."""
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
