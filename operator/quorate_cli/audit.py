"""`quorate audit`: re-derive the log from its stored bytes, and search it."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quorate.audit.checkpoint import CheckpointError, parse_checkpoint
from quorate.audit.entry import parse_timestamp
from quorate.audit.note import NoteError, parse_note
from quorate.audit.record import Record
from quorate.audit.verify import ChainReport, ChainVerifier, StoredEntry, Verdict, combine
from quorate.canonical import parse_json, parse_time
from quorate.identity.ed25519 import KeyRefusedError
from quorate.identity.vkey import VerifierKey, parse_verifier_key
from quorate_cli.options import Dsn, Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Column, ExitCode, Format, emit, paint, show_table, tell
from quorate_cli.place import find_dsn
from quorate_cli.sources import Sources

if TYPE_CHECKING:
    from quorate_cli.database import Reader

Obj = dict[str, Any]
app = typer.Typer(no_args_is_help=True, help="Verify the log and search it.")
EXIT = {
    Verdict.INTACT: ExitCode.OK,
    Verdict.TAMPERED: ExitCode.TAMPERED,
    Verdict.UNANCHORED: ExitCode.UNANCHORED,
    Verdict.CANNOT_TELL: ExitCode.CANNOT_TELL,
}
_STYLES = {Verdict.INTACT: "good", Verdict.TAMPERED: "bad"}

Chain = Annotated[
    list[str] | None, typer.Option("--chain", metavar="ID", help="Only this chain, `<meshId>/<domain>` or `system`.")
]
LogKeys = Annotated[
    list[str] | None,
    typer.Option("--log-key", metavar="KEY", help="Verifier key of a log, or its .pub file; repeatable."),
]


def read_keys(values: Iterable[str]) -> list[VerifierKey]:
    """Verifier keys from their text or from files; BadInputError says which is wrong."""
    keys = []
    for value in values:
        try:
            text = Path(value).read_text().strip() if "+" not in value or Path(value).exists() else value
            keys.append(parse_verifier_key(text))
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(f"--log-key {value}: {getattr(error, 'strerror', None) or error}") from error
        except KeyRefusedError as error:
            raise BadInputError(f"--log-key {value}: {error}") from error
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
        """The keys of one chain."""
        return [*self._given, *read_keys(self._constitution_keys(chain))]


def _cluster_keys(kubeconfig: str | None, sandbox: str | None) -> Callable[[str], list[str]]:
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


def read_anchors(files: Iterable[str], keyring: Keyring) -> dict[str, list[str]]:
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
            raise BadInputError(f"--checkpoint {file}: {getattr(error, 'strerror', None) or error}") from error
        if not signed_by(note, keyring.of(origin)):
            raise BadInputError(f"--checkpoint {file}: no known key of log {origin} signed it; give --log-key")
        anchors.setdefault(origin, []).append(note)
    return anchors


def verify_chain(
    reader: "Reader", chain: str, keyring: Keyring, anchors: Iterable[str], progress: Callable[[], None]
) -> ChainReport:
    """Verify one chain of a snapshot."""
    keys = keyring.of(chain)
    notes = reader.checkpoints(chain)
    stored = [note for note in notes if signed_by(note, keys)]
    verifier = ChainVerifier(chain, keys=keys, stored=stored, anchors=anchors)
    for entry in reader.entries(chain):
        if not verifier.feed(entry):
            break
        if verifier.report.checked % 5000 == 0:
            progress()
    report = verifier.finish(reader.head(chain))
    if len(stored) < len(notes):
        report.notes.append(f"{len(notes) - len(stored)} stored checkpoints by unknown keys were not used")
    return report


@contextmanager
def _progress(what: str) -> Iterator[Callable[[], None]]:
    """Says on a terminal that something goes on; elsewhere nothing."""
    import sys  # noqa: PLC0415

    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 - only on a terminal

    with Console(stderr=True).status(what):
        yield lambda: None


@app.command()
def verify(
    chains: Chain = None,
    checkpoints: Annotated[
        list[str] | None,
        typer.Option("--checkpoint", metavar="FILE", help="A signed checkpoint kept outside the database; repeatable."),
    ] = None,
    log_keys: LogKeys = None,
    output: Output = Format.TABLE,
    dsn: Dsn = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Re-derive every entry, chain and Merkle root from the stored bytes, and compare with signed checkpoints."""
    from quorate_cli.database import reading  # noqa: PLC0415 - psycopg is slow to import

    keyring = Keyring(read_keys(log_keys or ()), _cluster_keys(kubeconfig, sandbox))
    anchors = read_anchors(checkpoints or (), keyring)
    started = time.monotonic()
    with reading(find_dsn(dsn, sandbox, kubeconfig)) as reader, _progress("verifying the log …") as progress:
        # A chain that only a given checkpoint knows was deleted as a whole: it is verified too, and found wanting.
        wanted = chains or sorted({*reader.chains(), *anchors})
        reports = [verify_chain(reader, chain, keyring, anchors.get(chain, ()), progress) for chain in wanted]
    verdict = combine(reports)
    _report(reports, verdict, time.monotonic() - started, output)
    raise typer.Exit(int(EXIT[verdict]))


