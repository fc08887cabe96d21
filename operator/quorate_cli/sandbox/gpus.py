"""`quorate sandbox gpus`: the simulated GPUs of real nodes."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from quorate_cli.output import tell
from quorate_cli.sandbox.layout import Layout
from quorate_cli.sandbox.nodes.gpus import Held, held, set_health


def change(layout: Layout, *, lost: Iterable[str], restored: Iterable[str]) -> None:
    """Let GPUs fail, and others work again.

    Raises:
        SandboxError: a name is not that of one GPU.
    """
    for names, healthy in ((lost, False), (restored, True)):
        for name in names:
            gpu = set_health(layout, name, healthy=healthy)
            tell(f"{gpu.id} of {gpu.node} is {gpu.health} now")


def show(layout: Layout, output: str) -> None:
    """Print every GPU with its holder; `output`: table or json."""
    rows = held(layout)
    if output == "json":
        print(json.dumps([_json(row) for row in rows], indent=2))
    elif rows:
        _table(rows)
    else:
        tell("no GPUs: this sandbox has no real nodes, or none with GPUs (up --real-nodes N --gpus-per-node M)")


def _json(row: Held) -> dict[str, Any]:
    holder = row.holder
    return {
        "node": row.gpu.node,
        "index": row.gpu.index,
        "id": row.gpu.id,
        "health": row.gpu.health,
        "kubeletAnswered": row.answered,
        "holder": holder and {"namespace": holder.namespace, "pod": holder.pod, "container": holder.container},
    }


def _table(rows: Iterable[Held]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for heading in ("NODE", "GPU", "HEALTH", "NAMESPACE", "POD", "CONTAINER"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        nobody = "-" if row.answered else "?"
        holder = row.holder
        who = (holder.namespace, holder.pod, holder.container) if holder else (nobody, nobody, nobody)
        table.add_row(row.gpu.node, row.gpu.id, row.gpu.health, *who)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
