"""MissionPolicy: accepted or refused, recorded, and how it stands in what agents are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import ConditionType, Observation, Reason, find_condition, observe, some_of
from quorate.api.mission_policy import PolicyMode
from quorate.audit.entry import Tether
from quorate.audit.quarantine import SYSTEM
from quorate.canonical import format_time
from quorate.missions.acceptance import ClauseMissingError, ContractNow, Judged, Meeting, judge
from quorate.missions.fleet import covered
from quorate.missions.refusal import PolicyRefusedError
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.mission_log import (
    ACCEPTED,
    CHANGED,
    DOCUMENT,
    NO_PHASE,
    REFUSED,
    MissionLog,
    Past,
    content_of,
    draft_of,
    in_force,
    policy_key,
)
from quorate_operator.reconcile.mission_nodes import PERIOD, NodeLabels
from quorate_operator.reconcile.protocol import Context, Note, Plan, Relation
from quorate_operator.store.ports import Recorded
from quorate_operator.view import View

MAX_TOLD = 1024
MAX_OVERLAPS = 32


@dataclass(frozen=True)
class Trouble:
    """Why a policy that is accepted does not reach nodes."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Gathered:
    """What one decision about a MissionPolicy is made from.

    `head` is its last entry, `accepted` what that says is in force, `contract` what the contract it names has in force.
    `shown` says that the ConfigMap holds the document of the last entry, `distributed` the digest in that document.
    """

    obj: Obj
    head: Recorded | None
    accepted: Judged | None
    contract: ContractNow | None
    tether: Tether
    distributed: str | None = None
    shown: bool = False
    meetings: tuple[Meeting, ...] = ()
    trouble: Trouble | None = None
    nodes: int | None = None
    image: bool = False
    enforcing: bool = False


class MissionPolicies:
    """Reconciles MissionPolicies; `trouble` is why nothing can be distributed now, set by whoever distributes."""

    kind = "MissionPolicy"

    def __init__(self, log: MissionLog, domains: Domains) -> None:
        self._log, self._domains = log, domains
        self._nodes = NodeLabels()
        self._versions: dict[str, Any] = {}
        self.trouble: Trouble | None = None
        self.relations: Mapping[str, Relation] = {"DynamicContract": self._of_contract}

    def _of_contract(self, obj: Obj, view: View) -> Sequence[Key]:
        """Policies that implement a clause of a contract whose version changed."""
        name, version = obj["metadata"]["name"], ((obj.get("status") or {}).get("inForce") or {}).get("version")
        if self._versions.get(name, "") == version:
            return ()
        self._versions[name] = version
        return [
            policy_key(policy["metadata"]["name"])
            for policy in view.all("MissionPolicy")
            if (policy["spec"].get("clauseRef") or {}).get("contract") == name
        ]

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """One query for entries; nodes are counted at most each half minute."""
        objects = {key: obj for key in keys if (obj := context.view.get(key)) is not None}
        if not objects:
            return {}
        past = await self._log.read(context, [key.name for key in objects])
        phases = await self._phases(objects.values(), context)
        nodes = await self._nodes.get(context) if past.document is not None else None
        return {key: self._one(key.name, obj, past, phases, nodes, context) for key, obj in objects.items()}

    async def _phases(self, objects: Any, context: Context) -> Mapping[str, str]:
        """Phase of the domain of each contract that a policy names."""
        contracts = {str(obj["spec"]["clauseRef"]["contract"]) for obj in objects if obj["spec"].get("clauseRef")}
        found = {name: context.view.get(Key("DynamicContract", "", name)) for name in contracts}
        domains = {name: obj["spec"]["trustDomain"] for name, obj in found.items() if obj is not None}
        known = await self._domains.get(context, set(domains.values())) if domains else {}
        return {name: known[domain].latest.phase_id for name, domain in domains.items() if domain in known}

    def _one(
        self,
        name: str,
        obj: Obj,
        past: Past,
        phases: Mapping[str, str],
        nodes: Sequence[Mapping[str, str]] | None,
        context: Context,
    ) -> Gathered:
        contract, tether = _contract(obj, phases, context.view)
        document, accepted = past.document, past.accepted.get(name)
        held = context.view.get(DOCUMENT)
        return Gathered(
            obj,
            past.heads.get(name),
            accepted,
            contract,
            tether,
            None if document is None else document.digests.get(name),
            document is not None and held is not None and held["contentDigest"] == document.digest,
            () if document is None else document.meetings.get(name, ()),
            self.trouble,
            None if nodes is None or accepted is None else covered(accepted.policy.node_labels, nodes),
            bool(context.config.agent_image),
            context.config.agent_profile == "enforce",
        )

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """Record what is accepted or refused, then show how it stands."""
        obj, name = gathered.obj, gathered.obj["metadata"]["name"]
        refusal: Trouble | None = None
        waits: Trouble | None = None
        try:
            judged = judge(name, obj["spec"], gathered.contract)
        except PolicyRefusedError as error:
            refusal = Trouble(Reason.INVALID, str(error))
        except ClauseMissingError as error:
            waits = Trouble(error.reason, str(error))
        else:
            if _is_new(gathered, judged):
                return _accepting(gathered, judged, now)
        if refusal is not None and not _is_told(gathered):
            return _refusing(gathered, refusal, now)
        return _standing(gathered, refusal, waits, now)


