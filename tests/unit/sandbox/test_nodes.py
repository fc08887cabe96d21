"""Real nodes, what needs neither root nor Linux: addresses, images, the guard's list."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import Layout
from quorate_cli.sandbox.nodes import cgroup, config, host, image, plan
from quorate_cli.sandbox.nodes.running import running


def test_addresses() -> None:
    """The bridge is .0.1, node i .0.(10 + i), its pods the i-th /24."""
    found = plan.network("10.7.0.0/16")
    assert (found.gateway, found.node(1), found.pods(1)) == ("10.7.0.1", "10.7.0.11", "10.7.1.0/24")
    assert (found.node(plan.MOST_NODES), found.pods(plan.MOST_NODES)) == ("10.7.0.42", "10.7.32.0/24")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("10.99.0.0", "must be a private /16"),
        ("10.99.1.0/16", "host bits"),
        ("10.0.0.0/8", "must be a private /16"),
        ("8.8.0.0/16", "must be a private /16"),
        ("nodes", "like 10.99.0.0/16"),
        ("172.17.0.0/16", "overlaps 172.17.4.0/24"),
        ("192.168.0.0/16", "overlaps 192.0.0.0/2"),
    ],
)
def test_a_network_that_cannot_be_is_refused(value: str, says: str) -> None:
    """Only a private /16 that nothing here overlaps; the sentence names the option and what is wrong."""
    with pytest.raises(SandboxError, match=says) as caught:
        plan.network(value, taken=["172.17.4.0/24", "192.0.0.0/2"])
    assert "--node-network" in str(caught.value)


def test_two_sandboxes_have_different_cgroups(tmp_path: Path) -> None:
    """The name of a cgroup says whose it is: same node names, different directories."""
    one, other = (plan.nodes(Layout(tmp_path, name), plan.network(plan.DEFAULT_NETWORK), 2) for name in ("a", "b"))
    assert [node.name for node in one] == [node.name for node in other] == ["real-1", "real-2"]
    assert len({node.group for node in (*one, *other)}) == 4


def test_every_node_file_is_valid(tmp_path: Path) -> None:
    """What is written for kubelet and CNI is JSON with the node's own addresses; containerd's names no registry."""
    (node,) = plan.nodes(Layout(tmp_path, "a"), plan.network(plan.DEFAULT_NETWORK), 1)
    files = config.etc(node, "0" * 32)
    network = json.loads(files["cni/net.d/10-quorate.conflist"])
    assert network["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.99.1.0/24"}]]
    assert json.loads(files["kubernetes/kubelet.json"])["authentication"]["anonymous"] == {"enabled": False}
    assert "registry" not in files["containerd.toml"]


def _blobs(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


def test_an_image_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Same content, same digest, whatever the files' times and owners; the layer holds files, links and modes."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    made = image.Image("quorate.local/x:1", {"opt/app/run": program}, {"bin": "usr/bin"}, entrypoint=["/opt/app/run"])
    first = image.write(made, tmp_path / "one.tar")
    program.touch()
    assert image.write(made, tmp_path / "two.tar") == first
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    blobs = _blobs(tmp_path / "one.tar")
    index = json.loads(blobs["index.json"])["manifests"][0]
    assert (index["digest"], index["annotations"]["io.containerd.image.name"]) == (first, "quorate.local/x:1")
    manifest = json.loads(blobs[f"blobs/sha256/{first[7:]}"])
    layer = blobs[f"blobs/sha256/{manifest['layers'][0]['digest'][7:]}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        shown = {member.name: (member.type, member.mode, member.uid, member.mtime) for member in tar}
    assert shown["opt/app/run"] == (tarfile.REGTYPE, 0o755, 0, 0)
    assert shown["bin"][0] == tarfile.SYMTYPE
    assert shown["tmp"][:2] == (tarfile.DIRTYPE, 0o1777)
    assert list(shown) == ["tmp", "bin", "opt", "opt/app", "opt/app/run"]


def test_an_image_of_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is no empty directory: a sentence names it."""
    with pytest.raises(SandboxError, match="neither a file nor a directory"):
        image.write(image.Image("x:1", {"a": tmp_path / "nothing"}), tmp_path / "x.tar")


def test_nodes_of_a_state() -> None:
    """What the supervisor knows becomes nodes with their launchers' process ids; a state without any, none."""
    kept = {"name": "real-1", "address": "10.99.0.11", "pods": "10.99.1.0/24", "group": "g"}
    state = {"realNodes": [kept], "components": {"node-real-1": {"pid": 0}}}
    (node,) = running(state)
    assert (node.address, node.launcher) == ("10.99.0.11", 0)
    with pytest.raises(SandboxError, match="node real-1 does not run"):
        node.first_process()
    assert running({}) == []


@pytest.mark.parametrize(("platform", "user", "says"), [("darwin", 0, "Linux"), ("linux", 1000, "root")])
def test_why_there_are_none(platform: str, user: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off Linux, or without root, the reason is the end of a sentence."""
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert host.unavailable() == f"they need {says}"


def test_a_machine_with_cgroup_v2_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """No v1 hierarchy, no real nodes; one that lacks a controller is named."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(cgroup, "hierarchies", list)
    assert "cgroup v1" in str(host.unavailable())
    some = [cgroup.Hierarchy(cgroup.ROOT / name, (name,)) for name in cgroup.NEEDED - {"memory"}]
    monkeypatch.setattr(cgroup, "hierarchies", lambda: some)
    assert host.unavailable() == "the cgroup controllers memory are not mounted"


def test_what_the_kernel_refuses_root_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where root may not make namespaces, as in a container, that is the reason: asked of the kernel itself."""
    if reason := host.unavailable():
        pytest.skip(f"no real nodes: {reason}")
    less = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
    monkeypatch.setattr(host, "_PROBE", (*less, *host._PROBE))
    said = str(host.unavailable())
    assert said.startswith("the system refuses root what they need, as in a container: ")
    assert "Operation not permitted" in said
