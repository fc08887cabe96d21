"""`quorate keygen`: private keys as files that only their owner can read, public keys on standard output."""

import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from quorate.canonical import encode_base64
from quorate.identity.ed25519 import public_key_of
from quorate.identity.vkey import COSIGNATURE, ED25519, SignerKey
from quorate_cli.options import Output
from quorate_cli.output import BadInputError, Column, Format, emit
from quorate_cli.signers.keyfile import pem_of, write_private

app = typer.Typer()


class Purpose(StrEnum):
    """What a key is for (trust.md, "Key purposes")."""

    VOTE = "vote"
    MACHINE = "machine"
    ADMIN = "admin"
    RECOVERY = "recovery"
    LOG = "log"
    WITNESS = "witness"
    INTAKE = "intake"


_NOTE_ALGORITHM = {Purpose.LOG: ED25519, Purpose.WITNESS: COSIGNATURE}


def make_key(name: str, purpose: Purpose, directory: Path, *, file: str | None = None) -> dict[str, Any]:
    """Make one key: `<file>.key` (0600) and `<file>.pub` in `directory`; its description, without the secret.

    Vote, Machine, admin and recovery keys are PKCS#8 PEM and 43 characters of base64; log and witness keys are C2SP
    keys whose `name` is part of them (for a log: its origin, `<meshId>/<domain>`). The intake key is secret only: 64
    hexadecimal digits in `intake.key`, without which entries that wait in the database could be forged there.
    """
    if purpose is Purpose.INTAKE:
        return _make_intake_key(name, directory)
    stem = file or name.replace("/", "-")
    if not stem or stem.startswith((".", "-")) or "/" in stem:
        raise BadInputError(f"key name {name!r}: must not be empty nor begin with a dot or a dash")
    seed = secrets.token_bytes(32)
    if purpose in _NOTE_ALGORITHM:
        if "+" in name or any(character.isspace() for character in name):
            raise BadInputError(f"key name {name!r}: a C2SP key name must not hold spaces or plus signs")
        key = SignerKey(name, seed, _NOTE_ALGORITHM[purpose])
        secret, public = key.encode().encode() + b"\n", str(key.verifier)
    else:
        secret, public = pem_of(seed), encode_base64(public_key_of(seed))
    private = directory / f"{stem}.key"
    write_private(private, secret)
    private.with_suffix(".pub").write_text(public + "\n")
    return {"name": name, "purpose": purpose.value, "publicKey": public, "file": str(private)}


def _make_intake_key(name: str, directory: Path) -> dict[str, Any]:
    from quorate_operator.store.intake import KEY_FILE  # noqa: PLC0415 - psycopg is slow to import

    if f"{name}.key" != KEY_FILE:
        raise BadInputError(f"key name {name!r}: the intake key is called {KEY_FILE.removesuffix('.key')}")
    path = directory / KEY_FILE
    write_private(path, secrets.token_hex(32).encode() + b"\n")
    return {"name": name, "purpose": Purpose.INTAKE.value, "publicKey": None, "file": str(path)}


def read_public(directory: Path, stem: str) -> str:
    """The public key in `<stem>.pub`; BadInputError if the file cannot be read."""
    path = directory / stem
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"public key {path}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error


@app.command()
def keygen(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Key names; a log's is its origin.")],
    purpose: Annotated[Purpose, typer.Option("--purpose", "-p", help="What the keys are for.")] = Purpose.VOTE,
    directory: Annotated[Path, typer.Option("--dir", "-d", help="Folder for the key files.")] = Path(),
    output: Output = Format.TABLE,
) -> None:
    """Make keys. The private key goes to NAME.key (mode 0600), the public key to NAME.pub and to standard output."""
    made = [make_key(name, purpose, directory) for name in names]
    emit(made, output, columns=_COLUMNS, name=lambda row: str(row["file"]))


_COLUMNS: list[Column] = [
    ("name", lambda row: row["name"]),
    ("purpose", lambda row: row["purpose"]),
    ("public key", lambda row: row["publicKey"]),
    ("file", lambda row: row["file"]),
]
