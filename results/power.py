"""Absent, or too small to see? Of each of COMPARISONS that was not reproduced: the smallest effect that its
runs would have shown, beside the paper's.

An effect is shown when the 95% interval of the paired differences lies above 0. How large it must be for that
to happen in four of five repetitions follows from the spread of the seeds (verdicts.smallest_seen).
"""

from __future__ import annotations

import math
from typing import Callable, NamedTuple, Sequence

import numpy as np

from results import cifar_nets
from results.ablations import CONVOLUTIONS
from results.claims import BASE, CLAIMS, ORDER, beyond_chance, differences, lrn_on_cifar
from results.pages import Text, joined, named, part, row, say, term, text
from results.series import train_error, val_error
from results.units import Place
from results.verdicts import NOT_HERE, OPPOSITE, smallest_seen, t_interval


class Comparison(NamedTuple):
    """Something of which the paper says how large it is, or only that it is there (None)."""

    claim: str
    what: Text | str
    values: Callable[[Place], Sequence[float]]   # paired differences, positive as the paper has it
    papers: float | None


def error_of(name: str) -> Callable[[Place], list[float]]:
    return lambda place: differences(place, name, val_error)


def step(first: str, second: str) -> Callable[[Place], list[float]]:
    return lambda place: [a - b for a, b in zip(error_of(first)(place), error_of(second)(place))]


def log_times_slower(place: Place) -> list[float]:
    """Epochs with tanh over epochs with ReLU, as logarithms (C8)."""
    tanh, relu = ([one["epochs"] for one in place.results(cifar_nets.race_units(name))]
                  for name in ("tanh", "relu"))
    return [math.log(slow / fast) for slow, fast in zip(tanh, relu)]


def beyond_chance_of_all(place: Place) -> list[float]:
    """By how much the two columns differ in colour, beyond chance (C23)."""
    return [beyond_chance(np.array(one["colourfulness"]).reshape(2, -1)) for one in place.results(BASE)]


# Section 7: a middle layer, so not conv1 or conv5, costs about 2 points; 3.2 to 3.4: 1.7, 1.4 and 0.4;
# 4.1: more than 1.
COMPARISONS = [
    *(Comparison("C6", named(f"without {name}"), error_of(f"without {name}"),
                 0.02 if name in CONVOLUTIONS[1:-1] else None) for name in CONVOLUTIONS),
    Comparison("C8", text("power.tanh"), log_times_slower, math.log(6)),
    Comparison("C10", say("Imagenette: {}", "Imagenette：{}", named("no LRN")), error_of("no LRN"), 0.014),
    Comparison("C10", say("CIFAR-10: {}", "CIFAR-10：{}", named("no LRN")),
               lambda place: lrn_on_cifar(place, cifar_nets.LONGER)[1], 0.02),
    Comparison("C15", named("no colour noise"), error_of("no colour noise"), 0.01),
    Comparison("C19", text("power.training", named("no weight decay")),
               lambda place: differences(place, "no weight decay", train_error), None),
    Comparison("C21", named("constant rate"), error_of("constant rate"), None),
    Comparison("C23", text("power.colour"), beyond_chance_of_all, None),
    *(Comparison("C27", text("power.over", named(first), named(second)), step(first, second), papers)
      for first, second, papers in zip(ORDER, ORDER[1:], (None, 0.003, 0.010))),
]
EFFECTS = term("Absent, or too small to see?")


def answer(values: Sequence[float], papers: float | None) -> Text | str:
    """Whether the paper's effect is absent here, or could not have been seen."""
    interval = t_interval(values)
    if interval.high < 0:
        return OPPOSITE
    if interval.low > 0:
        smaller = papers is not None and interval.high < papers
        return term("seen, but smaller than the paper's") if smaller else term("seen")
    if papers is None:
        return term("the paper gives no size")
    if interval.high < papers:
        return term("absent, or smaller than the paper's")
    return term("too small to see") if smallest_seen(values) > papers else term("undecided")


def in_words(value: float, claim: str) -> Text | str:
    if claim == "C8":
        return text("power.times", math.exp(value))
    return f"{value:+.3f}" if claim == "C23" else f"{100 * value:+.2f}"


def lines(place: Place) -> list[Text | str]:
    """The table, for the claims whose runs are there and that were not reproduced."""
    rows = []
    for one in COMPARISONS:
        finding = CLAIMS[one.claim].finding(place)
        if not finding.verdict.en.startswith(NOT_HERE.en):
            continue
        values = one.values(place)
        interval = t_interval(values)
        found = say("{} ({} to {}; {} pairs)", "{}（{} 至 {}；{} 对）",
                    *(in_words(value, one.claim) for value in (interval.mean, interval.low, interval.high)),
                    interval.count)
        papers = "" if one.papers is None else in_words(one.papers, one.claim)
        rows.append(row(one.claim, one.what, found, in_words(smallest_seen(values), one.claim), papers,
                        answer(values, one.papers)))
    columns = ("claim", "change", "found", "smallest effect that would be seen", "the paper's", "so")
    listed = joined(dict.fromkeys(one.claim for one in COMPARISONS))
    return part(EFFECTS, text("power.conditions", listed), columns, rows)
