"""What a receiver brings to `quorate proposal verify`: its pins, its own votes, other evidence, what it applied."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from quorate.canonical import NotCanonicalError, digest_of_bytes, is_digest, parse_json, parse_time
from quorate.identity.statements import Statement, attestation_statement, vote_statement
from quorate.proposals.report import Pinned
from quorate_cli.output import BadInputError
from quorate_cli.pins import parse_pins
from quorate_cli.sources import digest_of_statement
from quorate_cli.yamlfiles import read_bytes, read_documents

MAX_BUNDLE = 64_000_000
_PANEL = "What only you know"
Mine = Annotated[
    list[str] | None,
    typer.Option(
        "--mine",
        metavar="FILE",
        help="Votes and delegations that you signed: an alarm if one is absent, refused or late; repeatable.",
        rich_help_panel=_PANEL,
    ),
]
MineProof = Annotated[
    list[str] | None,
    typer.Option(
        "--mine-proof",
        metavar="FILE",
        help="`quorate audit prove` of the entry that accepted one: then it is a fault; repeatable.",
        rich_help_panel=_PANEL,
    ),
]
Applied = Annotated[
    list[str] | None,
    typer.Option(
        "--applied", metavar="DIGEST", help="A proposal that was applied before; repeatable.", rich_help_panel=_PANEL
    ),
]
OtherEvidence = Annotated[
    list[str] | None,
    typer.Option(
        "--evidence",
        metavar="FILE",
        help="The bundle of a proposal that authorised a revision; repeatable.",
        rich_help_panel=_PANEL,
    ),
]


def bundle_bytes(path: str) -> bytes:
    """The canonical bytes of a JSON file; one line end after them, as editors add it, is no difference."""
    data = read_bytes(path, MAX_BUNDLE)
    return data[:-1] if data.endswith(b"\n") else data


def pinned(
    pins: Sequence[str] | None,
    bundle: bytes,
    *,
    mine: Sequence[str] | None = None,
    proofs: Sequence[str] | None = None,
    applied: Sequence[str] | None = None,
    evidence: Sequence[str] | None = None,
) -> Pinned:
    """What the options say; the meshId of own statements is the bundle's, as no Vote holds one.

    Raises:
        BadInputError: a file that cannot be read, or holds neither votes nor delegations; an option of another form.
    """
    for digest in applied or ():
        if not is_digest(digest):
            raise BadInputError(f"--applied {digest!r}: must be sha256:<64 hexadecimal digits>")
    try:
        mesh_id = str(parse_json(bundle)["meshId"])
    except (NotCanonicalError, KeyError, TypeError):
        mesh_id = ""  # no bundle: the verification says so
    return Pinned(
        pins=parse_pins(pins or ()),
        own=[_statement(document, mesh_id) for document in read_documents(mine or ())],
        accepting=[read_bytes(path, MAX_BUNDLE) for path in proofs or ()],
        applied=list(applied or ()),
        evidence={digest_of_bytes(data): data for data in map(bundle_bytes, evidence or ())},
    )


def _statement(document: dict[str, Any], mesh_id: str) -> Statement:
    kind, spec = document.get("kind"), document.get("spec")
    name = f"--mine: {kind} {(document.get('metadata') or {}).get('name')}"
    makers = {"Vote": (vote_statement, "castAt"), "Attestation": (attestation_statement, "at")}
    if kind not in makers or not isinstance(spec, dict):
        raise BadInputError(f"{name}: only Votes and Attestations of type Delegation are looked for")
    make, made = makers[kind]
    try:
        statement = make(mesh_id, spec)
        parse_time(statement.fields.get(made))
    except (ValueError, AttributeError) as error:
        raise BadInputError(f"{name}: spec.{made}: {error}") from error
    digest_of_statement(statement, f"{name}: spec")
    return statement
