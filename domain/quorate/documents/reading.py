"""Reading documents of other programs: nothing that breaks its schema, its hash or its own references passes."""

from typing import Any

from quorate.api.conditions import Reason
from quorate.canonical import hex_of_digest
from quorate.contracts.content import Content
from quorate.documents.schema import DocumentKind, DocumentRefusedError, parse
from quorate.documents.topology import check_topology


def read(data: bytes) -> tuple[DocumentKind, dict[str, Any]]:
    """The document in `data` and its kind.

    Raises:
        DocumentRefusedError: Invalid, naming field, value and rule.
    """
    kind, document = parse(data)
    if kind is DocumentKind.MESH_TOPOLOGY:
        check_topology(document)
    return kind, document


def check_contract(document: dict[str, Any], content: Content) -> None:
    """Refuse a contract sync document whose hash is not that of `content`."""
    if document["contract_hash"] != hex_of_digest(content.digest):
        message = f"contract_hash: {document['contract_hash']} is not the content, {hex_of_digest(content.digest)}"
        raise DocumentRefusedError(Reason.INVALID, message)
