"""The entry that opens a conflict, and the object that shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

from quorate.api.policy_conflict import Level, Severity
from quorate.audit.entry import Draft, Tether
from quorate.canonical import NotCanonicalError
from quorate.conflicts.arbitrators import Lineage, seats
from quorate.conflicts.document import Conflict, ConflictEvent, Found
from quorate.conflicts.severity import Extent, scope_of, severity_of
from quorate.trust.domain import DomainHistory
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.conflict_docket import pair_topic, raised_topic
from quorate_operator.reconcile.domains import Constitution
from quorate_operator.view import View


def pods_governed(view: View, contract: str | None) -> int:
    """Pods that a MissionPolicy on the contract governs, as their statuses say."""
    found = (
        item.get("status") or {}
        for item in view.all("MissionPolicy")
        if (item["spec"].get("clauseRef") or {}).get("contract") == contract
    )
    return sum(int(status.get("pods") or 0) for status in found) if contract else 0


@dataclass(frozen=True)
class OpeningOf:
    """What opens one conflict at second `at`. `raised_by`: the member that raised it, `evidence` its attestation."""

    found: Found
    domain: Constitution
    at: int
    pods: int
    tether: Tether
    previous: UUID | None = None
    key: Key | None = None
    raised_by: str | None = None
    attestation: str | None = None

    @property
    def conflict(self) -> Conflict:
        """The parties."""
        return self.found.conflict

    @property
    def extent(self) -> Extent:
        """Scope, members of the domain, pods."""
        nodes = len(self.domain.latest.members)
        return Extent(scope_of(self.found), nodes, self.pods)

    @property
    def severity(self) -> Severity:
        """What follows from the extent."""
        return severity_of(self.extent)

    @property
    def object_key(self) -> Key:
        """The PolicyConflict: the raised one, or that of a detected conflict."""
        return self.key or Key("PolicyConflict", self.conflict.namespace, self.conflict.name)

    def draft(self) -> Draft:
        """The opening entry; a detected conflict is nobody's act."""
        extent, key = self.extent, self.object_key
        detail: dict[str, Any] = {
            "conflict": self.conflict.document,
            "cause": str(self.found.cause),
            "severity": str(self.severity),
            "scope": extent.scope,
            "nodes": extent.nodes,
            "pods": extent.pods,
            "excluded": dict(self.found.excluded),
            "raisedBy": self.raised_by,
            "attestation": self.attestation,
        }
        about = [*self.conflict.pair, pair_topic(self.conflict)]
        if self.raised_by is not None:
            about.append(raised_topic(self.domain.chain, self.raised_by))
        return Draft(
            self.conflict.digest,
            self.previous,
            ConflictEvent.OPENED,
            {"kind": key.kind, "namespace": key.namespace, "name": key.name},
            self.tether,
            self.at * 1_000_000,
            actor_id=self.raised_by,
            question="conflict.open",
            about=about,
            detail={name: value for name, value in detail.items() if value is not None},
        )


def first_seats(
    conflict: Conflict, severity: Severity, excluded: Mapping[str, str], histories: Mapping[str, DomainHistory], at: int
) -> list[str]:
    """The nodeIds of the arbitrators of level Domain."""
    lineage = Lineage.of(conflict.domain, histories, at)
    chosen = seats(Level.DOMAIN, conflict.digest, severity, lineage, excluded=set(excluded), second=at)
    return [seat.node_id for seat in chosen or ()]


def vacant(view: View, conflict: Conflict, key: Key) -> Key | None:
    """Where an object for an open conflict may be created: `key`, or the first numbered name that nobody took.

    None: one of these objects shows the conflict already. Names are known in advance, so others may occupy them.
    """
    for number in count(1):
        free = key if number == 1 else Key(key.kind, key.namespace, f"{key.name}-{number}")
        obj = view.get(free)
        if obj is None:
            return free
        if _is_of(obj, conflict):
            return None
    raise AssertionError("numbers do not end")


def _is_of(obj: Obj, conflict: Conflict) -> bool:
    try:
        return Conflict.of(conflict.mesh_id, obj["spec"]).digest == conflict.digest
    except NotCanonicalError:
        return False


def manifest(conflict: Conflict, severity: Severity, arbitrators: list[str], key: Key) -> Obj:
    """The object of a conflict, as its arbitrators see it."""
    spec: Obj = {name: value for name, value in conflict.document.items() if name != "meshId"}
    spec["severity"] = str(severity)
    if arbitrators:
        spec["arbitrators"] = arbitrators
    return {
        "apiVersion": "quorate.dev/v1alpha1",
        "kind": "PolicyConflict",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "spec": spec,
    }
