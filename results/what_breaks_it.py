"""What breaks AlexNet: the list of its runs, and the page about them. What a run does stands in first_steps.py (the loss
while one difference after another is made), head.py (why, and from which rate on) and growth.py (why the text does not come
with many classes)."""

from __future__ import annotations

import statistics
from pathlib import Path

from results import growth, head, plots, starting
from results.first_steps import DECISIVE, DIFFERENCES, first_unit, found_of, lives, loss_lines, span, start_table
from results.pages import fill, picture
from results.units import Place, Unit

TITLE = "What breaks AlexNet"
MENDS = ("std 0.03 in conv3-5", "std 0.01 in conv3-5", "rate 0.002", "biases 0.1", "inverted dropout, biases 0.1")   # with 200 classes
ELSEWHERE = {   # (pixels, classes): what is looked at beside 64 px and ten classes, and with how many seeds
    (64, 200): ((*DECISIVE, *MENDS), 3),
    (128, 10): (DECISIVE, 3),
    (128, 200): (DECISIVE[:1], 3),   # Tiny-ImageNet's 64 px enlarged: fc6 has 2,304 inputs then, not 256
    (224, 10): (DECISIVE[:2], 1),
}
SETTINGS = [(64, 10), *ELSEWHERE]
SHORT = [(64, 10), (128, 10), (64, 200)]   # in the table at the top of the page


# ------------------------------------------------------------------- the units

def units() -> list[Unit]:
    """Seed by seed: first what decides, at the end what takes long."""
    found = []
    for seed in range(3):
        found += [first_unit(variant, name, seed) for variant in DIFFERENCES for name in DIFFERENCES[variant]]
        found += head.units(seed)
    found += growth.units(0)
    found += [first_unit(variant, name, seed, *setting) for setting, (names, seeds) in ELSEWHERE.items()
              for seed in range(seeds) for variant in DIFFERENCES for name in names if name in DIFFERENCES[variant]]
    return found + growth.units(1) + growth.units(2) + starting.units()


def decisive(unit: Unit) -> bool:
    """Whether `run all` does it early: the five differences that decide, at 64 px, and the head."""
    return not unit.experiment.startswith(("first-steps", "growth")) or (
        unit.experiment == "first-steps-64px-10" and unit.config["difference"] in DECISIVE)


# ------------------------------------------------------------------- the report

def report(place: Place) -> list[str]:
    """Writes results/what-breaks-it/: the page and its figures. The lines for the page of all results."""
    out = place.out / "what-breaks-it"
    panels = {f"{variant}, {size} px, {classes} classes": lines for size, classes in SETTINGS
              for variant in DIFFERENCES if (lines := loss_lines(place, variant, size, classes))}
    if panels:
        plots.curves(panels, out / "first-steps.png", "The first steps: loss divided by that of chance level (ln C)",
                       "step", "loss / ln C", level=1.0, log=(True, True))
    if rates := head.limit_lines(place):
        plots.curves(rates, out / "limits.png", "Which rates fc7 survives, by the number of classes; dotted: the paper's",
                       "classes", "rate", level=0.01, log=(True, True), dashed=head.PREDICTED)
    if fades := head.fading_lines(place):
        plots.curves(fades, out / "fading.png", "fc7 fades where a batch's classes are drawn at random",
                       "step", "|h|^2, as a part of the first", level=1.0, log=(False, True))
    if grown := growth.growth_lines(place):
        plots.curves(grown, out / "growth.png", "How far apart pictures are in fc8: standard deviation from one to the next",
                       "step", "in fc8", level=growth.SEEN, log=(False, True))
    if shares := starting.survival_lines(place):
        plots.curves(shares, out / "starting.png", "When learning starts: the share of runs in which it has not started yet",
                       "step", "share of runs", level=0.5, log=(True, False))
    if not (panels or rates or fades or grown or shares):
        return []
    fill(out / "README.md", "runs", page(place, out), TITLE)
    fill(out / "README.md", "short", at_a_glance(place))
    return [f"## {TITLE}", "", *picture(place.out, "what-breaks-it/first-steps.png"),
            *picture(place.out, "what-breaks-it/limits.png"),
            "[The runs, the reason, and advice for people who are stuck](what-breaks-it/README.md).", ""]


def in_short(place: Place) -> str:
    """In how many runs learning starts with each of the differences that decide, both networks together; and the
    largest rates that fc7 survives (the seeds' median)."""
    runs, rates = [], []
    for name in DECISIVE:
        found = [content["result"]["alive_at"] for variant in DIFFERENCES for content in found_of(place, variant, name, 64, 10)]
        if found:
            runs.append(f"{name} {sum(step is not None for step in found)} of {len(found)}")
    for name in head.NAMES:
        medians = [statistics.median(rate or 0 for rate in found) for classes in head.CLASSES
                   if (found := head.survived(place, name, classes, *head.drawn(classes)[0]))]
        if len(medians) == len(head.CLASSES):
            rates.append(f"{name} {', '.join(f'{rate:.2g}' for rate in medians)}")
    said = [f"runs in which learning starts, 64 px, 10 classes: {'; '.join(runs)}" if runs else "",
            f"the largest rate that fc7 survives with {', '.join(map(str, head.CLASSES))} classes: {'; '.join(rates)}" if rates else ""]
    return ". And ".join(part for part in said if part)


