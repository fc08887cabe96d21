"""The verification engine as the operator runs it: one process at a time, of low priority, ended with the operator."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from quorate_operator.errors import Transient
from quorate_operator.verification.request import EXIT, ChainRequest, request_document

TIMEOUT_SECONDS = 4 * 3600.0
NICENESS = 10
_MAX_OUTPUT = 64 * 1024 * 1024


class Engine(Protocol):
    """Verifies chains of the database."""

    async def verify(self, requests: Sequence[ChainRequest]) -> Mapping[str, Any]:
        """`Report.document` of the requests.

        Raises:
            Transient: `VerificationUnavailable`, it gave no result.
        """
        ...


class Subprocess:
    """`python -m quorate_operator.verification`, with the DSN in its environment.

    Args:
        dsn: of the database; a reader's rights are enough.
        timeout: seconds after which it is ended.
        workers: processes that it may use.
    """

    def __init__(self, dsn: str, *, timeout: float = TIMEOUT_SECONDS, workers: int = 1) -> None:
        self._dsn = dsn
        self._timeout = timeout
        self._workers = workers
        self._one = asyncio.Lock()

    async def verify(self, requests: Sequence[ChainRequest]) -> Mapping[str, Any]:
        """`Engine.verify`."""
        async with self._one:
            question = json.dumps(request_document(requests, workers=self._workers)).encode()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "quorate_operator.verification",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "QUORATE_DSN": self._dsn},
                start_new_session=True,  # so that its workers end with it
                limit=_MAX_OUTPUT,
            )
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PGRP, process.pid, NICENESS)
            try:
                async with asyncio.timeout(self._timeout):
                    answer, complaint = await process.communicate(question)
            except TimeoutError as error:
                message = f"the verification did not end in {self._timeout:g} s"
                raise Transient("VerificationUnavailable", message) from error
            finally:
                await end(process)
        return _answer(process.returncode, answer, complaint)


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process that was started as a session of its own, and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _answer(code: int | None, answer: bytes, complaint: bytes) -> Mapping[str, Any]:
    try:
        document: dict[str, Any] = json.loads(answer)
    except ValueError:
        document = {}
    if code in EXIT.values() and "chains" in document:
        return document
    told = document.get("error") or (complaint.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
    raise Transient("VerificationUnavailable", f"the verification ended with {code} and said: {told[:500]}")
