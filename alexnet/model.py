"""AlexNet: five convolutional layers, three fully-connected ones, and what stands between them.

The paper is Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional
Neural Networks" (NIPS 2012); "release" is its source code (computerhistory/AlexNet-Source-Code),
where net 145 is the network of the paper: layers/layers-145.cfg, layer-params-145.cfg. The two
differ in a dozen places. `as-trained` follows the release, `as-written` the paper's text.

    model = AlexNet(num_classes=10, image_size=128)
    logits = model(images)                      # images: (N, 3, 128, 128), RGB, 0..255
    fc7 = model.activations(images, ["fc7"])["fc7"]
    print(model.table())                        # sizes, parameters, receptive fields
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet import norms

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")  # those with weights


# ------------------------------------------------------------------- a network, described

@dataclass(frozen=True)
class Design:
    """What one AlexNet is made of. The defaults are the release's net 145, `as-trained`.

    `order` is the whole network, read from left to right: conv1 is a convolution, norm1 the
    response normalisation across maps, mapnorm2 the one within a map, pool1 max-pooling, relu1
    the nonlinearity, drop6 dropout.
    """

    order: str = ("conv1 norm1 pool1 relu1  conv2 relu2 norm2 mapnorm2 pool2  conv3 relu3  conv4 relu4 "
                  " conv5 pool5 relu5  flatten  fc6 relu6 drop6  fc7 relu7 drop7  fc8")
    widths: tuple[int, ...] = (96, 256, 384, 384, 256)  # maps of conv1 ... conv5; section 3.5
    hidden: int = 4096             # units of fc6 and fc7; section 3.5
    columns: int = 2               # the two GPUs: conv2, conv4, conv5 see their own half; 3.2
    without: str = ""              # a convolutional layer that is left out; section 7
    activation: str = "relu"       # relu, tanh or sigmoid; section 3.1
    conv1_edge: str = "far zeros"  # 3 zeros right and below, so that 224 gives 55; layer.py:1004
    pooling: str = "3x3"           # 3x3 windows 2 apart overlap, 2x2 do not; section 3.4
    round_up: bool = True          # a pooling window may hang over the edge; layer.py:1164
    lrn: str = "column"            # maps that norm1, norm2 look at: column, all or none; 3.3
    lrn_k: float = 2.0             # section 3.3; minDiv in layer-params-145.cfg
    lrn_alpha: float = 1e-4        # section 3.3; scale in layer-params-145.cfg
    lrn_over_n: bool = True        # alpha / n, as layer.py:1183 has it; the paper has alpha
    dropout: str = "mask"          # mask: x 0.5 in test; inverted: x 2 in training; none; 4.2
    std: tuple[float, ...] | None = (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)  # initW
    bias: tuple[float, ...] | None = (0, 1, 0, 1, 1, 1, 1, 0)  # initB; section 5 says the same
    pixel_mean: tuple[float, ...] | None = None  # None: the training set's mean image; section 2
    pixel_std: tuple[float, ...] | None = None   # None: grey levels as they are; section 2

    def __post_init__(self) -> None:
        choices = {
            "columns": (1, 2), "without": ("", *LAYERS[:5]), "activation": tuple(ACTIVATIONS),
            "conv1_edge": ("far zeros", "padding 2", "none"), "pooling": ("3x3", "2x2"),
            "lrn": ("column", "all", "none"), "dropout": ("mask", "inverted", "none"),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed or isinstance(value, bool):
                raise ValueError(f"{name}={value!r} is unknown; there is "
                                 f"{', '.join(repr(a) for a in allowed)}")
        for name, length in (("widths", 5), ("std", 8), ("bias", 8)):
            value = getattr(self, name)
            if value is not None and len(value) != length:
                raise ValueError(f"{name} needs {length} values, not {len(value)}")
        if any(width % self.columns for width in self.widths):
            raise ValueError(f"widths {self.widths} cannot be shared by {self.columns} columns")

    def steps(self) -> list[str]:
        """The names in `order`, less what is switched off."""
        gone = []
        if self.lrn == "none":     # run 148 of the release: the norm within a map goes, too
            gone += ["norm1", "norm2", "mapnorm2"]
        if self.dropout == "none":
            gone += ["drop6", "drop7"]
        if self.without:           # its pooling stays, so that the other layers keep their sizes
            number = self.without[-1]
            gone += [self.without, f"relu{number}", f"norm{number}", f"mapnorm{number}"]
        steps = [name for name in self.order.split() if name not in gone]
        if self.without == "conv1":  # conv2 sees the pixels; both poolings follow it
            steps.remove("pool1")
            steps.insert(steps.index("pool2"), "pool1")
        return steps


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}

VARIANTS: dict[str, Design] = {
    # Net 145 of the release: the network whose errors stand in the paper's tables.
    "as-trained": Design(),
    # The paper's text, sections 3 to 5.
    "as-written": Design(
        order="conv1 relu1 norm1 pool1  conv2 relu2 norm2 pool2  conv3 relu3  conv4 relu4 "
              " conv5 relu5 pool5  flatten  fc6 relu6 drop6  fc7 relu7 drop7  fc8",  # 3.5
        lrn="all",                 # 3.3: N is the number of kernels in the layer
        lrn_over_n=False,          # 3.3: alpha multiplies the plain sum
        std=(0.01,) * 8),          # 5
    # BVLC's reference AlexNet (caffe/models/bvlc_alexnet/train_val.prototxt); made for 227 px.
    "caffe": Design(
        order="conv1 relu1 norm1 pool1  conv2 relu2 norm2 pool2  conv3 relu3  conv4 relu4 "
              " conv5 relu5 pool5  flatten  fc6 relu6 drop6  fc7 relu7 drop7  fc8",
        conv1_edge="none",
        lrn="all", lrn_k=1.0,      # Caffe's default k; its alpha, too, is divided by n
        dropout="inverted",        # Caffe scales in training; the same function in test
        std=(0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01),
        bias=(0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0)),
    # torchvision.models.alexnet, after "One weird trick ..." (Krizhevsky 2014): one column, no
    # normalisation. Its adaptive pooling is the identity at 224 px; here fc6 shrinks instead.
    "torchvision": Design(
        order="conv1 relu1 pool1  conv2 relu2 pool2  conv3 relu3  conv4 relu4 "
              " conv5 relu5 pool5  flatten  drop6 fc6 relu6  drop7 fc7 relu7  fc8",
        widths=(64, 192, 384, 256, 256), columns=1,
        conv1_edge="padding 2", round_up=False, lrn="none", dropout="inverted",
        std=None, bias=None,       # PyTorch's own initial weights
        pixel_mean=(123.675, 116.28, 103.53), pixel_std=(58.395, 57.12, 57.375)),
}

HALF = (48, 128, 192, 192, 256)  # the release's 145-half: conv5 and the fc layers keep their size


def describe(variant: str = "as-trained", **changes) -> Design:
    """The design of a variant, with changes to any of its fields.

    The paper's ablations: `columns=1` (one column of full width), `columns="half"` (the release's
    145-half), `lrn="none"`, `pooling="2x2"`, `activation="tanh"` or `"sigmoid"`,
    `dropout="none"`, `without="conv3"`. ValueError for what does not exist.
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; there is {', '.join(VARIANTS)}")
    fields = [field.name for field in dataclasses.fields(Design)]
    if unknown := sorted(set(changes) - set(fields)):
        raise ValueError(f"unknown change {', '.join(unknown)}; there is {', '.join(fields)}")
    if changes.get("columns") == "half":
        if "widths" in changes:
            raise ValueError("columns='half' sets the widths; give one of the two")
        changes = {**changes, "columns": 1, "widths": HALF}
    lists = {name: tuple(value) for name, value in changes.items() if isinstance(value, list)}
    return dataclasses.replace(VARIANTS[variant], **{**changes, **lists})


