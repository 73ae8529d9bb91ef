"""Section 4.1: random crops and mirror images, colour noise, the ten crops; and the crops of today.

Whole batches at once, tensors in, tensors out. Chance is apart from what is done with it: a `Choice` holds
what was chosen at random for a batch, of which each process uses its own rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """What was chosen at random for a batch of N images."""

    top: Tensor      # (N,) crop's first row
    left: Tensor     # (N,) crop's first column
    mirror: Tensor   # (N,) bool
    colour: Tensor   # (N, 3) one standard normal number for each principal component
    height: Tensor | None = None   # (N,) of a window that is resized to the crop; None: the crop's own
    width: Tensor | None = None    # (N,)

    def __getitem__(self, rows: slice) -> Choice:
        return Choice(*(values if values is None else values[rows] for values in vars(self).values()))


def choose(count: int, room: int, generator: torch.Generator) -> Choice:
    """Crops and noise for `count` images whose crops have `room` pixels to move in (256 - 224 = 32).

    33 x 33 places and two mirror images: the release's 2178 variants of an image (convdata.py:253);
    the paper counts 2048. The release chooses once for 32 neighbours, the paper and we for each image.
    """
    top = torch.randint(0, room + 1, (count,), generator=generator)
    left = torch.randint(0, room + 1, (count,), generator=generator)
    mirror = torch.rand(count, generator=generator) < 0.5
    return Choice(top, left, mirror, torch.randn(count, 3, generator=generator))


def choose_resized(count: int, room: int, generator: torch.Generator, size: int) -> Choice:
    """What is usual today (torchvision's RandomResizedCrop), for images of side `room + size`: windows of
    8 to 100% of the area, with sides of 3:4 to 4:3, cut where that is more than the image."""
    side = room + size
    area = torch.empty(count).uniform_(0.08, 1, generator=generator)
    ratio = torch.empty(count).uniform_(math.log(3 / 4), math.log(4 / 3), generator=generator).exp()
    height, width = ((side * (area * shape).sqrt()).round().clamp(1, side).long()
                     for shape in (1 / ratio, ratio))
    top, left = ((torch.rand(count, generator=generator) * (side - length + 1)).long()
                 for length in (height, width))
    return replace(choose(count, 0, generator), top=top, left=left, height=height, width=width)


def crop(images: np.ndarray, indices: np.ndarray, choice: Choice, size: int) -> Tensor:
    """Crops of the images at `indices`, resized to `size` and mirrored where that was chosen.

    images: (M, side, side, 3) uint8, as a memory map: nothing but the crop is read.
    Returns (N, 3, size, size) uint8 in channels_last order.
    """
    batch = torch.empty((len(indices), 3, size, size), dtype=torch.uint8, memory_format=torch.channels_last)
    rows = batch.permute(0, 2, 3, 1).numpy()  # the same memory
    heights, widths = ([size] * len(indices) if sides is None else sides.tolist()
                       for sides in (choice.height, choice.width))
    places = zip(indices, choice.top.tolist(), choice.left.tolist(), heights, widths, choice.mirror.tolist())
    for row, (index, top, left, height, width, mirror) in enumerate(places):
        window = images[index, top:top + height, left:left + width]
        if (height, width) == (size, size):
            rows[row] = window
        else:
            batch[row] = F.interpolate(as_batch([window]), (size, size), mode="bilinear", antialias=True)[0]
        if mirror:   # torch turns bytes round six times faster than numpy
            batch[row:row + 1] = batch[row:row + 1].flip(3)
    return batch


def as_batch(images: np.ndarray | list[np.ndarray]) -> Tensor:
    """Images as a pack holds them, (N, side, side, 3) uint8, to (N, 3, side, side) in channels_last order."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def centre(images: Tensor, size: int) -> Tensor:
    """(..., side, side) to the central (..., size, size), without a copy."""
    inside = middle(images.shape[-1], size)
    return images[..., inside, inside]


def middle(side: int, size: int) -> slice:
    """The central `size` of `side` pixels; ValueError if there are fewer."""
    if size > side:
        raise ValueError(f"{size} px cannot be cut out of {side}")
    edge = (side - size) // 2
    return slice(edge, edge + size)


def components(covariance: np.ndarray) -> np.ndarray:
    """The principal components of RGB, each of the length of its standard deviation: (3, 3), one
    component per column.

    The paper multiplies by the eigenvalue, which for 0..255 would be noise of a thousand grey
    levels; the release's array is named color_stdevs, the reading that works (convdata.py:105).
    """
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    return vectors * np.sqrt(np.clip(values, 0, None))


def colour_noise(images: Tensor, choice: Choice, deviations: Tensor, strength: float,
                 mean: Tensor | None = None) -> Tensor:
    """Adds `strength` times a random mix of RGB's principal components to each image, as floats.

    images: (N, 3, S, S), 0..255.    deviations: (3, 3), from `components`.
    With `mean` (3, S, S) it is the release's form, mean + (x - mean + noise) / (1 + strength)
    (convdata.py:205); without it the paper's, x + noise. Nothing is clipped.
    """
    noise = strength * choice.colour.to(deviations) @ deviations.T
    noise = noise.to(images.device, torch.float32)[:, :, None, None]
    # A whole row of each image's noise: then pixels and noise lie in memory in the same way.
    noise = noise.expand(-1, -1, 1, images.shape[3]).contiguous(memory_format=torch.channels_last)
    result = torch.empty_like(images, dtype=torch.float32)
    at_once = 1 if images.device.type == "cpu" else max(1, len(images))  # what a cache holds
    for image, colour, out in zip(*(whole.split(at_once) for whole in (images, noise, result))):
        out.copy_(image).add_(colour)
        if mean is not None:
            torch.lerp(mean[None], out, 1 / (1 + strength), out=out)
    return result


def ten_crops(images: Tensor, size: int) -> list[Tensor]:
    """The four corners, the centre, and their mirror images: ten batches (N, 3, size, size)."""
    room, edge = images.shape[-1] - size, middle(images.shape[-1], size).start
    corners = [(0, 0), (0, room), (room, 0), (room, room), (edge, edge)]
    crops = [images[:, :, top:top + size, left:left + size] for top, left in corners]
    return crops + [crop.flip(3) for crop in crops]
