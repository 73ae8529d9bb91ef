"""What the network looks at: kernels, attributions, patches, neighbours, health. Arrays out.

Pictures go in as the network takes them, RGB, 0..255: one or a few as tensors (N, 3, S, S), many as arrays
(N, side, side, 3) uint8, of which the central crop is used: a memory-mapped `Pack.images`, or anything else
that gives such arrays when it is sliced. The model must be in eval mode. `figures.py` draws the results.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterator, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from alexnet import augment
from alexnet.geometry import Step, step_of
from alexnet.model import AlexNet


def batches(model: AlexNet, images: np.ndarray, doing: str = "") -> Iterator[tuple[slice, Tensor]]:
    """The central crops of (N, side, side, 3) uint8 as (n, 3, S, S) on the model's device, with their rows.
    Progress is shown under the name `doing`, if there is one."""
    for first in progress(range(0, len(images), 64), doing):
        part = slice(first, min(first + 64, len(images)))
        crops = augment.centre(augment.as_batch(images[part]), model.image_size)
        yield part, crops.contiguous(memory_format=torch.channels_last).to(model.mean.device)


def progress(steps: range, doing: str) -> tqdm:
    """A bar with the name `doing` on a terminal; none without a name."""
    return tqdm(steps, desc=doing, leave=False, disable=not doing or None)


def layer_values(model: AlexNet, images: np.ndarray, layer: str = "fc7", doing: str = "") -> Tensor:
    """(N, values): a layer's values for every picture."""
    with torch.inference_mode():
        return torch.cat([model.activations(crops, [layer])[layer].flatten(1).cpu()
                          for _, crops in batches(model, images, doing)])


# ------------------------------------------------------------------- kernels and fields

def colourfulness(kernels: Tensor) -> np.ndarray:
    """(K,): the share of each kernel's energy that is not grey; 0 is grey, 1 has no grey in it (C23).

    kernels: (K, 3, h, w). Grey is what R, G and B have in common. Kernels drawn at random have 2/3.
    """
    colour = kernels - kernels.mean(1, keepdim=True)
    energy = kernels.square().sum((1, 2, 3))
    return (colour.square().sum((1, 2, 3)) / energy.clamp_min(1e-30)).detach().cpu().numpy()


def field_of_view(layer: Step, row: int, column: int, size: int) -> tuple[slice, slice]:
    """Rows and columns of the picture that a value of `layer` sees, cut off at the picture's edge."""
    begins = [layer.first + place * layer.jump for place in (row, column)]
    rows, columns = (slice(max(0, begin), min(size, begin + layer.field)) for begin in begins)
    return rows, columns


# ------------------------------------------------------------------- which part of a picture counts

def gradient(model: AlexNet, images: Tensor, targets: Tensor, noise: float = 0.0, samples: int = 1,
             seed: int = 0) -> np.ndarray:
    """(N, 3, S, S): by how much the class's logit rises for each grey level that a pixel rises.

    targets: (N,) class numbers. With `noise` (a standard deviation in grey levels) the average over
    `samples` noisy copies (SmoothGrad, Smilkov et al. 2017), in which what chance did cancels.
    """
    chance = torch.Generator().manual_seed(seed)
    total = torch.zeros_like(images, dtype=torch.float32)
    for _ in range(samples):
        copy = images.float() + noise * torch.randn(images.shape, generator=chance).to(images.device)
        copy.requires_grad_()
        logits = model(copy).gather(1, targets[:, None])
        total += torch.autograd.grad(logits.sum(), copy)[0] / samples
    return total.cpu().numpy()


def occlusion(model: AlexNet, image: Tensor, target: int, patch: int, stride: int) -> np.ndarray:
    """(S, S): how far the class's probability falls when a pixel is covered: the average over the
    squares of `patch` px, `stride` px apart, that cover it (Zeiler and Fergus 2013).

    image: (3, S, S). The squares show the mean image, which the network sees as nothing. ValueError for
    squares that do not fit, or leave pixels out.
    """
    size = image.shape[-1]
    if not 1 <= stride <= patch <= size:
        raise ValueError(f"1 <= stride <= patch <= {size} must hold; stride is {stride}, patch {patch}")
    begins = [*range(0, size - patch, stride), size - patch]
    places = [(top, left) for top in begins for left in begins]
    fall, times = torch.zeros(size, size), torch.zeros(size, size)
    with torch.inference_mode():
        before = model(image[None]).softmax(1)[0, target]
        for first in range(0, len(places), 64):
            some = places[first:first + 64]
            covered = image.float().repeat(len(some), 1, 1, 1)
            for copy, (top, left) in zip(covered, some):
                square = (slice(None), slice(top, top + patch), slice(left, left + patch))
                copy[square] = model.mean[0][square]
            falls = before - model(covered).softmax(1)[:, target]
            for (top, left), value in zip(some, falls.tolist()):
                fall[top:top + patch, left:left + patch] += value
                times[top:top + patch, left:left + patch] += 1
    return (fall / times).numpy()


