"""A vote of another domain: what the boundary of the proposal's domain says of it, and the entry of that."""

from quorate.audit.entry import Draft
from quorate.proposals.votes import Ballot, Question
from quorate.trust.boundary import Verdict
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.crossing import crossing_entry, crossing_note
from quorate_operator.reconcile.docket import Docket
from quorate_operator.reconcile.protocol import Note
from quorate_operator.store.ports import Recorded


def question_of(docket: Docket, ballot: Ballot) -> Question:
    """What the voter was asked, in the vote's own domain if that votes, else in trustDomain."""
    return docket.question(str(ballot.statement.fields.get("domain")))


def standing_verdict(docket: Docket, ballot: Ballot, at: int) -> Verdict | None:
    """What the boundary of trustDomain says of the vote, as of the second at which its tally stands."""
    question = question_of(docket, ballot)
    if question.border is None:
        return None
    return question.crossing(ballot, ballot.holder, docket.progress(at).tallies[question.domain].at)


def record_crossing(
    obj: Obj, docket: Docket, ballot: Ballot, verdict: Verdict | None, last: Recorded | None, now: int
) -> tuple[tuple[Draft, ...], tuple[Note, ...]]:
    """The entry about the vote's crossing, where the verdict is not the recorded one, and its Event."""
    if verdict is None:
        return (), ()
    entry = crossing_entry(
        obj,
        verdict,
        last,
        digest=ballot.digest,
        from_domain=question_of(docket, ballot).domain,
        into=docket.constitution,
        about=(docket.digest,),
        now=now,
    )
    return () if entry is None else (entry,), crossing_note(entry, verdict)
