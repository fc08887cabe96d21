"""Which notices a proposal asks for, and what a message is signed with."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import pytest

from quorate.api.tally import Phase
from quorate.identity import ed25519
from quorate.notifications.notice import MAX_NAMED, Cause, Notice
from quorate.notifications.proposals import proposal_notices
from quorate.notifications.signature import WebhookKey, WebhookKeyError, headers
from quorate.proposals.decision import decide
from quorate.proposals.lifecycle import Life
from tests.unit.proposals.fleet import OPENED, PERIOD, STANDARD, Fleet, member, node


def asked(fleet: Fleet, at: int, *, phase: Phase = Phase.VOTING, lead: int = 100, **case: Any) -> list[Notice]:
    """The notices at a second after the opening."""
    progress = decide(fleet.case(**case), OPENED + at)
    return list(proposal_notices(Life(phase), progress, digest=fleet.digest, namespace="default", name="p", lead=lead))


def causes(notices: list[Notice]) -> Mapping[str, int]:
    """Cause → seconds after the opening at which it is due."""
    return {str(notice.cause): notice.due - OPENED for notice in notices}


def test_an_open_proposal_asks_at_its_opening_and_before_its_end() -> None:
    """Both name those without a counted choice and the end; a later vote changes no id."""
    first, second = asked(Fleet().cast("YY"), 50), asked(Fleet().cast("YYY"), 60)
    assert causes(first) == {"Opened": 0, "EndingSoon": PERIOD - 100}
    assert first[0].until == OPENED + PERIOD and node("m2") in first[0].waiting_for
    assert [notice.id for notice in first] == [notice.id for notice in second]
    assert first[0].id != first[1].id


def test_a_short_vote_is_reminded_of_in_its_last_quarter() -> None:
    """However early a reminder is wanted, it is not sent with the opening."""
    assert causes(asked(Fleet(), 5, lead=86_400))["EndingSoon"] == PERIOD - PERIOD // 4


def test_nobody_is_reminded_when_everybody_voted() -> None:
    """There is no reminder without somebody to remind."""
    assert causes(asked(Fleet().cast("YYYYYYYYYY"), 50)) == {"Opened": 0}


def test_a_late_quorum_tells_of_the_new_end() -> None:
    """An extension is a cause of its own, due when the quorum came."""
    rules = {**STANDARD, "lateQuorum": {"windowSeconds": 100, "extensionSeconds": 300}}
    fleet = Fleet(voting={"Standard": rules}).cast("YYYY", at=PERIOD - 10)
    notices = asked(fleet, PERIOD - 5)
    assert causes(notices) == {"Opened": 0, "Extended": PERIOD - 10, "EndingSoon": PERIOD + 200}
    assert {notice.until for notice in notices} == {OPENED + PERIOD + 300}


def test_an_expedited_proposal_that_falls_back_is_extended() -> None:
    """The Standard period is told of when the Expedited one ended without an adoption."""
    voting = {"Standard": STANDARD, "Expedited": {**STANDARD, "votingPeriodSeconds": 100}}
    notices = asked(Fleet(voting=voting, kind="Expedited"), 150)
    assert causes(notices)["Extended"] == 100 and "Opened" not in causes(notices)


def test_an_emergency_asks_its_admins_then_the_electorate() -> None:
    """Endorsement first; the executing entry opens the ratification."""
    voting = {"Standard": STANDARD, "Emergency": {"votingPeriodSeconds": 60, "ratificationSeconds": 200}}
    fleet = Fleet(voting=voting, kind="Emergency")
    (endorse, *_) = asked(fleet, 5)
    assert (endorse.cause, endorse.waiting_for) == (Cause.ENDORSEMENT, ("ada", "bob"))
    fleet.act("Endorse", "ada", 5)
    fleet.act("Endorse", "bob", 6)
    (ratify, *_) = asked(fleet, 20, phase=Phase.EMERGENCY_EXECUTED, executed=OPENED + 10)
    assert (ratify.cause, ratify.due, ratify.until) == (Cause.RATIFICATION, OPENED + 10, OPENED + 210)


def test_a_decided_proposal_asks_nobody() -> None:
    """With the decision every notice ends."""
    assert asked(Fleet(), 50, phase=Phase.ADOPTED) == []


def test_a_message_is_bounded() -> None:
    """Of a thousand outstanding members 64 are named and all are counted."""
    (opened, *_) = asked(Fleet(members=[member(f"m{i}") for i in range(1000)]), 5)
    waiting = opened.document["data"]["waitingFor"]
    assert (waiting["total"], len(waiting["names"])) == (1000, MAX_NAMED)
    assert len(opened.sentence) < 1024


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """A vector of the specification's libraries, and an Ed25519 signature that its public key verifies."""
    # From the specification's reference libraries' tests.
    key = WebhookKey.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    seed = bytes(range(32))
    private = WebhookKey.parse("whsk_" + base64.b64encode(seed).decode())
    both = headers([key, private], "msg_1", 5, b"{}")["webhook-signature"].split(" ")
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert both[0] == "v1," + base64.b64encode(hmac.digest(secret, b"msg_1.5.{}", hashlib.sha256)).decode()
    assert private.public == "whpk_" + base64.b64encode(ed25519.public_key_of(seed)).decode()
    assert ed25519.verify(ed25519.public_key_of(seed), b"msg_1.5.{}", base64.b64decode(both[1].removeprefix("v1a,")))


@pytest.mark.parametrize("text", ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "whsk_AAAA", "whpk_AAAA"])
def test_a_bad_key_is_refused_without_showing_it(text: str) -> None:
    """The sentence names the rule; the key is in neither the message nor a representation."""
    with pytest.raises(WebhookKeyError) as refused:
        WebhookKey.parse(text)
    assert len(text) < 8 or text not in str(refused.value)
    assert "hidden" not in repr(WebhookKey("whsec_", b"hidden"))
