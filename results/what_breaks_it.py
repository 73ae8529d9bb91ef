"""What breaks AlexNet: the first steps of the text and of the code of 2012, with one difference after another.

Three kinds of unit. `first-steps`: standard deviation of every layer's result and of its gradient at the
start, then the loss of each step. A run that has come off the ground (mean loss of the last 50 steps below
0.95 ln C) ends after 200 steps, and so does one that never can, because no unit of some layer fires; any other goes on,
the first seed's for two thousand steps at 64 px, so that "late" differs from "never".
`curvature`: the first 50 steps, with fc7, logits and the largest curvature of the loss (iterated products with its
Hessian) on a fixed batch, and the rate that each predicts. `limit`: the largest rate that fc7 survives, by bisection, for 2,
10 and 200 classes.

The idea under test (DESIGN.md): biases of 1 make fc7 nearly the same vector h for every picture; along the mean
of h, after dropout, the loss has the curvature |h|^2 / C, and momentum m is stable only while
rate x curvature < 2 (1 + m).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet import figures
from alexnet.data import Pack
from alexnet.device import choose_precision
from alexnet.model import LAYERS, VARIANTS, AlexNet, Dropout
from alexnet.training import (DROPOUT, RECIPES, Batch, Recipe, TrainingBatches, World, compute_ready, generator,
                              make_optimizer, set_rates, train_step)
from results.pages import fill, picture
from results.units import TOY_STEPS, Place, Unit, pieces
from results.verdicts import t_interval

TITLE = "What breaks AlexNet"
BATCH, RATE, MOMENTUM = 128, 0.01, 0.9
ALIVE, ALIVE_STEPS, PIECE = 0.95, 200, 50
CPU = torch.device("cpu")

BEFORE = {name: design.order.replace("flatten  fc6 relu6 drop6  fc7 relu7 drop7  fc8",
                                     "flatten  drop6 fc6 relu6  drop7 fc7 relu7  fc8")
          for name, design in VARIANTS.items()}
TEXT_LAYER_1 = VARIANTS["as-trained"].order.replace("conv1 norm1 pool1 relu1", "conv1 relu1 norm1 pool1")
NO_MAPNORM = VARIANTS["as-trained"].order.replace(" mapnorm2", "")
CODE_STD, TEXT_STD = VARIANTS["as-trained"].std, VARIANTS["as-written"].std


@dataclass(frozen=True)
class Difference:
    """One difference, made in the code or in the text."""

    design: dict[str, Any] = field(default_factory=dict)    # fields of model.Design
    recipe: dict[str, Any] = field(default_factory=dict)    # fields of training.Recipe
    rate: float = RATE
    warmup: int = 0                                         # steps


def habits(variant: str) -> dict[str, Difference]:
    """What is done today, and what people try then."""
    return {
        "as it is": Difference(),
        "inverted dropout": Difference({"dropout": "inverted"}),
        "dropout before fc6, fc7": Difference({"order": BEFORE[variant]}),
        "no dropout": Difference({"dropout": "none"}),
        "pixels / 70": Difference({"pixel_std": (70.0,) * 3}),
        "biases 0": Difference({"bias": (0,) * 8}),
        "warm-up 150": Difference(warmup=150),
        "rate 0.02": Difference(rate=0.02),
        "rate 0.002": Difference(rate=0.002),
        "inverted dropout, rate 0.002": Difference({"dropout": "inverted"}, rate=0.002),
    }


DIFFERENCES = {
    "as-trained": habits("as-trained") | {
        "std 0.01 in conv3-5": Difference({"std": TEXT_STD}),
        "biases like weights": Difference(recipe={"bias_rate": 1.0, "bias_decay": True}),
        "LRN alpha not / 5": Difference({"lrn_over_n": False}),
        "LRN over all maps": Difference({"lrn": "all"}),
        "layer 1 as in the text": Difference({"order": TEXT_LAYER_1}),
        "no same-map norm": Difference({"order": NO_MAPNORM}),
        "rate 0.005": Difference(rate=0.005),
        "rate 0.001": Difference(rate=0.001),
        "inverted dropout, warm-up 150": Difference({"dropout": "inverted"}, warmup=150),
    },
    "as-written": habits("as-written") | {
        "std 0.03 in conv3-5": Difference({"std": CODE_STD}),
        "biases as in the code": Difference(recipe={"bias_rate": 2.0, "bias_decay": False}),
        "LRN per column, alpha / 5": Difference({"lrn": "column", "lrn_over_n": True}),
    },
}
DECISIVE = ("as it is", "inverted dropout", "dropout before fc6, fc7", "no dropout", "pixels / 70")


# ------------------------------------------------------------------- steps

class Steps:
    """A network on its way, one batch after the other, without end."""

    def __init__(self, pack: Pack, size: int, variant: str, difference: Difference, seed: int, rate: float,
                 dtype: torch.dtype) -> None:
        self.pack, self.size, self.seed, self.dtype = pack, size, seed, dtype
        self.rate, self.warmup = rate, difference.warmup
        torch.manual_seed(seed)
        self.model = AlexNet(len(pack.classes), size, variant, **difference.design)
        self.model.mean.copy_(pack.mean_crop(size))
        compute_ready(self.model, CPU, World())
        self.recipe: Recipe = replace(RECIPES[variant], **difference.recipe)
        self.optimizer = make_optimizer(self.model, self.recipe)
        self.per_epoch = math.ceil(len(pack.labels["train"]) / BATCH)
        self.model.train()

    def batches(self, first: int) -> Iterator[tuple[int, Batch]]:
        """Steps from `first` on, with their batches."""
        step = first
        while True:
            epoch, index = divmod(step, self.per_epoch)
            for batch in TrainingBatches(self.pack, self.size, BATCH, self.seed, epoch, CPU, noise=self.recipe.noise,
                                         colour=self.recipe.colour, first=index):
                yield step, batch
                step += 1

    def take(self, step: int, batch: Batch) -> float:
        """One step; the mean loss before it."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        set_rates(self.optimizer, self.rate * warm)
        self.seed_dropout(step)
        return train_step(self.model, self.optimizer, batch, self.dtype)[0].item() / batch.total

    def seed_dropout(self, step: int) -> None:
        """The same masks whenever this step is looked at."""
        dropouts = [module for module in self.model.modules() if isinstance(module, Dropout)]
        for number, dropout in enumerate(dropouts):
            dropout.generator = generator("cpu", self.seed, step, DROPOUT, number)

    def losses(self, first: int, count: int) -> list[float]:
        found = []
        for step, batch in self.batches(first):
            found.append(self.take(step, batch))
            if len(found) == count:
                return found
        return found


