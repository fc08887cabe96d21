"""`--pin MESH/NAME=DIGEST`: revisions 1 that the user trusts."""

from collections.abc import Iterable
from typing import Annotated

import typer

from quorate.canonical import is_digest
from quorate_cli.output import BadInputError

Pins = Annotated[
    list[str] | None,
    typer.Option("--pin", metavar="MESH/NAME=DIGEST", help="Digest of a domain's revision 1; repeatable."),
]


def parse_pins(values: Iterable[str]) -> dict[str, str]:
    """`<meshId>/<name>` → digest; BadInputError for another form, or for two digests of one domain."""
    pins: dict[str, str] = {}
    for value in values:
        domain, _, digest = value.partition("=")
        if domain.count("/") != 1 or not all(domain.split("/")) or not is_digest(digest):
            raise BadInputError(f"--pin {value!r}: must be MESH/NAME=sha256:<64 hexadecimal digits>")
        if pins.setdefault(domain, digest) != digest:
            raise BadInputError(f"--pin {value!r}: {domain} is already pinned to {pins[domain]}")
    return pins
