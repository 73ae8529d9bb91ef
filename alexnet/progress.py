"""How far a run is: what last.pt holds beside weights and momentum, and the columns of metrics.csv."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from alexnet.device import World


@dataclass
class Sums:
    """What has been added up over an epoch so far."""

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

    def of_process(self, world: World) -> list[float]:
        """The sums that this process goes on from: its share where the number of processes has changed."""
        if len(self.parts) == world.size:
            return self.parts[world.rank]
        return [self.loss / world.size, self.wrong / world.size]


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
    rows = [{name: checked_number(row[name]) for name in COLUMNS} for row in content["rows"]]
    if len(rows) != content["epoch"] or [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
        raise ValueError(f"{len(rows)} rows for {content['epoch']} epochs")
    parts = [[checked_number(loss), checked_number(wrong)] for loss, wrong in sums["parts"]]
    seconds, waited = checked_number(sums["seconds"]), checked_number(sums["waited"])
    if not math.isfinite(sum(map(sum, parts)) + seconds + waited) or type(sums["seen"]) is not int:
        raise ValueError("a sum is not a finite number")
    return Progress(content["epoch"], content["batch"], Sums(parts, sums["seen"], seconds, waited), rows,
                    checked_number(content["best"]), checked_number(content.get("skipped", 0)))


def checked_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{type(value).__name__} in the place of a number")
    float(value)   # OverflowError for a whole number that is too large
    return value
