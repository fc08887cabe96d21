"""`python -m quorate_operator.custody.archiving`: prunes what is due of one chain, a partition at most, as a process.

The request is JSON on standard input, the result JSON on standard output: {"archived": entries, "pruned": whether a
partition left now} or {"reason", "error"}; the DSN is in QUORATE_DSN. Its entries go by the intake: it needs no term.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quorate.identity.vkey import parse_verifier_key
from quorate_operator.errors import OperatorError
from quorate_operator.store.intake import read_key
from quorate_operator.store.operations import Operations
from quorate_operator.store.postgres import Database
from quorate_operator.store.prune import Pruner, Rules, plan, stored_prunes

Obj = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What is due: partitions of `chain` whose last entry was sealed before `before` (Unix µs), for archive `name`.

    `keys` may sign the checkpoint, `require_witnesses` of the members in `witnesses` (verifier key → node id) must have
    cosigned it; `place` is the archive's directory, `log_keys` the one with the intake key.
    """

    chain: str
    before: int
    name: str
    place: str
    log_keys: str
    actor: str
    keys: tuple[str, ...]
    witnesses: Mapping[str, str]
    require_witnesses: int = 0

    def document(self) -> Obj:
        """As JSON."""
        return {**vars(self), "keys": list(self.keys), "witnesses": dict(self.witnesses)}

    @property
    def rules(self) -> Rules:
        """Whose signatures are needed."""
        return Rules(
            tuple(map(parse_verifier_key, self.keys)),
            {parse_verifier_key(key): member for key, member in self.witnesses.items()},
            self.require_witnesses,
        )


async def archive_due(dsn: str, request: Request) -> Obj:
    """Prune the oldest partition that is due, or bring to its end what an earlier run began; the result document.

    Raises:
        OperatorError: as of `Pruner.prune`.
    """
    database = Database(dsn, connections=2)
    try:
        await database.open()
        planned = await plan(database, request.chain, before=request.before)
        if planned:
            operations = Operations(database, read_key(Path(request.log_keys)))
            pruner = Pruner(database, Path(request.place), request.name, operations, request.actor)
            await pruner.prune(request.chain, planned[0].number, request.rules)
        done = (await stored_prunes(database)).get(request.chain)
        return {"archived": 0 if done is None else done.point.size, "pruned": bool(planned)}
    finally:
        await database.close()


def main() -> int:
    """Run one request."""
    given = json.load(sys.stdin)
    request = Request(**{**given, "keys": tuple(given["keys"])})
    try:
        result = asyncio.run(archive_due(os.environ["QUORATE_DSN"], request))
    except OperatorError as error:
        json.dump({"reason": error.reason, "error": error.message}, sys.stdout)
        return 1
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
