"""`quorate contract gate`: whether a party may have what it asks for (docs/contracts.md, "Gate" and "Versions")."""

import time
from enum import StrEnum
from typing import Annotated

import typer

from quorate.canonical import parse_time
from quorate.contracts.gate import Grant, Want
from quorate.contracts.gate import gate as ask
from quorate.contracts.surfaces import Tier
from quorate.contracts.window import Identity, Verdict, Window
from quorate_cli.contract.reading import File, Obj, load
from quorate_cli.options import Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, ExitCode, Format, emit, paint

Many = list[str] | None


class TierName(StrEnum):
    """A rate limit tier as contracts write it."""

    RESTRICTED = "Restricted"
    STANDARD = "Standard"
    EXTENDED = "Extended"
    UNLIMITED = "Unlimited"


def gate(
    name: Annotated[str | None, typer.Argument(help="Name of the DynamicContract.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="The party's reputation state; unknown or left out counts as cold.")
    ] = None,
    capabilities: Annotated[Many, typer.Option("--capability", help="Repeatable.")] = None,
    schemas: Annotated[Many, typer.Option("--schema", help="Repeatable.")] = None,
    tier: Annotated[TierName | None, typer.Option("--tier", help="The rate limit tier that is needed.")] = None,
    strategies: Annotated[Many, typer.Option("--strategy", help="Ensemble strategy; repeatable.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="The version that the party holds.")] = None,
    digest: Annotated[str | None, typer.Option("--digest", help="And its digest.")] = None,
    file: File = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Ask whether a party in a reputation state may have all of this; exit 0: granted, 1: refused."""
    if (version is None) != (digest is None):
        raise BadInputError("--version and --digest: give both; one version with another digest is a fork")
    wanted = Tier[tier.name] if tier is not None else None
    want = Want(tuple(capabilities or ()), tuple(schemas or ()), wanted, tuple(strategies or ()))
    if want.empty and version is None:
        raise BadInputError("nothing is asked for: give --capability, --schema, --tier, --strategy or --version")
    contract, content = load(name, file, None, kubeconfig, sandbox)
    answers: list[Grant | Verdict] = []
    if version is not None:
        answers.append(window_of(contract, content.version, content.digest).judge(version, digest, int(time.time())))
    if not want.empty:
        answers.append(ask(content.surfaces, state, want))
    _print(answers, content.version, output)


def window_of(contract: Obj, version: str, digest: str) -> Window:
    """What is accepted, by the status: without one only what is in force."""
    accepts = (contract.get("status") or {}).get("accepts") or ()
    before = next((item for item in accepts if item.get("until")), None)
    if before is None:
        return Window(Identity(version, digest))
    previous = Identity(before["version"], before["digest"])
    return Window(Identity(version, digest), previous, since=0, seconds=parse_time(before["until"]))


def _print(answers: list[Grant | Verdict], version: str, output: Format) -> None:
    allowed = all(answer.allowed if isinstance(answer, Grant) else answer.accepted for answer in answers)
    refused = next(
        (item for item in answers if not (item.allowed if isinstance(item, Grant) else item.accepted)), answers[-1]
    )
    if output in (Format.JSON, Format.YAML):
        emit(
            {
                "allowed": allowed,
                "reason": str(refused.reason),
                "message": refused.message,
                "version": version,
                "state": next((item.state for item in answers if isinstance(item, Grant)), None),
                "missing": [text for item in answers if isinstance(item, Grant) for text in item.missing],
            },
            output,
        )
    elif output is Format.NAME:
        print(refused.reason)
    else:
        print(f"{paint(str(refused.reason), 'good' if allowed else 'bad')}: {refused.message} (version {version})")
    if not allowed:
        raise typer.Exit(int(ExitCode.FAILED))
