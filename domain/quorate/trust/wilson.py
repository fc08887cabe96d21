"""The lower end of what a few observations say: Wilson's bound, in basis points (governance.md, "Trust")."""

from math import isqrt

Z = 38_416
"""z² of 95 %, 1.96², times 10⁴."""


def wilson(successes: int, observations: int) -> int:
    """⌊(10⁴(2·10⁴s + Z) − ⌈√(10⁸(Z²n + 4·10⁴Zs(n−s))/n)⌉) / (2(10⁴n + Z))⌋, at least 0; n = 0 gives 0.

    Raises:
        ValueError: not 0 ≤ s ≤ n.
    """
    s, n = successes, observations
    if not 0 <= s <= n:
        raise ValueError(f"successes {s} must be between 0 and observations, {n}")
    if n == 0:
        return 0
    # r ≥ √(x/n) for an integer r exactly where r² ≥ ⌈x/n⌉.
    square = -(-(10**8 * (Z * Z * n + 4 * 10**4 * Z * s * (n - s))) // n)
    root = isqrt(square - 1) + 1
    return max(0, (10**4 * (2 * 10**4 * s + Z) - root) // (2 * (10**4 * n + Z)))
