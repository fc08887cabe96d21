"""What two policies that can meet on a pod ask of it together (docs/missions.md, "Two policies, one pod")."""

from collections.abc import Iterator

from quorate.api.mission_rules import RuleName
from quorate.missions.availability import RuntimeSpec, UptimeSpec
from quorate.missions.findings import Finding
from quorate.missions.latency import LatencySpec
from quorate.missions.memory import MemorySpec
from quorate.missions.policies import Policy
from quorate.missions.progress import ConvergenceSpec, EntropySpec
from quorate.missions.series import SECOND
from quorate.missions.usage import IdleSpec, UtilizationSpec
from quorate.missions.verdict import RuleSpec

_SLOWED = (RuleName.LATENCY, RuleName.UTILIZATION, RuleName.RUNTIME)


def contradictions(one: Policy, other: Policy) -> Iterator[Finding]:
    """What no pod can keep, or what can never be judged, where `one` is the one that gets its way."""
    yield from _idle_floor(other, one)
    yield from _too_short(one, other)
    yield from _opposite(one, other)


def _idle_floor(one: Policy, other: Policy) -> Iterator[Finding]:
    floor, idle = one.rules.get(RuleName.UTILIZATION), other.rules.get(RuleName.IDLE)
    if isinstance(floor, UtilizationSpec) and isinstance(idle, IdleSpec) and floor.minimum <= idle.maximum:
        message = (
            f"spec.idle.maxBasisPoints {idle.maximum} of {other.name}: a pod that keeps "
            f"spec.utilization.minBasisPoints {floor.minimum} of {one.name} would be reclaimed as idle"
        )
        yield Finding(RuleName.IDLE, other.name, one.name, contradiction=True, message=message)


def _takes(spec: RuleSpec) -> int:
    """Microseconds from a pod's start until a rule can have followed from its samples."""
    if isinstance(spec, UtilizationSpec | IdleSpec):
        return spec.window + spec.grace
    if isinstance(spec, LatencySpec | EntropySpec | UptimeSpec):
        return spec.window
    if isinstance(spec, ConvergenceSpec) and spec.improvement and spec.iterations is None:
        return spec.window
    return 0


def _too_short(one: Policy, other: Policy) -> Iterator[Finding]:
    """A run that ends before a window, and the grace with it, can have passed."""
    runtime = one.rules.get(RuleName.RUNTIME)
    if not isinstance(runtime, RuntimeSpec):
        return
    for rule, spec in other.rules.items():
        takes = _takes(spec)
        if runtime.limit < takes:
            message = (
                f"spec.runtimeLimitSeconds {runtime.limit // SECOND} of {one.name}: a run of that length ends before "
                f"spec.{rule} of {other.name} ({spec.bound}) can follow, which takes {takes // SECOND} s"
            )
            yield Finding(rule, one.name, other.name, contradiction=True, message=message)


def _opposite(one: Policy, other: Policy) -> Iterator[Finding]:
    """One metric that is to fall for one policy and to rise for the other, unless both targets can be kept."""
    ours, theirs = one.rules.get(RuleName.CONVERGENCE), other.rules.get(RuleName.CONVERGENCE)
    if not isinstance(ours, ConvergenceSpec) or not isinstance(theirs, ConvergenceSpec):
        return
    if ours.metric != theirs.metric or ours.direction is theirs.direction or one.name > other.name:
        return
    low, high = (ours, theirs) if ours.direction == "Minimize" else (theirs, ours)
    if low.target is not None and high.target is not None and high.target <= low.target:
        return
    message = (
        f"spec.convergence.direction {ours.direction} of {one.name}: {theirs.direction} is demanded of the same metric "
        f"{ours.metric!r} by {other.name}"
    )
    yield Finding(RuleName.CONVERGENCE, one.name, other.name, contradiction=True, message=message)


def slowed(one: Policy, other: Policy) -> Iterator[Finding]:
    """A cap of one policy under which the other's promises are judged: it slows the work and breaks none by itself."""
    caps = (("limitWatts", one.watts), ("maxClockMHz", one.clock))
    given = ", ".join(f"{name} {value}" for name, value in caps if value is not None)
    for rule in _SLOWED if given else ():
        if rule in other.rules:
            bound = other.rules[rule].bound
            judged = f"spec.{rule} of {other.name} ({bound})"
            message = f"spec.power {given} of {one.name} slows the work that {judged} judges"
            yield Finding(rule, one.name, other.name, contradiction=False, message=message)


def unasked(winner: RuleSpec, loser: RuleSpec) -> str:
    """What the loser of a memory rule would ask of the workload above the winner's limit, in words; else empty."""
    if not isinstance(winner, MemorySpec) or not isinstance(loser, MemorySpec):
        return ""
    asked = [threshold + 1 for threshold, _ in loser.tiers[1:]]
    above = bool(asked) and min(asked) > winner.limit
    return f"; what {min(asked)} bytes would call for is never asked, they are above that limit" if above else ""
