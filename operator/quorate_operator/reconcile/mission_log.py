"""MissionPolicies as the log has them: what was accepted, and the document that was distributed last."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from quorate.api.manifests import AGENT, NODE_POLICIES
from quorate.audit.entry import Draft, Tether
from quorate.canonical import canonical_bytes, parse_json
from quorate.missions.acceptance import Judged, Meeting, meetings
from quorate.missions.distribution import FORMAT, policy_digest
from quorate.missions.policies import Policy, compile_policy
from quorate.missions.refusal import PolicyRefusedError
from quorate.missions.selection import findings
from quorate_operator.kube.resources import SYSTEM_NAMESPACE, Key, Obj
from quorate_operator.reconcile.protocol import Context
from quorate_operator.store.ports import Recorded

ACCEPTED, CHANGED = "mission.policy.accepted", "mission.policy.changed"
REFUSED, REMOVED = "mission.policy.refused", "mission.policy.removed"
DISTRIBUTED, RESTORED = "mission.policies.distributed", "mission.policies.restored"
DEPLOYED, REDEPLOYED, WITHDRAWN = "mission.agents.deployed", "mission.agents.restored", "mission.agents.withdrawn"
DOCUMENT = Key("ConfigMap", SYSTEM_NAMESPACE, NODE_POLICIES)
AGENTS = Key("DaemonSet", SYSTEM_NAMESPACE, AGENT)
_KEPT = 256
NO_PHASE = Tether("0")
"""Of what belongs to no domain (chain `system`)."""


def policy_key(name: str) -> Key:
    """The key of a MissionPolicy."""
    return Key("MissionPolicy", "", name)


def subject_key(key: Key) -> str:
    """kind/namespace/name (trust.md, "Entries")."""
    return f"{key.kind}/{key.namespace}/{key.name}"


def in_force(head: Recorded | None) -> str | None:
    """Digest of the policy that holds after its last entry; None where none does."""
    return None if head is None or head.event_type == REMOVED else head.detail["digest"] or None


def draft_of(
    key: Key, obj: Obj | None, head: Recorded | None, event: str, detail: Mapping[str, Any], now: int, tether: Tether
) -> Draft:
    """An entry about one of the objects that missions are made of."""
    meta = (obj or {}).get("metadata") or {}
    subject: dict[str, Any] = {"kind": key.kind, "namespace": key.namespace, "name": key.name}
    subject |= {name: meta.get(name) for name in ("uid", "generation")}
    previous: UUID | None = None if head is None else head.entry_id
    kept = {name: value for name, value in subject.items() if value is not None and value != ""}
    about = [str(detail["digest"])] if detail.get("digest") else []
    asked = f"{event.rpartition('.')[0]}.observe".replace("mission.", "")
    return Draft(
        subject_key(key), previous, event, kept, tether, now * 1_000_000, question=asked, about=about, detail=detail
    )


@dataclass(frozen=True)
class Document:
    """The document that was distributed last.

    `held_until` is in Unix seconds: until then an action under a policy that is gone may be in flight.
    """

    head: Recorded
    data: bytes
    entries: Mapping[str, Mapping[str, Any]]
    """The policies as it holds them, by name."""
    digests: Mapping[str, str]
    namespaces: Mapping[str, Mapping[str, str]]
    policies: tuple[Policy, ...]
    meetings: Mapping[str, tuple[Meeting, ...]]

    @property
    def digest(self) -> str:
        """Of its bytes."""
        return str(self.head.detail["digest"])

    @property
    def serial(self) -> int:
        """Its number."""
        return int(self.head.detail["serial"])

    @property
    def held_until(self) -> int:
        """Unix seconds."""
        return int(self.head.detail["heldUntil"])


@dataclass(frozen=True)
class Past:
    """What the log says: last entry and accepted policy by name, last document, entries of document and agents."""

    heads: Mapping[str, Recorded]
    accepted: Mapping[str, Judged]
    document_head: Recorded | None
    document: Document | None
    agents_head: Recorded | None


class MissionLog:
    """Reads them: one query for entries, one for content that is new to this process."""

    def __init__(self) -> None:
        self._judged: dict[str, Judged] = {}
        self._document: Document | None = None

    async def read(self, context: Context, names: Iterable[str]) -> Past:
        """What the log says of these policies, and of what all have in common."""
        keys = {subject_key(policy_key(name)): name for name in names}
        found = await context.log.heads([*keys, subject_key(DOCUMENT), subject_key(AGENTS)])
        heads = {name: found[key] for key, name in keys.items() if key in found}
        wanted = {name: digest for name, head in heads.items() if (digest := in_force(head)) is not None}
        if len(self._judged) > 4 * len(wanted) + _KEPT:
            self._judged = {digest: self._judged[digest] for digest in wanted.values() if digest in self._judged}
        await self._learn(context, wanted.values())
        accepted = {name: self._judged[digest] for name, digest in wanted.items() if digest in self._judged}
        head = found.get(subject_key(DOCUMENT))
        return Past(heads, accepted, head, await self._last(context, head), found.get(subject_key(AGENTS)))

    def learn(self, judged: Judged) -> None:
        """A policy that was judged here need not be read."""
        self._judged[judged.digest] = judged

    async def _learn(self, context: Context, digests: Iterable[str]) -> None:
        unknown = sorted(set(digests) - self._judged.keys())
        for digest, data in (await context.content.get(unknown) if unknown else {}).items():
            self._policy(digest, parse_json(data))

    async def _last(self, context: Context, head: Recorded | None) -> Document | None:
        if head is None:
            return None
        if self._document is None or self._document.digest != head.detail["digest"]:
            digest = head.detail["digest"]
            data = (await context.content.get([digest])).get(digest)
            self._document = None if data is None else self._parsed(head, data)
        elif self._document.head.entry_id != head.entry_id:
            self._document = replace(self._document, head=head)
        return self._document

    def _parsed(self, head: Recorded, data: bytes) -> Document | None:
        value = parse_json(data)
        if value["format"] != FORMAT:
            return None
        entries = {entry["name"]: entry for entry in value["policies"]}
        digests = {name: policy_digest(entry) for name, entry in entries.items()}
        policies = tuple(
            policy for name, entry in entries.items() if (policy := self._policy(digests[name], entry)) is not None
        )
        met = meetings(findings(policies))
        return Document(head, data, entries, digests, value["namespaces"], policies, met)

    def _policy(self, digest: str, entry: Mapping[str, Any]) -> Policy | None:
        if digest not in self._judged:
            try:
                policy = compile_policy(entry["name"], entry["spec"], version=entry["version"])
            except PolicyRefusedError:
                return None  # an older version of this code accepted it; it must be accepted again
            self._judged[digest] = Judged(entry, digest, policy)
        return self._judged[digest].policy


def content_of(judged: Judged) -> Mapping[str, bytes]:
    """What the log keeps of an accepted policy."""
    return {judged.digest: canonical_bytes(dict(judged.entry))}
