"""The recipe of section 5: optimiser, schedules, the loop, evaluation, several processes.

Everything that chance decides follows from the run's seed, the epoch and the batch. So a run that
was stopped goes on as if it had not been, any number of loader threads gives the same batches, and
several processes draw together what one would have drawn.
"""

from __future__ import annotations

import importlib
import itertools
import math
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from alexnet import augment, checkpoint, figures
from alexnet.augment import Choice
from alexnet.images import in_order
from alexnet.pack import Pack
from alexnet.device import choose_precision, precision
from alexnet.files import UserError, brief, printable, write_csv
from alexnet.model import ACTIVATIONS, LAYERS, AlexNet, Dropout
from alexnet.predict import probabilities

ORDER, AUGMENT, DROPOUT = range(3)  # what a random number is for
UNSCALED = torch.amp.GradScaler(enabled=False)   # for bf16 and fp32: steps are the optimiser's own


# ------------------------------------------------------------------- the recipe

@dataclass(frozen=True)
class Recipe:
    """How a variant is trained, with the source of each value."""

    rate: float = 0.01            # section 5; epsW in layer-params-153.cfg
    bias_rate: float = 2.0        # times the rate; epsB = 0.02 in layer-params-153.cfg
    bias_decay: bool = False      # layer.cu:565
    weight_decay: float = 5e-4    # section 5; wc in layer-params-145.cfg
    momentum: float = 0.9         # section 5; momW, momB
    noise: float = 0.1            # colour noise; section 4.1; --color-noise in the release's notes
    colour: str = "release"       # (x + noise) / 1.1 (convdata.py:205); paper: x + noise
    batch_size: int = 128         # section 5; convnet.py:177


RECIPES = {
    "as-trained": Recipe(),
    "as-written": Recipe(bias_rate=1, bias_decay=True, colour="paper"),  # one rule for all; 5, 4.1
    "caffe": Recipe(noise=0, colour="paper"),              # train_val.prototxt: lr_mult 2, decay 0
    "torchvision": Recipe(bias_rate=1, bias_decay=True, weight_decay=1e-4, noise=0,
                          colour="paper"),                 # pytorch/examples
}


def highest_rate(model: AlexNet, momentum: float, bias_rate: float) -> float:
    """The rate above which the first steps cannot be stable.

    At the start every image has nearly the same fc7: the activation of its bias. Along that vector
    h, softmax over C equal classes has the curvature (|h|^2 + the bias's own rate) / C, and descent
    with momentum is stable only while rate x curvature < 2 (1 + momentum). Few classes, or dropout
    that does not halve h, lower the limit. Another does not rise with the classes, since it comes from
    the noise of a batch (results/head.py); as-trained, with its batches of 128, stays below it.
    """
    design = model.design
    if design.bias is None:
        return math.inf
    activation = ACTIVATIONS[design.activation]()
    height = activation(torch.tensor(float(design.bias[6]))).item()
    # A mask leaves half of h in each image: the mean over the batch is h / 2. Inverted: h.
    height *= Dropout.keep if design.dropout == "mask" else 1
    curvature = (design.hidden * height ** 2 + bias_rate) / model.num_classes
    return 2 * (1 + momentum) / curvature


def default_rate(model: AlexNet, recipe: Recipe) -> float:
    """The recipe's rate, or half of the highest stable one (two digits) if that is less."""
    half = highest_rate(model, recipe.momentum, recipe.bias_rate) / 2
    return recipe.rate if half >= recipe.rate else float(f"{half:.1e}")


@torch.inference_mode()
def highest_head_rate(model: AlexNet, pack: Pack, momentum: float, bias_rate: float) -> float:
    """The same for a new fc8 on a network that has learned already: the values h that it gives fc8 are
    no longer nearly the same, so the curvature is the largest eigenvalue of the mean of h h^T, over 128
    training images, instead of |h|^2."""
    labels = pack.labels["train"]
    chosen = np.unique(np.linspace(0, len(labels) - 1, 128).astype(int))
    images = augment.as_batch(pack.images["train"][chosen])
    h = model.prepare(augment.centre(images, model.image_size))
    for name in model.steps[:-1]:
        h = getattr(model, name)(h)
    largest = torch.linalg.eigvalsh(h.float() @ h.float().T / len(h))[-1].item()
    return 2 * (1 + momentum) * len(pack.classes) / (largest + bias_rate)


