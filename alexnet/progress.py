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
