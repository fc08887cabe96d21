"""Signed checkpoints on schedule: the head of every chain whose log key this installation holds (audit.md, 7).

A key file is a C2SP private key whose name is the chain; the folder is read at each turn, so that a key may be added
or rotated while the operator runs. A chain without a key stays UNANCHORED, which the log says once.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Container
from pathlib import Path

from quorate.identity.ed25519 import KeyRefusedError
from quorate.identity.vkey import SignerKey, parse_signer_key
from quorate_operator.errors import Fatal, OperatorError
from quorate_operator.store.intake import KEY_FILE as INTAKE_KEY_FILE
from quorate_operator.store.ports import Log

_log = logging.getLogger(__name__)
MAX_KEY_BYTES = 4096


def signer_keys(folder: Path | None) -> dict[str, SignerKey]:
    """Signer keys by chain from the `*.key` files of a folder; unreadable ones are logged by name and left out."""
    keys: dict[str, SignerKey] = {}
    if folder is None or not folder.is_dir():
        return keys
    for path in sorted(folder.glob("*.key")):
        if path.name == INTAKE_KEY_FILE:  # beside the log keys, but no signer
            continue
        try:
            key = parse_signer_key(path.read_text()[:MAX_KEY_BYTES])
        except (OSError, UnicodeDecodeError, KeyRefusedError):
            _log.warning("not a C2SP private key: %s", path.name, extra={"reason": "BadLogKey"})
            continue
        keys[key.name] = key
    return keys


class Checkpoints:
    """Signs the head of each chain that grew, every `seconds`.

    Args:
        log: whose heads are signed.
        folder: of the signer keys.
        seconds: between two turns.
        signed: hears of the chain.
        before: looks whether all is well before each turn, and says which chains are stopped: those are not signed.
        hurry: set where a turn may not wait: after a resumption, which the outside learns of by a checkpoint alone.
    """

    def __init__(
        self,
        log: Log,
        folder: Path | None,
        seconds: float,
        signed: Callable[[str], Awaitable[None]],
        before: Callable[[], Awaitable[Container[str]]],
        hurry: asyncio.Event,
    ) -> None:
        self._log = log
        self._folder = folder
        self._seconds = seconds
        self._signed = signed
        self._before = before
        self._hurry = hurry
        self._sizes: dict[str, int] = {}
        self._keyless: set[str] = set()

    async def run(self) -> None:
        """Sign for ever; a database that is away is tried again at the next turn.

        Raises:
            Fatal: leadership was lost.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                await self.turn()
            except Fatal:
                raise
            except OperatorError as error:
                _log.warning(error.message, extra={"reason": error.reason})

    async def turn(self) -> None:
        """Sign every chain that grew since the last turn and is not stopped."""
        stopped = await self._before()
        keys = await asyncio.to_thread(signer_keys, self._folder)
        for head in await self._log.chains():
            if self._sizes.get(head.chain_id) == head.size or head.chain_id in stopped:
                continue
            key = keys.get(head.chain_id)
            if key is None:
                if head.chain_id not in self._keyless:
                    self._keyless.add(head.chain_id)
                    _log.warning("no log key for chain %s: not signed", head.chain_id, extra={"reason": "NoLogKey"})
                continue
            await self._log.checkpoint(head.chain_id, key)
            await self._signed(head.chain_id)
            self._sizes[head.chain_id] = head.size  # last: what was not told is told at the next turn
