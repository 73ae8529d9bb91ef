"""Does learning start, and what becomes of a network in which it starts late? Rules fixed before any run.

first_steps.py has few seeds, and every run with ten classes there is Imagenette, every run with more
Tiny-ImageNet. Here one thing changes at a time:

- the data set: ten classes of Tiny-ImageNet (three draws of ten: seed s has draw s modulo 3), fifty (draw 0),
  all 200; Imagenette; and Imagenette brought to 64 px first, as Tiny-ImageNet's images are (their JPEG
  compression is not imitated);
- ten seeds for the networks as they are with Imagenette, ten and 200 classes of Tiny-ImageNet; for the
  practices nine with ten classes of Tiny-ImageNet, three with Imagenette at 64 px and with Imagenette itself
  (first_steps.py has it in bf16, and watches two seeds for 800 steps only);
- CaffeNet's constants (train_val.prototxt of BVLC's reference CaffeNet at commit 74bf4b7), three seeds;
- the 200 classes with larger images (enlarged), three seeds: at 128 and at 224 px (1,000 steps) both networks
  as they are, and each with the other's standard deviation in conv3 to conv5.

Learning **starts** at the step by which the mean loss of the last 50 steps is below 0.95 ln C, to stay there
to the end of the run, which is at least 200 steps later. A run ends then; or when learning has not started
after 2,000 steps (10,000: `as-written`, 200 classes, seeds 7, 8, 9); or when some layer is dead: none of its
units fired for any of 128 images, twice, 50 steps apart; or when the loss is no number. The loss of every
step is stored. All batches have the same size: what is left at the end of an epoch is left out. The mean
image and the colour components are those of the whole data set. Computed in fp32.

`endings`: 12 epochs of Imagenette with the base's schedule (ablations.py), for the two networks as they are
and with each practice: errors at the end, and how many units of fc7 fire for any validation image.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, replace
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet.batches import TrainingBatches
from alexnet.interpret import layer_values
from alexnet.pack import Pack
from results import ablations
from results.first_steps import (BATCH, DECISIVE, DIFFERENCES, RATE, Difference, Steps, start_of_learning,
                                 dead, some_classes)
from results.pages import Text, joined, named, row, text
from results.plots import Panels
from results.units import Place, Unit
from results.verdicts import wilson

STEPS, LONG_STEPS, BEYOND = 2_000, 10_000, 200
DRAWS, SEEDS, FEW_SEEDS = 3, 10, 3
STEP_MINUTES = {64: 0.009, 128: 0.03, 224: 0.09}   # of 128 images, in fp32

CAFFENET = Difference({
    "order": ("conv1 relu1 pool1 norm1  conv2 relu2 pool2 norm2  conv3 relu3  conv4 relu4 "
              " conv5 relu5 pool5  flatten  fc6 relu6 drop6  fc7 relu7 drop7  fc8"),
    "bias": (0, 1, 0, 1, 1, 1, 1, 0)})   # its weights are those of `caffe`
ALL = {**DIFFERENCES, "caffe": {"CaffeNet": CAFFENET, "as it is": Difference()}}


class DataSet(NamedTuple):
    """A data set, or some classes of it."""

    data: str             # of units.DATA
    classes: int
    all_classes: int
    through: int | None = None   # px to which its images are brought first


SETS = {
    "Imagenette": DataSet("imagenette", 10, 10),
    "Imagenette through 64 px": DataSet("imagenette", 10, 10, 64),
    "Tiny-ImageNet, 10 classes": DataSet("tiny", 10, 200),
    "Tiny-ImageNet, 50 classes": DataSet("tiny", 50, 200),
    "Tiny-ImageNet": DataSet("tiny", 200, 200),
}


class WholeBatches(TrainingBatches):
    """Only batches of full size."""

    def draw_order(self) -> Tensor:
        order, size = super().draw_order(), self.settings.batch_size
        return order[:max(1, len(order) // size) * size]


def drawn_classes(data_set: DataSet, draw: int) -> list[int]:
    """The classes of a draw, in their order."""
    chance = np.random.default_rng(draw)
    return sorted(chance.choice(data_set.all_classes, data_set.classes, replace=False).tolist())


def pack_of(unit: Unit, place: Place) -> Pack:
    data_set = SETS[unit.config["data_set"]]
    pack = place.pack(data_set.data, unit.config["image_size"], through=data_set.through)
    return some_classes(pack, drawn_classes(data_set, unit.config["draw"]))


# ------------------------------------------------------------------- whether learning starts

def starting(unit: Unit, place: Place) -> dict[str, Any]:
    """The loss of each step, and what fires after each fifty."""
    config, steps = unit.config, unit.config["steps"]
    pack, difference = pack_of(unit, place), ALL[config["variant"]][config["difference"]]
    run = Steps(pack, config["image_size"], config["variant"], difference, unit.seed, RATE, torch.float32,
                place.device, config["batch"], WholeBatches)
    chance_loss = math.log(len(pack.classes))
    # a start that comes late is watched, too
    rows = run.follow(unit, place, steps + BEYOND, lambda rows: over(rows, chance_loss, steps))
    every = losses_of(rows)
    losses = list(takewhile(math.isfinite, every))
    finite = len(losses) == len(every)
    for one in rows:
        del one["losses"]
    return {"result": {"precision": str(run.dtype), "guessing": chance_loss, "finite": finite,
                       "dead": dead(rows), "starts_at": start_of_learning(losses, chance_loss) if finite
                       else None, "classes": pack.classes, "losses": losses}, "curve": rows}


def losses_of(rows: list[dict[str, Any]]) -> list[float]:
    return [round(loss, 4) for row in rows for loss in row["losses"]]


def over(rows: list[dict[str, Any]], chance_loss: float, steps: int = STEPS) -> bool:
    """Whether a run has no more to show (above)."""
    losses = losses_of(rows)
    if not losses:
        return False
    if not math.isfinite(losses[-1]) or dead(rows) is not None:
        return True
    starts_at = start_of_learning(losses, chance_loss)
    return len(losses) >= (steps if starts_at is None else starts_at + BEYOND)


# ------------------------------------------------------------------- what becomes of it

def ending(unit: Unit, place: Place) -> dict[str, Any]:
    """Errors after 12 epochs, and the share of fc7's units that fire for any validation image."""
    config = unit.config
    case = ablations.Case(DIFFERENCES[config["variant"]][config["difference"]].design)
    settings = replace(ablations.BASE, variant=config["variant"], precision="fp32")
    run = ablations.trained(unit, place, case, settings)
    result = {"precision": str(run.dtype), "finite": run.finite, **ablations.errors_of(run, run.pack)}
    fired = (layer_values(run.model.eval(), run.pack.images["val"], "fc7") > 0).any(0)
    return {"result": {**result, "fc7_firing": fired.float().mean().item()}, "curve": ablations.curve_of(run)}


