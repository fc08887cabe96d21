"""Who signs: a key file, the SSH agent, a PKCS#11 token, a program. Private keys never leave their signer.

The port is `Signer`; docs/signers.md says what each implementation needs, and how to write a program for another key
store. One suite of tests holds all of them to the port (tests/unit/cli/test_signer_contract.py).
"""

from dataclasses import dataclass
from typing import Protocol

from quorate.canonical import NotCanonicalError, encode_base64
from quorate.identity import ed25519
from quorate.identity.statements import Statement
from quorate_cli.output import BadInputError, CliError


class Signer(Protocol):
    """An Ed25519 key that can sign; implementations raise CliError when the key cannot be used.

    Whoever implements it answers within a bounded time, names key and rule in each refusal, and shows neither a secret
    nor a PIN: not in a sentence, not in its repr, not on a command line.
    """

    @property
    def label(self) -> str:
        """What to call the key in a sentence: its file, its comment in the agent, its URI."""

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes of the public key."""

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message` (pure Ed25519, RFC 8032; no prehash, no context)."""


@dataclass(frozen=True)
class Checked:
    """A signer outside this process, none of whose signatures is used before it was verified."""

    signer: Signer

    @property
    def label(self) -> str:
        """As the signer calls it."""
        return self.signer.label

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes."""
        return self.signer.public_key

    def sign(self, message: bytes) -> bytes:
        """The verified signature; CliError if what the signer answered is not that of its public key."""
        signature = self.signer.sign(message)
        if not ed25519.verify(self.public_key, message, signature):
            key = encode_base64(self.public_key)
            raise CliError(f"--key {self.label}: answered with a signature that public key {key} does not verify")
        return signature


def sign_statement(signer: Signer, statement: Statement) -> str:
    """The DSSE signature over a statement as 86 characters of base64; BadInputError if it has no canonical form."""
    try:
        message = statement.signing_bytes
    except NotCanonicalError as error:
        raise BadInputError(f"the {statement.kind} cannot be signed: {error}") from error
    return encode_base64(signer.sign(message))


def open_signer(source: str) -> Signer:
    """The signer that `--key` names.

    A file, `agent:` and a comment, public key or fingerprint, a `pkcs11:` URI (RFC 7512), or `exec:` and a command.

    Raises:
        CliError: the key cannot be found or used; the sentence names it and the rule, never its content.
    """
    if source.startswith("agent:"):
        from quorate_cli.signers.agent import find_in_agent  # noqa: PLC0415 - a socket is only opened for it

        return Checked(find_in_agent(source.removeprefix("agent:")))
    if source.startswith("pkcs11:"):
        from quorate_cli.signers.hsm import find_on_token  # noqa: PLC0415 - an extra, which not everybody has

        return Checked(find_on_token(source))
    if source.startswith("exec:"):
        from quorate_cli.signers.program import find_program  # noqa: PLC0415

        return Checked(find_program(source.removeprefix("exec:")))
    from quorate_cli.signers.keyfile import read_key_file  # noqa: PLC0415 - pulls in the key parsers

    return read_key_file(source)