def gradcam(model: AlexNet, images: Tensor, targets: Tensor, name: str = "conv5") -> np.ndarray:
    """(N, S, S): the maps of a layer, each weighted with the mean slope of the class's logit along it,
    added up; what speaks against the class is cut off (Grad-CAM, Selvaraju et al. 2016)."""
    values = model.activations(images.float().detach().requires_grad_(), [name, "fc8"])
    maps = values[name]
    slopes, = torch.autograd.grad(values["fc8"].gather(1, targets[:, None]).sum(), maps)
    heat = (slopes.mean((2, 3), keepdim=True) * maps.clamp(min=0)).sum(1).clamp(min=0)
    spread = between_centres(step_of(model, name), images.shape[-1]).to(heat)
    return (spread @ heat @ spread.T).detach().cpu().numpy()


def between_centres(layer: Step, size: int) -> Tensor:
    """(size, side): how each pixel along a line mixes a layer's values: linearly between the centres of
    their fields, which lie neither at the edges nor evenly from edge to edge."""
    side = layer.shape[1]
    pixels = torch.arange(size, dtype=torch.float32)
    place = ((pixels - layer.first - (layer.field - 1) / 2) / layer.jump).clamp(0, side - 1)
    return (1 - (place[:, None] - torch.arange(side)).abs()).clamp(min=0)


# ------------------------------------------------------------------- what excites a unit

class Strongest(NamedTuple):
    """Where the units of a layer answer most; each picture at most once for a unit."""

    image: np.ndarray    # (units, count) numbers of pictures, the strongest first
    row: np.ndarray      # (units, count) place on the map
    column: np.ndarray
    value: np.ndarray    # (units, count) before the nonlinearity


