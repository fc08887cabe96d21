"""`quorate sandbox up|down|status|logs`."""

import typer

app = typer.Typer(no_args_is_help=True, help="A real API server, Postgres and operator on this machine.")
