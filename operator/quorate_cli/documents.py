"""`quorate document`: check the JSON documents of other programs, and print their schemas."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from quorate_cli.options import Output
from quorate_cli.output import BadInputError, Column, ExitCode, Format, complain, emit

if TYPE_CHECKING:
    from quorate.documents.schema import DocumentKind

Obj = dict[str, Any]
app = typer.Typer(no_args_is_help=True, help="Check JSON documents of other programs; print their schemas.")
MAX_DOCUMENT = 64_000_000
_COLUMNS: list[Column] = [
    ("file", lambda row: row["file"]),
    ("document", lambda row: row.get("document")),
    ("id", lambda row: row.get("id")),
    ("valid", lambda row: row["valid"]),
]


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="JSON documents; `-` is standard input.")],
    output: Output = Format.TABLE,
) -> None:
    """Check documents against schema, formats and their own hash; exit 1 if one does not hold."""
    rows = [_checked(path) for path in files]
    emit(rows, output, columns=_COLUMNS, name=lambda row: row.get("id") or "")
    if not all(row["valid"] for row in rows):
        raise typer.Exit(int(ExitCode.FAILED))


def _checked(path: str) -> Obj:
    from quorate.documents.reading import read  # noqa: PLC0415 - jsonschema is slow to import
    from quorate.documents.schema import DocumentRefusedError  # noqa: PLC0415
    from quorate_cli.yamlfiles import read_bytes  # noqa: PLC0415

    try:
        kind, document = read(read_bytes(path, MAX_DOCUMENT))
    except DocumentRefusedError as error:
        complain(f"{path}: {error}")
        return {"file": path, "valid": False, "message": str(error)}
    return {"file": path, "document": str(kind), "id": document[_id_of(kind)], "valid": True}


def _id_of(kind: "DocumentKind") -> str:
    return f"{str(kind).rpartition('_')[2]}_id"


@app.command()
def schema(
    name: Annotated[
        str, typer.Argument(help="governance_proposal, governance_contract_sync or governance_mesh_topology.")
    ],
) -> None:
    """Print the JSON schema of a document."""
    from quorate.documents.schema import DocumentKind  # noqa: PLC0415 - jsonschema is slow to import
    from quorate.documents.schema import schema as schema_of  # noqa: PLC0415

    if name not in list(DocumentKind):
        raise BadInputError(f"{name!r}: is not one of {', '.join(DocumentKind)}")
    emit(schema_of(DocumentKind(name)), Format.JSON)
