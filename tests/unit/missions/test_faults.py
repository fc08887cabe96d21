"""A day of faults on a node: never on unknown, never twice, nothing touched in Audit or Warn, memory flat."""

import gc
import tracemalloc

import pytest

from tests.unit.missions.faults import Day

SHORT = range(6)
LONG = range(1_000)


@pytest.mark.parametrize("seed", SHORT)
def test_a_day_of_faults(seed: int) -> None:
    """In a random day no decision breaks a property, and something is done."""
    day = Day(seed)
    day.run()
    assert day.acts > 10
    assert day.made > day.acts


@pytest.mark.long
def test_a_thousand_days_of_faults() -> None:
    """In a thousand random days no decision breaks a property."""
    assert sum(_acts(seed) for seed in LONG) > 10 * len(LONG)


def _acts(seed: int) -> int:
    day = Day(seed)
    day.run()
    return day.acts


def test_memory_stays_flat() -> None:
    """What an engine holds after some days is what it held after the first."""
    day = Day(1)
    tracemalloc.start()
    sizes = []
    for number in range(1, 4):
        while day.now < number * 6 * 3_600_000_000:
            day.now += 600_000_000
            day.flush()
            if not day.pods:
                day.step([day.start(gpu) for gpu in ("GPU-0", "GPU-1", "GPU-2", "GPU-3")])
            day.episode()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[2] < sizes[1] + 60_000, sizes
