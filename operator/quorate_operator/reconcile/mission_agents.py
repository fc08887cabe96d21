"""The DaemonSet of the node agents: there while policies are, on the nodes that they select."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from quorate.audit.quarantine import SYSTEM
from quorate.canonical import digest_of
from quorate.missions.fleet import union
from quorate_operator.config import Config
from quorate_operator.errors import Stalled
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.machine_key import MachineKey, read_machine_key
from quorate_operator.reconcile.agent_manifest import holds, manifest, terms_of
from quorate_operator.reconcile.mission_log import (
    AGENTS,
    DEPLOYED,
    NO_PHASE,
    REDEPLOYED,
    WITHDRAWN,
    Document,
    MissionLog,
    draft_of,
)
from quorate_operator.reconcile.protocol import ApplyChild, Context, Plan, Relation, Remove
from quorate_operator.store.ports import Recorded

PERIOD = 60
"""Seconds after which the DaemonSet is compared again: it is not watched."""


@dataclass(frozen=True)
class Gathered:
    """What one decision about the DaemonSet is made from.

    `live` is the DaemonSet as it is, `head` its last entry, `wanted` what it should be, None where none should be.
    `altered`: this process saw in place what the last entry says, or something else at its start.
    """

    document: Document
    live: Obj | None
    head: Recorded | None
    wanted: Obj | None
    config: Config
    altered: bool

    @property
    def is_there(self) -> bool:
        """Whether all is as it should be."""
        if self.wanted is None or self.live is None:
            return self.wanted is self.live
        # An affinity that is wanted no more is less than what is there.
        return holds(self.live, self.wanted) and terms_of(self.live) == terms_of(self.wanted)


class Agents:
    """Reconciles the one DaemonSet."""

    kind = "DaemonSet"

    def __init__(self, log: MissionLog) -> None:
        self._log = log
        self._begun = False
        self._seen: set[UUID] = set()
        self.relations: Mapping[str, Relation] = {}

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """Nothing without a document, an image and a key: the operator then deploys no agent, and removes none."""
        if AGENTS not in keys or not context.config.agent_image:
            return {}
        past = await self._log.read(context, ())
        try:
            key = read_machine_key(context.config.machine_key)
        except Stalled:
            return {}  # the policies say so
        if past.document is None:
            return {}
        live = await context.client.get(AGENTS)
        wanted = _wanted(past.document, live, context.config, key, int(context.clock()))
        gathered = Gathered(past.document, live, past.agents_head, wanted, context.config, altered=False)
        return {AGENTS: replace(gathered, altered=self._altered(gathered))}

    def _altered(self, gathered: Gathered) -> bool:
        last = None if gathered.head is None else gathered.head.entry_id
        if last is not None and (gathered.is_there or not self._begun):
            self._seen = {last}
        self._begun = True
        return not gathered.is_there and last in self._seen

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """Deploy, put back, shrink or withdraw; the last two only when no action can be in flight any more."""
        held_until, live = gathered.document.held_until, gathered.live
        wake_at = min(now + PERIOD, held_until) if now < held_until else now + PERIOD
        if gathered.is_there:
            return Plan(wake_at=wake_at if gathered.wanted is not None else None)
        if gathered.wanted is not None:
            return _deploy(gathered, gathered.wanted, now, wake_at)
        return Plan() if live is None else _withdraw(gathered, live, now)


def _wanted(document: Document, live: Obj | None, config: Config, key: MachineKey, now: int) -> Obj | None:
    """Agents run where a policy holds, and while actions may be in flight also where they ran before."""
    selectors = [policy.node_labels for policy in document.policies]
    in_flight = live is not None and now < document.held_until
    if not selectors and not in_flight:
        return None
    kept = terms_of(live) if live is not None and in_flight else ()
    return manifest(config, key.public, union([*selectors, *kept]))


def _deploy(gathered: Gathered, wanted: Obj, now: int, wake_at: float) -> Plan:
    digest, head = digest_of(wanted["spec"]), gathered.head
    same = head is not None and head.event_type != WITHDRAWN and head.detail["digest"] == digest
    command = ApplyChild(wanted)
    if same and not gathered.altered:
        return Plan(commands=(command,), wake_at=wake_at)
    detail: dict[str, Any] = {
        "digest": digest,
        "image": gathered.config.agent_image,
        "profile": gathered.config.agent_profile,
        "serial": gathered.document.serial,
    }
    entry = draft_of(AGENTS, gathered.live, head, REDEPLOYED if same else DEPLOYED, detail, now, NO_PHASE)
    # Looked at again at once: only what was seen in place can be told from what was never written.
    return Plan(chain=SYSTEM, entries=(entry,), commands=(command,), wake_at=wake_at, dirty=(AGENTS,))


def _withdraw(gathered: Gathered, live: Obj, now: int) -> Plan:
    detail = {"digest": digest_of({"uid": live["metadata"]["uid"]}), "serial": gathered.document.serial}
    entry = draft_of(AGENTS, live, gathered.head, WITHDRAWN, detail, now, NO_PHASE)
    remove = Remove(AGENTS, live["metadata"]["uid"])
    if gathered.head is not None and gathered.head.event_type == WITHDRAWN:
        return Plan(commands=(remove,))
    return Plan(chain=SYSTEM, entries=(entry,), commands=(remove,))
