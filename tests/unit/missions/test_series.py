"""Windows: equal to a naive model, honest about gaps, of fixed size."""

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.missions.samples import Missing
from quorate.missions.series import SECOND, Series

WINDOW, PERIOD, STALE = 20 * SECOND, SECOND, 5 * SECOND
STEPS = st.lists(
    st.tuples(st.integers(0, 9 * SECOND), st.one_of(st.integers(0, 10_000), st.sampled_from(Missing))), max_size=120
)


class Naive:
    """The same window as a list of every sample."""

    def __init__(self, width: int, slots: int) -> None:
        self.width, self.slots = width, slots
        self.samples: list[tuple[int, int]] = []

    def slot_values(self) -> list[list[int]]:
        newest = max(at for at, _ in self.samples) // self.width
        kept = range(newest - self.slots + 1, newest + 1)
        return [[value for at, value in self.samples if at // self.width == slot] for slot in kept]

    def known(self, now: int) -> bool:
        if not self.samples or now - max(at for at, _ in self.samples) > STALE:
            return False
        values = self.slot_values()
        return bool(values[0]) and sum(map(bool, values)) * 10_000 // self.slots >= 9_000


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_equal_to_a_list_of_samples(steps: list[tuple[int, int | Missing]]) -> None:
    """Mean, maximum and percentile are those of the samples in the window, and known exactly when they may be."""
    series = Series(WINDOW, PERIOD, STALE)
    naive = Naive(series.width, series.slots)
    now = 0
    for passed, value in steps:
        now += passed
        series.add(now, value)
        if not isinstance(value, Missing):
            naive.samples.append((now, value))
        assert series.known(now) is naive.known(now)
        if not naive.known(now):
            assert (series.mean(now), series.maximum(now), series.percentile(5_000, now)) == (None, None, None)
            continue
        means = [sum(values) // len(values) for values in naive.slot_values() if values]
        assert series.mean(now) == sum(means) // len(means)
        assert series.maximum(now) == max(value for values in naive.slot_values() for value in values)
        assert series.percentile(9_500, now) == sorted(means)[-(-len(means) * 9_500 // 10_000) - 1]


def test_never_less_than_the_window_is_judged() -> None:
    """With a sample each second there is no value until a whole window has passed."""
    series = Series(WINDOW, PERIOD, STALE)
    known = []
    for second in range(30):
        series.add(second * SECOND, 1)
        known.append(series.known(second * SECOND))
    assert known.index(True) == 20
    assert all(known[20:])


def test_a_long_window_has_a_fixed_number_of_slots() -> None:
    """A window of a month holds no more than 513 slots."""
    assert Series(30 * 86_400 * SECOND, PERIOD, STALE).slots <= 513
