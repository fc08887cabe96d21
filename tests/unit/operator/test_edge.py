"""The edge in small: view, status patches, configuration, kubeconfig, logs, probes, Events."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.registry import KINDS
from quorate.redaction import redact
from quorate_agent import logs as agent_logs
from quorate_operator import logs
from quorate_operator.config import ConfigError, parse
from quorate_operator.errors import Stalled, Waiting
from quorate_operator.http.health import Health
from quorate_operator.kube import connection
from quorate_operator.kube.conditions import failure_status, status_with
from quorate_operator.kube.events import Recorder
from quorate_operator.kube.resources import OWN_KINDS, Key, key_of
from quorate_operator.kube.status import merge_patch, status_patch
from quorate_operator.reconcile.registry import reconcilers
from quorate_operator.view import View

from .fakes import apply_merge, node

NODE_ID = "00000000-0000-4000-8000-000000000000"
_json = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
_object = st.dictionaries(st.sampled_from("abcd"), _json, max_size=4)


class TestView:
    def test_an_older_version_never_replaces_a_newer(self) -> None:
        """The answer to our own write stands against the late watch event before it."""
        view = View()
        assert view.fold(node("a", 5, x="new"))
        assert not view.fold(node("a", 4, x="old"))
        assert not view.fold(node("a", 5, x="new"))
        assert view.get(Key("MeshNode", "", "a"))["spec"]["x"] == "new"

    def test_a_recreated_object_replaces_the_deleted_one(self) -> None:
        """Another uid is another object, whatever its version."""
        view = View()
        view.fold(node("a", 5))
        assert view.fold({**node("a", 3), "metadata": {**node("a", 3)["metadata"], "uid": "other"}})
        assert view.remove(Key("MeshNode", "", "a"), "uid-a") is None
        assert view.count("MeshNode") == 1

    def test_indexes_follow_changes_and_deletions(self) -> None:
        """Relations are those of the current objects."""
        view = View()
        view.fold(node("a", 1, trustDomains=["d", "e"], nodeId="n1"))
        view.fold(node("b", 1, trustDomains=["e"]))
        assert [key.name for key in view.by("MeshNode", "domain", "e")] == ["a", "b"]
        view.fold(node("a", 2, trustDomains=["d"], nodeId="n1"))
        assert [key.name for key in view.by("MeshNode", "domain", "e")] == ["b"]
        view.remove(Key("MeshNode", "", "b"))
        assert view.by("MeshNode", "domain", "e") == []
        assert [key.name for key in view.by("MeshNode", "nodeId", "n1")] == ["a"]

    def test_a_listing_removes_what_is_gone_but_not_what_is_newer(self) -> None:
        """Deletions that a watch lost are found; an object made after the listing stays."""
        view = View()
        for name, version in (("gone", 5), ("kept", 5), ("newer", 12)):
            view.fold(node(name, version))
        view.retain("MeshNode", {Key("MeshNode", "", "kept")}, 10)
        assert [key.name for key in view.keys("MeshNode")] == ["kept", "newer"]

    def test_content_is_kept_as_its_digest(self) -> None:
        """The text of a content ConfigMap does not stay in memory."""
        view = View()
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "n", "resourceVersion": "1", "managedFields": [{}]},
            "data": {"content": "{}"},
        }
        view.fold(body)
        held = view.get(key_of(body))
        assert "data" not in held
        assert "managedFields" not in held["metadata"]
        assert held["contentDigest"] == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        assert "data" in body


class TestStatus:
    @given(_object, _object)
    def test_the_merge_patch_turns_one_status_into_the_other(self, current: dict, wanted: dict) -> None:
        """RFC 7386 applied to the patch gives what was wanted, and equal statuses give no patch."""
        patch = merge_patch(current, wanted)
        assert apply_merge(current, patch) == wanted
        assert (patch == {}) == (current == wanted)

    def test_a_patch_names_the_gathered_version(self) -> None:
        """A later write by anybody else makes it a conflict."""
        patch = status_patch(node("a", 42), {"x": 1})
        assert patch == {"metadata": {"resourceVersion": "42"}, "status": {"x": 1}}
        assert status_patch({**node("a"), "status": {"x": 1}}, {"x": 1}) is None

    def test_success_removes_what_an_error_said(self) -> None:
        """Stalled and Reconciling do not outlive their cause; other conditions stay."""
        obj = node("a")
        obj["status"] = failure_status(obj, Stalled("Invalid", "no"), 100)
        assert [(item["type"], item["status"]) for item in obj["status"]["conditions"]] == [
            ("Ready", "False"),
            ("Stalled", "True"),
        ]
        obj["status"] = failure_status(obj, Waiting("NamespaceMissing", "no"), 101)
        assert {item["type"] for item in obj["status"]["conditions"]} == {"Ready", "Reconciling"}
        done = status_with(obj, {"lastEntry": "x"}, [], now=102)
        assert {item["type"] for item in done["conditions"]} == {"Ready"}
        assert (done["lastEntry"], done["observedGeneration"]) == ("x", 1)


class TestConfig:
    def parse(self, *args: str, **env: str) -> Any:
        return parse(["--node-id", NODE_ID, "--dsn", "postgres://u:p@h/d", *args], env)

    def test_flags_beat_the_environment(self) -> None:
        """Each flag has a twin, and the flag wins; pins add up."""
        pin = f"m/d=sha256:{'0' * 64}"
        config = self.parse("--lease-seconds", "3", "--pin", pin, QUORATE_LEASE_SECONDS="9", QUORATE_RETENTION_DAYS="7")
        assert (config.lease_seconds, config.retention_days) == (3, 7)
        assert config.pins == {"m/d": f"sha256:{'0' * 64}"}
        assert config.renew_deadline_seconds < config.lease_seconds

    @pytest.mark.parametrize(
        ("args", "sentence"),
        [
            (["--pin", "m/d=abc"], "--pin 'm/d=abc': must be <meshId>/<name>=sha256:<64 hex digits>"),
            (["--http", "8080"], "--http '8080': must be HOST:PORT with a port up to 65535"),
            (["--lease-seconds", "0"], "--lease-seconds '0': must be at least 1"),
            (["--lease-seconds", "nan"], "--lease-seconds 'nan': must be at least 1"),
            (["--retention-days", "x"], "--retention-days 'x': must be a number"),
            (["--node-id", "X"], "--node-id 'X': must be a lower-case UUID"),
        ],
    )
    def test_bad_values_are_named(self, args: list[str], sentence: str) -> None:
        """Field, value and rule."""
        with pytest.raises(ConfigError) as caught:
            self.parse(*args)
        assert str(caught.value) == sentence

    def test_the_connection_string_is_not_printed(self) -> None:
        """It may hold a password."""
        assert "p@h" not in repr(self.parse())


class TestConnection:
    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (None, "the file does not exist"),
            ("a: [", "is not valid YAML"),
            ("[]", "must be a YAML object"),
            ("current-context: x", "contexts: no entry named 'x'"),
        ],
    )
    def test_a_kubeconfig_that_cannot_be_used_is_named(self, tmp_path: Path, text: str | None, sentence: str) -> None:
        """File and rule in one sentence."""
        path = tmp_path / "config"
        if text is not None:
            path.write_text(text)
        with pytest.raises(connection.KubeconfigError, match=f"kubeconfig {path}: {sentence}"):
            connection.load(path, env={})

    def test_without_a_kubeconfig_a_pod_is_needed(self) -> None:
        """Outside a Pod the flag is required."""
        with pytest.raises(connection.KubeconfigError, match="--kubeconfig: is required outside a Pod"):
            connection.load(None, env={})


class TestLogs:
    def test_a_line_is_json_with_object_and_reason(self) -> None:
        """Time, level, logger and message are always there."""
        record = logging.makeLogRecord({"name": "n", "levelname": "INFO", "msg": "did %s", "args": ("it",)})
        record.object, record.reason = "Vote a/b", "Duplicate"
        line = json.loads(logs.JsonFormatter().format(record))
        assert (line["message"], line["object"], line["reason"]) == ("did it", "Vote a/b", "Duplicate")

    @pytest.mark.parametrize(
        "text",
        [
            "postgres://quorate:hunter2@db/q",
            "password=hunter2 host=db",
            "Authorization: Bearer hunter2",
            "token: hunter2",
            "PRIVATE+KEY+log+hunter2",
            "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        ],
    )
    def test_secrets_never_reach_a_line(self, text: str) -> None:
        """Whatever message or traceback carried it, of the operator or the agent."""
        assert "hunter2" not in redact(text)
        raised = (ValueError, ValueError(text), None)
        record = logging.makeLogRecord({"msg": text, "exc_info": raised})
        for each in (logs, agent_logs):
            assert "hunter2" not in each.JsonFormatter().format(record)


class TestHealth:
    def health(self, **values: Any) -> Health:
        return Health(**{"started": 0.0, "clock": lambda: 100.0, "database": True, **values})

    def test_a_silent_planner_or_watch_is_unhealthy(self) -> None:
        """A leader must beat and must see its own Lease renewed."""
        alive = {"leader": True, "watch_beat": 99.0, "planner_beat": lambda: 99.0}
        assert self.health(**alive).problems() == []
        assert self.health(**{**alive, "planner_beat": lambda: 0.0}).problems() == ["planner: no heartbeat for 30 s"]
        assert self.health(**{**alive, "watch_beat": 0.0}).problems() == [
            "watch: no renewal of our own Lease seen for 60 s"
        ]

    def test_a_standby_is_ready_while_the_api_server_answers(self) -> None:
        """Nothing has to be listed to stand by; a leader must have listed everything."""
        assert self.health(election_beat=lambda: 99.0).missing() == []
        assert self.health(election_beat=lambda: 0.0).missing() == ["API server"]
        assert self.health(leader=True).missing() == ["not every kind was listed"]
        assert self.health(leader=True, listed=True, database=False).missing() == ["database"]


class TestEvents:
    def recorder(self, capacity: int = 512) -> Recorder:
        return Recorder(None, "test", clock=lambda: 1000.0, capacity=capacity)  # type: ignore[arg-type]

    def test_repetitions_become_a_series(self) -> None:
        """A hundred refusals of one kind cost a request per doubling, all to one Event."""
        recorder = self.recorder()
        for _ in range(100):
            recorder.record(node("a"), "Warning", "BadSignature", "no")
        events = [recorder._queue.get_nowait() for _ in range(recorder._queue.qsize())]
        assert [event.get("series", {}).get("count", 1) for event in events] == [1, 2, 4, 8, 16, 32, 64]
        assert len({event["metadata"]["name"] for event in events}) == 1

    def test_a_full_queue_drops_instead_of_waiting(self) -> None:
        """A decision never waits for its Event."""
        recorder = self.recorder(capacity=2)
        for name in "abc":
            recorder.record(node(name), "Normal", "Executed", "yes")
        assert recorder._queue.qsize() == 2


def test_every_kind_has_one_reconciler_and_the_paths_of_its_definition() -> None:
    """The operator's table of kinds is that of the models."""
    assert {(item.kind, item.plural, item.namespaced) for item in OWN_KINDS} == {
        (item.kind, item.plural, item.namespaced) for item in KINDS
    }
    made_of_policies = ["ConfigMap", "DaemonSet"]
    assert [item.kind for item in reconcilers()] == [*(item.kind for item in OWN_KINDS), *made_of_policies]
