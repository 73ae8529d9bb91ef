"""How a verdict follows from numbers: paired differences, a t interval, one of five answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

SHOWS = "shows"
NOT_HERE = "does not show at this scale"
OPPOSITE = "the opposite shows"
UNTESTABLE = "cannot be tested here"
NOT_RUN = "not run yet"

# Quantiles of Student's t at 97.5%, by degrees of freedom: enough without scipy.
T975 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% t interval."""

    mean: float
    low: float
    high: float
    count: int

    def text(self, factor: float = 100, unit: str = " points") -> str:
        """In percentage points, or what `factor` makes of it."""
        return (f"{factor * self.mean:+.2f}{unit} ({factor * self.low:+.2f} to {factor * self.high:+.2f}; "
                f"{self.count} pairs)")


def t_interval(values: Sequence[float]) -> Interval:
    """The mean of at least two values, with its 95% interval; ends are infinite for fewer."""
    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return Interval(mean, -math.inf, math.inf, count)
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    quantile = T975[count - 1] if count - 1 < len(T975) else 1.96 + 2.5 / (count - 1)
    half = quantile * math.sqrt(variance / count)
    return Interval(mean, mean - half, mean + half, count)


def wilson(count: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927): it stays within 0 and 1, also for none or all of few."""
    share, extra = count / of, z * z / of
    middle, half = share + extra / 2, z * math.sqrt(share * (1 - share) / of + extra / of / 4)
    return max(0.0, (middle - half) / (1 + extra)), min(1.0, (middle + half) / (1 + extra))


def verdict(differences: Sequence[float]) -> str:
    """Of paired differences, counted so that the paper's statement makes them positive: whether the
    interval lies on the paper's side of 0, across 0, or on the other side. Three pairs at least."""
    if len(differences) < 3:
        return NOT_RUN
    interval = t_interval(differences)
    return SHOWS if interval.low > 0 else OPPOSITE if interval.high < 0 else NOT_HERE


def combine(verdicts: Sequence[str]) -> str:
    """Of several numbers that a statement needs all of: what they agree on, else that it does not show."""
    return verdicts[0] if len(set(verdicts)) == 1 else NOT_RUN if NOT_RUN in verdicts else NOT_HERE