def freeze(model: AlexNet, last: str) -> None:
    """Keeps the layers up to and including `last` as they are: no gradients are computed for them,
    and `make_optimizer` leaves them out, so neither decay nor momentum moves them."""
    for name in LAYERS[:LAYERS.index(last) + 1]:
        if name != model.design.without:
            getattr(model, name).requires_grad_(False)


def make_optimizer(model: AlexNet, recipe: Recipe, head_rate: float = 1.0) -> torch.optim.SGD:
    """SGD with the paper's rule, v := 0.9 v - 0.0005 e w - e g; w := w + v (C18).

    conv1 has groups of its own because the release slows and freezes it late (section 3 of its
    notes), and fc8 where its rate is `head_rate` times that of the others. Rates are set by
    `set_rates`.
    """
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        key = name.startswith("conv1."), head_rate if name.startswith("fc8.") else 1.0, name.endswith(".bias")
        if parameter.requires_grad:
            groups.setdefault(key, []).append(parameter)
    settings = [{"params": parameters, "first": first, "lr": 0.0,
                 "factor": times * (recipe.bias_rate if bias else 1.0),
                 "weight_decay": recipe.weight_decay if recipe.bias_decay or not bias else 0.0}
                for (first, times, bias), parameters in groups.items()]
    fused = next(model.parameters()).device.type in ("cpu", "cuda", "mps")
    return torch.optim.SGD(settings, lr=0.0, momentum=recipe.momentum, fused=fused)


def set_rates(optimizer: torch.optim.SGD, rate: float, conv1: float = 1.0) -> None:
    """Sets the rate of all groups; `conv1` is a further factor for that layer.

    The paper's v holds the rate inside, torch's buffer does not (v = -rate x buffer). So that v
    stays what it is when the rate changes, the buffer is multiplied by old / new.
    """
    for group in optimizer.param_groups:
        old, new = group["lr"], rate * group["factor"] * (conv1 if group["first"] else 1.0)
        if old > 0 and new > 0 and old != new:
            for parameter in group["params"]:
                buffer = optimizer.state[parameter].get("momentum_buffer")
                if buffer is not None:
                    buffer.mul_(old / new)
        group["lr"] = new


# ------------------------------------------------------------------- schedules

@dataclass(frozen=True)
class Plan:
    """What a schedule says for one epoch."""

    rate: float = 1.0      # times the starting rate
    conv1: float = 1.0     # times that again
    noise: bool = True     # colour noise
    finished: bool = False


def constant(epoch: int, epochs: int, errors: list[float]) -> Plan:
    """The starting rate to the end."""
    return Plan()


def steps(epoch: int, epochs: int, errors: list[float]) -> Plan:
    """Divided by 10 after 60 and 84% of the run: a short run needs the full rate for longer. v comes
    out of the full rate with its old size (`set_rates`) and kicks the weights once more, so a drop
    with fewer than two epochs left to settle is left out."""
    drops = [round(part * epochs) for part in (0.6, 0.84)]
    return Plan(rate=0.1 ** sum(epoch >= drop and epochs - drop >= 2 for drop in drops))


def release(epoch: int, epochs: int, errors: list[float]) -> Plan:
    """The notes in layer-params-145.cfg, scaled to the run: drops at 25, 51 and 79 of 91 epochs;
    from 67 on conv1 ten times slower and no colour noise, from 72 on conv1 frozen."""
    def passed(mark: int) -> bool:
        return epoch >= round(mark / 91 * epochs)
    conv1 = 0.0 if passed(72) else 0.1 if passed(67) else 1.0
    return Plan(0.1 ** sum(map(passed, (25, 51, 79))), conv1, noise=not passed(67))


def plateau(epoch: int, epochs: int, errors: list[float]) -> Plan:
    """Section 5: divide by 10 when the validation error stops improving, three times, then end.
    It has stopped when four epochs brought nothing better."""
    patience, drops, since, best = 4, 0, 0, math.inf
    for error in errors[:epoch]:
        best, since = (error, 0) if error < best else (best, since + 1)
        if since == patience:
            drops, since = drops + 1, 0
    return Plan(rate=0.1 ** min(drops, 3), finished=drops > 3)


SCHEDULES: dict[str, Callable[[int, int, list[float]], Plan]] = {
    "steps": steps, "plateau": plateau, "release": release, "constant": constant}


# ------------------------------------------------------------------- where it runs

