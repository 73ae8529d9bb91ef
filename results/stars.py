"""Table 2's stars at small scale: a sixth convolutional layer, and pre-training. Rules fixed before the first
run.

In 2012 (layer-params-146-*.cfg) the convolutions of net 145 and a new conv6 learnt the 2009 release of
ImageNet for 7 epochs; the convolutions then learnt the 2011 release, 21,843 classes, for 8, with new
fully-connected layers; and all of it but fc8 then ILSVRC-2012 for 54, with learning rates of 0.001 (conv1
0.0001, fc8 soon 0.01), dropped twice. Errors there: 40.7% without, 39.0% with all that.

Here, at 128 px (at 64 px pool5 leaves a single value of each feature map), in fp32, three seeds:

- `sixth layer`: Imagenette from scratch, `as-trained` with conv6; the base is that of `imagenette-128`
  (larger.py), with the same settings: 12 epochs, schedule `steps`.
- `sixth layer, pre-trained`: first Tiny-ImageNet (enlarged), less the classes that occur in Imagenette, 8
  epochs from scratch with the same schedule; then Imagenette as above, but with a learning rate of 0.001,
  that of fc8 ten times as high, and with the first set's mean image, as in fine-tuning with `--weights`.
  Unlike in 2012 there is one stage of pre-training, and conv1 has the learning rate of the others.

Pre-training lowers the error if the interval of `sixth layer, pre-trained` less `sixth layer` (top-1, paired
by seeds) lies below 0; the sixth layer by itself if that of `sixth layer` less base does.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from alexnet.device import World
from results.ablations import BASE, Case, CaseRun, curve_of, errors_of, trained
from results.first_steps import some_classes
from results.larger import PIXELS
from results.pages import Text, named, part, row, text
from results.series import val_error
from results.units import Place, Unit
from results.verdicts import t_interval

SETTINGS = replace(BASE, image_size=128, precision="fp32")
FIRST_EPOCHS = 8
SIXTH = Case({"conv6": 256})
SCRATCH, TUNED = "sixth layer", "sixth layer, pre-trained"
CASES = {SCRATCH: SIXTH, TUNED: replace(SIXTH, settings={"lr": 0.001, "head_lr": 10.0})}
SEEDS = range(3)


def star(unit: Unit, place: Place) -> dict[str, Any]:
    """Errors of the last network on both parts, and what it began with."""
    start, before = pre_trained(unit, place) if unit.case == TUNED else (None, {})
    run = trained(replace(unit, data="imagenette"), place, CASES[unit.case], SETTINGS,
                  lambda *given: CaseRun(*given, World(), 1, start))
    result = {"finite": run.finite, "precision": str(run.dtype), **errors_of(run, run.pack), **before}
    return {"result": result, "curve": curve_of(run)}


def pre_trained(unit: Unit, place: Place) -> tuple[dict[str, Any], dict[str, Any]]:
    """The network (as a checkpoint has it) of the run on other classes; its last row; how many classes."""
    known = place.pack("imagenette", SETTINGS.image_size).classes
    others = [index for index, name in enumerate(place.pack("tiny", SETTINGS.image_size).classes)
              if name not in known]
    run = trained(replace(unit, data="tiny"), place, SIXTH, replace(SETTINGS, epochs=FIRST_EPOCHS),
                  lambda case, folder, settings, pack, device: CaseRun(
                      case, folder / "first", settings, some_classes(pack, others), device))
    return ({"model": run.model.state_dict(), "classes": run.pack.classes},
            {"first_classes": len(others), "first": curve_of(run)[-1]})


def unit_of(case: str, seed: int) -> Unit:
    config = {**asdict(SETTINGS), "seed": seed, "case": asdict(CASES[case])}
    if case == SCRATCH:
        return Unit("stars", case, seed, config, star, 40, "imagenette")
    config["first"] = {"data": "tiny", "epochs": FIRST_EPOCHS, "case": asdict(SIXTH)}
    return Unit("stars", case, seed, config, star, 280, "imagenette tiny")


def units() -> list[Unit]:
    return [unit_of(case, seed) for case in CASES for seed in SEEDS]


def lines(place: Place) -> list[Text | str]:
    """What each adds, for the page of all results."""
    rows = []
    for case, against in ((SCRATCH, "base"), (TUNED, SCRATCH), (TUNED, "base")):
        other = PIXELS.unit if against == "base" else unit_of
        pairs = place.pairs([unit_of(case, seed) for seed in SEEDS], [other(against, seed) for seed in SEEDS])
        apart = [val_error(one) - val_error(two) for one, two in pairs]
        if len(apart) >= 2:
            change = text("results.against", named(case), named(against))
            rows.append(row(change, t_interval(apart).text(unit="")))
    return part("Table 2's stars", text("stars.conditions", FIRST_EPOCHS, SETTINGS.epochs),
                ("change", "change of the top-1 error"), rows)
