"""`quorate sandbox up|down|status|logs|gpus`; `fault` and `image` have modules of their own."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from quorate_cli.sandbox import fault_commands, image_commands
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.progress import progress

app = typer.Typer(no_args_is_help=True, help="A real API server, Postgres and operator on this machine.")
app.add_typer(image_commands.app, name="image")
app.add_typer(fault_commands.app, name="fault")
Name = Annotated[str, typer.Option("--name", "-n", envvar="QUORATE_SANDBOX", help="Which sandbox.")]
_FOLLOW_SECONDS = 0.2


@app.command()
def up(
    name: Name = "default",
    nodes: Annotated[int, typer.Option(min=0, max=5000, help="Simulated nodes.")] = 3,
    gpus_per_node: Annotated[int, typer.Option(min=0, max=64, help="Simulated GPUs of each node.")] = 8,
    real_nodes: Annotated[int, typer.Option(min=0, max=32, help="Nodes that run pods (Linux, root).")] = 0,
    node_network: Annotated[str, typer.Option(help="Addresses of real nodes and their pods: a /16.")] = "10.99.0.0/16",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API server; 0: a free one.")] = 0,
    node_id: Annotated[str, typer.Option(help="UUID of the hub that the operator is; a new one if empty.")] = "",
    pin: Annotated[
        list[str] | None, typer.Option(help="meshId/name=digest of a domain's revision 1; repeatable.")
    ] = None,
    no_operator: Annotated[bool, typer.Option("--no-operator", help="All but the operator.")] = False,
    bare: Annotated[bool, typer.Option("--bare", help="etcd, API server and Postgres only.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Do not sync to disk: for tests.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds until ready, binaries not counted.")] = 60.0,
) -> None:
    """Bring a sandbox up and wait until it is ready."""
    from quorate_cli.sandbox.instance import Sandbox  # noqa: PLC0415 - `--help` stays fast

    if bare and real_nodes:
        raise SandboxError("--real-nodes: --bare has no scheduler to give them pods; leave one of the two out")
    pins = dict(_pin(value) for value in pin or ())
    began = time.monotonic()
    with progress() as say:
        sandbox = Sandbox.up(
            name, nodes=nodes, gpus_per_node=gpus_per_node, operator=not no_operator, bare=bare, fast=fast,
            node_id=node_id, pins=pins, port=port, timeout=timeout, say=say,
            real_nodes=real_nodes, node_network=node_network,
        )  # fmt: skip
    print(f"Sandbox {name} is ready ({time.monotonic() - began:.1f} s).")
    if real_nodes and not sandbox.real_nodes():
        from quorate_cli.sandbox.nodes import host  # noqa: PLC0415

        print(f"  no real nodes: {host.unavailable() or 'it ran already, without them'}; simulated nodes only")
    print(f"  export KUBECONFIG={sandbox.kubeconfig}")
    print(f"  stop it: quorate sandbox down{'' if name == 'default' else f' --name {name}'}")


def _pin(value: str) -> tuple[str, str]:
    domain, equals, digest = value.partition("=")
    if not equals or not domain or not digest:
        raise SandboxError(f"--pin {value!r}: must be <meshId>/<name>=<digest>")
    return domain, digest


@app.command()
def down(
    name: Name = "default",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the state for the next `up`.")] = False,
) -> None:
    """Stop a sandbox and remove it; one that does not run is no error."""
    from quorate_cli.sandbox.instance import Sandbox  # noqa: PLC0415

    Sandbox(name).down(keep=keep)
    print(f"Sandbox {name} is down.")


@app.command()
def status(
    name: Name = "default",
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
) -> None:
    """Show what runs; exit code 1 if it does not."""
    from quorate_cli.sandbox.instance import Sandbox  # noqa: PLC0415

    if output not in ("table", "json"):
        raise SandboxError(f"-o {output}: must be table or json")
    state = Sandbox.find(name).status()
    if output == "json":
        print(json.dumps(state, indent=2))
    else:
        _table(state)


def _table(state: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for heading in ("COMPONENT", "STATE", "PID", "PORT", "RESTARTS", "AGE"):
        table.add_column(heading)
    for name, each in state["components"].items():
        age = f"{max(0, int(time.time()) - each['since'])}s" if each["pid"] else "-"
        port = str(state["ports"].get(name, "-"))
        table.add_row(name, each["state"], str(each["pid"] or "-"), port, str(each["restarts"]), age)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for line in fault_commands.lines(state["faults"], time.time()):
        print(line)
    print(f"kubeconfig: {state['kubeconfig']}")


@app.command()
def gpus(
    name: Name = "default",
    lose: Annotated[list[str] | None, typer.Option(help="Let this GPU fail (its id or the beginning).")] = None,
    restore: Annotated[list[str] | None, typer.Option(help="Let this GPU work again.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
) -> None:
    """Show the simulated GPUs of real nodes and who holds them; let one fail, or come back."""
    from quorate_cli.sandbox import gpus as shown  # noqa: PLC0415
    from quorate_cli.sandbox.instance import Sandbox  # noqa: PLC0415

    if output not in ("table", "json"):
        raise SandboxError(f"-o {output}: must be table or json")
    layout = Sandbox.find(name).layout
    shown.change(layout, lost=lose or (), restored=restore or ())
    shown.show(layout, output)


@app.command()
def logs(
    component: Annotated[str, typer.Argument(help="operator, apiserver, etcd, postgres, …")] = "operator",
    name: Name = "default",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    tail: Annotated[int, typer.Option(min=0, help="Only the last lines; 0: all.")] = 0,
) -> None:
    """Print a component's log; it is there also after a crash."""
    from quorate_cli.sandbox.layout import Layout, check_name, state_root  # noqa: PLC0415

    directory = Layout(state_root(), check_name(name)).logs
    path = directory / f"{component}.log"
    known = sorted(file.stem for file in directory.glob("*.log"))
    if component not in known:
        listed = f"there are: {', '.join(known)}" if known else f"sandbox {name!r} has none; is it up?"
        raise SandboxError(f"no log named {component!r}; {listed}")
    _print_log(path, tail=tail, follow=follow)


def _print_log(path: Path, *, tail: int, follow: bool) -> None:
    with path.open(errors="replace") as file:
        lines = file.readlines()
        sys.stdout.writelines(lines[-tail:] if tail else lines)
        sys.stdout.flush()
        while follow:
            if line := file.readline():
                sys.stdout.write(line)
                sys.stdout.flush()
            else:
                time.sleep(_FOLLOW_SECONDS)
