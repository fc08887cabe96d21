"""`quorate contract`: what is in force and since when, what a party may use of it, and its documents."""

import typer

from quorate_cli.contract.export import export
from quorate_cli.contract.gate import gate
from quorate_cli.contract.history import history
from quorate_cli.contract.reading import base_of
from quorate_cli.contract.show import diff, show

__all__ = ["app", "base_of"]
app = typer.Typer(no_args_is_help=True, help="Show the contract in force, its history, and what it grants.")
for _command in (show, diff, history, gate, export):
    app.command()(_command)
