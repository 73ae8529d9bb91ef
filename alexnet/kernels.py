"""The normalisations on a GPU: one pass through its memory forward, two back.

The arithmetic is that of norms.ResponseNorm. Written out with torch's operations it takes a dozen passes each
way. Triton comes with torch for CUDA on Linux; it needs a C compiler.
"""

from __future__ import annotations

import warnings

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _window(values, at, inside, stride_a, length_a, stride_b, length_b,
            REACH_A: tl.constexpr, REACH_B: tl.constexpr, SQUARED: tl.constexpr, BLOCK: tl.constexpr):
    """The sum of the values, or of their squares, in the window around each place; outside it is 0."""
    a, b = at // stride_a % length_a, at // stride_b % length_b
    total = tl.zeros([BLOCK], tl.float32)
    for j in tl.static_range(2 * REACH_B + 1):
        for i in tl.static_range(2 * REACH_A + 1):
            to_a, to_b = i - REACH_A, j - REACH_B
            there = inside & (a + to_a >= 0) & (a + to_a < length_a) & (b + to_b >= 0) & (b + to_b < length_b)
            value = tl.load(values + at + to_a * stride_a + to_b * stride_b, mask=there, other=0.0)
            value = value.to(tl.float32)
            total += value * value if SQUARED else value
    return total


@triton.jit
def _here(x, count, k, alpha, stride_a, length_a, stride_b, length_b,
          REACH_A: tl.constexpr, REACH_B: tl.constexpr, BLOCK: tl.constexpr):
    """The places of this program, which of them there are, and x and log2 s there."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    around = _window(x, at, inside, stride_a, length_a, stride_b, length_b, REACH_A, REACH_B, True, BLOCK)
    return at, inside, tl.load(x + at, mask=inside, other=0.0).to(tl.float32), tl.log2(k + alpha * around)


@triton.jit
def _forward(x, y, count, k, alpha, beta, stride_a, length_a, stride_b, length_b,
             REACH_A: tl.constexpr, REACH_B: tl.constexpr, BLOCK: tl.constexpr):
    """y = x s^-beta."""
    at, inside, value, log_s = _here(x, count, k, alpha, stride_a, length_a, stride_b, length_b,
                                     REACH_A, REACH_B, BLOCK)
    tl.store(y + at, value * tl.exp2(-beta * log_s), mask=inside)


@triton.jit
def _inner(x, gradient, inner, count, k, alpha, beta, stride_a, length_a, stride_b, length_b,
           REACH_A: tl.constexpr, REACH_B: tl.constexpr, BLOCK: tl.constexpr):
    """What the window adds up on the way back: g x s^-beta / s."""
    at, inside, value, log_s = _here(x, count, k, alpha, stride_a, length_a, stride_b, length_b,
                                     REACH_A, REACH_B, BLOCK)
    g = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(inner + at, g * value * tl.exp2((-beta - 1) * log_s), mask=inside)


@triton.jit
def _backward(x, gradient, inner, result, count, k, alpha, beta, stride_a, length_a, stride_b, length_b,
              REACH_A: tl.constexpr, REACH_B: tl.constexpr, BLOCK: tl.constexpr):
    """dx = g s^-beta - 2 alpha beta x W(inner)."""
    at, inside, value, log_s = _here(x, count, k, alpha, stride_a, length_a, stride_b, length_b,
                                     REACH_A, REACH_B, BLOCK)
    total = _window(inner, at, inside, stride_a, length_a, stride_b, length_b, REACH_A, REACH_B, False, BLOCK)
    g = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(result + at, g * tl.exp2(-beta * log_s) - 2 * alpha * beta * value * total, mask=inside)


def _run(kernel: triton.JITFunction, tensors: list[Tensor], axes: list[int], *constants: float) -> None:
    count = tensors[0].numel()
    with torch.cuda.device_of(tensors[0]):
        kernel[(triton.cdiv(count, BLOCK),)](*tensors, count, *constants, *axes, BLOCK)


def normalise(x: Tensor, axes: list[int], *constants: float) -> Tensor:
    """x / s^beta. x: (N, maps, H, W), channels_last, at most 32 bits; computed in 32 bits, of x's type.

    axes: for each of the window's two axes how far apart neighbours lie in memory and how many there are;
    then how many the window reaches to each side along each. constants: k, alpha, beta.
    """
    y = torch.empty_like(x)
    _run(_forward, [x, y], axes, *constants)
    return y


def normalise_backward(x: Tensor, gradient: Tensor, axes: list[int], *constants: float) -> Tensor:
    """The gradient at x from that at the result; both channels_last."""
    inner, result = torch.empty_like(x, dtype=torch.float32), torch.empty_like(x)
    _run(_inner, [x, gradient, inner], axes, *constants)
    _run(_backward, [x, gradient, inner, result], axes, *constants)
    return result


def work_on(device: torch.device) -> bool:
    """Whether both ways work on the device, tried on one number; a warning says why not."""
    one, rest = torch.ones(1, 1, 1, 1, device=device), ([1, 1, 1, 1, 0, 0], 1.0, 1.0, 1.0)
    try:
        normalise_backward(one, normalise(one, *rest), *rest)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:   # whatever is missing for compiling, a C compiler mostly
        said = " ".join(str(error).split())[:160]
        warnings.warn(f"Triton does not work here ({type(error).__name__}: {said}): the normalisations take "
                      "longer, with the same results")
        return False
    return True
