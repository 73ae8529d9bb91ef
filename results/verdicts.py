"""How a verdict follows from numbers: paired differences, a t interval, one of four answers; and a fifth for
what our code satisfies by construction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Sequence

import numpy as np

from results.pages import Text, joined, say

REPRODUCED = Text("reproduced", "复现")
NOT_HERE = Text("not reproduced at this scale", "在这个规模上未能复现")
OPPOSITE = Text("opposite", "结果相反")
NOT_TESTED = Text("not tested", "未检验")
BY_CONSTRUCTION = Text("by construction", "由代码的写法保证")   # which confirms our code, not the paper
NOT_RUN = say("{} (not all runs are there)", "{}（实验尚未做完）", NOT_TESTED)

# Quantiles of Student's t at 97.5%, by degrees of freedom: enough without scipy.
T975 = (math.nan, 12.70620, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814,
        2.20099, 2.17881, 2.16037, 2.14479, 2.13145, 2.11991, 2.10982, 2.10092, 2.09302, 2.08596)
# How far from 0 the mean must be, in standard errors, for t to exceed that quantile with a probability of 80%
# (the noncentral t distribution).
SEEN = (math.nan, 16.334, 5.653, 4.256, 3.761, 3.514, 3.367, 3.270, 3.201, 3.150, 3.110, 3.078, 3.053, 3.031,
        3.013, 2.998, 2.985, 2.973, 2.963, 2.954, 2.945)


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% t interval."""

    mean: float
    low: float
    high: float
    count: int

    def text(self, factor: float = 100, unit: Text | str = Text(" percentage points", " 个百分点")) -> Text:
        """In percentage points, or what `factor` makes of it."""
        return say("{:+.2f}{} ({:+.2f} to {:+.2f}; {} pairs)", "{:+.2f}{}（{:+.2f} 至 {:+.2f}；{} 对）",
                   factor * self.mean, unit, factor * self.low, factor * self.high, self.count)


def t_interval(values: Sequence[float]) -> Interval:
    """The mean of at least two values, with its 95% interval; ends are infinite for fewer."""
    count = len(values)
    if not all(map(math.isfinite, values)):   # some loss was no number
        return Interval(sum(values) / count, math.nan, math.nan, count)
    mean = fmean(values)
    if count < 2:
        return Interval(mean, -math.inf, math.inf, count)
    quantile = T975[count - 1] if count - 1 < len(T975) else 1.96 + 2.5 / (count - 1)
    half = quantile * stdev(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def smallest_seen(values: Sequence[float]) -> float:
    """The effect that so many pairs, spread as these are, would show in four of five repetitions: their
    interval would lie above 0. At most 21 pairs."""
    return SEEN[len(values) - 1] * stdev(values) / math.sqrt(len(values))


def wilson(count: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927): it stays within 0 and 1, also for none or all of few."""
    share, extra = count / of, z * z / of
    middle, half = share + extra / 2, z * math.sqrt(share * (1 - share) / of + extra / of / 4)
    return max(0.0, (middle - half) / (1 + extra)), min(1.0, (middle + half) / (1 + extra))


def verdict(differences: Sequence[float]) -> Text:
    """Of paired differences, counted so that the paper's statement makes them positive: whether the
    interval lies on the paper's side of 0, across 0, or on the other side. Three pairs at least."""
    if len(differences) < 3:
        return NOT_RUN
    interval = t_interval(differences)
    return REPRODUCED if interval.low > 0 else OPPOSITE if interval.high < 0 else NOT_HERE


def combine(verdicts: dict[Text | str, Text]) -> Text:
    """Of several numbers that a statement needs all of, by name: what they agree on, else that it is not
    reproduced; numbers that say the opposite are named."""
    found = set(verdicts.values())
    if NOT_RUN in found:
        return NOT_RUN
    if len(found) == 1:
        return found.pop()
    opposite = [name for name, one in verdicts.items() if one == OPPOSITE]
    return say("{} (opposite: {})", "{}（结果相反的部分：{}）", NOT_HERE, joined(opposite)) if opposite else NOT_HERE


# ------------------------------------------------------------------- many comparisons

def p_value(values: Sequence[float]) -> float:
    """Two-sided, of paired differences: how often Student's t is as far from 0 by chance."""
    mean, spread, freedom = fmean(values), stdev(values) / math.sqrt(len(values)), len(values) - 1
    if not spread:
        return 0.0 if mean else 1.0
    ends = np.linspace(0.0, abs(mean) / spread, 100_001)
    density = (1 + ends ** 2 / freedom) ** (-(freedom + 1) / 2)
    gammas = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    height = math.exp(gammas) / math.sqrt(freedom * math.pi)
    area = ends[1] * float(density[1:].sum() + density[:-1].sum()) / 2   # the trapezoidal rule
    return max(0.0, 1 - 2 * height * area)


def holm(values: dict[str, float]) -> dict[str, float]:
    """Holm's adjustment (1979) of p values: the smallest times their number, the next times one less, ..."""
    found, highest = {}, 0.0
    for rank, (name, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, value * (len(values) - rank)))
        found[name] = highest
    return found
