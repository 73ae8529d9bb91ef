"""Why the first steps break the network, and from which rate on.

Biases of 1 make fc7 nearly the same vector h for every image at first, and what fc8 gets from it nearly the
same logits. For softmax over C classes, batches of B images and momentum m, two things can follow.

The swing. Along h the loss has the curvature |h|^2 / C, and descent is stable only while
rate x curvature < 2 (1 + m). Few classes lower this limit.

The fade. By chance a batch has one class more often than another, and its gradient moves the logits of all
images alike, through fc8's weights along h (call them w). Noise lengthens w until descent shortens it as
much. But the loss depends on the product of w and |h| alone, so w . dL/dw = |h| dL/d|h|: the pull that
shortens w shortens h, too. With |dL/dw|^2 = |h|^2 (1 - 1 / C) / B from the noise, fc7 loses in each step the
part rate^2 |h6|^2 keep^2 (1 - 1 / C) / (2 B (1 - m)^2) of its length, where h6 is the mean of fc6 as fc7 sees
it and keep the mean of fc7's mask. If that is more than (1 - sqrt m) / (1 + sqrt m), momentum carries fc7
beyond 0, where its units do not fire and nothing calls them back. More classes do not help.

`head_alone` has both: the two layers, without images. Batches with each class equally often have no such
noise (what is left then comes from fc8's random weights, which make logits unequal at the start).

`curvature`: the first 50 steps, with fc7, logits and the largest curvature of the loss (iterated products
with its Hessian) on a fixed batch, and the rate that each predicts. `fading`: the first 60, with |h|^2 at
each, batches drawn at random or evenly (each class equally often). `limit`: the largest rate that fc7
survives, by bisection, for 2, 10 and 200 classes and such batches.
"""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.batches import Batch
from alexnet.layers import Dropout
from alexnet.training import masks
from results.first_steps import BATCH, Steps, data_for, firing, steps_of
from results.pages import Text, joined, term, named, row
from results.plots import Panels
from results.units import TOY_STEPS, Place, Unit, pieces

MOMENTUM = 0.9
BIAS_RATE = 2.0   # as-trained: biases learn at twice the rate
OVERSHOOT = (1 - MOMENTUM ** 0.5) / (1 + MOMENTUM ** 0.5)
CLASSES = (2, 10, 200)
NAMES = ("as it is", "inverted dropout", "no dropout")
CASES = [*(("as-trained", name) for name in NAMES), ("as-written", "as it is"),
         ("as-written", "inverted dropout")]


# ------------------------------------------------------------------- curvature

LOOK_AT = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50)


def curvature(unit: Unit, place: Place) -> dict[str, Any]:
    """fc7, logits and the largest curvature on a fixed batch, over the first steps."""
    run = steps_of(unit, place)
    fixed = run.sample()
    direction: Tensor | None = None
    curve = []
    for step, batch in itertools.islice(run.batches(0), place.few(LOOK_AT[-1], TOY_STEPS) + 1):
        if step in LOOK_AT:
            largest, direction = largest_curvature(run, fixed, direction, 10 if direction is None else 5)
            curve.append({"step": step, "largest_curvature": largest, **head(run, fixed)})
        if not math.isfinite(run.take(step, batch)):
            break
    limit = 2 * (1 + MOMENTUM)
    return {"result": {"predicted_by_head": limit / curve[0]["head_curvature"],
                       "predicted_by_head_of_p": limit / curve[0]["head_curvature_of_p"],
                       "predicted_by_curvature": limit / curve[0]["largest_curvature"],
                       "highest_curvature": max(row["largest_curvature"] for row in curve)}, "curve": curve}


