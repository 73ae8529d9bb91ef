"""The claims again: with more epochs (longer.py), larger images, more data (larger.py), and the release's own
network for CIFAR-10 (local_nets.py). Judged by the rules of claims.py, here fixed before the first of these
runs was complete. The verdicts of the 27 claims stay those of twelve epochs at 64 px; these stand beside
them.

A claim is judged again where all its runs are there. Of C17 with 200 classes only the gap is: in 15 epochs a
network with dropout may not come to 50% training error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable

from results import claims, larger, local_nets, longer
from results.ablations import CONVOLUTIONS
from results.claims import SAME_SIZES, Finding, epochs_to
from results.pages import Text, anchor, in_lines, joined, named, part, row, say, term, text
from results.series import Measure, Series, gap, train_error, val_error
from results.units import Place
from results.verdicts import NOT_RUN, combine, t_interval, verdict

Apart = dict[Text | str, list[float]]   # paired differences by name, positive as the paper has it


@dataclass(frozen=True)
class Again:
    """A claim in another experiment."""

    claim: str
    where: Text | str                  # which experiment
    judged: Callable[[Place], Apart]   # the verdict needs all of them
    given: Callable[[Place], Text | str] = lambda place: ""   # what is said beside it

    def finding(self, place: Place) -> Finding | None:
        """None where runs are missing."""
        found = self.judged(place)
        one = combine({name: verdict(values) for name, values in found.items()})
        if one == NOT_RUN:
            return None
        numbers = (say("{}: {}", "{}：{}", name, shown(name, values)) for name, values in found.items())
        return Finding(say("{}{}", "{}{}", in_lines(numbers), self.given(place)), one)


def shown(name: Text | str, values: list[float]) -> Text:
    one = t_interval(values)
    if name != EPOCHS:
        return one.text()
    return text("again.times", math.exp(one.mean), math.exp(one.low), math.exp(one.high), one.count)


def effect(series: Series, case: str, measure: Measure = val_error, called: Text | str = "") -> Callable:
    return lambda place: {called or named(case): series.differences(place, case, measure)}


def error_beside(series: Series, case: str) -> Callable[[Place], Text]:
    """Of a claim that is judged by a gap: the change of the error, not judged."""
    return lambda place: text("again.error", t_interval(series.differences(place, case, val_error)).text())


def pooling(series: Series) -> Callable[[Place], Apart]:
    return lambda place: {term("error"): series.differences(place, SAME_SIZES, val_error),
                          term("gap"): series.differences(place, SAME_SIZES, gap)}


# ------------------------------------------------------------------- C17 in sixty epochs

WITHOUT_DROPOUT = "biases 0.1, no dropout"
EPOCHS = text("again.epochs")   # its values are logarithms of ratios


def dropout(place: Place) -> Apart:
    pairs = longer.SIXTY.pairs(place, WITHOUT_DROPOUT)
    return {term("gap"): [gap(without) - gap(with_it) for without, with_it in pairs],
            EPOCHS: [math.log(epochs_to(with_it, 0.5) / epochs_to(without, 0.5))
                     for without, with_it in pairs]}


def as_good_as_with_dropout(place: Place) -> Text:
    """The error, and by seed the epoch in which the network without dropout reaches the other's lowest."""
    found = []
    for without, with_it in longer.SIXTY.pairs(place, WITHOUT_DROPOUT):
        best = min((one["val_top1_error"] for one in with_it["curve"]), default=-math.inf)
        found.append(next((one["epoch"] for one in without["curve"] if one["val_top1_error"] <= best), None))
    each = joined(term("in none") if epoch is None else str(epoch) for epoch in found)
    return text("again.as good", error_beside(longer.SIXTY, WITHOUT_DROPOUT)(place), each)


# ------------------------------------------------------------------- the list

PIXELS, DATA, SIXTY = larger.PIXELS, larger.DATA, longer.SIXTY
AGAIN = [
    Again("C6", term(PIXELS.title), lambda place: {
        name: PIXELS.differences(place, f"without {name}", val_error) for name in CONVOLUTIONS}),
    *(Again("C9", term(series.title), effect(series, "one column, half the maps"))
      for series in (PIXELS, DATA)),
    Again("C10", term(DATA.title), effect(DATA, "no LRN")),
    Again("C10", term(local_nets.TITLE),
          lambda place: {named("no LRN"): local_nets.lower_by(place, local_nets.WITH)}),
    *(Again("C11", term(series.title), pooling(series)) for series in (PIXELS, DATA)),
    Again("C13", term(SIXTY.title), effect(SIXTY, "no crops, no mirror images", gap, term("gap")),
          error_beside(SIXTY, "no crops, no mirror images")),
    *(Again("C15", term(series.title), effect(series, "no colour noise")) for series in (DATA, SIXTY)),
    Again("C17", term(SIXTY.title), dropout, as_good_as_with_dropout),
    Again("C17", term(DATA.title), effect(DATA, "fc biases 0, no dropout", gap, term("gap")),
          error_beside(DATA, "fc biases 0, no dropout")),
    Again("C19", term(SIXTY.title), effect(SIXTY, "no weight decay", train_error)),
    Again("C21", term(SIXTY.title), effect(SIXTY, "constant")),
    Again("C27", term(DATA.title), lambda place: claims.each_less_the_next(
        {name: DATA.differences(place, name, val_error) for name in claims.ORDER})),
]


TITLE = term("The claims again")


def of(claim: str, place: Place) -> Text:
    """For the guide: what a claim's other experiments have found."""
    return joined((text("again.elsewhere", one.where, anchor(TITLE), found.verdict, found.found)
                   for one in AGAIN if one.claim == claim and (found := one.finding(place))), "", "")


def lines(place: Place, findings: dict[str, Finding]) -> list[Text | str]:
    """The table of those that are there, beside the verdicts of twelve epochs at 64 px."""
    rows = [row(one.claim, one.where, found.found, found.verdict, findings[one.claim].verdict)
            for one in AGAIN if (found := one.finding(place))]
    return part(TITLE, text("again.conditions"),
                ("claim", "experiment", "found here", "verdict", "above"), rows)