def steps_of(unit: Unit, place: Place, rate: float | None = None) -> Steps:
    config = unit.config
    difference = DIFFERENCES[config["variant"]][config["difference"]]
    pack = some_classes(place.pack(unit.data, config["image_size"]), config["classes"])
    return Steps(pack, config["image_size"], config["variant"], difference, unit.seed, rate or difference.rate,
                 choose_precision(config["precision"], CPU))


def some_classes(pack: Pack, count: int) -> Pack:
    """The first `count` classes of a pack."""
    if count >= len(pack.classes):
        return pack
    chosen = {part: np.flatnonzero(labels < count) for part, labels in pack.labels.items()}
    return replace(pack, classes=pack.classes[:count],
                   images={part: images[chosen[part]] for part, images in pack.images.items()},
                   labels={part: labels[chosen[part]] for part, labels in pack.labels.items()})


# ------------------------------------------------------------------- first steps

def first_steps(unit: Unit, place: Place) -> dict[str, Any]:
    """Standard deviations at the start, and the loss of each step."""
    run = steps_of(unit, place)
    start = deviations(run)
    size = place.few(PIECE, TOY_STEPS)

    def a_piece(rows: list[dict[str, Any]]) -> dict[str, Any]:
        losses = run.losses(len(rows) * size, size)
        return {"step": (len(rows) + 1) * size, "losses": losses, "firing": firing(run)}

    guess = math.log(run.model.num_classes)
    rows = pieces(unit, place, place.few(unit.config["steps"] // PIECE), {"model": run.model, "optimizer": run.optimizer}, a_piece,
                  lambda rows: settled(rows, guess))
    losses = [loss for row in rows for loss in row["losses"]]
    curve = [{"step": row["step"], "loss": sum(row["losses"]) / size, "firing": row["firing"],
              "seconds": row["seconds"]} for row in rows]
    return {"result": {"precision": str(run.dtype), "guessing": guess, "alive_at": alive_at(losses, guess),
                       "dead": dead(rows), "start": start, "first_losses": [round(loss, 4) for loss in losses[:100]]}, "curve": curve}


def settled(rows: list[dict[str, Any]], guess: float) -> bool:
    """Whether there is no more to see: the run came off the ground some time ago, or never can, or is no number."""
    losses = [loss for row in rows for loss in row["losses"]]
    return bool(losses) and (not math.isfinite(losses[-1]) or len(losses) >= ALIVE_STEPS and (
        alive_at(losses, guess) is not None or dead(rows) is not None))


@torch.no_grad()
def firing(run: Steps) -> dict[str, float]:
    """The share of each layer's units that are above 0 for any image of the first batch."""
    found: dict[str, float] = {}
    hooks = [getattr(run.model, name).register_forward_hook(
        lambda module, inputs, output, name=name: found.__setitem__(name, (output > 0).any(0).float().mean().item()))
        for name in LAYERS[:-1]]
    _, batch = next(run.batches(0))
    run.seed_dropout(0)
    run.model(batch.images)
    for hook in hooks:
        hook.remove()
    return {name: round(share, 4) for name, share in found.items()}


def dead(rows: list[dict[str, Any]]) -> str | None:
    """The layer of which no unit fired, twice in a row: behind it nothing depends on the picture, and through
    its ReLUs no gradient comes back."""
    return next((name for name in LAYERS[:-1]
                 if len(rows) > 1 and all(row["firing"][name] == 0 for row in rows[-2:])), None)


def alive_at(losses: list[float], guess: float, window: int = 50) -> int | None:
    """The step by which the mean loss of the last 50 was below 0.95 ln C, to stay there to the end seen."""
    means = np.convolve(losses, np.ones(window) / window, "valid") if len(losses) >= window else np.array([])
    if not len(means) or not means[-1] < ALIVE * guess:
        return None
    above = np.flatnonzero(~(means < ALIVE * guess))
    return int(above[-1] + 1 + window if len(above) else window)


def deviations(run: Steps) -> dict[str, list[float]]:
    """Of each layer's result, and of the loss's gradient there (times the batch's size), on the first batch."""
    model, found = run.model, {}
    hooks = [getattr(model, name).register_forward_hook(
        lambda module, inputs, output, name=name: (output.retain_grad(), found.__setitem__(name, output))[0])
        for name in LAYERS]
    _, batch = next(run.batches(0))
    run.seed_dropout(0)
    F.cross_entropy(model(batch.images), batch.labels, reduction="sum").backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad(set_to_none=True)
    return {name: [output.std().item(), output.grad.std().item()] for name, output in found.items()}


# ------------------------------------------------------------------- curvature

LOOK_AT = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50)