# ------------------------------------------------------------------- its sizes

@dataclass(frozen=True)
class Layer:
    """One step of the network at one image size, in numbers."""

    name: str
    inputs: int                   # maps (or values, after flatten) that go in
    shape: tuple[int, int, int]   # maps, height, width of the result
    kernel: int = 1
    stride: int = 1
    padding: int = 0              # zeros on every side
    far: int = 0                  # further zeros, right and below
    groups: int = 1               # columns that do not see each other
    field: int = 1                # pixels, along a side, that one value sees
    jump: int = 1                 # pixels between the centres of two neighbours
    first: int = 0                # where the first value's field begins; below 0: in the padding

    @property
    def weights(self) -> int:
        if self.name not in LAYERS:
            return 0
        return self.shape[0] * self.inputs // self.groups * self.kernel ** 2

    @property
    def parameters(self) -> int:
        return self.weights + self.shape[0] if self.weights else 0

    @property
    def neurons(self) -> int:
        """Values of a layer with weights; the paper's count (figure 2)."""
        return math.prod(self.shape) if self.weights else 0

    @property
    def multiply_adds(self) -> int:
        """For one image, forward."""
        return self.weights * self.shape[1] * self.shape[2]


def sizes(design: Design, image_size: int, num_classes: int) -> list[Layer]:
    """Every step of the network with its sizes; an empty list if nothing is left after pool5."""
    kernels = {"conv1": (11, 4), "conv2": (5, 1), "conv3": (3, 1), "conv4": (3, 1), "conv5": (3, 1)}
    padding = {"conv2": 2, "conv3": 1, "conv4": 1, "conv5": 1}
    window = 3
    if design.pooling == "2x2":   # run 147 of the release; the smaller paddings keep 13 and 6
        window, padding = 2, {**padding, "conv2": 1, "conv5": 0}
    if design.without == "conv1":  # conv2 takes its place, so that 224 still gives 55
        kernels, padding = {**kernels, "conv2": (5, 4)}, {**padding, "conv2": 0}

    rows: list[Layer] = []
    maps, side, field, jump, first = 3, image_size, 1, 1, 0
    for name in design.steps():
        inputs, kernel, stride, pad, far, groups = maps, 1, 1, 0, 0, 1
        if name.startswith("conv"):
            kernel, stride = kernels[name]
            pad = padding.get(name, 0)
            if name == "conv1" and design.conv1_edge == "padding 2":
                pad = 2
            if name == "conv1" and design.conv1_edge == "far zeros":
                far = (kernel - side) % stride if side > kernel else max(0, kernel - side)
            if name in ("conv2", "conv4", "conv5") and inputs > 3:
                groups = design.columns
            maps = design.widths[int(name[-1]) - 1]
            side = (side + 2 * pad + far - kernel) // stride + 1
        elif name.startswith("pool"):
            kernel, stride = window, 2
            hang = stride - 1 if design.round_up else 0
            side = (side - kernel + hang) // stride + 1
        elif name.startswith("mapnorm"):
            kernel, pad = 5, 2    # its divisor looks at 5 x 5 values
        elif name == "flatten":
            maps, side = maps * side * side, 1
        elif name.startswith("fc"):
            maps = num_classes if name == "fc8" else design.hidden
        if side < 1:
            return []
        field, first, jump = field + (kernel - 1) * jump, first - pad * jump, jump * stride
        rows.append(Layer(name, inputs, (maps, side, side), kernel, stride, pad, far, groups,
                          field, jump, first))
    return rows


