"""Dockets by proposal digest, made from what the log says now; what an earlier look found out is taken over."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from quorate.api.conditions import Reason
from quorate.canonical import parse_json, parse_time
from quorate.identity.statements import Statement
from quorate.proposals.delegation import DelegationRecord
from quorate.proposals.lifecycle import EventType
from quorate.proposals.votes import Ballot
from quorate_operator.errors import Stalled
from quorate_operator.reconcile.crossing import AskedRecords, asked_topics
from quorate_operator.reconcile.docket import Docket, delegation_topic, is_ballot, name_topic
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.followed import Followed
from quorate_operator.reconcile.protocol import Context
from quorate_operator.store.ports import Recorded
from quorate_operator.view import once

Name = tuple[str, str]
"""Namespace and name of a GovernanceProposal."""


@dataclass(frozen=True)
class _Opened:
    """An opened revision with everything that is recorded about it."""

    statement: Statement
    opening: Recorded
    entries: tuple[Recorded, ...]

    @property
    def domain(self) -> str:
        return str(self.statement.fields["domain"])

    @property
    def domains(self) -> set[str]:
        return {self.domain, *(self.statement.fields.get("domains") or ())}


class Dockets:
    """Dockets for many proposals at a time: three queries, whatever their number and that of their votes."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._followed = Followed(dropped=self._drop)
        self._records = AskedRecords()
        self._delegated: dict[UUID, DelegationRecord] = {}
        self._cache: dict[str, Docket] = {}

    async def get(self, context: Context, digest: str) -> Docket | None:
        """The docket of a digest that was opened; None if it was not."""
        return (await self.of(context, [digest])).get(digest)

    async def of(self, context: Context, digests: Iterable[str]) -> dict[str, Docket]:
        """The dockets of those digests that were opened.

        Raises:
            Stalled: `LogBehind`, a statement is not in the database; `PinMismatch`.
        """
        opened = await self._opened(context, digests)
        names = {name for item in opened.values() for name in item.domains}
        constitutions = await self._domains.get(context, names) if names else {}
        if missing := names - constitutions.keys():
            listed = ", ".join(sorted(missing))
            raise Stalled(Reason.PIN_MISMATCH, f"the log's revisions of {listed} contradict the operator's --pin")
        asked = {item.domain for item in opened.values() if len(item.domains) > 1}
        topics = {name: asked_topics(constitutions[name]) for name in asked}
        delegations = {item.chain: delegation_topic(item.chain) for item in constitutions.values()}
        wanted = [*delegations.values(), *(topic for found in topics.values() for topic in found)]
        entries = await self._followed.get(context.log, wanted)
        found = {}
        for digest, item in opened.items():
            own = {name: constitutions[name] for name in sorted(item.domains)}
            chains = sorted(constitution.chain for constitution in own.values())
            asks = topics[item.domain] if len(own) > 1 else ()
            delegated = _joined([entries[delegations[chain]] for chain in chains])
            found[digest] = self._made(digest, item, own, delegated, _joined([entries[topic] for topic in asks]))
        return found

    async def current(self, context: Context, names: Iterable[Name]) -> dict[Name, Docket]:
        """The newest revision that was opened under each name, where one was."""
        topics = {name: name_topic(*name) for name in names}
        found = await self._followed.get(context.log, topics.values())
        newest = {}
        for name, topic in topics.items():
            openings = [item for item in found[topic] if item.event_type == EventType.OPENED]
            if openings:
                newest[name] = openings[-1].subject_key
        dockets = await self.of(context, newest.values())
        return {name: dockets[digest] for name, digest in newest.items() if digest in dockets}

    async def _opened(self, context: Context, digests: Iterable[str]) -> dict[str, _Opened]:
        entries = await self._followed.get(context.log, digests)
        openings = {digest: opening for digest, items in entries.items() if (opening := self._opening(digest, items))}
        statements = await self._of_statements(context, openings)
        return {digest: _Opened(statements[digest], opening, entries[digest]) for digest, opening in openings.items()}

    def _opening(self, digest: str, entries: Iterable[Recorded]) -> Recorded | None:
        cached = self._cache.get(digest)
        if cached is not None:
            return cached.opening
        found = (item for item in entries if item.event_type == EventType.OPENED and item.subject_key == digest)
        return next(found, None)

    async def _of_statements(self, context: Context, digests: Iterable[str]) -> dict[str, Statement]:
        found = {digest: cached.statement for digest in digests if (cached := self._cache.get(digest)) is not None}
        missing = [digest for digest in digests if digest not in found]
        content = await context.content.get(missing) if missing else {}
        for digest in missing:
            if digest not in content:
                raise Stalled(Reason.LOG_BEHIND, f"the statement {digest} of an opened proposal is not in the database")
            found[digest] = Statement("proposal", parse_json(content[digest]))
        return found

    def _made(
        self,
        digest: str,
        opened: _Opened,
        constitutions: Mapping[str, Constitution],
        delegations: tuple[Recorded, ...],
        attestations: tuple[Recorded, ...],
    ) -> Docket:
        before = self._cache.get(digest)
        related = (constitutions, delegations, attestations)
        if before is not None and before.entries is opened.entries and before.related == related:
            return before
        votes, others = _sorted_out(opened.entries, before)
        made = Docket(
            digest, opened.statement, opened.opening, opened.entries, *related, self._records,
            delegated=self._delegated, votes=votes, others=others,
        )  # fmt: skip
        if before is not None:
            made.borders, made.kept, made.questions = before.borders, before.kept, before.questions
            made.edits = before.edits
        self._cache[digest] = made
        return made

    def _drop(self, name: str) -> None:
        self._cache.pop(name, None)


def _joined(parts: Sequence[tuple[Recorded, ...]]) -> tuple[Recorded, ...]:
    return parts[0] if len(parts) == 1 else tuple(item for part in parts for item in part)


def _sorted_out(
    entries: tuple[Recorded, ...], before: Docket | None
) -> tuple[tuple[tuple[Recorded, Ballot], ...], tuple[Recorded, ...]]:
    """Votes and all else; each entry is looked at once, and a ballot with the verdicts on its signature kept."""
    known = 0 if before is None else len(before.entries)
    if before is None or entries[:known] != before.entries:
        ballots = {} if before is None else {item.entry_id: ballot for item, ballot in before.votes}
        votes = [(item, ballots.get(item.entry_id) or _ballot(item)) for item in entries if is_ballot(item)]
        return tuple(votes), tuple(item for item in entries if not is_ballot(item))
    more = entries[known:]
    votes = [(item, _ballot(item)) for item in more if is_ballot(item)]
    return (*before.votes, *votes), (*before.others, *(item for item in more if not is_ballot(item)))


def _ballot(entry: Recorded) -> Ballot:
    detail = once({name: entry.detail[name] for name in ("statement", "signature", "recordedAt")})
    entry.forget()  # there are many, and their bytes say it all
    return Ballot(Statement("vote", detail["statement"]), detail["signature"], parse_time(detail["recordedAt"]))
