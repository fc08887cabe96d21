"""A compromised hub on a real API server: whoever may write every object there still forges nothing."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quorate.audit.verify import Verdict
from quorate.canonical import canonical_bytes, digest_of_bytes, parse_json
from quorate.proposals.evidence import Check, Pinned, Report, verify
from quorate_cli.output import CliError
from quorate_cli.proposal import fetch_content
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sources import SYSTEM_NAMESPACE
from tests.slice.fleet import Fleet, Obj, condition, wait_for

HUB = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
SPARE = "A" * 43
Bundle = dict[str, Any]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A change that alice, bob and carol approved, executed; a vote in dave's name was signed by somebody else."""
    root = tmp_path_factory.mktemp("hostile")
    with Sandbox.up("k-hostile", node_id=HUB, fast=True, state_root=root) as running:
        made = Fleet(running, root / "fleet", timelockSeconds=0)
        made.found()
        made.open()
        forged = made.vote("dave", "Veto", signed_by="alice")
        made.counted(forged, "BadSignature")
        for who in ("alice", "bob", "carol"):
            made.vote(who, "Approve")
        made.phase("Executed")
        yield made


def receive(fleet: Fleet, bundle: bytes) -> Report:
    """What a receiver finds that pinned revision 1."""
    return verify(bundle, pinned=Pinned(pins={fleet.chain: fleet.constitution.digest}))


def genuine(fleet: Fleet) -> Bundle:
    """The bundle that the operator made."""
    return dict(parse_json(fleet.evidence()))


def revision(bundle: Bundle) -> Obj:
    """Revision 1 in the bundle."""
    (record,) = bundle["domains"].values()
    return dict(record["revisions"][0]["statement"])


def weigh(bundle: Bundle) -> None:
    revision(bundle)["members"][0]["weight"] = 9999


def rekey(bundle: Bundle) -> None:
    revision(bundle)["members"][0]["keys"][0]["publicKey"] = SPARE


def turn(bundle: Bundle) -> None:
    good = next(vote for vote in bundle["votes"] if vote["entry"]["event_type"].endswith("accepted"))
    good["statement"]["choice"] = "Reject"


def resign(bundle: Bundle) -> None:
    good = next(vote for vote in bundle["votes"] if vote["entry"]["event_type"].endswith("accepted"))
    good["signature"] = bundle["proposal"]["signature"]


def admit(bundle: Bundle) -> None:
    bad = next(vote for vote in bundle["votes"] if vote["entry"]["event_type"].endswith("refused"))
    bad["entry"]["event_type"] = "governance.vote.accepted"


def leave_out(bundle: Bundle) -> None:
    bundle["votes"].remove(next(vote for vote in bundle["votes"] if vote["statement"]["choice"] == "Approve"))


def rewrite(bundle: Bundle) -> None:
    bundle["proposal"]["statement"]["change"]["patch"][0]["value"] = "No limit."


def declare(bundle: Bundle) -> None:
    bundle["outcome"]["outcome"] = "Rejected"


FORGERIES: list[tuple[Callable[[Bundle], None], Check]] = [
    (weigh, Check.REVISION),
    (rekey, Check.REVISION),
    (turn, Check.ENTRY),
    (resign, Check.SIGNATURE),
    (admit, Check.SIGNATURE),
    (leave_out, Check.OUTCOME),
    (rewrite, Check.PROPOSAL),
    (declare, Check.OUTCOME),
]


@pytest.mark.parametrize(("forge", "expected"), FORGERIES, ids=lambda item: getattr(item, "__name__", ""))
def test_forged_evidence_is_refused_by_its_part(fleet: Fleet, forge: Callable[[Bundle], None], expected: Check) -> None:
    """Members, keys, votes, proposal or outcome altered in a real bundle: TAMPERED, and the part is named."""
    bundle = copy.deepcopy(genuine(fleet))
    forge(bundle)
    report = receive(fleet, canonical_bytes(bundle))
    assert report.verdict is Verdict.TAMPERED and not report.applicable
    assert expected in {item.check for item in report.faults}, report.faults


def test_forged_content_deceives_nobody(fleet: Fleet) -> None:
    """Forged content under its own digest is fetched and refused; under the digest of the entry it is not fetched."""
    bundle = copy.deepcopy(genuine(fleet))
    leave_out(bundle)
    data = canonical_bytes(bundle)
    digest = digest_of_bytes(data)
    reference = "quorate-" + digest.removeprefix("sha256:")
    fleet.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": reference, "namespace": SYSTEM_NAMESPACE},
            "data": {"content": data.decode()},
        }
    )
    fetched = fetch_content(fleet.cluster, reference, digest, "evidence")
    assert receive(fleet, fetched).verdict is Verdict.TAMPERED
    with pytest.raises(CliError, match="does not have the digest"):
        fetch_content(fleet.cluster, reference, fleet.status()["evidenceDigest"], "evidence")


def test_the_same_proposal_applied_again_executes_nothing(fleet: Fleet) -> None:
    """Deleted and applied anew, a decided proposal is what the log says; a receiver that applied it says Replayed."""
    before = fleet.events()
    document = fleet.get("GovernanceProposal")
    path = f"/apis/quorate.dev/v1alpha1/namespaces/{fleet.namespace}/governanceproposals/{fleet.proposal_name}"
    digest = fleet.status()["digest"]
    fleet.cluster.request("DELETE", path)
    again = {name: document[name] for name in ("apiVersion", "kind", "spec")}
    fleet.cluster.apply({**again, "metadata": {"name": fleet.proposal_name, "namespace": fleet.namespace}})
    fleet.phase("Executed")
    after = fleet.events()
    for event in ("governance.proposal.opened", "governance.proposal.executed", "governance.contract.changed"):
        assert after[event] == before[event] == 1
    pinned = Pinned(pins={fleet.chain: fleet.constitution.digest}, applied=[digest])
    assert [item.reason for item in verify(fleet.evidence(), pinned=pinned).faults] == ["Replayed"]


def test_a_constitution_without_its_admins_is_not_accepted(fleet: Fleet) -> None:
    """A next revision that gives the hub all weight, written by somebody who may write everything: Unauthorized."""
    live = fleet.get("TrustDomain")
    accepted = live["status"]["accepted"]
    spec = copy.deepcopy(live["spec"])
    spec |= {"revision": accepted["revision"] + 1, "previousDigest": accepted["digest"]}
    spec["members"][0]["weight"] = 10_000
    fleet.cluster.apply(
        {"apiVersion": live["apiVersion"], "kind": "TrustDomain", "metadata": {"name": fleet.name}, "spec": spec}
    )
    wait_for("Unauthorized", lambda: condition(fleet.get("TrustDomain"), "Authorized")[1] == "Unauthorized")
    assert fleet.get("TrustDomain")["status"]["accepted"]["digest"] == accepted["digest"]


def test_the_genuine_evidence_still_verifies(fleet: Fleet) -> None:
    """After all of this the operator's bundle is what it was."""
    assert receive(fleet, fleet.evidence()).faults == []
