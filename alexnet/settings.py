"""What decides what a run computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
    head_lr: float = 1.0             # the learning rate of fc8, times the others'
    deterministic: bool = False      # the same bits on CUDA, too
    labels: str | None = None        # the list of the images' classes, where folders do not say them
    augmentation: str = "shifts"     # or "resized"
    balance: bool = False            # an epoch draws as many images, each class equally often
    patience: int | None = None      # epochs without a lower validation error that end the run
