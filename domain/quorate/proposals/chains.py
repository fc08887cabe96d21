"""Chains of TrustDomain revisions from documents: who authorised each one, and since when it is in force (trust.md).

A revision is recorded at its creationTimestamp, without one with its predecessor (governance.md, "Offline"). Besides
the admins' signatures, a recovery among the documents or an adopted Constitutional proposal authorises it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quorate.api.conditions import Reason
from quorate.canonical import format_time, parse_time
from quorate.identity.statements import trust_domain_statement
from quorate.proposals.folder import DocumentError, Folder, Object, created, name_of, title_of
from quorate.trust.attestations import announced_recovery, cancelling_acts
from quorate.trust.domain import AcceptedRevision, DomainHistory
from quorate.trust.revisions import Announcement, Verdict, announcement_verdict, cancellation_verdict, check_revision

BEGINNING = parse_time("0001-01-01T00:00:00Z")
"""From when revision 1 is in force if nothing says when it was recorded."""
_FORM = frozenset({Reason.INVALID, Reason.DUPLICATE_KEY, Reason.TOO_LARGE})


@dataclass(frozen=True)
class Authorisation:
    """What an executed proposal authorises: one next revision of a domain, recorded in [after, before]."""

    domain: str
    base: str
    result: str
    after: int
    before: int | None

    def covers(self, recorded: int) -> bool:
        """Whether a revision recorded at this second is inside the execution window."""
        return self.after <= recorded and (self.before is None or recorded <= self.before)


@dataclass
class Chains:
    """The accepted revisions by domain name, and the documents that are no part of them with the reason."""

    histories: dict[str, DomainHistory] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)


def build_chains(folder: Folder, pins: Mapping[str, str], authorisations: Iterable[Authorisation] = ()) -> Chains:
    """The chain of each domain from revision 1, whatever the order of the documents.

    Args:
        folder: The documents.
        pins: Digest of revision 1 by `<meshId>/<name>`.
        authorisations: What executed proposals among the documents authorise.

    Raises:
        DocumentError: a revision of the wrong form.
    """
    chains, authorised = Chains(), tuple(authorisations)
    for item in sorted(folder.domains, key=_place):
        name, spec = name_of(item), item["spec"]
        history = chains.histories.get(name)
        recorded = _recorded(item, history)
        verdict = check_revision(
            name,
            spec,
            history,
            pin=pins.get(f"{spec.get('meshId')}/{name}"),
            now=recorded,
            authorised_digests=[
                found.result
                for found in authorised
                if found.domain == name and history and found.base == history.latest.digest and found.covers(recorded)
            ],
            announcements=() if history is None else _announcements(folder, history, recorded),
        )
        if verdict.reason in _FORM:
            raise DocumentError(f"{title_of(item)}: {verdict.message}")
        if verdict.accepted and verdict.revision is not None:
            before = () if history is None else history.accepted
            chains.histories[name] = DomainHistory([*before, AcceptedRevision(verdict.revision, recorded)])
        elif not verdict.unchanged:
            chains.refused.append(_refusal(name, spec, verdict))
    return chains


def _place(item: Object) -> tuple[int, int, str]:
    """By number, then in log order: by second, within one by digest (governance.md, "Which votes count")."""
    revision, second = item["spec"].get("revision"), created(item)
    number = revision if isinstance(revision, int) else 0
    digest = trust_domain_statement(name_of(item), item["spec"]).digest
    return number, BEGINNING if second is None else second, digest


def _recorded(item: Object, history: DomainHistory | None) -> int:
    before = BEGINNING if history is None else history.recorded(len(history.accepted))
    second = created(item)
    return before if second is None else max(before, second)


def _refusal(name: str, spec: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    return {
        "domain": name,
        "revision": spec.get("revision"),
        "digest": trust_domain_statement(name, spec).digest,
        "reason": str(verdict.reason),
        "message": verdict.message,
    }


def _announcements(folder: Folder, history: DomainHistory, second: int) -> list[Announcement]:
    """The recoveries that the documents announced against the latest revision by a second, cancelled ones as such."""
    latest = history.latest
    known = [item for item in folder.recoveries if item["spec"]["domain"] == latest.name and _announced(item) <= second]
    acts = [act for item in known for act in cancelling_acts(item["spec"])]
    found = []
    for item in known:
        if item["spec"]["type"] != "Recovery":
            continue
        statement, signatures = announced_recovery(latest.mesh_id, item["spec"])
        if announcement_verdict(statement, signatures, latest) is None:
            fields = statement.fields
            found.append(
                Announcement(
                    fields["revision"],
                    fields["previousDigest"],
                    fields["resultDigest"],
                    _announced(item),
                    cancelled=cancellation_verdict(statement, acts, latest) is None,
                )
            )
    return found


def _announced(item: Object) -> int:
    """When the entry of an Attestation would be: its creationTimestamp, else its `at`."""
    second = created(item)
    return parse_time(item["spec"]["at"]) if second is None else second


def times_claimed(history: DomainHistory) -> list[str]:
    """What the documents alone say about a chain, for the list `claimed`."""
    return [
        f"revision {number} of {history.latest.name} "
        + ("from the beginning" if second == BEGINNING else f"recorded at {format_time(second)}")
        for number in range(1, len(history.accepted) + 1)
        for second in (history.recorded(number),)
    ]
