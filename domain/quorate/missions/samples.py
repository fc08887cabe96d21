"""What is known about devices, pods and their workloads, as the events that the engine takes (docs/missions.md).

All times are microseconds of one clock that the caller owns; shares are basis points, memory is bytes, temperatures are
degrees Celsius. A reading is an integer, or the reason why there is none: `Missing` is a result, never an exception.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from quorate.api.mission_policy import LadderAction


class Missing(StrEnum):
    """Why there is no reading."""

    UNSUPPORTED = "Unsupported"
    LOST = "Lost"
    NO_PERMISSION = "NoPermission"
    TIMEOUT = "Timeout"


Reading = int | Missing


class Metric(StrEnum):
    """What a workload reports about itself, or the agent about a pod; integers in the unit named here."""

    HOST_MEMORY = "HostMemory"
    """Bytes of the pod's memory cgroup."""
    UP = "Up"
    """10000 while the pod serves, 0 while it does not."""
    ITERATION = "Iteration"
    """Iterations done."""
    OBJECTIVE = "Objective"
    """The metric that the convergence rule names, in millionths."""
    ENTROPY = "Entropy"
    """Thousandths of a bit per symbol."""
    EPSILON = "Epsilon"
    """Privacy spent since the start, in millionths."""
    DELTA = "Delta"
    """Privacy spent since the start, in 10⁻¹²."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod on this node, as the agent resolved it.

    Attributes:
        owner: namespace and controller, by which a replacement is recognised; the pod's own name where it has none.
        gpus: UUIDs of the devices that it holds.
        started: when its containers started; None where it is not known.
        takes: the directives that its workload registered for; empty without the SDK.
    """

    uid: str
    namespace: str
    name: str
    owner: str
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    started: int | None = None
    takes: frozenset[LadderAction] = frozenset()


@dataclass(frozen=True, slots=True)
class Running:
    """A pod runs: seen for the first time, or its containers started again (a later `started`)."""

    at: int
    pod: Pod


@dataclass(frozen=True, slots=True)
class Gone:
    """A pod is gone from the node."""

    at: int
    uid: str


@dataclass(frozen=True, slots=True)
class Device:
    """A device and its memory in bytes; said at start, and again when it changes."""

    at: int
    gpu: str
    total: Reading


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory in use on a device; by the pod that holds it alone, else only a total."""

    at: int
    gpu: str
    used: Reading


@dataclass(frozen=True, slots=True)
class Process:
    """One row of a device's process list; the start time tells a reused pid apart."""

    pid: int
    start: int
    used: Reading


@dataclass(frozen=True, slots=True)
class Processes:
    """A device's process list, or why there is none."""

    at: int
    gpu: str
    rows: tuple[Process, ...] | Missing


@dataclass(frozen=True, slots=True)
class Owned:
    """A process belongs to a pod's container; without a pod it is one to leave out (the agent's own probe)."""

    at: int
    pid: int
    start: int
    uid: str | None
    container: str = ""


@dataclass(frozen=True, slots=True)
class Utilization:
    """Utilisation of a device in basis points, and what the source calls it (`SM_UTIL`, `duty cycle`)."""

    at: int
    gpu: str
    value: Reading
    source: str = "duty cycle"


@dataclass(frozen=True, slots=True)
class Health:
    """The slow readings of a device; `recovery` is the driver's recovery action (0: none)."""

    at: int
    gpu: str
    celsius: Reading = Missing.UNSUPPORTED
    slowdown: Reading = Missing.UNSUPPORTED
    uncorrectable: Reading = Missing.UNSUPPORTED
    remap_pending: Reading = Missing.UNSUPPORTED
    remap_failed: Reading = Missing.UNSUPPORTED
    recovery: Reading = Missing.UNSUPPORTED


@dataclass(frozen=True, slots=True)
class Xid:
    """The driver reported an XID error."""

    at: int
    gpu: str
    code: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Power limit (watts) and highest clock (MHz) that a device has now, and what it has by default."""

    at: int
    gpu: str
    watts: Reading
    clock: Reading
    default_watts: Reading = Missing.UNSUPPORTED


@dataclass(frozen=True, slots=True)
class Report:
    """One number about a pod; `name` is that of an objective, as the convergence rule has it."""

    at: int
    uid: str
    metric: Metric
    value: Reading
    name: str = ""


@dataclass(frozen=True, slots=True)
class Latencies:
    """Requests since the last report: bucket (`latency.bucket_of`) → how many; `source` as the latency rule has it."""

    at: int
    uid: str
    counts: Mapping[int, int]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a computation ended: digest of what went in (seed included), digest of the result."""

    at: int
    uid: str
    inputs: str
    result: str


class Answer(StrEnum):
    """What a workload says to a directive."""

    DONE = "Done"
    REFUSED = "Refused"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A workload's answer to a directive; `decision` is the decision's id."""

    at: int
    decision: str
    answer: Answer


class Outcome(StrEnum):
    """How an action that was asked of an actuator or the operator ended."""

    DONE = "Done"
    REFUSED = "Refused"
    """429: a disruption budget forbids it now."""
    BREAKER = "Breaker"
    """The fleet's breaker is open."""
    UNAVAILABLE = "Unavailable"
    """503, or nobody answered."""
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Ended:
    """The outcome of a decision that was carried out; said again after a reconnect it changes nothing."""

    at: int
    decision: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Taken:
    """An action of an earlier life of the agent, from its spool: cool-downs and latches survive a restart."""

    at: int
    uid: str
    owner: str
    action: LadderAction


@dataclass(frozen=True, slots=True)
class DeviceTaken:
    """What an earlier life of the agent did to a device: closed ones are opened, lowered limits given back.

    Said in the order of the decisions, after `Engine.govern` and in the same step as the stops in force: else those
    look ended.

    Attributes:
        action: `DenyCompute`, `AllowCompute`, `LimitPower` or `LimitClock`.
        policy: the decision's; empty where the device got its own limit back.
        value: the decision's evidence of that name.
    """

    at: int
    gpu: str
    action: str
    policy: str = ""
    value: int = 0


@dataclass(frozen=True, slots=True)
class Online:
    """Whether the operator can be reached."""

    at: int
    online: bool


class StopScope(StrEnum):
    """What an emergency stop is for."""

    POLICY = "Policy"
    NODE = "Node"
    FLEET = "Fleet"


@dataclass(frozen=True, slots=True)
class Stop:
    """An emergency stop begins or ends; `name` is the policy's, empty for node and fleet."""

    at: int
    scope: StopScope
    on: bool
    name: str = ""


@dataclass(frozen=True, slots=True)
class Unlatch:
    """A person lets the agent act again on an owner's pods."""

    at: int
    owner: str


@dataclass(frozen=True, slots=True)
class Held:
    """A pod's share of a device's memory, by container; derived by the engine (`attribution`).

    Attributes:
        complete: every row of the process list had a number; else the sums are lower bounds.
        whole: it is the device's total, of which the pod is the only holder.
    """

    at: int
    gpu: str
    containers: Mapping[str, int]
    complete: bool
    whole: bool = False


Event = (
    Running | Gone | Device | DeviceMemory | Processes | Owned | Utilization | Health | Xid | Limits | Report
    | Latencies | Run | Acknowledged | Ended | Taken | DeviceTaken | Online | Stop | Unlatch | Held
)  # fmt: skip