# ------------------------------------------------------------------- the units

def start_unit(name: str, variant: str, difference: str, seed: int, size: int = 64) -> Unit:
    data_set = SETS[name]
    long = name == "Tiny-ImageNet" and (variant, difference) == ("as-written", "as it is") and seed >= 7
    draw = seed % DRAWS if data_set.classes == 10 and data_set.all_classes > 10 else 0
    batch, steps = 2 * BATCH if variant == "caffe" else BATCH, LONG_STEPS if long else STEPS
    if size == 224:
        steps = 1000
    config = {"data_set": name, "draw": draw, "variant": variant, "difference": difference,
              "image_size": size, "batch": batch, "steps": steps, "precision": "fp32",
              **asdict(ALL[variant][difference])}
    case = f"{name}, {variant}, {difference}" + (f", {size} px" if size != 64 else "")
    return Unit("starting", case, seed, config, starting, steps * STEP_MINUTES[size] * batch / BATCH,
                data_set.data)


def end_unit(variant: str, difference: str, seed: int) -> Unit:
    config = {**asdict(ablations.BASE), "variant": variant, "precision": "fp32", "difference": difference,
              **asdict(DIFFERENCES[variant][difference])}
    return Unit("endings", f"{variant}, {difference}", seed, config, ending, 6, "imagenette")


