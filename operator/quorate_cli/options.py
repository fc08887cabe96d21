"""Options that several commands share; each command declares the ones that it honours."""

from typing import Annotated

import typer

from quorate_cli.output import Format

_WHERE = "Where"

Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", metavar="FILE", help="The cluster's kubeconfig.", rich_help_panel=_WHERE)
]
Sandbox = Annotated[
    str | None,
    typer.Option("--sandbox", metavar="NAME", help="Use the sandbox of this name.", rich_help_panel=_WHERE),
]
Dsn = Annotated[
    str | None,
    typer.Option("--dsn", metavar="DSN", help="The log's database (QUORATE_DSN).", rich_help_panel=_WHERE),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NS", help="Namespace; else the context's.", rich_help_panel=_WHERE),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to print the result.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the signed document (YAML or -o json) and apply nothing.")
]
_KEY = "Key file (0600), agent:COMMENT, pkcs11:URI or exec:PROGRAM"
Key = Annotated[str, typer.Option("--key", metavar="KEY", help=f"{_KEY}.")]
Keys = Annotated[list[str] | None, typer.Option("--key", metavar="KEY", help=f"{_KEY}; repeatable.")]
