"""Which adopted proposals among documents contest each other (docs/conflicts.md, row 2), each looked at once."""

from collections.abc import Iterable, Iterator

from quorate.canonical import format_time
from quorate.conflicts.detect import Candidate, target_key

MAX_RIVALS = 64
"""Proposals on one target whose timelocks share a second; conflicts are the square of their number."""


class TooManyRivalsError(ValueError):
    """Documents whose conflicts nobody could arbitrate: no domain adopts so many changes of one thing at once."""


def rivals_among(adopted: Iterable[Candidate]) -> Iterator[tuple[Candidate, Candidate]]:
    """Each pair of one domain and target whose timelocks share a second, in order of the later decision.

    Those whose timelock ended are let go as the decisions pass, so a proposal is compared with MAX_RIVALS at most.

    Raises:
        TooManyRivalsError: more than MAX_RIVALS contest each other at one second.
    """
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for item in adopted:
        if item.execute_after > item.decided:  # whose type has no timelock overlaps with nothing
            groups.setdefault((str(item.fields["domain"]), target_key(item.target)), []).append(item)
    for (_, target), items in groups.items():
        locked: list[Candidate] = []
        for item in sorted(items, key=lambda one: (one.decided, one.digest)):
            locked = [other for other in locked if other.execute_after >= item.decided]
            if len(locked) == MAX_RIVALS:
                when = format_time(item.decided)
                message = f"more than {MAX_RIVALS} adopted proposals on {target} contest each other at {when}"
                raise TooManyRivalsError(message)
            yield from ((other, item) for other in locked)
            locked.append(item)
