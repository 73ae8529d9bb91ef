"""Sixty epochs instead of twelve, for claims with small effects. Rules fixed before the first run.

Imagenette at 64 px as in ablations.py, three seeds a side (five at first), but 60 epochs, and drops of the
learning rate at 60 and 84% of them. In bf16, as the runs of 12 epochs. Every case records both errors without
augmentation and dropout (`train_`, `val_`), and the curve.

- C17, dropout: biases of 0.1 on both sides, since with 1 learning does not start without it. Judged as before
  (the gap, and the epochs to 50% training error), with the first epoch at which the side without reaches the
  best validation error of the side with.
- C13, crops and mirror images: as before, the gap; the validation error is given beside it.
- C19, weight decay: 0 and 5e-3 beside the recipe's 5e-4; training error without less with.
- C21, the paper's own rule: `plateau` and a constant learning rate, steered by 15% of the training images,
  held out on both sides, and measured on the validation part that neither sees. A run of `plateau` that has
  not ended after 60 epochs is measured there.
- C15, colour noise: none; without the division by 1.1; switched off for the last third (in the release the
  last quarter).

again.py judges them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from alexnet.batches import TrainingBatches
from alexnet.model import VARIANTS
from alexnet.recipe import Plan
from results import plots
from results.ablations import BASE, HELD_OUT, Case, CaseRun
from results.pages import Text, picture
from results.series import Series
from results.units import Place

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


class LongRun(CaseRun):
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


SIXTY = Series("imagenette-64-long", replace(BASE, epochs=60, precision="bf16"), CASES, range(3), 30,
               "imagenette", "Sixty epochs", "longer.conditions", lambda name: partial(LongRun, name))
OVERFITTING = "Validation error and loss over 60 epochs, with crops and mirror images or dropout, and without"
PANELS = {"crops and mirror images": "no crops, no mirror images",
          "dropout (fc biases of 0.1)": "biases 0.1, no dropout"}


def draw(place: Place) -> None:
    """What both kinds of regularisation do in the course of a training."""
    panels = {}
    for panel, case in PANELS.items():
        pairs = SIXTY.pairs(place, case)
        longest = max((len(one["curve"]) for pair in pairs for one in pair), default=0)
        # without those that ended early, since their loss was no number
        if pairs := [pair for pair in pairs if all(len(one["curve"]) == longest for one in pair)]:
            without, with_it = ([content["curve"] for content in side] for side in zip(*pairs))
            panels[panel] = {"with": with_it, "without": without}
    if panels:
        plots.overfitting(panels, place.out / "overfitting.png",
                          "Imagenette, 64 px: 60 epochs with and without")


def lines(place: Place) -> list[Text | str]:
    return [*SIXTY.lines(place), *picture(place.out, "overfitting.png", OVERFITTING)]
