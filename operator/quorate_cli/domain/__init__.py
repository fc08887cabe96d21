"""`quorate domain`: the constitution made, signed, shown and revised."""

import typer

from quorate_cli.domain.admins import admins
from quorate_cli.domain.document import add_signature, create, pin, show, sign
from quorate_cli.domain.member import app as member_app
from quorate_cli.domain.recover import app as recover_app

__all__ = ["add_signature", "app"]
app = typer.Typer(no_args_is_help=True, help="Create, sign, pin, show and revise TrustDomains.")
for _command in (create, sign, pin, show, admins):
    app.command()(_command)
app.add_typer(member_app, name="member")
app.add_typer(recover_app, name="recover")