def strongest(model: AlexNet, images: np.ndarray, names: list[str], count: int,
              doing: str = "") -> dict[str, Strongest]:
    """For every unit of the convolutional layers `names` its `count` strongest pictures."""
    best: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    with torch.inference_mode():
        for part, crops in batches(model, images, doing):
            for name, maps in model.activations(crops, names).items():
                value, place = maps.flatten(2).max(2)                 # (n, units)
                number = torch.arange(part.start, part.stop)[:, None].expand(value.shape)
                new = value.cpu(), place.cpu(), number
                if name in best:
                    new = tuple(torch.cat(pair) for pair in zip(best[name], new))
                order = new[0].argsort(dim=0, descending=True, stable=True)[:count]
                best[name] = tuple(entry.gather(0, order) for entry in new)
    found = {}
    for name, (value, place, number) in best.items():
        width = step_of(model, name).shape[2]
        entries = (number, place // width, place % width, value)
        found[name] = Strongest(*(entry.T.numpy() for entry in entries))
    return found


def synthesis(model: AlexNet, name: str, units: list[int], steps: int = 60, doing: str = "") -> np.ndarray:
    """(units, S, S, 3) uint8: the pictures that excite classes (`fc8`) or units of a layer most.

    Gradient ascent on the value before the softmax (of a map: the one in the middle), from the mean
    image with a little noise. Each step adds the gradient, blurred (from up to 4 px down to half of one) and
    brought to 4 grey levels (root mean square over what the unit sees), and takes away 1% of what
    differs from the mean image; before it the picture is shifted by up to a sixteenth of what the unit
    sees. Without such restraint the result looks like noise.
    """
    chance = torch.Generator().manual_seed(0)
    size, device = model.image_size, model.mean.device
    layer = step_of(model, name)
    field = size if layer.shape[1] == 1 else min(size, layer.field)
    reach, widest = max(1, field // 16), min(4.0, field / 12)
    extra = 10 * blurred(torch.randn(len(units), 3, size, size, generator=chance).to(device), 2.0)
    picks = torch.tensor(units, device=device)[:, None]
    for step in progress(range(steps), doing):
        shift = torch.randint(-reach, reach + 1, (2,), generator=chance).tolist()
        shifted = extra.roll(shift, (2, 3)).requires_grad_()
        values = model.prepare((model.mean + shifted).clamp(0, 255))
        # Of fc6 and fc7 what lies before the ReLU, through which a unit that is off gets no gradient.
        for one in model.steps[:model.steps.index(name) + 1]:
            values = getattr(model, one)(values)
        if values.ndim == 4:
            values = values[:, :, values.shape[2] // 2, values.shape[3] // 2]
        slope, = torch.autograd.grad(values.gather(1, picks).sum(), shifted)
        slope = slope.roll([-move for move in shift], (2, 3))
        slope = blurred(slope, widest * (0.5 / widest) ** (step / steps))
        length = slope.square().mean((1, 2, 3), keepdim=True).sqrt() * size / field
        extra = (extra + 4 * slope / length.clamp_min(1e-12)) * 0.99
    pictures = (model.mean + extra).clamp(0, 255).round().byte()
    return pictures.permute(0, 2, 3, 1).cpu().numpy()


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Convolved with a Gaussian of `deviation` px; the edges are repeated."""
    reach = max(1, math.ceil(3 * deviation))
    line = torch.exp(-torch.arange(-reach, reach + 1, dtype=images.dtype) ** 2 / (2 * deviation ** 2))
    line = (line / line.sum()).to(images.device).repeat(3, 1, 1, 1)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, line, groups=3), line.transpose(2, 3), groups=3)


# ------------------------------------------------------------------- neighbours and maps of pictures

def neighbours(queries: np.ndarray | Tensor, bank: np.ndarray | Tensor, count: int, doing: str = "",
               block: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """(Q, count) rows of `bank`, nearest first, and their Euclidean distances (section 6.1).

    queries: (Q, ...), bank: (N, ...), of any shape and number type; the bank may be memory-mapped and is
    read a block at a time. In float64, in which the products of pixels are exact: of two equally near the
    first comes first. Of other values a distance of 0 may be 1e-4, and equal rows may change places.
    """
    def rows(values: np.ndarray | Tensor) -> Tensor:
        some = values[:]
        return (some if torch.is_tensor(some) else torch.from_numpy(np.array(some))).flatten(1).double()

    asked = rows(queries)
    squares = asked.square().sum(1, keepdim=True)
    near, which = torch.empty(len(asked), 0), torch.empty(len(asked), 0, dtype=torch.long)
    for first in progress(range(0, len(bank), block), doing):
        some = rows(bank[first:first + block])
        distance = squares + some.square().sum(1) - 2 * (asked @ some.T)
        number = torch.arange(first, first + len(some)).expand(distance.shape)
        near, order = torch.cat([near, distance], 1).sort(stable=True)
        near, which = near[:, :count], torch.cat([which, number], 1).gather(1, order)[:, :count]
    return which.numpy(), near.clamp_min(0).sqrt().numpy()


def plane(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2): the pictures laid out by the two largest principal components of (N, D) values, and the
    share of the variance that each of the two holds."""
    centred = values.double() - values.double().mean(0)
    scale, vectors = torch.linalg.eigh(centred @ centred.T)   # N x N: D may be larger
    places = vectors[:, -2:].flip(1) * scale[-2:].flip(0).clamp(min=0).sqrt()
    signs = places.gather(0, places.abs().argmax(0, keepdim=True)).sign()   # an eigenvector has either
    shares = scale[-2:].flip(0).clamp(min=0) / scale.clamp(min=0).sum().clamp_min(1e-30)
    return (places * signs).numpy(), shares.numpy()


# ------------------------------------------------------------------- does it train?

@dataclass
class LayerHealth:
    """What a layer with weights does, over a number of pictures."""

    name: str
    dead: float               # share of units that were never above 0 (after a ReLU they are always 0)
    always: float             # share of units that were never below 0 (for them the ReLU does nothing)
    values: np.ndarray        # their quantiles (QUANTILES) before the nonlinearity
    saturated: float          # share of values where a tanh or sigmoid is flat: slope below 1% of its largest
    weights: float            # standard deviation of the weights
    gradients: float          # root mean square of the loss's gradient with respect to them


@dataclass
class Health:
    layers: list[LayerHealth]
    divisors: dict[str, np.ndarray]   # norm: quantiles of what it divides by, relative to its least (k^beta)
    same: float       # share of the squared length of fc7 (the last hidden layer) that all pictures share
    spread: float     # how far answers differ: mean distance of the probabilities from their mean, 0..1
    loss: float       # cross-entropy
    chance: float     # the cross-entropy of chance level


QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


def health(model: AlexNet, crops: Tensor, labels: Tensor) -> Health:
    """How values, weights and gradients stand for (N, 3, S, S) and their (N,) labels; eval mode. `unusual`
    names what is out of the ordinary in it."""
    norms = [name for name in model.steps if "norm" in name]
    before, layers = dict(zip(model.steps[1:], model.steps)), model.layers
    weights = [getattr(model, name).weight for name in layers]
    slopes = [torch.zeros_like(weight) for weight in weights]
    above, below = dict.fromkeys(layers, False), dict.fromkeys(layers, False)   # 0, for each unit
    values: dict[str, list[Tensor]] = {name: [] for name in layers}
    divisors: dict[str, list[Tensor]] = {name: [] for name in norms}
    hidden, logits, loss = [], [], 0.0
    for images, truths in zip(crops.split(32), labels.split(32)):
        # Each step's own result: "fc6" of `activations` is after its ReLU.
        x, seen = model.prepare(images), {}
        for name in model.steps:
            x = seen[name] = getattr(model, name)(x)
        part = F.cross_entropy(x, truths, reduction="sum") / len(crops)
        for total, slope in zip(slopes, torch.autograd.grad(part, weights)):
            total += slope
        loss += part.item()
        with torch.no_grad():
            for name in layers:
                units = seen[name].transpose(0, 1).flatten(1).cpu()
                above[name] |= (units > 0).any(1)
                below[name] |= (units < 0).any(1)
                values[name].append(sampled(units))
            for name in norms:
                ratio = seen[before[name]] / seen[name]
                divisors[name].append(sampled(ratio[ratio.isfinite()]))
            hidden.append(seen["relu7"].flatten(1).cpu())   # what fc8 sees, but for dropout
            logits.append(x.cpu())
    with torch.no_grad():
        found = [LayerHealth(name, 1 - above[name].float().mean().item(),
                             1 - below[name].float().mean().item(), quantiles(values[name]),
                             saturated(model, name, values[name]), weight.std(correction=0).item(),
                             slope.square().mean().sqrt().item())
                 for name, weight, slope in zip(layers, weights, slopes)]
        least = {name: getattr(model, name).k ** getattr(model, name).beta for name in norms}
        h, answers = torch.cat(hidden), torch.cat(logits).softmax(1)
        return Health(
            found, {name: quantiles(divisors[name], least[name]) for name in norms},
            same=(h.mean(0).square().sum() / h.square().sum(1).mean().clamp_min(1e-30)).item(),
            spread=(answers - answers.mean(0)).abs().sum(1).mean().item() / 2,
            loss=loss, chance=math.log(model.num_classes))


def sampled(values: Tensor) -> Tensor:
    """At most 2^18 of the values, evenly chosen: enough for quantiles."""
    step = max(1, math.ceil(values.numel() / 2 ** 18))
    return values.flatten()[::step].float().cpu()


def quantiles(parts: list[Tensor], unit: float = 1.0) -> np.ndarray:
    values = torch.cat(parts) / unit
    return np.quantile(values.numpy(), QUANTILES) if len(values) else np.ones(len(QUANTILES))


def saturated(model: AlexNet, name: str, parts: list[Tensor]) -> float:
    """The share of values where a tanh or sigmoid is flat; fc8 has none."""
    if model.design.activation == "relu" or name == "fc8":
        return 0.0
    values = torch.cat(parts)
    if model.design.activation == "tanh":
        slope = 1 - values.tanh() ** 2
    else:
        slope = 4 * values.sigmoid() * (1 - values.sigmoid())
    return (slope < 0.01).float().mean().item()


def unusual(model: AlexNet, report: Health) -> Iterator[tuple[str, str, float]]:
    """(kind, layer, number) for what a network that trains does not show."""
    for layer in report.layers:
        if not all(map(math.isfinite, (layer.weights, layer.gradients, *layer.values))):
            yield "not finite", layer.name, math.nan
            return
    if report.spread < 0.02:
        yield "same answer", "fc8", report.spread
    if report.same > 0.95:
        yield "same features", "fc7", report.same
    for layer in report.layers[:-1]:
        if layer.dead > 0.5 and model.design.activation == "relu":
            yield "dead", layer.name, layer.dead
        if layer.always > 0.5 and model.design.activation == "relu":
            yield "always on", layer.name, layer.always
        if layer.saturated > 0.5:
            yield "saturated", layer.name, layer.saturated
    still = [layer for layer in report.layers if layer.gradients < 1e-6 * layer.weights]
    if still:   # at learning rate 0.01, a step in a hundred million
        yield "no gradient", ", ".join(layer.name for layer in still), max(
            layer.gradients / max(layer.weights, 1e-30) for layer in still)
    for layer in report.layers:
        if layer.gradients > 10 * layer.weights:   # learning rate 0.01, momentum 0.9: all of it in five steps
            yield "large gradient", layer.name, layer.gradients / max(layer.weights, 1e-30)
    for name, divisors in report.divisors.items():
        if divisors[-1] < 1.01:
            yield "idle norm", name, divisors[-1]
