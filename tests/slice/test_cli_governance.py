"""Every verb of governance by command line, on a real API server with an operator that decides."""

import http.server
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from quorate.canonical import format_time, parse_time
from quorate.notifications.signature import WebhookKey, headers
from quorate_cli.output import to_yaml
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.yamlfiles import parse_yaml
from tests.slice.fleet import Fleet, Obj, condition, wait_for

HUB_A = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEWCOMER = "11111111-2222-4333-8444-555555555555"
Call = Callable[..., tuple[int, str, str]]


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what the operator's webhook sends."""

    got: ClassVar[list[tuple[dict[str, str], bytes]]] = []
    answers: ClassVar[threading.Event] = threading.Event()
    """While clear, messages arrive and are not answered."""
    answers.set()

    def do_POST(self) -> None:
        """Take it."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.answers.wait(60)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """A receiver, named to the operator by its environment."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    key = tmp_path_factory.mktemp("webhook") / "webhook.key"
    key.touch(0o600)
    key.write_text(SECRET + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUORATE_WEBHOOK", f"http://127.0.0.1:{server.server_port}/hook")
        patch.setenv("QUORATE_WEBHOOK_KEY", str(key))
        yield patch
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, webhook: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox with an operator that is the first hub and has a webhook."""
    with Sandbox.up("k-verbs", node_id=HUB_A, fast=True, state_root=tmp_path_factory.mktemp("verbs")) as running:
        yield running


@pytest.fixture
def fleet(town: Sandbox, tmp_path: Path) -> Fleet:
    """A founded fleet whose votes are decided and executed at once; nothing expedited."""

    def brisk(spec: Obj) -> None:
        spec["voting"]["Emergency"] = {"votingPeriodSeconds": 60, "ratificationSeconds": 60}
        del spec["voting"]["Expedited"]
        spec["recovery"]["delaySeconds"] = 2

    made = Fleet(town, tmp_path / "fleet", change=brisk, timelockSeconds=0)
    made.found()
    return made


@pytest.fixture
def quorate(town: Sandbox, commands: Callable[[Sandbox], Call]) -> Call:
    """`quorate(…)` → exit code, standard output, standard error; the cluster is the sandbox."""
    return commands(town)


def done(result: tuple[int, str, str]) -> str:
    """What a command printed; it succeeded."""
    assert result[0] == 0, result[2]
    return result[1]


def key(fleet: Fleet, *names: str) -> list[object]:
    """--key of each."""
    return [part for name in names for part in ("--key", fleet.folder / "keys" / f"{name}.key")]


def public(fleet: Fleet, name: str) -> Path:
    """The file of a public key."""
    return fleet.folder / "keys" / f"{name}.pub"


def node(fleet: Fleet, name: str) -> str:
    """The nodeId of the member that has this key."""
    members = fleet.constitution.spec["members"]
    return str(next(m["nodeId"] for m in members if any(k["name"] == name for k in m["keys"])))


def opened(fleet: Fleet, quorate: Call, *more: object) -> Obj:
    """Alice proposes a text for clause 2.1 by command line; the open proposal."""
    where = ("--contract", fleet.contract_name, "--clause", "2.1")
    done(quorate("propose", fleet.proposal_name, *where, "--text", "72 GiB", *key(fleet, "alice"), *more))
    wait_for("the opening", lambda: condition(fleet.get("GovernanceProposal"), "Accepted")[0] == "True")
    return fleet.get("GovernanceProposal")


def ready(fleet: Fleet) -> str:
    """The sentence of the proposal's condition Ready."""
    conditions = fleet.get("GovernanceProposal")["status"]["conditions"]
    return str(next(item for item in conditions if item["type"] == "Ready")["message"])


def accepted(fleet: Fleet, revision: int) -> Obj:
    """Wait until a revision is in force; the object."""

    def probe() -> Obj | None:
        obj = fleet.get("TrustDomain")
        found = ((obj.get("status") or {}).get("accepted") or {}).get("revision")
        return obj if found == revision else None

    return wait_for(f"revision {revision}", probe)


def test_a_proposal_from_vote_to_explanation(fleet: Fleet, quorate: Call) -> None:
    """Propose, vote, list, show, watch and explain: before the decision from status, after it from evidence."""
    opened(fleet, quorate)
    name = fleet.proposal_name
    wait_for("who has to vote", lambda: "4 with weight 10000 have not voted" in ready(fleet))
    assert "Next: to be adopted it lacks 5000 weight that votes for the quorum and 2 more voters" in ready(fleet)
    assert f"`quorate vote CHOICE {name}` until" in ready(fleet)
    done(quorate("vote", "approve", name, *key(fleet, "alice")))
    wait_for("the vote", lambda: fleet.status()["tally"]["approve"] == 3000)
    asked = fleet.question(fleet.get("GovernanceProposal"))
    fleet.vote("eve", "approve", question=asked)
    wait_for("the refused vote", lambda: fleet.status()["tally"].get("refused") == 1)
    assert fleet.status()["tally"]["refusedVotes"][0]["reason"] == "NotInElectorate"
    before = done(quorate("proposal", "explain", name))
    assert "not decided yet" in before and "its voter is not in the electorate" in before
    assert "Voting" in done(quorate("proposal", "list", "--open")) and name in done(quorate("proposal", "list"))
    watched: list[tuple[int, str, str]] = []
    watching = threading.Thread(target=lambda: watched.append(quorate("proposal", "show", name, "--watch")))
    watching.start()
    for who in ("bob", "carol", "dave"):
        fleet.vote(who, "approve", question=asked)
    fleet.phase("Executed")
    watching.join(20)
    assert not watching.is_alive()
    lines = watched[0][1].splitlines()
    assert lines[0].startswith("PHASE") and lines[1].startswith("Voting") and lines[-1].startswith("Executed")
    status = fleet.status()
    assert "nothing is left to do" in ready(fleet)
    explained = json.loads(done(quorate("proposal", "explain", name, "-o", "json")))
    assert explained["source"] == "evidence" and explained["outcome"]["outcome"] == "Adopted"
    text = done(quorate("proposal", "explain", name))
    assert "Adopted (Early)" in text and "nothing that was outstanding could change it" in text
    assert "{left} > {right}".format(**status["tally"]["threshold"]) in text
    decided = [item for item in fleet.entries() if item["event_type"] == "governance.proposal.decided"][-1]
    assert decided["payload"]["detail"]["outcomeDigest"] == status["outcomeDigest"]
    bundle = fleet.folder / "bundle.json"
    bundle.write_bytes(fleet.evidence())
    assert "Adopted (Early)" in done(quorate("proposal", "explain", bundle))


def test_an_opening_is_told_of(fleet: Fleet, quorate: Call) -> None:
    """The webhook gets one signed message for it, an Event says the same, and a Lease remembers."""
    digest = opened(fleet, quorate)["status"]["digest"]

    def mine() -> list[tuple[dict[str, str], bytes]]:
        return [item for item in Receiver.got if json.loads(item[1])["data"]["digest"] == digest]

    wait_for("the message", mine)
    sent, body = mine()[0]
    expected = headers([WebhookKey.parse(SECRET)], sent["webhook-id"], int(sent["webhook-timestamp"]), body)
    assert sent["webhook-signature"] == expected["webhook-signature"]
    data = json.loads(body)["data"]
    assert (data["cause"], data["waitingFor"]["total"]) == ("Opened", 4)

    def told() -> bool:
        events = fleet.cluster.list("Event", fleet.namespace)
        return any(e["reason"] == "VoteNeeded" and e["regarding"]["name"] == fleet.proposal_name for e in events)

    wait_for("the Event", told)
    wait_for("the memory", lambda: fleet.cluster.find("Lease", "quorate-notifications", "quorate-system"))
    done(quorate("vote", "reject", fleet.proposal_name, *key(fleet, "bob")))
    wait_for("the vote", lambda: fleet.status()["tally"]["reject"] == 3000)
    assert len(mine()) == 1


def proposed(fleet: Fleet, name: str) -> str:
    """Another open proposal of the fleet; its digest."""
    fleet.proposal_name = f"{fleet.contract_name}-{name}"
    return str(fleet.open()["status"]["digest"])


def test_a_killed_operator_tells_what_it_recorded(fleet: Fleet, town: Sandbox) -> None:
    """Killed -9 between entry and delivery: told after the restart under the same id, and nothing once it is over."""

    def ids(digest: str) -> list[str]:
        return [sent["webhook-id"] for sent, body in Receiver.got if json.loads(body)["data"]["digest"] == digest]

    def remembered() -> Obj | None:
        return fleet.cluster.find("Lease", "quorate-notifications", "quorate-system")

    def looked_at(name: str) -> None:
        """By the operator that leads now, which counts a new vote on it."""
        fleet.proposal_name = f"{fleet.contract_name}-{name}"
        fleet.vote("bob", "abstain", question=fleet.question(fleet.get("GovernanceProposal")))
        wait_for("the count", lambda: fleet.status()["tally"].get("voters") == 1)

    first = proposed(fleet, "first")
    wait_for("the first message", lambda: ids(first))
    began = parse_time(fleet.status()["openedAt"])
    wait_for("a later second", lambda: time.time() >= began + 1)  # the memory is one second
    Receiver.answers.clear()
    try:
        second = proposed(fleet, "second")
        wait_for("the second message on its way", lambda: ids(second))
        due = parse_time(fleet.status()["openedAt"])
        entry = next(item for item in fleet.entries() if item["payload"]["subject"]["key"] == second)
        assert entry["event_type"] == "governance.proposal.opened"
        assert _second_of(remembered()) < due
        town.stop("operator", signal.SIGKILL)
    finally:
        Receiver.answers.set()
    town.start("operator")
    wait_for("the second message again", lambda: len(ids(second)) == 2)
    wait_for("its end remembered", lambda: _second_of(remembered()) >= due)
    assert len({*ids(second)}) == 1 and len({*ids(first)}) == 1 and len(ids(first)) <= 2
    town.stop("operator")
    lease = remembered()
    assert lease is not None
    over = format_time(due + 61).removesuffix("Z") + ".000000Z"  # the minute of grace passes in no time
    fleet.cluster.patch(lease, {"spec": {"renewTime": over}})
    told = ids(first), ids(second)
    town.start("operator")
    wait_for("a second that the memory leaves open", lambda: time.time() >= due + 2)
    third = proposed(fleet, "third")
    wait_for("the third message", lambda: ids(third))
    looked_at("first")
    looked_at("second")
    assert (ids(first), ids(second)) == told and len(ids(third)) == 1


def _second_of(lease: Obj | None) -> int:
    return parse_time(lease["spec"]["renewTime"].replace(".000000", "")) if lease else 0


def test_an_amendment_opens_anew(fleet: Fleet, quorate: Call) -> None:
    """The next revision supersedes the open one; its digest is another, and votes bind that."""
    first = opened(fleet, quorate)["status"]["digest"]
    done(quorate("amend", fleet.proposal_name, "--text", "71 GiB", *key(fleet, "alice")))
    wait_for("the next revision", lambda: fleet.status().get("revision") == 2)
    assert fleet.status()["digest"] != first
    done(quorate("vote", "approve", fleet.proposal_name, *key(fleet, "bob")))
    wait_for("the vote", lambda: fleet.status()["tally"]["approve"] == 3000)


def test_a_proposal_is_withdrawn(fleet: Fleet, quorate: Call) -> None:
    """By its proposer; the next step says that nothing follows."""
    opened(fleet, quorate)
    done(quorate("withdraw", fleet.proposal_name, *key(fleet, "alice")))
    fleet.phase("Withdrawn")
    assert "Next: nothing follows" in ready(fleet)


def test_a_proposal_is_stopped_by_the_admins(fleet: Fleet, quorate: Call) -> None:
    """One stop is not enough, two are."""
    opened(fleet, quorate)
    done(quorate("stop", fleet.proposal_name, *key(fleet, "ada")))
    done(quorate("stop", fleet.proposal_name, *key(fleet, "grace")))
    fleet.phase("Stopped")
    assert fleet.events()["governance.act.accepted"] == 2


def test_an_emergency_is_endorsed_and_asks_for_ratification(fleet: Fleet, quorate: Call) -> None:
    """The condition names the admins who have not endorsed, then the electorate of the ratification."""
    opened(fleet, quorate, "--type", "Emergency")
    wait_for("who has to endorse", lambda: "2 more admins have to endorse, of ada, grace, hedy" in ready(fleet))
    done(quorate("endorse", fleet.proposal_name, *key(fleet, "ada")))
    wait_for("one less", lambda: "1 more admins have to endorse, of grace, hedy" in ready(fleet))
    done(quorate("endorse", fleet.proposal_name, *key(fleet, "grace")))
    fleet.phase("EmergencyExecuted")
    wait_for("who has to ratify", lambda: "4 with weight 10000 have not voted" in ready(fleet))


def test_a_delegation_counts_until_it_is_revoked(fleet: Fleet, quorate: Call) -> None:
    """Dave's weight follows carol, and leaves with the revocation."""
    opened(fleet, quorate)
    done(quorate("delegate", "carol", "--domain", fleet.name, *key(fleet, "dave")))
    done(quorate("vote", "approve", fleet.proposal_name, *key(fleet, "carol")))
    wait_for("both weights", lambda: fleet.status()["tally"]["approve"] == 4000)
    done(quorate("delegate", "--revoke", "--domain", fleet.name, *key(fleet, "dave")))
    wait_for("one weight", lambda: fleet.status()["tally"]["approve"] == 2000)


def test_members_and_their_keys_change_by_signed_revisions(fleet: Fleet, quorate: Call) -> None:
    """Each command is the next revision, accepted because the admins signed it."""
    admins = key(fleet, "ada", "grace")
    folder = fleet.folder / "keys"
    done(quorate("keygen", "frank", "carol-2", "-d", folder))
    member = ("domain", "member")
    role = ("--role", "ComplianceWitness", "--weight", "500")
    done(quorate(*member, "add", fleet.name, NEWCOMER, *role, "--learner", "--vote", public(fleet, "frank"), *admins))
    accepted(fleet, 2)
    promoted = quorate(*member, "promote", fleet.name, NEWCOMER, *admins)
    assert "does not hold contract" in promoted[2] and promoted[0] == 0
    members = {item["nodeId"]: item for item in accepted(fleet, 3)["spec"]["members"]}
    assert "learner" not in members[NEWCOMER]
    carol = node(fleet, "carol")
    rotated = ("--key-name", "carol", "--to", public(fleet, "carol-2"))
    done(quorate(*member, "rotate", fleet.name, carol, *rotated, *admins))
    accepted(fleet, 4)
    opened(fleet, quorate)
    for number, who in enumerate(("carol", "carol-2")):
        done(quorate("vote", ("approve", "reject")[number], fleet.proposal_name, *key(fleet, who)))
    digest = fleet.status()["digest"]
    votes = wait_for("both votes", lambda: _recorded(fleet, digest, 2))
    last = max(parse_time(vote["status"]["recordedAt"]) for vote in votes)
    wait_for("a later second", lambda: time.time() >= last + 1)  # in one second with the revocation it is UnknownKey
    done(quorate(*member, "revoke", fleet.name, carol, "--key-name", "carol", *admins))
    accepted(fleet, 5)
    wait_for("only the new key", lambda: fleet.status()["tally"]["reject"] == 2000)
    assert fleet.status()["tally"]["refusedVotes"][0]["reason"] == "KeyRevoked"
    done(quorate(*member, "suspend", fleet.name, NEWCOMER, *admins))
    accepted(fleet, 6)
    done(quorate(*member, "suspend", fleet.name, NEWCOMER, "--lift", *admins))
    accepted(fleet, 7)
    done(quorate(*member, "revoke", fleet.name, NEWCOMER, "--member", *admins))
    assert NEWCOMER not in [item["nodeId"] for item in accepted(fleet, 8)["spec"]["members"]]


def _recorded(fleet: Fleet, digest: str, count: int) -> list[Obj]:
    """The votes on a digest once so many are recorded; before that none."""
    votes = fleet.cluster.list("Vote", fieldSelector=f"spec.proposal.digest={digest}")
    recorded = [vote for vote in votes if (vote.get("status") or {}).get("recordedAt")]
    return recorded if len(recorded) == count else []


def test_admins_are_replaced_with_both_thresholds(fleet: Fleet, quorate: Call, tmp_path: Path) -> None:
    """Too few signatures of the new set are named and refused by the operator; with them it is accepted."""
    done(quorate("keygen", "rosa", "otto", "-p", "admin", "-d", fleet.folder / "keys"))
    change = ("--remove", "ada", "--remove", "grace", "--add", public(fleet, "rosa"), "--add", public(fleet, "otto"))
    partly = quorate("domain", "admins", fleet.name, *change, *key(fleet, "ada", "grace"), "--dry-run", "-o", "yaml")
    assert "2 more of the new admins must sign (hedy, rosa, otto)" in partly[2]
    (document,) = parse_yaml(done(partly), "printed")
    (tmp_path / "next.yaml").write_text(to_yaml([document]))
    fleet.cluster.apply(document)
    wait_for("the refusal", lambda: condition(fleet.get("TrustDomain"), "Authorized")[1] == "Unauthorized")
    done(quorate("domain", "sign", "-f", tmp_path / "next.yaml", *key(fleet, "rosa", "otto")))
    accepted(fleet, 2)
    assert "rosa" in done(quorate("domain", "admins", fleet.name))


def test_the_recovery_set_takes_over(fleet: Fleet, quorate: Call, tmp_path: Path) -> None:
    """A first announcement is cancelled by the admins, a second completed after its delay."""
    done(quorate("keygen", "rosa", "otto", "-p", "admin", "-d", fleet.folder / "keys"))
    carrier = ("--carrier", fleet.folder / "keys" / "carol.key")

    def announced(name: str) -> str:
        change = ("--remove", "ada", "--add", public(fleet, name), "--dry-run", "-o", "yaml")
        path = tmp_path / f"{name}.yaml"
        path.write_text(done(quorate("domain", "admins", fleet.name, *change)))
        told = quorate("domain", "recover", "announce", "-r", path, *carrier, *key(fleet, "vault"), "-o", "name")
        found = done(told).strip().partition("/")[2]
        wait_for(
            "the announcement",
            lambda: condition(fleet.cluster.get("Attestation", found, fleet.namespace), "Ready")[0] == "True",
        )
        return found

    first = announced("rosa")
    done(quorate("domain", "recover", "cancel", first, *carrier, *key(fleet, "ada", "grace")))
    wait_for("the cancellation", lambda: fleet.events()["trust.recovery.cancelled"] == 1)
    announced("otto")
    done(quorate("domain", "recover", "complete", "-r", tmp_path / "otto.yaml", *key(fleet, "vault")))
    spec = accepted(fleet, 2)["spec"]
    assert {admin["name"] for admin in spec["admins"]} == {"grace", "hedy", "otto"}


def test_a_member_changes_by_constitutional_proposal(fleet: Fleet, quorate: Call, tmp_path: Path) -> None:
    """An unsigned revision is authorised by the vote on its digest, and the condition says to apply it."""
    carol = node(fleet, "carol")
    path = tmp_path / "next.yaml"
    path.write_text(done(quorate("domain", "member", "suspend", fleet.name, carol, "--dry-run", "-o", "yaml")))
    done(quorate("propose", fleet.proposal_name, "--revise", path, *key(fleet, "alice")))
    wait_for("the opening", lambda: condition(fleet.get("GovernanceProposal"), "Accepted")[0] == "True")
    for who in ("alice", "bob", "carol", "dave"):
        done(quorate("vote", "approve", fleet.proposal_name, *key(fleet, who)))
    wait_for("what is awaited", lambda: "Next: apply the revision of TrustDomain" in ready(fleet))
    done(quorate("domain", "sign", "-f", path, *key(fleet, "ada")))
    accepted(fleet, 2)
