"""The recipe of section 5 as numbers: values with their sources, SGD, stable learning rates, schedules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
from torch import nn

from alexnet import augment
from alexnet.layers import Dropout
from alexnet.model import ACTIVATIONS, LAYERS, AlexNet
from alexnet.pack import Pack


@dataclass(frozen=True)
class Recipe:
    """How a variant is trained, with the source of each value."""

    rate: float = 0.01            # the learning rate; section 5; epsW in layer-params-153.cfg
    bias_rate: float = 2.0        # times the learning rate; epsB = 0.02 in layer-params-153.cfg
    bias_decay: bool = False      # whether biases have weight decay; layer.cu:565
    weight_decay: float = 5e-4    # section 5; wc in layer-params-145.cfg
    momentum: float = 0.9         # section 5; momW, momB
    noise: float = 0.1            # colour noise; section 4.1; --color-noise in the release's notes
    colour: str = "release"       # (x + noise) / 1.1 (convdata.py:205); paper: x + noise
    batch_size: int = 128         # section 5; convnet.py:177


RECIPES = {
    "as-trained": Recipe(),
    "as-written": Recipe(bias_rate=1, bias_decay=True, colour="paper"),  # one rule for all; 5, 4.1
    "caffe": Recipe(noise=0, colour="paper"),              # train_val.prototxt: lr_mult 2, decay 0
    "torchvision": Recipe(bias_rate=1, bias_decay=True, weight_decay=1e-4, noise=0,
                          colour="paper"),                 # pytorch/examples
}


# ------------------------------------------------------------------- the optimiser

def freeze(model: AlexNet, last: str) -> None:
    """Keeps the layers up to and including `last` as they are: no gradients are computed for them,
    and `make_optimizer` leaves them out, so neither decay nor momentum moves them."""
    kept = LAYERS[:LAYERS.index(last) + 1]
    for name in model.layers:
        if name in kept or name == "conv6" and "fc6" in kept:
            getattr(model, name).requires_grad_(False)


def make_optimizer(model: AlexNet, recipe: Recipe, head_rate: float = 1.0) -> torch.optim.SGD:
    """SGD with the paper's rule, v := 0.9 v - 0.0005 e w - e g; w := w + v (C18).

    conv1 has groups of its own because the release slows and freezes it late (layer-params-145.cfg), and fc8
    where its learning rate is `head_rate` times that of the others. `set_rates` sets the learning rates.
    """
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        key = name.startswith("conv1."), head_rate if name.startswith("fc8.") else 1.0, name.endswith(".bias")
        if parameter.requires_grad:
            groups.setdefault(key, []).append(parameter)
    settings = [{"params": parameters, "first": first, "lr": 0.0,
                 "factor": times * (recipe.bias_rate if bias else 1.0),
                 "weight_decay": recipe.weight_decay if recipe.bias_decay or not bias else 0.0}
                for (first, times, bias), parameters in groups.items()]
    return torch.optim.SGD(settings, lr=0.0, momentum=recipe.momentum, fused=True)


def set_rates(optimizer: torch.optim.SGD, rate: float, conv1: float = 1.0) -> None:
    """Sets the learning rate of all groups; `conv1` is a further factor for that layer.

    The paper's v holds the learning rate inside, torch's buffer does not (v = -rate x buffer). So that
    v stays what it is when the rate changes, the buffer is multiplied by old / new.
    """
    for group in optimizer.param_groups:
        old, new = group["lr"], rate * group["factor"] * (conv1 if group["first"] else 1.0)
        if old > 0 and new > 0 and old != new:
            for parameter in group["params"]:
                buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
                if buffer is not None:
                    buffer.mul_(old / new)
        group["lr"] = new


# ------------------------------------------------------------------- stable learning rates

def highest_rate(model: AlexNet, recipe: Recipe) -> float:
    """The learning rate above which the first steps cannot be stable.

    At the start every image has nearly the same fc7: the activation of its bias. Along that vector
    h, softmax over C equal classes has the curvature (|h|^2 + the bias's own rate) / C, and descent
    with momentum is stable only while rate x curvature < 2 (1 + momentum). Few classes, or dropout
    that does not halve h, lower this limit. A second limit comes from the noise of a batch, so it does
    not rise with the number of classes (results/head.py); as-trained, with batches of 128, stays below.
    """
    design = model.design
    if design.bias is None:
        return math.inf
    activation = ACTIVATIONS[design.activation]()
    height = activation(torch.tensor(float(design.bias[6]))).item()
    if design.dropout == "mask":   # leaves half of h in each image: the batch's mean is h / 2. Inverted: h
        height *= Dropout.keep
    curvature = (design.hidden * height ** 2 + recipe.bias_rate) / model.num_classes
    return 2 * (1 + recipe.momentum) / curvature


def default_rate(model: AlexNet, recipe: Recipe) -> float:
    """The recipe's learning rate, or half of the highest stable one (two digits) if that is less."""
    half = highest_rate(model, recipe) / 2
    return recipe.rate if half >= recipe.rate else float(f"{half:.1e}")


@torch.inference_mode()
def highest_head_rate(model: AlexNet, pack: Pack, recipe: Recipe) -> float:
    """The same for a new fc8 on a network that has learned already: the values h that it gives fc8 are
    no longer nearly the same, so the curvature is the largest eigenvalue of the mean of h h^T, over 128
    training images, instead of |h|^2."""
    labels = pack.labels["train"]
    chosen = np.unique(np.linspace(0, len(labels) - 1, 128).astype(int))
    images = augment.as_batch(pack.images["train"][chosen])
    before = model.steps[-2]   # fc8
    h = model.activations(augment.centre(images, model.image_size), [before])[before]
    largest = torch.linalg.eigvalsh(h @ h.T / len(h))[-1].item()
    return 2 * (1 + recipe.momentum) * len(pack.classes) / (largest + recipe.bias_rate)


# ------------------------------------------------------------------- schedules

@dataclass(frozen=True)
class Plan:
    """What a schedule says for one epoch."""

    rate: float = 1.0      # times the starting learning rate
    conv1: float = 1.0     # times that again
    noise: bool = True     # colour noise
    finished: bool = False


def constant(epoch: int, epochs: int, errors: list[float]) -> Plan:
    """The starting learning rate to the end."""
    return Plan()


def two_drops(epoch: int, epochs: int, errors: list[float]) -> Plan:
    """Divided by 10 after 60 and 84% of the run: a short run needs the full learning rate for longer. At a
    drop v keeps its old size (`set_rates`), so the weights move as far as before until it has decayed; a
    drop with fewer than two epochs left for that is left out."""
    drops = [round(part * epochs) for part in (0.6, 0.84)]
    return Plan(rate=0.1 ** sum(epoch >= drop and epochs - drop >= 2 for drop in drops))


def release(epoch: int, epochs: int, errors: list[float]) -> Plan:
    """The notes in layer-params-145.cfg, scaled to the run: drops at 25, 51 and 79 of 91 epochs;
    from 67 on conv1 ten times slower and no colour noise, from 72 on conv1 frozen. At the start of an
    epoch there is one drop at most, and none before the first."""
    marks = {round(mark / 91 * epochs) for mark in (25, 51, 79)} - {0}
    drops = sum(epoch >= mark for mark in marks)
    slow, frozen = (epoch >= round(mark / 91 * epochs) for mark in (67, 72))
    return Plan(0.1 ** drops, conv1=0.0 if frozen else 0.1 ** slow, noise=not slow)


def plateau(epoch: int, epochs: int, errors: list[float]) -> Plan:
    """Section 5: divide by 10 when the validation error stops improving, three times, then end.
    It has stopped when four epochs brought nothing better."""
    patience, drops, since, best = 4, 0, 0, math.inf
    for error in errors[:epoch]:
        best, since = (error, 0) if error < best else (best, since + 1)
        if since == patience:
            drops, since = drops + 1, 0
    return Plan(rate=0.1 ** min(drops, 3), finished=drops > 3)


SCHEDULES: dict[str, Callable[[int, int, list[float]], Plan]] = {
    "steps": two_drops, "plateau": plateau, "release": release, "constant": constant}
