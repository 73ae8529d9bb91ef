"""The two response normalisations, fast: y = x / s^beta with s = k + alpha W(x^2), W adding up a window.

model.py and layers.py have the formulas in autograd's own operations, the plain form. Here is the same in
fewer passes through memory: on a CPU a few images at a time, small enough for its cache; kernels.py on a GPU.
Only x is kept for backward. W is symmetric (i is in the window of j as j is in that of i), so W suffices:
    dx = g s^-beta - 2 alpha beta x W(g x s^-beta / s).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad


@dataclass(frozen=True)
class Maps:
    """A window of the n feature maps around each one, cut off at the borders of its column."""
    n: int
    columns: int

    def sum(self, values: Tensor) -> Tensor:
        values = values.unflatten(1, (self.columns, -1))
        total = values.clone()
        for offset in range(1, min(self.n // 2 + 1, values.shape[2])):
            total[:, :, :-offset].add_(values[:, :, offset:])
            total[:, :, offset:].add_(values[:, :, :-offset])
        return total.flatten(1, 2)

    def axes(self, x: Tensor) -> list[int]:   # for kernels.py
        return [1, x.shape[1] // self.columns, 1, 1, self.n // 2, 0]


@dataclass(frozen=True)
class Square:
    """A window of the n x n values around each value of a feature map, cut off at the map's borders."""
    n: int

    def sum(self, values: Tensor) -> Tensor:
        rows = F.avg_pool2d(values, (self.n, 1), 1, (self.n // 2, 0), divisor_override=1)
        return F.avg_pool2d(rows, (1, self.n), 1, (0, self.n // 2), divisor_override=1)

    def axes(self, x: Tensor) -> list[int]:
        maps, height, width = x.shape[1:]
        return [maps, width, maps * width, height, self.n // 2, self.n // 2]


def normalise(x: Tensor, plain: Callable, window: Maps | Square, *constants: float) -> Tensor:
    """y for x, (N, maps, H, W), in at least 32 bits. channels_last is the fast format.

    plain: the formula in autograd's operations, for all but y and its first derivatives.
    constants: k, alpha, beta.
    """
    if is_followed(x):
        return plain(at_least_float(x)).to(x.dtype)
    if kernels_for(x):
        x = x.contiguous(memory_format=torch.channels_last)
    return ResponseNorm.apply(x, plain, window, *constants)


def is_followed(x: Tensor) -> bool:
    """Whether the operations on x are recorded (tracing, export, compiling, tensors without numbers) or
    transformed (torch.func, forward-mode derivatives): nobody can see into ResponseNorm."""
    return (torch.compiler.is_compiling() or torch.jit.is_tracing()
            or type(x) not in (Tensor, torch.nn.Parameter)
            or torch._C._are_functorch_transforms_active()   # these two have no public name
            or torch._C._functorch.is_legacy_batchedtensor(x)
            or forward_ad.unpack_dual(x).tangent is not None)


class ResponseNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, plain: Callable, window: Maps | Square, *constants: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.plain, ctx.window, ctx.constants = plain, window, constants
        if kernels := kernels_for(x):
            return kernels.normalise(x, window.axes(x), *constants)
        k, alpha, beta = constants
        y = torch.empty_like(x)
        for part in pieces(x):
            a = at_least_float(x[part])
            y[part] = power(window.sum(a * a).mul_(alpha).add_(k), beta).mul_(a)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x,), window, (k, alpha, beta) = ctx.saved_tensors, ctx.window, ctx.constants
        again = torch.is_grad_enabled()   # the derivative of this derivative will be asked for
        if again or is_followed(gradient):
            with torch.enable_grad():
                x = x.view_as(x)   # whose hooks are not called
                y = ctx.plain(at_least_float(x)).to(x.dtype)
            result, = torch.autograd.grad(y, x, gradient, create_graph=again)
        elif kernels := kernels_for(x):
            gradient = gradient.contiguous(memory_format=torch.channels_last)
            result = kernels.normalise_backward(x, gradient, window.axes(x), k, alpha, beta)
        else:
            result = torch.empty_like(x)
            for part in pieces(x):
                a, g = at_least_float(x[part]), at_least_float(gradient[part])
                s = window.sum(a * a).mul_(alpha).add_(k)
                g = power(s, beta).mul_(g)
                result[part] = g.addcmul_(window.sum((g * a).div_(s)), a, value=-2 * alpha * beta)
        return result, None, None, None, None, None


def power(s: Tensor, beta: float) -> Tensor:
    """s ** -beta; for the paper's 0.75 it is r r q, with r = s^-1/2 and q = r^-1/2 = s^1/4. (torch's own sqrt
    and pow are ten times slower on some processors.)"""
    if beta != 0.75:
        return s.pow(-beta)
    r = s.rsqrt()
    return r.rsqrt().mul_(r).mul_(r)


def pieces(x: Tensor) -> Iterable[slice]:
    """Slices of a batch: on a CPU about 2^18 values each, else all of it."""
    at_once = max(1, 2 ** 18 // max(1, x[:1].numel()) if x.device.type == "cpu" else len(x))
    return (slice(first, first + at_once) for first in range(0, len(x), at_once))


def at_least_float(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@functools.cache
def kernels_on(device: torch.device) -> ModuleType | None:
    """kernels.py, if Triton is there and works on the device."""
    try:
        from alexnet import kernels
    except ImportError:   # no Triton, or one that is broken
        return None
    return kernels if kernels.work_on(device) else None


def kernels_for(x: Tensor) -> ModuleType | None:
    """kernels.py, if x is on CUDA and of at most 32 bits."""
    fits = x.is_cuda and x.dtype != torch.float64 and 0 < x.numel() < 2 ** 31
    return kernels_on(x.device) if fits else None
