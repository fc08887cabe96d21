"""Changes of a contract: RFC 6902 relative to one clause or to the section `surfaces` (api.md, "GovernanceProposal").

A patch never sees more than its target, so it cannot leave it. Adding a clause is one `add` at path "" based on the
digest of JSON null; removing one is one `replace` at "" with null.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NoReturn

import jsonpatch
from jsonpointer import JsonPointerException

from quorate.api.conditions import Reason
from quorate.canonical import NotCanonicalError, canonical_bytes, digest_of
from quorate.contracts.content import NULL_DIGEST, Content, Previous
from quorate.contracts.form import (
    MAX_CONTENT_BYTES,
    SURFACES,
    ContractRefusedError,
    check_clause,
    check_clause_id,
    check_form,
    check_surfaces,
    minimum_type,
    type_suffices,
)
from quorate.contracts.version import VersionError, next_version

MAX_OPERATIONS = 64
_MEMBERS = {
    "add": {"op", "path", "value"},
    "replace": {"op", "path", "value"},
    "test": {"op", "path", "value"},
    "remove": {"op", "path"},
    "move": {"op", "path", "from"},
    "copy": {"op", "path", "from"},
}
_POINTER = re.compile(r"(/([^~/]|~[01])*)*", re.DOTALL)


@dataclass(frozen=True)
class Target:
    """What a proposal changes in a contract: exactly one clause, or the section `surfaces`."""

    clause: str | None = None

    @classmethod
    def parse(cls, target: Mapping[str, Any]) -> "Target":
        """From `spec.target` of a proposal on a DynamicContract; refused unless it names one of clause and section."""
        clause, section = target.get("clause"), target.get("section")
        if (clause is None) == (section is None):
            _refuse(Reason.INVALID, "target must name exactly one of clause and section")
        if section is not None and section != SURFACES:
            _refuse(Reason.INVALID, f"target.section {section!r} must be `{SURFACES}`")
        if clause is not None:
            check_clause_id(clause, Reason.INVALID)
        return cls(clause)

    def value(self, content: Content) -> Any:
        """The target as it is now; None where it does not exist."""
        section = content.surfaces if self.clause is None else content.clauses.get(self.clause)
        return None if section is None else dict(section)

    def minimum_type(self, content: Content) -> str:
        """The weakest proposal type that may change it: Constitutional for the surfaces."""
        return "Constitutional" if self.clause is None else minimum_type(content.clauses.get(self.clause))

    def __str__(self) -> str:
        return SURFACES if self.clause is None else f"clause {self.clause}"


def _refuse(reason: Reason, message: str) -> NoReturn:
    raise ContractRefusedError(reason, message)


def check_type(content: Content, target: Target, proposal_type: str) -> None:
    """Refuse a proposal type below what the target demands (TypeNotAllowed)."""
    minimum = target.minimum_type(content)
    if not type_suffices(proposal_type, minimum):
        _refuse(Reason.TYPE_NOT_ALLOWED, f"type {proposal_type} may not change {target}: it needs {minimum} or above")


def check_base(content: Content, target: Target, base_digest: Any) -> None:
    """Refuse a change whose base is not the target as it is now (StaleBase)."""
    actual = digest_of(target.value(content))
    if base_digest != actual:
        _refuse(Reason.STALE_BASE, f"change.baseDigest {base_digest} is not the digest of {target} now, {actual}")


def check_operations(patch: Any) -> None:
    """Refuse what is not a list of 1 to 64 well-formed operations (PatchFailed).

    Unknown members, which RFC 6902 has an implementation ignore, are refused: nothing signed is silently ignored.
    """
    if not isinstance(patch, list | tuple) or not 1 <= len(patch) <= MAX_OPERATIONS:
        _refuse(Reason.PATCH_FAILED, f"change.patch must be a list of 1 to {MAX_OPERATIONS} operations")
    for index, operation in enumerate(patch):
        _check_operation(f"change.patch[{index}]", operation)
        if set(operation) != _MEMBERS[operation["op"]]:
            members = ", ".join(sorted(_MEMBERS[operation["op"]]))
            _refuse(Reason.PATCH_FAILED, f"change.patch[{index}]: {operation['op']} holds exactly {members}")


def _check_operation(where: str, operation: Any) -> None:
    name = operation.get("op") if isinstance(operation, Mapping) else None
    if not isinstance(name, str) or name not in _MEMBERS:
        _refuse(Reason.PATCH_FAILED, f"{where}: op {name!r} must be one of {', '.join(_MEMBERS)}")
    missing = _MEMBERS[name] - set(operation)
    if missing:
        _refuse(Reason.PATCH_FAILED, f"{where}: {name} requires {', '.join(sorted(missing))}")
    for member in sorted(_MEMBERS[name] & {"path", "from"}):
        pointer = operation[member]
        if not isinstance(pointer, str) or _POINTER.fullmatch(pointer) is None:
            _refuse(Reason.PATCH_FAILED, f"{where}: {member} {pointer!r} is not a JSON pointer")


def apply_patch(document: Any, patch: Sequence[Mapping[str, Any]]) -> Any:
    """`document` after the RFC 6902 `patch`; the argument is not modified.

    Raises:
        ContractRefusedError: PatchFailed, naming the operation; all or nothing.
    """
    result = deepcopy(document)
    for index, operation in enumerate(patch):
        _check_operation(f"change.patch[{index}]", operation)
        try:
            result = _apply(result, {name: operation[name] for name in _MEMBERS[operation["op"]]})
        except (jsonpatch.JsonPatchException, JsonPointerException, TypeError, ValueError, LookupError) as error:
            _refuse(Reason.PATCH_FAILED, f"change.patch[{index}] ({operation['op']} {operation['path']!r}): {error}")
        _check_growth(f"change.patch[{index}]", result)
    return result


def _check_growth(where: str, document: Any) -> None:
    """Refuse at once what no contract can hold: 64 copies of the whole into itself double it 64 times."""
    try:
        size = len(canonical_bytes(document))
    except NotCanonicalError as error:
        _refuse(Reason.PATCH_FAILED, f"{where} leaves what has no canonical form: {error}")
    if size > MAX_CONTENT_BYTES:
        _refuse(Reason.PATCH_FAILED, f"{where} leaves {size} bytes; a contract has at most {MAX_CONTENT_BYTES}")


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    """One operation. Whole-document cases and `test` are decided here: the library has Python's 1 == True."""
    name, path = operation["op"], operation["path"]
    if name == "test":
        if canonical_bytes(_resolve(document, path)) != canonical_bytes(operation["value"]):
            raise jsonpatch.JsonPatchTestFailed(f"the value at {path!r} is another one")
        return document
    if name in ("move", "copy"):
        return _transfer(document, operation)
    if path == "":
        return None if name == "remove" else deepcopy(operation["value"])
    return jsonpatch.apply_patch(document, [operation], in_place=False)


