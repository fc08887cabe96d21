r"""The schemas of the JSON documents, and what every document is checked for (docs/contracts.md, "JSON documents").

The schemas travel with the package. Patterns are read as ECMA regular expressions are: `$` is the end of the text and
`\d` an ASCII digit, where Python would let a line end and foreign digits pass.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID

from jsonschema import Draft7Validator, FormatChecker, ValidationError, validators

from quorate.api.conditions import Reason
from quorate.canonical import NotCanonicalError, hex_of_digest, unique_names

PHASE_ID = "5.5"
CODEX_CLAUSES = ("5.5", "5.4", "11.0", "11.1", "5.2.5")
"""Constants of all three schemas."""
SCALE = 10_000
MAX_MESSAGE = 500
"""Characters of a fault in a refusal."""
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", re.ASCII)
_FORMATS = FormatChecker(formats=())


class DocumentKind(StrEnum):
    """Which document: the name of its schema."""

    PROPOSAL = "governance_proposal"
    CONTRACT_SYNC = "governance_contract_sync"
    MESH_TOPOLOGY = "governance_mesh_topology"


_IDS = {
    "proposal_id": DocumentKind.PROPOSAL,
    "sync_id": DocumentKind.CONTRACT_SYNC,
    "topology_id": DocumentKind.MESH_TOPOLOGY,
}


class DocumentRefusedError(ValueError):
    """A document that cannot be made or is not accepted; `reason` is stable, the message names field and rule."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    """RFC 3339, and a time that the calendar has."""
    if not isinstance(value, str):
        return True
    return _TIME.fullmatch(value) is not None and datetime.fromisoformat(value.upper()).tzinfo is not None


@_FORMATS.checks("uri")
def _is_uri(value: object) -> bool:
    """An absolute URI of printable ASCII."""
    return not isinstance(value, str) or _URI.fullmatch(value) is not None


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    anchored = pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern
    if isinstance(instance, str) and re.search(anchored, instance, re.ASCII) is None:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


_Validator = validators.extend(Draft7Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


@cache
def schema(kind: DocumentKind) -> dict[str, Any]:
    """The JSON schema of a document, from the package's data."""
    data = files("quorate.documents").joinpath("schemas", f"{kind}.schema.v1.json").read_bytes()
    return dict(json.loads(data))


def validate(kind: DocumentKind, document: dict[str, Any]) -> dict[str, Any]:
    """`document` itself if it satisfies schema and formats; DocumentRefusedError (Invalid) names the first fault."""
    checker = _Validator(schema(kind), format_checker=_FORMATS)
    faults = sorted(checker.iter_errors(document), key=lambda fault: list(map(str, fault.path)))
    if faults:
        where = "/".join(map(str, faults[0].path)) or "document"
        raise DocumentRefusedError(Reason.INVALID, f"{where}: {_shortened(faults[0].message)}")
    return document


def _shortened(message: str) -> str:
    """A fault quotes the value that it refuses, which may be all of a document."""
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE // 2]} … {message[-MAX_MESSAGE // 2 :]}"


def parse(data: bytes) -> tuple[DocumentKind, dict[str, Any]]:
    """The document in `data` and its kind, valid by its schema.

    Raises:
        DocumentRefusedError: Invalid; also for a name that occurs twice, a number that is neither an integer nor a
            score in steps of 0.0001, and text that is not UTF-8.
    """
    try:
        document = json.loads(data.decode(), object_pairs_hook=unique_names, parse_float=_score, parse_constant=_score)
        json.dumps(document, ensure_ascii=False).encode()  # an escape can write half a character, which no hash has
    except (ValueError, RecursionError) as error:
        raise DocumentRefusedError(Reason.INVALID, f"not a JSON document: {error}") from error
    kinds = [kind for name, kind in _IDS.items() if isinstance(document, dict) and name in document]
    if len(kinds) != 1:
        raise DocumentRefusedError(Reason.INVALID, f"exactly one of {', '.join(_IDS)} says which document it is")
    return kinds[0], validate(kinds[0], document)


def _score(text: str) -> float:
    """Scores are basis points divided by 10 000, so that every program that reads them has the same number."""
    number = Decimal(text) if text.lstrip("-")[:1].isdigit() else Decimal("NaN")
    if not number.is_finite() or abs(number) > 1 or number * SCALE != int(number * SCALE):
        raise NotCanonicalError(f"{text} is neither an integer nor a score in steps of 0.0001")
    return float(number)


def score(basis_points: int) -> int | float:
    """Basis points as the number from 0 to 1 that the documents write."""
    return basis_points // SCALE if basis_points % SCALE == 0 else basis_points / SCALE


def document_id(digest: str) -> str:
    """The first 16 bytes of a digest with the version and variant bits of a UUIDv4 set."""
    return str(UUID(bytes=bytes.fromhex(hex_of_digest(digest))[:16], version=4))


def snake_case(name: str) -> str:
    """`GovernanceHub` as the documents write it: `governance_hub`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def with_present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without the members that are None: what is not known is left out."""
    return {name: value for name, value in fields.items() if value is not None}
