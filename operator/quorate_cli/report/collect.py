"""From entries to the compliance report's document: who decided what, under which rules, and what was refused.

Everything comes from sealed entries and from the content that they name by digest; nothing is asked of the cluster.
Entries from before the period give context only: the constitution and contracts in force when it began, names of nodes,
and the openings of proposals that it decided.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from quorate.canonical import NotCanonicalError, is_digest, parse_json
from quorate_cli.audit.shown import Shown
from quorate_cli.report.forms import integer, mapping, mappings, word, words
from quorate_cli.report.proposals import Proposals

Obj = dict[str, Any]
ReadContent = Callable[[str], bytes | None]
FORMAT = "quorate.dev/compliance-report/v1"
MOST_LISTED = 1000
"""Refused acts and notices that are listed one by one; all are counted."""

CONTEXT = tuple(
    f'"event_type":"{name}'.encode() for name in ("trust.", "governance.contract.", "governance.proposal.opened")
)
"""Beginnings of what is read of entries from before the period, as canonical JSON holds them."""
_CONTRACT = "governance.contract."
_DIGESTS = {"oldDigest": "baseDigest", "newDigest": "digest", "heldDigest": "held",
            "proposalDigest": "proposalDigest", "evidenceDigest": "evidenceDigest"}  # fmt: skip
_CHOICES = ("Approve", "Reject", "Abstain", "Veto", "Retract")


class Collector:
    """Takes entries in the order in which they were sealed; `document` is what they say.

    Args:
        content: the bytes of a digest that an entry names, None where the sources do not have them.
        since: Unix microseconds; entries sealed before are context.
    """

    def __init__(self, content: ReadContent, since: int | None) -> None:
        self._content = content
        self._since = since
        self._chains: dict[str, Obj] = {}
        self._counts: Counter[str] = Counter()
        self._domains: dict[str, list[Obj]] = {}
        self._names: dict[str, str] = {}
        self._nodes: list[Obj] = []
        self._proposals = Proposals(self.read)
        self._votes: dict[tuple[str, str], Counter[str]] = {}
        self._refusals: list[Obj] = []
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._contracts: dict[tuple[str, str], Obj] = {}
        self._attestations: list[Obj] = []
        self._operations: list[Obj] = []

    def feed(self, shown: Shown) -> None:
        """Take the next entry."""
        inside = self._since is None or shown.sealed_at >= self._since
        if inside:
            self._count(shown)
        first, _, rest = shown.event.partition(".")
        topic = rest.partition(".")[0]
        if first == "system":
            self._operation(shown, inside)
        elif (first, topic) == ("trust", "domain") or topic == "recovery":
            self._domain(shown, inside)
        elif (first, topic) == ("trust", "node"):
            self._node(shown, inside)
        elif (first, topic) == ("trust", "attestation") and inside:
            self._attestations.append({**_head(shown), **_named(shown), **_told(shown)})
        elif shown.event.startswith(_CONTRACT):
            self._contract(shown, inside)
        elif first == "governance" and topic in ("proposal", "act", "vote"):
            self._proposals.feed(shown, inside=inside)
        if inside and topic == "vote":
            self._vote(shown)
        if inside and shown.event.endswith(".refused"):
            self._refuse(shown)

    def read(self, digest: Any) -> Obj:
        """The JSON object with this digest; empty where the sources do not have it."""
        data = self._content(digest) if is_digest(digest) else None
        try:
            found = None if data is None else parse_json(data)
        except NotCanonicalError:
            return {}
        return mapping(found)

    def _count(self, shown: Shown) -> None:
        self._counts[shown.event] += 1
        chain = self._chains.setdefault(
            shown.chain, {"chain": shown.chain, "first": shown.sequence, "firstSealedAt": shown.sealed}
        )
        chain |= {"last": shown.sequence, "lastSealedAt": shown.sealed, "epoch": shown.epoch}
        chain["entries"] = chain.get("entries", 0) + 1

    def _domain(self, shown: Shown, inside: bool) -> None:
        revisions = self._domains.setdefault(shown.chain, [])
        if shown.event == "trust.domain.accepted":
            statement = self.read(shown.detail.get("digest"))
            if not inside:
                revisions.clear()  # only the one in force when the period began is told
            revisions.append({**_head(shown), **_revision(shown, statement), "before": not inside})
        elif inside and not shown.event.endswith(".refused"):
            revisions.append({**_head(shown), **_told(shown), "before": False})

    def _node(self, shown: Shown, inside: bool) -> None:
        node = str(shown.content.get("actor_id") or "")
        self._names[node] = str(shown.subject.get("name"))
        if inside:
            self._nodes.append({**_head(shown), **_named(shown), **_told(shown)})

    def _vote(self, shown: Shown) -> None:
        votes = self._votes.setdefault((shown.chain, str(shown.content.get("actor_id") or "")), Counter())
        if shown.event.endswith(".refused"):
            votes["refused"] += 1
            return
        choice = mapping(shown.detail.get("statement")).get("choice")
        votes["recorded"] += 1
        votes[str(choice)] += 1

    def _refuse(self, shown: Shown) -> None:
        reason = word(shown.detail.get("reason")) or ""
        self._reasons[(shown.event, reason)] += 1
        self._refusals.append({**_head(shown), **_named(shown), **_told(shown)})
        del self._refusals[:-MOST_LISTED]

    def _contract(self, shown: Shown, inside: bool) -> None:
        detail, key = shown.detail, (shown.chain, str(shown.subject.get("key")))
        contract = self._contracts.setdefault(
            key, {"chain": shown.chain, "contractId": key[1], "name": word(shown.subject.get("name")), "events": []}
        )
        tether = mapping(shown.payload.get("tether"))
        event = {
            **_head(shown),
            "version": word(detail.get("version")) or word(tether.get("contractVersion")),
            "clauses": words(tether.get("clauses")),
            **{name: word(detail.get(told)) for name, told in _DIGESTS.items()},
            "message": word(detail.get("message")),
            "before": not inside,
        }
        if not inside:
            contract["events"].clear()
        contract["events"].append(event)

    def _operation(self, shown: Shown, inside: bool) -> None:
        if inside:
            self._operations.append({**_head(shown), **_named(shown), "detail": shown.detail})
            del self._operations[:-MOST_LISTED]

    def document(self) -> Obj:
        """The sections of the report; what surrounds them (period, sources, verification) is the caller's."""
        domains = [{"chain": chain, "revisions": revisions} for chain, revisions in sorted(self._domains.items())]
        return {
            "chains": [self._chains[chain] for chain in sorted(self._chains)],
            "counts": dict(sorted(self._counts.items())),
            "members": self._members(),
            "domains": [domain for domain in domains if domain["revisions"]],
            **self._proposals.document(),
            "votes": [self._ballots(key) for key in sorted(self._votes)],
            "contracts": [self._contracts[key] for key in sorted(self._contracts)],
            "attestations": self._attestations,
            "nodes": self._nodes,
            "refusals": {
                "total": sum(self._reasons.values()),
                "byReason": [
                    {"event": event, "reason": reason, "count": count}
                    for (event, reason), count in sorted(self._reasons.items())
                ],
                "last": self._refusals,
            },
            "operations": self._operations,
        }

    def _ballots(self, key: tuple[str, str]) -> Obj:
        counted = self._votes[key]
        choices = {choice.lower(): counted[choice] for choice in _CHOICES}
        return {
            "chain": key[0],
            "member": key[1],
            "recorded": counted["recorded"],
            "refused": counted["refused"],
            **choices,
        }

    def _members(self) -> Obj:
        """Node id → name, from the entries of MeshNodes."""
        return dict(sorted((node, name) for node, name in self._names.items() if node))


