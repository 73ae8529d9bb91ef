"""C10 on the network of the release that the paper's 13% and 11% belong to. Rules fixed before the first run.

layers-cifar/layers-conv-local-13pct.cfg: two convolutions of 64 maps (5x5), each followed by ReLU and
max-pooling, two layers of 32 maps (3x3) whose weights are not shared between places, and a fully-connected
layer. With normalisation it is cuda-convnet's 11% network: LRN over 5 maps, alpha 0.001 / 5, beta 0.75, k 1,
between ReLU and pooling in both convolutions. The release does not have this second file; its constants are
cuda-convnet's.

Constants of the release: weights drawn with 0.0001, 0.01, 0.04, 0.04, 0.01; learning rate 0.001, twice that
for biases; momentum 0.9; weight decay 0.004 but in the convolutions. Chosen by us: 120 epochs instead of more
than 400, with drops by 10 after 100 and 110; random crops of 24 px and mirror images; the error is that of
the central crop, on the 10,000 test images.

LRN does two things: it lets maps compete, and it makes all values smaller. The **control** has the second
only: in each batch all values are divided by the mean of LRN's divisors (in test by its moving average). C10
is judged by the paper's pair, without less with LRN: interval above 0 (again.py). The control is given beside
it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alexnet.model import LocalResponseNorm
from alexnet.norms import Maps
from results.cifar_nets import BATCH, MOMENTUM, initialise, on_crops
from results.pages import Text, part, percent, row, term, text
from results.series import val_error
from results.units import Place, Unit
from results.verdicts import t_interval

SIDE, EPOCHS, DROPS, SEEDS = 24, 120, (100, 110), range(3)
RATE, DECAY, STD = 0.001, 0.004, (1e-4, 0.01, 0.04, 0.04, 0.01)
TITLE = "LRN on CIFAR-10, the release's network"
WITHOUT, WITH, CONTROL = "without LRN", "with LRN", "only its scale"


class LocallyConnected(nn.Module):
    """3x3 kernels, padding 1, with weights and biases of their own at each of side x side places."""

    def __init__(self, inputs: int, maps: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.empty(side * side, maps, 9 * inputs))
        self.bias = nn.Parameter(torch.zeros(maps, side, side))

    def forward(self, x: Tensor) -> Tensor:
        windows = nn.functional.unfold(x, 3, padding=1)                   # (N, 9 inputs, places)
        found = torch.einsum("nip,poi->nop", windows, self.weight)
        return found.unflatten(2, (self.side, self.side)) + self.bias


class OnlyScale(nn.Module):
    """Divides all values by one number: the mean of what LRN would divide them by."""

    mean: Tensor

    def __init__(self, lrn: LocalResponseNorm, memory: float = 0.99) -> None:
        super().__init__()
        self.lrn, self.memory = lrn, memory
        self.register_buffer("mean", torch.ones(()))

    def forward(self, a: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                sums = Maps(self.lrn.n, self.lrn.columns).sum(a ** 2)
                now = ((self.lrn.k + self.lrn.scale * sums) ** self.lrn.beta).mean()
            self.mean.lerp_(now, 1 - self.memory)
            return a / now
        return a / self.mean


def local_net(case: str) -> nn.Sequential:
    """(N, 3, 24, 24) to ten logits."""
    def norm() -> nn.Module:
        lrn = LocalResponseNorm(k=1, n=5, alpha=1e-3, beta=0.75, over_n=True)
        return {WITHOUT: nn.Identity(), WITH: lrn, CONTROL: OnlyScale(lrn)}[case]

    pool = {"kernel_size": 3, "stride": 2, "ceil_mode": True}
    net = nn.Sequential(
        nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), norm(), nn.MaxPool2d(**pool),    # 64 x 12 x 12
        nn.Conv2d(64, 64, 5, padding=2), nn.ReLU(), norm(), nn.MaxPool2d(**pool),   # 64 x 6 x 6
        LocallyConnected(64, 32, 6), nn.ReLU(), LocallyConnected(32, 32, 6), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 36, 10))
    initialise(net, STD)
    return net


def optimizer_of(net: nn.Sequential) -> torch.optim.SGD:
    groups = []
    for layer in net:
        if hasattr(layer, "weight"):
            decay = 0.0 if isinstance(layer, nn.Conv2d) else DECAY
            groups += [{"params": [layer.weight], "factor": 1.0, "weight_decay": decay},
                       {"params": [layer.bias], "factor": 2.0, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, RATE, momentum=MOMENTUM)


def compute(unit: Unit, place: Place) -> dict[str, Any]:
    """The test error of the central crop after each epoch."""
    torch.manual_seed(unit.seed)
    net = local_net(unit.case).to(place.device)
    curve = on_crops(unit, place, net, optimizer_of(net), SIDE, place.few(EPOCHS),
                     lambda epoch: RATE * 0.1 ** sum(epoch >= drop for drop in DROPS))
    return {"result": {"precision": "torch.float32", "val_top1_error": curve[-1]["val_top1_error"]},
            "curve": curve}


def units_of(case: str) -> list[Unit]:
    config = {"epochs": EPOCHS, "drops": DROPS, "rate": RATE, "weight_decay": DECAY, "batch": BATCH,
              "image_size": SIDE}
    return [Unit("cifar-local", case, seed, config, compute, 270, "cifar10") for seed in SEEDS]


def units() -> list[Unit]:
    return [unit for seed in zip(*(units_of(case) for case in (WITHOUT, WITH, CONTROL))) for unit in seed]


def lower_by(place: Place, case: str) -> list[float]:
    """The error without LRN less that of the case, by seed."""
    return [val_error(one) - val_error(other)
            for one, other in place.pairs(units_of(WITHOUT), units_of(case))]


def lines(place: Place) -> list[Text | str]:
    """For the page of all results."""
    rows = []
    for case in (WITHOUT, WITH, CONTROL):
        errors = [one["val_top1_error"] for one in place.results(units_of(case))]
        apart = lower_by(place, case)
        lower = t_interval(apart).text(unit="") if case != WITHOUT and len(apart) >= 2 else ""
        if errors:
            rows.append(row(term(case), percent(sum(errors) / len(errors)), len(errors), lower))
    return part(TITLE, text("larger.local", EPOCHS),
                ("network", "top-1 error", "seeds", "lower than without, percentage points"), rows)
