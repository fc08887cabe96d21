"""One measured figure and its baseline, printed as one line of JSON."""

import json
import sys
from dataclasses import dataclass
from statistics import quantiles


@dataclass(frozen=True)
class Figure:
    """`ratio` is value / baseline_value; `budget` bounds the value, or the ratio when `of_ratio`."""

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    budget: float
    of_ratio: bool = False
    at_least: bool = False

    @property
    def ratio(self) -> float:
        """How the value compares with its baseline in the same run."""
        return self.value / self.baseline_value if self.baseline_value else float("inf")

    @property
    def ok(self) -> bool:
        """Whether the figure keeps its budget."""
        measured = self.ratio if self.of_ratio else self.value
        return measured >= self.budget if self.at_least else measured <= self.budget

    def emit(self) -> bool:
        """Print the line; the answer is `ok`."""
        bound = (
            f"{'>=' if self.at_least else '<='} {self.budget:g}{' x baseline' if self.of_ratio else ' ' + self.unit}"
        )
        line = {
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "baseline": self.baseline,
            "baseline_value": round(self.baseline_value, 3),
            "ratio": round(self.ratio, 3),
            "budget": bound,
            "ok": self.ok,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        return self.ok


def percentile(samples: list[float], percent: int) -> float:
    """The given percentile (1…99) by linear interpolation."""
    return quantiles(samples, n=100, method="inclusive")[percent - 1]