@torch.no_grad()
def head(run: Steps, batch: Batch) -> dict[str, float]:
    """What fc8 sees, and the curvature that its mean predicts."""
    with masks(run.model, run.seed, 0):
        seen, logits = run.model.activations(batch.images, run.model.steps[-2:]).values()
    mean, p = seen.mean(0), logits.softmax(1)
    spread = torch.diag(p.mean(0)) - p.T @ p / len(p)   # 1 / C times a projection while p is flat
    square = mean.pow(2).sum().item() + run.recipe.bias_rate
    return {"loss": F.cross_entropy(logits, batch.labels).item(), "logits_std": logits.std().item(),
            "mean_of_fc7": seen.mean().item(), "square_of_mean": mean.pow(2).sum().item(),
            "mean_square": seen.pow(2).sum(1).mean().item(),
            "head_curvature": square / run.model.num_classes,
            "head_curvature_of_p": square * torch.linalg.eigvalsh(spread)[-1].item()}


def largest_curvature(run: Steps, batch: Batch, start: Tensor | None,
                      iterations: int) -> tuple[float, Tensor]:
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
        # where we are, and the step that led there
        basis = [mixture(pairs, best), mixture(pairs[1:], best[1:])]
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
    """By a difference of two gradients, with the same dropout
    masks. Steps of 1e-3 suit the network's float32: ten times smaller ones drown in its noise."""
    return (gradient(run, batch, size * direction) - gradient(run, batch, -size * direction)) / (2 * size)


def gradient(run: Steps, batch: Batch, step: Tensor | None) -> Tensor:
    """The scaled gradient, a step away from the weights, which stay as they are."""
    parameters = dict(run.model.named_parameters())
    factors = {id(parameter): group["factor"] for group in run.optimizer.param_groups
               for parameter in group["params"]}
    scale = torch.cat([torch.full((one.numel(),), factors[id(one)] ** 0.5, device=one.device)
                       for one in parameters.values()])
    if step is not None:
        parts = (step * scale).split([one.numel() for one in parameters.values()])
        parameters = {name: (one + part.view(one.shape)).detach().requires_grad_()
                      for (name, one), part in zip(parameters.items(), parts)}
    with masks(run.model, run.seed, 0):
        logits = torch.func.functional_call(run.model, parameters, batch.images)
    found = torch.autograd.grad(F.cross_entropy(logits, batch.labels), list(parameters.values()))
    return torch.cat([one.reshape(-1) for one in found]) * scale


# ------------------------------------------------------------------- fading

FADE_STEPS, FADE_FROM = 60, 10   # the noise needs some steps to come to its height


class Fade(NamedTuple):
    """A run to follow."""

    difference: str
    classes: int
    rate: float
    batch: int = BATCH
    even: bool = False   # each class equally often in every batch

    def units(self) -> list[Unit]:
        return [unit_of("fading", fading, 0.003 * self.batch, "as-trained", self.difference, self.classes,
                        seed, self.batch, self.even, rate=self.rate) for seed in range(3)]


FADES = [Fade("no dropout", 200, 0.002), Fade("no dropout", 200, 0.004), Fade("no dropout", 200, 0.008),
         Fade("no dropout", 200, 0.004, 32), Fade("no dropout", 50, 0.004), Fade("no dropout", 20, 0.004),
         Fade("no dropout", 200, 0.002, 200), Fade("no dropout", 200, 0.002, 200, even=True),
         Fade("no dropout", 200, 0.008, 200), Fade("no dropout", 200, 0.008, 200, even=True),
         Fade("inverted dropout", 200, 0.004), Fade("inverted dropout", 200, 0.008),
         Fade("as it is", 200, 0.01), Fade("as it is", 200, 0.032),
         Fade("as it is", 200, 0.032, 200), Fade("as it is", 200, 0.032, 200, even=True)]