def at_a_glance(place: Place) -> list[str]:
    """By which step learning starts with each of today's practices, and with what mends one of them."""
    settings = [(variant, size, classes) for size, classes in SHORT for variant in DIFFERENCES]
    columns = " | ".join(f"{variant}, {size} px, {classes} classes" for variant, size, classes in settings)
    rows = [f"| {name} | {' | '.join(cells)} |" for name in (*DECISIVE, "inverted dropout, biases 0.1")
            if any(cells := [span(place, variant, name, size, classes) for variant, size, classes in settings])]
    return [f"| | {columns} |", "|---" * (len(settings) + 1) + "|", *rows]


def page(place: Place, out: Path) -> list[str]:
    lines = ["Made by `python -m results.reproduce table`; the runs by `python -m "
             "results.reproduce run what-breaks-it --imagenette DIR --tiny DIR`.", ""]
    lines += table("Does learning start?", "Up to 2,000 steps, fp32, the loss of every step stored, each start watched for 200 steps more. "
                   "Share: of the runs in which learning starts, with Wilson's 95% interval. Last: the median share of fc7's units that fire "
                   "at the end of the run for any of 128 images.",
                   "data | px | network | difference | starts in | share | at step: median (lowest to highest) | fc7 fires",
                   starting.start_rows(place))
    lines += picture(out, "starting.png")
    lines += table("as-written, 200 classes, up to 10,000 steps", "", "seed | learning starts at step", starting.late_rows(place))
    lines += table("What becomes of it", "12 epochs of Imagenette, 64 px, fp32, the base's schedule; three seeds, in %.",
                   "network | difference | top-1 error, validation | training | units of fc7 that fire for any validation image",
                   starting.end_rows(place))
    lines += ["The tables of the first steps below are of older runs. Of each of them the JSON file holds the first 100 losses one by one and then "
              "means of 50 steps; the step at which learning starts was computed from all losses when it was run, and the run ended as soon as "
              "that was seen (after 200 steps at least). A run is alive when the mean loss of 50 steps stays below 0.95 ln C; the numbers are the "
              "steps by which it is, for seeds 0, 1, 2.", ""]
    lines += picture(out, "first-steps.png")
    for size, classes in SETTINGS:
        lines += table(f"{size} px, {classes} classes", "", "network | difference | alive by step",
                       [f"| {variant} | {name} | {', '.join(seeds)} |" for variant in DIFFERENCES
                        for name in DIFFERENCES[variant] if (seeds := lives(place, variant, name, size, classes))])
    lines += start_table(place)
    lines += table("The swing", "Rates above which the first step is unstable, 3.8 / curvature: with |h|^2 / C; with "
                   "|h|^2 times the largest eigenvalue of the mean of diag(p) - p p', p being the probabilities that the network gives a "
                   "picture's classes; with the largest curvature of the whole loss. Means of the seeds.",
                   "network | classes | by the head | by the head and p | by the largest curvature",
                   head.curvature_rows(place))
    lines += table("The fade", "The part of its length, in %, that the mean of fc7 loses with each step: predicted from the start, "
                   "and found for each seed (below 0: it grows). Last: after 60 steps, how many % of its units have a mean "
                   "below 0, before ReLU.",
                   "difference | classes | rate | batch | classes drawn | predicted | lost | below 0", head.fading_rows(place))
    lines += table("The largest rate that fc7 survives", "Predicted from the start (the head alone: fc7 and fc8 simulated without pictures), and found by bisection for each "
                   "seed. Evenly: each class equally often in every batch.",
                   "difference | classes | batch | classes drawn | by the swing | by the fade | by both: the head alone | survived",
                   head.limit_rows(place))
    steps = " | ".join(f"step {step}" for step in growth.LOOK_AT[1:])
    lines += table("How far apart pictures are", "200 classes, batches of 200, rate 0.01, 64 px. Of fc7, before ReLU and without dropout: standard deviation "
                   "from picture to picture (the mean of its units') / mean; seed 0; a run ends when it is alive. Last: the first step by which "
                   f"the deviation is {growth.SEEN} in fc8, for each seed.",
                   f"network, difference | at first | {steps} | {growth.SEEN} in fc8 by step", growth.growth_rows(place))
    return lines


def table(title: str, says: str, columns: str, rows: list[str]) -> list[str]:
    """A part of the page, if there is something to show."""
    return [f"### {title}", "", *([says, ""] if says else []), f"| {columns} |", "|---" * (columns.count("|") + 1) + "|",
            *rows, ""] if rows else []