def _contract(obj: Obj, phases: Mapping[str, str], view: View) -> tuple[ContractNow | None, Tether]:
    reference = obj["spec"].get("clauseRef")
    if not reference:
        return None, NO_PHASE
    name = reference["contract"]
    status = (view.get(Key("DynamicContract", "", name)) or {}).get("status") or {}
    version = (status.get("inForce") or {}).get("version")
    if version is None or name not in phases:
        return None, NO_PHASE
    tether = Tether(phases[name], version, (reference["clause"],))
    return ContractNow(version, frozenset(status.get("clauseDigests") or ())), tether


def _is_new(gathered: Gathered, judged: Judged) -> bool:
    """Whether it is not what the last entry says; what an unchanged spec means after a refusal is told too."""
    head = gathered.head
    if head is None or head.event_type == REFUSED or in_force(head) != judged.digest:
        return True
    return gathered.accepted is None  # the log no longer has what was accepted: an old entry's content was archived


def _is_told(gathered: Gathered) -> bool:
    """Whether the refusal of this very spec is the last entry."""
    head, meta = gathered.head, gathered.obj["metadata"]
    if head is None or head.event_type != REFUSED:
        return False
    subject = head.payload["subject"]
    return bool(subject.get("uid") == meta["uid"] and subject.get("generation") == meta.get("generation"))


def _accepting(gathered: Gathered, judged: Judged, now: int) -> Plan:
    key = policy_key(judged.policy.name)
    event = ACCEPTED if in_force(gathered.head) is None else CHANGED
    detail = {"digest": judged.digest, "version": judged.policy.version, "mode": str(judged.policy.mode)}
    entry = draft_of(key, gathered.obj, gathered.head, event, detail, now, gathered.tether)
    return Plan(chain=SYSTEM, entries=(entry,), content=content_of(judged), dirty=(key, DOCUMENT))


def _refusing(gathered: Gathered, refusal: Trouble, now: int) -> Plan:
    """What was accepted before stays in force, as with a revision of a TrustDomain."""
    key, head = policy_key(gathered.obj["metadata"]["name"]), gathered.head
    detail = {"digest": in_force(head) or "", "message": refusal.message[:MAX_TOLD]}
    if gathered.accepted is not None and head is not None:
        detail |= {"version": gathered.accepted.policy.version, "since": _since(head)}
    entry = draft_of(key, gathered.obj, head, REFUSED, detail, now, gathered.tether)
    note = Note("Warning", refusal.reason, refusal.message[:MAX_TOLD])
    return Plan(chain=SYSTEM, entries=(entry,), events=(note,), dirty=(key,))


