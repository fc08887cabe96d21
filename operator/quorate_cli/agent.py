"""`quorate agent`: record what a node's devices say, as a fixture that the agent replays (docs/agent.md)."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import orjson
import typer

from quorate.missions.samples import Missing
from quorate_agent.clock import BootClock
from quorate_agent.files import write_whole
from quorate_agent.ports import GpuBackend
from quorate_agent.replay import Recorder
from quorate_agent.simulated import SimulatedBackend
from quorate_cli.output import BadInputError, CliError

app = typer.Typer(no_args_is_help=True, help="Record what a node's GPUs say.")


@app.callback()
def agent() -> None:
    """The node agent's devices."""


@app.command()
def record(
    file: Annotated[Path, typer.Argument(help="File that is written.")],
    seconds: Annotated[int, typer.Option(min=1, max=86_400, help="How long.")] = 60,
    every: Annotated[int, typer.Option(metavar="MS", min=100, max=60_000, help="Between two rounds.")] = 1_000,
    simulated: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="State file of simulated devices, not the driver.")
    ] = None,
) -> None:
    """Write every answer of every getter with its time; sets nothing. Ctrl-C ends it, and what was recorded is kept."""
    if not file.parent.is_dir():
        raise BadInputError(f"file {str(file)!r}: its directory must exist")
    backend, clock = _backend(simulated), BootClock()
    recorder, ending = Recorder(backend, clock), threading.Event()
    signal.signal(signal.SIGINT, lambda *_: ending.set())
    end, rounds = clock.now() + seconds * 1_000_000, 0
    while not ending.is_set() and clock.now() < end:
        recorder.round()
        rounds += 1
        ending.wait(every / 1_000)
    document = recorder.document()
    write_whole(file, orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
    typer.echo(f"{file}: {len(document['devices'])} devices, {rounds} rounds")


def _backend(simulated: Path | None) -> GpuBackend:
    if simulated is not None:
        return SimulatedBackend(simulated)
    try:
        from quorate_agent.nvml import NvmlBackend  # noqa: PLC0415 - only where there is a driver

        backend = NvmlBackend()
    except ImportError as error:
        raise CliError("nvidia-ml-py is not installed: install quorate[agent]") from error
    found = backend.devices()
    if isinstance(found, Missing):
        raise CliError(f"the driver shows no devices: {found}")
    return backend
