"""What the person at the terminal sees of a run, and how they stop it."""

from __future__ import annotations

import math
import signal
import sys
import time
from contextlib import suppress
from typing import Any

import numpy as np
from tqdm import tqdm

from alexnet.checkpoint import Checkpoint
from alexnet.cli import on_signals, warn
from alexnet.files import printable, quoted
from alexnet.training import BATCH_DONE, EPOCH_BEGINS, EPOCH_DONE, Run


class Console:
    """A bar while an epoch runs and a line when it is over; Ctrl-C and SIGTERM set `run.stop`."""

    def __init__(self, run: Run, quiet: bool, tensorboard: bool = False) -> None:
        self.run, self.quiet = run, quiet or run.world.rank > 0
        self.asked, self.asked_at = 0, 0.0   # to stop: by which signal, when
        self.bar: tqdm | None = None
        self.shown_at, self.started, self.first_epoch = 0.0, time.perf_counter(), run.progress.epoch
        self.warned = False
        self.board = None
        if tensorboard and run.world.rank == 0:
            from torch.utils.tensorboard import SummaryWriter
            self.board = SummaryWriter(str(run.folder))
        on_signals(dict.fromkeys((signal.SIGINT, signal.SIGTERM), self.ask_to_stop))

    def ask_to_stop(self, number: int, _: Any) -> None:
        if self.asked:   # a cluster may send SIGTERM to all processes, and torchrun pass it on: that is once
            if number == signal.SIGINT and time.monotonic() - self.asked_at > 0.5:
                sys.exit(128 + number)
            return
        self.run.stop, self.asked, self.asked_at = True, number, time.monotonic()
        with suppress(RuntimeError, OSError):   # in the middle of another print; Ctrl-C ended `2>&1 | tee`
            print("\nstopping soon (Ctrl-C once more: at once)", file=sys.stderr)

    def show(self, event: str) -> None:
        """What Run.train says."""
        shown = {EPOCH_BEGINS: self.epoch_begins, BATCH_DONE: self.batch_done, EPOCH_DONE: self.epoch_done}
        shown[event]()

    def epoch_begins(self) -> None:
        run = self.run
        self.bar = tqdm(total=run.batches_per_epoch, initial=run.progress.batch, unit="batch", leave=False,
                        disable=self.quiet or None,   # None: only on a terminal
                        desc=f"epoch {run.progress.epoch + 1}/{run.settings.epochs}")

    def batch_done(self) -> None:
        self.bar.update()
        if time.monotonic() - self.shown_at > 2:  # the only wait for the device (but in fp16, or for others)
            run, loss = self.run, self.run.totals[0].item()
            run.check_finite(loss)
            rows = run.world.rows(run.settings.batch_size)
            share = max(1, rows.stop - rows.start) / run.settings.batch_size   # of the images seen: its own
            mean = loss / (share * run.progress.sums.seen)
            if run.progress.batch >= max(500, 5 * len(run.pack.classes)):   # more classes start later
                self.warn_if_flat(mean)
            self.bar.set_postfix(loss=f"{mean:.3f}")
            self.shown_at = time.monotonic()

    def epoch_done(self) -> None:
        self.bar.close()
        run, row = self.run, self.run.progress.rows[-1]
        if self.board:
            with run.tolerating(run.folder):
                for name, value in row.items():
                    self.board.add_scalar(name, value, row["epoch"])
                self.board.flush()   # nobody waits for its thread when the program ends
        if run.progress.epoch * run.batches_per_epoch >= 200:
            self.warn_if_flat(row["train_loss"])
        elif row["epoch"] == run.settings.epochs:   # of a short run it is said only if it went wrong
            self.warn_if_flat(row["train_loss"], 1.5)
        if not self.quiet:
            each = (time.perf_counter() - self.started) / (run.progress.epoch - self.first_epoch)
            left = each * (run.settings.epochs - row["epoch"])
            five = f" (top-5 {row['val_top5_error']:.1%})" if len(run.pack.classes) > 5 else ""
            print(f"epoch {row['epoch']:2}/{run.settings.epochs}  loss {row['train_loss']:.3f} train, "
                  f"{row['val_loss']:.3f} val  error {row['train_top1_error']:.1%} train, "
                  f"{row['val_top1_error']:.1%} val{five}  learning rate {row['lr']:g}  "
                  f"{row['images_per_second']:.0f} images/s, {row['seconds_waiting'] / row['seconds']:.1%} "
                  f"waiting  {duration(left)} left", flush=True)

    def warn_if_flat(self, loss: float, times: float = 0.99) -> None:
        """Says, once, that the mean loss over many steps is at chance level, or worse."""
        run, count = self.run, len(self.run.pack.classes)
        if self.warned or run.world.rank or loss <= times * math.log(count):
            return
        self.warned = True
        advice = f"--lr {run.settings.lr / 3:.1g}"
        if run.settings.variant == "as-written":   # there it would make things worse: results/what-breaks-it
            advice = "--variant as-trained"
        warn(f"the training loss is no better than at chance level (ln {count} = {math.log(count):.3f}). Try "
             f"{advice}, and see whether the labels fit the images")

    def conclude(self) -> None:
        """The errors, the time, and what to do next."""
        run, rows, count = self.run, self.run.progress.rows, self.run.progress.skipped
        best = min(rows, key=lambda row: row["val_top1_error"])
        files = [name for name in ("best.pt", "last.pt", "metrics.csv", "curves.png")
                 if (run.folder / name).exists()]   # all, unless one could not be written
        skipped = f"; {count:,} steps skipped, whose gradients overflowed in fp16" if count else ""
        if not self.warned:
            warn_if_no_better(best["val_top1_error"], run.pack.labels["val"], run.pack.classes)
        if run.out_of_patience and run.progress.epoch < run.settings.epochs:
            print(f"\nended early: the last {run.settings.patience} epoch(s) brought no lower validation "
                  "error")
        print(f"\nvalidation error {rows[-1]['val_top1_error']:.2%} after epoch {rows[-1]['epoch']}, lowest "
              f"{best['val_top1_error']:.2%} after epoch {best['epoch']}; "
              f"{duration(sum(row['seconds'] for row in rows))} of training{skipped}\n"
              f"the run: {run.folder} ({', '.join(files)})\n"
              f"next:    python train_alexnet.py --evaluate {quoted(run.folder / files[0])}")


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def introduce(run: Run, restored: bool, start: Checkpoint | None) -> None:
    """What is about to be trained, and from where it goes on."""
    settings, pack = run.settings, run.pack
    count = sum(parameter.numel() for parameter in run.model.parameters())
    print(f"AlexNet {settings.variant}, {settings.image_size} px, {count:,} parameters, on "
          f"{printable(pack.name)}: {len(pack.classes)} classes, {len(pack.labels['train']):,} training and "
          f"{len(pack.labels['val']):,} validation images")
    print(f"{settings.epochs} epoch{'s' * (settings.epochs != 1)}, batch {settings.batch_size}, "
          f"learning rate {settings.lr:g}, schedule {settings.schedule}, seed {settings.seed}; "
          f"{run.device.type}, {str(run.dtype).removeprefix('torch.')}, {run.world.size} process(es); "
          f"{run.folder}")
    if start:
        head = "kept: the classes are the same" if start["classes"] == pack.classes else "new"
        print(f"from {settings.weights}: its weights, mean, variant and image size; fc8 is {head}")
    if settings.weights:
        frozen = f"frozen: all up to {settings.freeze}" if settings.freeze else "no layer is frozen"
        print(f"learning rate of fc8 x {settings.head_lr:g}; {frozen}")
    if restored:
        print(f"going on in epoch {run.progress.epoch + 1}, of which {run.progress.batch} of "
              f"{run.batches_per_epoch} batches are done")
    sys.stdout.flush()


def warn_if_no_better(error: float, labels: np.ndarray, classes: list[str]) -> None:
    """Says that one answer for all images would be as good; not of images that have one class."""
    counts = np.bincount(labels)
    most = counts.argmax()
    others = (len(labels) - counts[most]) / len(labels)   # 1 - 0.7 would be more than 0.3
    if 0 < others <= error:
        warn(f"this is no better than always answering {printable(classes[most])}, which is wrong for "
             f"{others:.2%} of these images")


def say_finished(run: Run) -> None:
    """Why a run that was to go on has nothing left to do."""
    more = "--epochs N goes on with it, the schedule stretched to N"
    if run.plan().finished:
        more = "its schedule has come to its end"
    elif run.out_of_patience:
        whole = run.progress.epoch >= run.settings.epochs
        more = (f"the last {run.settings.patience} brought no lower error; "
                + ("larger --epochs and --patience go on" if whole else "a larger --patience goes on"))
    print(f"{run.folder} is finished: {run.progress.epoch} epochs; {more}")
