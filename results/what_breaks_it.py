"""What breaks AlexNet: the list of its runs, the page about them, and the page that explains them (why.md).
What a run does stands in first_steps.py (the loss while one difference after another is made), head.py (why,
and from which rate on) and growth.py (why `as-written` does not start learning with many classes)."""

from __future__ import annotations

import statistics
from functools import partial
from pathlib import Path
from typing import Sequence

from results import growth, head, pages, plots, starting
from results.first_steps import (DECISIVE, DIFFERENCES, LAYERS, first_unit, found_of, loss_lines, span,
                                 start_rows, starts)
from results.pages import (PAGES, WHY, Text, fill, heading, joined, listed, named, picture, row, say, table,
                           term, text)
from results.units import Place, Unit

part = partial(pages.part, marks="###")   # below the titles that people wrote
TITLE = term("What breaks AlexNet")
EXPLAINED = term("Why AlexNet dies")
# what the figures show
FIRST_STEPS = "Loss over the first steps, by network, image size and number of classes"
LIMITS = "Largest learning rate that fc7 survives over the number of classes, and what the formulas predict"
STARTING = "Share of runs in which learning has not started yet, over the steps"
WITH_SMALL_BIASES = (   # may the practices stay?
    "inverted dropout, biases 0.1", "dropout before fc6, fc7, biases 0.1", "no dropout, biases 0.1")
MENDS = (   # with 200 classes
    "std 0.03 in conv3-5", "std 0.01 in conv3-5", "rate 0.002", "biases 0.1", *WITH_SMALL_BIASES)
ELSEWHERE = {   # (pixels, classes): what is looked at beside 64 px and ten classes, and with how many seeds
    (64, 200): ((*DECISIVE, *MENDS), 3),
    (128, 10): (DECISIVE, 3),
    (128, 200): (DECISIVE[:1], 3),   # Tiny-ImageNet's 64 px enlarged: fc6 has 2,304 inputs then, not 256
    (224, 10): (DECISIVE[:2], 1),
}
SETTINGS = [(64, 10), *ELSEWHERE]
AT_A_GLANCE = [(64, 10), (128, 10), (64, 200)]   # in the table at the top of the page
HELPS = ("as it is", "biases 0.1", "inverted dropout, rate 0.002", "inverted dropout, warm-up 150",
         "biases 0", "rate 0.002", "rate 0.02", "std 0.03 in conv3-5", "std 0.01 in conv3-5")


# ------------------------------------------------------------------- the units

def units() -> list[Unit]:
    """Seed by seed: first what decides, at the end what takes long."""
    found = []
    for seed in range(3):
        found += [first_unit(variant, name, seed) for variant in DIFFERENCES for name in DIFFERENCES[variant]]
        found += head.units(seed)
    found += growth.units(0)
    found += [first_unit(variant, name, seed, *setting) for setting, (names, seeds) in ELSEWHERE.items()
              for seed in range(seeds) for variant in DIFFERENCES for name in names
              if name in DIFFERENCES[variant]]
    return found + growth.units(1) + growth.units(2) + starting.units()


def decisive(unit: Unit) -> bool:
    """Whether `run all` does it early: the five differences that decide, at 64 px, and the head."""
    return not unit.experiment.startswith(("first-steps", "growth")) or (
        unit.experiment == "first-steps-64px-10" and unit.config["difference"] in DECISIVE)


# ------------------------------------------------------------------- the report

def report(place: Place) -> list[Text | str]:
    """Writes results/what-breaks-it/: the pages and their figures. The lines for the page of all results."""
    out = place.out / "what-breaks-it"
    if not draw(place, out):
        return []
    fill(out, "short", starts_table(place, (*DECISIVE, *WITH_SMALL_BIASES), AT_A_GLANCE), TITLE)
    fill(out, "helps", starts_table(place, HELPS, [(64, 10), (64, 200)]), TITLE)
    fill(out, "runs", page(place, out), TITLE)
    fill(out, "explained", explained(place), EXPLAINED, WHY)
    more = text("what breaks it.link", Text(*PAGES.values()))
    return [heading(TITLE), "", *picture(place.out, "what-breaks-it/first-steps.png", FIRST_STEPS),
            *picture(place.out, "what-breaks-it/limits.png", LIMITS), more, ""]


def draw(place: Place, out: Path) -> bool:
    """The figures; False if nothing was run."""
    panels = {f"{variant}, {size} px, {classes} classes": lines for size, classes in SETTINGS
              for variant in DIFFERENCES if (lines := loss_lines(place, variant, size, classes))}
    if panels:
        plots.curves(panels, out / "first-steps.png", "The first steps: loss as a multiple of chance level",
                     "training step", "loss / loss of chance level (ln C)", (1.0, "chance level"),
                     (True, True),
                     spans={panel: (0.8, 1.3) for panel in panels if panel.endswith(" 200 classes")})
    if rates := head.limit_lines(place):
        plots.curves(rates, out / "limits.png", "Up to which learning rate fc7 survives the first steps",
                     "number of classes", "largest learning rate", (0.01, "the paper's learning rate, 0.01"),
                     (True, True), dashed=head.PREDICTED, columns=3)
    if fades := head.fading_lines(place):
        plots.curves(fades, out / "fading.png", "fc7 fades where a batch's classes are drawn at random",
                     "training step", "squared length of fc7,\nas a part of the first", (1.0, "as at first"),
                     (False, True), columns=3)
    if grown := growth.growth_lines(place):
        plots.curves(grown, out / "growth.png", "How far apart images are in the last layer, fc8",
                     "training step", "standard deviation of fc8's values\nfrom image to image",
                     (growth.SEEN, "0.1: about here the loss leaves chance level"), (False, True))
    if shares := starting.survival_lines(place):
        plots.curves(shares, out / "starting.png", "When learning starts", "training step",
                     "share of runs in which\nit has not started yet", (0.5, "half of the runs"),
                     (True, False))
    return bool(panels or rates or fades or grown or shares)


