"""`quorate audit verify`: re-derive the log from its stored bytes, wherever they are."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quorate.audit.verify import ChainReport, Fault, Verdict, combine
from quorate_cli.audit.keyring import Chain, Keyring, LogKeys, cluster_keys, read_anchors, read_keys
from quorate_cli.options import Dsn, Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, Column, ExitCode, Format, UnreachableError, emit, paint, show_table
from quorate_cli.place import find_dsn

if TYPE_CHECKING:
    from quorate_operator.verification.request import ChainRequest

Obj = dict[str, Any]
Terms = Callable[[str], "ChainRequest"]
Progress = Callable[[int, int], None]
EXIT = {
    Verdict.INTACT: ExitCode.OK,
    Verdict.TAMPERED: ExitCode.TAMPERED,
    Verdict.UNANCHORED: ExitCode.UNANCHORED,
    Verdict.CANNOT_TELL: ExitCode.CANNOT_TELL,
}
_STYLES = {Verdict.INTACT: "good", Verdict.TAMPERED: "bad"}
_MAX_BUNDLE = 4_000_000

Given = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PATH]", help="A directory (archive, publication, export) or a proof bundle; else the log."
    ),
]
Checkpoints = Annotated[
    list[str] | None,
    typer.Option("--checkpoint", metavar="FILE", help="A signed checkpoint kept outside the database; repeatable."),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="FILE|SIZE", help="Only what came behind this checkpoint, or behind one stored."),
]
Archives = Annotated[
    list[Path] | None,
    typer.Option("--archive", metavar="DIR", help="Where pruned entries were archived; repeatable."),
]
Witnesses = Annotated[
    list[str] | None,
    typer.Option("--witness", metavar="KEY", help="Verifier key of a witness, or its .pub file; repeatable."),
]


def verify(
    path: Given = None,
    chains: Chain = None,
    checkpoints: Checkpoints = None,
    log_keys: LogKeys = None,
    since: Since = None,
    entry: Annotated[
        str | None, typer.Option("--entry", metavar="ENTRY", help="Only this entry: its id, or CHAIN/SEQUENCE.")
    ] = None,
    archives: Archives = None,
    witnesses: Witnesses = None,
    require: Annotated[
        int, typer.Option("--require-witnesses", metavar="N", min=0, help="An anchor takes so many cosignatures.")
    ] = 0,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Processes; one for each core otherwise.")
    ] = None,
    output: Output = Format.TABLE,
    dsn: Dsn = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Re-derive every entry, chain and Merkle root from the stored bytes, and compare with signed checkpoints."""
    keyring = Keyring(read_keys(log_keys or ()), cluster_keys(kubeconfig, sandbox))
    anchors = read_anchors(checkpoints or (), keyring)
    trusted = [str(key) for key in read_keys(witnesses or (), "--witness")]
    if require > len(trusted):
        raise BadInputError(f"--require-witnesses {require}: only {len(trusted)} --witness keys are given")
    start = _since(since, keyring)

    def terms(chain: str) -> "ChainRequest":
        from quorate_operator.verification.request import ChainRequest  # noqa: PLC0415

        keys = tuple(str(key) for key in keyring.of(chain))
        origin, value = start
        given = value if origin in (None, chain) else None
        return ChainRequest(chain, keys, tuple(anchors.get(chain, ())), given, tuple(trusted), require)

    started = time.monotonic()
    with _progress(output) as progress:
        if path is not None:
            _refuse_with_path(since, entry, chains, archives)
            reports = _of_path(path, terms, progress)
        elif entry is not None:
            reports = [_of_entry(find_dsn(dsn, sandbox, kubeconfig), entry, terms)]
        else:
            place = find_dsn(dsn, sandbox, kubeconfig)
            reports = _of_database(place, chains or (), sorted(anchors), terms, workers, progress)
            _with_archives(reports, archives or (), terms, progress)
    verdict = combine(reports)
    _report(reports, verdict, time.monotonic() - started, output)
    raise typer.Exit(int(EXIT[verdict]))


def _refuse_with_path(*options: object) -> None:
    for name, value in zip(("--since", "--entry", "--chain", "--archive"), options, strict=True):
        if value:
            raise BadInputError(f"{name}: is for the database; a directory or bundle is verified whole")


def _since(text: str | None, keyring: Keyring) -> tuple[str | None, str | int | None]:
    """(chain, checkpoint) of a file, or (None, size) for every chain."""
    if text is None:
        return None, None
    if text.isascii() and text.isdigit() and len(text) < 19:
        return None, int(text)
    ((chain, notes),) = read_anchors([text], keyring, "--since").items()
    return chain, notes[0]