@dataclass(frozen=True)
class World:
    """This process among those that train together (torchrun); alone by default."""

    rank: int = 0
    size: int = 1

    def rows(self, total: int) -> slice:
        """This process's part of a batch of `total` images."""
        return slice(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def sum(self, values: Tensor) -> Tensor:
        if self.size > 1:
            dist.all_reduce(values)
        return values


def join_world(device: torch.device) -> World:
    """The processes that torchrun started, connected; or this one alone."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return World()
    # Its functions take the group of the moment as a default: imported by DDP, after the group is made, they
    # keep it, and its threads, past destroy_process_group, and now and then such a thread aborts Python's end.
    importlib.import_module("torch.distributed.nn")
    # The others wait while the first process packs the images: hours, for ImageNet.
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=1))
    return World(dist.get_rank(), dist.get_world_size())


MEETINGS = itertools.count()   # of all processes, in the same order


@cache
def store() -> Any:
    """What the processes of torchrun know in common; it outlives each of them."""
    return next(dist.rendezvous("env://"))[0]


def meet(world: World) -> None:
    """Waits, hours if need be, until all processes have come here; where one has failed, this one ends, too.

    Not dist.barrier: on GPUs it does not notice that another process is gone, and lets no signal through.
    """
    if world.size > 1:
        meeting = f"meeting {next(MEETINGS)}"
        store().add(meeting, 1)
        while store().add(meeting, 0) < world.size:
            if store().add("failed", 0):
                raise UserError("another process has failed")
            time.sleep(0.05)


def first_to_fail() -> bool:
    """Whether no other process has failed before this one, whose error a person must then see: what the
    others raise is the same, or follows from it. The first waits for them; SIGTERM no longer counts."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        return True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        first = store().add("failed", 1) == 1
        if dist.is_initialized():
            dist.destroy_process_group()   # whoever waits for us in it fails
        until = time.monotonic() + 10
        while first and store().add("failed", 0) < size and time.monotonic() < until:
            time.sleep(0.05)
        return first
    except (RuntimeError, ValueError):   # whoever kept the count is gone
        return False


def generator(device: torch.device | str, *key: int) -> torch.Generator:
    """A generator whose numbers follow from the key."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1
    return torch.Generator(device).manual_seed(seed)


# ------------------------------------------------------------------- batches

@dataclass
class Batch:
    images: Tensor    # (n, 3, S, S), this process's part
    labels: Tensor    # (n,)
    total: int        # images in the whole batch, of all processes
    index: int        # which batch of the epoch


class TrainingBatches:
    """The training images of one epoch, cropped, mirrored and coloured, prepared ahead.

    Threads make the next batches while the step runs (section 4.1: augmentation costs nothing);
    `waited` counts the seconds that the step had to wait all the same.
    """

    def __init__(self, pack: Pack, image_size: int, batch_size: int, seed: int, epoch: int,
                 device: torch.device, world: World = World(), noise: float = 0.0,
                 colour: str = "release", threads: int = 1, first: int = 0, mean: Tensor | None = None,
                 augmentation: str = "shifts", balance: bool = False) -> None:
        self.pack, self.size, self.batch_size = pack, image_size, batch_size
        self.seed, self.epoch, self.device, self.world = seed, epoch, device, world
        self.noise = noise
        self.threads, self.first, self.waited = threads, first, 0.0
        self.draw: Callable[[int, int, torch.Generator], Choice] = {   # experiments draw otherwise
            "shifts": augment.choose, "resized": partial(augment.choose_resized, size=image_size)}[augmentation]
        mean = pack.mean_crop(image_size).to(device) if mean is None else mean
        self.mean = mean if colour == "release" else None
        self.deviations = torch.from_numpy(augment.components(pack.covariance))
        labels, chance = torch.from_numpy(pack.labels["train"]), generator("cpu", seed, epoch, ORDER)
        count = len(labels)
        order = torch.randperm(count, generator=chance) if not balance else torch.multinomial(
            (1 / labels.bincount().double())[labels], count, replacement=True, generator=chance)
        self.order = order.numpy()
        self.count = math.ceil(count / batch_size)

    def __len__(self) -> int:
        return self.count

    def prepare(self, index: int) -> Batch:
        self.pack.check()
        chosen = self.order[index * self.batch_size:(index + 1) * self.batch_size]
        total, rows = len(chosen), self.world.rows(len(chosen))
        chance = generator("cpu", self.seed, self.epoch, index, AUGMENT)
        choice = self.draw(total, self.pack.side - self.size, chance)[rows]
        images = augment.crop(self.pack.images["train"], chosen[rows], choice, self.size)
        labels = torch.from_numpy(self.pack.labels["train"][chosen[rows]])
        if self.device.type == "cuda":
            images, labels = images.pin_memory(), labels.pin_memory()
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        if self.noise:
            images = augment.colour_noise(images, choice, self.deviations, self.noise, self.mean)
        return Batch(images, labels, total, index)

    def __iter__(self) -> Iterator[Batch]:
        coming = in_order(self.prepare, range(self.first, self.count), self.threads, self.threads + 1)
        while True:
            start = time.perf_counter()
            batch = next(coming, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch


# ------------------------------------------------------------------- one epoch

@dataclass
class Sums:
    """Of an epoch so far."""

    parts: list[list[float]] = field(default_factory=list)   # of each process: losses, wrong answers
    seen: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def loss(self) -> float:
        return sum(loss for loss, _ in self.parts)

    @property
    def wrong(self) -> int:
        return round(sum(wrong for _, wrong in self.parts))

    def part(self, world: World) -> list[float]:
        """What this process goes on from; the first takes all where their number has changed."""
        if len(self.parts) == world.size:
            return self.parts[world.rank]
        return [0.0, 0.0] if world.rank else [self.loss, self.wrong]


class Stopped(Exception):
    """Somebody asked to stop; everything is on disk."""


def train_step(net: nn.Module, optimizer: torch.optim.SGD, batch: Batch, dtype: torch.dtype,
               world: World = World(), scaler: torch.amp.GradScaler = UNSCALED) -> tuple[Tensor, Tensor]:
    """Forward, backward, update; no update if `scaler` finds that its scaled gradients overflow. Returns the
    sum of this process's losses, and its logits."""
    with precision(batch.images.device, dtype):
        logits = net(batch.images)
    loss = F.cross_entropy(logits.float(), batch.labels, reduction="sum")
    # DDP averages over processes; section 5's gradient is the average over the batch.
    scaler.scale(loss * (world.size / batch.total)).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach(), logits.detach()


def train_epoch(net: nn.Module, optimizer: torch.optim.SGD, batches: TrainingBatches, dtype: torch.dtype,
                set_step: Callable[[int], None], sums: Sums,
                after: Callable[[Batch, Tensor, Callable[[], None]], None],
                scaler: torch.amp.GradScaler = UNSCALED) -> None:
    """Every batch once. `after` is called behind each step, with this process's totals and with what
    brings `sums` up to date; so they are at the end.

    net: the network, or DDP around it. Numbers stay on the device until they are asked for, so
    that the step never waits for the progress bar.
    """
    world, device = batches.world, batches.device
    model = net.module if isinstance(net, DistributedDataParallel) else net
    dropouts = [module for module in model.modules() if isinstance(module, Dropout)]
    totals = torch.tensor(sums.part(world), dtype=torch.float64 if device.type != "mps" else torch.float32,
                          device=device)
    net.train()
    start, before = time.perf_counter(), (sums.seconds, sums.waited)

    def settle() -> None:
        parts = totals.new_zeros(world.size, 2)
        parts[world.rank] = totals
        sums.parts = world.sum(parts).tolist()
        sums.seconds = before[0] + time.perf_counter() - start
        sums.waited = before[1] + batches.waited

    for batch in batches:
        set_step(batch.index)
        for number, dropout in enumerate(dropouts):
            dropout.generator = generator(device, batches.seed, batches.epoch, batch.index, DROPOUT, number)
            dropout.rows, dropout.batch = world.rows(batch.total), batch.total
        loss, logits = train_step(net, optimizer, batch, dtype, world, scaler)
        totals[0] += loss
        totals[1] += (logits.argmax(1) != batch.labels).sum()
        sums.seen += batch.total
        after(batch, totals, settle)
    settle()
    for dropout in dropouts:
        dropout.generator, dropout.rows, dropout.batch = None, slice(0, None), None


# ------------------------------------------------------------------- evaluation

@torch.inference_mode()
def evaluate(model: AlexNet, pack: Pack, dtype: torch.dtype = torch.float32, views: int = 1,
             batch_size: int = 128, world: World = World(), part: str = "val",
             labels: np.ndarray | None = None,
             progress: Callable[[int], None] = lambda count: None) -> dict[str, float]:
    """Loss and top-1 and top-5 error (fractions) on a part of a pack.

    One view is the central crop; ten are averaged after the softmax (section 4.1). Classes that are
    equally probable share the places they take (the release does so, layer_kernels.cu:96). Every
    image counts once, for any batch size and number of processes. The model is left in eval mode.
    """
    device = model.mean.device
    labels = pack.labels[part] if labels is None else labels
    sums = torch.zeros(4, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
    model.eval()
    mine = np.arange(len(labels))[world.rows(len(labels))]
    for first in range(0, len(mine), batch_size):
        pack.check()
        chosen = mine[first:first + batch_size]
        stored = pack.images[part][chosen[0]:chosen[-1] + 1]
        target = torch.from_numpy(labels[chosen]).to(device)
        squares = augment.as_batch(stored).to(device)
        found = probabilities(model, squares, views, dtype)
        right = found.gather(1, target[:, None])
        above, equal = (found > right).sum(1), (found == right).sum(1)
        sums[0] -= right.clamp_min(1e-30).log().sum()
        for place, k in ((1, 1), (2, 5)):  # not a number is equal to nothing: never right
            sums[place] += (1 - ((k - above) / equal).clamp(0, 1) * (equal > 0)).nan_to_num(1.0).sum()
        sums[3] += len(chosen)
        progress(len(chosen))
    loss, top1, top5, count = world.sum(sums).tolist()
    return {"loss": loss / count, "top1_error": top1 / count, "top5_error": top5 / count,
            "images": int(count), "views": views}


def compute_ready(model: AlexNet, device: torch.device, world: World) -> nn.Module:
    """The network on its device in the fast memory format, and what to call in training."""
    model.to(device=device, memory_format=torch.channels_last)
    if world.size == 1:
        return model
    return DistributedDataParallel(model, gradient_as_bucket_view=True)


@dataclass
class Progress:
    """How far a run is: everything besides weights and momentum that it needs to go on."""

    epoch: int = 0                                         # epochs finished
    batch: int = 0                                         # batches of the next one that are done
    sums: Sums = field(default_factory=Sums)
    rows: list[dict[str, Any]] = field(default_factory=list)  # of metrics.csv
    best: float = math.inf                                 # lowest validation error
    skipped: int = 0                                       # steps whose gradients overflowed (fp16)

    def errors(self) -> list[float]:
        return [row["val_top1_error"] for row in self.rows]


COLUMNS = ("epoch", "lr", "train_loss", "train_top1_error", "val_loss", "val_top1_error", "val_top5_error",
           "images_per_second", "seconds", "seconds_waiting")   # of metrics.csv


def progress_of(content: dict[str, Any]) -> Progress:
    """What a checkpoint says about how far its run is. Any exception if something else than a number
    stands in the place of one."""
    sums = content["sums"]
    if not all(type(content[name]) is int and content[name] >= 0 for name in ("epoch", "batch")):
        raise TypeError("epoch or batch is no count")
    rows = [{name: number(row[name]) for name in COLUMNS} for row in content["rows"]]
    if len(rows) != content["epoch"] or [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
        raise ValueError(f"{len(rows)} rows for {content['epoch']} epochs")
    parts = [[number(loss), number(wrong)] for loss, wrong in sums["parts"]]
    seconds, waited = number(sums["seconds"]), number(sums["waited"])
    if not math.isfinite(sum(map(sum, parts)) + seconds + waited) or type(sums["seen"]) is not int:
        raise ValueError("sums that are no numbers")
    return Progress(content["epoch"], content["batch"], Sums(parts, sums["seen"], seconds, waited), rows,
                    number(content["best"]), number(content.get("skipped", 0)))


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{type(value).__name__} in the place of a number")
    float(value)   # OverflowError for a whole number that is too large
    return value


# ------------------------------------------------------------------- a run

@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run computes; config.json holds it."""

    data: str
    variant: str
    image_size: int
    val_fraction: float | None
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    warmup: int
    schedule: str
    color_noise: float
    seed: int
    precision: str
    weights: str | None = None       # the file whose network is trained on, fine-tuned
    changes: dict[str, Any] = field(default_factory=dict)   # its changes to the variant
    freeze: str | None = None        # the last layer that stays as it is
    head_lr: float = 1.0             # the rate of fc8, times the others'
    deterministic: bool = False      # the same bits on CUDA, too
    labels: str | None = None        # the list of the images' classes, where folders do not say them
    augmentation: str = "shifts"     # or "resized"
    balance: bool = False            # an epoch draws as many images, each class equally often
    patience: int | None = None      # epochs without a lower validation error that end the run


class Watcher:
    """Is told how a run gets on; this one keeps silent."""

    stop = False   # set to True, the run writes last.pt after the batch at hand and raises Stopped

    def begin(self, run: Run, batches: TrainingBatches) -> None:
        """An epoch begins."""

    def step(self, run: Run, batches: TrainingBatches, totals: Tensor) -> None:
        """A batch is done; `totals` are this process's sums of losses and of wrong answers in the
        epoch, on the device."""

    def end(self, run: Run) -> None:
        """An epoch is over and written."""


class Run:
    """A run's folder, and the training that fills it.

    last.pt has everything needed to go on, previous.pt is the one before; best.pt has the network
    with the lowest validation error; metrics.csv a row an epoch; curves.png draws them. `start` is
    the content of a checkpoint (weights.read) whose weights and mean the network begins with; fc8
    begins anew unless the classes are the same. last.pt is written after each epoch, and within it
    when `minutes` have passed since.
    """

    def __init__(self, folder: Path, settings: Settings, pack: Pack, device: torch.device,
                 world: World = World(), threads: int = 1, start: dict[str, Any] | None = None,
                 minutes: float = 5.0) -> None:
        self.folder, self.settings, self.pack = folder, settings, pack
        self.device, self.world, self.threads = device, world, threads
        self.minutes, self.saved = minutes, time.monotonic()
        self.good = True   # whether last.pt, if there is one, is whole
        self.dtype = choose_precision(settings.precision, device)
        torch.manual_seed(settings.seed)
        self.model = self.build()
        self.model.classes = pack.classes
        if self.model.design.pixel_mean is None:
            self.model.mean.copy_(pack.mean_crop(settings.image_size))
        if start:
            self.begin_with(start)
        if settings.freeze:
            freeze(self.model, settings.freeze)
        self.recipe = RECIPES[settings.variant]
        self.net = compute_ready(self.model, device, world)
        self.optimizer = make_optimizer(self.model, Recipe(
            **{**asdict(self.recipe), "momentum": settings.momentum, "weight_decay": settings.weight_decay}),
            settings.head_lr)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        for group in self.optimizer.param_groups if self.scaler.is_enabled() else ():
            for parameter in group["params"]:   # fused SGD whose first step is skipped would leave garbage
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self.progress = Progress()
        self.drawn = 0.0   # when curves.png was last written

    def begin_with(self, start: dict[str, Any]) -> None:
        """Takes over a checkpoint's weights and mean, and fc8 if it tells the very same classes apart."""
        same = start["classes"] == self.pack.classes
        kept = {name: value for name, value in start["model"].items() if same or not name.startswith("fc8.")}
        self.model.load_state_dict(kept, strict=False)

    # --- what an experiment may replace

    def build(self) -> AlexNet:
        """The network with its initial weights, from torch's generator."""
        return AlexNet(len(self.pack.classes), self.settings.image_size, self.settings.variant,
                       **self.settings.changes)

    def batches(self, plan: Plan) -> TrainingBatches:
        """What is left of the epoch at hand."""
        settings, progress = self.settings, self.progress
        return TrainingBatches(
            self.pack, settings.image_size, settings.batch_size, settings.seed, progress.epoch,
            self.device, self.world, settings.color_noise if plan.noise else 0.0,
            self.recipe.colour, self.threads, first=progress.batch, mean=self.model.mean[0],
            augmentation=settings.augmentation, balance=settings.balance)

    # --- going on

    def restore(self) -> bool:
        """Takes up last.pt, or previous.pt where that is missing or damaged; False if the run was
        stopped before the first one."""
        looks: list[str] = []
        found = False
        for path in (self.folder / "last.pt", self.folder / "previous.pt"):
            if not path.exists():
                continue
            try:
                looks += self.take_up(checkpoint.read(path), path)
            except UserError as error:
                looks.append(str(error))
                self.good = False
                continue
            for look in looks if self.world.rank == 0 else ():
                print(f"warning: {printable(look)}; going on from {path.name}", file=sys.stderr)
            found = True
            break
        if looks and not found:
            raise UserError(f"{looks[0]}; nothing else is there to go on from: a new run needs another --out")
        places = torch.zeros(self.world.size, 2, device=self.device)   # exact up to 2^24
        places[self.world.rank] = torch.tensor([self.progress.epoch, self.progress.batch])
        if (self.world.sum(places) != places[0]).any():
            raise UserError(f"the processes do not see the same checkpoints in {self.folder}: it must be one folder for all")
        return found

    def take_up(self, content: dict[str, Any], path: Path) -> list[str]:
        """Goes on from a checkpoint; what a person should know. UserError if it does not fit this run."""
        if content["classes"] != self.pack.classes:
            raise UserError(f"{path} was trained on other classes ({', '.join(content['classes'][:3])} ...)")
        try:
            progress = progress_of(content["progress"])
            before = content["processes"]
            if type(before) is not int:
                raise TypeError("processes is no count")
            seen = min(progress.batch * self.settings.batch_size, len(self.pack.labels["train"]))
            if progress.sums.seen != seen:
                raise ValueError(f"{progress.sums.seen} images in {progress.batch} batches, now {seen}; were some added or "
                                 "removed?")
            state, given = self.optimizer.state_dict(), content["optimizer"]
            parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            for index, parameter in enumerate(parameters) if given["state"] else ():
                buffer = given["state"][index]["momentum_buffer"]
                if not checkpoint.is_whole(buffer) or buffer.shape != parameter.shape:
                    raise ValueError(f"momentum {index}")
            own = self.scaler.state_dict()   # empty unless in fp16; a run in another precision kept none
            scaler = {name: type(own[name])(number((content.get("scaler") or own)[name])) for name in own}
            if own and not 0 < scaler["scale"] < math.inf:
                raise ValueError(f"a loss scale of {scaler['scale']}")
            for own, group in zip(state["param_groups"], given["param_groups"], strict=True):
                own["lr"] = number(group["lr"])   # the rest follows from the settings
            self.model.load_state_dict(content["model"])
            self.optimizer.load_state_dict({**state, "state": given["state"]})
            self.scaler.load_state_dict(scaler)
        except Exception as error:   # whatever stands in the place of a number or a tensor
            raise UserError(f"{path} lacks what a run needs to go on ({brief(error)})") from None
        self.progress = progress
        return [] if before == self.world.size else [
            f"{before} process(es) trained before, now {self.world.size} do: the same batches, but sums in another "
            "order, so not the same bits"]

    def save(self, name: str = "last.pt") -> None:
        """Writes a checkpoint; only the first process does. A last.pt that was damaged does not take the
        place of a good previous.pt."""
        self.saved = time.monotonic()
        if self.world.rank:
            return
        facts = {**asdict(self.settings), "images": self.pack.content, "sample": self.pack.sample(),
                 "split": self.pack.split, "epoch": self.progress.epoch,
                 **(self.progress.rows[-1] if self.progress.rows else {})}
        more = {} if name == "best.pt" else {
            "optimizer": self.optimizer.state_dict(), "progress": asdict(self.progress),
            "processes": self.world.size, "scaler": self.scaler.state_dict()}
        last = name == "last.pt"
        checkpoint.save(self.folder / name, self.model, facts,
                        self.folder / "previous.pt" if last and self.good else None, **more)
        self.good |= last

    # --- training

    def plan(self) -> Plan:
        """What the schedule says for the next epoch."""
        schedule = SCHEDULES[self.settings.schedule]
        plan = schedule(self.progress.epoch, self.settings.epochs, self.progress.errors())
        return replace(plan, finished=plan.finished or self.out_of_patience)

    @property
    def out_of_patience(self) -> bool:
        """Whether the last `patience` epochs brought no lower validation error."""
        patience, errors = self.settings.patience, self.progress.errors()
        return patience is not None and len(errors) > patience and (
            min(errors[-patience:]) >= min(errors[:-patience]))

    @property
    def finished(self) -> bool:
        return self.progress.epoch >= self.settings.epochs or self.plan().finished

    def train(self, watcher: Watcher = Watcher()) -> None:
        """To the end, or until the watcher wants to stop: then Stopped is raised, with all on disk."""
        while not self.finished:
            self.epoch(self.plan(), watcher)

    def epoch(self, plan: Plan, watcher: Watcher) -> None:
        settings, progress = self.settings, self.progress
        batches = self.batches(plan)
        done = progress.epoch * len(batches)

        def set_step(index: int) -> None:
            warm = min(1.0, (done + index + 1) / settings.warmup) if settings.warmup else 1.0
            set_rates(self.optimizer, settings.lr * plan.rate * warm, plan.conv1)
            self.scale = self.scaler.get_scale()

        def after(batch: Batch, totals: Tensor, settle: Callable[[], None]) -> None:
            progress.batch = batch.index + 1
            progress.skipped += self.scaler.get_scale() < self.scale
            watcher.step(self, batches, totals)
            stop, due = self.agree(watcher.stop, progress.batch == len(batches))
            if stop or due:
                settle()
                self.check(progress.sums.loss)
                self.save()
            if stop:
                raise Stopped

        def in_evaluation(count: int) -> None:
            if watcher.stop and self.world.size == 1:   # several would have to agree: they go on
                self.save()
                raise Stopped

        watcher.begin(self, batches)
        train_epoch(self.net, self.optimizer, batches, self.dtype, set_step, progress.sums, after,
                    self.scaler)
        self.check(progress.sums.loss)
        result = evaluate(self.model, self.pack, self.dtype, batch_size=settings.batch_size,
                          world=self.world, progress=in_evaluation)
        self.check(result["loss"], "validation loss")
        sums = progress.sums
        progress.rows.append(dict(zip(COLUMNS, (
            progress.epoch + 1, settings.lr * plan.rate, sums.loss / sums.seen, sums.wrong / sums.seen,
            result["loss"], result["top1_error"], result["top5_error"], sums.seen / sums.seconds,
            sums.seconds, sums.waited), strict=True)))
        progress.epoch, progress.batch, progress.sums = progress.epoch + 1, 0, Sums()
        self.write(result["top1_error"])
        watcher.end(self)

    def agree(self, stop: bool, last: bool) -> tuple[bool, bool]:
        """Whether any of the processes is to stop, and whether a checkpoint is due. GPUs would wait for
        each other to talk: every 20 batches, and at the `last`, is enough."""
        due = self.world.rank == 0 and time.monotonic() - self.saved > 60 * self.minutes
        if self.world.size == 1:
            return stop, due
        if self.device.type != "cpu" and self.progress.batch % 20 and not last:
            return False, False
        stops, dues = self.world.sum(torch.tensor([stop, due], dtype=torch.float32, device=self.device)).tolist()
        return stops > 0, dues > 0

    def check(self, loss: float, what: str = "loss") -> None:
        """UserError if a loss, or a sum of losses, is no number."""
        if not math.isfinite(loss):
            fp16 = "--precision fp32 (fp16 ends at 65,504), " if self.dtype == torch.float16 else ""
            raise UserError(
                f"the {what} is no longer a number in epoch {self.progress.epoch + 1}: the rate "
                f"{self.settings.lr:g} is too high; try {fp16}--lr {self.settings.lr / 3:.1g} or "
                f"--warmup 200. What was finished before is in {self.folder}")

    def write(self, error: float) -> None:
        """Everything an epoch leaves behind. What is no checkpoint comes last: it can be written again from these."""
        progress = self.progress
        best, progress.best = progress.best, min(error, progress.best)
        if self.world.rank:
            return
        path = self.folder / "best.pt"
        if (error < best or not path.exists()) and not self.attempt(path, lambda: self.save("best.pt")):
            progress.best = best   # the next epoch that is better than what lies there takes its place
        self.save()   # after best.pt: a run that dies before this line does the epoch again, and all of it
        self.report()

    def report(self) -> None:
        """metrics.csv, and curves.png twice a minute and at the end."""
        path, rows = self.folder / "curves.png", self.progress.rows
        self.attempt(self.folder / "metrics.csv", lambda: write_csv(self.folder / "metrics.csv", rows))
        if self.finished or time.monotonic() - self.drawn > 30:
            if self.attempt(path, lambda: figures.training_curves(rows, path, self.folder.name)):
                self.drawn = time.monotonic()

    def attempt(self, path: Path, write: Callable[[], None]) -> bool:
        """Whether a file could be written without which the run can go on."""
        try:
            write()
            return True
        except Exception as error:   # another program has it open, no room, or what a drawing library raises
            reason = str(error) if isinstance(error, UserError) else f"cannot write {path}: {brief(error)}"
            print(f"warning: {printable(reason)}; the run goes on; a later epoch (or --resume) tries again",
                  file=sys.stderr)
            return False
