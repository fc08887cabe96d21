"""The sandbox: a real control plane, Postgres and operator on this machine, without Docker (architecture.md)."""

from typing import Any


def __getattr__(name: str) -> Any:
    # The supervisor and its guard live in this package and must start without importing the command line.
    if name == "app":
        from quorate_cli.sandbox.commands import app  # noqa: PLC0415

        return app
    raise AttributeError(name)