def curvature(unit: Unit, place: Place) -> dict[str, Any]:
    """fc7, logits and the largest curvature on a fixed batch, over the first steps."""
    run = steps_of(unit, place)
    _, fixed = next(run.batches(0))
    direction: Tensor | None = None
    curve = []
    coming = run.batches(0)
    for step in range(place.few(LOOK_AT[-1], TOY_STEPS) + 1):
        if step in LOOK_AT:
            largest, direction = largest_curvature(run, fixed, direction, 10 if direction is None else 5)
            curve.append({"step": step, "largest_curvature": largest, **head(run, fixed)})
        if not math.isfinite(run.take(*next(coming))):
            break
    limit = 2 * (1 + MOMENTUM)
    return {"result": {"predicted_by_head": limit / curve[0]["head_curvature"],
                       "predicted_by_head_of_p": limit / curve[0]["head_curvature_of_p"],
                       "predicted_by_curvature": limit / curve[0]["largest_curvature"],
                       "highest_curvature": max(row["largest_curvature"] for row in curve)}, "curve": curve}


@torch.no_grad()
def head(run: Steps, batch: Batch) -> dict[str, float]:
    """What fc8 sees, and the curvature that its mean predicts."""
    seen: list[Tensor] = []
    hook = run.model.fc8.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    run.seed_dropout(0)
    logits = run.model(batch.images)
    hook.remove()
    mean, p = seen[0].mean(0), logits.softmax(1)
    spread = torch.diag(p.mean(0)) - p.T @ p / len(p)   # of the classes; 1 / C times a projection while p is flat
    square = mean.pow(2).sum().item() + run.recipe.bias_rate
    return {"loss": F.cross_entropy(logits, batch.labels).item(), "logits_std": logits.std().item(),
            "mean_of_fc7": seen[0].mean().item(), "square_of_mean": mean.pow(2).sum().item(),
            "mean_square": seen[0].pow(2).sum(1).mean().item(),
            "head_curvature": square / run.model.num_classes,
            "head_curvature_of_p": square * torch.linalg.eigvalsh(spread)[-1].item()}


