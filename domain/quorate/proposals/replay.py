"""Recomputes the outcome of an evidence bundle with the code that decides live proposals."""

from collections.abc import Mapping
from typing import Any

from quorate.proposals.acts import ActRecord
from quorate.proposals.bundle import Bundle, entry_second
from quorate.proposals.decision import Case, decide
from quorate.proposals.delegation import DelegationRecord
from quorate.proposals.outcome import document
from quorate.trust.domain import DomainHistory
from quorate.trust.record import AttestationRecord


def case_of(bundle: Bundle, histories: Mapping[str, DomainHistory]) -> Case:
    """What the bundle records about the proposal; refused votes and delegations are judged again too."""
    return Case(
        statement=bundle.proposal,
        opened=entry_second(bundle.opening),
        histories=histories,
        ballots=[item.ballot for item in bundle.votes],
        delegations=[DelegationRecord(item.statement, item.signature, item.recorded) for item in bundle.delegations],
        acts=[ActRecord(item.statement, item.signature, item.recorded) for item in bundle.acts],
        executed=None if bundle.executing is None else entry_second(bundle.executing),
        attestations=[AttestationRecord(item.statement, item.signature, item.recorded) for item in bundle.attestations],
    )


def recompute(bundle: Bundle, histories: Mapping[str, DomainHistory]) -> Mapping[str, Any]:
    """The outcome document that the bundle's statements give, as of the second of the outcome entry.

    Raises:
        ValueError: nothing could be decided at that second.
    """
    progress = decide(case_of(bundle, histories), entry_second(bundle.outcome_entry))
    if progress.decision is None:
        raise ValueError(f"at {bundle.outcome_entry['timestamp']} the vote was not decided yet")
    return document(progress)
