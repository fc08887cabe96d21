"""What a witness remembers: a folder with one state per log, written so that a crash leaves the old or the new one.

`<folder>/<chain>/witness.json` is the state, `constitution.json` the revisions that the witness verified itself,
`reset-<seconds>.json` a state that a person put aside. One process at a time holds `<folder>/lock`.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quorate.audit.tiles import TileError, chain_of, chain_path
from quorate.audit.witness import WitnessState
from quorate.audit.witness_form import FormError, encode_state, parse_state
from quorate.canonical import NotCanonicalError, canonical_bytes, parse_json
from quorate_cli.output import BadInputError, CliError
from quorate_operator.errors import Transient
from quorate_operator.store.files import LocalFiles

_STATE, _CONSTITUTION, _RESET = "witness.json", "constitution.json", "reset-"


class Memory:
    """The folder of one witness."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = LocalFiles(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: two processes with one memory could cosign two histories."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadInputError(f"--state {self._folder}: {error.strerror or error}") from error
        try:
            _lock(handle, self._folder)
            yield
        finally:
            os.close(handle)

    def origins(self) -> list[str]:
        """The logs of which it remembers something."""
        found = []
        for path in sorted(self._folder.rglob(_STATE)):
            try:
                found.append(chain_of(path.parent.relative_to(self._folder).as_posix()))
            except TileError:
                continue
        return found

    def read(self, origin: str) -> WitnessState:
        """The state of a log; an empty one if there is none yet.

        Raises:
            CliError: there is one, but it cannot be used: going on from nothing would forget what was cosigned.
        """
        path = self._path(origin) / _STATE
        data = _read(path)
        if data is None:
            return WitnessState(origin)
        try:
            state = parse_state(data)
        except FormError as error:
            raise CliError(f"{path}: is no state of a witness: {error}") from error
        if state.origin != origin:
            raise CliError(f"{path}: is of log {state.origin!r}, not {origin!r}")
        return state

    def write(self, state: WitnessState) -> None:
        """Durable when it returns; CliError if it cannot be made so."""
        self._write(f"{chain_path(state.origin)}/{_STATE}", encode_state(state))

    def put_aside(self, origin: str, reason: str, now: int) -> Path:
        """Forget what was seen of a log; the old state stays in a file of its own, whose path is returned."""
        state = self.read(origin)
        name = f"{chain_path(origin)}/{_RESET}{now}.json"
        document = {"reason": reason, "at": now, "state": parse_json(encode_state(state))}
        self._write(name, canonical_bytes(document))
        self.write(WitnessState(origin))
        return self._folder / name

    def forgotten(self, origin: str) -> list[WitnessState]:
        """What was put aside."""
        found = []
        for path in sorted(self._path(origin).glob(f"{_RESET}*.json")):
            try:
                found.append(parse_state(canonical_bytes(parse_json(path.read_bytes())["state"])))
            except (OSError, NotCanonicalError, FormError, KeyError, TypeError) as error:
                raise CliError(f"{path}: is nothing that a witness put aside: {error}") from error
        return found

    def constitution(self, origin: str) -> list[dict[str, Any]]:
        """Specs of the revisions that were verified, from the first on."""
        path = self._path(origin) / _CONSTITUTION
        data = _read(path)
        try:
            return [] if data is None else list(parse_json(data))
        except (NotCanonicalError, TypeError) as error:
            raise CliError(f"{path}: cannot be read: {error}") from error

    def remember_constitution(self, origin: str, specs: list[dict[str, Any]]) -> None:
        """Durable when it returns."""
        self._write(f"{chain_path(origin)}/{_CONSTITUTION}", canonical_bytes(specs))

    def _path(self, origin: str) -> Path:
        try:
            return self._folder / chain_path(origin)
        except TileError as error:
            raise BadInputError(f"log {origin!r}: {error}") from error

    def _write(self, name: str, data: bytes) -> None:
        try:
            self._files.write(name, data)
            self._files.flush()
        except Transient as error:
            raise CliError(f"--state: nothing is cosigned, as it cannot be stored: {error.message}") from error


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CliError(f"--state {folder}: another witness process holds it; stop that one first") from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CliError(f"{path}: {error.strerror or error}") from error