def largest_curvature(run: Steps, batch: Batch, start: Tensor | None, iterations: int) -> tuple[float, Tensor]:
    """The largest eigenvalue of the loss's Hessian and its direction, all parameters in one vector.

    Plain power iteration would mix it with negative eigenvalues of like size. So each turn takes the best
    direction in the plane (then space) of the present one, its residual, and the step before: LOBPCG for one
    vector. Biases learn faster than weights: directions are scaled by the square root of each rate's factor,
    so that the result belongs to the weights' rate.
    """
    if start is None:   # the gradient lies near the steepest directions; noise would take long to get there
        start = gradient(run, batch, None)
    v = start / start.norm()
    basis = [(v, hessian_times(run, batch, v))]
    for _ in range(iterations):
        v, hv = basis[0]
        residual = hv - (v @ hv) * v
        if residual.norm() < 1e-4 * hv.norm():
            break
        residual /= residual.norm()
        pairs = orthonormal([basis[0], (residual, hessian_times(run, batch, residual)), *basis[1:]])
        if len(pairs) == 1:   # nowhere else to go
            break
        small = torch.stack([torch.stack([one @ product for _, product in pairs]) for one, _ in pairs])
        best = torch.linalg.eigh((small + small.T) / 2).eigenvectors[:, -1]
        basis = [mixture(pairs, best), mixture(pairs[1:], best[1:])]   # where we are, and the step that led there
    v, hv = basis[0]
    return (v @ hv / (v @ v)).item(), v


Pair = tuple[Tensor, Tensor]   # a direction, and the Hessian times it


def mixture(pairs: list[Pair], parts: Tensor) -> Pair:
    return (sum(part * one for part, (one, _) in zip(parts, pairs)),
            sum(part * product for part, (_, product) in zip(parts, pairs)))


def orthonormal(pairs: list[Pair]) -> list[Pair]:
    """Gram-Schmidt; what lies in the space of those before is left out."""
    kept: list[Pair] = []
    for one, product in pairs:
        length = one.norm()
        for other, its_product in kept:
            part = one @ other
            one, product = one - part * other, product - part * its_product
        if one.norm() > 1e-3 * length:
            kept.append((one / one.norm(), product / one.norm()))
    return kept


def hessian_times(run: Steps, batch: Batch, direction: Tensor, size: float = 1e-3) -> Tensor:
    """By a difference of two gradients (the normalisations have no second derivative) with the same dropout
    masks. Steps of 1e-3 suit the network's float32: ten times smaller ones drown in its noise."""
    return (gradient(run, batch, size * direction) - gradient(run, batch, -size * direction)) / (2 * size)


