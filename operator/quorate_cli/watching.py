"""`--watch`: an object again each time that it changed, until interrupted."""

import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from quorate_cli.cluster import Cluster

Obj = dict[str, Any]
INTERVAL_SECONDS = 1.0
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it again each time that it changes.")]


def changes(
    cluster: Cluster, kind: str, name: str, namespace: str = "", *, pause: Callable[[float], None] = time.sleep
) -> Iterator[Obj]:
    """The object now, and again for each new resourceVersion; NotFoundError once it is gone."""
    seen = None
    while True:
        obj = cluster.get(kind, name, namespace)
        if obj["metadata"]["resourceVersion"] != seen:
            seen = obj["metadata"]["resourceVersion"]
            yield obj
        pause(INTERVAL_SECONDS)


def each(found: Iterator[Obj], shown: Callable[[Obj], None], *, watch: bool) -> None:
    """Show the first, or with `watch` all until the user interrupts; a line of dashes stands between two."""
    try:
        for index, obj in enumerate(found):
            if index:
                print("---")
            shown(obj)
            if not watch:
                return
    except KeyboardInterrupt:
        return
