"""What happens with a signed document: printed for GitOps, or applied to the cluster."""

from collections.abc import Sequence
from typing import Any

from quorate_cli.cluster import Cluster
from quorate_cli.output import Format, emit_objects, object_name, tell

Obj = dict[str, Any]


def publish(objects: Sequence[Obj], cluster: "Cluster | None", output: Format, *, verb: str = "applied") -> None:
    """Print the documents (no cluster: `--dry-run`), or apply them in order and say so.

    With `-o json|yaml` the applied objects are printed as the API server returned them.
    """
    if cluster is None:
        emit_objects(objects, output)
        return
    done = [cluster.apply(obj) for obj in objects]
    announce(done, output, verb=verb)


def announce(done: Sequence[Obj], output: Format, *, verb: str = "applied") -> None:
    """Say what became of objects, one line each, or print them."""
    if output in (Format.JSON, Format.YAML, Format.NAME):
        for item in done:
            (item.get("metadata") or {}).pop("managedFields", None)
        emit_objects(done, output)
        return
    for item in done:
        tell(f"{object_name(item)} {verb}")
