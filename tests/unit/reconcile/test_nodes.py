"""MeshNodes: heartbeats, challenges, namespaces."""

import pytest

from quorate_operator.kube.resources import Key
from tests.unit.proposals.fleet import node

from .town import Town


@pytest.fixture
async def town() -> Town:
    """A domain and its contract in force."""
    made = await Town().restart()
    await made.found()
    return made


def register(town: Town, name: str, *, namespace: bool = True, **spec: object) -> Key:
    """The node's object, and its namespace."""
    if namespace:
        town.apply("Namespace", f"quorate-node-{name}", {})
    return town.apply("MeshNode", name, {"nodeId": node(name), "trustDomains": ["fleet"], **spec})


def challenge(town: Town) -> str:
    """The domain's current challenge."""
    return str(town.status(town.domain)["challenge"]["current"])


async def test_a_thousand_nodes_without_namespace_cost_one_listing(town: Town) -> None:
    """NamespaceMissing is found without a request per node, and heals when the namespace comes."""
    first = register(town, "m1", namespace=False)
    for number in range(2, 4):
        register(town, f"m{number}", namespace=False)
    town.server.calls.clear()
    await town.settle()
    assert [key.kind for verb, key in town.server.calls if verb == "list"] == ["Namespace"]
    assert town.condition(first, "Ready")[:2] == ("False", "NamespaceMissing")
    assert town.condition(first, "Reconciling")[0] == "True"
    town.apply("Namespace", "quorate-node-m1", {})
    await town.settle(11)
    assert town.condition(first, "Ready")[1] == "NoHeartbeat"
    town.beat("m1", at=int(town.now), challenge=challenge(town))
    await town.settle()
    assert town.condition(first, "Ready")[:2] == ("True", "Ready")


async def test_a_bogus_heartbeat_does_not_outlive_itself(town: Town) -> None:
    """An unsigned beat of a far time is refused, and the next true one counts again."""
    key = register(town, "m1")
    town.beat("m1", at=int(town.now), challenge=challenge(town))
    await town.settle()
    town.beat("m1", at=int(town.now) + 200, challenge=challenge(town), signer="m2.machine")
    await town.settle()
    assert town.condition(key, "IdentityVerified")[:2] == ("False", "BadSignature")
    town.beat("m1", at=int(town.now) + 1, challenge=challenge(town))
    await town.settle()
    assert town.condition(key, "Ready")[:2] == ("True", "Ready")


async def test_an_older_heartbeat_written_back_does_not_renew(town: Town) -> None:
    """RenewTime only grows: the node goes silent graceSeconds after the newest one, and says so once."""
    key = register(town, "m1", heartbeat={"intervalSeconds": 10, "graceSeconds": 20})
    start = int(town.now)
    town.beat("m1", at=start, challenge=challenge(town))
    await town.settle(5)
    town.beat("m1", at=start - 10, challenge=challenge(town))
    await town.settle()
    assert town.condition(key, "Ready")[1] == "Ready"
    await town.settle(20)
    assert town.condition(key, "Heartbeating")[:2] == ("False", "Silent")
    assert town.entries.count("trust.node.silent") == 1


async def test_both_challenges_are_good_and_an_older_one_is_not(town: Town) -> None:
    """After an hour a new challenge is issued; the previous one is still answered, the one before is stale."""
    key = register(town, "m1", heartbeat={"intervalSeconds": 10, "graceSeconds": 9000})
    first = challenge(town)
    town.beat("m1", at=int(town.now), challenge=first)
    await town.settle()
    for expected in ("Ready", "StaleChallenge"):
        town.now += 3601
        await town.settle()
        assert challenge(town) != first
        assert town.condition(key, "Ready")[1] == expected


async def test_suspended_is_verified_but_not_ready(town: Town) -> None:
    """spec.suspended keeps the node out of scheduling; its identity and heartbeats still show."""
    key = register(town, "m1", suspended=True)
    town.beat("m1", at=int(town.now), challenge=challenge(town))
    await town.settle()
    assert town.condition(key, "Ready")[:2] == ("False", "Suspended")
    assert town.condition(key, "IdentityVerified")[0] == "True"


async def test_privileges_are_shown(town: Town) -> None:
    """Narrowed says what the role allows and spec.privileges leaves out, and what no role of the node has."""
    whole, part = register(town, "m1"), register(town, "m2", privileges=["ValidateAttestation", "VoteOnProposal"])
    for who in ("m1", "m2"):
        town.beat(who, at=int(town.now), challenge=challenge(town))
    await town.settle()
    assert town.condition(whole, "Narrowed")[:2] == ("False", "PrivilegesOfRole")
    status, reason, message = town.condition(part, "Narrowed")
    assert (status, reason) == ("True", "PrivilegesNarrowed")
    assert "may not ProposePolicy, OverridePolicy" in message
    assert town.condition(part, "Ready")[:2] == ("True", "Ready")


async def test_a_node_of_no_domain_says_so(town: Town) -> None:
    """Without trustDomains the node takes part in nothing: NoDomain, and nothing is awaited."""
    key = town.apply("MeshNode", "lonely", {"nodeId": node("m3")})
    await town.settle()
    assert town.condition(key, "Ready")[:2] == ("False", "NoDomain")
    assert town.condition(key, "Stalled")[0] == "True"


async def test_every_domain_of_a_node_counts(town: Town) -> None:
    """A node of two domains is as ready as the worst of them; the other's proof does not stand in."""
    key = register(town, "m1", trustDomains=["fleet", "elsewhere"])
    town.beat("m1", at=int(town.now), challenge=challenge(town))
    await town.settle()
    assert town.condition(key, "Ready")[:2] == ("False", "NoAcceptedRevision")
    assert [item["name"] for item in town.status(key)["domains"]] == ["fleet"]
