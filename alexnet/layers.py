"""Layers that PyTorch lacks. One more, LocalResponseNorm, stands in model.py, beside the network."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet import norms


class SameMapNorm(nn.Module):
    """The release's cnorm2, which the paper does not mention (layers-145.cfg): response normalisation over
    the n x n neighbours in the same feature map, with k = 1 and alpha / n^2."""

    k, n, alpha, beta = 1.0, 5, 1e-3, 0.75

    def plain(self, a: Tensor) -> Tensor:
        """A mean over n x n values, in which those outside the map are 0, has alpha / n^2 in it."""
        return a / (self.k + self.alpha * F.avg_pool2d(a ** 2, self.n, 1, self.n // 2)) ** self.beta

    def forward(self, a: Tensor) -> Tensor:
        """What `plain` computes, in less time."""
        return norms.normalise(a, self.plain, norms.Square(self.n), self.k, self.alpha / self.n ** 2,
                               self.beta)

    def extra_repr(self) -> str:
        return f"k={self.k:g}, n={self.n}x{self.n}, alpha={self.alpha:g} / {self.n ** 2}, beta={self.beta}"


class Masks(NamedTuple):
    """Where dropout's masks come from, and which of them a process takes (batches.py says why)."""

    generator: torch.Generator | None = None   # without one, torch's own
    rows: slice = slice(0, None)               # this process's images
    total: int | None = None                   # images of all processes, for which masks are drawn


class Dropout(nn.Module):
    """Section 4.2: in training each value is zeroed with probability 0.5, in test all are halved.

    nn.Dropout instead doubles the survivors in training (`inverted`): the same function in test, but
    activations and gradients of twice the size, with which the paper's recipe starts learning late or never
    on ten classes (results/what-breaks-it). With `masks` set, they come from there.
    """

    keep = 0.5

    def __init__(self, inverted: bool = False) -> None:
        super().__init__()
        self.inverted = inverted
        self.masks = Masks()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x if self.inverted else x * self.keep
        generator, rows, total = self.masks
        mask = torch.empty((total or len(x), *x.shape[1:]), dtype=x.dtype, device=x.device)
        mask = mask.bernoulli_(self.keep, generator=generator)[rows]
        return x * (mask / self.keep if self.inverted else mask)

    def extra_repr(self) -> str:
        return f"{self.keep}" + (", inverted" if self.inverted else "")


class ColumnConv2d(nn.Conv2d):
    """Section 3.2: a convolution whose columns do not see each other (`groups`).

    In 16 bits on CUDA, cuDNN's kernels for groups take longer than one convolution that sees all feature
    maps, with weights of 0 between the columns (conv4 and conv5, on an H200).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.groups == 1 or not (x.is_cuda and x.dtype in (torch.bfloat16, torch.float16)):
            return super().forward(x)
        own, (first, second) = self.in_channels // 2, self.weight.to(x.dtype).chunk(2)
        wide = torch.cat([F.pad(first, (0, 0, 0, 0, 0, own)), F.pad(second, (0, 0, 0, 0, own, 0))])
        return F.conv2d(x, wide, self.bias, self.stride, self.padding)


class FarEdgeConv2d(nn.Conv2d):
    """A convolution over an image with zeros added right and below only.

    The release rounds the number of windows up (layer.py:1004): 1 + ceil((224 - 11) / 4) = 55. The last
    window hangs over the edge by 3 px, where the image counts as 0. So 224 px do give the 55 of figure 2.
    """

    ceil_mode = True   # as nn.MaxPool2d has it

    def forward(self, x: Tensor) -> Tensor:
        far = (self.kernel_size[0] - int(x.shape[-1])) % self.stride[0]   # int: a constant when traced
        return super().forward(F.pad(x, (0, far, 0, far)) if far else x)
