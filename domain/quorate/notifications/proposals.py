"""The notices that an open proposal asks for (docs/notifications.md, "When")."""

from collections.abc import Iterator

from quorate.notifications.notice import Cause, Notice
from quorate.proposals.decision import Progress, TallyState
from quorate.proposals.lifecycle import Life
from quorate.proposals.next_step import voting_step

LAST_PART = 4
"""A reminder comes in the last quarter of the period, however early it is wanted."""


def proposal_notices(
    life: Life, progress: Progress, *, digest: str, namespace: str, name: str, lead: int
) -> tuple[Notice, ...]:
    """Every notice of a proposal as it stands, due or not yet; none once it is decided.

    Args:
        life: From its entries.
        progress: The tally of each electorate.
        digest: Of the open revision.
        namespace: Of the GovernanceProposal.
        name: Of the GovernanceProposal.
        lead: Seconds before the end at which those who have not voted are reminded.
    """
    if not life.open:
        return ()
    return tuple(
        notice
        for state in progress.tallies.values()
        if state.decision is None
        for notice in _of_electorate(state, digest, namespace, name, lead)
    )


def _of_electorate(state: TallyState, digest: str, namespace: str, name: str, lead: int) -> Iterator[Notice]:
    step = voting_step(state, name)
    for cause, due in _causes(state, lead):
        yield Notice(
            cause=cause,
            kind="GovernanceProposal",
            namespace=namespace,
            name=name,
            digest=digest,
            domain=state.domain,
            due=due,
            until=state.deadline,
            waiting_for=state.outstanding,
            step=step,
        )


def _causes(state: TallyState, lead: int) -> Iterator[tuple[Cause, int]]:
    if state.phase in ("Emergency", "Ratification"):
        yield Cause.ENDORSEMENT if state.phase == "Emergency" else Cause.RATIFICATION, state.since
    elif state.since > state.opened:
        yield Cause.EXTENDED, state.since
    else:
        yield Cause.OPENED, state.opened
    if state.extended_at is not None:
        yield Cause.EXTENDED, state.extended_at
    if state.outstanding:
        yield Cause.ENDING_SOON, ending_soon(state.opened, state.deadline, lead)


def ending_soon(opened: int, ends: int, lead: int) -> int:
    """The second of the reminder: `lead` before the end, but in the last quarter of the period at the earliest."""
    return ends - min(lead, (ends - opened) // LAST_PART)