def gradient(run: Steps, batch: Batch, step: Tensor | None) -> Tensor:
    """The scaled gradient, a step away; the weights are as they were, afterwards."""
    parameters = list(run.model.parameters())
    factors = {id(parameter): group["factor"] for group in run.optimizer.param_groups for parameter in group["params"]}
    scale = torch.cat([torch.full((one.numel(),), factors[id(one)] ** 0.5) for one in parameters])
    kept = [parameter.detach().clone() for parameter in parameters]
    if step is not None:
        with torch.no_grad():
            for parameter, one in zip(parameters, (step * scale).split([one.numel() for one in parameters])):
                parameter.add_(one.view(parameter.shape))
    run.seed_dropout(0)
    loss = F.cross_entropy(run.model(batch.images), batch.labels)
    found = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for parameter, value in zip(parameters, kept):
            parameter.copy_(value)
    return torch.cat([one.reshape(-1) for one in found]) * scale


# ------------------------------------------------------------------- the largest rate that fc7 survives

RATES = tuple(round(0.0005 * 2 ** (k / 2), 6) for k in range(23))   # to 1.024
LIMIT_STEPS, SURVIVES = 100, 0.1


def limit(unit: Unit, place: Place) -> dict[str, Any]:
    """Bisection over `RATES`. A rate is survived if, after 100 steps, at least a tenth of fc7's units fire for some
    image. Whether the loss falls within so few steps tells slow from fast, too, so it is kept but does not count."""
    def a_trial(rows: list[dict[str, Any]]) -> dict[str, Any]:
        index = sum(bracket(rows)) // 2
        run = steps_of(unit, place, RATES[index])
        losses = run.losses(0, place.few(LIMIT_STEPS, TOY_STEPS))
        last, share = losses[-50:], firing(run)["fc7"]
        return {"index": index, "rate": RATES[index], "highest_loss": max(losses), "loss": sum(last) / len(last),
                "firing": share, "survived": math.isfinite(losses[-1]) and share >= SURVIVES}

    rows = pieces(unit, place, len(RATES), {}, a_trial, lambda rows: bracket(rows)[1] - bracket(rows)[0] == 1)
    low, high = bracket(rows)
    return {"result": {"largest_survived": RATES[low] if low >= 0 else None,
                       "smallest_not_survived": RATES[high] if high < len(RATES) else None}, "curve": rows}