def _report(reports: list[ChainReport], verdict: Verdict, seconds: float, output: Format) -> None:
    if output in (Format.JSON, Format.YAML):
        emit({"verdict": verdict.value, "chains": [_document(report) for report in reports]}, output)
        return
    if output is Format.NAME:
        print(verdict.value)
        return
    show_table(_COLUMNS if output is Format.WIDE else _COLUMNS[:5], reports)
    checked = sum(report.checked for report in reports)
    anchored = sum(report.anchored_size for report in reports)
    print(
        f"\nchecked: {checked} entries of {len(reports)} chains in {seconds:.2f} s: content, record, chain, Merkle root"
    )
    print(f"anchored: {anchored} entries by checkpoints from outside the database")
    for report in reports:
        for note in report.notes:
            print(f"note: {report.chain_id}: {note}")
        if report.fault is not None:
            print(paint(_fault(report), "bad"))
    print(paint(f"{verdict.value.upper()}{_MEANING[verdict]}", _STYLES.get(verdict, "warn")))


_MEANING = {
    Verdict.INTACT: "",
    Verdict.TAMPERED: ": what is stored is not what was sealed",
    Verdict.UNANCHORED: ": everything fits together; a --checkpoint from outside would show that it is all",
    Verdict.CANNOT_TELL: ": nothing was checked",
}
_COLUMNS: list[Column] = [
    ("chain", lambda report: report.chain_id),
    ("entries", lambda report: report.checked),
    ("checkpoints", lambda report: report.checkpoints),
    ("anchored", lambda report: report.anchored_size),
    ("verdict", lambda report: report.verdict.value),
    ("root", lambda report: report.root),
]


def _fault(report: ChainReport) -> str:
    fault = report.fault
    assert fault is not None
    where = "" if fault.entry_id is None else f", entry {fault.sequence} ({fault.entry_id})"
    return f"{fault.chain_id}{where}: {fault.phase}: {fault.message}"


def _document(report: ChainReport) -> Obj:
    fault = None if report.fault is None else vars(report.fault)
    return {
        "chain": report.chain_id,
        "verdict": report.verdict.value,
        "checked": report.checked,
        "root": report.root,
        "checkpoints": report.checkpoints,
        "anchoredSize": report.anchored_size,
        "notes": report.notes,
        **({} if fault is None else {"fault": {_camel(name): value for name, value in fault.items()}}),
    }


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


@app.command()
def log(
    chains: Chain = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Who did it: part of the actor's id.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="What it concerns: subject key, kind/name, or a digest.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Event type, or its beginning: governance.vote.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="From this time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Only the last so many.")] = 1000,
    output: Output = Format.TABLE,
    dsn: Dsn = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show entries of the log, in the order in which they were sealed."""
    from collections import deque  # noqa: PLC0415

    from quorate_cli.database import reading  # noqa: PLC0415 - psycopg is slow to import

    wanted = _Filter(
        actor=actor, target=target, kind=kind, since=_second("--since", since), until=_second("--until", until)
    )
    with reading(find_dsn(dsn, sandbox, kubeconfig)) as reader:
        found = deque(
            (shown for chain in chains or reader.chains() for shown in wanted.select(chain, reader.entries(chain))),
            maxlen=limit,
        )
    rows = sorted(found, key=lambda row: (row["sealedAt"], row["chain"], row["sequence"]))
    if output in (Format.JSON, Format.YAML):
        emit(rows, output)
        return
    emit(rows, output, columns=_LOG_COLUMNS, wide=_LOG_WIDE, name=lambda row: str(row["entry"]["entry_id"]))


def _second(flag: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        raise BadInputError(f"{flag}: {error}") from error


class _Filter:
    """Selects entries; all conditions that are given must hold."""

    def __init__(
        self, *, actor: str | None, target: str | None, kind: str | None, since: int | None, until: int | None
    ) -> None:
        self._actor, self._target, self._kind = actor, target, kind
        self._since, self._until = since, until

    def select(self, chain: str, entries: Iterable[StoredEntry]) -> Iterator[Obj]:
        """The matching entries as shown."""
        for stored in entries:
            try:
                record = Record.decode(stored.record)
                content = parse_json(record.content)
            except ValueError as error:
                raise CliError(
                    f"{chain}, entry {stored.sequence}: cannot be read ({error}); run `quorate audit verify`"
                ) from error
            if self._matches(content):
                yield {"chain": chain, "sequence": stored.sequence, "sealedAt": record.sealed_at, "entry": content}

    def _matches(self, content: Obj) -> bool:
        second = parse_timestamp(content["timestamp"]) // 1_000_000
        return (
            (self._actor is None or self._actor in str(content.get("actor_id", "")))
            and (self._kind is None or str(content["event_type"]).startswith(self._kind))
            and (self._since is None or second >= self._since)
            and (self._until is None or second < self._until)
            and (self._target is None or self._concerns(content["payload"], self._target))
        )

    @staticmethod
    def _concerns(payload: Obj, target: str) -> bool:
        subject = payload["subject"]
        names = {subject["key"], subject.get("name"), f"{subject.get('kind')}/{subject.get('name')}", *payload["about"]}
        return target in names


_LOG_COLUMNS: list[Column] = [
    ("time", lambda row: row["entry"]["timestamp"][:19] + "Z"),
    ("chain", lambda row: row["chain"]),
    ("seq", lambda row: row["sequence"]),
    ("event", lambda row: row["entry"]["event_type"]),
    ("subject", lambda row: f"{row['entry']['payload']['subject'].get('kind')}/{_name(row)}"),
    ("actor", lambda row: row["entry"].get("actor_id")),
]
_LOG_WIDE: list[Column] = [
    ("entry id", lambda row: row["entry"]["entry_id"]),
    ("detail", lambda row: row["entry"]["payload"].get("detail")),
]


def _name(row: Obj) -> str:
    subject = row["entry"]["payload"]["subject"]
    return str(subject.get("name") or subject["key"])
