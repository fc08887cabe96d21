"""`quorate proposal`: proposals listed, shown, explained; their evidence fetched and verified."""

import typer

from quorate_cli.proposal.evidence import evidence, export, fetch_content, verify
from quorate_cli.proposal.explain import explain
from quorate_cli.proposal.show import list_, show

__all__ = ["app", "fetch_content"]
app = typer.Typer(no_args_is_help=True, help="List, show and explain proposals; fetch and verify their evidence.")
app.command("list")(list_)
for _command in (show, explain, evidence, export, verify):
    app.command()(_command)
