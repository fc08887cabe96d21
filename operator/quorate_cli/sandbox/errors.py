"""What a sandbox cannot do: one sentence that says what is wrong and what to do."""

from quorate_cli.output import CliError


class SandboxError(CliError):
    """The sandbox cannot come up, go down or do what was asked; the message is one sentence for a person."""
