"""Which adopted proposals contradict what (docs/conflicts.md, "What is a conflict"); what is looked at is given."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.policy_conflict import Cause
from quorate.canonical import digest_of
from quorate.conflicts.document import PROPOSAL, Conflict, Found, Party
from quorate.contracts.content import Content
from quorate.contracts.form import SURFACES, ContractRefusedError, check_surfaces
from quorate.contracts.patch import Target, apply_patch, changed_target
from quorate.identity.statements import Statement
from quorate.trust.domain import DomainRevision


@dataclass(frozen=True)
class Candidate:
    """An adopted proposal that has not ended; seconds of T and of the end of its timelock."""

    statement: Statement
    decided: int
    execute_after: int

    @property
    def digest(self) -> str:
        """The proposal's digest."""
        return self.statement.digest

    @property
    def fields(self) -> Mapping[str, Any]:
        """The signed fields."""
        return self.statement.fields

    @property
    def target(self) -> Mapping[str, Any]:
        """What it changes."""
        return dict(self.fields["target"])

    @cached_property
    def party(self) -> Party:
        """It as a side of a conflict."""
        fields = self.fields
        return Party(PROPOSAL, fields["name"], self.digest, fields["namespace"], self.target.get("clause"))

    @property
    def proposer(self) -> str:
        """Its proposer's nodeId."""
        return str(self.fields["proposer"])


@dataclass(frozen=True)
class Override:
    """A local override of this cluster's contract on one clause, announced and holding.

    `node` is the one that overrides, `digest` that of {clause, text, reason}.
    """

    contract: str
    clause: str
    text: str
    node: str
    digest: str

    @property
    def party(self) -> Party:
        """It as a side of a conflict."""
        return Party("DynamicContract", self.contract, self.digest, clause=self.clause)


@dataclass(frozen=True)
class Surroundings:
    """What one adopted proposal is compared with.

    `domain` is the revision in force; `parent` the parent's accepted one, None where none is known here; `content` what
    is in force of its contract; `rivals` are other adopted proposals on its target; `overrides` hold on this cluster.
    """

    domain: DomainRevision
    parent: DomainRevision | None = None
    content: Content | None = None
    rivals: tuple[Candidate, ...] = ()
    overrides: tuple[Override, ...] = ()


def target_key(target: Mapping[str, Any]) -> str:
    """One string for a target, by which open and adopted proposals are indexed: kind/name/clause or section."""
    return f"{target.get('kind')}/{target.get('name')}/{target.get('clause') or target.get('section') or ''}"


def target_topic(chain: str, target: Mapping[str, Any]) -> str:
    """The digest under which a domain's adopted proposals on one target are found in the log."""
    return digest_of({"kind": "AdoptedOn", "domain": chain, "target": target_key(target)})


def overlaps(one: Candidate, other: Candidate) -> bool:
    """Whether the timelocks [T, executeAfter], both ends included, share a second; a type without one has none."""
    locked = all(item.execute_after > item.decided for item in (one, other))
    return locked and max(one.decided, other.decided) <= min(one.execute_after, other.execute_after)


def detect(proposal: Candidate, around: Surroundings) -> Iterator[Found]:
    """Every conflict of an adopted proposal that has not ended, in order of their digests."""
    found = [*_rivals(proposal, around), *_parent(proposal, around), *_overrides(proposal, around)]
    yield from sorted(found, key=lambda item: item.conflict.digest)


def lacks_parent(proposal: Candidate, around: Surroundings) -> bool:
    """Whether it changes a clause shared with a parent of which nothing is accepted here: nothing may execute."""
    return _crosses(proposal, around.domain) and around.parent is None


def _rivals(proposal: Candidate, around: Surroundings) -> Iterator[Found]:
    shared = _shares(proposal, around.domain)
    for rival in around.rivals:
        if rival.digest == proposal.digest or target_key(rival.target) != target_key(proposal.target):
            continue
        cause = _cause(proposal, rival, around.content)
        if cause is not None:
            first, second = sorted((proposal, rival), key=lambda item: item.digest)
            excluded = {item.proposer: f"proposer of {item.fields['name']}" for item in (second, first)}
            conflict = Conflict(around.domain.mesh_id, around.domain.name, (first.party, second.party))
            yield Found(conflict, cause, excluded, (first.target, second.target), shared)


def _cause(one: Candidate, other: Candidate, content: Content | None) -> Cause | None:
    if overlaps(one, other):
        return Cause.OVERLAPPING_TIMELOCKS
    return None if _monotonic(one, other, content) else Cause.SURFACES_NOT_MONOTONIC


def _monotonic(one: Candidate, other: Candidate, content: Content | None) -> bool:
    """Whether the surfaces after both, in either order, could be a contract's; True of any other target.

    A patch that no longer applies after the other one breaks no order: it fails by its base.
    """
    if one.target.get("section") != SURFACES or content is None:
        return True
    return all(_stays_monotonic(content, pair) for pair in ((one, other), (other, one)))


def _stays_monotonic(content: Content, changes: Iterable[Candidate]) -> bool:
    surfaces = None if content.surfaces is None else dict(content.surfaces)
    try:
        for item in changes:
            surfaces = apply_patch(surfaces, item.fields["change"]["patch"])
    except ContractRefusedError:
        return True
    try:
        if surfaces is not None:
            check_surfaces(surfaces, Reason.INVALID_RESULT)
    except ContractRefusedError:
        return False
    return True


def _shares(proposal: Candidate, domain: DomainRevision) -> bool:
    target = proposal.target
    if target["kind"] != "DynamicContract" or not target.get("clause"):
        return False
    return target["clause"] in ((domain.spec.get("sharedClauses") or {}).get(target["name"]) or ())


def _crosses(proposal: Candidate, domain: DomainRevision) -> bool:
    parent = domain.spec.get("parent")
    return parent is not None and _shares(proposal, domain) and parent not in (proposal.fields.get("domains") or ())


def _parent(proposal: Candidate, around: Surroundings) -> Iterator[Found]:
    parent = around.parent
    if parent is None or not _crosses(proposal, around.domain):
        return
    side = Party("TrustDomain", parent.name, parent.digest, clause=proposal.target["clause"])
    conflict = Conflict(around.domain.mesh_id, around.domain.name, (proposal.party, side))
    excluded = {parent.home_hub: f"homeHub of {parent.name}", proposal.proposer: f"proposer of {proposal.party.name}"}
    yield Found(conflict, Cause.PARENT_CONTRADICTS, excluded, (proposal.target,), shared=True)


def _overrides(proposal: Candidate, around: Surroundings) -> Iterator[Found]:
    if not _shares(proposal, around.domain) or around.content is None:
        return
    text = _text_after(proposal, around.content)
    for item in around.overrides:
        same = (item.contract, item.clause) == (proposal.target["name"], proposal.target["clause"])
        if same and item.text != text:
            conflict = Conflict(around.domain.mesh_id, around.domain.name, (proposal.party, item.party))
            excluded = {item.node: f"overrides {item.clause}", proposal.proposer: f"proposer of {proposal.party.name}"}
            yield Found(conflict, Cause.OVERRIDE_CONTRADICTS, excluded, (proposal.target,), shared=True)


def _text_after(proposal: Candidate, content: Content) -> str | None:
    """The clause's text after the change; None where it is removed, or the patch does not apply."""
    try:
        value = changed_target(content, Target.parse(proposal.target), proposal.fields["change"])
    except ContractRefusedError:
        return None
    return None if value is None else value.get("text")
