"""The signatures that a tally will ask for, so that several processes can verify them before it does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from quorate.proposals.votes import Ballot, vote_key
from quorate.trust.domain import DomainHistory


class Unverified(NamedTuple):
    """A vote whose signature nobody looked at, with the one key (43 characters of base64) that is tried."""

    ballot: Ballot
    public_key: str


Ahead = Callable[[Sequence[Ballot], Mapping[str, DomainHistory]], None]
"""Has `Ballot.signed_by` answered before it is asked, or does nothing: the tally is the same.

It is given the votes and the accepted revisions by domain, and looks for what is `unverified` where it verifies it.
"""


def nothing_ahead(ballots: Sequence[Ballot], histories: Mapping[str, DomainHistory]) -> None:
    """Every signature is verified when it is asked for."""


def unverified(ballots: Iterable[Ballot], histories: Mapping[str, DomainHistory]) -> list[Unverified]:
    """The votes of these domains whose key was in force when they were recorded."""
    found = []
    for ballot in ballots:
        fields = ballot.statement.fields
        history, holder = histories.get(str(fields.get("domain"))), str(fields.get("voter"))
        revision = None if history is None else history.signing(ballot.recorded)
        key = vote_key(revision, holder, str(fields.get("keyName")))
        if key is not None and not ballot.knows(key.public_key):
            found.append(Unverified(ballot, key.public_key))
    return found