def _transfer(document: Any, operation: dict[str, Any]) -> Any:
    source, path = operation["from"], operation["path"]
    moved = deepcopy(_resolve(document, source))
    if operation["op"] == "move":
        if path == source:
            return document
        if path.startswith(source + "/"):
            raise jsonpatch.JsonPatchConflict("a value cannot be moved into itself")
        document = _apply(document, {"op": "remove", "path": source})
    return _apply(document, {"op": "add", "path": path, "value": moved})


def _resolve(document: Any, pointer: str) -> Any:
    return document if pointer == "" else jsonpatch.JsonPointer(pointer).resolve(document)


def changed_target(content: Content, target: Target, change: Mapping[str, Any]) -> Any:
    """The target after `change` {patch, baseDigest}; None removes it.

    Raises:
        ContractRefusedError: NoSuchClause (changes or removes what does not exist), StaleBase, PatchFailed,
            InvalidResult.
    """
    current, patch = target.value(content), change.get("patch")
    check_operations(patch)
    assert isinstance(patch, list | tuple)
    creates = len(patch) == 1 and patch[0]["op"] == "add" and patch[0]["path"] == ""
    if current is None and not (creates and change.get("baseDigest") == NULL_DIGEST):
        message = f"{target} does not exist: to create it, one op add at path '' with baseDigest {NULL_DIGEST}"
        _refuse(Reason.NO_SUCH_CLAUSE, message)
    check_base(content, target, change.get("baseDigest"))
    result = apply_patch(current, patch)
    removes = len(patch) == 1 and patch[0]["op"] == "replace" and patch[0]["path"] == ""
    if result is None and not removes:
        _refuse(
            Reason.PATCH_FAILED, f"the patch leaves nothing of {target}: to remove it, one op replace at '' with null"
        )
    _check_target(target, result)
    return result


def _check_target(target: Target, value: Any) -> None:
    """Form of the changed part alone, so that the refusal names it."""
    if value is None:
        return
    try:
        canonical_bytes(value)
    except NotCanonicalError as error:
        _refuse(Reason.INVALID_RESULT, f"{target} after the patch: {error}")
    if target.clause is None:
        check_surfaces(value, Reason.INVALID_RESULT)
    else:
        check_clause(target.clause, value, Reason.INVALID_RESULT)


def successor(
    content: Content,
    target: Target,
    change: Mapping[str, Any],
    *,
    proposal_digest: str,
    executed_at: int,
    shared_clauses: Iterable[str] = (),
) -> Content:
    """The content that follows when `change` is executed at Unix second `executed_at`: all or nothing.

    `shared_clauses` are the clauses that the domain shares; none of them may be removed (the reference would dangle).

    Raises:
        ContractRefusedError: what `changed_target` refuses; TooLarge or InvalidResult for the contract as a whole.
    """
    value = changed_target(content, target, change)
    if value is None and target.clause in set(shared_clauses):
        _refuse(Reason.INVALID_RESULT, f"{target} is named in the domain's sharedClauses and cannot be removed")
    try:
        version = next_version(content.version, executed_at)
    except VersionError as error:
        _refuse(Reason.INVALID_RESULT, str(error))
    return assemble(content, target, value, version, proposal_digest)


def assemble(content: Content, target: Target, value: Any, version: str, proposal_digest: str) -> Content:
    """The content with `target` set to `value` (None: removed); InvalidResult or TooLarge where the whole breaks."""
    clauses, surfaces = dict(content.clauses), content.surfaces
    if target.clause is None:
        surfaces = value
    elif value is None:
        del clauses[target.clause]
    else:
        clauses[target.clause] = value
    previous = Previous(content.version, content.digest)
    result = Content(content.contract_id, version, clauses, surfaces, previous, proposal_digest)
    check_form(result.document, Reason.INVALID_RESULT)
    return result
