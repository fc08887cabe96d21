"""The sandbox: a real control plane, Postgres and operator on this machine, without Docker (architecture.md)."""

from quorate_cli.sandbox.commands import app

__all__ = ["app"]
