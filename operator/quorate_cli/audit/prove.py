"""`quorate audit prove`: a bundle that proves one entry without cluster and database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from quorate.audit.checkpoint import parse_checkpoint
from quorate.audit.note import parse_note
from quorate.audit.proof import NotProvenError, ProofBundle, Proven, TlogProof, examine_bundle
from quorate.audit.tiles import TileError, inclusion
from quorate_cli.audit.reading import opened, run
from quorate_cli.options import Dsn, Kubeconfig, Sandbox
from quorate_cli.output import BadInputError, CliError, tell
from quorate_cli.place import find_dsn

if TYPE_CHECKING:
    from quorate_operator.store.log import PostgresLog

Place = tuple[str, int]


def prove(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="Entry id, or CHAIN/SEQUENCE.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write the bundle; else to the screen.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="DIR|URL", help="Prove from a published, exported or archived log instead."),
    ] = None,
    dsn: Dsn = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Make a proof bundle of one entry; `quorate audit verify BUNDLE --log-key KEY` checks it anywhere."""
    wanted = parse_entry(entry)
    if source is None:
        bundle = run(_from_database(find_dsn(dsn, sandbox, kubeconfig), wanted))
    else:
        bundle = _from_files(source, wanted)
    proven = examined(bundle)
    if out is None:
        print(bundle.encode().decode(), end="")
    else:
        out.write_bytes(bundle.encode())
    signers = ", ".join(line.name for line in parse_note(bundle.proof.note).signatures)
    tell(
        f"entry {proven.record.sequence} of {proven.record.chain_id} ({proven.content['event_type']}, "
        f"{proven.content['entry_id']}) in the tree of {proven.checkpoint.size}, signed by {signers}"
    )


def parse_entry(text: str) -> UUID | Place:
    """What the argument names.

    Raises:
        BadInputError: it is neither an entry id nor CHAIN/SEQUENCE.
    """
    chain, _, number = text.rpartition("/")
    if chain and number.isascii() and number.isdigit() and len(number) <= 18:
        return chain, int(number)
    try:
        return UUID(text)
    except ValueError:
        raise BadInputError(f"ENTRY {text!r}: must be an entry id or CHAIN/SEQUENCE, `mesh.example/fleet/12`") from None


async def _from_database(dsn: str, wanted: UUID | Place) -> ProofBundle:
    async with opened(dsn) as log:
        return await bundle_of(log, wanted)


async def bundle_of(log: "PostgresLog", wanted: UUID | Place) -> ProofBundle:
    """The bundle of an entry under the newest checkpoint; not examined.

    Raises:
        CliError: the entry is not there, or no checkpoint covers it.
    """
    chain, sequence, record = await _find(log, wanted)
    note = await log.newest_checkpoint(chain)
    size = 0 if note is None else parse_checkpoint(parse_note(note).text).size
    if note is None or size <= sequence:
        raise CliError(f"no signed checkpoint covers entry {sequence} of {chain} yet; try again after the next one")
    _, path = await log.inclusion_proof(chain, sequence, size)
    return ProofBundle(record, TlogProof(sequence, tuple(path), note))


async def _find(log: "PostgresLog", wanted: UUID | Place) -> tuple[str, int, bytes]:
    if isinstance(wanted, UUID):
        found = (await log.recorded([wanted])).get(wanted)
        if found is None:
            raise CliError(f"this database has no entry {wanted}; one that was pruned is proven --from its archive")
        return found.chain_id, found.sequence, found.record
    chain, sequence = wanted
    async for entry in log.entries(chain, sequence, sequence + 1):
        return chain, sequence, entry.record
    size = next((head.size for head in await log.chains() if head.chain_id == chain), 0)
    if sequence < size:
        raise CliError(f"entry {sequence} of {chain} was pruned: prove it --from its archive")
    raise CliError(f"chain {chain} has no entry {sequence}, it has {size}")


def _from_files(place: str, wanted: UUID | Place) -> ProofBundle:
    from quorate_operator.errors import OperatorError  # noqa: PLC0415 - with the rest of the store
    from quorate_operator.store.directory import find  # noqa: PLC0415
    from quorate_operator.store.files import open_files  # noqa: PLC0415

    if isinstance(wanted, UUID):
        raise BadInputError(f"ENTRY {wanted}: a directory has no index of ids, give CHAIN/SEQUENCE")
    chain, sequence = wanted
    problem = f"{place} holds no log of chain {chain} with entry {sequence}"
    try:
        for directory in find(open_files(place)):
            try:
                head = directory.checkpoint()
                if head is None or head.origin != chain or head.size <= sequence:
                    continue
                plan = inclusion(sequence, head.size)
                path = plan.hashes(directory.tiles(plan.tiles))
                ((_, record),) = directory.records(sequence, sequence + 1, head.size)
                return ProofBundle(record, TlogProof(sequence, tuple(path), directory.note() or ""))
            except (TileError, ValueError) as error:
                problem = f"{place}: {error}"
    except OperatorError as error:
        problem = error.message
    raise CliError(problem)


def examined(bundle: ProofBundle) -> Proven:
    """What is handed out must prove: what was read may have been tampered with."""
    try:
        return examine_bundle(bundle)
    except NotProvenError as error:
        raise CliError(
            f"the log does not prove this entry: {error.phase}: {error}; run `quorate audit verify`"
        ) from error
