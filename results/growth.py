"""How far apart images are in each layer, from the first step until the loss shows it; what works against.

At the start fc7 is nearly the same for every image. In `as-trained` it differs from one to the next by a
fiftieth of its height; in `as-written`, whose conv3 to conv5 begin three times smaller, by a thousandth. Each
layer's differences feed its neighbours' gradients, so they grow slowly at first and then all at once. Two
things do not wait. The fade (head.py) lowers fc7 until little of what differs passes its ReLU, in both
networks; batches with each class equally often have less of it. And weight decay makes every layer shorter,
by rate x decay / (1 - momentum) of its length with each step.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from results.first_steps import Steps, start_of_learning, layers_seen, settled, steps_of
from results.head import AT_RANDOM, EVENLY, unit_of
from results.pages import Text, joined, named, row, text
from results.plots import Panels
from results.units import Place, Unit

CLASSES, BATCH, STEPS = 200, 200, 2500   # a batch with one image of each class
SEEN = 0.1   # `apart` of fc8, which begins with 0.007 (as-trained) or 0.0004 (as-written)


class Growth(NamedTuple):
    """A run to follow."""

    variant: str
    difference: str
    even: bool = False   # each class equally often in every batch

    def unit(self, seed: int) -> Unit:
        return unit_of("growth", growth, 14, self.variant, self.difference, CLASSES, seed, BATCH, self.even,
                       steps=STEPS)

    @property
    def title(self) -> str:
        return f"{self.variant}, {self.difference}" + (", classes equally often" if self.even else "")


GROWTHS = [Growth("as-trained", "as it is"), Growth("as-written", "as it is"),
           Growth("as-written", "no weight decay"), Growth("as-written", "as it is", even=True),
           Growth("as-written", "no weight decay", even=True)]


def growth(unit: Unit, place: Place) -> dict[str, Any]:
    """The mean loss of each fifty steps, and what `apart` and `firing` see after them."""
    run = steps_of(unit, place)
    chance_loss, start = math.log(run.model.num_classes), apart(run)
    rows = run.follow(unit, place, STEPS, lambda rows: settled(rows, chance_loss), apart)
    alive = start_of_learning([loss for row in rows for loss in row["losses"]], chance_loss)
    return {"result": {"alive_at": alive, "guessing": chance_loss, "start": start},
            "curve": [{"step": row.pop("step"), "loss": sum(row["losses"]) / len(row.pop("losses")), **row}
                      for row in rows]}


@torch.no_grad()
def apart(run: Steps) -> dict[str, Any]:
    """The standard deviation of each layer's result from image to image (the mean of its units'), and the
    mean of fc7, both before ReLU and without dropout."""
    run.model.eval()
    with layers_seen(run.model) as found:
        run.model(run.sample().images)
    run.model.train()
    return {"apart": {name: float(f"{output.std(0).mean().item():.4g}") for name, output in found.items()},
            "mean_of_fc7": round(found["fc7"].mean().item(), 4)}


# ------------------------------------------------------------------- for the page

LOOK_AT = (0, 150, 250, 500, 1000, 2000)


def units(seed: int) -> list[Unit]:
    return [one.unit(seed) for one in GROWTHS]


def found_of(place: Place, one: Growth) -> list[dict[str, Any]]:
    return place.found_all(one.unit(seed) for seed in range(3))


def growth_rows(place: Place) -> list[Text]:
    """Seed 0's numbers on the way, and when each seed's fc8 told the images apart."""
    rows = []
    for one in GROWTHS:
        if first := place.found(one.unit(0)):
            by_step = {0: first["result"]["start"]} | {at["step"]: at for at in first["curve"]}
            seen = [by_step.get(step) for step in LOOK_AT]
            cells = (f"{at['apart']['fc7']:.2g} / {at['mean_of_fc7']:.2f}" if at else "" for at in seen)
            drawn = EVENLY if one.even else AT_RANDOM
            rows.append(row(one.variant, named(one.difference), drawn, *cells,
                            joined(seen_by(content["curve"]) for content in found_of(place, one))))
    return rows


def seen_by(curve: list[dict[str, Any]]) -> Text | str:
    """The first step by which images are `SEEN` apart in fc8; about there the loss leaves chance level."""
    step = next((row["step"] for row in curve if row["apart"]["fc8"] >= SEEN), None)
    return text("growth.not by", curve[-1]["step"]) if step is None else str(step)


def growth_lines(place: Place) -> Panels:
    """By step, how far apart images are in fc8."""
    lines = {one.title: [[(0, content["result"]["start"]["apart"]["fc8"]),
                          *((row["step"], row["apart"]["fc8"]) for row in content["curve"])]
                         for content in contents] for one in GROWTHS if (contents := found_of(place, one))}
    return {f"{CLASSES} classes, batch {BATCH}": lines} if lines else {}
