"""Breakers: no more than so many hard actions within a time (docs/missions.md, "The ladder").

The agent counts its node's with it; the operator counts the fleet's with the same code.
"""

from collections import deque


class Breaker:
    """Counts events within a window.

    Args:
        window: microseconds.
        most: how many it remembers; a limit above it is never reached.
    """

    __slots__ = ("_times", "window")

    def __init__(self, window: int, most: int = 1_000) -> None:
        self.window = window
        self._times: deque[int] = deque(maxlen=most)

    def count(self, at: int) -> None:
        """One more happened."""
        self._times.append(at)

    def open_until(self, now: int, limit: int) -> int | None:
        """When one more than `limit` is allowed again; None: it is allowed now."""
        times = self._times
        while times and times[0] <= now - self.window:
            times.popleft()
        if len(times) < limit:
            return None
        return now + self.window if limit <= 0 else times[len(times) - limit] + self.window

    @property
    def counted(self) -> int:
        """How many are remembered, expired ones that nobody asked about among them."""
        return len(self._times)

    def forget(self) -> None:
        """Start anew."""
        self._times.clear()
