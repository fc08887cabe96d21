"""What a reconciler is, and the data that its decision returns.

A reconciler has two halves. `gather` (async) reads everything that one decision needs, for a batch of keys, into frozen
values; "not found" becomes None. `decide` (sync, pure: no I/O, no clock) returns a `Plan`. The planner applies a plan
in this order: append `entries` (with `content`, one transaction), `commands`, `status`, `events`. When the log already
holds one of the entry ids nothing of the plan is performed: the key is gathered again, and the decision then starts
from the recorded entry (trust.md, Entries).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from quorate.api.conditions import Observation
from quorate.audit.note import SignatureLine
from quorate.audit.quarantine import Finding
from quorate.notifications.notice import Notice
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.view import View

if TYPE_CHECKING:
    from quorate_operator.config import Config
    from quorate_operator.custody.retention import Archived
    from quorate_operator.custody.verified import Verified
    from quorate_operator.kube.client import Client
    from quorate_operator.store.ports import Content, Draft, Log


@dataclass(frozen=True, slots=True)
class Context:
    """What `gather` may read from. It never writes through these; the planner does."""

    view: View
    client: "Client"
    log: "Log"
    content: "Content"
    config: "Config"
    clock: Callable[[], float]
    """Unix seconds; `gather` may read it, `decide` gets `now`."""
    results: "Mapping[str, Verified]" = field(default_factory=dict)
    """The last verification of each chain that this process knows of."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why a stopped chain does not go on although enough people signed."""
    guarded: Mapping[str, Observation] = field(default_factory=dict)
    """How the database guards the log, under the chain that records it."""
    archived: "Mapping[str, Archived]" = field(default_factory=dict)
    """How far chains were archived, as this process knows."""


@dataclass(frozen=True, slots=True)
class Note:
    """A Kubernetes Event to record about the plan's object; same (reason, message) is aggregated, not repeated."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ApplyChild:
    """Server-side apply of an object that the operator owns (force: it is the one writer)."""

    body: Obj


@dataclass(frozen=True, slots=True)
class CreateChild:
    """Create an object; one that exists already is left alone (content ConfigMaps are named by digest)."""

    body: Obj


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete an object if it still has this uid; already gone is success."""

    key: Key
    uid: str


@dataclass(frozen=True, slots=True)
class StopChain:
    """Stop appends to a chain of the log (a quarantine); one that is stopped already stays as it is."""

    chain: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class KeepCosignatures:
    """Keep witnesses' lines for a checkpoint of ours; those that are kept already stay as they are."""

    chain: str
    size: int
    lines: tuple[SignatureLine, ...]


Command = ApplyChild | CreateChild | Remove | StopChain | KeepCosignatures


@dataclass(frozen=True, slots=True)
class Plan:
    """What one decision asks for. Everything is optional; an empty plan means that nothing is to be done."""

    chain: str | None = None
    """Chain of `entries`; required when there are any."""
    entries: "tuple[Draft, ...]" = ()
    content: Mapping[str, bytes] = field(default_factory=dict)
    """digest → bytes, stored in the transaction of the entries."""
    status: Mapping[str, Any] | None = None
    """The complete wanted status (None: leave it); written only where it differs, with the gathered resourceVersion."""
    events: tuple[Note, ...] = ()
    commands: tuple[Command, ...] = ()
    wake_at: float | None = None
    """Unix seconds at which to look again; replaces an earlier wake-up of this key, None cancels it."""
    notices: tuple[Notice, ...] | None = None
    """Every notice that the object asks for as it is now, due or not yet; replaces earlier ones, None leaves them."""
    dirty: tuple[Key, ...] = ()
    """Other keys to look at once this plan was applied."""


I = TypeVar("I")  # noqa: E741
"""What one decision of a reconciler is made from: a frozen value."""

Relation = Callable[[Obj, View], Iterable[Key]]
"""Keys of the reconciler's kind that are touched by a change of this object."""


class Reconciler(Protocol[I]):
    """One kind's reconciler. `gather` may raise errors of `quorate_operator.errors`; so may `decide`."""

    kind: str
    relations: Mapping[str, Relation]
    """Other kinds whose changes concern this one: kind → relation. The kind itself needs no entry."""

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, I]:
        """Read what each decision needs; a key that is left out (say, the object is gone) is done."""
        ...

    def decide(self, gathered: I, now: int) -> Plan:
        """Decide about one object from the gathered value alone; `now` is whole Unix seconds."""
        ...
