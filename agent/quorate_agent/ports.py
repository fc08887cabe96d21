"""What the agent is made of: devices, pods, policies, actions, spool and clock behind one contract each.

Every reading is a number or the reason why there is none (`quorate.missions.samples.Missing`): a device that is lost, a
call that hangs or is not supported is a result, never an exception. Times are microseconds of the agent's `Clock`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from quorate.missions.decisions import Decision
from quorate.missions.distribution import NodePolicies
from quorate.missions.samples import Answer, Missing, Outcome, Pod, Reading


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device of this node.

    Attributes:
        uuid: `GPU-…`, as the device plugin and podresources call it.
        index: the driver's own; only for people.
        total: bytes of memory.
        mig: MIG is on, so that utilisation of the whole device is not to be had.
    """

    uuid: str
    index: int
    model: str
    total: Reading
    mig: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of a device's process list: host pid and bytes."""

    pid: int
    used: Reading


@dataclass(frozen=True, slots=True)
class Load:
    """Utilisation in basis points, never over 10000, and what the source calls it."""

    value: Reading
    source: str = "duty cycle"


@dataclass(frozen=True, slots=True)
class Condition:
    """The slow readings of a device, as `samples.Health` has them."""

    celsius: Reading = Missing.UNSUPPORTED
    slowdown: Reading = Missing.UNSUPPORTED
    uncorrectable: Reading = Missing.UNSUPPORTED
    remap_pending: Reading = Missing.UNSUPPORTED
    remap_failed: Reading = Missing.UNSUPPORTED
    recovery: Reading = Missing.UNSUPPORTED


@dataclass(frozen=True, slots=True)
class PowerState:
    """Power limit in watts and highest clock in MHz as they are now, and the limit that is the device's default."""

    watts: Reading = Missing.UNSUPPORTED
    clock: Reading = Missing.UNSUPPORTED
    default_watts: Reading = Missing.UNSUPPORTED


class GpuBackend(Protocol):
    """The devices of a node. Methods block, and may hang: they are called on the thread of their device (`workers`).

    Every method answers for an unknown or lost device with `Missing.LOST`; none raises. The setters change what the
    getters say; they are only called for a decision of mode Enforce.
    """

    @property
    def name(self) -> str:
        """`nvml`, `simulated` or `replay`."""

    def devices(self) -> tuple[Gpu, ...] | Missing:
        """The devices of the node in the driver's order, or why none can be had."""

    def memory(self, gpu: str) -> Reading:
        """Bytes in use on a device."""

    def processes(self, gpu: str) -> tuple[Listed, ...] | Missing:
        """Its process list, one row per pid; the expensive call."""

    def utilization(self, gpu: str) -> Load:
        """How busy it is."""

    def condition(self, gpu: str) -> Condition:
        """Its health, slowly changing."""

    def power(self, gpu: str) -> PowerState:
        """Its power limit and clock."""

    def wait(self, gpu: str, seconds: int) -> tuple[int, ...] | Missing:
        """XID errors since the last call; blocks until there is one, at most `seconds`."""

    def limit_power(self, gpu: str, watts: int) -> Missing | None:
        """Set the power limit; None when it was set."""

    def limit_clock(self, gpu: str, megahertz: int) -> Missing | None:
        """Set the highest clock; 0 gives the device its own back."""

    def allow_compute(self, gpu: str, *, allowed: bool) -> Missing | None:
        """Let new work on the device, or none."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose process it is: a pod's uid, and the id of the container (64 hex digits); empty where no container."""

    uid: str
    container: str


class PodResolver(Protocol):
    """From processes to pods and containers, from what the node itself knows. Reads /proc; cheap, does not block."""

    def start_of(self, pid: int) -> int | None:
        """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat); None: there is none."""

    def owner_of(self, pid: int, start: int) -> Owner | None:
        """Whose process (pid, start) is, by its cgroup; None: nobody's, it is gone, or the pid was reused."""


class PodSource(Protocol):
    """The pods of this node with their devices, labels and containers."""

    async def pods(self) -> Sequence[Pod] | Missing:
        """Every pod that runs here now, or why that is not known (nothing then changes)."""

    def container_name(self, container: str) -> str:
        """The name of a container by its id; the id itself where it is not known."""


class PolicySource(Protocol):
    """Policies, by watch and from the disk. Never raises: what could not be taken is told by metrics and log."""

    def cached(self) -> NodePolicies | None:
        """What the disk has, verified again; None where it has nothing."""

    async def next(self) -> NodePolicies:
        """Wait for the next accepted document, and return when it is on the disk."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What happened, before it is signed.

    Attributes:
        event_type: of the log entry.
        at: Unix microseconds.
        subject: {kind, name, namespace?, uid?}; `key` is what its entries are found by.
        version: of the contract that the policy implements, empty without one.
        clauses: of it.
        vital: it announces an action; the others are dropped, and counted, while the spool is nearly full.
    """

    event_type: str
    at: int
    key: str
    subject: Mapping[str, Any]
    detail: Mapping[str, Any]
    version: str = ""
    clauses: tuple[str, ...] = ()
    vital: bool = True


class Spool(Protocol):
    """What happened and is not yet with the operator: append-only, chained, signed (docs/agent.md, "The spool")."""

    def append(self, entries: Sequence[Captured]) -> None:
        """Write entries, in order; when this returns they survive a crash of the machine.

        Raises:
            SpoolError: they could not be written, so what they announce must not be done.
        """

    def waiting(self, most: int) -> Sequence[bytes]:
        """The oldest entries that nobody has acknowledged, at most so many: content of log entries, canonical."""

    def acknowledge(self, sequence: int) -> None:
        """Everything up to and with this `sourceSeq` is with the operator."""


class SpoolError(Exception):
    """An entry could not be made durable; the message says why, without secrets."""


@dataclass(frozen=True, slots=True)
class Done:
    """How an action ended: exactly one of `outcome` (evictions, signals, devices) and `answer` (directives)."""

    outcome: Outcome | None = None
    answer: Answer | None = None
    message: str = ""


class Actuator(Protocol):
    """Carries out decisions whose effect is `Act`, each at most once per id and attempt."""

    async def act(self, decision: Decision) -> Done | None:
        """Do it. None: it was begun and its end is told later, or there is nothing to tell the engine."""


class Clock(Protocol):
    """One clock for everything."""

    def now(self) -> int:
        """Microseconds since the epoch as they were at start, plus what has passed: it never jumps or goes back."""
