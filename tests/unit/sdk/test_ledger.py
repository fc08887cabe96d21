"""What the loop says, merged in place: exact, bounded, never waited for."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate_mission import _ledger
from quorate_mission._ledger import Ledger, bucket_of


def counts(ledger: Ledger) -> dict[str, dict[int, int]]:
    return {source: dict(map(tuple, pairs)) for source, pairs in ledger.take().get("latency", {}).items()}


@given(st.lists(st.integers(0, 2**34)))
def test_a_report_has_each_request_once(values: list[int]) -> None:
    """The counts of a report are those of the requests since the last one."""
    ledger, expected = Ledger(), dict[int, int]()
    for value in values:
        ledger.latency(value, "")
        expected[bucket_of(value)] = expected.get(bucket_of(value), 0) + 1
    assert counts(ledger) == ({"": expected} if expected else {})
    assert counts(ledger) == {}


def test_threads_lose_nothing() -> None:
    """Requests counted by many threads, while reports are made, are all reported; at worst as lost."""
    ledger, reports, done = Ledger(), list[dict[str, Any]](), threading.Event()

    def count() -> None:
        for value in range(20_000):
            ledger.latency(value, "")

    def take() -> None:
        while not done.is_set():
            reports.append(ledger.take())

    taker = threading.Thread(target=take)
    workers = [threading.Thread(target=count) for _ in range(4)]
    taker.start()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done.set()
    taker.join()
    reports.append(ledger.take())
    counted = sum(n for report in reports for _, n in report.get("latency", {"": []})[""])
    assert counted + sum(report.get("lost", 0) for report in reports) == 80_000
    assert counted > 40_000


def test_a_lock_that_is_taken_is_not_waited_for() -> None:
    """A signal handler that interrupts a call, or the speaker in its step, delays nobody; the request is counted."""
    ledger = Ledger()
    with ledger._lock:
        ledger.latency(5, "")
    assert counts(ledger) == {"": {5: 1}}


def test_sources_are_bounded() -> None:
    """Four sources; what others say, or what is no name, is counted as lost."""
    ledger = Ledger()
    for number in range(10):
        ledger.latency(1, f"s{number}")
    ledger.latency(1, 'no"name')
    report = ledger.take()
    assert sorted(report["latency"]) == ["s0", "s1", "s2"]
    assert report["lost"] == 8


def test_objectives_are_bounded_and_the_last_value_counts() -> None:
    """Sixteen names in a report; values that were not set again are not said again."""
    ledger = Ledger()
    for number in range(20):
        ledger.objective(f"m{number}", number)
    ledger.objective("m0", -1)
    report = ledger.take()
    assert len(report["objective"]) == 16
    assert report["objective"]["m0"] == -1
    assert report["lost"] == 4
    assert sorted(ledger.take()) == ["span"]


def test_latencies_of_long_ago_are_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was gathered over more than ten seconds says nothing about now; progress still does."""
    now = [0]
    monkeypatch.setattr(_ledger.time, "monotonic_ns", lambda: now[0])
    ledger = Ledger()
    ledger.latency(5, "")
    ledger.gauge("Iteration", 3)
    now[0] = 11 * 10**9
    assert ledger.take() == {"span": 10_000_000, "gauges": {"Iteration": 3}}


def test_memory_does_not_grow_without_an_agent() -> None:
    """Nobody takes anything: what is kept is bounded."""
    ledger = Ledger()
    for number in range(10_000):
        ledger.latency(number, "")
        ledger.objective(f"m{number}", 1)
        ledger.lose()
        ledger.runs.append({})
    with ledger._lock:
        for number in range(20_000):
            ledger.latency(number, "")
    assert (len(ledger.runs), len(ledger._late)) == (64, 16_384)
    assert len(ledger._objective) == 16
    report = ledger.take()
    assert report["lost"] == 9_984 + 10_000 + 20_000 - 16_384
    assert sum(n for _, n in report["latency"][""]) == 10_000 + 16_384
    assert "lost" not in ledger.take()
