"""Ablations: one base network on Imagenette at 64 px, and what each change does to it.

Base and changes are trained with the same seeds (the same order, crops, dropout), so that differences are
paired; only runs in one precision are compared, since `auto` means bf16 where the processor has it. Which
settings were changed after which runs stands in results/README.md (What was fixed when); nothing is chosen by
the reported errors. The learning rate of tanh, which the paper lets each side choose, is chosen on a part of
the training images.
"""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Callable

import numpy as np
import torch

from alexnet import augment, interpret
from alexnet.batches import TrainingBatches
from alexnet.pack import Pack
from alexnet.model import AlexNet
from alexnet.recipe import Plan
from alexnet.settings import Settings
from alexnet.training import Run, evaluate
from results.units import Place, Unit

SIZE, EPOCHS, RATE_EPOCHS = 64, 12, 6
BASE = Settings(data="imagenette", variant="as-trained", image_size=SIZE, val_fraction=None, epochs=EPOCHS,
                batch_size=128, lr=0.01, momentum=0.9, weight_decay=5e-4, warmup=0, schedule="steps",
                color_noise=0.1, seed=0, precision="auto")
FC_BIASES_0 = (0, 1, 0, 1, 1, 0, 0, 0)   # conv2, conv4 and conv5 keep theirs
CONVOLUTIONS = tuple(f"conv{number}" for number in range(1, 6))
HELD_OUT = 0.15   # of the training images, where something is chosen


@dataclass(frozen=True)
class Case:
    """What changes against the base."""

    design: dict[str, Any] = field(default_factory=dict)    # fields of model.Design
    settings: dict[str, Any] = field(default_factory=dict)  # fields of Settings
    crops: bool = True                                      # random, else the centre
    mirror: bool = True                                     # half of the images
    against: str = "base"                                   # the case that it is compared with


CASES = {
    "base": Case(),
    # Where nothing halves fc7, the base's learning rate kills it (what-breaks-it), hence half of it on both
    # sides. Without dropout learning starts late at that rate, too, and ends badly; with fc biases of 0 not.
    "rate 0.005": Case(settings={"lr": 0.005}),
    "no dropout": Case({"dropout": "none"}, {"lr": 0.005}, against="rate 0.005"),
    "fc biases 0": Case({"bias": FC_BIASES_0}),
    "fc biases 0, no dropout": Case({"bias": FC_BIASES_0, "dropout": "none"}, against="fc biases 0"),
    "no crops, no mirror images": Case(crops=False, mirror=False),
    "constant rate": Case(settings={"schedule": "constant"}),
    "biases 0": Case({"bias": (0,) * 8}),
    "no colour noise": Case(settings={"color_noise": 0.0}),
    "no LRN": Case({"lrn": "none"}),
    "2x2 pooling": Case({"pooling": "2x2"}),   # with the paddings of run 147: at 64 px conv5 is 1 x 1
    "2x2 pooling, same sizes": Case({"pooling": "2x2 alone"}),
    "one column, half the maps": Case({"columns": "half"}),
    "one column, all maps": Case({"columns": 1}),
    "no crops": Case(crops=False),
    "no mirror images": Case(mirror=False),
    "no weight decay": Case(settings={"weight_decay": 0.0}),
    **{f"without {name}": Case({"without": name}) for name in CONVOLUTIONS},
    # With the recipe's biases and small weights tanh stayed at chance level at 0.002 to 0.02. So it begins as
    # was usual with it: biases 0, weights of 1 / sqrt(inputs), which keep results near 1 (conv1 sees grey
    # levels, some 60 times that).
    "tanh": Case({"activation": "tanh", "bias": (0,) * 8,
                  "std": (0.001, 0.03, 0.02, 0.024, 0.024, 0.06, 0.016, 0.016)}),
}
TANH_RATES = (0.16, 0.08, 0.04, 0.02, 0.01, 0.005, 0.002)
SECTIONS = {   # of the paper, and the cases about them
    "3.1 ReLU": ("tanh",),
    "3.2 Two GPUs": ("one column, half the maps", "one column, all maps"),
    "3.3 Local response normalisation": ("no LRN",),
    "3.4 Overlapping pooling": ("2x2 pooling, same sizes", "2x2 pooling"),
    "4.1 Augmentation": ("no crops", "no mirror images", "no crops, no mirror images", "no colour noise"),
    "4.2 Dropout": ("fc biases 0, no dropout", "no dropout"),
    "5 Details of learning": ("no weight decay", "biases 0", "fc biases 0", "constant rate", "rate 0.005"),
    "7 Depth": tuple(f"without {name}" for name in CONVOLUTIONS),
}
SEEDS = {"base": range(7)}                       # the paper averages five networks, and seven
SMALL = ("one column, half the maps", "no LRN", "2x2 pooling, same sizes", "2x2 pooling", "no colour noise",
         "no weight decay")
