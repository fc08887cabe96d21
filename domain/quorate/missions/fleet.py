"""Where agents must run for a set of policies, and how long after it (docs/missions-distribution.md)."""

from collections.abc import Iterable, Mapping, Sequence

from quorate.api.mission_policy import PolicyMode
from quorate.missions.policies import Policy
from quorate.missions.series import SECOND

Terms = tuple[Mapping[str, str], ...]
"""Sets of node labels, any of which is enough; one that is empty means every node, none at all no node."""
EVICTION_SECONDS = 300
"""How long a pod that was asked to go may still be on its way: longer than the grace period of nearly every pod."""
MAX_TERMS = 64
"""Sets of labels that are told apart; with more of them every node gets an agent, which then finds nothing to do."""


def union(selectors: Iterable[Mapping[str, str]]) -> Terms:
    """The fewest sets of labels that select every node that one of `selectors` does, in a fixed order."""
    kept: list[Mapping[str, str]] = []
    distinct = {tuple(sorted(labels.items())) for labels in selectors}
    for pairs in sorted(distinct, key=lambda pairs: (len(pairs), pairs)):
        labels = dict(pairs)
        # Whoever asks for more labels than another selects nodes that the other one selects anyway.
        if not any(other.items() <= labels.items() for other in kept):
            kept.append(labels)
    return tuple(kept) if len(kept) <= MAX_TERMS else ({},)


def covers(terms: Iterable[Mapping[str, str]], labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels is selected."""
    return any(term.items() <= labels.items() for term in terms)


def covered(selector: Mapping[str, str], nodes: Iterable[Mapping[str, str]]) -> int:
    """How many of the nodes, given by their labels, a policy's node selector selects."""
    return sum(selector.items() <= labels.items() for labels in nodes)


def longest_deadline(policies: Sequence[Policy]) -> int:
    """Seconds that an action under one of the enforced policies may be in flight, from the violation on; 0: none is."""
    longest = 0
    for policy in policies:
        if policy.mode is not PolicyMode.ENFORCE:
            continue
        rungs = [rung.after + rung.acknowledge for ladder in policy.ladders.values() for rung in ladder]
        longest = max(longest, max(rungs, default=0) // SECOND + EVICTION_SECONDS)
    return longest