# ------------------------------------------------------------------- the normalisations

class LocalResponseNorm(nn.Module):
    """Section 3.3: b_i = a_i / (k + alpha * sum of a_j^2 over the n maps around i) ^ beta.

    Windows are cut off at the first and the last map, and at the border between `columns`.
    `over_n` divides alpha by n, as the release and nn.LocalResponseNorm do. (N, maps, H, W) in any
    memory format; channels_last is the fast one.
    """

    def __init__(self, k: float = 2.0, n: int = 5, alpha: float = 1e-4, beta: float = 0.75,
                 columns: int = 1, over_n: bool = False) -> None:
        super().__init__()
        self.k, self.n, self.alpha, self.beta = k, n, alpha, beta
        self.columns, self.over_n = columns, over_n

    def forward(self, a: Tensor) -> Tensor:
        alpha = self.alpha / self.n if self.over_n else self.alpha

        def plain(a: Tensor) -> Tensor:   # what norms.py computes in less time
            return a / (self.k + alpha * self.around(a ** 2)) ** self.beta
        return norms.normalise(a, plain, norms.Maps(self.n, self.columns), self.k, alpha, self.beta)

    def around(self, values: Tensor) -> Tensor:
        """The sum over the n maps around each map, within its column: what is outside counts as 0."""
        half, maps = self.n // 2, values.shape[1] // self.columns
        padded = F.pad(values.unflatten(1, (self.columns, maps)), (0, 0, 0, 0, half, half))
        return sum(padded.narrow(2, first, maps) for first in range(2 * half + 1)).flatten(1, 2)

    def extra_repr(self) -> str:
        alpha = f"{self.alpha:g}" + (f" / {self.n}" if self.over_n else "")
        return f"k={self.k:g}, n={self.n}, alpha={alpha}, beta={self.beta}, columns={self.columns}"