CELLS = [(variant, difference) for difference in DECISIVE for variant in DIFFERENCES]
SEEDS_OF = {   # how many seeds at 64 px: of the networks as they are, and of each practice
    "Imagenette": (SEEDS, FEW_SEEDS), "Imagenette through 64 px": (FEW_SEEDS, FEW_SEEDS),
    "Tiny-ImageNet, 10 classes": (SEEDS, 3 * DRAWS), "Tiny-ImageNet, 50 classes": (FEW_SEEDS, 0),
    "Tiny-ImageNet": (SEEDS, 0)}
SWAPPED = [(variant, difference) for variant in DIFFERENCES for difference in DIFFERENCES[variant]
           if difference.startswith("std")]
RUNS = [   # data set, network, difference, px, seeds
    *((name, *cell, 64, SEEDS_OF[name][cell[1] != "as it is"]) for name in SETS for cell in CELLS),
    *((name, "caffe", "CaffeNet", size, FEW_SEEDS) for size in (64, 128)
      for name in ("Imagenette", "Tiny-ImageNet")),
    *(("Tiny-ImageNet", *cell, size, FEW_SEEDS) for size in (128, 224) for cell in [*CELLS[:2], *SWAPPED])]


def units() -> list[Unit]:
    """The networks as they are first, larger images last."""
    found = [start_unit(name, variant, difference, seed, size) for seed in range(SEEDS)
             for name, variant, difference, size, seeds in RUNS if seed < seeds]
    found += [end_unit(*cell, seed) for seed in range(FEW_SEEDS) for cell in CELLS]
    return sorted(found, key=lambda unit: (unit.config["image_size"],
                                           unit.config["difference"] != "as it is"))


# ------------------------------------------------------------------- for the page

def found_of(place: Place, name: str, variant: str, difference: str, size: int = 64) -> list[dict[str, Any]]:
    return place.found_all(start_unit(name, variant, difference, seed, size) for seed in range(SEEDS))


def start_rows(place: Place) -> list[Text]:
    """Of each cell: how many runs start within 2,000 steps, the share's interval, when, and fc7."""
    rows = []
    for name, variant, difference, size, _ in RUNS:
        contents = found_of(place, name, variant, difference, size)
        if not contents:
            continue
        steps = sorted(at for content in contents if (at := content["result"]["starts_at"]) and at <= STEPS)
        low, high = wilson(len(steps), len(contents))
        when = text("steps.median", statistics.median(steps), steps[0], steps[-1]) if steps else ""
        fires = statistics.median(content["curve"][-1]["firing"]["fc7"] for content in contents)
        least = contents[0]["config"]["steps"]
        pixels = size if least >= STEPS else text("steps.size", size, least)
        rows.append(row(named(name), pixels, variant, named(difference), f"{len(steps)} / {len(contents)}",
                        text("steps.interval", 100 * low, 100 * high), when, f"{100 * fires:.0f}%"))
    return rows


def late_rows(place: Place) -> list[Text]:
    """Runs that went on beyond 2,000 steps."""
    contents = found_of(place, "Tiny-ImageNet", "as-written", "as it is")
    return [row(content["seed"], content["result"]["starts_at"]
                or text("steps.not by", len(content["result"]["losses"])))
            for content in contents if content["config"]["steps"] > STEPS]


def survival(steps: list[int | None]) -> list[tuple[float, float]]:
    """(step, share of the runs in which learning has not started by then), as stairs."""
    line, left = [(1.0, 1.0)], len(steps)
    for at in sorted(at for at in steps if at and at <= STEPS):
        line += [(at, left / len(steps)), (at, (left - 1) / len(steps))]
        left -= 1
    return [*line, (STEPS, left / len(steps))]


def survival_lines(place: Place) -> Panels:
    """For each data set: the networks as they are."""
    panels: Panels = {}
    for name in SETS:
        for variant in DIFFERENCES:
            if contents := found_of(place, name, variant, "as it is"):
                line = survival([content["result"]["starts_at"] for content in contents])
                panels.setdefault(name, {})[variant] = [line]
    return panels


def end_rows(place: Place) -> list[Text]:
    rows = []
    for variant, difference in CELLS:
        found = place.results(end_unit(variant, difference, seed) for seed in range(FEW_SEEDS))
        if found:
            rows.append(row(variant, named(difference), *(
                joined(f"{100 * one[name]:.1f}" for one in found)
                for name in ("val_top1_error", "train_top1_error", "fc7_firing"))))
    return rows
