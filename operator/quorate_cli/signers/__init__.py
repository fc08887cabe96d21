"""Who signs: a key file, or a key in the SSH agent. Private keys never leave their signer."""

from typing import Protocol

from quorate.canonical import NotCanonicalError, encode_base64
from quorate.identity.statements import Statement
from quorate_cli.output import BadInputError


class Signer(Protocol):
    """An Ed25519 key that can sign; implementations raise CliError when the key cannot be used."""

    @property
    def label(self) -> str:
        """What to call the key in a sentence: its file, or its comment in the agent."""

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes of the public key."""

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""


def sign_statement(signer: Signer, statement: Statement) -> str:
    """The DSSE signature over a statement as 86 characters of base64; BadInputError if it has no canonical form."""
    try:
        message = statement.signing_bytes
    except NotCanonicalError as error:
        raise BadInputError(f"the {statement.kind} cannot be signed: {error}") from error
    return encode_base64(signer.sign(message))


def open_signer(source: str) -> Signer:
    """The signer that `--key` names: a file, or `agent:` and a comment, a public key or a fingerprint.

    Raises:
        CliError: the key cannot be found or used; the sentence names it and the rule, never its content.
    """
    if source.startswith("agent:"):
        from quorate_cli.signers.agent import find_in_agent  # noqa: PLC0415 - a socket is only opened for it

        return find_in_agent(source.removeprefix("agent:"))
    from quorate_cli.signers.keyfile import read_key_file  # noqa: PLC0415 - pulls in the key parsers

    return read_key_file(source)
