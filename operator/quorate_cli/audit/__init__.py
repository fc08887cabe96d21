"""`quorate audit`: the log verified, searched, proved and kept. One module for each command."""

import typer

from quorate_cli.audit.archive import archive, erase, prune
from quorate_cli.audit.catalogue import app as catalogue_app
from quorate_cli.audit.export import export
from quorate_cli.audit.log import log
from quorate_cli.audit.prove import prove
from quorate_cli.audit.quarantine import app as quarantine_app
from quorate_cli.audit.report import report
from quorate_cli.audit.verify import EXIT, verify

__all__ = ["EXIT", "app"]
app = typer.Typer(no_args_is_help=True, help="Verify the log and search it.")
for _command in (verify, log, report, prove, export, prune, erase):
    app.command()(_command)
app.add_typer(archive, name="archive")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(catalogue_app, name="catalogue")