def fading(unit: Unit, place: Place) -> dict[str, Any]:
    """What fc7 and fc8 see in each step: the squared lengths of the means of fc6 and fc7; and the share of
    fc7's units whose mean, before ReLU, is below 0."""
    run = steps_of(unit, place, unit.config["rate"])
    seen: dict[str, float] = {}

    def square(inputs: tuple[Tensor]) -> float:
        return inputs[0].detach().float().mean(0).square().sum().item()

    run.model.fc7.register_forward_hook(lambda module, inputs, output: seen.update(
        square_of_h6=square(inputs), below=(output.detach().float().mean(0) < 0).float().mean().item()))
    run.model.fc8.register_forward_hook(lambda module, inputs, _: seen.update(square_of_h=square(inputs)))
    curve, count = [], place.few(FADE_STEPS, TOY_STEPS)
    for step, batch in itertools.islice(run.batches(0), count):
        loss = run.take(step, batch)
        curve.append({"step": step, "loss": loss, **seen})
    return {"result": {"square_of_h6": curve[0]["square_of_h6"], "square_of_h": curve[0]["square_of_h"],
                       "lost": part_lost([row["square_of_h"] for row in curve]), "below": curve[-1]["below"],
                       "firing": firing(run)["fc7"]}, "curve": curve}


def part_lost(squares: list[float]) -> float | None:
    """The part of its length that a vector loses in each step, from the tenth to where a tenth of its square
    is left; None if that is at once."""
    ends = [step for step, square in enumerate(squares) if square < squares[0] / 10]
    lengths = np.log(squares[FADE_FROM:ends[0] if ends else None]) / 2
    return float(-np.polyfit(np.arange(len(lengths)), lengths, 1)[0]) if len(lengths) > 2 else None


# ------------------------------------------------------------------- the largest rate that fc7 survives

RATES = tuple(round(0.0005 * 2 ** (k / 2), 6) for k in range(23))   # to 1.024
LIMIT_STEPS, SURVIVES = 100, 0.1


def limit(unit: Unit, place: Place) -> dict[str, Any]:
    """Bisection over `RATES`. A rate is survived if, after 100 steps, at least a tenth of fc7's units fire
    for some image. Whether the loss falls within so few steps tells slow from fast, too, so it is kept but
    does not count."""
    def a_trial(rows: list[dict[str, Any]]) -> dict[str, Any]:
        index = sum(bracket(rows)) // 2
        run = steps_of(unit, place, RATES[index])
        losses = run.losses(0, place.few(LIMIT_STEPS, TOY_STEPS))
        last, share = losses[-50:], firing(run)["fc7"]
        return {"index": index, "rate": RATES[index], "highest_loss": max(losses),
                "loss": sum(last) / len(last), "firing": share,
                "survived": math.isfinite(losses[-1]) and share >= SURVIVES}

    rows = pieces(unit, place, len(RATES), {}, a_trial, lambda rows: bracket(rows)[1] - bracket(rows)[0] == 1)
    low, high = bracket(rows)
    return {"result": {"largest_survived": RATES[low] if low >= 0 else None,
                       "smallest_not_survived": RATES[high] if high < len(RATES) else None}, "curve": rows}


