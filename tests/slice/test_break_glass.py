"""Somebody changes the database's guards behind the operator's back: entered, told, verified, acknowledged."""

import json
import urllib.request
from collections.abc import Iterator

import psycopg
import pytest

from quorate_cli.cluster import Cluster
from quorate_cli.main import run
from quorate_cli.place import connect
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.fleet import Obj, condition, wait_for


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with an operator."""
    with Sandbox.up("glass", fast=True, state_root=tmp_path_factory.mktemp("glass")) as running:
        yield running


def guarded(cluster: Cluster) -> tuple[str, str]:
    """Condition `Guarded` of the AuditCheckpoint of chain `system`."""
    return condition(cluster.find("AuditCheckpoint", "system") or {}, "Guarded")


def events(cluster: Cluster) -> list[Obj]:
    """Events that tell of a changed catalogue."""
    found = cluster.request("GET", "/apis/events.k8s.io/v1/events")["items"]
    return [event for event in found if event["reason"] == "CatalogueChanged"]


def metric(mesh: Sandbox, name: str) -> float:
    """A gauge or counter of the operator."""
    port = mesh.status()["ports"]["operator"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return float(next((line.split()[1] for line in lines if line.startswith(f"{name} ")), 0))


def test_break_glass(mesh: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A trigger that was off for a moment is in the log, an Event, metrics and the status, until acknowledged."""
    cluster = connect(str(mesh.kubeconfig))
    wait_for("the recorded catalogue", lambda: guarded(cluster) == ("True", "DdlGuard"))
    assert (metric(mesh, "quorate_ddl_guard"), metric(mesh, "quorate_catalogue_changed")) == (1, 0)
    with psycopg.connect(mesh.dsn()) as connection:
        connection.execute("ALTER TABLE quorate.content DISABLE TRIGGER append_only")
        connection.execute("ALTER TABLE quorate.content ENABLE ALWAYS TRIGGER append_only")
    wait_for("the alarm", lambda: guarded(cluster) == ("False", "CatalogueChanged"))
    wait_for("an Event", lambda: events(cluster))
    assert "append_only on quorate.content was changed and put back" in events(cluster)[0]["note"]
    assert metric(mesh, "quorate_catalogue_changed") == 1 and metric(mesh, "quorate_catalogue_changes_total") == 1
    verified = 'quorate_verification_success_timestamp_seconds{chain="system",extent="Full"}'
    wait_for("a full verification", lambda: metric(mesh, verified) > 0)

    capsys.readouterr()
    assert run(["audit", "catalogue", "show", "--dsn", mesh.dsn(), "-o", "json"]) == 1
    (shown,) = json.loads(capsys.readouterr().out)
    assert any(sentence.startswith("superuser postgres ran ALTER TABLE") for sentence in shown["entered"])
    assert run(["doctor", "--kubeconfig", str(mesh.kubeconfig), "--dsn", mesh.dsn()]) == 1
    assert "ddlGuard=true" in capsys.readouterr().out
    assert (
        run(["audit", "catalogue", "acknowledge", shown["recorded"], "--reason", "a drill", "--dsn", mesh.dsn()]) == 0
    )
    wait_for("the acknowledgement", lambda: guarded(cluster) == ("True", "DdlGuard"))
    assert metric(mesh, "quorate_catalogue_changed") == 0
