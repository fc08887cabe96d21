"""Whether a MissionPolicy may be distributed, and what its status says about others (docs/missions-distribution.md)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import Reason
from quorate.canonical import NotCanonicalError
from quorate.missions.distribution import entry_of, policy_digest
from quorate.missions.policies import Policy, compile_policy
from quorate.missions.refusal import PolicyRefusedError
from quorate.missions.selection import Finding


@dataclass(frozen=True, slots=True)
class ContractNow:
    """What a contract has in force: version and ids of its clauses."""

    version: str
    clauses: frozenset[str]


class ClauseMissingError(Exception):
    """The clause that a policy implements is not in force; that may still come."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Judged:
    """A policy that may be distributed: as the document holds it, its digest, and compiled."""

    entry: Mapping[str, Any]
    digest: str
    policy: Policy


def judge(name: str, spec: Mapping[str, Any], contract: ContractNow | None) -> Judged:
    """Compile a policy under the contract that it names.

    Args:
        name: of the MissionPolicy.
        spec: as in the object.
        contract: what the contract of `spec.clauseRef` has in force; None where nothing is, or none is named.

    Raises:
        PolicyRefusedError: it cannot be judged; names field, value and rule.
        ClauseMissingError: its contract has nothing in force, or not this clause.
    """
    reference = spec.get("clauseRef")
    version = "" if contract is None or not reference else contract.version
    policy = compile_policy(name, spec, version=version)
    try:
        entry = entry_of(name, version, spec)
        digest = policy_digest(entry)
    except NotCanonicalError as error:
        raise PolicyRefusedError("spec", "", str(error)) from error
    if reference:
        _check_clause(reference, contract)
    return Judged(entry, digest, policy)


def _check_clause(reference: Mapping[str, Any], contract: ContractNow | None) -> None:
    name, clause = reference["contract"], reference["clause"]
    if contract is None:
        message = f"spec.clauseRef.contract {name!r}: this DynamicContract has nothing in force"
        raise ClauseMissingError(Reason.NOT_IN_FORCE, message)
    if clause not in contract.clauses:
        message = f"spec.clauseRef.clause {clause!r}: {name} {contract.version} has no such clause"
        raise ClauseMissingError(Reason.NO_SUCH_CLAUSE, message)


@dataclass(frozen=True, slots=True)
class Meeting:
    """Another policy that can govern the same pod, as one of the two sees it."""

    other: str
    rule: str
    wins: bool
    contradiction: bool
    message: str

    def document(self) -> dict[str, Any]:
        """As a status shows it."""
        return {"policy": self.other, "rule": self.rule, "wins": self.wins, "contradiction": self.contradiction}


def meetings(findings: Iterable[Finding]) -> dict[str, tuple[Meeting, ...]]:
    """Name → whom it meets: contradictions first, then what it loses, then what it wins."""
    found: dict[str, list[Meeting]] = {}
    for item in findings:
        for name, other, wins in ((item.winner, item.loser, True), (item.loser, item.winner, False)):
            met = Meeting(other, str(item.rule), wins, item.contradiction, item.message)
            if met not in (mine := found.setdefault(name, [])):
                mine.append(met)
    return {name: tuple(sorted(items, key=_first)) for name, items in found.items()}


def _first(item: Meeting) -> tuple[bool, bool, str, str]:
    return (not item.contradiction, item.wins, item.other, item.rule)
