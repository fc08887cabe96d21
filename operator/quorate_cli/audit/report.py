"""`quorate audit report`: the compliance report of a period, as JSON or as a page that prints."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quorate.audit.verify import Verdict
from quorate_cli.audit.keyring import Chain, Keyring, LogKeys, cluster_keys, read_anchors, read_keys
from quorate_cli.audit.log import Dsns, Folders, Since, Until, find_places, moment, open_sources
from quorate_cli.audit.search import Filter, Search
from quorate_cli.audit.shown import clock
from quorate_cli.audit.source import Source
from quorate_cli.audit.verify import Checkpoints, Witnesses
from quorate_cli.options import Kubeconfig, Sandbox
from quorate_cli.output import CliError, ExitCode, tell, to_json, to_yaml
from quorate_cli.report.collect import CONTEXT, FORMAT, Collector

if TYPE_CHECKING:
    from quorate_operator.verification import ChainRequest

Obj = dict[str, Any]
_WORST = (Verdict.TAMPERED, Verdict.CANNOT_TELL, Verdict.UNANCHORED, Verdict.INTACT)


class ReportFormat(StrEnum):
    """How the report is written."""

    HTML = "html"
    JSON = "json"
    YAML = "yaml"


def report(
    chains: Chain = None,
    since: Since = None,
    until: Until = None,
    checkpoints: Checkpoints = None,
    log_keys: LogKeys = None,
    witnesses: Witnesses = None,
    require: Annotated[
        int, typer.Option("--require-witnesses", metavar="N", min=0, help="An anchor takes so many cosignatures.")
    ] = 0,
    verified: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Verify the log first, and say in the report what came out.")
    ] = True,
    output: Annotated[ReportFormat, typer.Option("--output", "-o", help="How to write it.")] = ReportFormat.JSON,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there.")] = None,
    dsns: Dsns = None,
    folders: Folders = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Write the compliance report: who decided what, under which rules, and what was refused."""
    begin, end = moment("--since", since), moment("--until", until)
    places = find_places(dsns, folders, sandbox, kubeconfig)
    verification = None
    if verified:
        keyring = Keyring(read_keys(log_keys or ()), cluster_keys(kubeconfig, sandbox))
        trusted = tuple(str(key) for key in read_keys(witnesses or (), "--witness"))
        terms = Terms(keyring, read_anchors(checkpoints or (), keyring), trusted, require)
        verification = verify_all(places, folders or (), chains or (), terms)
    with open_sources(places, folders or ()) as sources:
        document = {
            "format": FORMAT,
            "generatedAt": clock(int(time.time() * 1_000_000)),
            "period": {
                "since": None if begin is None else clock(begin),
                "until": None if end is None else clock(end),
            },
            "sources": [source.name for source in sources],
            "verification": verification,
            "guards": guards_of(sources),
            **collect(sources, chains or (), begin, end),
        }
    _write(written(document, output), out)
    if verification is not None and verification["verdict"] == Verdict.TAMPERED:
        tell("error: the log was tampered with; the report says where")
        raise typer.Exit(int(ExitCode.TAMPERED))


@dataclass(frozen=True)
class Terms:
    """What each chain is verified against; as the engine asks for it."""

    keyring: Keyring
    anchors: Mapping[str, list[str]]
    witnesses: tuple[str, ...]
    require: int

    def __call__(self, chain: str) -> "ChainRequest":
        """The request for one chain."""
        from quorate_operator.verification import ChainRequest  # noqa: PLC0415

        keys, anchors = tuple(str(key) for key in self.keyring.of(chain)), tuple(self.anchors.get(chain, ()))
        return ChainRequest(chain, keys, anchors, None, self.witnesses, self.require)


def verify_all(places: Sequence[str], folders: Sequence[Path], chains: Sequence[str], terms: Terms) -> Obj:
    """{verdict, checked, chains[]}: each chain of each source, verified whole; `source` says of which.

    Raises:
        CliError: a source cannot be read.
    """
    from quorate_cli.database import place_of, reading  # noqa: PLC0415 - psycopg is slow to import
    from quorate_operator.verification import verify_database  # noqa: PLC0415
    from quorate_operator.verification.files import verify_directory  # noqa: PLC0415
    from quorate_operator.verification.request import chain_document  # noqa: PLC0415

    found: list[Obj] = []
    # A chain that only a given checkpoint knows was deleted as a whole: it is asked of the first, and found wanting.
    lost = set(terms.anchors)
    for dsn in reversed(places):
        with reading(dsn) as reader:
            here = set(reader.chains())
            lost -= here
            asked = chains or sorted(here | (lost if dsn == places[0] else set()))
            items = verify_database(dsn, [terms(chain) for chain in asked]).document()["chains"]
        found = [{"source": place_of(dsn), **item} for item in items] + found
    for folder in folders:
        reports = verify_directory(folder, terms)
        found += [{"source": str(folder), **chain_document(item)} for item in reports]
    verdicts = {item["verdict"] for item in found}
    worst = next((verdict for verdict in _WORST if verdict in verdicts), Verdict.CANNOT_TELL)
    return {"verdict": worst.value, "checked": sum(item["checked"] for item in found), "chains": found}


def guards_of(sources: Iterable[Source]) -> list[Obj]:
    """What guards the log inside each database: {source, ddlGuard, pgaudit}."""
    from quorate_cli.audit.source import Database  # noqa: PLC0415
    from quorate_operator.store.guards import look  # noqa: PLC0415 - psycopg is slow to import

    found = []
    for source in sources:
        if isinstance(source, Database):
            guards = look(source.connection).guards
            found.append({"source": source.name, "ddlGuard": guards.ddl_guard, "pgaudit": guards.pgaudit})
    return found


def collect(sources: Sequence[Source], chains: Sequence[str], begin: int | None, end: int | None) -> Obj:
    """The sections of the report that come from entries.

    Raises:
        CliError: an entry cannot be read: a report that leaves something out would not be one.
    """

    def content(digest: str) -> bytes | None:
        return next((data for source in sources if (data := source.content(digest)) is not None), None)

    collector = Collector(content, begin)
    if begin is not None:
        for shown in Search(sources, chains, Filter(until=begin, any_of=CONTEXT), _unreadable).ascending():
            collector.feed(shown)
    for shown in Search(sources, chains, Filter(since=begin, until=end), _unreadable).ascending():
        collector.feed(shown)
    return collector.document()


def _unreadable(chain: str, sequence: int, error: ValueError) -> None:
    raise CliError(f"{chain}, entry {sequence}: cannot be read ({error}); run `quorate audit verify`")


def written(document: Obj, output: ReportFormat) -> str:
    """The report in a format, ended by a line end."""
    if output is ReportFormat.JSON:
        return to_json(document) + "\n"
    if output is ReportFormat.YAML:
        return to_yaml([document])
    from quorate_cli.report.page import render  # noqa: PLC0415

    return render(document)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"--out {out}: {error.strerror or error}") from error
    tell(f"written: {out}")
