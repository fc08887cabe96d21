"""How a contract in force stands: what must be recorded now, and what its status then says (docs/contracts.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quorate.api.conditions import ConditionType, Observation, Reason, is_true, observe
from quorate.api.dynamic_contract import MAX_HISTORY
from quorate.audit.entry import Draft, Tether
from quorate.canonical import format_time
from quorate.contracts.content import Content
from quorate.contracts.drift import Drift, Remedy
from quorate.contracts.overlay import Overlay
from quorate.contracts.window import Count
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.contract_past import CUT_OVER, DRIFTED, OVERRIDDEN, RESTORED, Past
from quorate_operator.reconcile.projection import content_key, content_manifest, content_name
from quorate_operator.reconcile.protocol import Command, CreateChild, Note, Remove
from quorate_operator.store.ports import Recorded

MAX_TOLD = 1024


@dataclass(frozen=True)
class Step:
    """One change of state: its entry's type and detail, and what is told about it."""

    event: str
    detail: Mapping[str, Any]
    notes: tuple[Note, ...] = ()
    clauses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Standing:
    """A contract with something in force, as one decision sees it.

    `drift` is how its projection differs; `missing` that there is none as it should be (which is drift only once it
    was there); `held` the object that stands in its place.
    """

    obj: Obj
    head: Recorded
    content: Content
    past: Past
    overlay: Overlay
    count: Count
    remedy: Remedy
    now: int
    drift: Drift | None = None
    missing: bool = False
    held: Obj | None = field(default=None, repr=False)

    @property
    def status(self) -> Mapping[str, Any]:
        """The status as it is."""
        return self.obj.get("status") or {}

    @property
    def restored(self) -> bool:
        """Whether drift is put back."""
        return self.remedy is Remedy.RESTORE

    def steps(self) -> list[Step]:
        """What must be recorded before the status may say it."""
        return [step for step in (self._drifted(), self._overridden(), self._cut_over()) if step is not None]

    def _drifted(self) -> Step | None:
        if self.drift is None:
            return None
        event, held = RESTORED if self.restored else DRIFTED, self.drift.held_digest or ""
        # The entry is there already: its effect was lost with a crash, or the drift that it reported still stands.
        lost = self.status.get("lastEntry") != str(self.head.entry_id)
        if self.past.drift == (event, held) and (lost or is_true(self.status, ConditionType.DRIFTED)):
            return None
        message = self.drift.report(self.remedy)
        detail: dict[str, Any] = {"held": held, "message": message[:MAX_TOLD]}
        if self.drift.author is not None:
            detail["author"] = self.drift.author.document()
        clauses = tuple(name for name in self.drift.names if "/" not in name)
        return Step(event, detail, (Note("Warning", Reason.DRIFTED, message[:MAX_TOLD]),), clauses)

    def _overridden(self) -> Step | None:
        documents = self.overlay.documents
        if documents == list(self.past.overlay):
            return None
        detail = {
            "items": documents,
            "effectiveDigest": self.overlay.effective_digest,
            "nodeId": self.overlay.permission.node_id,
            "message": overridden_message(self.overlay)[:MAX_TOLD],
        }
        known = list(self.past.overlay)
        notes = tuple(
            Note("Normal" if item.applied else "Warning", item.reason, item.message)
            for item in self.overlay.items
            if item.document() not in known
        )
        if not documents:
            notes = (Note("Normal", Reason.NOT_OVERRIDDEN, "no override is left"),)
        return Step(OVERRIDDEN, detail, notes, tuple(item.clause for item in self.overlay.items))

    def _cut_over(self) -> Step | None:
        window = self.past.window
        cause = window.due(self.count, self.now)
        if cause is None or window.previous is None:
            return None
        detail = {
            "cause": str(cause),
            "previous": window.previous.document(),
            "nodes": self.count.document(),
            "since": format_time(window.since),
        }
        return Step(CUT_OVER, detail)

    def drafts(self, steps: Sequence[Step], tether: Tether) -> tuple[Draft, ...]:
        """The entries of the steps, each the successor of the one before."""
        made: list[Draft] = []
        for step in steps:
            previous = made[-1].entry_id if made else self.head.entry_id
            made.append(draft(self.obj, step, previous, self.content, tether, self.now))
        return tuple(made)

    def commands(self) -> tuple[Command, ...]:
        """What puts the projection in place; nothing where it is, where there is none, or where drift is reported."""
        if not self.missing or (self.drift is not None and not self.restored):
            return ()
        create = CreateChild(content_manifest(self.content.digest, self.content.data))
        if self.drift is None or self.held is None:
            return (create,)
        return (Remove(content_key(self.content.digest), self.held["metadata"]["uid"]), create)

    def wanted(self, last_entry: str, *, cut_over: bool) -> dict[str, Any]:
        """The status once everything is recorded."""
        versions = self.past.versions
        reference = {"contentRef": content_name(self.content.digest)} if self.content.previous else {}
        items = self.overlay.documents
        drift = self.drift
        author = drift.author.document() if drift is not None and drift.author is not None else None
        fields = {
            "contractId": self.content.contract_id,
            "domain": self.obj["spec"]["trustDomain"],
            "inForce": {**versions[-1].in_force(), **reference},
            "clauseDigests": self.content.clause_digests,
            "surfacesDigest": self.content.surfaces_digest if self.content.surfaces is not None else None,
            "history": [version.past() for version in reversed(versions)][:MAX_HISTORY],
            "holders": len(self.count.holding),
            "accepts": self._accepts(cut_over=cut_over),
            "overlay": {"effectiveDigest": self.overlay.effective_digest, "items": items} if items else None,
            "lastEntry": last_entry,
            "drifted": (drift.names or None) if drift is not None else None,
        }
        if drift is not None:
            # It stays when the content is back: who did it is asked afterwards.
            fields["driftedBy"] = author
        return status_with(self.obj, fields, self._observations(), now=self.now)

    def _accepts(self, *, cut_over: bool) -> list[dict[str, str]]:
        window = self.past.window
        shown = [item.document() for item in window.accepted(self.now)[: 1 if cut_over else 2]]
        if len(shown) > 1 and window.ends is not None:
            shown[1]["until"] = format_time(window.ends)
        return shown

    def _observations(self) -> list[Observation]:
        drift = None if self.drift is None else self.drift.report(self.remedy)
        in_force = f"version {self.content.version} is in force"
        ready = drift is None or self.restored
        domain = self.obj["spec"]["trustDomain"]
        found = [
            observe(ConditionType.AUTHORIZED, True, Reason.AUTHORIZED, f"{domain} lists this genesis"),
            observe(
                ConditionType.READY,
                ready,
                Reason.IN_FORCE if ready else Reason.DRIFTED,
                in_force if ready else drift or "",
            ),
        ]
        if drift is not None:
            reason = Reason.RESTORED if self.restored else Reason.DRIFTED
            found.append(observe(ConditionType.DRIFTED, not self.restored, reason, drift))
        elif is_true(self.status, ConditionType.DRIFTED):
            found.append(observe(ConditionType.DRIFTED, False, Reason.NOT_DRIFTED, "the content is as voted"))
        return [*found, *self._overlaid()]

    def _overlaid(self) -> list[Observation]:
        overlay = self.overlay
        if not overlay.items:
            known = any(item["type"] == ConditionType.OVERRIDDEN for item in self.status.get("conditions") or ())
            if not known:
                return []
            return [observe(ConditionType.OVERRIDDEN, False, Reason.NOT_OVERRIDDEN, "no override is left")]
        reason = overlay.refused[0].reason if overlay.refused else Reason.OVERRIDDEN
        return [observe(ConditionType.OVERRIDDEN, bool(overlay.applied), reason, overridden_message(overlay))]


def overridden_message(overlay: Overlay) -> str:
    """What holds and what is refused, refusals first."""
    return "; ".join(
        f"{item.message} ({item.reason})" if not item.applied else item.message
        for item in (*overlay.refused, *overlay.applied)
    )


def draft(obj: Obj, step: Step, previous: Any, content: Content, tether: Tether, now: int) -> Draft:
    """The entry of a step; every entry of a contract names what is in force."""
    meta = obj["metadata"]
    return Draft(
        content.contract_id,
        previous,
        step.event,
        {"kind": "DynamicContract", "name": meta["name"], "uid": meta["uid"], "generation": meta.get("generation")},
        Tether(tether.phase_id, content.version, step.clauses),
        now * 1_000_000,
        question="contract.observe",
        about=[content.digest],
        detail={"digest": content.digest, "version": content.version, **step.detail},
    )