SEEDS |= {name: range(5) for name in SMALL}      # effects of a point or so in the paper


# ------------------------------------------------------------------- training

class Diverged(Exception):
    """The loss is no longer a number."""


class CaseRun(Run):
    """A run of a changed network, or with changed images; the rest is the product's own."""

    finite = True   # whether the loss is still a number

    def __init__(self, case: Case, *arguments: Any) -> None:
        self.case = case
        super().__init__(*arguments)

    def build(self) -> AlexNet:
        return AlexNet(len(self.pack.classes), self.settings.image_size, self.settings.variant,
                       **self.case.design)

    def batches(self, plan: Plan) -> TrainingBatches:
        batches = super().batches(plan)
        batches.draw = self.draw
        return batches

    def draw(self, count: int, room: int, chance: torch.Generator) -> augment.Choice:
        """The usual draw, less what the case switches off: the other images stay paired with the base's."""
        choice = augment.choose(count, room, chance)
        if not self.case.crops:
            middle = torch.full_like(choice.top, room // 2)
            choice = replace(choice, top=middle, left=middle)
        return choice if self.case.mirror else replace(choice, mirror=torch.zeros_like(choice.mirror))

    def check(self, loss: float, what: str = "loss") -> None:
        if not math.isfinite(loss):
            raise Diverged


def trained(unit: Unit, place: Place, case: Case, settings: Settings,
            kind: Callable[..., CaseRun] = CaseRun) -> CaseRun:
    """The run of a unit, from its beginning or from where it was stopped, to its end; not `finite` if the
    loss ceased to be a number."""
    settings = replace(settings, seed=unit.seed, epochs=place.few(settings.epochs), **case.settings)
    pack = place.pack(unit.data, settings.image_size, settings.val_fraction)
    run = kind(case, place.work(unit), settings, pack, place.device)
    run.restore()
    try:
        for _ in run.train():
            run.stop = bool(place.asked)   # last.pt is written then
    except Diverged:
        run.finite = False
    return run


def curve_of(run: Run) -> list[dict[str, Any]]:
    left_out = ("images_per_second", "seconds_waiting")
    return [{name: value for name, value in row.items() if name not in left_out}
            for row in run.progress.rows]


def compute(unit: Unit, place: Place) -> dict[str, Any]:
    """Errors of the last network on both parts, without augmentation; and more of the base."""
    case = CASES[unit.case]
    if unit.case == "tanh":
        case = replace(case, settings={"lr": best_tanh_rate(place)})
    run = trained(unit, place, case, BASE)
    result = {"finite": run.finite, "rate": run.settings.lr, "precision": str(run.dtype),
              **errors_of(run, run.pack)}
    if unit.case == "base":
        result |= more_of(run.model, run.pack)
    return {"result": result, "curve": curve_of(run)}


def errors_of(run: CaseRun, pack: Pack) -> dict[str, float]:
    """Loss and errors of the last network on both parts, without augmentation."""
    found = {part: measured(run, pack, part=part) for part in ("train", "val")}
    return {f"{part}_{name}": values[name] for part, values in found.items()
            for name in ("loss", "top1_error", "top5_error")}


def measured(run: CaseRun, pack: Pack, **more: Any) -> dict[str, float]:
    """What `evaluate` finds; chance level for a network whose weights are no numbers."""
    if run.finite:
        return evaluate(run.model, pack, **more)
    count = len(pack.classes)
    return {"loss": math.log(count), "top1_error": 1 - 1 / count, "top5_error": max(0.0, 1 - 5 / count)}


# ------------------------------------------------------------------- the base, looked at

def more_of(model: AlexNet, pack: Pack) -> dict[str, Any]:
    """Ten-crop (C14), what averaging needs (C4), colours of conv1 (C23), neighbours (C25)."""
    return {"ten_views_top1_error": evaluate(model, pack, views=10)["top1_error"],
            "probabilities": as_text(all_probabilities(model, pack)), "classes": len(pack.classes),
            "labels": as_text(pack.labels["val"]),
            "colourfulness": [round(value, 4) for value in
                              interpret.colourfulness(model.conv1.weight).tolist()],
            **neighbours(model, pack)}


def all_probabilities(model: AlexNet, pack: Pack) -> np.ndarray:
    """(N, classes) of the validation part, one crop."""
    return interpret.layer_values(model, pack.images["val"], "fc8").softmax(1).numpy()


def as_text(values: np.ndarray) -> str:
    """Numbers in 16 bits, packed into a text that JSON can hold."""
    return base64.b64encode(values.astype(np.float16).tobytes()).decode()


def from_text(text: str, columns: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.float16).reshape(-1, columns).astype(np.float64)


def neighbours(model: AlexNet, pack: Pack, queries: int = 1000, count: int = 6) -> dict[str, float]:
    """How many of the `count` nearest training images have the query's class: in fc7 and in pixels."""
    stride = max(1, len(pack.labels["val"]) // queries)
    inside = augment.middle(pack.side, model.image_size)
    asked, bank = pack.images["val"][::stride, inside, inside], pack.images["train"][:, inside, inside]
    spaces = {"fc7": (interpret.layer_values(model, asked), interpret.layer_values(model, bank)),
              "pixels": (asked, bank)}
    wanted, found = pack.labels["val"][::stride, None], {}
    for name, (points, among) in spaces.items():
        nearest, _ = interpret.neighbours(points, among, count)
        found[f"agreement_in_{name}"] = float((pack.labels["train"][nearest] == wanted).mean())
    return found


# ------------------------------------------------------------------- the rate of tanh

def tanh_rate(unit: Unit, place: Place) -> dict[str, Any]:
    """The error on held-out training images with one rate."""
    case = replace(CASES["tanh"], settings={"lr": unit.config["lr"]})
    run = trained(unit, place, case, replace(BASE, val_fraction=HELD_OUT, epochs=RATE_EPOCHS))
    return {"result": {"error": run.progress.errors()[-1] if run.finite else 1.0}, "curve": curve_of(run)}


def best_tanh_rate(place: Place) -> float:
    return min(TANH_UNITS, key=lambda unit: place.found(unit)["result"]["error"]).config["lr"]


# ------------------------------------------------------------------- the units

TANH_UNITS = tuple(Unit("imagenette-64", f"rate of tanh {rate:g}", 100,
                        {"lr": rate, "epochs": RATE_EPOCHS, "val_fraction": HELD_OUT,
                         "case": asdict(CASES["tanh"])}, tanh_rate, 6, "imagenette") for rate in TANH_RATES)


def case_unit(name: str, seed: int) -> Unit:
    config = {**asdict(BASE), "seed": seed, "case": asdict(CASES[name])}
    return Unit("imagenette-64", name, seed, config, compute, 14 if name == "base" else 12, "imagenette",
                TANH_UNITS if name == "tanh" else ())


def units_of(name: str) -> list[Unit]:
    return [case_unit(name, seed) for seed in SEEDS.get(name, range(3))]


def units() -> list[Unit]:
    """Case by case: a verdict can follow while the next case runs."""
    return [*TANH_UNITS, *(unit for name in CASES for unit in units_of(name))]
