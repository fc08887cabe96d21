"""Witnesses' lines for our own checkpoints, kept beside them: whoever reads a note gets it with its cosignatures."""

from collections.abc import Sequence

from quorate.audit.note import SignatureLine
from quorate_operator.errors import Stalled
from quorate_operator.store import statements as sql
from quorate_operator.store.postgres import Connection, check_term

_KNOWN = "SELECT EXISTS (SELECT FROM quorate.checkpoint WHERE chain_id = %s AND size = %s)"
_KEEP = """
INSERT INTO quorate.cosignature (chain_id, size, name, key_id, line)
SELECT %s, %s, found.* FROM unnest(%s::text[], %b::bytea[], %s::text[]) AS found ON CONFLICT DO NOTHING
"""


async def keep(connection: Connection, chain: str, size: int, lines: Sequence[SignatureLine], *, term: int) -> None:
    """Port `Log.keep_cosignatures` in one transaction."""
    held = await (await connection.execute(sql.LOCK_TERM, binary=True)).fetchone()
    check_term(held, term)
    known = await (await connection.execute(_KNOWN, (chain, size), binary=True)).fetchone()
    if known is None or not known[0]:
        raise no_checkpoint(chain, size)
    columns = ([line.name for line in lines], [line.key_id for line in lines], [str(line) for line in lines])
    await connection.execute(_KEEP, (chain, size, *columns))


def no_checkpoint(chain: str, size: int) -> Stalled:
    """There is nothing at this size that could be cosigned."""
    return Stalled("ChainUnknown", f"chain {chain} has no checkpoint of size {size}")
