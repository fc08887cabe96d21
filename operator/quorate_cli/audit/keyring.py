"""Which keys may sign a chain's checkpoints, and the checkpoints that the caller brings."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from quorate.audit.checkpoint import CheckpointError, parse_checkpoint
from quorate.audit.note import NoteError, parse_note
from quorate.identity.ed25519 import KeyRefusedError
from quorate.identity.vkey import VerifierKey, parse_verifier_key
from quorate_cli.output import BadInputError, CliError, tell
from quorate_cli.sources import Sources

Chain = Annotated[
    list[str] | None, typer.Option("--chain", metavar="ID", help="Only this chain, `<meshId>/<domain>` or `system`.")
]
LogKeys = Annotated[
    list[str] | None,
    typer.Option("--log-key", metavar="KEY", help="Verifier key of a log, or its .pub file; repeatable."),
]


def read_keys(values: Iterable[str], flag: str = "--log-key") -> list[VerifierKey]:
    """Verifier keys from their text or from files; BadInputError says which is wrong."""
    keys = []
    for value in values:
        try:
            text = Path(value).read_text().strip() if "+" not in value or Path(value).exists() else value
            keys.append(parse_verifier_key(text))
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(f"{flag} {value}: {getattr(error, 'strerror', None) or error}") from error
        except KeyRefusedError as error:
            raise BadInputError(f"{flag} {value}: {error}") from error
    return keys


def signed_by(note: str, keys: Iterable[VerifierKey]) -> bool:
    """Whether a known key claims to have signed the note; the verifier then checks it."""
    known = {(key.name, key.key_id) for key in keys}
    try:
        return any((line.name, line.key_id) in known for line in parse_note(note).signatures)
    except NoteError:
        return True  # malformed: the verifier says how


class Keyring:
    """Which keys may sign a chain's checkpoints: those given, and those of the accepted constitution."""

    def __init__(self, given: list[VerifierKey], constitution_keys: Callable[[str], list[str]]) -> None:
        self._given = given
        self._constitution_keys = constitution_keys

    def of(self, chain: str) -> list[VerifierKey]:
        """The keys of one chain; a given key is for the log that it is named after, so no log vouches for another."""
        given = [key for key in self._given if key.name == chain]
        return [*given, *read_keys(self._constitution_keys(chain))]


def cluster_keys(kubeconfig: str | None, sandbox: str | None) -> Callable[[str], list[str]]:
    """Keys from the accepted constitution of a chain's domain; without a cluster none, which is said once."""
    sources = Sources((), kubeconfig, sandbox)
    state: dict[str, bool] = {"off": False}

    def keys(chain: str) -> list[str]:
        if state["off"] or "/" not in chain:
            return []
        try:
            spec = sources.constitution(chain.rpartition("/")[2]).spec
        except CliError as error:
            state["off"] = True
            tell(f"note: checkpoint keys of the constitution are not used: {error}")
            return []
        log = spec.get("log") or {}
        return [str(key) for key in log.get("keys") or ()] if log.get("origin") == chain else []

    return keys


def read_anchors(files: Iterable[str], keyring: Keyring, flag: str = "--checkpoint") -> dict[str, list[str]]:
    """External checkpoints by the chain that they are of.

    Raises:
        BadInputError: a file is no checkpoint, or no known key signed it.
    """
    anchors: dict[str, list[str]] = {}
    for file in files:
        try:
            note = Path(file).read_text()
            origin = parse_checkpoint(parse_note(note).text).origin
        except (OSError, UnicodeDecodeError, NoteError, CheckpointError) as error:
            raise BadInputError(f"{flag} {file}: {getattr(error, 'strerror', None) or error}") from error
        if not signed_by(note, keyring.of(origin)):
            raise BadInputError(f"{flag} {file}: no known key of log {origin} signed it; give --log-key")
        anchors.setdefault(origin, []).append(note)
    return anchors
