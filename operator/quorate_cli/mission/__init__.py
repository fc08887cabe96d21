"""`quorate mission`: test MissionPolicies on a timeline, in virtual time (docs/mission-test.md)."""

from typing import Annotated

import typer

from quorate_cli.mission.report import as_json, as_text
from quorate_cli.mission.run import run_file
from quorate_cli.options import Output
from quorate_cli.output import ExitCode, Format, emit

app = typer.Typer(no_args_is_help=True, help="Test MissionPolicies on a timeline of samples, in virtual time.")


@app.callback()
def mission() -> None:
    """Missions of GPU workloads."""


@app.command("test")
def play(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Test files; a folder stands for its YAML.")],
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show all decisions of tests that pass too.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Play timelines with the agent's own code and compare the decisions; exit 1 if one differs."""
    results = [result for file in files for result in run_file(file)]
    if output in (Format.JSON, Format.YAML):
        emit([as_json(result) for result in results], output)
    else:
        for result in results:
            print(as_text(result, verbose=verbose))
    if not all(result.passed for result in results):
        raise typer.Exit(int(ExitCode.FAILED))
