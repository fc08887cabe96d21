"""`quorate audit export`: a chain as a directory that stock C2SP tools read."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from quorate.audit.checkpoint import parse_checkpoint
from quorate.audit.merkle import TILE_WIDTH
from quorate.audit.note import parse_note
from quorate_cli.audit.keyring import Chain
from quorate_cli.audit.reading import opened, run
from quorate_cli.options import Dsn, Kubeconfig, Sandbox
from quorate_cli.output import CliError, tell
from quorate_cli.place import find_dsn


def export(
    to: Annotated[str, typer.Option("--to", metavar="DIR|URL", help="Directory, or s3://, gs:// or az:// URL.")],
    chains: Chain = None,
    since: Annotated[
        int, typer.Option("--since", metavar="SEQUENCE", min=0, help="Leave out the entries before this one.")
    ] = 0,
    dsn: Dsn = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Write entries, tiles and the newest signed checkpoint of chains; again, it adds what is new."""
    unsigned = run(_export(find_dsn(dsn, sandbox, kubeconfig), to, chains, since))
    if unsigned:
        raise CliError(f"not exported, as no checkpoint of theirs is signed yet: {', '.join(unsigned)}")


async def _export(dsn: str, to: str, chains: list[str] | None, since: int) -> list[str]:
    from quorate_operator.store.directory import LogDirectory  # noqa: PLC0415 - with the rest of the store
    from quorate_operator.store.directory_writer import write_view  # noqa: PLC0415
    from quorate_operator.store.files import open_files  # noqa: PLC0415

    files, unsigned = open_files(to), []
    async with opened(dsn) as log:
        for chain in chains or [head.chain_id for head in await log.chains()]:
            note = await log.newest_checkpoint(chain)
            if note is None:
                unsigned.append(chain)
                continue
            size, first = parse_checkpoint(parse_note(note).text).size, since // TILE_WIDTH * TILE_WIDTH
            with progress(f"exporting {chain}", size - first) as advance:
                written = await write_view(LogDirectory.of(files, chain), log, note, first=first, progress=advance)
            tell(f"{chain}: {written} entries written, the view has size {size}")
    return unsigned


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows on a terminal how many of `total` are done; elsewhere a line for every tenth of them."""
    if sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.progress import Progress  # noqa: PLC0415

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)
        return
    done, tenth = 0, 0

    def advance(count: int) -> None:
        nonlocal done, tenth
        done += count
        if total and done * 10 // total > tenth < 10:
            tenth = done * 10 // total
            tell(f"{what}: {done} of {total}")

    yield advance
