"""Heartbeats: what proves possession of a Machine key, and when a node is silent."""

from typing import Any

import pytest

from quorate.canonical import format_time
from quorate.identity.statements import heartbeat_statement
from quorate.trust.heartbeat import Beat, Challenge, judge_heartbeat, next_challenge, silent_from
from tests.unit.trust.domains import NODES, first, key, member, revision, seed

NOW = 1_800_000_000
DIGEST = "sha256:" + "a" * 64
KEYS = [
    key("vote-0"),
    key("machine-0", "Machine"),
    key("machine-x", "Machine"),
    key("machine-old", "Machine", notAfter=format_time(NOW)),
]
DOMAIN = revision(first(members=[member(0, keys=KEYS), member(1), member(2, keys=[key("vote-2")])]))


def beat(label: str = "machine-0", *, mesh: str = "mesh", domain: str = "acme", **changes: Any) -> dict[str, Any]:
    """A heartbeat of the first node, signed by the key of a label."""
    fields = {"nodeId": NODES[0], "renewTime": format_time(NOW), "challenge": "c2", "held": {}, **changes}
    return {**fields, "signature": heartbeat_statement(mesh, domain, fields).sign(seed(label))}


def judge(heartbeat: dict[str, Any], node: str = NODES[0], challenges: tuple[str, ...] = ("c2", "c1")) -> Beat:
    return judge_heartbeat(DOMAIN, node, heartbeat, challenges, now=NOW)


@pytest.mark.parametrize(
    ("heartbeat", "name"),
    [
        (beat(), "machine-0"),
        (beat("machine-x"), "machine-x"),
        (beat(challenge="c1"), "machine-0"),
        (beat(renewTime=format_time(NOW + 300)), "machine-0"),
        (beat(renewTime=format_time(NOW - 10**6)), "machine-0"),
        (beat("machine-old", renewTime=format_time(NOW - 1)), "machine-old"),
        (beat(held={NODES[3]: DIGEST}), "machine-0"),
    ],
)
def test_verified(heartbeat: dict[str, Any], name: str) -> None:
    """Each Machine key of the node verifies, with the current or the previous challenge, up to 300 s ahead."""
    verdict = judge(heartbeat)
    assert (verdict.verified, verdict.key_name) == (True, name)
    assert verdict.held == heartbeat["held"]
    assert format_time(verdict.renewed or 0) == heartbeat["renewTime"]


@pytest.mark.parametrize(
    ("heartbeat", "reason"),
    [
        (beat("vote-0"), "BadSignature"),
        (beat("machine-1"), "BadSignature"),
        (beat(mesh="other"), "BadSignature"),
        (beat(domain="other"), "BadSignature"),
        (beat(nodeId=NODES[1]), "BadSignature"),
        ({**beat(), "renewTime": format_time(NOW + 1)}, "BadSignature"),
        ({**beat(), "held": {NODES[3]: DIGEST}}, "BadSignature"),
        ({**beat(), "challenge": "c1"}, "BadSignature"),
        ({**beat(), "signature": None}, "BadSignature"),
        ({**beat(), "signature": 7}, "BadSignature"),
        ({**beat(), "signature": "A" * 86}, "BadSignature"),
        (beat(renewTime=format_time(NOW + 301)), "FromTheFuture"),
        (beat(challenge="c0"), "StaleChallenge"),
        (beat("machine-old"), "KeyExpired"),
        (beat("machine-old", renewTime=format_time(NOW + 1)), "KeyExpired"),
        (beat(renewTime="2026-02-30T00:00:00Z"), "Invalid"),
        (beat(renewTime=None), "Invalid"),
        (beat(held=None), "Invalid"),
        (beat(held=[]), "Invalid"),
        (beat(held={NODES[3]: "a"}), "Invalid"),
        ({**beat(), "held": {NODES[3]: 1.5}}, "Invalid"),
        ({**beat(), "held": {"\ud800": DIGEST}}, "Invalid"),
        (beat(challenge=None), "Invalid"),
        ({**beat(), "challenge": ["c2"]}, "Invalid"),
        (beat(nodeId=None), "Invalid"),
    ],
)
def test_refused(heartbeat: dict[str, Any], reason: str) -> None:
    """Whatever a Lease's annotation holds, the answer is a reason."""
    verdict = judge(heartbeat)
    assert (verdict.verified, verdict.reason) == (False, reason)


def test_no_member_no_key_no_challenge() -> None:
    """Not a member, a member without Machine key, and a domain without challenge have reasons of their own."""
    assert judge(beat(), NODES[4]).reason == "NotAMember"
    assert judge(beat(nodeId=NODES[2]), NODES[2]).reason == "UnknownKey"
    assert judge(beat(), challenges=()).reason == "NoChallenge"


class TestChallenge:
    def test_first(self) -> None:
        """The first challenge has no predecessor."""
        challenge = next_challenge(None, fresh="a", now=NOW)
        assert (challenge, challenge.valid) == (Challenge("a", None, NOW), {"a"})

    @pytest.mark.parametrize(("age", "current"), [(-60, "a"), (0, "a"), (3600, "a"), (3601, "b"), (10**6, "b")])
    def test_renewed_when_older_than_an_hour(self, age: int, current: str) -> None:
        """A challenge older than 3600 s is replaced; the replaced one stays valid."""
        held = Challenge("a", "z", NOW - age)
        challenge = next_challenge(held, fresh="b", now=NOW)
        assert challenge.current == current
        assert challenge.valid == ({"a", "z"} if current == "a" else {"b", "a"})


@pytest.mark.parametrize(
    ("renewed", "listed", "silent"),
    [(1000, 0, 1180), (1000, 1000, 1180), (1000, 5000, 5180), (None, 5000, 5180)],
)
def test_silent_from(renewed: int | None, listed: int, silent: int) -> None:
    """A node is silent graceSeconds after its last heartbeat, but none before graceSeconds after the listing."""
    assert silent_from(renewed, grace_seconds=180, listed_at=listed) == silent
