"""AlexNet: five convolutional layers, three fully-connected ones, and what stands between them.

The paper is Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks" (NIPS 2012); numbers like 3.5 are its sections. The release is the authors' source code of 2012
(computerhistory/AlexNet-Source-Code): `layer.py:1004` and the like are lines of its files, and its net 145
(layers/layers-145.cfg, layer-params-145.cfg) is the network whose errors stand in the paper's tables.
First the network, with the numbers of as-written and as-trained; then what its four variants are.

    model = AlexNet(num_classes=10, image_size=128)
    logits = model(images)                      # images: (N, 3, 128, 128), RGB, 0..255
    fc7 = model.activations(images, ["fc7"])["fc7"]
    print(model.table())                        # sizes, parameters, receptive fields
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet import norms
from alexnet.layers import ColumnConv2d, Dropout, FarEdgeConv2d, SameMapNorm

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")   # those with weights
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
AFTER_RELU = {"fc6": "relu6", "fc7": "relu7"}   # in `activations`, fc6 and fc7 mean after ReLU, as in Caffe


# ------------------------------------------------------------------- the network

class AlexNet(nn.Module):
    """The network. Images in, logits out.

    num_classes: size of fc8. image_size: side S of the images, in pixels. variant, changes: see `describe`.

    Images are RGB, uint8 or float, 0..255, (N, 3, S, S); the network subtracts its own `mean` (the centre
    crop of the training set's mean image; zero until somebody sets it), so callers never normalise. Every
    step is a module under its own name, and none works in place: hooks see each value as it was.
    """

    mean: Tensor

    def __init__(self, num_classes: int = 1000, image_size: int = 224, variant: str = "as-trained",
                 **changes: Any) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {num_classes}")
        self.num_classes, self.image_size = num_classes, image_size
        self.variant, self.changes = variant, changes
        self.classes = [str(index) for index in range(num_classes)]
        design = self.design = describe(variant, **changes)
        self.steps = design.steps()   # names of the modules below, in the order in which `forward` runs them
        self.layers = [name for name in self.steps if name.startswith(("conv", "fc"))]   # those with weights

        w1, w2, w3, w4, w5 = design.widths   # 96, 256, 384, 384, 256
        columns, hidden, round_up = design.columns, design.hidden, design.round_up   # 2, 4096, True
        nonlinearity, inverted = ACTIVATIONS[design.activation], design.dropout == "inverted"
        lrn = {"k": design.lrn_k, "alpha": design.lrn_alpha, "over_n": design.lrn_over_n,
               "columns": columns if design.lrn == "column" else 1}

        # The paper's layers; numbers and shapes behind them are those of as-written and as-trained, 224 px.
        # Weights are on `meta` (shapes without numbers) until `initialise` draws them: so fc6 can be fitted,
        # and layers can be exchanged.
        with torch.device("meta"):
            self.conv1 = FarEdgeConv2d(3, w1, 11, stride=4)                      #  96 x 55 x 55
            self.relu1, self.norm1 = nonlinearity(), LocalResponseNorm(**lrn)
            self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=round_up)           #  96 x 27 x 27
            self.conv2 = ColumnConv2d(w1, w2, 5, padding=2, groups=columns)      # 256 x 27 x 27
            self.relu2, self.norm2 = nonlinearity(), LocalResponseNorm(**lrn)
            self.mapnorm2 = SameMapNorm()                                        # in as-trained only
            self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=round_up)           # 256 x 13 x 13
            self.conv3 = nn.Conv2d(w2, w3, 3, padding=1)                         # 384 x 13 x 13
            self.relu3 = nonlinearity()
            self.conv4 = ColumnConv2d(w3, w4, 3, padding=1, groups=columns)      # 384 x 13 x 13
            self.relu4 = nonlinearity()
            self.conv5 = ColumnConv2d(w4, w5, 3, padding=1, groups=columns)      # 256 x 13 x 13
            self.relu5 = nonlinearity()
            self.pool5 = nn.MaxPool2d(3, stride=2, ceil_mode=round_up)           # 256 x  6 x  6
            self.flatten = nn.Flatten()                                          # 9216
            self.change_layers()   # where another variant or an experiment differs from the above
            self.fc6 = nn.Linear(self.inputs_of_fc6(), hidden)                   # 4096
            self.relu6, self.drop6 = nonlinearity(), Dropout(inverted)
            self.fc7 = nn.Linear(hidden, hidden)                                 # 4096
            self.relu7, self.drop7 = nonlinearity(), Dropout(inverted)
            self.fc8 = nn.Linear(hidden, num_classes)                            # 1000
        made = dict(self.named_children())   # a variant keeps its own steps, in its order
        for name in made:
            delattr(self, name)
        for name in self.steps:
            self.add_module(name, made[name])

        mean = torch.tensor(design.pixel_mean or (0.0, 0.0, 0.0)).view(1, 3, 1, 1)
        self.register_buffer("mean", mean.repeat(1, 1, image_size, image_size))
        std = torch.tensor(design.pixel_std or (1.0, 1.0, 1.0), device="cpu").view(1, 3, 1, 1)
        self.register_buffer("std", std, persistent=False)   # in no file, so it has numbers on `meta`, too
        self.initialise()

    def change_layers(self) -> None:
        """What other variants and the paper's experiments have in the place of these conv1 ... pool5."""
        design, (w1, w2, _, w4, w5) = self.design, self.design.widths
        if design.conv1_edge != "far zeros":
            self.conv1 = nn.Conv2d(3, w1, 11, stride=4, padding=2 if design.conv1_edge == "padding 2" else 0)
        if design.pooling == "2x2":     # run 147 of the release; the smaller paddings keep 13 and 6
            self.conv2 = ColumnConv2d(w1, w2, 5, padding=1, groups=design.columns)
            self.conv5 = ColumnConv2d(w4, w5, 3, padding=0, groups=design.columns)
        if design.pooling != "3x3":
            round_up = design.round_up and design.pooling == "2x2"
            for name in ("pool1", "pool2", "pool5"):
                self.add_module(name, nn.MaxPool2d(2, stride=2, ceil_mode=round_up))
        if design.conv6:                # sees both columns
            self.conv6 = nn.Conv2d(w5, design.conv6, 3, padding=1)
            self.relu_conv6 = ACTIVATIONS[design.activation]()
        if design.without == "conv1":   # conv2 takes its place, so that 224 still gives 55
            self.conv2 = nn.Conv2d(3, w2, 5, stride=4)

    def inputs_of_fc6(self) -> int:
        """Values after pool5; ValueError with the smallest possible size if nothing is left."""
        if values := self.values_after_pool5(self.image_size):
            return values
        smallest = next(side for side in range(1, 512) if self.values_after_pool5(side))
        raise ValueError(f"images of {self.image_size} px leave nothing after pool5; "
                         f"the smallest possible size is {smallest} px")

    def values_after_pool5(self, side: int) -> int:
        """By a forward pass while the layers are on `meta`; 0 if some window is larger than its input."""
        try:
            x = torch.empty(1, 3, side, side, device="meta")
            for name in self.steps:
                if name.startswith(("conv", "pool")):   # the others keep the size
                    x = getattr(self, name)(x)
            return x.numel()
        except RuntimeError:
            return 0

    def initialise(self) -> None:
        """Draws the initial weights from torch's generator: Gaussians, biases of 0 or 1 (section 5)."""
        if self.mean.is_meta:   # no memory, no numbers
            return
        layers = {name: getattr(self, name) for name in self.layers}
        for layer in layers.values():   # first PyTorch's own, with which `torchvision` stays
            layer.to_empty(device=self.mean.device).reset_parameters()
        for name, layer in layers.items():
            index = LAYERS.index("conv5" if name == "conv6" else name)
            if self.design.std is not None:
                nn.init.normal_(layer.weight, std=self.design.std[index])
            if self.design.bias is not None:
                nn.init.constant_(layer.bias, self.design.bias[index])

    def prepare(self, images: Tensor) -> Tensor:
        """Images as they come (0..255), less the mean: what conv1 sees."""
        side = self.image_size
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"this network takes images of shape (N, 3, {side}, {side}), RGB, 0..255; "
                             f"not {tuple(images.shape)}")
        x = (images - self.mean).to(self.mean.dtype)   # numpy's pictures are often float64
        return x / self.std.to(x.device) if self.design.pixel_std else x

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, classes). A loop over names, because the variants differ in the order of steps."""
        x = self.prepare(images)
        for name in self.steps:
            x = getattr(self, name)(x)
        return x

    def activations(self, images: Tensor, names: str | Iterable[str]) -> dict[str, Tensor]:
        """Results by name, in the order asked for: any of `steps`.

        fc6 and fc7 are after ReLU and before dropout: the 4096 values of section 6.1. conv1 ... conv5 are
        before ReLU (relu1 ... relu5 after it). ValueError for other names.
        """
        names = [names] if isinstance(names, str) else names
        meant = {name: AFTER_RELU.get(name, name) for name in names}
        if unknown := [name for name in meant if name not in self.steps]:
            raise ValueError(f"no step is called {', '.join(unknown)}; there is {', '.join(self.steps)}")
        x, found, wanted = self.prepare(images), {}, set(meant.values())
        for name in self.steps:
            x = getattr(self, name)(x)
            if name in wanted:
                found[name] = x
            if len(found) == len(wanted):
                break
        return {name: found[step] for name, step in meant.items()}

    def table(self) -> str:
        """Sizes, neurons, parameters, multiply-adds and receptive fields, one line per layer."""
        from alexnet import geometry   # it looks at networks, so it imports this file
        return geometry.table(self)


class LocalResponseNorm(nn.Module):
    """Section 3.3: each value is divided by what the n feature maps around its own have at the same place.

    Windows are cut off at the first and the last map, and at the border between `columns`. `over_n` divides
    alpha by n, as the release and nn.LocalResponseNorm do. (N, maps, H, W); channels_last is the fast format.
    """

    def __init__(self, k: float = 2.0, n: int = 5, alpha: float = 1e-4, beta: float = 0.75,
                 columns: int = 1, over_n: bool = False) -> None:
        super().__init__()
        if n % 2 == 0:
            raise ValueError(f"n is {n}: windows have a middle, so n must be odd")
        self.k, self.n, self.alpha, self.beta = k, n, alpha, beta
        self.columns, self.over_n = columns, over_n
        self.scale = alpha / n if over_n else alpha

    def plain(self, a: Tensor) -> Tensor:
        """The paper's formula: a / (k + alpha * the sum of a^2 over n maps) ^ beta."""
        squares = (a ** 2).unflatten(1, (self.columns, -1))   # (N, columns, maps, H, W)
        padded = F.pad(squares, (0, 0, 0, 0, self.n // 2, self.n // 2))   # what is outside counts as 0
        sums = sum(padded.narrow(2, first, squares.shape[2]) for first in range(self.n)).flatten(1, 2)
        return a / (self.k + self.scale * sums) ** self.beta

    def forward(self, a: Tensor) -> Tensor:
        """What `plain` computes, in less time."""
        return norms.normalise(a, self.plain, norms.Maps(self.n, self.columns), self.k, self.scale, self.beta)

    def extra_repr(self) -> str:
        alpha = f"{self.alpha:g}" + (f" / {self.n}" if self.over_n else "")
        return f"k={self.k:g}, n={self.n}, alpha={alpha}, beta={self.beta}, columns={self.columns}"


# ------------------------------------------------------------------- four variants

@dataclass(frozen=True)
class Design:
    """What an AlexNet is made of. The defaults are the paper's: `as-written`."""

    order: str = ("conv1 relu1 norm1 pool1  conv2 relu2 norm2 pool2  conv3 relu3  conv4 relu4 "
                  " conv5 relu5 pool5  flatten  fc6 relu6 drop6  fc7 relu7 drop7  fc8")   # 3.5
    widths: tuple[int, ...] = (96, 256, 384, 384, 256)   # feature maps of conv1 ... conv5; 3.5
    hidden: int = 4096             # units of fc6 and fc7; 3.5
    columns: int = 2               # the two GPUs: conv2, conv4, conv5 see their own half; 3.2
    without: str = ""              # a convolutional layer that is left out; 7
    conv6: int = 0                 # feature maps of a sixth one over pool5 (the release: 256); table 2
    activation: str = "relu"       # relu, tanh or sigmoid; 3.1
    conv1_edge: str = "far zeros"  # far zeros, padding 2 or none: see FarEdgeConv2d
    pooling: str = "3x3"           # 3x3 windows 2 apart overlap, 2x2 and 2x2 alone do not; 3.4
    round_up: bool = True          # a pooling window may hang over the edge; layer.py:1164
    lrn: str = "all"               # feature maps that norm1, norm2 look at: all, column or none; 3.3
    lrn_k: float = 2.0             # 3.3
    lrn_alpha: float = 1e-4        # 3.3
    lrn_over_n: bool = False       # the paper has alpha, the release alpha / n; 3.3
    dropout: str = "mask"          # mask: x 0.5 in test; inverted: x 2 in training; none; 4.2
    std: tuple[float, ...] | None = (0.01,) * 8           # of the initial weights of LAYERS; 5
    bias: tuple[float, ...] | None = (0, 1, 0, 1, 1, 1, 1, 0)   # initial; 5
    pixel_mean: tuple[float, ...] | None = None   # None: the training set's mean image; 2
    pixel_std: tuple[float, ...] | None = None    # None: grey levels as they are; 2

    def __post_init__(self) -> None:
        choices = {
            "columns": (1, 2), "without": ("", *LAYERS[:5]), "activation": tuple(ACTIVATIONS),
            "conv1_edge": ("far zeros", "padding 2", "none"), "pooling": ("3x3", "2x2", "2x2 alone"),
            "lrn": ("column", "all", "none"), "dropout": ("mask", "inverted", "none")}
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed or value is True:   # True == 1, but is no number of columns
                raise ValueError(f"{name}={value!r} is unknown; there is {', '.join(map(repr, allowed))}")
        for name, length in (("widths", 5), ("std", 8), ("bias", 8)):
            if (value := getattr(self, name)) is not None and len(value) != length:
                raise ValueError(f"{name} needs {length} values, not {len(value)}")
        if any(width % self.columns for width in self.widths):
            raise ValueError(f"widths {self.widths} cannot be shared by {self.columns} columns")

    def steps(self) -> list[str]:
        """The names in `order`, less what is switched off."""
        gone = []
        if self.lrn == "none":       # run 148 of the release: mapnorm2 goes, too
            gone += ["norm1", "norm2", "mapnorm2"]
        if self.dropout == "none":
            gone += ["drop6", "drop7"]
        if self.without:             # its pooling stays, so that the other layers keep their sizes
            number = self.without[-1]
            gone += [f"conv{number}", f"relu{number}", f"norm{number}", f"mapnorm{number}"]
        steps = [name for name in self.order.split() if name not in gone]
        if self.conv6:               # layers-146-2011.cfg; relu6 is fc6's
            place = steps.index("flatten")
            steps[place:place] = ["conv6", "relu_conv6"]
        if self.without == "conv1":  # conv2 sees the pixels; both poolings follow it
            steps.remove("pool1")
            steps.insert(steps.index("pool2"), "pool1")
        return steps


VARIANTS: dict[str, Design] = {
    "as-written": Design(),          # the paper, sections 3 to 5
    # The release's net 145. It is the default: the errors in the paper's tables are those of this network.
    "as-trained": Design(
        order="conv1 norm1 pool1 relu1  conv2 relu2 norm2 mapnorm2 pool2  conv3 relu3  conv4 relu4 "
              " conv5 pool5 relu5  flatten  fc6 relu6 drop6  fc7 relu7 drop7  fc8",
        lrn="column",                # each GPU normalises its own half
        lrn_over_n=True,             # layer.py:1183
        std=(0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)),   # initW in layers-145.cfg
    # BVLC's reference AlexNet (caffe/models/bvlc_alexnet/train_val.prototxt), made for 227 px.
    "caffe": Design(
        conv1_edge="none",
        lrn_k=1.0, lrn_over_n=True,  # Caffe's default k
        dropout="inverted",          # Caffe scales in training; the same function in test
        std=(0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01),
        bias=(0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0)),
    # torchvision.models.alexnet, after "One weird trick ..." (Krizhevsky 2014): one column, no normalisation.
    # Its adaptive pooling is the identity at 224 px; with other sizes, fc6 here has fewer inputs instead.
    "torchvision": Design(
        order="conv1 relu1 pool1  conv2 relu2 pool2  conv3 relu3  conv4 relu4 "
              " conv5 relu5 pool5  flatten  drop6 fc6 relu6  drop7 fc7 relu7  fc8",
        widths=(64, 192, 384, 256, 256), columns=1,
        conv1_edge="padding 2", round_up=False, dropout="inverted",
        lrn="none", lrn_over_n=True,   # alpha / n as in PyTorch, if a change asks for normalisation
        std=None, bias=None,         # PyTorch's own initial weights
        pixel_mean=(123.675, 116.28, 103.53), pixel_std=(58.395, 57.12, 57.375)),
}

HALF = (48, 128, 192, 192, 256)   # the release's 145-half: conv5 and the fc layers keep their size


def describe(variant: str = "as-trained", **changes: Any) -> Design:
    """The design of a variant with changes to its fields; ValueError for what does not exist.

    The paper's experiments: `columns=1` (one column of full width), `columns="half"` (the release's
    145-half), `lrn="none"`, `pooling="2x2 alone"` (odd sizes stay as they are), `pooling="2x2"` (the
    release's 147, with other paddings), `activation="tanh"` or `"sigmoid"`, `dropout="none"`,
    `without="conv3"`, `conv6=256` (table 2's stars).
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; there is {', '.join(VARIANTS)}")
    fields = [field.name for field in dataclasses.fields(Design)]
    if unknown := sorted(set(changes) - set(fields)):
        raise ValueError(f"unknown change {', '.join(unknown)}; there is {', '.join(fields)}")
    if changes.get("columns") == "half":
        if "widths" in changes:
            raise ValueError("columns='half' sets the widths; give one of the two")
        changes |= {"columns": 1, "widths": HALF}
    changes = {name: tuple(value) if isinstance(value, list) else value   # lists are a checkpoint's
               for name, value in changes.items()}
    design = dataclasses.replace(VARIANTS[variant], **changes)
    if design.without not in ("", "conv1"):   # the next layer sees what this one would have seen
        widths, index = list(design.widths), LAYERS.index(design.without)
        widths[index] = widths[index - 1]
        design = dataclasses.replace(design, widths=tuple(widths))
    return design
