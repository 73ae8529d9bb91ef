"""Sixty epochs instead of twelve, for claims with small effects. Rules fixed before the first run.

Imagenette at 64 px as in ablations.py, five seeds a side, but 60 epochs, fp32, and drops of the learning rate
at 60 and 84% of them. Every case records both errors without augmentation and dropout (`train_`, `val_`), and
the curve.

- C17, dropout: biases of 0.1 on both sides, since with 1 learning does not start without it. Judged as before
  (the gap, and the epochs to 50% training error), with the first epoch at which the side without reaches the
  best validation error of the side with.
- C13, crops and mirror images: as before, the gap; and the validation error.
- C19, weight decay: 0 and 5e-3 beside the recipe's 5e-4; training error without less with.
- C21, the paper's own rule: `plateau` and a constant learning rate, steered by 15% of the training images,
  held out on both sides, and measured on the validation part that neither sees.
- C15, colour noise: none; without the division by 1.1; switched off for the last third, as in the release.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import Any

from alexnet.batches import TrainingBatches
from alexnet.model import VARIANTS
from alexnet.recipe import Plan
from results import ablations
from results.ablations import BASE, HELD_OUT, Case, curve_of, errors_of
from results.pages import Text, heading, named, row, table, text
from results.units import Place, Unit
from results.verdicts import t_interval

EPOCHS, SEEDS = 60, range(5)
SETTINGS = replace(BASE, epochs=EPOCHS, precision="fp32")
SMALL_BIASES = {"bias": VARIANTS["caffe"].bias}
CASES = {
    "base": Case(),
    "biases 0.1": Case(SMALL_BIASES),
    "biases 0.1, no dropout": Case({**SMALL_BIASES, "dropout": "none"}, against="biases 0.1"),
    "no crops, no mirror images": Case(crops=False, mirror=False),
    "plateau": Case(settings={"schedule": "plateau", "val_fraction": HELD_OUT}),
    "constant": Case(settings={"schedule": "constant", "val_fraction": HELD_OUT}, against="plateau"),
    "no weight decay": Case(settings={"weight_decay": 0.0}),
    "weight decay 0.005": Case(settings={"weight_decay": 5e-3}),
    "no colour noise": Case(settings={"color_noise": 0.0}),
    "colour noise not / 1.1": Case(),
    "colour noise for two thirds": Case(),
}


class LongRun(ablations.CaseRun):
    """A run of a case, with what two of them change in the colour noise."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name = name
        super().__init__(*arguments)

    def batches(self, plan: Plan) -> TrainingBatches:
        if self.name == "colour noise for two thirds" and 3 * self.progress.epoch >= 2 * self.settings.epochs:
            plan = replace(plan, noise=False)
        batches = super().batches(plan)
        if self.name == "colour noise not / 1.1":
            batches.mean = None   # x + noise, as the paper has it
        return batches


def compute(unit: Unit, place: Place) -> dict[str, Any]:
    run, pack, finite = ablations.trained(unit, place, CASES[unit.case], SETTINGS,
                                          partial(LongRun, unit.case))
    if run.settings.val_fraction:   # what steered the schedule does not measure it
        pack = place.pack(unit.data, SETTINGS.image_size)
    result = {"finite": finite, "precision": str(run.dtype), "epochs": run.progress.epoch,
              **errors_of(run, pack, finite)}
    return {"result": result, "curve": curve_of(run)}


def unit_of(case: str, seed: int) -> Unit:
    config = {**asdict(SETTINGS), "seed": seed, "case": asdict(CASES[case])}
    return Unit("imagenette-64-long", case, seed, config, compute, 40, "imagenette")


def units() -> list[Unit]:
    """Case by case, so that each pair is whole as early as can be."""
    return [unit_of(case, seed) for case in CASES for seed in SEEDS]


def differences(place: Place, case: str, name: str) -> list[float]:
    """A result of the case less that of what it is compared with, for the seeds that both have."""
    pairs = [place.found_all([unit_of(case, seed), unit_of(CASES[case].against, seed)]) for seed in SEEDS]
    return [pair[0]["result"][name] - pair[1]["result"][name] for pair in pairs if len(pair) == 2]


def lines(place: Place) -> list[Text | str]:
    """The table of what was run, for the page of all results."""
    rows = []
    for case in CASES:
        val, train = (differences(place, case, f"{part}_top1_error") for part in ("val", "train"))
        if case != "base" and len(val) >= 2:
            gap = [a - b for a, b in zip(val, train)]
            change = text("results.against", named(case), named(CASES[case].against))
            rows.append(row(change, *(t_interval(values).text(unit="") for values in (val, train, gap))))
    if not rows:
        return []
    return [heading("Sixty epochs"), "", text("longer.conditions", EPOCHS), "",
            *table(("change", "validation", "training", "gap"), rows)]