def _head(shown: Shown) -> Obj:
    """What every line of the report names: the entry that proves it."""
    return {
        "chain": shown.chain,
        "sequence": shown.sequence,
        "entryId": str(shown.content.get("entry_id")),
        "at": shown.sealed,
        "event": shown.event,
    }


def _named(shown: Shown) -> Obj:
    named = {name: word(shown.subject.get(name)) for name in ("kind", "namespace", "name")}
    return {**{name: value for name, value in named.items() if value}, "actor": word(shown.content.get("actor_id"))}


def _told(shown: Shown) -> Obj:
    detail = shown.detail
    told = {"type": word(mapping(detail.get("statement")).get("type"))}
    told |= {name: word(detail.get(name)) for name in ("reason", "message")}
    return {name: value for name, value in told.items() if value}


def _revision(shown: Shown, statement: Mapping[str, Any]) -> Obj:
    detail = shown.detail
    return {
        "revision": integer(detail.get("revision")),
        **{name: word(detail.get(name)) for name in ("digest", "previousDigest", "authority", "proposalDigest")},
        "firstUse": detail.get("firstUse") is True,
        "adminThreshold": integer(statement.get("adminThreshold")),
        "admins": [str(admin.get("name")) for admin in mappings(statement.get("admins"))],
        "members": [_member(member) for member in mappings(statement.get("members"))],
        "voting": mapping(statement.get("voting")) or None,
    }


def _member(member: Mapping[str, Any]) -> Obj:
    return {
        "nodeId": word(member.get("nodeId")),
        "role": word(member.get("role")),
        "weight": integer(member.get("weight")),
        "learner": member.get("learner") is True,
        "suspended": member.get("suspended") is True,
    }