def _since(head: Recorded) -> str:
    return str(head.detail.get("since") or format_time(head.timestamp // 1_000_000))


def _standing(gathered: Gathered, refusal: Trouble | None, waits: Trouble | None, now: int) -> Plan:
    accepted, head = gathered.accepted, gathered.head
    fields: dict[str, Any] = {
        "accepted": None,
        "overlaps": [item.document() for item in gathered.meetings[:MAX_OVERLAPS]] or None,
        "nodes": gathered.nodes,
        "lastEntry": None if head is None else str(head.entry_id),
    }
    if accepted is not None and head is not None:
        fields["accepted"] = {"digest": accepted.digest, "version": accepted.policy.version, "since": _since(head)}
    overlap = _overlap(gathered.meetings)
    observations = [*_observations(gathered, refusal, waits), *([overlap] if overlap is not None else [])]
    gone = () if overlap is not None else (ConditionType.OVERLAPS,)
    return Plan(
        status=status_with(gathered.obj, fields, observations, now=now, remove=gone),
        events=_notes(gathered.obj, overlap),
        wake_at=now + PERIOD if gathered.nodes is not None else None,
        # At the start nothing else looks at a document that is not there.
        dirty=() if gathered.shown else (DOCUMENT,) if gathered.trouble is None and accepted is not None else (),
    )


def _observations(gathered: Gathered, refusal: Trouble | None, waits: Trouble | None) -> list[Observation]:
    problem = refusal or waits
    stays = "" if gathered.accepted is None else "; what was accepted before stays in force"
    found = []
    if problem is None:
        found.append(observe(ConditionType.ACCEPTED, True, Reason.ACCEPTED, "the live spec is what agents are given"))
    else:
        told = f"{problem.message}{stays}"
        found.append(observe(ConditionType.ACCEPTED, False, problem.reason, told))
        problem = Trouble(problem.reason, told)
    late = _late(gathered)
    if late is None:
        message = f"ConfigMap {DOCUMENT.namespace}/{DOCUMENT.name} holds the accepted spec"
        found.append(observe(ConditionType.DISTRIBUTED, True, Reason.DISTRIBUTED, message))
    elif gathered.accepted is not None:
        found.append(observe(ConditionType.DISTRIBUTED, False, late.reason, late.message))
    problem = problem or late or _agents(gathered)
    if problem is None:
        return [observe(ConditionType.READY, True, Reason.READY, "accepted and distributed"), *found]
    waiting = refusal is None and (waits is not None or problem.reason is Reason.PROGRESSING)
    progress = ConditionType.RECONCILING if waiting else ConditionType.STALLED
    return [
        observe(ConditionType.READY, False, problem.reason, problem.message),
        observe(progress, True, problem.reason, problem.message),
        *found,
    ]


def _late(gathered: Gathered) -> Trouble | None:
    """Why nodes cannot have what is accepted yet."""
    accepted = gathered.accepted
    if accepted is not None and gathered.distributed == accepted.digest and gathered.shown:
        return None
    return gathered.trouble or Trouble(Reason.PROGRESSING, "waits for the next signed document")


def _agents(gathered: Gathered) -> Trouble | None:
    """What keeps agents from acting on what they are given."""
    if not gathered.image:
        message = "distributed, but no agent reads it: start the operator with --agent-image"
        return Trouble(Reason.NO_AGENT, message)
    if gathered.obj["spec"]["mode"] == PolicyMode.ENFORCE and not gathered.enforcing:
        message = "spec.mode Enforce: agents run with profile observe and touch nothing; next: --agent-profile enforce"
        return Trouble(Reason.AGENT_OBSERVES, message)
    return None


def _overlap(met: Sequence[Meeting]) -> Observation | None:
    if not met:
        return None
    reason = Reason.OVERRULES if met[0].wins else Reason.OVERRULED
    if met[0].contradiction:
        reason = Reason.CONTRADICTION
    sentences = list(dict.fromkeys(item.message for item in met))
    return observe(ConditionType.OVERLAPS, True, reason, some_of(sentences).replace(", spec.", "; spec."))


def _notes(obj: Obj, overlap: Observation | None) -> tuple[Note, ...]:
    """An overlap is told when it comes, or becomes another one."""
    shown = find_condition(obj.get("status"), ConditionType.OVERLAPS)
    if overlap is None or (shown is not None and shown["message"] == overlap.message):
        return ()
    kind: Any = "Warning" if overlap.reason == Reason.CONTRADICTION else "Normal"
    return (Note(kind, overlap.reason, overlap.message[:MAX_TOLD]),)
