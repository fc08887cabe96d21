"""`quorate restore check --apply`: what it clears, and what it leaves alone."""

from typing import Any

import pytest

from quorate_cli.cluster import RefusedError
from quorate_cli.restore import _clear
from quorate_operator.custody.losses import Loss, State
from quorate_operator.kube.resources import Key


class _Cluster:
    """Takes patches; refuses those of objects that changed."""

    def __init__(self, changed: str = "", status: int = 409) -> None:
        self.patches: dict[str, Any] = {}
        self._changed, self._status = changed, status

    def request(self, method: str, path: str, *, body: Any, content_type: str) -> None:
        """A merge patch of the subresource status."""
        assert (method, content_type) == ("PATCH", "application/merge-patch+json")
        if self._changed and self._changed in path:
            raise RefusedError("the object has been modified", self._status)
        self.patches[path] = body


def loss(name: str, state: State) -> Loss:
    meta = {"name": name, "namespace": "ns", "resourceVersion": "7"}
    obj = {"kind": "Vote", "metadata": meta, "spec": {}, "status": {"lastEntry": "x", "digest": "y"}}
    return Loss(obj, "mesh/fleet", ("entry x",), "it is recorded anew", state)


PATH = "/apis/quorate.dev/v1alpha1/namespaces/ns/votes/{}/status"
ALL = [loss(str(state), state) for state in State]


def test_only_what_may_be_is_cleared() -> None:
    """The whole status goes, at the version that was read; a chain that was never stopped needs its own word."""
    cluster = _Cluster()
    assert _clear(cluster, ALL, never_stopped=False) == {Key("Vote", "ns", "ready")}  # type: ignore[arg-type]
    gone = {"metadata": {"resourceVersion": "7"}, "status": {"lastEntry": None, "digest": None}}
    assert cluster.patches == {PATH.format("ready"): gone}
    cleared = _clear(_Cluster(), ALL, never_stopped=True)  # type: ignore[arg-type]
    assert {key.name for key in cleared} == {"ready", "not-stopped"}


def test_an_object_that_changed_is_left_for_the_next_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A conflict is told and passed over; any other refusal ends the command."""
    found = [loss("a", State.READY), loss("b", State.READY)]
    cleared = _clear(_Cluster("votes/a/"), found, never_stopped=False)  # type: ignore[arg-type]
    assert {key.name for key in cleared} == {"b"} and "changed meanwhile" in capsys.readouterr().err
    with pytest.raises(RefusedError):
        _clear(_Cluster("votes/a/", 403), found, never_stopped=False)  # type: ignore[arg-type]
