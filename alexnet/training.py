"""Training: the loop, evaluation, and a run's folder, from which it goes on.

Every random number follows from the run's seed, the epoch and the batch (batches.py), so a run that was
stopped goes on as if it had not been.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet import augment, checkpoint, figures
from alexnet.batches import DROPOUT, Batch, TrainingBatches, generator
from alexnet.checkpoint import Checkpoint
from alexnet.cli import warn
from alexnet.device import World, choose_precision, compute_ready, precision
from alexnet.files import UserError, brief, quoted, write_csv, whole_file
from alexnet.layers import Dropout, Masks
from alexnet.model import AlexNet
from alexnet.pack import Pack
from alexnet.predict import probabilities
from alexnet.progress import COLUMNS, Progress, Sums
from alexnet.recipe import SCHEDULES, Plan, default_rate, freeze, make_optimizer, set_rates
from alexnet.settings import TUNING_RATE, Settings

UNSCALED = torch.amp.GradScaler(enabled=False)   # for bf16 and fp32: steps are the optimiser's own


# ------------------------------------------------------------------- one step

@contextmanager
def masks(model: nn.Module, *key: int, rows: slice = slice(0, None),
          total: int | None = None) -> Iterator[None]:
    """In this block dropout's masks follow from the key; rows, total: see layers.Masks."""
    dropouts = [module for module in model.modules() if isinstance(module, Dropout)]
    for index, dropout in enumerate(dropouts):
        chance = generator(next(model.parameters()).device, *key, DROPOUT, index)
        dropout.masks = Masks(chance, rows, total)
    try:
        yield
    finally:
        for dropout in dropouts:
            dropout.masks = Masks()


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

    stop = False   # set to True, last.pt is soon written, between two batches, and Stopped is raised

    def __init__(self, folder: Path, settings: Settings, pack: Pack, device: torch.device,
                 world: World = World(), threads: int = 1, start: Checkpoint | None = None,
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
        self.optimizer = make_optimizer(self.model, settings.recipe, settings.head_lr)
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
            self.totals = sums_on(self.device, progress.sums.of_process(world))
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
            self.end_epoch(settings.lr * plan.rate * self.warmup(self.batches_per_epoch - 1), result)
            yield EPOCH_DONE

    def plan(self) -> Plan:
        """What the schedule says for the next epoch."""
        schedule = SCHEDULES[self.settings.schedule]
        return schedule(self.progress.epoch, self.settings.epochs, self.progress.errors())

    @property
    def out_of_patience(self) -> bool:
        """Whether the last `patience` epochs brought no lower validation error."""
        patience, errors = self.settings.patience, self.progress.errors()
        return patience is not None and len(errors) > patience and (
            min(errors[-patience:]) >= min(errors[:-patience]))

    @property
    def finished(self) -> bool:
        return self.progress.epoch >= self.settings.epochs or self.plan().finished or self.out_of_patience

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self.pack.labels["train"]) / self.settings.batch_size)

    def warmup(self, index: int) -> float:
        """The factor of the learning rate in the first `warmup` steps, rising to 1."""
        step = self.progress.epoch * self.batches_per_epoch + index + 1
        return min(1.0, step / self.settings.warmup) if self.settings.warmup else 1.0

    def agree(self, stop: bool, last: bool) -> tuple[bool, bool]:
        """Whether any of the processes is to stop, and whether a checkpoint is due. GPUs would wait for
        each other to talk: every 20 batches, and at the `last`, is enough."""
        due = self.world.rank == 0 and time.monotonic() - self.saved > 60 * self.minutes
        if self.world.size == 1:
            return stop, due
        if self.device.type != "cpu" and self.progress.batch % 20 and not last:
            return False, False
        both = torch.tensor([stop, due], dtype=torch.float32, device=self.device)
        stops, dues = self.world.sum(both).tolist()
        return stops > 0, dues > 0

    def stop_in_evaluation(self, _: int) -> None:
        if self.stop and self.world.size == 1:   # several would have to agree: they go on
            self.save()
            raise Stopped

    def collect(self, started: float, waited: float) -> None:
        """Brings the epoch's sums of all processes up to date; UserError if the loss is not finite."""
        parts = self.totals.new_zeros(self.world.size, 2)
        parts[self.world.rank] = self.totals
        sums = self.progress.sums
        sums.parts = self.world.sum(parts).tolist()
        sums.seconds, sums.waited = time.perf_counter() - started, waited
        self.check_finite(sums.loss)

    def check_finite(self, loss: float, what: str = "loss") -> None:
        """UserError if a loss, or a sum of losses, is not a finite number."""
        if not math.isfinite(loss):
            fp16 = "--precision fp32 (fp16 ends at 65,504), " if self.dtype == torch.float16 else ""
            share = TUNING_RATE if self.settings.weights else 1
            usual = default_rate(self.model, self.settings.recipe) * share
            lower = min(self.settings.lr / 3, usual)
            kept = (f"What was finished before is in {self.folder}" if (self.folder / "last.pt").exists() else
                    f"Nothing was finished: another --out, or delete {self.folder}")
            raise UserError(
                f"the {what} is no longer a number in epoch {self.progress.epoch + 1}: the learning rate "
                f"{self.settings.lr:g} is too high; try {fp16}--lr {lower:.1g} or --warmup 200. {kept}")

    def end_epoch(self, rate: float, result: dict[str, float]) -> None:
        """The epoch's row, and everything that it leaves in the folder. What is no checkpoint comes last: it
        can be written again from these."""
        self.check_finite(result["loss"], "validation loss")
        progress, sums, error = self.progress, self.progress.sums, result["top1_error"]
        progress.rows.append(dict(zip(COLUMNS, (
            progress.epoch + 1, rate, sums.loss / sums.seen, sums.wrong / sums.seen, result["loss"], error,
            result["top5_error"], sums.seen / sums.seconds, sums.seconds, sums.waited), strict=True)))
        progress.epoch, progress.batch, progress.sums = progress.epoch + 1, 0, Sums()
        if self.world.rank:
            return
        best = self.folder / "best.pt"
        if error < progress.best or not best.exists():
            with self.tolerating(best):
                self.save_best()
                progress.best = min(error, progress.best)   # if it could not be written, a later one is
        self.save()   # after best.pt: a run that dies before this line does the epoch again, and all of it
        self.report()

    # --- its folder

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says about the training."""
        last = self.progress.rows[-1] if self.progress.rows else {}
        return {"epoch": self.progress.epoch, **last, **asdict(self.settings),   # lr: the one it began with
                "images": self.pack.content, "sample": self.pack.sample(), "split": self.pack.split}

    def save_best(self) -> None:
        checkpoint.save(self.folder / "best.pt", self.model, self.facts())

    def save(self) -> None:
        """Writes last.pt; only the first process does. One that was damaged does not take the place of a
        good previous.pt."""
        self.saved = time.monotonic()
        if self.world.rank:
            return
        keep = self.folder / "previous.pt" if self.good else None
        checkpoint.save(self.folder / "last.pt", self.model, self.facts(), keep,
                        optimizer=self.optimizer.state_dict(), progress=asdict(self.progress),
                        processes=self.world.size, scaler=self.scaler.state_dict())
        self.good = True

    def report(self) -> None:
        """metrics.csv, and curves.png twice a minute and at the end."""
        table, curves, rows = self.folder / "metrics.csv", self.folder / "curves.png", self.progress.rows
        with self.tolerating(table):
            write_csv(table, rows)
        if self.finished or time.monotonic() - self.drawn > 30:
            with self.tolerating(curves):
                figures.training_curves(rows, curves, self.folder.name)
                self.drawn = time.monotonic()

    def keep_filters(self) -> None:
        """conv1's kernels, (96, 3, 11, 11) in 16 bits: filters/epoch-003.npy after three epochs."""
        path = self.folder / "filters" / f"epoch-{self.progress.epoch:03}.npy"
        if self.world.rank == 0 and not path.exists():
            with self.tolerating(path), whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, self.model.conv1.weight.detach().half().cpu().numpy())

    @contextmanager
    def tolerating(self, path: Path) -> Iterator[None]:
        """Around writing a file without which the run can go on: an error becomes a warning."""
        try:
            yield
        except Exception as error:   # another program has it open, no room, or what a drawing library raises
            reason = str(error) if isinstance(error, UserError) else f"cannot write {path}: {brief(error)}"
            warn(f"{reason}; the run goes on without it")

    # --- going on

    def restore(self) -> bool:
        """Goes on from last.pt, or from previous.pt where that is missing or damaged; False if the run was
        stopped before the first one."""
        warnings: list[str] = []
        source = None
        for path in filter(Path.exists, (self.folder / "last.pt", self.folder / "previous.pt")):
            try:
                content = checkpoint.read(path)
                self.take_up(content, path)
            except UserError as error:
                warnings.append(str(error))
                self.good = False
            else:
                source = path
                if (before := content["processes"]) != self.world.size:
                    warnings.append(f"{before} process(es) trained before, now {self.world.size} do: the "
                                    "same batches, but sums in another order, so not the same bits")
                break
        if warnings and not source:
            raise UserError(f"{warnings[0]}; nothing else is there to go on from: a new run needs another "
                            "--out")
        if not source and (self.folder / "metrics.csv").exists():   # epochs were done, and would be lost
            raise UserError(f"{self.folder} has neither last.pt nor previous.pt, without which a run cannot "
                            f"go on; a new one (another --out) can begin with its network: --weights "
                            f"{quoted(self.folder / 'best.pt')}")
        for warning in warnings if self.world.rank == 0 else ():
            warn(f"{warning}; going on from {source.name}")
        self.check_same_place()
        return source is not None

    def check_same_place(self) -> None:
        """UserError if another process goes on from another place: its folder is not the same one."""
        places = torch.zeros(self.world.size, 2, device=self.device)   # exact up to 2^24
        places[self.world.rank] = torch.tensor([self.progress.epoch, self.progress.batch])
        if (self.world.sum(places) != places[0]).any():
            raise UserError(f"the processes do not see the same checkpoints in {self.folder}: it must be one "
                            "folder for all")

    def take_up(self, content: Checkpoint, path: Path) -> None:
        """Takes over weights, momentum and progress from a checkpoint; UserError if it does not fit."""
        if content["classes"] != self.pack.classes:
            raise UserError(f"{path} was trained on other classes ({', '.join(content['classes'][:3])} ...)")
        try:
            progress = Progress(**{**content["progress"], "sums": Sums(**content["progress"]["sums"])})
            seen = min(progress.batch * self.settings.batch_size, len(self.pack.labels["train"]))
            if progress.sums.seen != seen:
                raise ValueError(f"{progress.sums.seen} images in {progress.batch} batches, now {seen}; were "
                                 "some added or removed?")
            stored, state = content["optimizer"], self.optimizer.state_dict()
            for own, group in zip(state["param_groups"], stored["param_groups"], strict=True):
                own["lr"] = group["lr"]   # the rest follows from the settings
            self.model.load_state_dict(content["model"])
            self.optimizer.load_state_dict({**state, "state": stored["state"]})
            if content["scaler"]:   # a run in another precision than fp16 stored none
                self.scaler.load_state_dict(content["scaler"])
        except Exception as error:   # a checkpoint of another kind, best.pt perhaps
            raise UserError(f"{path} lacks what a run needs to go on ({brief(error)})") from None
        self.progress = progress


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

    views: 1 is the central crop; 10 are averaged after the softmax (ten-crop, section 4.1). Every image
    counts once, for any batch size and number of processes. `progress` is told after each batch how many
    images it had. The model is left in eval mode.
    """
    device = model.mean.device
    labels = pack.labels[part] if labels is None else labels
    sums = sums_on(device, [0.0, 0.0, 0.0, 0.0])   # losses, top-1 errors, top-5 errors, images
    model.eval()
    mine = world.rows(len(labels))
    for first in range(mine.start, mine.stop, batch_size):
        some = slice(first, min(first + batch_size, mine.stop))
        squares = augment.as_batch(pack.images[part][some]).to(device)
        found = probabilities(model, squares, views, dtype)
        right = found.gather(1, torch.from_numpy(labels[some]).to(device)[:, None])
        sums[0] -= right.clamp_min(1e-30).log().sum()
        sums[1] += misses(found, right, 1)
        sums[2] += misses(found, right, 5)
        sums[3] += len(squares)
        progress(len(squares))
    loss, top1, top5, count = world.sum(sums).tolist()
    return {"loss": loss / count, "top1_error": top1 / count, "top5_error": top5 / count,
            "images": int(count), "views": views}


def misses(found: Tensor, right: Tensor, k: int) -> Tensor:
    """How many images do not have the right class among their k most probable ones. found: (N, classes);
    right: (N, 1), of the right class. Classes that are equally probable share the places they take (the
    release does so, layer_kernels.cu:96). NaN compares unequal, so it counts as wrong."""
    above, equal = (found > right).sum(1), (found == right).sum(1)
    hits = (k - above).clamp_min(0).minimum(equal) / equal.clamp_min(1)   # places that are left, shared
    return (1 - hits).sum()