def bracket(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """The indices of the largest rate survived and of the smallest that was not; -1 and 23 at first."""
    return (max((row["index"] for row in rows if row["survived"]), default=-1),
            min((row["index"] for row in rows if not row["survived"]), default=len(RATES)))


# ------------------------------------------------------------------- the units

def first_unit(variant: str, name: str, seed: int, size: int = 64, classes: int = 10) -> Unit:
    minutes, steps = {64: (13, 800 if seed else 2000), 128: (12, 600), 224: (20, 400)}[size]
    config = {"variant": variant, "difference": name, "image_size": size, "classes": classes, "batch": BATCH,
              "precision": "auto", "steps": steps, **asdict(DIFFERENCES[variant][name])}
    return Unit(f"first-steps-{size}px-{classes}", f"{variant} {name}", seed, config, first_steps, minutes,
                data_for(classes))


def data_for(classes: int) -> str:
    return "imagenette" if classes <= 10 else "tiny"


def head_unit(kind: str, variant: str, name: str, classes: int, seed: int) -> Unit:
    compute, minutes = {"curvature": (curvature, 1.6), "limit": (limit, 8)}[kind]
    config = {"variant": variant, "difference": name, "image_size": 64, "classes": classes, "batch": BATCH,
              "precision": "fp32" if kind == "curvature" else "auto"}   # its differences of gradients are small
    return Unit(f"{kind}-{classes}", f"{variant} {name}", seed, config, compute, minutes, data_for(classes))


HEADS = [("as-trained", "as it is"), ("as-trained", "inverted dropout"), ("as-trained", "no dropout"),
         ("as-written", "as it is"), ("as-written", "inverted dropout")]
SETTINGS = [(64, 10), (64, 200), (128, 10)]     # pixels, classes, of the decisive differences
CLASSES = (2, 10, 200)


def units() -> list[Unit]:
    """Seed by seed: first what decides, at the end what takes long."""
    found = []
    for seed in range(3):
        found += [first_unit(variant, name, seed) for variant in DIFFERENCES for name in DIFFERENCES[variant]]
        found += [head_unit(kind, variant, name, classes, seed) for kind in ("curvature", "limit")
                  for variant, name in HEADS[:None if kind == "curvature" else 3] for classes in CLASSES]
    for size, classes in SETTINGS[1:]:
        found += [first_unit(variant, name, seed, size, classes) for seed in range(3) for variant in DIFFERENCES
                  for name in DECISIVE]
    found += [first_unit(variant, name, 0, 224) for variant in DIFFERENCES for name in DECISIVE[:2]]
    return found


def decisive(unit: Unit) -> bool:
    """Whether `run all` does it early: the five differences that decide, at 64 px, and the head."""
    return unit.experiment.startswith(("curvature", "limit")) or (
        unit.experiment == "first-steps-64px-10" and unit.config["difference"] in DECISIVE)


# ------------------------------------------------------------------- the report

def report(place: Place) -> list[str]:
    """Writes results/what-breaks-it/: the page and its two figures. The lines for the page of all results."""
    out = place.out / "what-breaks-it"
    panels = {f"{variant}, {size} px, {classes} classes": lines for size, classes in [*SETTINGS, (224, 10)]
              for variant in DIFFERENCES if (lines := loss_lines(place, variant, size, classes))}
    if panels:
        figures.curves(panels, out / "first-steps.png", "The first steps: loss as a part of guessing's (ln C)",
                       "step", "loss / ln C", level=1.0, log=(True, True))
    points = head_points(place)
    if points:
        figures.agreement(points, out / "limits.png", "The largest rate that fc7 survives: predicted at the start, and found",
                          "predicted by the head, 3.8 C / |h|^2", "found by bisection")
    if not panels and not points:
        return []
    fill(out / "README.md", "runs", page(place, out), TITLE)
    return [f"## {TITLE}", "", *picture(place.out, "what-breaks-it/first-steps.png"),
            "[The runs, the reason, and advice for people who are stuck](what-breaks-it/README.md).", ""]


def in_short(place: Place) -> str:
    """How many runs come off the ground with each of the differences that decide, both networks together."""
    said = []
    for name in DECISIVE:
        found = [content["result"]["alive_at"] for variant in DIFFERENCES for seed in range(3)
                 if (content := place.found(first_unit(variant, name, seed)))]
        if found:
            said.append(f"{name} {sum(step is not None for step in found)} of {len(found)}")
    return f"runs that come off the ground, 64 px, 10 classes: {'; '.join(said)}" if said else ""


def loss_lines(place: Place, variant: str, size: int, classes: int) -> dict[str, list[list[tuple[float, float]]]]:
    found = {}
    for name in DECISIVE:
        contents = [content for seed in range(3)
                    if (content := place.found(first_unit(variant, name, seed, size, classes)))]
        if contents:
            found[name] = [loss_line(content) for content in contents]
    return found


def loss_line(content: dict[str, Any]) -> list[tuple[float, float]]:
    """(step, loss / ln C): the first steps one by one, then means over more and more, then over fifty."""
    first, guess = content["result"]["first_losses"], content["result"]["guessing"]
    ends = sorted({round(1.15 ** power) for power in range(64)} & set(range(1, len(first) + 1)))
    line = [(end, sum(first[start:end]) / (end - start) / guess) for start, end in zip([0, *ends], ends)]
    return line + [(row["step"], row["loss"] / guess) for row in content["curve"] if row["step"] > len(first)]


def head_points(place: Place) -> dict[str, list[tuple[float, float]]]:
    """(predicted, found) for each case, class count and seed where both are known."""
    points: dict[str, list[tuple[float, float]]] = {}
    for variant, name, classes in ((*case, classes) for case in HEADS for classes in CLASSES):
        for seed in range(3):
            known = [place.found(head_unit(kind, variant, name, classes, seed)) for kind in ("curvature", "limit")]
            if all(known) and (found := known[1]["result"]["largest_survived"]):
                points.setdefault(f"{name}, {classes} classes", []).append(
                    (known[0]["result"]["predicted_by_head"], found))
    return points


def page(place: Place, out: Path) -> list[str]:
    lines = ["Made by `python -m results.reproduce table`; the runs by `python -m "
             "results.reproduce run what-breaks-it --imagenette DIR --tiny DIR`. A run is alive when the mean loss "
             "of 50 steps stays below 0.95 ln C; the numbers are the steps by which it is, for seeds 0, 1, 2.", ""]
    lines += picture(out, "first-steps.png")
    for size, classes in [*SETTINGS, (224, 10)]:
        rows = [f"| {variant} | {name} | {', '.join(seeds)} |" for variant in DIFFERENCES
                for name in DIFFERENCES[variant] if (seeds := lives(place, variant, name, size, classes))]
        lines += [f"### {size} px, {classes} classes", "", "| network | difference | alive by step |", "|---|---|---|",
                  *rows, ""] if rows else []
    lines += start_table(place)
    rows = head_rows(place)
    if rows:
        lines += ["### The head", "", "Rates above which the first step is unstable, 3.8 / curvature: with |h|^2 / C; with "
                  "|h|^2 times the largest eigenvalue of the mean of diag(p) - p p'; with the largest curvature of the "
                  "whole loss.", "", "| network | classes | by the head | by the head and p | by the "
                  "largest curvature | largest rate survived |", "|---|---|---|---|---|---|", *rows, ""]
    return [*lines, *picture(out, "limits.png")]


def lives(place: Place, variant: str, name: str, size: int, classes: int) -> list[str]:
    """When each seed came off the ground."""
    found = []
    for seed in range(3):
        if content := place.found(first_unit(variant, name, seed, size, classes)):
            result, last = content["result"], content["curve"][-1]["step"]
            found.append(str(result["alive_at"]) if result["alive_at"] else
                         f"never ({result['dead']} dead by {last})" if result["dead"] else f"not by {last}")
    return found


def start_table(place: Place) -> list[str]:
    """Standard deviations at the start, of the two networks and of what is done to them today; seed 0."""
    rows = []
    for variant in DIFFERENCES:
        for name in [*DECISIVE, *[name for name in DIFFERENCES[variant] if name.startswith("std")]]:
            if content := place.found(first_unit(variant, name, 0)):
                start = content["result"]["start"]
                cells = [f"{start[layer][0]:.2g} / {start[layer][1]:.1e}" for layer in LAYERS]
                rows.append(f"| {variant}, {name} | {' | '.join(cells)} |")
    if not rows:
        return []
    return ["### At the start, 64 px: standard deviation of each layer's result / of its gradient", "",
            f"| | {' | '.join(LAYERS)} |", "|---" * (len(LAYERS) + 1) + "|", *rows, ""]


def head_rows(place: Place) -> list[str]:
    rows = []
    for variant, name, classes in ((*case, classes) for case in HEADS for classes in CLASSES):
        before, after = ([content["result"] for seed in range(3)
                          if (content := place.found(head_unit(kind, variant, name, classes, seed)))]
                         for kind in ("curvature", "limit"))
        if before:
            predicted = [t_interval([one[f"predicted_by_{what}"] for one in before]).mean
                         for what in ("head", "head_of_p", "curvature")]
            found = ", ".join(f"{one['largest_survived']:.2g}" if one['largest_survived'] else "none" for one in after) or "not run yet"
            rows.append(f"| {variant}, {name} | {classes} | {' | '.join(f'{rate:.3g}' for rate in predicted)} | {found} |")
    return rows
