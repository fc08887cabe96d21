"""Which rules are due without a sample: a heap in which only each rule's last time counts."""

from heapq import heapify, heappop, heappush

from quorate.missions.gate import Watch

SPARE = 4_096
"""Entries that no longer count are swept when there are so many more than rules."""


class Schedule:
    """Times of rules, in microseconds."""

    __slots__ = ("_heap", "_pushed", "_waiting")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Watch]] = []
        self._pushed = 0
        self._waiting = 0

    def put(self, watch: Watch, due: int | None) -> None:
        """Judge a rule at `due`, or not without a sample."""
        if due is not None and due != watch.due:
            self._pushed += 1
            heappush(self._heap, (due, self._pushed, watch))
            if len(self._heap) > SPARE + self._waiting * 2:
                self._sweep(watch, due)
        watch.due = due

    def _sweep(self, watch: Watch, due: int) -> None:
        watch.due = due
        self._heap = [entry for entry in self._heap if entry[2].due == entry[0]]
        self._waiting = len(self._heap)
        heapify(self._heap)

    def take(self, now: int) -> list[Watch]:
        """The rules that are due, in the order of their times."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            due, _, watch = heappop(self._heap)
            if watch.due == due:
                watch.due = None
                found.append(watch)
        return found

    @property
    def next(self) -> int | None:
        """The next time; None: nothing is due."""
        while self._heap and self._heap[0][2].due != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None
