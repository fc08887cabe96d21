"""Local overrides: an overlay of clauses on one node, within what the domain permits (docs/contracts.md, "Overrides").

The content in force stays what was voted; its digest does not change. What holds on the node is the effective content:
the content in force with the text of the overlaid clauses.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.schema import Privilege
from quorate.canonical import digest_of
from quorate.contracts.content import Content, clause_order
from quorate.contracts.form import ContractRefusedError, check_clause, check_form
from quorate.trust.domain import DomainRevision

Recorded = Mapping[str, Mapping[str, Any]]
"""By clause, the item of the last recorded overlay: {clause, base, override, reason}."""
Overruled = Mapping[str, str]
"""By clause, its digest as a proposal left it that won an arbitration against this node's override of it."""


@dataclass(frozen=True)
class Permission:
    """What one node may override, by the accepted revision. `refusal`: why nothing at all."""

    node_id: str
    permitted: frozenset[str] = frozenset()
    refusal: str | None = None


def permission(domain: DomainRevision, node_id: str, *, narrowed: Collection[str] | None = None) -> Permission:
    """What `node_id` may override of the domain's contracts.

    It must be a member whose role holds OverridePolicy and that is not suspended; `narrowed` (a MeshNode's
    `privileges`; None: not narrowed) may take the privilege away. The clauses are those of `localOverridesPermitted`,
    shared or not: a vote that changes a shared one meets the override as a conflict (docs/conflicts.md).
    """
    member = domain.members.get(node_id)
    refusal = None
    if member is None:
        refusal = f"node {node_id} is not a member of {domain.name}"
    elif member.suspended:
        refusal = f"node {node_id} is suspended in {domain.name}"
    elif not member.may(Privilege.OVERRIDE_POLICY):
        refusal = f"role {member.role} of node {node_id} in {domain.name} has no privilege {Privilege.OVERRIDE_POLICY}"
    elif narrowed is not None and Privilege.OVERRIDE_POLICY not in narrowed:
        refusal = f"privileges of the MeshNode of {node_id} leave out {Privilege.OVERRIDE_POLICY}"
    permitted = frozenset((domain.spec.get("localOverridesPermitted") or {}).get(node_id) or ())
    return Permission(node_id, permitted, refusal)


@dataclass(frozen=True)
class Item:
    """One judged override: `reason` Overridden, or why it is refused.

    `base` is the digest of the clause that it was set upon, `override` that of {clause, text, reason}.
    """

    clause: str
    text: str
    reason: Reason
    message: str
    base: str
    override: str

    @property
    def applied(self) -> bool:
        """Whether it holds."""
        return self.reason is Reason.OVERRIDDEN

    def document(self) -> dict[str, str]:
        """As an entry and a status show it; the text is in the spec, and bound by `override`."""
        return {"clause": self.clause, "base": self.base, "override": self.override, "reason": str(self.reason)}


@dataclass(frozen=True)
class Overlay:
    """All overrides of a contract on a node, judged, in the order of their clauses."""

    content: Content
    permission: Permission
    items: tuple[Item, ...] = ()

    @property
    def applied(self) -> tuple[Item, ...]:
        """Those that hold."""
        return tuple(item for item in self.items if item.applied)

    @property
    def refused(self) -> tuple[Item, ...]:
        """Those that do not."""
        return tuple(item for item in self.items if not item.applied)

    @property
    def documents(self) -> list[dict[str, str]]:
        """What an entry records; an unchanged list is no change."""
        return [item.document() for item in self.items]

    @cached_property
    def effective(self) -> dict[str, Any]:
        """What holds on the node: {contractId, version, base, overridden, clauses, surfaces}; not a content itself.

        `base` is the digest of the content in force, `overridden` the ids of the overlaid clauses.
        """
        overlaid = {item.clause: item.text for item in self.applied}
        clauses = {
            name: {**clause, "text": overlaid[name]} if name in overlaid else dict(clause)
            for name, clause in self.content.clauses.items()
        }
        document = {
            "contractId": self.content.contract_id,
            "version": self.content.version,
            "base": self.content.digest,
            "overridden": sorted(overlaid, key=clause_order),
            "clauses": clauses,
            "surfaces": None if self.content.surfaces is None else dict(self.content.surfaces),
        }
        return {name: value for name, value in document.items() if value is not None}

    @cached_property
    def effective_digest(self) -> str:
        """Digest of the effective content; that of the content in force where nothing is overlaid."""
        return digest_of(self.effective) if self.applied else self.content.digest


