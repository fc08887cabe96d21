"""The agent's clock: the machine's time since boot, suspension included, in microseconds since the epoch."""

import time


class BootClock:
    """Wall time as it was at start plus CLOCK_BOOTTIME: a wall clock that is set back or forth changes nothing."""

    def __init__(self) -> None:
        self._anchor = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def now(self) -> int:
        """Microseconds; never goes back."""
        return (self._anchor + time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1_000
