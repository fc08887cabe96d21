"""`quorate audit log`: search the log, or follow it."""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quorate.canonical import parse_time
from quorate_cli.audit.keyring import Chain
from quorate_cli.audit.lines import Lines
from quorate_cli.audit.search import Filter, Search
from quorate_cli.audit.shown import Shown, day
from quorate_cli.options import Kubeconfig, Sandbox
from quorate_cli.output import BadInputError, ExitCode, Format, emit, tell, warn
from quorate_cli.place import find_dsn

if TYPE_CHECKING:
    from quorate_cli.audit.source import Source

LAST = 1000
TAIL = 10
_AGO = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class LogFormat(StrEnum):
    """How entries are printed; jsonl is one JSON document a line."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    NAME = "name"


Dsns = Annotated[
    list[str] | None,
    typer.Option(
        "--dsn", metavar="DSN", help="A log's database (QUORATE_DSN); several are merged.", rich_help_panel="Where"
    ),
]
Folders = Annotated[
    list[Path] | None,
    typer.Option(
        "--from", metavar="DIR", help="An archive, publication or export; merged with others.", rich_help_panel="Where"
    ),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Sealed from then on: 2026-01-31T12:00:00Z, 2026-01-31, or 90m, 7d."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Sealed before then.")]


def log(
    chains: Chain = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Who did it: part of the actor's id.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="What it concerns: subject key, digest, kind/name, or name.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Event type, or its beginning: governance.vote.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, help=f"Only the last so many; 0 for all. [{LAST}; -f: {TAIL}]")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is sealed from now on.")] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.05, max=3600, help="-f: seconds between looks.")] = 1.0,
    output: Annotated[LogFormat, typer.Option("--output", "-o", help="How to print entries.")] = LogFormat.TABLE,
    dsns: Dsns = None,
    folders: Folders = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show entries of the log in the order in which they were sealed."""
    wanted = Filter(actor, target, kind, moment("--since", since), moment("--until", until))
    places = find_places(dsns, folders, sandbox, kubeconfig)
    if follow:
        _refuse_with_follow(until, output, folders)
    printer = Printer(output, one_chain=len(chains or ()) == 1, following=follow)
    with open_sources(places, folders or ()) as sources:
        search = Search(sources, chains or (), wanted, printer.unreadable)
        count = limit if limit is not None else TAIL if follow else LAST
        ends = [{chain: source.bounds(chain)[1] for chain in chains or source.chains()} for source in sources]
        _tell_of_gaps(sources, search.chains)
        printer.show(search.last(count) if count or follow else search.ascending())
    if follow:
        _follow(places, chains or (), wanted, ends, interval, printer)
    if printer.failed:
        raise typer.Exit(int(ExitCode.FAILED))


def _tell_of_gaps(sources: Sequence["Source"], chains: Sequence[str]) -> None:
    """Say what was pruned and is in no directory that was given."""
    for chain in chains:
        bounds = [source.bounds(chain) for source in sources]
        first = min((start for start, end in bounds if end > start), default=0)
        if first:
            tell(f"note: {chain}: entries before {first} are not here; an archive of them can be given with --from")


def _refuse_with_follow(until: str | None, output: LogFormat, folders: Sequence[Path] | None) -> None:
    if until is not None:
        raise BadInputError("--follow has no end: leave out --until")
    if folders:
        raise BadInputError("--follow reads databases: leave out --from")
    if output in (LogFormat.JSON, LogFormat.YAML):
        raise BadInputError(f"--follow never ends, and {output.value} is one document: use -o jsonl")


def _follow(
    places: Sequence[str],
    chains: Sequence[str],
    wanted: Filter,
    ends: Sequence[dict[str, int]],
    interval: float,
    printer: "Printer",
) -> None:
    from quorate_cli.audit.follow import Follower  # noqa: PLC0415 - psycopg is slow to import
    from quorate_cli.audit.follow import follow as sealed  # noqa: PLC0415

    followers = [
        Follower.after(dsn, chains, wanted, printer.unreadable, end) for dsn, end in zip(places, ends, strict=True)
    ]
    try:
        for rows in sealed(followers, interval):
            printer.show(rows)
    except KeyboardInterrupt:
        return


def moment(flag: str, text: str | None, clock: Callable[[], float] = time.time) -> int | None:
    """Unix microseconds of a flag's time: a second in UTC, a day, or how long ago; BadInputError for anything else."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return int((clock() - int(ago[1]) * _SECONDS[ago[2]]) * 1_000_000)
    try:
        return (day(text) if len(text) == len("2026-01-31") else parse_time(text)) * 1_000_000
    except ValueError as error:
        raise BadInputError(
            f"{flag}: {text!r} is neither YYYY-MM-DDTHH:MM:SSZ, a day YYYY-MM-DD, nor an age such as 90m or 7d"
        ) from error


def find_places(
    dsns: Sequence[str] | None, folders: Sequence[Path] | None, sandbox: str | None, kubeconfig: str | None
) -> list[str]:
    """The databases to read: those that were named; with directories alone none; else the one of `find_dsn`."""
    if dsns:
        return list(dict.fromkeys(dsns))
    return [] if folders and not sandbox else [find_dsn(None, sandbox, kubeconfig)]


@contextmanager
def open_sources(dsns: Sequence[str], folders: Sequence[Path]) -> Iterator[list["Source"]]:
    """Sources over a snapshot of each database, and over each directory."""
    with ExitStack() as stack:
        sources: list[Source] = []
        if dsns:
            from quorate_cli.audit.source import Database  # noqa: PLC0415
            from quorate_cli.database import place_of, reading  # noqa: PLC0415 - psycopg is slow to import

            sources += [Database(stack.enter_context(reading(dsn)).connection, place_of(dsn)) for dsn in dsns]
        for folder in folders:
            from quorate_cli.audit.folder import folders as below  # noqa: PLC0415

            sources += below(folder)
        yield sources


@dataclass
class Printer:
    """Prints entries in one format and counts what could not be read."""

    output: LogFormat
    one_chain: bool
    following: bool
    failed: int = 0
    _lines: Lines | None = field(default=None, repr=False)

    def unreadable(self, chain: str, sequence: int, error: ValueError) -> None:
        """Say that a record cannot be read; the command then ends with 1, as its answer may lack this one."""
        self.failed += 1
        warn(f"{chain}, entry {sequence}: cannot be read ({error}); run `quorate audit verify`")

    def show(self, rows: Sequence[Shown] | Iterator[Shown]) -> None:
        """Print entries."""
        if self.output in (LogFormat.JSON, LogFormat.YAML):
            emit([shown.document() for shown in rows], Format(self.output.value))
        elif self.output is LogFormat.JSONL:
            for shown in rows:
                print(json.dumps(shown.document(), ensure_ascii=False, separators=(",", ":")), flush=self.following)
        elif self.output is LogFormat.NAME:
            for shown in rows:
                print(shown.content.get("entry_id"), flush=self.following)
        else:
            self._table(rows)

    def _table(self, rows: Sequence[Shown] | Iterator[Shown]) -> None:
        if self._lines is None:
            known = rows if isinstance(rows, list) else []
            self._lines = Lines(known, wide=self.output is LogFormat.WIDE, one_chain=self.one_chain)
            if not known and isinstance(rows, list) and not self.following:
                tell("nothing found")
        self._lines.show(rows)
