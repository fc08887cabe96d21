"""The root of the command line. A command's module is imported when the command runs, so `--help` stays fast."""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from quorate_cli.output import CliError, ExitCode, complain

COMMANDS: dict[str, tuple[str, str]] = {
    "sandbox": ("quorate_cli.sandbox", "A real API server, Postgres and operator on this machine."),
    "demo": ("quorate_cli.demo", "The whole story on a sandbox, step by step."),
    "keygen": ("quorate_cli.keys", "Make keys: Vote, Machine and admin keys, log and witness keys."),
    "key": ("quorate_cli.signers.command", "Show the public key of a file, an agent's, a token's or a program's key."),
    "migrate": ("quorate_cli.migrate", "Bring the log's database to this version's schema; make logins."),
    "domain": ("quorate_cli.domain", "Create, sign, pin, show and revise TrustDomains."),
    "node": ("quorate_cli.node", "Register nodes and send their heartbeats."),
    "propose": ("quorate_cli.propose:propose_app", "Sign and open a proposal."),
    "amend": ("quorate_cli.propose:amend_app", "Sign the next revision of an open proposal."),
    "endorse": ("quorate_cli.acts:endorse_app", "Endorse an Emergency proposal as an admin."),
    "withdraw": ("quorate_cli.acts:withdraw_app", "Withdraw a proposal of your own."),
    "stop": ("quorate_cli.acts:stop_app", "Stop a proposal as an admin, before it is executed."),
    "vote": ("quorate_cli.vote", "Sign and cast a vote on a proposal."),
    "delegate": ("quorate_cli.delegate", "Let another member vote for you, for some types of proposals."),
    "tally": ("quorate_cli.tally", "Recompute an outcome from documents alone."),
    "proposal": ("quorate_cli.proposal", "List, show and explain proposals; fetch and verify their evidence."),
    "conflict": ("quorate_cli.conflict", "Show a conflict, raise one, vote on it as its arbitrator."),
    "contract": ("quorate_cli.contract", "Show the contract in force, its history, and what it grants."),
    "mesh": ("quorate_cli.mesh", "Export the topology of the mesh, or draw it."),
    "document": ("quorate_cli.documents", "Check JSON documents of other programs."),
    "mission": ("quorate_cli.mission", "Test MissionPolicies on a timeline of samples, in virtual time."),
    "agent": ("quorate_cli.agent", "Record what a node's GPUs say, to replay it."),
    "attest": ("quorate_cli.attest", "Sign an Attestation: trust, compliance, a held contract, a release."),
    "trust": ("quorate_cli.trust", "Explain a trust score edge by edge; rank a domain's nodes."),
    "audit": ("quorate_cli.audit", "Verify the log and search it."),
    "restore": ("quorate_cli.restore", "After an older database was restored: what the cluster knows beyond the log."),
    "witness": ("quorate_cli.witness", "Cosign a log's checkpoints after checking that it only grows."),
    "doctor": ("quorate_cli.doctor", "Check cluster, rights, database and versions, and say what to do."),
}
"""Command → module with an `app` (or `module:name`), and the line in `--help`; in the order of a first use."""


class LazyGroup(TyperGroup):
    """A group that lists its commands from the table and imports the one that runs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, (_, text) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=text), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """As the base class, with the stub that `--help` shows replaced by the command itself."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            module, _, attribute = COMMANDS[name][0].partition(":")
            command = typer.main.get_command(getattr(importlib.import_module(module), attribute or "app"))
        return name, command, rest


app = typer.Typer(
    name="quorate",
    cls=LazyGroup,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - only for --version

        try:
            print(version("quorate"))
        except PackageNotFoundError:
            print("unknown: the package is not installed")
        raise typer.Exit


@app.callback()
def root(
    _: bool = typer.Option(False, "--version", help="Show the version and exit.", callback=_version, is_eager=True),
) -> None:
    """Rules change by signed vote, and the log proves it."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code (docs/cli.md, "Exit codes")."""
    try:
        app(list(arguments), prog_name="quorate")
    except CliError as error:
        complain(str(error))
        return int(error.code)
    except SystemExit as error:
        return (
            error.code if isinstance(error.code, int) else int(ExitCode.OK if error.code is None else ExitCode.FAILED)
        )
    return int(ExitCode.OK)


def main() -> None:
    """Entry point of `quorate` and `kubectl-quorate`."""
    sys.exit(run(sys.argv[1:]))