def bracket(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """The indices of the largest rate survived and of the smallest that was not; -1 and 23 at first."""
    return (max((row["index"] for row in rows if row["survived"]), default=-1),
            min((row["index"] for row in rows if not row["survived"]), default=len(RATES)))


# ------------------------------------------------------------------- what is predicted

@dataclass(frozen=True)
class Start:
    """What the predictions need of a network as it is before the first step."""

    square_of_h: float      # |h|^2, as fc8 sees it
    square_of_h6: float     # |h6|^2, as fc7 sees it
    keep: float             # the mean of fc7's mask; inverted or none: 1

    def swing(self, classes: int) -> float:
        """The rate above which descent along h is not stable."""
        return 2 * (1 + MOMENTUM) * classes / (self.square_of_h + BIAS_RATE)

    def part_lost(self, rate: float, batch: int, classes: int) -> float:
        """The part of its length that fc7 loses in each step, by the noise of the classes' frequencies."""
        noise = (rate * self.keep / (1 - MOMENTUM)) ** 2 * (self.square_of_h6 + BIAS_RATE) * (1 - 1 / classes)
        return noise / (2 * batch)

    def fade(self, batch: int, classes: int) -> float:
        """The rate above which fc7 fades beyond 0."""
        return (OVERSHOOT / self.part_lost(1.0, batch, classes)) ** 0.5   # it grows with the rate's square

    def alone(self, batch: int, classes: int, even: bool = False) -> float | None:
        """The largest of `RATES` at which fc7 stays above 0 in the head alone, for most of eleven seeds."""
        lost = bisect.bisect_left(RATES, True, key=lambda rate: not np.median(
            head_alone(self, rate, batch, classes, even).min(0)) > 0)
        return RATES[lost - 1] if lost else None


def head_alone(start: Start, rate: float, batch: int, classes: int, even: bool = False) -> np.ndarray:
    """fc7 and fc8 without images: one number for the height of fc7, 1 at first, and fc8's weights along it,
    with std 0.01, for labels drawn by chance. The height before each step, (steps, seeds)."""
    chance, seeds = np.random.default_rng(0), 11
    weight = chance.normal(0, 0.01, (seeds, classes))
    height, weight_speed, height_speed, heights = np.ones((seeds, 1)), 0.0, 0.0, []
    length = start.square_of_h ** 0.5
    shares = np.full((seeds, classes), 1 / classes)
    for _ in range(LIMIT_STEPS):
        heights.append(height)
        logits = length * height.clip(0) * weight
        p = np.exp(logits - logits.max(1, keepdims=True))
        if not even:
            shares = chance.multinomial(batch, np.full(classes, 1 / classes), seeds) / batch
        wrong = p / p.sum(1, keepdims=True) - shares
        pull = (wrong * weight).sum(1, keepdims=True) * start.keep ** 2 * (start.square_of_h6 + BIAS_RATE)
        pull = pull / length * (height > 0)
        weight_speed = MOMENTUM * weight_speed - rate * length * height.clip(0) * wrong
        height_speed = MOMENTUM * height_speed - rate * pull
        weight, height = weight + weight_speed, height + height_speed
    return np.concatenate(heights, 1).T


# ------------------------------------------------------------------- the units

def curvature_unit(variant: str, name: str, classes: int, seed: int) -> Unit:
    return unit_of("curvature", curvature, 1.6, variant, name, classes, seed, precision="fp32")


def limit_unit(name: str, classes: int, seed: int, batch: int = BATCH, even: bool = False) -> Unit:
    return unit_of("limit", limit, 0.012 * batch, "as-trained", name, classes, seed, batch, even)


def unit_of(kind: str, compute: Any, minutes: float, variant: str, name: str, classes: int, seed: int,
            batch: int = BATCH, even: bool = False, **more: Any) -> Unit:
    config = {"variant": variant, "difference": name, "image_size": 64, "classes": classes, "batch": batch,
              "precision": "auto", **({"even": True} if even else {}), **more}
    case = [f"{variant} {name}", f"rate {more['rate']:g}" if "rate" in more else "",
            f"batch {batch}" if batch != BATCH else "", "even" if even else ""]
    return Unit(f"{kind}-{classes}", ", ".join(part for part in case if part), seed, config, compute, minutes,
                data_for(classes))


def drawn(classes: int) -> list[tuple[int, bool]]:
    """The batches to find limits for: how many images, and whether each class is there equally often."""
    whole = -(-BATCH // classes) * classes
    return [(BATCH, False), *([(32, False), (whole, False)] if classes == CLASSES[-1] else []), (whole, True)]


def units(seed: int) -> list[Unit]:
    return [*(curvature_unit(*case, classes, seed) for case in CASES for classes in CLASSES),
            *(limit_unit(name, classes, seed, *batch) for name in NAMES for classes in CLASSES
              for batch in drawn(classes)),
            *(fade.units()[seed] for fade in FADES)]


# ------------------------------------------------------------------- for the page

def curvature_rows(place: Place) -> list[Text]:
    rows = []
    for (variant, name), classes in ((case, classes) for case in CASES for classes in CLASSES):
        found = place.results(curvature_unit(variant, name, classes, seed) for seed in range(3))
        if found:
            means = (sum(one[f"predicted_by_{what}"] for one in found) / len(found)
                     for what in ("head", "head_of_p", "curvature"))
            rows.append(row(variant, named(name), classes, *(f"{rate:.3g}" for rate in means)))
    return rows


def start_of(place: Place, name: str) -> Start | None:
    """From the runs with 200 classes: fc6 and fc7 hardly depend on the images yet."""
    found = [one for fade in FADES if (fade.difference, fade.batch) == (name, BATCH)
             for one in place.results(fade.units())]
    if not found:
        return None
    squares = (sum(one[what] for one in found) / len(found) for what in ("square_of_h", "square_of_h6"))
    return Start(*squares, keep=Dropout.keep if name == "as it is" else 1.0)


def survived(place: Place, name: str, classes: int, batch: int, even: bool) -> list[float | None]:
    """The largest rate that each seed survives; None: none of those tried."""
    units = (limit_unit(name, classes, seed, batch, even) for seed in range(3))
    return [one["largest_survived"] for one in place.results(units)]


EVENLY, AT_RANDOM, NONE, AT_ONCE = (
    term("evenly"), term("at random"), term("none"), term("at once"))


def limit_rows(place: Place) -> list[Text]:
    rows = []
    for name, classes in itertools.product(NAMES, CLASSES):
        start = start_of(place, name)
        for batch, even in drawn(classes):
            found = survived(place, name, classes, batch, even)
            if start and found:
                rates = (start.swing(classes), None if even else start.fade(batch, classes),
                         start.alone(batch, classes, even))
                rows.append(row(named(name), classes, batch, EVENLY if even else AT_RANDOM,
                                *(f"{rate:.2g}" if rate else "" for rate in rates),
                                joined(f"{rate:.2g}" if rate else NONE for rate in found)))
    return rows


PREDICTED = ("predicted by the swing", "predicted by the fade", "predicted by both: two layers alone")


def limit_lines(place: Place) -> Panels:
    """Predicted and survived rates over the number of classes, a panel for each network."""
    panels = {}
    for name in NAMES:
        lines = {}
        for what, which in (("survived", 0), ("survived, classes equally often", -1)):
            found = [survived(place, name, classes, *drawn(classes)[which]) for classes in CLASSES]
            lines[what] = [list(zip(CLASSES, rates)) for rates in zip(*found) if all(rates)]
        if (start := start_of(place, name)) and any(lines.values()):
            predicted = zip(*((start.swing(classes), start.fade(BATCH, classes), start.alone(BATCH, classes))
                              for classes in CLASSES))
            panels[named(name).en] = {what: seeds for what, seeds in lines.items() if seeds} | {
                what: [list(zip(CLASSES, rates))] for what, rates in zip(PREDICTED, predicted)}
    return panels


def fading_rows(place: Place) -> list[Text]:
    rows = []
    for fade in FADES:
        if found := place.results(fade.units()):
            start, predicted = start_of(place, fade.difference), ""
            if start and not fade.even:
                predicted = f"{100 * start.part_lost(fade.rate, fade.batch, fade.classes):.1f}"
            lost = (AT_ONCE if one["lost"] is None else f"{100 * one['lost']:.1f}" for one in found)
            rows.append(row(named(fade.difference), fade.classes, f"{fade.rate:g}", fade.batch,
                            EVENLY if fade.even else AT_RANDOM, predicted, joined(lost),
                            joined(f"{100 * one['below']:.0f}" for one in found)))
    return rows


def fading_lines(place: Place) -> Panels:
    """For what was run with batches of both kinds, |h|^2 as a part of the first."""
    panels: Panels = {}
    for fade in FADES:
        contents = place.found_all(fade.units())
        if contents and fade._replace(even=True) in FADES:
            title = (f"{fade.difference}, {fade.classes} classes,\n"
                     f"learning rate {fade.rate:g}, batch {fade.batch}")
            panel = panels.setdefault(title, {})
            squares = [[row["square_of_h"] for row in content["curve"]] for content in contents]
            panel["each class equally often" if fade.even else "classes drawn at random"] = [
                [(step, square / values[0]) for step, square in enumerate(values)] for values in squares]
    return panels
