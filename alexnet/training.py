"""Training: batches, the loop, evaluation, and a run's folder, from which it goes on.

Everything that chance decides follows from the run's seed, the epoch and the batch. So a run that
was stopped goes on as if it had not been, any number of loader threads gives the same batches, and
several processes draw together what one would have drawn.
"""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet import augment, checkpoint, figures
from alexnet.augment import Choice
from alexnet.device import World, choose_precision, compute_ready, precision
from alexnet.files import UserError, brief, printable, write_csv
from alexnet.layers import Dropout
from alexnet.model import AlexNet
from alexnet.pack import Pack
from alexnet.predict import probabilities
from alexnet.recipe import RECIPES, SCHEDULES, Plan, freeze, make_optimizer, set_rates
from alexnet.settings import Settings
from alexnet.threads import in_order

ORDER, AUGMENT, DROPOUT = range(3)  # what a random number is for
UNSCALED = torch.amp.GradScaler(enabled=False)   # for bf16 and fp32: steps are the optimiser's own


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
    """The training images of one epoch, cropped, mirrored and coloured, from batch `first` on.

    Threads make the next batches while the step runs (section 4.1: augmentation costs nothing);
    `waited` counts the seconds that the step had to wait all the same. mean: the network's mean
    image (3, S, S), on the device where the batches are wanted. noise: whether colours vary.
    """

    def __init__(self, pack: Pack, settings: Settings, epoch: int, mean: Tensor, world: World = World(),
                 threads: int = 1, first: int = 0, noise: bool = True) -> None:
        self.pack, self.settings, self.epoch, self.world = pack, settings, epoch, world
        self.threads, self.first, self.waited = threads, first, 0.0
        self.device, self.noise = mean.device, settings.color_noise if noise else 0.0
        self.mean = mean if RECIPES[settings.variant].colour == "release" else None
        self.deviations = torch.from_numpy(augment.components(pack.covariance))
        self.order = self.draw_order().numpy()
        self.count = math.ceil(len(self.order) / settings.batch_size)

    def __len__(self) -> int:
        return self.count

    def draw_order(self) -> Tensor:
        """Every image once; or, balanced, as many images, each class equally often."""
        labels = torch.from_numpy(self.pack.labels["train"])
        chance = generator("cpu", self.settings.seed, self.epoch, ORDER)
        if not self.settings.balance:
            return torch.randperm(len(labels), generator=chance)
        weights = (1 / labels.bincount().double())[labels]
        return torch.multinomial(weights, len(labels), replacement=True, generator=chance)

    def draw(self, count: int, room: int, chance: torch.Generator) -> Choice:
        """The crops, mirror images and colours of a batch; see augment.py."""
        if self.settings.augmentation == "resized":
            return augment.choose_resized(count, room, chance, self.settings.image_size)
        return augment.choose(count, room, chance)

    def prepare(self, index: int) -> Batch:
        self.pack.check()
        settings = self.settings
        chosen = self.order[index * settings.batch_size:(index + 1) * settings.batch_size]
        total, rows = len(chosen), self.world.rows(len(chosen))
        chance = generator("cpu", settings.seed, self.epoch, index, AUGMENT)
        choice = self.draw(total, self.pack.side - settings.image_size, chance)[rows]
        images = augment.crop(self.pack.images["train"], chosen[rows], choice, settings.image_size)
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


# ------------------------------------------------------------------- one step

@contextmanager
def masks(model: nn.Module, *key: int, rows: slice = slice(0, None), total: int | None = None) -> Iterator[None]:
    """In this block dropout's masks follow from the key. With `total` they are drawn for so many images, of
    which this process has `rows`: several processes draw what one would have drawn."""
    dropouts = [module for module in model.modules() if isinstance(module, Dropout)]
    for number, dropout in enumerate(dropouts):
        dropout.generator = generator(next(model.parameters()).device, *key, DROPOUT, number)
        dropout.rows, dropout.batch = rows, total
    try:
        yield
    finally:
        for dropout in dropouts:
            dropout.generator, dropout.rows, dropout.batch = None, slice(0, None), None