def in_short(place: Place) -> Text | str:
    """In how many runs learning starts with each of the differences that decide, both networks together; and
    the largest learning rates that fc7 survives (the seeds' median)."""
    runs, rates, said = [], [], []
    for name in DECISIVE:
        found = [content["result"]["alive_at"] for variant in DIFFERENCES
                 for content in found_of(place, variant, name, 64, 10)]
        if found:
            runs.append(text("what breaks it.starts", named(name), sum(step is not None for step in found),
                             len(found)))
    for name in head.NAMES:
        medians = [statistics.median(rate or 0 for rate in found) for classes in head.CLASSES
                   if (found := head.survived(place, name, classes, *head.drawn(classes)[0]))]
        if len(medians) == len(head.CLASSES):
            rates.append(say("{} {}", "{} {}", named(name), joined(f"{rate:.2g}" for rate in medians)))
    if runs:
        said.append(text("what breaks it.runs", listed(runs)))
    if rates:
        said.append(text("what breaks it.rates",
                        joined(map(str, head.CLASSES)), listed(rates)))
    return joined(said, ". And ", "。") if said else ""


def starts_table(place: Place, names: Sequence[str], sizes: list[tuple[int, int]]) -> list[Text | str]:
    """By which step learning starts with each of the differences, for sizes (pixels, classes)."""
    settings = [(variant, size, classes) for size, classes in sizes for variant in DIFFERENCES]
    columns = (text("what breaks it.setting", *setting) for setting in settings)
    rows = [row(named(name), *cells) for name in names
            if any(cells := [span(place, variant, name, size, classes) if name in DIFFERENCES[variant] else ""
                             for variant, size, classes in settings])]
    return table(("", *columns), rows)[:-1]


# ------------------------------------------------------------------- the tables of the page

def page(place: Place, out: Path) -> list[Text | str]:
    return [text("what breaks it.made by"), "", *starting_lines(place, out), *first_lines(place, out)]


def explained(place: Place) -> list[Text | str]:
    return [text("what breaks it.made by"), "", *head_lines(place), *growth_lines(place)]


def starting_lines(place: Place, out: Path) -> list[Text | str]:
    lines = part("Does learning start?", text("what breaks it.starting"),
                 ("data", "px", "network", "difference", "starts", "share",
                  "at step: median (lowest to highest)", "fc7 above 0"), starting.start_rows(place))
    lines += picture(out, "starting.png", STARTING)
    lines += part("as-written, 200 classes, up to 10,000 steps", "", ("seed", "learning starts at step"),
                  starting.late_rows(place))
    return lines + part("What becomes of it", text("what breaks it.endings"),
                        ("network", "difference", "top-1 error, validation", "training",
                         "neurons of fc7 above 0 for any validation image"), starting.end_rows(place))


def first_lines(place: Place, out: Path) -> list[Text | str]:
    lines = [text("what breaks it.older runs"), "", *picture(out, "first-steps.png", FIRST_STEPS)]
    for size, classes in SETTINGS:
        rows = [row(variant, named(name), joined(seeds))
                for variant in DIFFERENCES for name in DIFFERENCES[variant]
                if (seeds := starts(place, variant, name, size, classes))]
        lines += part(text("what breaks it.px", size, classes), "",
                      ("network", "difference", "learning starts by step"), rows)
    title = "Standard deviation of each layer's result / of the loss's gradient there, at the start"
    return lines + part(title, text("what breaks it.px", 64, 10), ("network", "difference", *LAYERS),
                        start_rows(place))


def head_lines(place: Place) -> list[Text | str]:
    lines = part("The swing", text("what breaks it.swing"),
                 ("network", "difference", "classes", "by the head", "by the head and p",
                  "by the largest curvature"), head.curvature_rows(place))
    lines += part("The fade", text("what breaks it.fade"),
                  ("difference", "classes", "learning rate", "batch", "classes drawn", "predicted", "lost",
                   "below 0"), head.fading_rows(place))
    return lines + part("The largest rate that fc7 survives", text("what breaks it.limit"),
                        ("difference", "classes", "batch", "classes drawn", "by the swing", "by the fade",
                         "both: the head alone", "survived"), head.limit_rows(place))


def growth_lines(place: Place) -> list[Text | str]:
    steps = (text("what breaks it.step", step) for step in growth.LOOK_AT[1:])
    return part("How far apart pictures are", text("what breaks it.growth", growth.SEEN),
                ("network", "difference", "classes drawn", "at first", *steps,
                 text("what breaks it.seen by", growth.SEEN)), growth.growth_rows(place))
