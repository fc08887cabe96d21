"""`quorate sandbox fault`: what fails for a while, and heals by itself (docs/faults.md)."""

import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from quorate_cli.output import tell
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.faults import Kind, remaining

app = typer.Typer(help="Let a node, its link, a GPU or the API server fail for a while; it heals by itself.")
_DURATION = re.compile(r"([1-9][0-9]{0,6}|0)([smh])")
_UNITS = {"s": 1, "m": 60, "h": 3600}
_Name = Annotated[str, typer.Option("--name", "-n", envvar="QUORATE_SANDBOX", help="Which sandbox.")]
_Node = Annotated[str, typer.Argument(help="A real node, like real-1.")]
_For = Annotated[str, typer.Option("--for", help="How long: 1s to 1h.")]


def seconds(value: str) -> int:
    """A duration like `30s`, `5m` or `1h`.

    Raises:
        SandboxError: it is none.
    """
    found = _DURATION.fullmatch(value)
    if not found:
        raise SandboxError(f"--for {value!r}: must be a whole number and s, m or h, like 30s")
    return int(found[1]) * _UNITS[found[2]]


@app.callback(invoke_without_command=True)
def faults(
    context: typer.Context,
    name: _Name = "default",
    listed: Annotated[bool, typer.Option("--list", help="What is on now (also without a command).")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
) -> None:
    """Show what is on, or let something fail."""
    if context.invoked_subcommand is not None:
        if listed:
            raise SandboxError(f"--list: shows what is on, and {context.invoked_subcommand} changes it; leave one out")
        return
    from quorate_cli.sandbox.instance import Sandbox  # noqa: PLC0415 - `--help` stays fast

    if output not in ("table", "json"):
        raise SandboxError(f"-o {output}: must be table or json")
    on = Sandbox.find(name).faults()
    if output == "json":
        print(json.dumps([{**each, "remainingSeconds": remaining(each, time.time())} for each in on], indent=2))
        return
    for line in lines(on, time.time()):
        print(line)
    if not on:
        tell("no fault is on")


def lines(on: Iterable[Mapping[str, Any]], now: float) -> list[str]:
    """A line for each fault that is on, at `now` in Unix seconds."""
    return [
        f"fault {each['kind']} {' '.join(filter(None, (each['name'], each['gpu'])))}: {remaining(each, now)} s left"
        for each in on
    ]


@app.command("node-stop")
def node_stop(node: _Node, name: _Name = "default", duration: _For = "30s") -> None:
    """A node has no power: everything on it is killed; it starts again."""
    _begin(Kind.NODE_STOP, node, name, duration)


@app.command("node-pause")
def node_pause(node: _Node, name: _Name = "default", duration: _For = "30s") -> None:
    """Nothing on a node moves, pods neither; it goes on where it was."""
    _begin(Kind.NODE_PAUSE, node, name, duration)


@app.command("kubelet-kill")
def kubelet_kill(node: _Node, name: _Name = "default", duration: _For = "30s") -> None:
    """A node's kubelet is killed and kept away; its pods run on."""
    _begin(Kind.KUBELET_KILL, node, name, duration)


@app.command()
def partition(node: _Node, name: _Name = "default", duration: _For = "30s") -> None:
    """A node reaches neither the API server nor other nodes' pods; its own pods run on."""
    _begin(Kind.PARTITION, node, name, duration)


@app.command("gpu-lost")
def gpu_lost(
    node: _Node,
    gpu: Annotated[str, typer.Argument(help="The GPU's id, or its beginning.")],
    name: _Name = "default",
    duration: _For = "30s",
) -> None:
    """A simulated GPU fails; it works again."""
    _begin(Kind.GPU_LOST, node, name, duration, gpu=gpu)


@app.command("api-stop")
def api_stop(
    target: Annotated[str, typer.Argument(metavar="[NAME]", help="apiserver, the only one.")] = "apiserver",
    name: _Name = "default",
    duration: _For = "30s",
) -> None:
    """The API server is killed and kept away; it starts again."""
    _begin(Kind.API_STOP, target, name, duration)


@app.command()
def heal(
    target: Annotated[str, typer.Argument(metavar="[NAME]", help="A node, a GPU's id, apiserver; all if none.")] = "",
    name: _Name = "default",
) -> None:
    """End faults before their time."""
    from quorate_cli.sandbox.instance import Sandbox  # noqa: PLC0415

    sandbox = Sandbox.find(name)
    before = sandbox.faults()
    sandbox.heal(target)
    after = sandbox.faults()
    tell(f"{len(before) - len(after)} healed, {len(after)} on")


def _begin(kind: Kind, target: str, name: str, duration: str, *, gpu: str = "") -> None:
    from quorate_cli.sandbox.instance import Sandbox  # noqa: PLC0415

    length = seconds(duration)
    Sandbox.find(name).fault(kind, target, gpu=gpu, seconds=length)
    tell(f"{kind} {gpu or target}: for {length} s; end it before: quorate sandbox fault heal {gpu or target}")
