"""From moves to decision records: policy, clause, evidence, statistic, reaction time (docs/missions.md, "Modes")."""

from quorate.api.mission_policy import LadderAction, PolicyMode
from quorate.api.mission_rules import RuleName
from quorate.missions.decisions import Decision, Effect, Hold, Step
from quorate.missions.gate import Tracked, Watch
from quorate.missions.ladder import Move
from quorate.missions.policies import Policy
from quorate.missions.power import Setting

DENY, ALLOW = "DenyCompute", "AllowCompute"
Evidence = tuple[tuple[str, int | str], ...]
_TOLD = frozenset({Step.LATCHED, Step.FLAGGED})
_BEGUN = frozenset({Step.STARTED, Step.RETRIED})


def effect_of(mode: PolicyMode, step: Step, action: LadderAction | None) -> Effect:
    """What the agent does: only what Enforce begins is an act, and a warning touches nothing."""
    if mode is PolicyMode.AUDIT:
        return Effect.RECORD
    if step in _BEGUN:
        return Effect.ACT if mode is PolicyMode.ENFORCE and action is not LadderAction.WARN else Effect.NOTIFY
    return Effect.NOTIFY if step in _TOLD else Effect.RECORD


def name_of(tracked: Tracked) -> str:
    """`namespace/name`."""
    return f"{tracked.pod.namespace}/{tracked.pod.name}"


def decision(watch: Watch, move: Move, now: int, key: str, evidence: Evidence | None = None) -> Decision:
    """The record of a move; `key` identifies the action, `evidence` replaces the verdict's."""
    policy, verdict = watch.policy, watch.verdict
    return Decision(
        id=key,
        at=now,
        step=move.step,
        effect=effect_of(policy.mode, move.step, move.action),
        policy=policy.name,
        rule=watch.rule,
        mode=policy.mode,
        action="" if move.action is None else str(move.action),
        subject=name_of(watch.tracked),
        uid=watch.tracked.pod.uid,
        rung=move.rung,
        severity=None if verdict is None else verdict.severity,
        statistic="" if verdict is None else verdict.statistic,
        evidence=evidence if evidence is not None else () if verdict is None else verdict.evidence,
        reaction=max(0, now - move.ready),
        clause=policy.clause,
        version=policy.version,
        hold=move.hold,
        attempt=move.attempt,
        strategy="" if move.strategy is None else str(move.strategy),
    )


def flag(now: int, hold: Hold, evidence: Evidence, watch: Watch | None = None) -> Decision:
    """Something that people must know and nothing follows from."""
    policy = watch.policy if watch else None
    return Decision(
        id=f"{watch.tracked.pod.uid}/{watch.policy.name}/{hold}" if watch else f"{hold}/{now}",
        at=now,
        step=Step.FLAGGED,
        effect=Effect.NOTIFY if policy is None else effect_of(policy.mode, Step.FLAGGED, None),
        policy=policy.name if policy else "",
        rule=watch.rule if watch else None,
        mode=policy.mode if policy else PolicyMode.WARN,
        action="",
        subject=name_of(watch.tracked) if watch else "",
        uid=watch.tracked.pod.uid if watch else "",
        rung=-1,
        severity=None,
        statistic="",
        evidence=evidence,
        reaction=0,
        clause=policy.clause if policy else "",
        version=policy.version if policy else "",
        hold=hold,
    )


def stop_decision(tracked: Tracked, policy: Policy, scope: str, ready: int, now: int) -> Decision:
    """An emergency stop terminates a pod."""
    return Decision(
        id=f"{tracked.pod.uid}/{policy.name}/{RuleName.EMERGENCY_STOP}/{now}",
        at=now,
        step=Step.STARTED,
        effect=effect_of(policy.mode, Step.STARTED, LadderAction.TERMINATE),
        policy=policy.name,
        rule=RuleName.EMERGENCY_STOP,
        mode=policy.mode,
        action=str(LadderAction.TERMINATE),
        subject=name_of(tracked),
        uid=tracked.pod.uid,
        rung=-1,
        severity=None,
        statistic="order",
        evidence=(("scope", scope),),
        reaction=max(0, now - ready),
        clause=policy.clause,
        version=policy.version,
    )


def compute_decision(gpu: str, action: str, policy: Policy | None, now: int) -> Decision:
    """A device is closed to, or opened for, new work; opened also where its policy is gone or enforces no more."""
    return _on_device(gpu, action, RuleName.EMERGENCY_STOP, policy, PolicyMode.ENFORCE, (), now)


def device_decision(gpu: str, setting: Setting, mode: PolicyMode, now: int) -> Decision:
    """A device's power limit or clock is set."""
    evidence = (("found", setting.found), ("value", setting.value))
    return _on_device(gpu, setting.kind, RuleName.POWER, setting.policy, mode, evidence, now)


def _on_device(
    gpu: str, action: str, rule: RuleName, policy: Policy | None, mode: PolicyMode, evidence: Evidence, now: int
) -> Decision:
    return Decision(
        id=f"{gpu}/{policy.name if policy else ''}/{rule}/{action}/{now}",
        at=now,
        step=Step.STARTED,
        effect={PolicyMode.AUDIT: Effect.RECORD, PolicyMode.WARN: Effect.NOTIFY, PolicyMode.ENFORCE: Effect.ACT}[mode],
        policy=policy.name if policy else "",
        rule=rule,
        mode=mode,
        action=action,
        subject=gpu,
        uid="",
        rung=-1,
        severity=None,
        statistic="last",
        evidence=evidence,
        reaction=0,
        clause=policy.clause if policy else "",
        version=policy.version if policy else "",
    )
