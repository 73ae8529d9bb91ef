"""The first steps of `as-written` and `as-trained`, with one difference after another.

A run gives the standard deviation of every layer's result and of its gradient at the start, then the loss of
each step. One in which learning has started (mean loss of the last 50 steps below 0.95 ln C) ends then, at
step 200 at the earliest, and so does one that has a dead layer, of which no unit fires; any other goes on
(`STEPS`; some of the first seed for `LONGER`).
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.batches import Batch, TrainingBatches
from alexnet.pack import Pack
from alexnet.device import World, choose_precision, compute_ready
from alexnet.model import LAYERS, VARIANTS, AlexNet
from alexnet.recipe import RECIPES, Recipe, make_optimizer, set_rates
from alexnet.training import masks, train_step
from results.ablations import BASE
from results.pages import Text, joined, term, named, row, say, text
from results.plots import Line
from results.units import TOY_STEPS, Place, Unit, pieces

BATCH, RATE = 128, 0.01
STARTS, WATCHED, PIECE = 0.95, 200, 50

BEFORE = {name: design.order.replace("flatten  fc6 relu6 drop6  fc7 relu7 drop7  fc8",
                                     "flatten  drop6 fc6 relu6  drop7 fc7 relu7  fc8")
          for name, design in VARIANTS.items()}
WRITTEN_LAYER_1 = VARIANTS["as-trained"].order.replace("conv1 norm1 pool1 relu1", "conv1 relu1 norm1 pool1")
NO_MAPNORM = VARIANTS["as-trained"].order.replace(" mapnorm2", "")
SMALL_BIASES = VARIANTS["caffe"].bias   # 0.1 in the place of 1
TRAINED_STD, WRITTEN_STD = VARIANTS["as-trained"].std, VARIANTS["as-written"].std


@dataclass(frozen=True)
class Difference:
    """One difference from `as-trained` or `as-written`."""

    design: dict[str, Any] = field(default_factory=dict)    # fields of model.Design
    recipe: dict[str, Any] = field(default_factory=dict)    # fields of Recipe
    rate: float = RATE
    warmup: int = 0                                         # steps


def practices(variant: str) -> dict[str, Difference]:
    """What is done today, and what people try then."""
    return {
        "as it is": Difference(),
        "inverted dropout": Difference({"dropout": "inverted"}),
        "dropout before fc6, fc7": Difference({"order": BEFORE[variant]}),
        "no dropout": Difference({"dropout": "none"}),
        "pixels / 70": Difference({"pixel_std": (70.0,) * 3}),
        "biases 0": Difference({"bias": (0,) * 8}),
        "biases 0.1": Difference({"bias": SMALL_BIASES}),
        "warm-up 150": Difference(warmup=150),
        "rate 0.02": Difference(rate=0.02),
        "rate 0.002": Difference(rate=0.002),
        "inverted dropout, rate 0.002": Difference({"dropout": "inverted"}, rate=0.002),
        "inverted dropout, biases 0.1": Difference({"dropout": "inverted", "bias": SMALL_BIASES}),
        "dropout before fc6, fc7, biases 0.1": Difference({"order": BEFORE[variant], "bias": SMALL_BIASES}),
        "no dropout, biases 0.1": Difference({"dropout": "none", "bias": SMALL_BIASES}),
    }


DIFFERENCES = {
    "as-trained": practices("as-trained") | {
        "std 0.01 in conv3-5": Difference({"std": WRITTEN_STD}),
        "biases like weights": Difference(recipe={"bias_rate": 1.0, "bias_decay": True}),
        "LRN alpha not / 5": Difference({"lrn_over_n": False}),
        "LRN over all maps": Difference({"lrn": "all"}),
        "layer 1 as in the text": Difference({"order": WRITTEN_LAYER_1}),
        "no same-map norm": Difference({"order": NO_MAPNORM}),
        "rate 0.005": Difference(rate=0.005),
        "rate 0.001": Difference(rate=0.001),
        "inverted dropout, warm-up 150": Difference({"dropout": "inverted"}, warmup=150),
    },
    "as-written": practices("as-written") | {
        "std 0.03 in conv3-5": Difference({"std": TRAINED_STD}),
        "biases as in the code": Difference(recipe={"bias_rate": 2.0, "bias_decay": False}),
        "no weight decay": Difference(recipe={"weight_decay": 0.0}),
        "LRN per column, alpha / 5": Difference({"lrn": "column", "lrn_over_n": True}),
    },
}
STEPS = {(64, 10): 800, (64, 200): 2000, (128, 10): 600, (128, 200): 2000, (224, 10): 400}   # pixels, classes
LONGER = {(64, 10): 2000, (64, 200, "as-written", "as it is"): 10_000}   # seed 0: to tell "late" from "never"
MINUTES = {64: 0.0035, 128: 0.012, 224: 0.05}   # a step, about
DECISIVE = ("as it is", "inverted dropout", "dropout before fc6, fc7", "no dropout", "pixels / 70")


# ------------------------------------------------------------------- steps

class EvenBatches(TrainingBatches):
    """Each class equally often in every batch, if their size is a multiple of the number of classes."""

    def draw_order(self) -> Tensor:
        order, classes = super().draw_order(), len(self.pack.classes)
        labels = self.pack.labels["train"][order.numpy()]
        turn = np.empty(len(labels), int)   # how many of an image's class come before it
        for label in range(classes):
            turn[labels == label] = np.arange((labels == label).sum())
        rarest = np.bincount(labels).min()
        return order[np.argsort(turn, kind="stable")][:rarest * classes]


class Steps:
    """A network on its way, one batch after the other, without end."""

    def __init__(self, pack: Pack, size: int, variant: str, difference: Difference, seed: int, rate: float,
                 dtype: torch.dtype, device: torch.device, batch: int = BATCH,
                 kind: type[TrainingBatches] = TrainingBatches) -> None:
        self.pack, self.seed, self.dtype, self.kind = pack, seed, dtype, kind
        self.rate, self.warmup = rate, difference.warmup
        torch.manual_seed(seed)
        self.model = AlexNet(len(pack.classes), size, variant, **difference.design)
        self.model.mean.copy_(pack.mean_crop(size))
        compute_ready(self.model, device, World())
        self.recipe: Recipe = replace(RECIPES[variant], **difference.recipe)
        self.optimizer = make_optimizer(self.model, self.recipe)
        self.settings = replace(BASE, variant=variant, image_size=size, batch_size=batch, seed=seed,
                                color_noise=self.recipe.noise)
        self.per_epoch = len(self.epoch(0))
        self.model.train()

    def epoch(self, number: int, first: int = 0) -> TrainingBatches:
        """The batches of an epoch, from one on."""
        return self.kind(self.pack, self.settings, number, self.model.mean[0], first=first)

    def batches(self, first: int) -> Iterator[tuple[int, Batch]]:
        """Steps from `first` on, with their batches."""
        step = first
        while True:
            for batch in self.epoch(*divmod(step, self.per_epoch)):
                yield step, batch
                step += 1

    def sample(self) -> Batch:
        """128 images to look at, the same whatever the batches of the run."""
        settings = replace(self.settings, batch_size=BATCH)
        return TrainingBatches(self.pack, settings, 0, self.model.mean[0]).prepare(0)

    def take(self, step: int, batch: Batch) -> float:
        """One step; the mean loss before it."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        set_rates(self.optimizer, self.rate * warm)
        with masks(self.model, self.seed, step):
            return train_step(self.model, self.optimizer, batch, self.dtype)[0].item() / batch.total

    def losses(self, first: int, count: int) -> list[float]:
        return [self.take(step, batch) for step, batch in islice(self.batches(first), count)]

    def follow(self, unit: Unit, place: Place, steps: int, enough: Callable[[list[dict[str, Any]]], bool],
               see: Callable[[Steps], dict[str, Any]] = lambda run: {}) -> list[dict[str, Any]]:
        """Fifty steps after fifty, `steps` of them or until the rows are `enough`: in each row the losses,
        which units fire after them, and what `see` finds."""
        size = place.few(PIECE, TOY_STEPS)

        def a_piece(rows: list[dict[str, Any]]) -> dict[str, Any]:
            losses = self.losses(len(rows) * size, size)
            return {"step": (len(rows) + 1) * size, "losses": losses, "firing": firing(self), **see(self)}

        parts = {"model": self.model, "optimizer": self.optimizer}
        return pieces(unit, place, place.few(steps // PIECE), parts, a_piece, enough)


def steps_of(unit: Unit, place: Place, rate: float | None = None) -> Steps:
    config = unit.config
    difference = DIFFERENCES[config["variant"]][config["difference"]]
    pack = place.pack(unit.data, config["image_size"])
    pack = some_classes(pack, range(min(config["classes"], len(pack.classes))))
    kind = EvenBatches if config.get("even") else TrainingBatches
    return Steps(pack, config["image_size"], config["variant"], difference, unit.seed,
                 rate or difference.rate, choose_precision(config["precision"], place.device), place.device,
                 config["batch"], kind)


def some_classes(pack: Pack, classes: Sequence[int]) -> Pack:
    """Some classes of a pack, given by number in rising order; the mean image stays that of all."""
    if len(classes) == len(pack.classes):
        return pack
    chosen = {part: np.flatnonzero(np.isin(labels, classes)) for part, labels in pack.labels.items()}
    return replace(pack, classes=[pack.classes[label] for label in classes],
                   images={part: images[chosen[part]] for part, images in pack.images.items()},
                   labels={part: np.searchsorted(classes, labels[chosen[part]])
                           for part, labels in pack.labels.items()})


# ------------------------------------------------------------------- one run

def first_steps(unit: Unit, place: Place) -> dict[str, Any]:
    """Standard deviations at the start, and the loss of each step."""
    run = steps_of(unit, place)
    start = deviations(run)
    chance_loss = math.log(run.model.num_classes)
    rows = run.follow(unit, place, unit.config["steps"], lambda rows: settled(rows, chance_loss))
    losses = [loss for row in rows for loss in row["losses"]]
    curve = [{"step": row["step"], "loss": sum(row["losses"]) / len(row["losses"]),
              "firing": row["firing"], "seconds": row["seconds"]} for row in rows]
    return {"result": {"precision": str(run.dtype), "guessing": chance_loss,
                       "alive_at": start_of_learning(losses, chance_loss), "dead": dead(rows), "start": start,
                       "first_losses": [round(loss, 4) for loss in losses[:100]]}, "curve": curve}


def settled(rows: list[dict[str, Any]], chance_loss: float) -> bool:
    """Whether there is no more to see: learning started some time ago, or never can, or is no number."""
    losses = [loss for row in rows for loss in row["losses"]]
    return bool(losses) and (not math.isfinite(losses[-1]) or len(losses) >= WATCHED and (
        start_of_learning(losses, chance_loss) is not None or dead(rows) is not None))


@contextmanager
def layers_seen(model: AlexNet) -> Iterator[dict[str, Tensor]]:
    """What each layer makes of what passes meanwhile, before its ReLU."""
    found: dict[str, Tensor] = {}
    hooks = [getattr(model, name).register_forward_hook(
        lambda module, inputs, output, name=name: found.__setitem__(name, output)) for name in LAYERS]
    yield found
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def firing(run: Steps) -> dict[str, float]:
    """The share of each layer's units that are above 0 for any image of the sample."""
    with masks(run.model, run.seed, 0), layers_seen(run.model) as found:
        run.model(run.sample().images)
    return {name: round((found[name] > 0).any(0).float().mean().item(), 6) for name in LAYERS[:-1]}


def dead(rows: list[dict[str, Any]]) -> str | None:
    """The layer of which no unit fired, twice in a row: behind it nothing depends on the image, and through
    its ReLUs no gradient comes back."""
    return next((name for name in LAYERS[:-1]
                 if len(rows) > 1 and all(row["firing"][name] == 0 for row in rows[-2:])), None)


def start_of_learning(losses: list[float], chance_loss: float, window: int = 50) -> int | None:
    """The step by which the mean loss of the last 50 was below 0.95 ln C, to stay there to the end seen."""
    means = np.convolve(losses, np.ones(window) / window, "valid") if len(losses) >= window else np.array([])
    if not len(means) or not means[-1] < STARTS * chance_loss:
        return None
    above = np.flatnonzero(~(means < STARTS * chance_loss))
    return int(above[-1] + 1 + window if len(above) else window)


def deviations(run: Steps) -> dict[str, list[float]]:
    """Of each layer's result, and of the loss's gradient there (times the batch's size), on the sample."""
    batch = run.sample()
    with masks(run.model, run.seed, 0), layers_seen(run.model) as found:
        logits = run.model(batch.images)
    for output in found.values():
        output.retain_grad()
    F.cross_entropy(logits, batch.labels, reduction="sum").backward()
    run.model.zero_grad(set_to_none=True)
    return {name: [output.std().item(), output.grad.std().item()] for name, output in found.items()}


# ------------------------------------------------------------------- the units

def first_unit(variant: str, name: str, seed: int, size: int = 64, classes: int = 10) -> Unit:
    steps = STEPS[size, classes]
    if not seed:
        steps = LONGER.get((size, classes, variant, name), LONGER.get((size, classes), steps))
    config = {"variant": variant, "difference": name, "image_size": size, "classes": classes, "batch": BATCH,
              "precision": "auto", "steps": steps, **asdict(DIFFERENCES[variant][name])}
    return Unit(f"first-steps-{size}px-{classes}", f"{variant} {name}", seed, config, first_steps,
                steps * MINUTES[size], data_for(classes))


def data_for(classes: int) -> str:
    return "imagenette" if classes <= 10 else "tiny"


# ------------------------------------------------------------------- for the page

def found_of(place: Place, variant: str, name: str, size: int, classes: int) -> list[dict[str, Any]]:
    """The runs there are, by seed."""
    return place.found_all(first_unit(variant, name, seed, size, classes) for seed in range(3))


def loss_lines(place: Place, variant: str, size: int, classes: int) -> dict[str, list[Line]]:
    return {named(name).en: [loss_line(content) for content in contents] for name in DECISIVE
            if (contents := found_of(place, variant, name, size, classes))}


def loss_line(content: dict[str, Any]) -> Line:
    """(step, loss / ln C): the first steps one by one, then means over more and more, then over fifty."""
    first, chance_loss = content["result"]["first_losses"], content["result"]["guessing"]
    ends = sorted({round(1.15 ** power) for power in range(64)} & set(range(1, len(first) + 1)))
    line = [(end, sum(first[start:end]) / (end - start) / chance_loss)
            for start, end in zip([0, *ends], ends)]
    return line + [(row["step"], row["loss"] / chance_loss) for row in content["curve"]
                   if row["step"] > len(first)]


def starts(place: Place, variant: str, name: str, size: int, classes: int) -> list[Text | str]:
    """When learning starts with each seed."""
    found = []
    for content in found_of(place, variant, name, size, classes):
        result, last = content["result"], content["curve"][-1]["step"]
        if result["alive_at"]:
            found.append(str(result["alive_at"]))
        elif result["dead"]:
            found.append(text("steps.never", result["dead"], last))
        else:
            found.append(text("steps.not by", last))
    return found


def span(place: Place, variant: str, name: str, size: int, classes: int) -> Text | str:
    """The first and the last of these steps, and how many seeds have one if not all do."""
    contents = found_of(place, variant, name, size, classes)
    steps = sorted(step for content in contents if (step := content["result"]["alive_at"]))
    if not steps:
        return term("no") if contents else ""
    some = text("steps.of", len(steps), len(contents)) if len(steps) < len(contents) else ""
    return say("{}{}", "{}{}", joined(map(str, sorted({steps[0], steps[-1]})), " to ", " 至 "), some)


def start_rows(place: Place) -> list[Text]:
    """Standard deviations at the start, of the two networks and of what is done to them today; seed 0."""
    rows = []
    for variant in DIFFERENCES:
        for name in [*DECISIVE, *[name for name in DIFFERENCES[variant] if name.startswith("std")]]:
            if content := place.found(first_unit(variant, name, 0)):
                start = content["result"]["start"]
                cells = (f"{start[layer][0]:.2g} / {start[layer][1]:.1e}" for layer in LAYERS)
                rows.append(row(variant, named(name), *cells))
    return rows
