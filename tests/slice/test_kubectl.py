"""What a person sees with kubectl: explanations, columns, the category, and a clear word about lost nulls."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from quorate.api.registry import GROUP, KINDS, Kind
from quorate_cli.sandbox import binaries
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.test_resources import example, published

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def kubectl(sandbox: Sandbox) -> Kubectl:
    """Runs kubectl as the administrator, once the API server has published all kinds."""
    published(sandbox.admin())
    binary = binaries.find(["kubectl"], say=lambda *_: None)["kubectl"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(binary), f"--kubeconfig={sandbox.kubeconfig}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    return run


def test_no_name_is_one_of_kubernetes(kubectl: Kubectl, sandbox: Sandbox) -> None:
    """Of two kinds with one name kubectl takes the other without a word: by discovery none of ours is taken."""
    cluster = sandbox.admin()
    listed = cluster.request("GET", "/apis")["groups"]
    paths = [f"/apis/{each['groupVersion']}" for group in listed for each in group["versions"]]
    others: dict[str, str] = {}
    for path in ["/api/v1", *(path for path in paths if not path.startswith(f"/apis/{GROUP}/"))]:
        for served in cluster.request("GET", path)["resources"]:
            names = (served["name"], served["singularName"], served["kind"].lower(), *served.get("shortNames", ()))
            others |= dict.fromkeys(names, f"{path} {served['kind']}")
    assert {"pc", "cs", "po", "pods"} <= others.keys()
    ours = [name for kind in KINDS for name in (kind.plural, kind.singular, kind.short)]
    assert {name: others[name] for name in ours if name in others} == {}
    for kind in KINDS:
        asked = kubectl("get", kind.short, "-A", "-o", "name", "-v=6")
        assert asked.returncode == 0 and f"/{kind.plural}" in asked.stderr, (kind.short, asked.stderr)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_explain_describes_the_spec(kind: Kind, kubectl: Kubectl) -> None:
    """`kubectl explain` leaves no field of the spec undescribed."""
    explained = kubectl("explain", f"{kind.singular}.spec")
    assert explained.returncode == 0, explained.stderr
    assert f"KIND:       {kind.kind}" in explained.stdout
    assert "<no description>" not in explained.stdout


def test_proposals_show_the_tally(kubectl: Kubectl, sandbox: Sandbox, namespace: str) -> None:
    """`kubectl get gp` shows type, phase and outcome; `-o wide` every number; `get quorate` all kinds."""
    document = sandbox.admin().create(example("GovernanceProposal", namespace))
    plain = kubectl("get", "gp", "-n", namespace).stdout.split("\n")[0]
    assert plain.split() == ["NAME", "TYPE", "PHASE", "OUTCOME", "APPROVE", "REJECT", "READY", "AGE"]
    wide = kubectl("get", "gp", "-n", namespace, "-o", "wide").stdout
    for column in ("ABSTAIN", "VETO", "CAST", "OUTSTANDING", "TOTAL", "QUORUM NEEDED", "THRESHOLD", "PROPOSER"):
        assert column in wide
    assert document["metadata"]["name"] in kubectl("get", "quorate", "-n", namespace).stdout


def test_apply_that_drops_null_is_refused(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    """A clause removal by client-side apply is refused with the way out, and accepted by server-side apply."""
    document = example("GovernanceProposal", namespace)
    document["spec"]["change"]["patch"] = [{"op": "replace", "path": "", "value": None}]
    file = tmp_path / "removal.yaml"
    with file.open("w") as stream:
        YAML().dump(document, stream)
    refused = kubectl("apply", "-f", str(file))
    assert refused.returncode == 1
    assert "op replace requires value; if it is null, use kubectl apply --server-side" in refused.stderr
    accepted = kubectl("apply", "--server-side", "-f", str(file))
    assert accepted.returncode == 0, accepted.stderr
    stored = kubectl("get", "gp", document["metadata"]["name"], "-n", namespace, "-o", "jsonpath={.spec.change.patch}")
    assert stored.stdout == '[{"op":"replace","path":"","value":null}]'


def test_a_second_apply_changes_nothing(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    """`kubectl diff` is empty after apply: the API server adds nothing to a signed spec."""
    file = tmp_path / "vote.yaml"
    with file.open("w") as stream:
        YAML().dump(example("Vote", namespace), stream)
    assert kubectl("apply", "-f", str(file)).returncode == 0
    diff = kubectl("diff", "-f", str(file))
    assert (diff.returncode, diff.stdout) == (0, "")
    assert kubectl("apply", "-f", str(file)).stdout.endswith("unchanged\n")
