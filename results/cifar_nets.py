"""The paper's four-layer nets on CIFAR-10: three convolutions and one fully-connected layer.

C8 (section 3.1, figure 1): how many epochs ReLU, tanh and the logistic sigmoid need to 25% training error
without any regularisation, each with the fastest learning rate that was tried; C10 (section 3.3): the test
error with and without local response normalisation. The net is like that of the release,
layers-cifar/layers-18pct.cfg: 32, 32 and 64 feature maps of 5x5 kernels, max-pooling after the first layer,
average pooling after the others. But C10's normalisation is the paper's (over 5 maps, k 2, before pooling;
there within a map, behind pooling), and the last layer's weight decay is 0.004 instead of 1.

Chosen by us: C8 scales pixels by 1/64 and draws weights with standard deviation 1 / sqrt(inputs), which
suits tanh at least as well as ReLU; the paper does not give initial weights. C8 trains on 10,000 images; its
learning rates are chosen on 10,000 others. C10 trains for 40 epochs, not hundreds. Its 8 epochs were planned
first and leave both nets far from trained; the 40 were added when their result was known.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Callable

import torch
from torch import Tensor, nn

from alexnet.augment import as_batch, middle
from alexnet.batches import TrainingBatches, generator
from alexnet.pack import Pack
from alexnet.model import ACTIVATIONS, LocalResponseNorm
from alexnet.recipe import two_drops
from results.ablations import BASE
from results.peers import Tally, step
from results.units import Place, Unit, part_of, pieces

RATES = {"relu": (0.003, 0.01, 0.03, 0.1), "tanh": (0.003, 0.01, 0.03, 0.1),
         "sigmoid": (0.01, 0.03, 0.1, 0.3, 1.0)}
IMAGES, BATCH, MOMENTUM = 10_000, 128, 0.9
TARGET = 0.25                                # training error; section 3.1
RATE_EPOCHS, RELU_EPOCHS = 8, 80             # to choose a learning rate; at most, in the race
LRN_EPOCHS, LONGER, LRN_SEEDS = 8, 40, range(3)


def four_layer_net(activation: str = "relu", lrn: bool = False, side: int = 32) -> nn.Sequential:
    """(N, 3, side, side) to ten logits; 32 px leave 4 x 4 in the end, 28 px 3 x 3."""
    act = ACTIVATIONS[activation]
    norm = (lambda: LocalResponseNorm(k=2, n=5, alpha=1e-4, beta=0.75)) if lrn else nn.Identity
    pool = {"kernel_size": 3, "stride": 2, "ceil_mode": True}
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2), act(), norm(), nn.MaxPool2d(**pool),
        nn.Conv2d(32, 32, 5, padding=2), act(), norm(), nn.AvgPool2d(**pool),
        nn.Conv2d(32, 64, 5, padding=2), act(), nn.AvgPool2d(**pool),
        nn.Flatten(), nn.Linear(64 * (side // 8) ** 2, 10))


def initialise(net: nn.Sequential, std: tuple[float, ...] | None) -> None:
    """Gaussian weights of the given standard deviations, else of 1 / sqrt(inputs); biases 0."""
    layers = [layer for layer in net if hasattr(layer, "weight")]
    for number, layer in enumerate(layers):
        nn.init.normal_(layer.weight, std=std[number] if std else layer.weight[0].numel() ** -0.5)
        nn.init.zeros_(layer.bias)


# ------------------------------------------------------------------- C8: the race

def race(unit: Unit, place: Place) -> dict[str, Any]:
    """Trains until the training error is 25%, with the learning rate that was fastest before."""
    activation = unit.case
    rate = best_rate(activation, place)
    curve = raced(unit, place, activation, rate, 0, unit.config["epochs"])
    reached = [row["epoch"] for row in curve if row["train_top1_error"] <= TARGET]
    return {"result": {"rate": rate, "reached": bool(reached), "epochs": (reached or [curve[-1]["epoch"]])[0],
                       "at_the_edge": rate in (RATES[activation][0], RATES[activation][-1])}, "curve": curve}


def raced(unit: Unit, place: Place, activation: str, rate: float, first: int,
          epochs: int) -> list[dict[str, Any]]:
    """Trains a net on every fifth image from `first` on; one row per fifth of an epoch."""
    pack = part_of(place.pack("cifar10", 28), IMAGES, first)
    images = (as_batch(pack.images["train"]) - torch.from_numpy(pack.mean).permute(2, 0, 1)) / 64
    images, labels = images.to(place.device), torch.from_numpy(pack.labels["train"]).to(place.device)
    torch.manual_seed(unit.seed)
    net = four_layer_net(activation)
    initialise(net, None)
    net.to(place.device)
    optimizer = torch.optim.SGD(net.parameters(), rate, momentum=MOMENTUM)
    batches = math.ceil(len(labels) / BATCH)
    parts = 5

    def a_fifth(rows: list[dict[str, Any]]) -> dict[str, Any]:
        epoch, part = divmod(len(rows), parts)
        order = torch.randperm(len(labels), generator=generator("cpu", unit.seed, epoch))
        tally = Tally()
        for index in range(batches * part // parts, batches * (part + 1) // parts):
            chosen = order[index * BATCH:(index + 1) * BATCH]
            tally.add(*step(net, optimizer, images[chosen], labels[chosen]), labels[chosen])
        return {"epoch": (len(rows) + 1) / parts, "train_loss": tally.mean_loss,
                "train_top1_error": tally.error}

    def enough(rows: list[dict[str, Any]]) -> bool:
        return bool(rows) and (rows[-1]["train_top1_error"] <= TARGET
                               or not math.isfinite(rows[-1]["train_loss"]))

    return pieces(unit, place, place.few(parts * epochs, parts), {"net": net, "optimizer": optimizer},
                  a_fifth, enough)


def try_rate(unit: Unit, place: Place) -> dict[str, Any]:
    """What one learning rate reaches in a few epochs, on images that the race does not use."""
    curve = raced(unit, place, unit.config["activation"], unit.config["rate"], 1, RATE_EPOCHS)
    last = curve[-1]
    return {"result": {"finite": math.isfinite(last["train_loss"]), "epochs": last["epoch"],
                       "error": last["train_top1_error"]}, "curve": curve}


def best_rate(activation: str, place: Place) -> float:
    """The one that reached 25% first; of those that did not, the one with the lowest training error."""
    def key(unit: Unit) -> tuple[bool, float, float]:
        found = place.found(unit)["result"]
        return not found["finite"], found["epochs"], found["error"]
    return min(rate_units(activation), key=key).config["rate"]


# ------------------------------------------------------------------- C10: normalisation

def normalised(unit: Unit, place: Place) -> dict[str, Any]:
    """The test error after a short schedule, with pixels and initial weights as in the release."""
    torch.manual_seed(unit.seed)
    net = four_layer_net(lrn=unit.case.startswith("with LRN"), side=28)
    initialise(net, (1e-4, 0.01, 0.01, 0.01))
    net.to(place.device)
    optimizer = torch.optim.SGD(
        [{"params": [p for name, p in net.named_parameters() if name.endswith("weight")], "factor": 1.0},
         {"params": [p for name, p in net.named_parameters() if name.endswith("bias")], "factor": 2.0,
          "weight_decay": 0.0}], 0.001, momentum=MOMENTUM, weight_decay=unit.config["weight_decay"])
    total = place.few(unit.config["epochs"])
    curve = on_crops(unit, place, net, optimizer, 28, total,
                     lambda epoch: unit.config["rate"] * two_drops(epoch, total, []).rate)
    return {"result": {"val_top1_error": curve[-1]["val_top1_error"]}, "curve": curve}


def on_crops(unit: Unit, place: Place, net: nn.Module, optimizer: torch.optim.SGD, size: int, epochs: int,
             rate: Callable[[int], float]) -> list[dict[str, Any]]:
    """Trains on random crops of `size` px and mirror images, at `rate` (of the epoch) times each group's
    factor; the test error of the central crop after each epoch."""
    pack = place.pack("cifar10", 28)   # 32 px stored
    mean = pack.mean_crop(size).to(place.device)
    settings = replace(BASE, image_size=size, batch_size=BATCH, seed=unit.seed, color_noise=0.0)

    def an_epoch(rows: list[dict[str, Any]]) -> dict[str, Any]:
        epoch, tally = len(rows), Tally()
        for group in optimizer.param_groups:
            group["lr"] = rate(epoch) * group["factor"]
        net.train()
        for batch in TrainingBatches(pack, settings, epoch, mean):
            tally.add(*step(net, optimizer, batch.images - mean, batch.labels), batch.labels)
        return {"epoch": epoch + 1, "train_loss": tally.mean_loss, "train_top1_error": tally.error,
                "val_top1_error": test_error(net, pack, mean)}

    return pieces(unit, place, epochs, {"net": net, "optimizer": optimizer}, an_epoch)


@torch.inference_mode()
def test_error(net: nn.Module, pack: Pack, mean: Tensor) -> float:
    """Of the central crop, as large as the mean image."""
    net.eval()
    wrong, inside = 0, middle(pack.side, mean.shape[-1])
    for first in range(0, len(pack.labels["val"]), 500):
        images = as_batch(pack.images["val"][first:first + 500, inside, inside]).to(mean.device) - mean
        labels = torch.from_numpy(pack.labels["val"][first:first + 500])
        wrong += int((net(images).argmax(1).cpu() != labels).sum())
    return wrong / len(pack.labels["val"])


# ------------------------------------------------------------------- the units

def rate_units(activation: str) -> tuple[Unit, ...]:
    return tuple(Unit("cifar-race", f"{activation} rate {rate:g}", 100,
                      {"activation": activation, "rate": rate, "epochs": RATE_EPOCHS, "images": IMAGES},
                      try_rate, 3, "cifar10") for rate in RATES[activation])


def race_units(activation: str) -> list[Unit]:
    config = {"activation": activation, "epochs": RELU_EPOCHS, "images": IMAGES, "batch": BATCH,
              "target": TARGET}
    minutes = {"relu": 4, "tanh": 8, "sigmoid": 20}[activation]
    return [Unit("cifar-race", activation, seed, config, race, minutes, "cifar10", rate_units(activation))
            for seed in range(3)]


def norm_units(case: str, epochs: int = LRN_EPOCHS) -> list[Unit]:
    config = {"epochs": epochs, "rate": 0.001, "weight_decay": 0.004, "batch": BATCH}
    name = case if epochs == LRN_EPOCHS else f"{case}, {epochs} epochs"
    return [Unit("cifar-lrn", name, seed, config, normalised, 0.4 * epochs, "cifar10") for seed in LRN_SEEDS]


def units() -> list[Unit]:
    rates = [unit for activation in RATES for unit in rate_units(activation)]
    races = [race_units(activation)[seed] for seed in range(3) for activation in RATES]
    norms = [norm_units(case, epochs)[seed] for epochs in (LRN_EPOCHS, LONGER) for seed in LRN_SEEDS
             for case in ("with LRN", "without")]
    return [*rates, *races, *norms]
