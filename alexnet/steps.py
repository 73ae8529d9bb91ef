"""What the step pictures show, as arrays: one small thing that the network or its training does, each.

Nothing here draws (alexnet/step_figures.py does), and nothing is typed: crops and noise come from augment.py,
sizes and fields from the network, paths from torch's optimiser. So tests can compare.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet import augment
from alexnet.geometry import sizes, step_of
from alexnet.layers import Dropout
from alexnet.model import ACTIVATIONS, LocalResponseNorm
from alexnet.settings import outline

SIDE, SIZE = 256, 224   # of a stored image, and of what the network sees


class Crop(NamedTuple):
    """One training crop: where it lies in the stored image, and what the network gets."""

    top: int
    left: int
    mirrored: bool
    pixels: np.ndarray   # (SIZE, SIZE, 3) uint8


def crops(image: np.ndarray, count: int, seed: int = 0) -> list[Crop]:
    """Section 4.1: random crops of a stored image (SIDE, SIDE, 3), as training draws them."""
    choice = augment.choose(count, SIDE - SIZE, torch.Generator().manual_seed(seed))
    cut = augment.crop(image[None], np.zeros(count, int), choice, SIZE).permute(0, 2, 3, 1).numpy()
    return list(map(Crop, choice.top.tolist(), choice.left.tolist(), choice.mirror.tolist(), cut))


def colour_noise(image: np.ndarray, covariance: np.ndarray, draws: list[float],
                 eigenvalues: bool = False) -> Tensor:
    """Section 4.1: an image (S, S, 3) with noise of so many standard deviations along each component of RGB,
    the largest first: (3, len(draws), S, S, 3), not clipped. `eigenvalues` scales a component by its
    eigenvalue, as the paper's formula reads, and not by the square root."""
    components = torch.from_numpy(augment.components(covariance)).flip(1)   # the largest first
    if eigenvalues:
        components = components * components.norm(dim=0)
    colour = torch.eye(3).repeat_interleave(len(draws), 0) * torch.tensor(draws).repeat(3)[:, None]
    zeros = torch.zeros(len(colour), dtype=torch.long)
    choice = augment.Choice(zeros, zeros, zeros.bool(), colour)
    images = torch.from_numpy(image).permute(2, 0, 1).expand(len(colour), -1, -1, -1)
    noisy = augment.colour_noise(images, choice, components, 0.1)
    return noisy.permute(0, 2, 3, 1).unflatten(0, (3, len(draws)))


def windows() -> list[tuple[int, int]]:
    """conv1 along one side of 224 px: where each window begins and ends. The last ends beyond the image."""
    conv1 = step_of(outline(1000, SIZE, "as-written"), "conv1")
    return [(conv1.stride * place, conv1.stride * place + conv1.kernel) for place in range(conv1.shape[-1])]


class Connected(NamedTuple):
    """Section 3.2: a layer, in how many halves it is divided, and whether each half sees both before it."""

    name: str
    maps: int
    halves: int
    sees_both: bool


def connections() -> list[Connected]:
    """The layers with weights, as they are connected."""
    return [Connected(layer.name, layer.shape[0], 1 if layer.name == "fc8" else 2, layer.groups == 1)
            for layer in sizes(outline(1000, SIZE, "as-written")).values() if layer.weights]


def pooled(grid: np.ndarray, window: int) -> np.ndarray:
    """Section 3.4: the largest values of windows 2 apart."""
    return F.max_pool2d(torch.from_numpy(grid).float()[None], window, 2)[0].numpy()


def slopes(x: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Section 3.1: each activation's values and slopes."""
    found = {}
    for name, activation in ACTIVATIONS.items():
        inputs = torch.from_numpy(x).requires_grad_()
        values = activation()(inputs)
        slope, = torch.autograd.grad(values.sum(), inputs)
        found[name] = values.detach().numpy(), slope.numpy()
    return found


def normalised(values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Section 3.3: divisors and results for neighbouring maps at one point, all above 0, with the paper's
    constants."""
    a = torch.tensor(values, dtype=torch.float64)
    results = LocalResponseNorm()(a.view(1, -1, 1, 1)).flatten()
    return (a / results).numpy(), results.numpy()


class Field(NamedTuple):
    """What one value of a layer sees: pixels begin ... end along a side; the image is 0 ... SIZE."""

    name: str
    begin: int
    end: int


def fields(names: list[str]) -> list[Field]:
    """The receptive fields of the value nearest to the middle of the image, in each layer."""
    layers, found = sizes(outline(1000, SIZE, "as-written")), []
    for name in names:
        layer = layers[name]
        begins = [layer.first + layer.jump * place for place in range(layer.shape[1])]
        begin = min(begins, key=lambda begin: abs(begin + layer.field / 2 - SIZE / 2))
        found.append(Field(name, begin, begin + layer.field))
    return found


def masks(units: int, inverted: bool) -> tuple[np.ndarray, float]:
    """Section 4.2: what dropout makes of so many ones in training, for two images, and of a one in test."""
    dropout, ones = Dropout(inverted), torch.ones(2, units)
    torch.manual_seed(0)
    trained = dropout.train()(ones).numpy()
    return trained, dropout.eval()(ones)[0, 0].item()


CURVATURES, START = (1.0, 25.0), (9.0, 1.0)   # of a valley, and where the descent begins


def descent(rate: float, momentum: float, steps: int) -> np.ndarray:
    """Section 5: the way of SGD down a valley, (steps + 1, 2). Height: the sum of curvature x place^2 / 2."""
    place = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([place], lr=rate, momentum=momentum)
    way = [place.detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * torch.tensor(CURVATURES) * place ** 2).sum().backward()
        optimizer.step()
        way.append(place.detach().clone())
    return torch.stack(way).numpy()