def _of_database(
    dsn: str, chains: Sequence[str], known: Sequence[str], terms: Terms, workers: int | None, progress: Progress
) -> list[ChainReport]:
    from quorate_cli.database import place_of, reading  # noqa: PLC0415 - psycopg is slow to import
    from quorate_operator.errors import OperatorError  # noqa: PLC0415
    from quorate_operator.verification import verify_database  # noqa: PLC0415

    with reading(dsn) as reader:
        # A chain that only a given checkpoint knows was deleted as a whole: it is verified too, and found wanting.
        wanted = chains or sorted({*reader.chains(), *known})
    try:
        return list(verify_database(dsn, [terms(chain) for chain in wanted], workers=workers, progress=progress).chains)
    except OperatorError as error:
        raise UnreachableError(f"database {place_of(dsn)}: {error.message}") from error


def _of_path(path: Path, terms: Terms, progress: Progress) -> list[ChainReport]:
    from quorate_operator.errors import OperatorError  # noqa: PLC0415
    from quorate_operator.verification.files import verify_bundle, verify_directory  # noqa: PLC0415

    try:
        if path.is_file():
            with path.open("rb") as file:
                return [verify_bundle(file.read(_MAX_BUNDLE), terms)]
        reports = verify_directory(path, terms, progress)
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except OperatorError as error:
        raise UnreachableError(error.message) from error
    if not reports:
        raise BadInputError(f"{path}: no log is at or below this directory: no file `checkpoint` was found")
    return reports


def _of_entry(dsn: str, entry: str, terms: Terms) -> ChainReport:
    """One entry of the database, proven by a bundle that is made and verified."""
    from quorate_cli.audit.prove import bundle_of, parse_entry  # noqa: PLC0415
    from quorate_cli.audit.reading import opened, run  # noqa: PLC0415
    from quorate_operator.verification.files import verify_bundle  # noqa: PLC0415

    wanted = parse_entry(entry)

    async def make() -> bytes:
        async with opened(dsn) as log:
            return (await bundle_of(log, wanted)).encode()

    return verify_bundle(run(make()), terms)


def _with_archives(reports: list[ChainReport], archives: Sequence[Path], terms: Terms, progress: Progress) -> None:
    """Add what the archives hold of each chain to its report; a gap between them stays said."""
    from quorate_operator.verification.archives import verify_before  # noqa: PLC0415

    if archives:
        for report in reports:
            verify_before(report, archives, terms, progress)


@contextmanager
def _progress(output: Format) -> Iterator[Progress]:
    """A bar with rate and rest on a terminal; elsewhere a line for each tenth of what takes long."""
    import sys  # noqa: PLC0415

    from quorate_cli.audit.progress import Bar, Lines  # noqa: PLC0415

    shown = Bar() if sys.stderr.isatty() and output is not Format.NAME else Lines()
    try:
        yield shown
    finally:
        shown.close()


def _report(reports: Sequence[ChainReport], verdict: Verdict, seconds: float, output: Format) -> None:
    if output in (Format.JSON, Format.YAML):
        from quorate_operator.verification.request import Report  # noqa: PLC0415

        emit(Report(tuple(reports), seconds).document(), output)
        return
    if output is Format.NAME:
        print(verdict.value)
        return
    show_table(_COLUMNS if output is Format.WIDE else _COLUMNS[:5], reports)
    checked = sum(report.checked for report in reports)
    anchored = sum(report.anchored_size for report in reports)
    rate = f", {checked / seconds:,.0f}/s" if checked > 10_000 else ""
    print(
        f"\nchecked: {checked} entries of {len(reports)} chains in {seconds:.2f} s{rate}: "
        "content, record, chain, indexes, Merkle tiles and root"
    )
    print(f"anchored: {anchored} entries by checkpoints that whoever holds the bytes cannot make")
    for report in reports:
        for note in _notes(report):
            print(f"note: {report.chain_id}: {note}")
        if report.fault is not None:
            print(paint(_fault(report.fault), "bad"))
    print(paint(f"{verdict.value.upper()}{_MEANING[verdict]}", _STYLES.get(verdict, "warn")))


def _notes(report: ChainReport) -> list[str]:
    waiting = [] if not report.unsealed else [f"{report.unsealed} entries wait in the intake, not sealed yet"]
    refused = [] if not report.refused else [f"{report.refused} entries of the intake were refused and set aside"]
    return [*report.notes, *waiting, *refused]


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
    ("witnesses", lambda report: report.witnesses),
    ("root", lambda report: report.root),
]


def _fault(fault: Fault) -> str:
    where = "" if fault.sequence is None else f", entry {fault.sequence}"
    where += "" if fault.entry_id is None else f" ({fault.entry_id})"
    return f"{fault.chain_id}{where}: {fault.phase}: {fault.message}"
