"""Drift: what is held is not what is in force, named clause by clause (governance.md, "Contracts"; api.md)."""

from dataclasses import dataclass
from enum import StrEnum

from quorate.canonical import digest_of_bytes
from quorate.contracts.content import Content
from quorate.contracts.diff import PartChange, compare
from quorate.contracts.form import ContractRefusedError

MAX_NAMED = 8


class Remedy(StrEnum):
    """What the domain's `drift` asks for; absent: Restore."""

    RESTORE = "Restore"
    REPORT = "Report"


@dataclass(frozen=True)
class Drift:
    """How held bytes differ from the content in force.

    `held_digest` is None where nothing is held; `parts` is empty where the held bytes are no content at all, and
    `unreadable` then says why.
    """

    digest: str
    held_digest: str | None
    parts: tuple[PartChange, ...] = ()
    unreadable: str | None = None

    @property
    def names(self) -> list[str]:
        """Ids of the clauses (and `surfaces/<state>`) that differ."""
        return [change.part for change in self.parts]

    def report(self, remedy: Remedy = Remedy.RESTORE) -> str:
        """One sentence for the condition: what differs and what follows."""
        follows = (
            "the content in force is restored"
            if remedy is Remedy.RESTORE
            else "the domain asks for a report only: restore it with the content in force, or propose the change"
        )
        if self.held_digest is None:
            return f"the content {self.digest} is missing; {follows}"
        if self.unreadable is not None:
            return f"held {self.held_digest} instead of {self.digest}, not a contract: {self.unreadable}; {follows}"
        named = [change.sentence() for change in self.parts[:MAX_NAMED]]
        more = len(self.parts) - MAX_NAMED
        listed = "; ".join(named) + (f"; and {more} more" if more > 0 else "")
        return f"held {self.held_digest} instead of {self.digest}: {listed or 'only its header differs'}; {follows}"


def detect(in_force: Content, held: bytes | None) -> Drift | None:
    """The drift between the content in force and the bytes that are held; None when they agree."""
    if held is None:
        return Drift(in_force.digest, None)
    digest = digest_of_bytes(held)
    if digest == in_force.digest:
        return None
    try:
        content = Content.parse(held)
    except ContractRefusedError as error:
        return Drift(in_force.digest, digest, unreadable=str(error))
    return Drift(in_force.digest, digest, parts=tuple(compare(in_force, content)))
