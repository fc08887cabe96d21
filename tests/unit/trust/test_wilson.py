"""Wilson's lower bound in integers."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.trust.wilson import Z, wilson

PAIRS = st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("good", "all_", "expected"),
    [(0, 0, 0), (0, 1, 0), (1, 1, 2065), (9, 10, 5958), (90, 100, 8256), (10**6, 10**6, 9999), (0, 10**6, 0)],
)
def test_numbers(good: int, all_: int, expected: int) -> None:
    """Known values; no observation gives 0."""
    assert wilson(good, all_) == expected


@given(PAIRS)
def test_it_is_the_floor_of_the_exact_bound(pair: tuple[int, int]) -> None:
    """The result b satisfies the defining inequality exactly: (p − b)² ≥ z²·b(1−b)/n below, not above."""
    good, all_ = pair
    bound = wilson(good, all_)
    z = Fraction(Z, 10**4)
    p = Fraction(good, all_)

    def below(value: Fraction) -> bool:
        return value < p and (p - value) ** 2 * all_ >= z * value * (1 - value)

    assert bound == 0 or below(Fraction(bound, 10**4))
    # The square root is rounded up before the floor: at most one basis point is lost.
    assert not below(Fraction(bound + 2, 10**4))


@given(PAIRS)
def test_it_stays_below_the_share_and_grows_with_successes(pair: tuple[int, int]) -> None:
    """The bound never exceeds s/n, and one more success never lowers it."""
    good, all_ = pair
    assert wilson(good, all_) * all_ <= good * 10**4
    assert good == all_ or wilson(good + 1, all_) >= wilson(good, all_)


@pytest.mark.parametrize(("good", "all_"), [(-1, 1), (2, 1), (0, -1)])
def test_impossible_counts_are_refused(good: int, all_: int) -> None:
    """S outside 0…n is an error, not a number."""
    with pytest.raises(ValueError, match="successes"):
        wilson(good, all_)
