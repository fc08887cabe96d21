"""`quorate audit prune`, `archive` and `erase`: what leaves the log's database, and what left it."""

import getpass
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from quorate.audit.archive import ArchiveError
from quorate_cli.audit.export import progress
from quorate_cli.audit.keyring import Keyring, LogKeys, cluster_keys, read_keys
from quorate_cli.audit.log import moment
from quorate_cli.audit.reading import run
from quorate_cli.audit.shown import clock
from quorate_cli.options import Dsn, Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Column, Format, emit, show_fields, tell
from quorate_cli.place import KEEPER, find_dsn, find_log_keys

if TYPE_CHECKING:
    from quorate_operator.store.archive import Archive
    from quorate_operator.store.operations import Operations
    from quorate_operator.store.postgres import Database
    from quorate_operator.store.prune import Planned, Rules

archive = typer.Typer(no_args_is_help=True, help="Look at archives, or load them into a database of their own.")
Secrets = Annotated[
    str | None,
    typer.Option("--log-keys", metavar="DIR", help="Directory with intake.key (QUORATE_LOG_KEYS), to tell the log."),
]
Actor = Annotated[str | None, typer.Option("--actor", help="Who does it, for the log; else user@host.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="An archive, or a directory of archives.")]


def prune(
    chain: Annotated[str, typer.Option("--chain", metavar="ID", help="The chain, `<meshId>/<domain>`.")],
    before: Annotated[
        str,
        typer.Option(
            "--before",
            metavar="TIME|SEQ",
            help="Only what was sealed before a time, day or age (365d), or has a sequence below this number.",
        ),
    ],
    place: Annotated[Path, typer.Option("--archive", metavar="DIR", help="Where the archives lie.")],
    name: Annotated[
        str | None, typer.Option("--archive-name", help="What the log calls this place; else the directory's name.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be pruned and change nothing.")] = False,
    log_keys: LogKeys = None,
    witnesses: Annotated[
        list[str] | None, typer.Option("--witness", metavar="KEY", help="Verifier key of a witness; repeatable.")
    ] = None,
    require: Annotated[int, typer.Option("--require-witnesses", min=0, help="Cosignatures that are needed.")] = 0,
    secrets: Secrets = None,
    actor: Actor = None,
    output: Output = Format.TABLE,
    dsn: Dsn = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Move the oldest entries of a chain into archives, whole partitions only, each verified before it is dropped."""
    from quorate_operator.store.prune import Rules  # noqa: PLC0415 - psycopg is slow to import

    keys = Keyring(read_keys(log_keys or ()), cluster_keys(kubeconfig, sandbox)).of(chain)
    rules = Rules(tuple(keys), {key: key.public_key.hex() for key in read_keys(witnesses or ())}, require)
    where = find_dsn(dsn, sandbox, kubeconfig, role=KEEPER)
    planned = run(_planned(where, chain, before))
    emit([vars(item) for item in planned], output, columns=_PLAN, name=lambda item: f"{item['first']}-{item['end']}")
    if dry_run or not planned:
        return
    key = find_log_keys(secrets, sandbox, kubeconfig)
    run(_prune(where, key, planned, rules, place, name or place.absolute().name, actor or _me()))


_PLAN: list[Column] = [
    ("partition", lambda item: item["number"]),
    ("first", lambda item: item["first"]),
    ("end", lambda item: item["end"]),
    ("last sealed", lambda item: None if item["sealed_at"] is None else clock(item["sealed_at"])),
    ("bytes", lambda item: item["size"]),
    ("state", lambda item: item["state"] or "to prune"),
]


def _me() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


async def _planned(dsn: str, chain: str, before: str) -> "list[Planned]":
    from quorate_operator.store.prune import plan  # noqa: PLC0415

    async with _database(dsn) as database:
        if before.isdecimal():
            return await plan(database, chain, below=int(before))
        return await plan(database, chain, before=moment("--before", before))


@asynccontextmanager
async def _database(dsn: str) -> "AsyncIterator[Database]":
    from quorate_operator.store.postgres import Database  # noqa: PLC0415

    database = Database(dsn, connections=2)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


def _operations(database: "Database", folder: Path) -> "Operations":
    from quorate_operator.store.intake import read_key  # noqa: PLC0415
    from quorate_operator.store.operations import Operations  # noqa: PLC0415

    return Operations(database, read_key(folder))


async def _prune(
    dsn: str, keys: Path, planned: "list[Planned]", rules: "Rules", place: Path, name: str, actor: str
) -> None:
    from quorate_operator.store.prune import Pruner  # noqa: PLC0415

    async with _database(dsn) as database:
        operations = _operations(database, keys)
        for item in planned:
            # Twice through the entries: exported, then read again.
            with progress(f"partition {item.number} of {item.chain}", 2 * (item.end - item.first)) as advance:
                pruner = Pruner(database, place, name, operations, actor, progress=advance)
                done = await pruner.prune(item.chain, item.number, rules)
            tell(f"{item.chain}: entries {item.first} to {item.end - 1} archived and dropped, manifest {done.manifest}")


def erase(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="Id of the entry whose erasable payload goes.")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why; stays in the log for ever, so do not repeat what is erased.")
    ],
    secrets: Secrets = None,
    actor: Actor = None,
    dsn: Dsn = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Erase the erasable payload of an entry; the log is told first, and the entry goes on verifying."""
    try:
        entry_id = UUID(entry)
    except ValueError as error:
        raise BadInputError(f"ENTRY {entry!r} is not the id of an entry") from error
    if not reason.strip():
        raise BadInputError("--reason must not be empty")
    where, key = find_dsn(dsn, sandbox, kubeconfig, role=KEEPER), find_log_keys(secrets, sandbox, kubeconfig)
    run(_erase(where, key, entry_id, reason, actor or _me()))


async def _erase(dsn: str, keys: Path, entry_id: UUID, reason: str, actor: str) -> None:
    from quorate_operator.store.erasure import erase as erase_payload  # noqa: PLC0415

    async with _database(dsn) as database:
        erased = await erase_payload(database, _operations(database, keys), entry_id, reason=reason, actor=actor)
    show_fields({"entry": erased.entry_id, "erased": ", ".join(erased.digests), "told by entry": erased.told})


def _found(place: Path) -> "list[Archive]":
    from quorate_operator.store.archive import find_archives  # noqa: PLC0415

    if not place.is_dir():
        raise BadInputError(f"{place} is not a directory")
    found = find_archives(place)
    if not found:
        raise CliError(f"{place} holds no archive")
    return found


@archive.command("list")
def list_archives(place: Directory, output: Output = Format.TABLE) -> None:
    """Show the archives at or below a directory, as their manifests say; `inspect` verifies them."""
    rows = [_row(item) for item in _found(place)]
    emit(rows, output, columns=_ARCHIVES, wide=_WIDE, name=lambda row: str(row["path"]))


def _row(item: "Archive") -> dict[str, Any]:
    manifest = item.manifest
    return {
        "chain": manifest.chain,
        "first": manifest.before.size,
        "end": manifest.after.size,
        "lastSealed": clock(manifest.after.sealed_at),
        "epoch": manifest.after.epoch,
        "head": f"sha256:{manifest.after.chain_hash.hex()}",
        "files": len(manifest.files),
        "content": len(manifest.content),
        "manifest": manifest.digest,
        "path": str(item.path),
    }


_ARCHIVES: list[Column] = [
    ("chain", lambda row: row["chain"]),
    ("first", lambda row: row["first"]),
    ("end", lambda row: row["end"]),
    ("last sealed", lambda row: row["lastSealed"]),
    ("path", lambda row: row["path"]),
]
_WIDE: list[Column] = [("files", lambda row: row["files"]), ("manifest", lambda row: row["manifest"])]


@archive.command()
def inspect(
    place: Directory,
    log_keys: LogKeys = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Verify archives: every file, record, tile and the checkpoint; then show what they hold."""
    keyring = Keyring(read_keys(log_keys or ()), cluster_keys(kubeconfig, sandbox))
    rows = []
    for item in _found(place):
        _verify(item, keyring)
        rows.append(_row(item))
    emit(rows, output, columns=_ARCHIVES, wide=_WIDE, name=lambda row: str(row["path"]))


def _verify(item: "Archive", keyring: Keyring) -> None:
    manifest = item.manifest
    with _refused(item.path), progress(f"verifying {item.path}", manifest.after.size - manifest.before.size) as advance:
        item.verify(keyring.of(manifest.chain), advance)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except ArchiveError as error:
        raise CliError(f"{path}: {error}") from error


@archive.command()
def restore(
    place: Directory,
    into: Annotated[str, typer.Option("--into", metavar="DSN", help="An empty database, as its owner.")],
    log_keys: LogKeys = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Load archives, from entry 0 on, into an empty database for `audit log` and `audit verify --dsn`."""
    from quorate_operator.errors import OperatorError  # noqa: PLC0415
    from quorate_operator.store.restore import restore as restore_archives  # noqa: PLC0415

    keyring = Keyring(read_keys(log_keys or ()), cluster_keys(kubeconfig, sandbox))
    chains: dict[str, list[Archive]] = {}
    for item in _found(place):
        _verify(item, keyring)
        chains.setdefault(item.manifest.chain, []).append(item)
    for chain, archives in chains.items():
        with _refused(place), progress(f"restoring {chain}", archives[-1].manifest.after.size) as advance:
            try:
                end = restore_archives(into, archives, advance)
            except OperatorError as error:
                raise CliError(error.message) from error
        tell(f"{chain}: {end.size} entries restored; nothing can be appended to them")
