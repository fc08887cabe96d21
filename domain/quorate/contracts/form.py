"""Form of a contract's content: clauses, surfaces, size (api.md, "DynamicContract"; governance.md, "Lifecycle").

The same check stands at genesis, when a proposal opens and on the result of its execution.
"""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from quorate.api.conditions import Reason
from quorate.canonical import NotCanonicalError, canonical_bytes, is_digest
from quorate.contracts.surfaces import SurfaceError, monotonic_violations, parse_surfaces
from quorate.contracts.version import Version, VersionError

SURFACES = "surfaces"
MAX_CONTENT_BYTES = 512 * 1024
MAX_CLAUSES = 128
MAX_CLAUSE_ID = 63
TEXT_LIMITS = {"title": 253, "text": 4096, "rule": 4096}
TYPE_ORDER = {"Optimistic": 0, "Expedited": 1, "Standard": 2, "Emergency": 2, "Constitutional": 3}
_CLAUSE_ID = re.compile(r"\d+(\.\d+)*", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_FIELDS = frozenset({"contractId", "version", "clauses", SURFACES, "previous", "proposalDigest"})


class ContractRefusedError(ValueError):
    """A contract or a change of one that is refused; `reason` is stable, the message names field, value and rule."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def check_form(document: Mapping[str, Any], reason: Reason) -> None:
    """Refuse a content document whose form is wrong.

    Raises:
        ContractRefusedError: with `reason`, or TooLarge over 512 KiB of canonical UTF-8.
    """
    foreign = set(document) - _FIELDS
    if foreign:
        _refuse(reason, f"content holds unknown fields: {', '.join(sorted(map(repr, foreign)))}")
    if not isinstance(document.get("contractId"), str) or _UUID.fullmatch(document["contractId"]) is None:
        _refuse(reason, f"contractId {document.get('contractId')!r} must be a UUID in lower case")
    try:
        Version.parse(document.get("version"))
    except VersionError as error:
        _refuse(reason, str(error))
    _check_origin(document, reason)
    _check_clauses(document.get("clauses"), reason)
    if document.get(SURFACES) is not None:
        check_surfaces(document[SURFACES], reason)
    _check_size(document, reason)


def _refuse(reason: Reason, message: str) -> NoReturn:
    raise ContractRefusedError(reason, message)


def _check_origin(document: Mapping[str, Any], reason: Reason) -> None:
    """A successor names what it replaced and the proposal that made it; a genesis names neither."""
    previous, proposal = document.get("previous"), document.get("proposalDigest")
    if previous is None and proposal is None:
        return
    if not isinstance(previous, Mapping) or set(previous) != {"version", "digest"} or not is_digest(previous["digest"]):
        _refuse(reason, f"previous {previous!r} must hold version and digest of the content before")
    try:
        if Version.parse(previous["version"]) >= Version.parse(document["version"]):
            _refuse(reason, f"version {document['version']} must be greater than the previous {previous['version']}")
    except VersionError as error:
        _refuse(reason, f"previous: {error}")
    if not is_digest(proposal):
        _refuse(reason, f"proposalDigest {proposal!r} must be the digest of the proposal that made the content")


def _check_clauses(clauses: Any, reason: Reason) -> None:
    if not isinstance(clauses, Mapping):
        _refuse(reason, f"clauses must be an object keyed by clause id, not {type(clauses).__name__}")
    if len(clauses) > MAX_CLAUSES:
        _refuse(reason, f"clauses holds {len(clauses)} clauses; at most {MAX_CLAUSES}")
    for name, clause in clauses.items():
        check_clause_id(name, reason)
        check_clause(name, clause, reason)


def check_clause_id(name: Any, reason: Reason) -> None:
    """Refuse a clause id that is not numbers joined by dots, or longer than 63 characters."""
    if not isinstance(name, str) or _CLAUSE_ID.fullmatch(name) is None or len(name) > MAX_CLAUSE_ID:
        _refuse(reason, f"clause id {name!r} must be numbers joined by dots, at most {MAX_CLAUSE_ID} characters")


def check_clause(name: str, clause: Any, reason: Reason) -> None:
    """Refuse a clause that is not {title, text, rule, minimumType} with text and within the limits."""
    if not isinstance(clause, Mapping):
        _refuse(reason, f"clause {name} must be an object, not {type(clause).__name__}")
    foreign = set(clause) - {*TEXT_LIMITS, "minimumType"}
    if foreign:
        _refuse(reason, f"clause {name} holds unknown fields: {', '.join(sorted(map(repr, foreign)))}")
    if not clause.get("text"):
        _refuse(reason, f"clause {name}: text is required and must not be empty")
    for field, limit in TEXT_LIMITS.items():
        if field in clause and not isinstance(clause[field], str):
            _refuse(reason, f"clause {name}: {field} must be a string, not {type(clause[field]).__name__}")
        if len(clause.get(field, "")) > limit:
            _refuse(reason, f"clause {name}: {field} has {len(clause[field])} characters; at most {limit}")
    if "minimumType" in clause and clause["minimumType"] not in list(TYPE_ORDER):
        _refuse(reason, f"clause {name}: minimumType {clause['minimumType']!r} must be one of {', '.join(TYPE_ORDER)}")


def check_surfaces(surfaces: Any, reason: Reason) -> None:
    """Refuse surfaces of the wrong form, or a state that holds less than the one below it."""
    try:
        violations = monotonic_violations(parse_surfaces(surfaces))
    except SurfaceError as error:
        _refuse(reason, f"surfaces: {error}")
    if violations:
        _refuse(reason, "surfaces: " + "; ".join(violation.details for violation in violations))


def _check_size(document: Mapping[str, Any], reason: Reason) -> None:
    try:
        size = len(canonical_bytes(dict(document)))
    except NotCanonicalError as error:
        _refuse(reason, f"content has no canonical form: {error}")
    if size > MAX_CONTENT_BYTES:
        _refuse(Reason.TOO_LARGE, f"content has {size} bytes of canonical UTF-8; at most {MAX_CONTENT_BYTES}")


def minimum_type(clause: Mapping[str, Any] | None) -> str:
    """The weakest proposal type that may change a clause; Standard where it says nothing or does not exist yet."""
    return "Standard" if clause is None else str(clause.get("minimumType", "Standard"))


def type_suffices(proposal_type: str, minimum: str) -> bool:
    """Optimistic < Expedited < Standard = Emergency < Constitutional (api.md); an unknown type never suffices."""
    return TYPE_ORDER.get(proposal_type, -1) >= TYPE_ORDER[minimum]
