"""Windows that are honest about gaps (docs/missions.md, "Windows").

A window is a ring of slots; a slot counts when it holds at least one number. Memory is fixed at construction, adding is
constant time, and there is no value unless nine tenths of the slots count and the last number is fresh.
"""

from quorate.missions.samples import Missing, Reading

SECOND = 1_000_000
MOST_SLOTS = 512
COVERED_BASIS_POINTS = 9_000
WHOLE = 10_000
_EMPTY = -1
_FINE = 16
"""Bits by which the mean of a slot is finer than its numbers."""


class Series:
    """Numbers of one window.

    Args:
        window: length in microseconds, at least twice `period`.
        period: microseconds between samples.
        stale: age in microseconds from which the last number says nothing about now.
    """

    __slots__ = ("_count", "_filled", "_high", "_last", "_means", "_newest", "_sum", "_top", "_total", "slots",
                 "stale", "width")  # fmt: skip

    def __init__(self, window: int, period: int, stale: int) -> None:
        self.width = max(2 * period, -(-window // MOST_SLOTS))
        # One more than fit: the newest is not over yet, and never less than the window is judged.
        self.slots = window // self.width + 1
        self.stale = stale
        self._total = [0] * self.slots
        self._count = [0] * self.slots
        self._means = [0] * self.slots
        self._high = [_EMPTY] * self.slots
        self._newest = _EMPTY
        self._filled = 0
        self._sum = 0
        self._last = _EMPTY
        self._top: int | None = _EMPTY

    def add(self, at: int, value: Reading) -> None:
        """Take a reading, not negative; one without a number leaves its slot as it is."""
        if isinstance(value, Missing):
            return
        slot = at // self.width
        if slot <= self._newest - self.slots:
            return
        if slot > self._newest:
            self._advance(slot)
        self._last = max(self._last, at)
        place = slot % self.slots
        self._total[place] += value
        self._count[place] += 1
        if value > self._high[place]:
            self._high[place] = value
            if self._top is not None and value > self._top:
                self._top = value
        self._filled += self._count[place] == 1
        # Rounded up: the mean of a window is below a floor for certain, or it is not below it.
        mean = -((-self._total[place] << _FINE) // self._count[place])
        self._sum += mean - self._means[place]
        self._means[place] = mean

    def _advance(self, slot: int) -> None:
        """Let go of what leaves the window when `slot` becomes the newest."""
        for passed in range(max(self._newest + 1, slot - self.slots + 1), slot + 1):
            place = passed % self.slots
            self._filled -= self._count[place] > 0
            self._sum -= self._means[place]
            if self._high[place] == self._top:
                self._top = None  # looked for when it is asked for
            self._total[place] = self._count[place] = self._means[place] = 0
            self._high[place] = _EMPTY
        self._newest = slot

    def known(self, now: int) -> bool:
        """Whether the window may be judged: covered, from its first slot on, and its last number fresh."""
        if self._last == _EMPTY or now - self._last > self.stale or self.covered < COVERED_BASIS_POINTS:
            return False
        return self._count[(self._newest + 1) % self.slots] > 0

    @property
    def covered(self) -> int:
        """Share of the slots that count, in basis points."""
        return self._filled * WHOLE // self.slots

    def mean(self, now: int) -> int | None:
        """Mean of the slots that count, rounded down; None while it is unknown."""
        return self._sum // self._filled >> _FINE if self.known(now) else None

    @property
    def until(self) -> int:
        """When the last number is stale."""
        return self._last + self.stale

    def maximum(self, now: int) -> int | None:
        """The highest number; None while it is unknown."""
        return self._highest() if self.known(now) else None

    def _highest(self) -> int:
        if self._top is None:
            self._top = max(self._high)
        return self._top

    def seen_above(self, bound: int, now: int) -> bool:
        """Whether some number in the window is certainly above `bound`, however many gaps there are."""
        return self._newest != _EMPTY and now // self.width - self._newest < self.slots and self._highest() > bound

    def percentile(self, basis_points: int, now: int) -> int | None:
        """The nearest-rank percentile over slot means; None while it is unknown."""
        if not self.known(now):
            return None
        ordered = sorted(mean for mean, count in zip(self._means, self._count, strict=True) if count)
        return ordered[max(0, -(-len(ordered) * basis_points // WHOLE) - 1)] >> _FINE


class Latest:
    """The last reading, and whether it still says anything about now."""

    __slots__ = ("at", "stale", "value")

    def __init__(self, stale: int) -> None:
        self.value: Reading = Missing.UNSUPPORTED
        self.at = _EMPTY
        self.stale = stale

    def add(self, at: int, value: Reading) -> None:
        """Take a reading; a missing one replaces the number, since nothing is known any more."""
        if at >= self.at:
            self.at, self.value = at, value

    def number(self, now: int) -> int | None:
        """The number; None while it is unknown."""
        if isinstance(self.value, Missing) or now - self.at > self.stale:
            return None
        return self.value
