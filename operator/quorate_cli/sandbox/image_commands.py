"""`quorate sandbox image build|load`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.progress import progress

app = typer.Typer(no_args_is_help=True, help="The project's own images, for pods on real nodes.")
_Names = Annotated[list[str] | None, typer.Argument(help="operator, agent, workload; all if none is named.")]


@app.command()
def build(
    names: _Names = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
) -> None:
    """Make images as OCI archives from what is installed here; what has not changed is not made again."""
    from quorate_cli.sandbox.images import catalogue  # noqa: PLC0415 - `--help` stays fast

    if output not in ("table", "json"):
        raise SandboxError(f"-o {output}: must be table or json")
    with progress() as say:
        built = [catalogue.make(name, say) for name in names or catalogue.IMAGES]
    if output == "json":
        shown = [
            {"image": each.reference, "digest": each.digest, "archive": str(each.archive), "bytes": each.size}
            for each in built
        ]
        print(json.dumps(shown, indent=2))
        return
    for each in built:
        print(f"{each.reference}  {each.digest}  {each.size / 1e6:.0f} MB\n  {each.archive}")


@app.command()
def load(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="operator, agent, workload, or an OCI archive (FILE.tar); all if none is named."),
    ] = None,
    name: Annotated[str, typer.Option("--name", "-n", envvar="QUORATE_SANDBOX", help="Which sandbox.")] = "default",
) -> None:
    """Give images to every real node of a sandbox; they are made first if need be."""
    from quorate_cli.sandbox.images import catalogue  # noqa: PLC0415
    from quorate_cli.sandbox.instance import Sandbox  # noqa: PLC0415

    nodes = Sandbox.find(name).real_nodes()
    if not nodes:
        raise SandboxError(f"sandbox {name!r} has no real nodes; start one with: quorate sandbox up --real-nodes 1")
    with progress() as say:
        for wanted in names or catalogue.IMAGES:
            if wanted.endswith(".tar"):
                shown, archive = wanted, Path(wanted)
                if not archive.is_file():
                    raise SandboxError(f"{wanted}: there is no such file")
            else:
                made = catalogue.make(wanted, say)
                shown, archive = made.reference, made.archive
            for node in nodes:
                say(f"loading {shown} into {node.name}")
                node.load(archive)
            print(f"{shown}: on {', '.join(node.name for node in nodes)}")