def judge_overrides(
    content: Content,
    overrides: Sequence[Mapping[str, Any]],
    permission: Permission,
    recorded: Recorded | None = None,
    overruled: Overruled | None = None,
) -> Overlay:
    """Judge `spec.localOverrides` against what the domain permits.

    Reasons, in this order: Invalid (form, or a clause twice), NoSuchClause, OverrideNotPermitted, ConflictLost
    (arbitrators decided for the text in force: whatever is set anew, nothing holds until another vote changes the
    clause), OverrideStale (the clause was changed by vote after the same override was recorded: the newer vote stands
    until the override is set anew), TooLarge (the effective content), Overridden.
    """
    seen: set[str] = set()
    items = []
    for override in sorted(overrides, key=lambda item: clause_order(item["clause"])):
        item = _judge(content, override, permission, (recorded or {}).get(override["clause"]), seen)
        items.append(_unless_overruled(item, content, overruled or {}))
        seen.add(override["clause"])
    return _bounded(Overlay(content, permission, tuple(items)))


def _judge(
    content: Content,
    override: Mapping[str, Any],
    permission: Permission,
    before: Mapping[str, Any] | None,
    seen: Collection[str],
) -> Item:
    clause, text = override["clause"], override["text"]
    digest = digest_of({name: override.get(name) for name in ("clause", "text", "reason")})
    base = content.clause_digest(clause)
    same = before is not None and before["override"] == digest
    reason, message = _refusal(content, clause, text, permission, seen)
    if reason is None and before is not None and same and before["base"] != base:
        base = str(before["base"])
        reason = Reason.OVERRIDE_STALE
        message = f"clause {clause} was changed by vote since: the vote stands until the override is set anew"
    return Item(clause, text, reason or Reason.OVERRIDDEN, message, base, digest)


def _unless_overruled(item: Item, content: Content, overruled: Overruled) -> Item:
    lost = item.reason in (Reason.OVERRIDDEN, Reason.OVERRIDE_STALE)
    if not lost or overruled.get(item.clause) != content.clause_digest(item.clause):
        return item
    message = f"clause {item.clause}: arbitrators decided for the text in force, against the override of this node"
    return replace(item, reason=Reason.CONFLICT_LOST, message=message, base=content.clause_digest(item.clause))


def _refusal(
    content: Content, clause: str, text: str, permission: Permission, seen: Collection[str]
) -> tuple[Reason | None, str]:
    if clause in seen:
        return Reason.INVALID, f"clause {clause} is overridden twice"
    if clause not in content.clauses:
        return Reason.NO_SUCH_CLAUSE, f"clause {clause} is not in force in version {content.version}"
    try:
        check_clause(clause, {**content.clauses[clause], "text": text}, Reason.INVALID)
    except ContractRefusedError as error:
        return error.reason, str(error)
    if permission.refusal is not None:
        return Reason.OVERRIDE_NOT_PERMITTED, permission.refusal
    if clause not in permission.permitted:
        listed = ", ".join(sorted(permission.permitted, key=clause_order)) or "nothing"
        message = f"localOverridesPermitted lists {listed} for node {permission.node_id}, not clause {clause}"
        return Reason.OVERRIDE_NOT_PERMITTED, message
    return None, f"clause {clause} is overridden"


def _bounded(overlay: Overlay) -> Overlay:
    """All of it, or nothing where the effective content would be too large."""
    clauses = overlay.effective["clauses"]
    try:
        check_form({**overlay.content.document, "clauses": clauses}, Reason.INVALID)
    except ContractRefusedError as error:
        message = f"the effective content is refused as a whole: {error}"
        items = tuple(
            replace(item, reason=error.reason, message=message) if item.applied else item for item in overlay.items
        )
        return Overlay(overlay.content, overlay.permission, items)
    return overlay