class SameMapNorm(nn.Module):
    """The release's cnorm2, which the paper does not mention (layers-145.cfg): a response
    normalisation over the n x n neighbours in the same map, with k = 1 and alpha / n^2."""

    def __init__(self, n: int = 5, alpha: float = 1e-3, beta: float = 0.75) -> None:
        super().__init__()
        self.n, self.alpha, self.beta = n, alpha, beta

    def forward(self, a: Tensor) -> Tensor:
        def plain(a: Tensor) -> Tensor:   # a mean over n x n, in which what is outside is 0, has alpha / n^2 in it
            return a / (1 + self.alpha * F.avg_pool2d(a ** 2, self.n, 1, self.n // 2)) ** self.beta
        return norms.normalise(a, plain, norms.Square(self.n), 1.0, self.alpha / self.n ** 2, self.beta)

    def extra_repr(self) -> str:
        return f"k=1, n={self.n}x{self.n}, alpha={self.alpha:g} / {self.n ** 2}, beta={self.beta}"


# ------------------------------------------------------------------- dropout, conv1

class Dropout(nn.Module):
    """Section 4.2: in training each value is zeroed with probability 0.5, in test all are halved.

    nn.Dropout instead doubles the survivors in training (`inverted`): the same function at test,
    but activations and gradients of twice the size, with which the paper's recipe starts late or
    never on ten classes (results/what-breaks-it).
    With `generator` set, masks come from it; with `batch` set, they are drawn for so many images, of
    which this process has `rows`: several processes then draw what one would have drawn.
    """

    keep = 0.5

    def __init__(self, inverted: bool = False) -> None:
        super().__init__()
        self.inverted = inverted
        self.generator: torch.Generator | None = None
        self.rows = slice(0, None)
        self.batch: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        scale = 1 / self.keep if self.inverted else 1.0
        if not self.training:
            return x * (self.keep * scale)
        shape = (self.batch or len(x), *x.shape[1:])
        mask = torch.empty(shape, dtype=x.dtype, device=x.device)
        mask.bernoulli_(self.keep, generator=self.generator)
        return x * (mask[self.rows] * scale if self.inverted else mask[self.rows])

    def extra_repr(self) -> str:
        return f"{self.keep}" + (", inverted" if self.inverted else "")


class ColumnConv2d(nn.Conv2d):
    """A convolution whose columns do not see each other (section 3.2): `groups`.

    In 16 bits on CUDA, cuDNN's kernels for groups take longer than one convolution that sees all maps, with
    weights of 0 between the columns (conv4 and conv5, on an H200).
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (x.is_cuda and x.dtype in (torch.bfloat16, torch.float16)):
            return super().forward(x)
        own = self.in_channels // self.groups
        columns = self.weight.to(x.dtype).chunk(self.groups)
        wide = torch.cat([F.pad(column, (0, 0, 0, 0, own * index, own * (self.groups - 1 - index)))
                          for index, column in enumerate(columns)])
        return F.conv2d(x, wide, self.bias, self.stride, self.padding)


class FarEdgeConv2d(nn.Conv2d):
    """A convolution over an image with zeros added right and below only.

    The release rounds the number of windows up (layer.py:1004): 1 + ceil((224 - 11) / 4) = 55, the
    last window hangs over the edge by 3 px, and what is not there reads as 0. So 224 px are right,
    and so are the 55 of figure 2.
    """

    def __init__(self, *args, far: int, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.far = far

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, self.far, 0, self.far)))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, far={self.far}"


# ------------------------------------------------------------------- the network

class AlexNet(nn.Module):
    """The network. Images in, logits out.

    num_classes: size of fc8.    image_size: side S of the square images, in pixels.
    variant: as-trained, as-written, caffe or torchvision.    changes: see `describe`.

    Images are RGB, uint8 or float, 0..255, (N, 3, S, S); the network subtracts its own `mean` (the
    centre crop of the training set's mean image; zero until somebody sets it), so callers never
    normalise. Every step is a module of its own under its own name, and none works in place: hooks
    and gradients see each value as it was.
    """

    mean: Tensor

    def __init__(self, num_classes: int = 1000, image_size: int = 224,
                 variant: str = "as-trained", **changes) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {num_classes}")
        self.num_classes, self.image_size = num_classes, image_size
        self.variant, self.changes = variant, changes
        self.design = describe(variant, **changes)
        self.classes = [str(index) for index in range(num_classes)]
        self.layers = sizes(self.design, image_size, num_classes)
        if not self.layers:
            smallest = next(side for side in range(1, 512) if sizes(self.design, side, 1))
            raise ValueError(f"images of {image_size} px leave nothing after pool5; "
                             f"the smallest possible size is {smallest} px")
        for layer in self.layers:
            self.add_module(layer.name, self._module(layer))
        mean = torch.tensor(self.design.pixel_mean or (0.0, 0.0, 0.0)).view(1, 3, 1, 1)
        self.register_buffer("mean", mean.repeat(1, 1, image_size, image_size))
        std = torch.tensor(self.design.pixel_std or (1.0, 1.0, 1.0), device="cpu").view(1, 3, 1, 1)
        self.register_buffer("std", std, persistent=False)   # real on `meta`, too: no file has it
        self.initialise()

    def _module(self, layer: Layer) -> nn.Module:
        design, kind = self.design, layer.name.rstrip("12345678")
        if kind == "conv":
            shape = layer.inputs, layer.shape[0], layer.kernel, layer.stride, layer.padding
            if layer.far:
                return FarEdgeConv2d(*shape, groups=layer.groups, far=layer.far)
            return (ColumnConv2d if layer.groups > 1 else nn.Conv2d)(*shape, groups=layer.groups)
        if kind == "fc":
            return nn.Linear(layer.inputs, layer.shape[0])
        if kind == "norm":
            columns = design.columns if design.lrn == "column" else 1
            return LocalResponseNorm(k=design.lrn_k, alpha=design.lrn_alpha,
                                     columns=columns, over_n=design.lrn_over_n)
        if kind == "pool":
            return nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=design.round_up)
        if kind == "drop":
            return Dropout(design.dropout == "inverted")
        simple = {"relu": ACTIVATIONS[design.activation], "mapnorm": SameMapNorm, "flatten": nn.Flatten}
        return simple[kind]()

    def initialise(self) -> None:
        """Initial weights from torch's generator: Gaussians, biases of 0 or 1 (section 5)."""
        if self.mean.is_meta:   # no memory, no numbers
            return
        for index, name in enumerate(LAYERS):
            if name == self.design.without:
                continue
            layer = getattr(self, name)
            if self.design.std is not None:
                nn.init.normal_(layer.weight, std=self.design.std[index])
            if self.design.bias is not None:
                nn.init.constant_(layer.bias, self.design.bias[index])

    def prepare(self, images: Tensor) -> Tensor:
        """Images as they come (0..255), less the mean: what conv1 sees."""
        side = self.image_size
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"this network takes images of shape (N, 3, {side}, {side}), RGB, "
                             f"0..255; not {tuple(images.shape)}")
        centred = images - self.mean
        return centred / self.std.to(centred.device) if self.design.pixel_std else centred

    def forward(self, images: Tensor) -> Tensor:
        x = self.prepare(images)
        for layer in self.layers:
            x = getattr(self, layer.name)(x)
        return x

    def activations(self, images: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Results by name, in the order asked for: any step of `design.steps()`.

        conv1 ... conv5 are before the nonlinearity (relu1 ... relu5 after it), fc6 and fc7 after
        theirs and before dropout: the 4096 values of section 6.1. ValueError for other names.
        """
        names = list(names)
        known = [layer.name for layer in self.layers if layer.name not in ("relu6", "relu7")]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"no step is called {', '.join(unknown)}; there is {', '.join(known)}")
        meant = {name: {"fc6": "relu6", "fc7": "relu7"}.get(name, name) for name in names}
        x, found = self.prepare(images), {}
        for layer in self.layers:
            x = getattr(self, layer.name)(x)
            if layer.name in meant.values():
                found[layer.name] = x
            if len(found) == len(meant):
                break
        return {name: found[meant[name]] for name in names}

    def table(self) -> str:
        """Sizes, neurons, parameters, multiply-adds and receptive fields, a line a layer."""
        lines = [f"{'layer':9}{'result':>15}{'kernel':>9}{'neurons':>10}{'parameters':>12}"
                 f"{'multiply-adds':>15}{'sees':>7}"]
        shown = [layer for layer in self.layers if layer.weights or layer.name.startswith("pool")]
        for layer in shown:
            result = " x ".join(str(n) for n in layer.shape if n > 1 or layer.name[:2] != "fc")
            kernel = f"{layer.kernel}x{layer.kernel}/{layer.stride}" if layer.kernel > 1 else ""
            sees = f"{layer.field}" if layer.name[:2] != "fc" else "all"
            lines.append(f"{layer.name:9}{result:>15}{kernel:>9}{layer.neurons or '':>10,}"
                         f"{layer.parameters or '':>12,}{layer.multiply_adds or '':>15,}{sees:>7}"
                         if layer.weights else
                         f"{layer.name:9}{result:>15}{kernel:>9}{'':>37}{sees:>7}")
        total = [sum(getattr(layer, what) for layer in self.layers)
                 for what in ("neurons", "parameters", "multiply_adds")]
        lines.append(f"{'all':9}{'':>15}{'':>9}{total[0]:>10,}{total[1]:>12,}{total[2]:>15,}")
        return "\n".join(lines)