def train_step(net: nn.Module, optimizer: torch.optim.SGD, batch: Batch, dtype: torch.dtype,
               world: World = World(), scaler: torch.amp.GradScaler = UNSCALED) -> tuple[Tensor, Tensor]:
    """Forward, backward, update; no update if `scaler` finds that its scaled gradients overflow. Returns the
    sum of this process's losses, and its logits. net: the network, or DDP around it."""
    with precision(batch.images.device, dtype):
        logits = net(batch.images)
    loss = F.cross_entropy(logits.float(), batch.labels, reduction="sum")
    # DDP averages over processes; section 5's gradient is the average over the batch.
    scaler.scale(loss * (world.size / batch.total)).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach(), logits.detach()


# ------------------------------------------------------------------- evaluation

def sums_on(device: torch.device, values: list[float]) -> Tensor:
    """Numbers to add to on a device, so that nothing waits for it; MPS has no float64."""
    return torch.tensor(values, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


@torch.inference_mode()
def evaluate(model: AlexNet, pack: Pack, dtype: torch.dtype = torch.float32, views: int = 1,
             batch_size: int = 128, world: World = World(), part: str = "val",
             labels: np.ndarray | None = None,
             progress: Callable[[int], Any] = lambda count: None) -> dict[str, float]:
    """Loss and top-1 and top-5 error (fractions) on a part of a pack.

    views: 1 is the central crop; 10 are averaged after the softmax (ten-crop, section 4.1). Every image counts once,
    for any batch size and number of processes. `progress` is told how many images are done after each
    batch. The model is left in eval mode.
    """
    device = model.mean.device
    labels = pack.labels[part] if labels is None else labels
    sums = sums_on(device, [0.0, 0.0, 0.0, 0.0])   # losses, top-1 errors, top-5 errors, images
    model.eval()
    mine = np.arange(len(labels))[world.rows(len(labels))]
    for first in range(0, len(mine), batch_size):
        pack.check()
        chosen = mine[first:first + batch_size]
        stored = pack.images[part][chosen[0]:chosen[-1] + 1]
        squares = augment.as_batch(stored).to(device)
        found = probabilities(model, squares, views, dtype)
        right = found.gather(1, torch.from_numpy(labels[chosen]).to(device)[:, None])
        sums[0] -= right.clamp_min(1e-30).log().sum()
        sums[1] += misses(found, right, 1)
        sums[2] += misses(found, right, 5)
        sums[3] += len(chosen)
        progress(len(chosen))
    loss, top1, top5, count = world.sum(sums).tolist()
    return {"loss": loss / count, "top1_error": top1 / count, "top5_error": top5 / count,
            "images": int(count), "views": views}


def misses(found: Tensor, right: Tensor, k: int) -> Tensor:
    """How many images do not have the right class among their k most probable ones; found: (N, classes), right:
    (N, 1). Classes that are equally probable share the places they take (the release does so,
    layer_kernels.cu:96). What is not a number is equal to nothing, so it is never right."""
    above, equal = (found > right).sum(1), (found == right).sum(1)
    return (1 - ((k - above) / equal).clamp(0, 1) * (equal > 0)).nan_to_num(1.0).sum()


# ------------------------------------------------------------------- how far a run is

@dataclass
class Sums:
    """Of an epoch so far."""

    parts: list[list[float]] = field(default_factory=list)   # of each process: losses, wrong answers
    seen: int = 0            # images
    seconds: float = 0.0
    waited: float = 0.0      # seconds of these, for batches

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
        raise ValueError("a sum is not a finite number")
    return Progress(content["epoch"], content["batch"], Sums(parts, sums["seen"], seconds, waited), rows,
                    number(content["best"]), number(content.get("skipped", 0)))


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{type(value).__name__} in the place of a number")
    float(value)   # OverflowError for a whole number that is too large
    return value


# ------------------------------------------------------------------- a run

EPOCH_BEGINS, BATCH_DONE, EPOCH_DONE = "epoch begins", "batch done", "epoch done"   # what Run.train tells


class Stopped(Exception):
    """Somebody asked to stop; everything is on disk."""


class Run:
    """A run's folder, and the training that fills it.

    last.pt has everything needed to go on, previous.pt is the one before; best.pt has the network
    with the lowest validation error; metrics.csv has one row per epoch; curves.png draws them. `start`
    is the content of a checkpoint (weights.read) whose weights and mean the network begins with; fc8
    begins anew unless the classes are the same. last.pt is written after each epoch, and within it
    when `minutes` have passed since.
    """

    stop = False   # set to True, last.pt is written after the batch at hand, and Stopped is raised

    def __init__(self, folder: Path, settings: Settings, pack: Pack, device: torch.device,
                 world: World = World(), threads: int = 1, start: dict[str, Any] | None = None,
                 minutes: float = 5.0) -> None:
        self.folder, self.settings, self.pack = folder, settings, pack
        self.device, self.world, self.threads = device, world, threads
        self.minutes, self.saved = minutes, time.monotonic()
        self.good = True   # whether last.pt, if there is one, is whole
        self.drawn = 0.0   # when curves.png was last written
        self.dtype = choose_precision(settings.precision, device)
        self.progress = Progress()
        torch.manual_seed(settings.seed)
        self.model = self.build()
        self.model.classes = pack.classes
        if self.model.design.pixel_mean is None:
            self.model.mean.copy_(pack.mean_crop(settings.image_size))
        if start:   # fc8 only if it tells the very same classes apart
            kept = {name: value for name, value in start["model"].items()
                    if not name.startswith("fc8.") or start["classes"] == pack.classes}
            self.model.load_state_dict(kept, strict=False)
        if settings.freeze:
            freeze(self.model, settings.freeze)
        self.net = compute_ready(self.model, device, world)
        recipe = replace(RECIPES[settings.variant], momentum=settings.momentum, weight_decay=settings.weight_decay)
        self.optimizer = make_optimizer(self.model, recipe, settings.head_lr)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        if self.scaler.is_enabled():
            for parameter in self.parameters():   # fused SGD whose first step is skipped would leave garbage
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def parameters(self) -> list[nn.Parameter]:
        """What is trained, in the optimiser's order."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    # --- what an experiment may replace

    def build(self) -> AlexNet:
        """The network with its initial weights, from torch's generator."""
        return AlexNet(len(self.pack.classes), self.settings.image_size, self.settings.variant,
                       **self.settings.changes)

    def batches(self, plan: Plan) -> TrainingBatches:
        """What is left of the epoch at hand."""
        return TrainingBatches(self.pack, self.settings, self.progress.epoch, self.model.mean[0], self.world,
                               self.threads, first=self.progress.batch, noise=plan.noise)

    # --- training

    def train(self) -> Iterator[str]:
        """Trains to the end. Says on its way what has happened: EPOCH_BEGINS, BATCH_DONE (`totals` are up to
        date) or EPOCH_DONE (written to the folder). Stopped if `stop` is set meanwhile."""
        settings, progress, world = self.settings, self.progress, self.world
        while not self.finished:
            plan = self.plan()
            batches = self.batches(plan)
            # This process's sums of losses and of wrong answers stay on the device: no step waits for them.
            self.totals = sums_on(self.device, progress.sums.part(world))
            yield EPOCH_BEGINS
            self.net.train()
            started, waited = time.perf_counter() - progress.sums.seconds, progress.sums.waited
            for batch in batches:
                set_rates(self.optimizer, settings.lr * plan.rate * self.warmup(batch.index), plan.conv1)
                scale = self.scaler.get_scale()
                with masks(self.model, settings.seed, progress.epoch, batch.index,
                           rows=world.rows(batch.total), total=batch.total):
                    loss, logits = train_step(self.net, self.optimizer, batch, self.dtype, world, self.scaler)
                self.totals[0] += loss
                self.totals[1] += (logits.argmax(1) != batch.labels).sum()
                progress.sums.seen += batch.total
                progress.batch = batch.index + 1
                progress.skipped += self.scaler.get_scale() < scale
                yield BATCH_DONE
                stop, due = self.agree(self.stop, last=progress.batch == self.batches_per_epoch)
                if stop or due:
                    self.collect(started, waited + batches.waited)
                    self.save()
                if stop:
                    raise Stopped
            self.collect(started, waited + batches.waited)
            result = evaluate(self.model, self.pack, self.dtype, batch_size=settings.batch_size, world=world,
                              progress=self.stop_in_evaluation)
            self.end_epoch(settings.lr * plan.rate, result)
            yield EPOCH_DONE

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

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self.pack.labels["train"]) / self.settings.batch_size)

    def warmup(self, index: int) -> float:
        """The factor of the learning rate in the first `warmup` steps, rising to 1."""
        steps = self.progress.epoch * self.batches_per_epoch + index + 1
        return min(1.0, steps / self.settings.warmup) if self.settings.warmup else 1.0

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

    def stop_in_evaluation(self, _: int) -> None:
        if self.stop and self.world.size == 1:   # several would have to agree: they go on
            self.save()
            raise Stopped

    def collect(self, started: float, waited: float) -> None:
        """Brings the epoch's sums up to date, of all processes; UserError if the loss is no longer a number."""
        parts = self.totals.new_zeros(self.world.size, 2)
        parts[self.world.rank] = self.totals
        sums = self.progress.sums
        sums.parts = self.world.sum(parts).tolist()
        sums.seconds, sums.waited = time.perf_counter() - started, waited
        self.check(sums.loss)

    def check(self, loss: float, what: str = "loss") -> None:
        """UserError if a loss, or a sum of losses, is not a finite number."""
        if not math.isfinite(loss):
            fp16 = "--precision fp32 (fp16 ends at 65,504), " if self.dtype == torch.float16 else ""
            raise UserError(
                f"the {what} is no longer a number in epoch {self.progress.epoch + 1}: the learning rate "
                f"{self.settings.lr:g} is too high; try {fp16}--lr {self.settings.lr / 3:.1g} or "
                f"--warmup 200. What was finished before is in {self.folder}")

    def end_epoch(self, rate: float, result: dict[str, float]) -> None:
        """The epoch's row, and everything that it leaves in the folder. What is no checkpoint comes last: it can be
        written again from these."""
        self.check(result["loss"], "validation loss")
        progress, sums, error = self.progress, self.progress.sums, result["top1_error"]
        progress.rows.append(dict(zip(COLUMNS, (
            progress.epoch + 1, rate, sums.loss / sums.seen, sums.wrong / sums.seen, result["loss"], error,
            result["top5_error"], sums.seen / sums.seconds, sums.seconds, sums.waited), strict=True)))
        progress.epoch, progress.batch, progress.sums = progress.epoch + 1, 0, Sums()
        if self.world.rank:
            return
        best = self.folder / "best.pt"
        if error < progress.best or not best.exists():
            with self.going_on(best):
                self.save("best.pt")
                progress.best = min(error, progress.best)   # else the next that is better than what lies there follows
        self.save()   # after best.pt: a run that dies before this line does the epoch again, and all of it
        self.report()

    # --- its folder

    def save(self, name: str = "last.pt") -> None:
        """Writes a checkpoint; only the first process does. A last.pt that was damaged does not take the
        place of a good previous.pt."""
        self.saved = time.monotonic()
        if self.world.rank:
            return
        facts = {**asdict(self.settings), "images": self.pack.content, "sample": self.pack.sample(),
                 "split": self.pack.split, "epoch": self.progress.epoch,
                 **(self.progress.rows[-1] if self.progress.rows else {})}
        if name == "best.pt":
            checkpoint.save(self.folder / name, self.model, facts)
            return
        checkpoint.save(self.folder / name, self.model, facts, self.folder / "previous.pt" if self.good else None,
                        optimizer=self.optimizer.state_dict(), progress=asdict(self.progress),
                        processes=self.world.size, scaler=self.scaler.state_dict())
        self.good = True

    def report(self) -> None:
        """metrics.csv, and curves.png twice a minute and at the end."""
        table, curves, rows = self.folder / "metrics.csv", self.folder / "curves.png", self.progress.rows
        with self.going_on(table):
            write_csv(table, rows)
        if self.finished or time.monotonic() - self.drawn > 30:
            with self.going_on(curves):
                figures.training_curves(rows, curves, self.folder.name)
                self.drawn = time.monotonic()

    @contextmanager
    def going_on(self, path: Path) -> Iterator[None]:
        """Around writing a file without which the run can go on: a warning where that fails."""
        try:
            yield
        except Exception as error:   # another program has it open, no room, or what a drawing library raises
            reason = str(error) if isinstance(error, UserError) else f"cannot write {path}: {brief(error)}"
            print(f"warning: {printable(reason)}; the run goes on; a later epoch (or --resume) tries again",
                  file=sys.stderr)

    # --- going on

    def restore(self) -> bool:
        """Goes on from last.pt, or from previous.pt where that is missing or damaged; False if the run was
        stopped before the first one."""
        warnings: list[str] = []
        source = None
        for path in (self.folder / "last.pt", self.folder / "previous.pt"):
            if source or not path.exists():
                continue
            try:
                content = checkpoint.read(path)
                self.take_up(content, path)
            except UserError as error:
                warnings.append(str(error))
                self.good = False
                continue
            source = path
            if content["processes"] != self.world.size:
                warnings.append(f"{content['processes']} process(es) trained before, now {self.world.size} do: the same "
                                "batches, but sums in another order, so not the same bits")
        if warnings and not source:
            raise UserError(f"{warnings[0]}; nothing else is there to go on from: a new run needs another --out")
        for warning in warnings if self.world.rank == 0 else ():
            print(f"warning: {printable(warning)}; going on from {source.name}", file=sys.stderr)
        places = torch.zeros(self.world.size, 2, device=self.device)   # exact up to 2^24
        places[self.world.rank] = torch.tensor([self.progress.epoch, self.progress.batch])
        if (self.world.sum(places) != places[0]).any():
            raise UserError(f"the processes do not see the same checkpoints in {self.folder}: it must be one folder for all")
        return source is not None

    def take_up(self, content: dict[str, Any], path: Path) -> None:
        """Takes over weights, momentum and progress from a checkpoint; UserError if it does not fit this run."""
        if content["classes"] != self.pack.classes:
            raise UserError(f"{path} was trained on other classes ({', '.join(content['classes'][:3])} ...)")
        try:
            if type(content["processes"]) is not int:
                raise TypeError("processes is no count")
            progress = progress_of(content["progress"])
            seen = min(progress.batch * self.settings.batch_size, len(self.pack.labels["train"]))
            if progress.sums.seen != seen:
                raise ValueError(f"{progress.sums.seen} images in {progress.batch} batches, now {seen}; were some "
                                 "added or removed?")
            optimizer, scaler = self.optimizer_state(content["optimizer"]), self.scaler_state(content.get("scaler"))
            self.model.load_state_dict(content["model"])
            self.optimizer.load_state_dict(optimizer)
            self.scaler.load_state_dict(scaler)
        except Exception as error:   # whatever stands in the place of a number or a tensor
            raise UserError(f"{path} lacks what a run needs to go on ({brief(error)})") from None
        self.progress = progress

    def optimizer_state(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Momentum and learning rates from a checkpoint; the rest follows from the settings."""
        for index, parameter in enumerate(self.parameters()) if stored["state"] else ():
            buffer = stored["state"][index]["momentum_buffer"]
            if not checkpoint.is_whole(buffer) or buffer.shape != parameter.shape:
                raise ValueError(f"momentum {index}")
        state = self.optimizer.state_dict()
        for own, group in zip(state["param_groups"], stored["param_groups"], strict=True):
            own["lr"] = number(group["lr"])
        return {**state, "state": stored["state"]}

    def scaler_state(self, stored: dict[str, Any] | None) -> dict[str, Any]:
        """The loss scale from a checkpoint; empty unless in fp16. A run in another precision stored none."""
        own = self.scaler.state_dict()
        state = {name: type(own[name])(number((stored or own)[name])) for name in own}
        if own and not 0 < state["scale"] < math.inf:
            raise ValueError(f"a loss scale of {state['scale']}")
        return state
