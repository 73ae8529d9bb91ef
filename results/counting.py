"""What can be counted, tested exactly or read off the benchmark, without training: C1, C2, C6, C7, C12, C16,
C18, C22."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from alexnet.augment import centre
from alexnet.images import packed_side, square
from alexnet.files import read_json
from alexnet.geometry import sizes
from alexnet.model import AlexNet
from alexnet.recipe import RECIPES, make_optimizer, set_rates
from results.units import RESULTS, Place, Unit

IMAGES, EPOCHS = 1_281_167, 90            # ILSVRC-2012's training images (section 2: 1.2 million); section 5
GTX_580 = 1.581e12                        # operations a second, single precision; NVIDIA's figure


def compute(unit: Unit, place: Place) -> dict[str, Any]:
    with torch.device("meta"):
        model, written = AlexNet(), AlexNet(variant="as-written")
    return {"result": {"C1": parameters(model), "C2": neurons(model), "C6": conv_shares(model),
                       "C7": pictures(), "C12": shapes(written), "C12 order": written.design.steps(),
                       "C16": input_wait(), "C18": update_rule(), "C22": days(model)}}


def parameters(model: AlexNet) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def neurons(model: AlexNet) -> list[int]:
    """Of the eight layers with weights."""
    return [layer.neurons for layer in sizes(model).values() if layer.weights]


def conv_shares(model: AlexNet) -> list[float]:
    """The part of all parameters that each convolutional layer holds."""
    total = parameters(model)
    return [layer.parameters / total for layer in sizes(model).values() if layer.name.startswith("conv")]


def pictures() -> dict[str, bool]:
    """Section 2: shorter side 256, the centre, and nothing but the mean taken away."""
    chance = np.random.default_rng(0)
    wide = chance.integers(0, 256, (256, 400, 3), np.uint8)   # of the right size: pixels stay as they are
    model = AlexNet(2, 64)
    images = torch.from_numpy(chance.integers(0, 256, (4, 3, 64, 64), np.uint8))
    model.mean.copy_(images.float().mean(0))
    return {"side of 256 for 224 px": packed_side(224) == 256,
            "centre": bool((square(Image.fromarray(wide), 256) == wide[:, 72:328]).all()),
            "only the mean": bool(torch.equal(model.prepare(images), images - images.float().mean(0))),
            "centre crop": centre(torch.zeros(1, 3, 256, 256), 224).shape[-1] == 224}


def shapes(model: AlexNet) -> list[list[int]]:
    """Kernels of the layers with weights: results, inputs of each, side, stride."""
    return [[layer.shape[0], layer.inputs // layer.groups, layer.kernel, layer.stride]
            for layer in sizes(model).values() if layer.weights]


def input_wait() -> tuple[float, bool] | None:
    """The part of training's throughput that is lost to reading and augmentation, as results.benchmark
    measured it, and whether the ranges of its rounds overlap."""
    path = RESULTS / "benchmark" / "input.json"
    if not path.exists():
        return None
    rows = [row for row in read_json(path)["rows"] if row["about"].startswith("training")]
    prepared, ready = rows   # in the background; one batch, ready beforehand
    return 1 - ready["ratio"], prepared["high"] >= ready["low"]


def update_rule(steps: int = 20) -> float:
    """The largest difference, relative to the weights, between the optimiser and the paper's two lines in
    float64, with a rate that falls in between."""
    torch.manual_seed(0)
    model = AlexNet(2, 64, hidden=16, widths=(4, 4, 4, 4, 4))
    recipe = RECIPES["as-trained"]
    optimizer = make_optimizer(model, recipe)
    w = model.fc8.weight.detach().double()
    v = torch.zeros_like(w)
    for step in range(steps):
        rate = 0.01 if step < steps // 2 else 0.001
        set_rates(optimizer, rate)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        g = model.fc8.weight.grad.double()
        optimizer.step()
        v = 0.9 * v - 0.0005 * rate * w - rate * g
        w = w + v
    return ((model.fc8.weight.detach().double() - w).abs().max() / w.abs().max()).item()


def training_operations(model: AlexNet) -> float:
    """Operations of a training step for one image: forward, and backward to weights and to inputs;
    conv1 has no inputs that need a gradient."""
    adds = {name: layer.multiply_adds for name, layer in sizes(model).items()}
    return 2.0 * (3 * sum(adds.values()) - adds["conv1"])


def days(model: AlexNet) -> dict[str, float]:
    """Operations of 90 epochs, and what they take: on two GTX 580 at their peak rate, and here."""
    operations = training_operations(model) * IMAGES * EPOCHS
    found = {"operations": operations, "share_of_peak": operations / (5.5 * 86400) / (2 * GTX_580)}
    path = RESULTS / "benchmark" / "step.json"
    if path.exists():
        found["images_per_second_here"] = rate = read_json(path)["rows"][0]["median"]
        found["days_here"] = IMAGES * EPOCHS / rate / 86400
    return found


def units() -> list[Unit]:
    return [Unit("counting", "all", 0, {}, compute, 0.1)]
