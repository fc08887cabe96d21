"""Which versions are accepted (docs/contracts.md, "Versions")."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.conditions import Reason
from quorate.contracts.window import DUAL_ACCEPT_SECONDS, Cause, Count, Identity, Window, judge_offer

OLD = Identity("v2026.02.01-9", "sha256:" + "0a" * 32)
NEW = Identity("v2026.02.01-10", "sha256:" + "0b" * 32)
OTHER = "sha256:" + "0c" * 32
SINCE = 1_000
WINDOW = Window(NEW, OLD, SINCE)
END = SINCE + DUAL_ACCEPT_SECONDS
CLOSED = Window(NEW, OLD, SINCE, cut_over=True)


@pytest.mark.parametrize(
    ("window", "now", "version", "digest", "reason"),
    [
        (WINDOW, SINCE, NEW.version, NEW.digest, Reason.ACCEPTED),
        (WINDOW, SINCE, OLD.version, OLD.digest, Reason.ACCEPTED),
        (WINDOW, END - 1, OLD.version, OLD.digest, Reason.ACCEPTED),
        (WINDOW, END, OLD.version, OLD.digest, Reason.VERSION_UNSUPPORTED),
        (CLOSED, SINCE, OLD.version, OLD.digest, Reason.VERSION_UNSUPPORTED),
        (WINDOW, SINCE, "v2026.02.01-8", OTHER, Reason.VERSION_UNSUPPORTED),
        (WINDOW, SINCE, "v2026.01.31-900", OTHER, Reason.VERSION_UNSUPPORTED),
        (WINDOW, SINCE, "v2026.02.01-11", OTHER, Reason.NOT_IN_FORCE),
        (WINDOW, SINCE, NEW.version, OTHER, Reason.FORK),
        (WINDOW, SINCE, OLD.version, OTHER, Reason.FORK),
        (CLOSED, SINCE, OLD.version, OTHER, Reason.FORK),
        (WINDOW, SINCE, "v2026.2.1", OTHER, Reason.INVALID),
        (WINDOW, SINCE, "v2026.02.30", OTHER, Reason.INVALID),
        (WINDOW, SINCE, NEW.version, "0b", Reason.INVALID),
        (Window(NEW), SINCE, NEW.version, NEW.digest, Reason.ACCEPTED),
        (Window(NEW), SINCE, OLD.version, OLD.digest, Reason.VERSION_UNSUPPORTED),
    ],
)
def test_table(window: Window, now: int, version: str, digest: str, reason: Reason) -> None:
    """The version in force and the one before until the cut-over; order is that of numbers: -10 follows -9."""
    verdict = window.judge(version, digest, now)
    assert verdict.reason is reason
    assert verdict.accepted is (reason is Reason.ACCEPTED)
    assert verdict.alarm is (reason is Reason.FORK)


def test_a_straggler_is_told_what_to_take() -> None:
    """VersionUnsupported names version and digest in force."""
    message = WINDOW.judge(OLD.version, OLD.digest, END).message
    assert NEW.version in message
    assert NEW.digest in message


@pytest.mark.parametrize(
    ("window", "counted", "holding", "now", "cause"),
    [
        (WINDOW, "ab", "ab", SINCE, Cause.ALL_HOLD),
        (WINDOW, "ab", "abz", SINCE, Cause.ALL_HOLD),
        (WINDOW, "ab", "a", END - 1, None),
        (WINDOW, "ab", "a", END, Cause.WINDOW_OVER),
        (WINDOW, "", "", END - 1, None),
        (WINDOW, "", "", END, Cause.WINDOW_OVER),
        (CLOSED, "ab", "ab", END, None),
        (Window(NEW), "ab", "ab", END, None),
    ],
)
def test_the_cut_over_is_counted(window: Window, counted: str, holding: str, now: int, cause: Cause | None) -> None:
    """It comes when every counted node holds, else with the window's end; nobody is not everybody; it comes once."""
    assert window.due(Count.of(counted, holding), now) is cause


@pytest.mark.parametrize(
    ("held", "offered", "reason"),
    [
        (None, OLD, Reason.ACCEPTED),
        (OLD, NEW, Reason.ACCEPTED),
        (NEW, OLD, Reason.ROLLBACK),
        (NEW, NEW, Reason.REPLAYED),
        (NEW, Identity(NEW.version, OTHER), Reason.FORK),
        (NEW, Identity("soon", OTHER), Reason.INVALID),
    ],
)
def test_a_receiver_goes_forward_only(held: Identity | None, offered: Identity, reason: Reason) -> None:
    """An older version is a rollback, another content of the same version a fork."""
    assert judge_offer(held, offered).reason is reason


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2 * DUAL_ACCEPT_SECONDS), st.integers(0, 10**6))
def test_acceptance_only_ends(counted: int, holding: int, later: int, more: int) -> None:
    """What is no longer accepted is never accepted again, and a due cut-over stays due."""
    nodes = [str(index) for index in range(counted)]
    count, now = Count.of(nodes, nodes[:holding]), SINCE + later
    if OLD not in WINDOW.accepted(now):
        assert OLD not in WINDOW.accepted(now + more)
    if WINDOW.due(count, now) is not None:
        assert WINDOW.due(count, now + more) is not None
