"""What the agent writes down: decisions and what became of them, as entries of the log (docs/agent.md, "Entries")."""

from typing import Any

from quorate.missions.decisions import Decision, Effect
from quorate_agent.ports import Captured, Done


def decided(decision: Decision) -> Captured:
    """The entry of a decision; it is written before the decision is carried out."""
    contract, _, clause = decision.clause.partition("#")
    detail: dict[str, Any] = {
        "decision": decision.id,
        "policy": decision.policy,
        "rule": str(decision.rule or ""),
        "mode": str(decision.mode),
        "effect": str(decision.effect),
        "action": decision.action,
        "rung": decision.rung,
        "attempt": decision.attempt,
        "severity": decision.severity.name if decision.severity is not None else "",
        "statistic": decision.statistic,
        "evidence": dict(decision.evidence),
        "reactionMicroseconds": decision.reaction,
        "contract": contract,
        "hold": str(decision.hold or ""),
        "strategy": decision.strategy,
    }
    return Captured(
        event_type=f"mission.ladder.{str(decision.step).lower()}",
        at=decision.at,
        key=_key(decision),
        subject=_subject(decision),
        detail={name: value for name, value in detail.items() if value not in ("", {})},
        version=decision.version,
        clauses=(clause,) if clause else (),
        vital=decision.effect is Effect.ACT,
    )


def ended(decision: Decision, done: Done, at: int) -> Captured:
    """The entry of how an action ended."""
    said = done.outcome or done.answer
    detail = {"decision": decision.id, "action": decision.action, "outcome": str(said or ""), "message": done.message}
    return Captured("mission.action.ended", at, _key(decision), _subject(decision),
                    {name: value for name, value in detail.items() if value})  # fmt: skip


def on_node(event: str, node: str, at: int, **detail: Any) -> Captured:
    """An entry about the agent itself: `started`, `governed`."""
    return Captured(f"mission.agent.{event}", at, f"node/{node}", {"kind": "Node", "name": node}, detail)


def _key(decision: Decision) -> str:
    return decision.uid or decision.subject or "node"


def _subject(decision: Decision) -> dict[str, str]:
    if decision.uid:
        namespace, _, name = decision.subject.partition("/")
        return {"kind": "Pod", "namespace": namespace, "name": name, "uid": decision.uid}
    return {"kind": "Gpu" if decision.subject else "Agent", "name": decision.subject or "agent"}
