"""Sizes of a built network (also on `meta`), read from its modules: results, costs, receptive fields."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from alexnet.layers import SameMapNorm
from alexnet.model import AlexNet


@dataclass(frozen=True)
class Step:
    """One step of a network, in numbers. Lengths are along a side."""

    name: str
    inputs: int                   # feature maps (or values, after flatten) that go in
    shape: tuple[int, int, int]   # feature maps, height, width of the result
    kernel: int = 1
    stride: int = 1
    padding: int = 0              # zeros on every side
    far: int = 0                  # how far the last window hangs over the right and the lower edge
    groups: int = 1               # columns that do not see each other
    weights: int = 0
    parameters: int = 0           # weights and biases
    field: int = 1                # pixels that one value sees; of fc6 to fc8, which see all, pool5's
    jump: int = 1                 # pixels between the centres of two neighbours' fields
    first: int = 0                # where the first value's field begins; below 0: in the padding

    @property
    def kind(self) -> str:
        """conv, relu, norm, mapnorm, pool, flatten, fc or drop."""
        return self.name.partition("_")[0].rstrip("12345678")   # of relu_conv6, too

    @property
    def neurons(self) -> int:
        """Values of a layer with weights; the paper's count (figure 2)."""
        return math.prod(self.shape) if self.weights else 0

    @property
    def multiply_adds(self) -> int:
        """For one image, forward."""
        return self.weights * self.shape[1] * self.shape[2]


def sizes(model: AlexNet) -> dict[str, Step]:
    """The steps of a network by name, in its order."""
    found: dict[str, Step] = {}
    maps, side, field, jump, first = 3, model.image_size, 1, 1, 0
    for name in model.steps:
        module, inputs = getattr(model, name), maps
        kernel, stride, padding = window(module)
        far = (kernel - side - 2 * padding) % stride if getattr(module, "ceil_mode", False) else 0
        side = (side + 2 * padding + far - kernel) // stride + 1
        if isinstance(module, nn.Flatten):
            maps, side = maps * side * side, 1
        elif isinstance(module, nn.Conv2d):
            maps = module.out_channels
        elif isinstance(module, nn.Linear):
            maps = module.out_features
        field, first, jump = field + (kernel - 1) * jump, first - padding * jump, jump * stride
        weights = module.weight.numel() if hasattr(module, "weight") else 0
        parameters = sum(parameter.numel() for parameter in module.parameters())
        found[name] = Step(name, inputs, (maps, side, side), kernel, stride, padding, far,
                           getattr(module, "groups", 1), weights, parameters, field, jump, first)
    return found


def step_of(model: AlexNet, name: str) -> Step:
    """One step; ValueError with the names that exist."""
    steps = sizes(model)
    if name not in steps:
        raise ValueError(f"no step is called {name}; there is {', '.join(steps)}")
    return steps[name]


def window(module: nn.Module) -> tuple[int, int, int]:
    """Kernel, stride and padding of a module, along a side."""
    if isinstance(module, nn.Conv2d):
        return module.kernel_size[0], module.stride[0], module.padding[0]
    if isinstance(module, nn.MaxPool2d):
        return module.kernel_size, module.stride, module.padding
    if isinstance(module, SameMapNorm):   # its divisor looks at n x n values
        return module.n, 1, module.n // 2
    return 1, 1, 0


def table(model: AlexNet) -> str:
    """Sizes, neurons, parameters, multiply-adds and receptive fields, one line per layer."""
    lines = [f"{'layer':9}{'result':>15}{'kernel':>9}{'neurons':>10}{'parameters':>12}"
             f"{'multiply-adds':>15}{'sees':>7}"]
    steps = sizes(model).values()
    for step in steps:
        dense = step.kind == "fc"
        result = " x ".join(str(n) for n in step.shape if n > 1 or not dense)
        kernel = f"{step.kernel}x{step.kernel}/{step.stride}" if step.kernel > 1 else ""
        counts = f"{step.neurons:>10,}{step.parameters:>12,}{step.multiply_adds:>15,}" if step.weights else ""
        if step.weights or step.kind == "pool":
            sees = "all" if dense else step.field
            lines.append(f"{step.name:9}{result:>15}{kernel:>9}{counts:37}{sees:>7}")
    neurons, parameters, adds = (sum(getattr(step, what) for step in steps)
                                 for what in ("neurons", "parameters", "multiply_adds"))
    return "\n".join([*lines, f"{'all':9}{'':>24}{neurons:>10,}{parameters:>12,}{adds:>15,}"])
