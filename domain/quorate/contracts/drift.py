"""Drift: what is held is not what is in force, named clause by clause (governance.md, "Contracts"; api.md)."""

from dataclasses import dataclass
from enum import StrEnum

from quorate.canonical import digest_of_bytes
from quorate.contracts.author import Author
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
    `unreadable` then says why. `loosened` says what the object lost that keeps its bytes what they are; `author` is
    who wrote it, as far as the object tells.
    """

    digest: str
    held_digest: str | None
    parts: tuple[PartChange, ...] = ()
    unreadable: str | None = None
    loosened: tuple[str, ...] = ()
    author: Author | None = None

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
        return f"{self._what()}{self._who()}; {follows}"

    def _what(self) -> str:
        if self.held_digest is None:
            return f"the content {self.digest} is missing"
        if self.unreadable is not None:
            return f"held {self.held_digest} instead of {self.digest}, not a contract: {self.unreadable}"
        if self.held_digest == self.digest:
            return f"the content {self.digest} is loose: {', '.join(self.loosened)}"
        named = [change.sentence() for change in self.parts[:MAX_NAMED]]
        more = len(self.parts) - MAX_NAMED
        listed = "; ".join(named) + (f"; and {more} more" if more > 0 else "")
        return f"held {self.held_digest} instead of {self.digest}: {listed or 'only its header differs'}"

    def _who(self) -> str:
        if self.author is not None:
            return f", written by {self.author.sentence()}"
        return "; who deleted it, only the API server's audit log knows" if self.held_digest is None else ""


def detect(
    in_force: Content, held: bytes | None, *, loosened: tuple[str, ...] = (), author: Author | None = None
) -> Drift | None:
    """The drift between the content in force and the bytes that are held; None when they agree.

    Args:
        in_force: The content as it was voted.
        held: The bytes; None where there are none.
        loosened: What the object that holds them lost (its label, `immutable`).
        author: Who wrote it.
    """
    if held is None:
        return Drift(in_force.digest, None, author=author)
    digest = digest_of_bytes(held)
    if digest == in_force.digest:
        return Drift(in_force.digest, digest, loosened=loosened, author=author) if loosened else None
    try:
        content = Content.parse(held)
    except ContractRefusedError as error:
        return Drift(in_force.digest, digest, unreadable=str(error), loosened=loosened, author=author)
    return Drift(in_force.digest, digest, tuple(compare(in_force, content)), loosened=loosened, author=author)
