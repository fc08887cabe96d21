"""`quorate key`: the public half of whatever `--key` names."""

import typer

from quorate.canonical import encode_base64
from quorate_cli.options import Key, Output
from quorate_cli.output import Column, Format, emit
from quorate_cli.signers import open_signer

app = typer.Typer()


@app.command()
def key(key: Key, output: Output = Format.TABLE) -> None:
    """Print the public key of a file, an agent's, a token's or a program's key, as a constitution holds it."""
    signer = open_signer(key)
    row = {"key": signer.label, "publicKey": encode_base64(signer.public_key)}
    emit([row], output, columns=_COLUMNS, name=lambda item: str(item["publicKey"]))


_COLUMNS: list[Column] = [("public key", lambda row: row["publicKey"]), ("key", lambda row: row["key"])]
