"""Documents sorted by kind, and their form: what a tally can use at all (issue 3, "Offline tally").

A wrong form is an error that names object, field, value and rule; whatever has a statement is judged, not refused here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quorate.api.governance_proposal import GovernanceProposalSpec
from quorate.api.policy_conflict import PolicyConflictSpec, Severity
from quorate.canonical import MAX_INTEGER, NotCanonicalError, canonical_bytes, parse_time
from quorate.proposals.votes import Ballot
from quorate.trust.attestations import check_attestation_form
from quorate.trust.form import FormError, check_fields

Object = Mapping[str, Any]
RECOVERIES = ("Recovery", "CancelRecovery")


class DocumentError(ValueError):
    """A document that cannot be used; the message names the object, field, value and rule."""


@dataclass
class Folder:
    """The documents by kind, as found; `recoveries` are the Attestations that announce or cancel one.

    `attestations` are those of which trust is made: of every other type but Delegation and Resume.
    """

    domains: list[Object] = field(default_factory=list)
    proposals: list[Object] = field(default_factory=list)
    votes: list[Object] = field(default_factory=list)
    delegations: list[Object] = field(default_factory=list)
    recoveries: list[Object] = field(default_factory=list)
    attestations: list[Object] = field(default_factory=list)
    conflicts: list[Object] = field(default_factory=list)
    _ballots: dict[tuple[str, int], Ballot] = field(default_factory=dict, repr=False)

    def ballot(self, mesh_id: str, vote: Object) -> Ballot:
        """One of `votes` as it is counted; the same at every look, so that its signature is verified once."""
        key = (mesh_id, id(vote))
        if key not in self._ballots:
            self._ballots[key] = Ballot.of(mesh_id, vote["spec"], created(vote))
        return self._ballots[key]


def sort_documents(objects: Sequence[Any]) -> Folder:
    """The documents of the kinds that a tally reads, each of a form that has a statement.

    Raises:
        DocumentError: names the first that has not.
    """
    folder = Folder()
    places = {
        "TrustDomain": (folder.domains, _check_domain),
        "GovernanceProposal": (folder.proposals, check_proposal),
        "Vote": (folder.votes, check_vote),
        "PolicyConflict": (folder.conflicts, _check_conflict),
    }
    for index, item in enumerate(objects):
        if not isinstance(item, Mapping) or not isinstance(item.get("kind"), str):
            raise DocumentError(f"document {index + 1}: kind is required; expected a Kubernetes object")
        kind = item["kind"]
        if kind == "Attestation":
            _check_parts(index, item)
            _sort_attestation(folder, item)
        elif kind in places:
            _check_parts(index, item)
            place, check = places[kind]
            check(item)
            place.append(item)
    return folder


def _check_parts(index: int, item: Object) -> None:
    title = f"document {index + 1} ({item['kind']})"
    for part in ("metadata", "spec"):
        if not isinstance(item.get(part), Mapping):
            raise DocumentError(f"{title}: {part} {item.get(part)!r} must be an object")
    if item.get("status") is not None and not isinstance(item["status"], Mapping):
        raise DocumentError(f"{title}: status {item['status']!r} must be an object")
    try:
        canonical_bytes(dict(item["spec"]))
    except NotCanonicalError as error:
        raise DocumentError(f"{title}: spec{error}") from error
    created(item)


def _sort_attestation(folder: Folder, item: Object) -> None:
    kind = item["spec"].get("type")
    if kind == "Delegation":
        _check(item, _DELEGATION)
        folder.delegations.append(item)
    elif kind != "Resume":
        try:
            check_attestation_form(item["spec"])
        except FormError as error:
            raise DocumentError(f"{title_of(item)}: {error}") from error
        (folder.recoveries if kind in RECOVERIES else folder.attestations).append(item)


def name_of(item: Object) -> str:
    """metadata.name."""
    name = item["metadata"].get("name")
    if not isinstance(name, str):
        raise DocumentError(f"{item['kind']}: metadata.name {name!r} must be a string")
    return name


def namespace_of(item: Object) -> str:
    """metadata.namespace; absent: default."""
    namespace = item["metadata"].get("namespace")
    if namespace is not None and not isinstance(namespace, str):
        raise DocumentError(f"{title_of(item)}: metadata.namespace {namespace!r} must be a string")
    return namespace or "default"


def title_of(item: Object) -> str:
    """How messages call an object."""
    return f"{item['kind']} {item['metadata'].get('name')}"


def time_of(item: Object, section: str, name: str) -> int | None:
    """The second of a time outside the spec, None where it is absent."""
    text = (item.get(section) or {}).get(name)
    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        raise DocumentError(f"{title_of(item)}: {section}.{name}: {error}") from error


def created(item: Object) -> int | None:
    """The second of metadata.creationTimestamp, None without one."""
    return time_of(item, "metadata", "creationTimestamp")


def acts_of(item: Object) -> list[Object]:
    """The acts that a proposal carries."""
    spec = item["spec"]
    withdrawal = spec.get("withdrawal")
    return [*(spec.get("endorsements") or ()), *(spec.get("stops") or ()), *([withdrawal] if withdrawal else [])]


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _whole(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER
    return None if whole else "must be an integer from 0 to 2^53-1"


def _moment(value: Any) -> str | None:
    try:
        parse_time(value)
    except ValueError as error:
        return str(error)
    return None


def _optional_moment(value: Any) -> str | None:
    return None if value is None else _moment(value)


def _object(value: Any) -> str | None:
    return None if isinstance(value, Mapping) else "must be an object"


_Checks = Mapping[str, Callable[[Any], str | None]]
_VOTE: _Checks = {
    "proposal": _object,
    "proposal.digest": _text,
    "revision": _whole,
    "voter": _text,
    "keyName": _text,
    "domain": _text,
    "choice": _text,
    "sequence": _whole,
    "castAt": _moment,
    "signature": _text,
}
_DELEGATION: _Checks = {
    "domain": _text,
    "attester": _text,
    "keyName": _text,
    "sequence": _whole,
    "at": _moment,
    "expiresAt": _optional_moment,
    "statement": _object,
    "signature": _text,
}


def _check(item: Object, checks: _Checks) -> None:
    for path, rule in checks.items():
        value: Any = item["spec"]
        for part in path.split("."):
            value = value.get(part)
        wrong = rule(value)
        if wrong is not None:
            raise DocumentError(f"{title_of(item)}: spec.{path} {value!r} {wrong}")


def check_vote(item: Object) -> None:
    """Refuse a vote that has no statement; an unknown choice or a bad signature is a vote's reason, not an error."""
    _check(item, _VOTE)


def check_proposal(item: Object) -> None:
    """Refuse a proposal of the wrong form."""
    try:
        check_fields(GovernanceProposalSpec, item["spec"], "spec")
    except ValueError as error:
        raise DocumentError(f"{title_of(item)}: {error}") from error
    name_of(item), namespace_of(item)
    for act in acts_of(item):
        wrong = _moment(act["at"])
        if wrong is not None:
            raise DocumentError(f"{title_of(item)}: {act['act']} by {act['by']!r}: at {wrong}")


def _check_conflict(item: Object) -> None:
    """Refuse a PolicyConflict of the wrong form."""
    try:
        check_fields(PolicyConflictSpec, item["spec"], "spec")
    except ValueError as error:
        raise DocumentError(f"{title_of(item)}: {error}") from error
    time_of(item, "status", "openedAt")
    severity = (item.get("status") or {}).get("severity")
    if severity is not None and severity not in list(Severity):
        raise DocumentError(f"{title_of(item)}: status.severity {severity!r} must be one of {', '.join(Severity)}")


def _check_domain(item: Object) -> None:
    """The name alone: the rest of its form is judged where its chain is built."""
    name_of(item)
