"""`quorate audit verify`: re-derive the log from its stored bytes."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quorate.audit.verify import ChainReport, ChainVerifier, Verdict, combine
from quorate_cli.audit.keyring import Chain, Keyring, LogKeys, cluster_keys, read_anchors, read_keys, signed_by
from quorate_cli.options import Dsn, Kubeconfig, Output, Sandbox
from quorate_cli.output import Column, ExitCode, Format, emit, paint, show_table
from quorate_cli.place import find_dsn

if TYPE_CHECKING:
    from quorate_cli.database import Reader

Obj = dict[str, Any]
EXIT = {
    Verdict.INTACT: ExitCode.OK,
    Verdict.TAMPERED: ExitCode.TAMPERED,
    Verdict.UNANCHORED: ExitCode.UNANCHORED,
    Verdict.CANNOT_TELL: ExitCode.CANNOT_TELL,
}
_STYLES = {Verdict.INTACT: "good", Verdict.TAMPERED: "bad"}


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

    keyring = Keyring(read_keys(log_keys or ()), cluster_keys(kubeconfig, sandbox))
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
