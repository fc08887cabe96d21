"""Replaying the log gives the same state: after whatever people did, a new process without any status says the same."""

from random import Random
from typing import Any

import pytest

from quorate.canonical import format_time
from quorate.identity.statements import act_statement, attestation_statement
from quorate_operator.kube.resources import Key
from tests.unit.proposals.fleet import MESH, node, seed

from .town import NAMES, Town

KINDS = ("TrustDomain", "DynamicContract", "GovernanceProposal", "Vote", "Attestation")
MOVING = {"conditions", "observedGeneration", "challenge"}


def delegate(town: Town, who: str, to: str, number: int) -> None:
    """A Delegation of one member to another."""
    spec: dict[str, Any] = {
        "domain": "fleet",
        "attester": node(who),
        "keyName": "main",
        "sequence": number,
        "at": format_time(int(town.now)),
        "subject": {"kind": "TrustDomain", "name": "fleet"},
        "type": "Delegation",
        "expiresAt": format_time(int(town.now) + 10_000),
        "statement": {"to": node(to), "types": ["Standard"]},
    }
    spec["signature"] = attestation_statement(MESH, spec).sign(seed(f"{who}.main"))
    town.apply("Attestation", f"d{number}", spec, "default")


def withdraw(town: Town, proposal: Key) -> None:
    """The proposer's act in the object's spec."""
    act = {
        "act": "Withdraw",
        "proposalDigest": town.status(proposal)["digest"],
        "by": node("m0"),
        "keyName": "main",
        "at": format_time(int(town.now)),
    }
    act["signature"] = act_statement(MESH, "fleet", act).sign(seed("m0.main"))
    spec = {**town.server.objects[proposal]["spec"], "withdrawal": act}
    town.apply("GovernanceProposal", proposal.name, spec, "default")


async def drive(town: Town, random: Random) -> None:
    """Proposals, votes, changes, delegations, withdrawals, deletions and time, at random."""
    await town.found()
    open_now: list[Key] = []
    for number in range(60):
        verb = random.choice(("open", "vote", "vote", "vote", "delegate", "withdraw", "delete", "time"))
        if verb == "open" or not open_now:
            open_now.append(town.propose(f"p{number}"))
        elif verb == "vote":
            proposal = random.choice(open_now)
            choice = random.choice(("Approve", "Approve", "Reject", "Abstain", "Retract"))
            town.vote(proposal, random.choice(NAMES), choice, f"v{number}", sequence=random.randrange(1, 4))
        elif verb == "delegate":
            delegate(town, random.choice(NAMES), random.choice(NAMES), number)
        elif verb == "withdraw" and not random.randrange(3):
            withdraw(town, random.choice(open_now))
        elif verb == "delete":
            votes = sorted(key for key in town.server.objects if key.kind == "Vote")
            if votes:
                key = random.choice(votes)
                del town.server.objects[key]
                town.view.remove(key)
        await town.settle(random.choice((0, 0, 1, 7, 40)) if verb == "time" else 0)


def shown(town: Town) -> dict[Key, Any]:
    """Every status, without what only says when it was written."""
    found: dict[Key, Any] = {}
    for key, obj in town.server.objects.items():
        if key.kind in KINDS:
            status = obj.get("status") or {}
            conditions = {item["type"]: (item["status"], item["reason"]) for item in status.get("conditions") or ()}
            found[key] = ({name: value for name, value in status.items() if name not in MOVING}, conditions)
    return found


@pytest.mark.parametrize("number", range(6))
async def test_a_new_process_without_any_status_says_the_same(number: int) -> None:
    """All statuses lost, everything in memory gone: the log alone brings each back, and nothing is appended."""
    town = await Town().restart()
    await drive(town, Random(number))
    await town.settle(2)
    before, entries = shown(town), list(town.entries)
    for key, obj in town.server.objects.items():
        if key.kind in KINDS:
            obj.pop("status", None)
    await town.restart()
    await town.settle()
    assert town.entries == entries
    assert shown(town) == before
