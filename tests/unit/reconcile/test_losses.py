"""After an older database was restored: what is lost is told, and only what may be is derived from the log again."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest

from quorate.audit.quarantine import Cause, Finding
from quorate.identity.statements import trust_domain_statement
from quorate_operator.custody.losses import KINDS, Loss, State, losses
from quorate_operator.kube.resources import Key, key_of
from quorate_operator.store.memory import Shared
from tests.unit.operator.fakes import apply_merge
from tests.unit.reconcile.town import CHAIN, Town, sign_domain


@pytest.fixture
async def town() -> Town:
    """A domain and its contract, in force."""
    made = await Town().restart()
    await made.found()
    return made


async def voted(town: Town, proposal: Key) -> Key:
    """Everybody approves, and it is executed."""
    for who in ("m0", "m1", "m2", "m3"):
        town.vote(proposal, who, "Approve")
    await town.settle(110)
    assert town.status(proposal)["phase"] == "Executed"
    return proposal


async def restore(town: Town, backup: Shared) -> None:
    """An older database answers; its chain was stopped for that."""
    town.shared = backup
    await town.restart()
    await town.context.log.stop(CHAIN, Finding(Cause.DATABASE_BEHIND, "an older backup", {}))
    await town.settle()


async def resume(town: Town) -> None:
    """As two signers do; without their entry, which is not the question here."""
    shared = town.shared
    shared.quarantines[:] = [replace(item, resumed_at=1) for item in shared.quarantines]
    await town.restart()
    town.errors.clear()
    await town.settle()


async def lost(town: Town, domain: str | None = None) -> list[Loss]:
    """What is lost."""
    objects = [copy.deepcopy(obj) for key, obj in town.server.objects.items() if key.kind in KINDS]
    return await losses(objects, town.context.log, town.context.content, domain=domain)


async def clear(town: Town, found: Sequence[Loss]) -> list[Key]:
    """Clear what may be, as the command does; what was cleared."""
    cleared = [loss for loss in found if loss.state is State.READY]
    for loss in cleared:
        current = town.server.objects[loss.key]
        assert loss.patch["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]
        status = apply_merge(current["status"], loss.patch["status"])
        version = str(int(current["metadata"]["resourceVersion"]) + 1)
        changed = {**current, "status": status, "metadata": {**current["metadata"], "resourceVersion": version}}
        town.server.put(changed)
        town.view.fold(copy.deepcopy(changed))
        for key in (key_of(changed), *town.routes.touched(changed)):
            town.agenda.mark(key)
    await town.settle(2)
    return [loss.key for loss in cleared]


def states(found: Sequence[Loss]) -> set[State]:
    return {loss.state for loss in found}


async def test_nothing_is_lost(town: Town) -> None:
    """While the log holds what the cluster names there is nothing to tell."""
    await voted(town, await opened(town))
    assert await lost(town) == []


async def opened(town: Town, name: str = "p") -> Key:
    proposal = town.propose(name)
    await town.settle()
    return proposal


async def test_votes_and_decision_are_taken_again_from_what_was_signed(town: Town) -> None:
    """The votes are recorded anew, the decision follows from them, and the contract is where they put it."""
    proposal = await opened(town)
    backup = copy.deepcopy(town.shared)
    await voted(town, proposal)
    was, decided = town.status(town.contract)["inForce"]["digest"], town.status(proposal)
    await restore(town, backup)
    found = await lost(town)
    assert [loss.key.kind for loss in found] == ["DynamicContract", *["Vote"] * 4, "GovernanceProposal"]
    assert states(found) == {State.STOPPED} and await clear(town, found) == []
    assert found[0].names[1] == f"content {was}" and "must be voted on again" in found[0].follows
    assert "TooLate if" in found[1].follows and decided["evidenceDigest"] in found[-1].follows
    await resume(town)
    found = await lost(town)
    assert {error.reason for error in town.errors.values()} == {"LogBehind"} and states(found) == {State.READY}
    before = len(town.entries)
    assert len(await clear(town, found)) == 6
    assert await lost(town) == [] and len(town.entries) > before
    again = town.status(proposal)
    assert (again["phase"], again["outcome"], again["digest"]) == ("Executed", "Executed", decided["digest"])
    assert town.status(town.contract)["inForce"]["digest"] == was
    assert all(town.condition(Key("Vote", "default", f"p-m{who}"), "Counted")[0] == "True" for who in range(4))


async def test_a_lost_opening(town: Town) -> None:
    """A proposal whose opening is lost opens anew, with a voting period of its own; nothing stale stays shown."""
    backup = copy.deepcopy(town.shared)
    proposal = await voted(town, await opened(town))
    await restore(town, backup)
    await resume(town)
    found = await lost(town)
    assert "opened anew" in found[-1].follows and "waits until" in found[1].follows
    start = int(town.now)
    await clear(town, found)
    status = town.status(proposal)
    assert status["phase"] == "Voting" and not {"evidenceDigest", "executedAt", "outcome"} & status.keys()
    assert await lost(town) == [] and town.status(town.contract)["inForce"]["version"] == "v2026.01.01"
    await town.settle(110)
    assert town.status(proposal)["phase"] == "Executed" and town.now - start > 100


async def test_a_lost_revision_comes_first(town: Town) -> None:
    """Nothing of a domain is cleared before its revision is accepted anew by its signatures."""
    spec = {name: value for name, value in town.domain_spec().items() if name != "signatures"}
    backup = copy.deepcopy(town.shared)
    digest = trust_domain_statement("fleet", spec).digest
    town.apply("TrustDomain", "fleet", sign_domain({**spec, "revision": 2, "previousDigest": digest}))
    await town.settle()
    proposal = await opened(town)
    assert town.status(town.domain)["accepted"]["revision"] == 2
    await restore(town, backup)
    await resume(town)
    found = await lost(town)
    assert {loss.key: loss.state for loss in found} == {town.domain: State.READY, proposal: State.DOMAIN_FIRST}
    assert found[0].names[1].startswith("revision 2 sha256:") and "revision 1 is in force" in found[0].follows
    assert found[0].patch["status"]["accepted"] is None and "challenge" not in found[0].patch["status"]
    assert await clear(town, found) == [town.domain]
    assert town.status(town.domain)["accepted"]["revision"] == 2
    found = await lost(town)
    assert [(loss.key, loss.state) for loss in found] == [(proposal, State.READY)]
    await clear(town, found)
    assert await lost(town) == [] and town.status(proposal)["phase"] == "Voting"


async def test_a_lost_revision_that_nobody_signed_stays_lost(town: Town) -> None:
    """Revision 3 is not accepted without revision 2, and nobody reads the lost one from the status."""
    spec = {name: value for name, value in town.domain_spec().items() if name != "signatures"}
    backup = copy.deepcopy(town.shared)
    for number in (2, 3):
        before = trust_domain_statement("fleet", spec).digest
        spec = {**spec, "revision": number, "previousDigest": before}
        town.apply("TrustDomain", "fleet", sign_domain(spec))
        await town.settle()
    proposal = await opened(town)
    await restore(town, backup)
    await resume(town)
    found = await lost(town)
    assert "apply the revisions from 2 on" in found[0].follows
    await clear(town, found)
    assert town.condition(town.domain, "Authorized")[1] == "MissingRevision"
    assert town.status(town.domain)["accepted"]["revision"] == 1
    assert [(loss.key, loss.state) for loss in await lost(town)] == [(proposal, State.DOMAIN_FIRST)]


async def test_a_chain_that_was_never_stopped(town: Town) -> None:
    """Where no quarantine noticed the loss, nobody has signed that the chain goes on: that is told apart."""
    backup = copy.deepcopy(town.shared)
    proposal = await opened(town)
    town.shared = backup
    await town.restart()
    assert states(await lost(town)) == {State.NOT_STOPPED}
    assert await lost(town, "other") == [] and len(await lost(town, "fleet")) == 1
    spec = town.server.objects[town.domain]["spec"]
    town.apply("TrustDomain", "fleet", {**spec, "revision": 2})
    assert [(loss.key, loss.state) for loss in await lost(town)] == [(proposal, State.DOMAIN_FIRST)]


async def test_lost_bytes_are_not_cleared(town: Town) -> None:
    """Content that the log names and the database lacks is put back from a copy; clearing would mend nothing."""
    proposal = await voted(town, await opened(town))
    digests = {
        town.domain: town.status(town.domain)["accepted"]["digest"],
        town.contract: town.status(town.contract)["inForce"]["digest"],
        proposal: town.status(proposal)["digest"],
    }
    for key, digest in digests.items():
        kept = town.shared.content.pop(digest)
        (found,) = await lost(town)
        assert (found.key, found.state, found.names) == (key, State.NOT_CLEARED, (f"content {digest}",))
        assert digest.removeprefix("sha256:") in found.follows
        town.shared.content[digest] = kept
