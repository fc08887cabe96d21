"""What the cluster knows and the log does not: after an older database was restored and its chain was resumed.

Nothing is appended for such an object (`LogBehind`). This says what was lost, and what follows if its status is cleared
so that the operator derives it from the log again (trust.md, Entries; docs/quarantine.md). No entry is ever made up:
what is signed is judged again, what votes decided and the log lost must be voted on again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from quorate.audit.quarantine import Quarantine
from quorate.proposals.lifecycle import EventType
from quorate_operator.kube.resources import OWN_KINDS, Key, Obj, key_of
from quorate_operator.reconcile.contract import GENESIS
from quorate_operator.reconcile.domains import ACCEPTED
from quorate_operator.store.ports import Content, Log
from quorate_operator.store.recorded import Recorded

KINDS = ("TrustDomain", "MeshNode", "DynamicContract", "Attestation", "Vote", "GovernanceProposal", "AuditCheckpoint")
"""Kinds whose status follows from the log."""
_ORDER = {item.kind: place for place, item in enumerate(OWN_KINDS)}


class State(StrEnum):
    """Whether the status of an object may be cleared."""

    READY = "ready"
    """It may."""
    STOPPED = "stopped"
    """The chain is in quarantine: two people resume it first."""
    NOT_STOPPED = "not-stopped"
    """The chain was never resumed: nobody has signed yet that it goes on from here."""
    DOMAIN_FIRST = "domain-first"
    """The TrustDomain holds a revision that the log has not accepted yet: by an older one others would be refused."""
    NOT_CLEARED = "not-cleared"
    """Clearing mends nothing."""


@dataclass(frozen=True)
class Loss:
    """One object whose status names something that the log does not hold.

    Args:
        obj: as it was read; clearing is refused where it changed since.
        chain: of its entries; empty where nothing says which.
        names: what the log lacks.
        follows: what happens once the status is cleared, or what to do instead.
        state: whether it may be cleared now.
        keeps: fields of the status that stay.
    """

    obj: Obj
    chain: str
    names: tuple[str, ...]
    follows: str
    state: State
    keeps: frozenset[str] = frozenset()

    @property
    def key(self) -> Key:
        """Which object."""
        return key_of(self.obj)

    @property
    def patch(self) -> dict[str, Any]:
        """The merge patch of the status subresource that clears it."""
        gone = {name: None for name in self.obj["status"] if name not in self.keeps}
        return {"metadata": {"resourceVersion": self.obj["metadata"]["resourceVersion"]}, "status": gone}


@dataclass
class _Held:
    """What the log holds of what the objects name."""

    chains: Mapping[str, str]
    """TrustDomain name → chain."""
    sizes: Mapping[str, int]
    entries: frozenset[str]
    heads: Mapping[str, Recorded]
    content: frozenset[str]
    quarantines: Sequence[Quarantine]
    accepted: Mapping[str, Sequence[Recorded]] = field(default_factory=dict)
    """Chain → the entries that accepted its revisions."""
    contents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """contractId → digests that were ever in force."""
    written: Mapping[str, int] = field(default_factory=dict)
    """TrustDomain name → revision of its spec."""

    def revision(self, domain: str) -> int:
        """The newest revision that the log accepted, 0 before the first."""
        accepted = self.accepted.get(self.chains.get(domain, ""), ())
        return max((int(entry.detail["revision"]) for entry in accepted), default=0)

    def state(self, obj: Obj, domain: str) -> State:
        """Whether anything of this domain may be cleared."""
        own = [item for item in self.quarantines if item.chain_id == self.chains.get(domain)]
        if any(item.resumed_at is None for item in own):
            return State.STOPPED
        if obj["kind"] != "TrustDomain" and self.written.get(domain, 0) > self.revision(domain):
            return State.DOMAIN_FIRST
        return State.READY if own else State.NOT_STOPPED


async def losses(objects: Sequence[Obj], log: Log, content: Content, *, domain: str | None = None) -> list[Loss]:
    """Every object of `objects` whose status names what the log lacks, in the order in which they are to be cleared.

    Args:
        objects: all objects of `KINDS`.
        log: what the database holds.
        content: the bytes that it holds.
        domain: only what belongs to the TrustDomain of this name.
    """
    held = await _held(objects, log, content)
    found = []
    for obj in sorted(objects, key=lambda item: (_ORDER[item["kind"]], key_of(item))):
        name = _domain(obj, held)
        if domain not in (None, name) or not obj.get("status"):
            continue
        loss = _loss(obj, name, held)
        if loss is not None:
            found.append(loss)
    return found


async def _held(objects: Sequence[Obj], log: Log, content: Content) -> _Held:
    statuses = [obj.get("status") or {} for obj in objects]
    domains = [obj for obj in objects if obj["kind"] == "TrustDomain"]
    heads = await log.chains()
    chains = {obj["metadata"]["name"]: f"{obj['spec'].get('meshId')}/{obj['metadata']['name']}" for obj in domains}
    chains |= {head.chain_id.partition("/")[2]: head.chain_id for head in heads if "/" in head.chain_id}
    entries = await log.recorded([UUID(status["lastEntry"]) for status in statuses if status.get("lastEntry")])
    contracts = [_contract_id(obj) for obj in objects if obj["kind"] == "DynamicContract"]
    proposals = [_proposal(obj) for obj in objects if obj["kind"] in ("Vote", "GovernanceProposal")]
    last = await log.heads(sorted({*contracts, *(digest for digest in proposals if digest)}))
    accepted = {
        chain: [entry for entry in await _own(log, chain) if entry.event_type == ACCEPTED] for chain in chains.values()
    }
    versions = {name: await _own(log, name) for name in contracts}
    digests = {entry.detail["digest"] for items in (*accepted.values(), *versions.values()) for entry in items}
    digests |= {digest for digest in proposals if _is_opened(last.get(str(digest)))}
    return _Held(
        chains,
        {head.chain_id: head.size for head in heads},
        frozenset(str(entry_id) for entry_id in entries),
        last,
        frozenset(await content.get(sorted(digests))),
        await log.quarantines(),
        accepted,
        {name: frozenset(entry.detail["digest"] for entry in items) for name, items in versions.items()},
        {obj["metadata"]["name"]: int(obj["spec"].get("revision") or 0) for obj in domains},
    )


async def _own(log: Log, subject: str) -> list[Recorded]:
    return [entry for entry in await log.about(subject) if entry.subject_key == subject]


def _contract_id(obj: Obj) -> str:
    return str(obj["spec"]["genesis"]["contractId"])


def _proposal(obj: Obj) -> str | None:
    """Digest of the proposal that an object is, or votes on."""
    if obj["kind"] == "Vote":
        return str(obj["spec"]["proposal"]["digest"])
    return (obj.get("status") or {}).get("digest")


def _is_opened(last: Recorded | None) -> bool:
    """Whether a proposal with this last entry was opened."""
    return last is not None and last.event_type != EventType.REFUSED


def _domain(obj: Obj, held: _Held) -> str:
    spec = obj["spec"]
    if obj["kind"] == "TrustDomain":
        return str(obj["metadata"]["name"])
    if obj["kind"] == "MeshNode":
        names: Iterable[str] = spec.get("trustDomains") or ()
        return next((name for name in names if name in held.chains), "")
    if obj["kind"] == "AuditCheckpoint":
        return str(spec["chain"]).partition("/")[2]
    return str(spec.get("trustDomain") or spec.get("domain") or "")


def _loss(obj: Obj, domain: str, held: _Held) -> Loss | None:
    status, chain = obj["status"], held.chains.get(domain, "")
    if obj["kind"] == "AuditCheckpoint":
        return _checkpoint(obj, held)
    last = status.get("lastEntry")
    names = [f"entry {last}"] if last is not None and last not in held.entries else []
    keeps: frozenset[str] = frozenset()
    if obj["kind"] == "TrustDomain":
        lost, keeps = _revision(status, chain, held)
        names += lost
    if obj["kind"] == "DynamicContract":
        shown = (status.get("inForce") or {}).get("digest")
        if shown is not None and shown not in held.contents[_contract_id(obj)]:
            names.append(f"content {shown}")
    if names:
        return Loss(obj, chain, tuple(names), _FOLLOWS[obj["kind"]](obj, domain, held), held.state(obj, domain), keeps)
    missing = _without_bytes(obj, chain, held)
    if missing is None:
        return None
    follows = f"the log names it, its bytes are gone: put them back from another copy ({_copy(missing)})"
    return Loss(obj, chain, (f"content {missing}",), follows, State.NOT_CLEARED)


def _copy(digest: str) -> str:
    return f"ConfigMap quorate-system/quorate-{digest.removeprefix('sha256:')}, an archive, a replica"


def _checkpoint(obj: Obj, held: _Held) -> Loss | None:
    chain, size = str(obj["spec"]["chain"]), obj["status"].get("size")
    if size is None or size <= held.sizes.get(chain, 0):
        return None
    follows = f"the chain has {held.sizes.get(chain, 0)} entries; the operator compares them at its next start"
    return Loss(obj, chain, (f"checkpoint of {size} entries",), follows, State.NOT_CLEARED)


def _revision(status: Mapping[str, Any], chain: str, held: _Held) -> tuple[list[str], frozenset[str]]:
    """A lost acceptance, and what of the status stays: nobody reads a revision from there that is not in force."""
    shown = status.get("accepted") or {}
    digests = {entry.detail["digest"] for entry in held.accepted.get(chain, ())}
    if shown and shown["digest"] not in digests:
        return [f"revision {shown['revision']} {shown['digest']}"], frozenset({"challenge"})
    return [], frozenset({"challenge", "accepted", "homeHub", "members"})


def _without_bytes(obj: Obj, chain: str, held: _Held) -> str | None:
    if obj["kind"] == "TrustDomain":
        digests = [entry.detail["digest"] for entry in held.accepted.get(chain, ())]
    elif obj["kind"] == "DynamicContract":
        head = held.heads.get(_contract_id(obj))
        digests = [] if head is None or head.event_type == GENESIS else [head.detail["digest"]]
    elif obj["kind"] == "GovernanceProposal":
        digest = str(_proposal(obj))
        digests = [digest] if _is_opened(held.heads.get(digest)) else []
    else:
        digests = []
    return next((digest for digest in digests if digest not in held.content), None)


def _of_domain(obj: Obj, domain: str, held: _Held) -> str:
    accepted, written = held.revision(domain), int(obj["spec"].get("revision") or 0)
    if accepted == 0:
        return "the log has no revision: revision 1 is judged anew, against the operator's pin"
    if written <= accepted:
        return f"revision {accepted} is in force; the status is written anew"
    text = (
        f"revision {accepted} is in force, with its keys, until revision {written} is accepted anew by its signatures"
    )
    if written > accepted + 1:
        text += f": apply the revisions from {accepted + 1} on, one after the other"
    return f"{text}. What a proposal or a recovery authorised needs that again"


def _of_node(_: Obj, __: str, ___: _Held) -> str:
    return "its heartbeat is judged and recorded anew"


def _of_contract(obj: Obj, _: str, held: _Held) -> str:
    head, shown = held.heads.get(_contract_id(obj)), obj["status"].get("inForce") or {}
    if head is None:
        return "its genesis comes into force anew; what was voted since must be voted on again"
    version = head.detail["version"]
    if shown.get("digest") in (None, head.detail["digest"]):
        return f"version {version} is in force; the status is written anew"
    return f"version {version} is in force again; version {shown['version']} must be voted on again"


def _of_attestation(obj: Obj, _: str, __: _Held) -> str:
    if obj["spec"]["type"] == "Recovery":
        return "it is announced anew: the delay runs from the new entry"
    return "it is recorded anew by the time of its object; UnknownKey if its key came with a lost revision: sign again"


def _of_vote(obj: Obj, _: str, held: _Held) -> str:
    last = held.heads.get(str(_proposal(obj)))
    if last is None or not _is_opened(last):
        return "it waits until its proposal is opened again, and is then recorded anew"
    if last.event_type != EventType.OPENED:
        return f"the log has {last.event_type} without it: TooLate, unless that still takes votes"
    return (
        "it is recorded anew, later than before, and counts by the time of its object; TooLate if that is past the "
        "decision, UnknownKey if its key came with a lost revision: vote again"
    )


def _of_proposal(obj: Obj, _: str, held: _Held) -> str:
    last, status = held.heads.get(str(_proposal(obj))), obj["status"]
    if last is None or not _is_opened(last):
        text = "it is opened anew, with a new voting period, if its base is still in force (else StaleBase)"
    else:
        text = f"it goes on from {last.event_type}: what came later is decided anew from the votes"
    given = status.get("evidenceDigest")
    return text if given is None else f"{text}. Evidence {given} may be out there: tell whoever applied it"


_FOLLOWS = {
    "TrustDomain": _of_domain,
    "MeshNode": _of_node,
    "DynamicContract": _of_contract,
    "Attestation": _of_attestation,
    "Vote": _of_vote,
    "GovernanceProposal": _of_proposal,
}
