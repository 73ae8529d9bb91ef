"""Everything that decides what a run computes: chosen for a new run, kept by one that goes on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from alexnet import checkpoint
from alexnet.checkpoint import Checkpoint
from alexnet.files import UserError, read_json
from alexnet.model import AlexNet
from alexnet.pack import Pack
from alexnet.recipe import RECIPES, Recipe, default_rate, highest_head_rate

EPOCHS, DEMO_EPOCHS, DEMO_BATCH = 30, 16, 64
LARGE, LARGE_EPOCHS = 200_000, 90   # training images from which the paper's 90 epochs apply
SMALL, SMALL_BATCH = 1_000, 32      # fewer training images: larger batches leave too few steps; so --weights
TUNING_RATE = 0.3                   # with --weights: times the recipe's learning rate; results/README.md
GROWING = ("epochs", "patience")    # what may be raised when a run goes on
MAY_MOVE = ("data", "labels", "weights")   # what a run that goes on may find elsewhere, if it holds the same


@dataclass(frozen=True)
class Settings:
    """The settings of a run, as its config.json has them."""

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

    @property
    def recipe(self) -> Recipe:
        """The variant's, with this run's momentum and weight decay."""
        return replace(RECIPES[self.variant], momentum=self.momentum, weight_decay=self.weight_decay)

    @classmethod
    def new(cls, given: dict[str, Any], pack: Pack, image_size: int,
            start: Checkpoint | None = None) -> Settings:
        """Those of a new run: what was `given`, by the names of the fields; for the others the recipe's
        defaults. start: the checkpoint (weights.read) with whose network it begins."""
        variant = start["variant"] if start else given.get("variant", "as-trained")
        changes = start["changes"] if start else {}
        recipe, count = RECIPES[variant], len(pack.labels["train"])
        recipe = replace(recipe, momentum=given.get("momentum", recipe.momentum))
        epochs, batch_size = LARGE_EPOCHS if count >= LARGE else EPOCHS, recipe.batch_size
        if given.get("data", "demo") == "demo":   # a folder may have that name, too: ./demo
            epochs, batch_size = DEMO_EPOCHS, DEMO_BATCH
        if start or count < SMALL:
            batch_size = SMALL_BATCH
        if start:
            lr = recipe.rate * TUNING_RATE
        else:
            lr = default_rate(outline(len(pack.classes), image_size, variant), recipe)
        defaults = dict(
            data="demo", val_fraction=None, epochs=epochs, batch_size=batch_size, lr=lr,
            momentum=recipe.momentum, weight_decay=recipe.weight_decay, warmup=0,
            schedule="release" if count >= LARGE else "steps", color_noise=recipe.noise, seed=0,
            precision="auto")
        chosen = {**defaults, **given, "variant": variant, "image_size": image_size, "changes": changes}
        chosen |= {name: whole_path(chosen[name]) for name in MAY_MOVE if name in chosen}
        if start and "head_lr" not in given:
            chosen["head_lr"] = default_head(start, pack, recipe, chosen["lr"])
        return cls(**chosen)

    @classmethod
    def of_run(cls, stored: dict[str, Any], given: dict[str, Any]) -> Settings:
        """Those of a run that goes on, as its config.json has them (an older one lacks what is newer), with
        what may change; UserError if something else that is `given` contradicts them."""
        before = asdict(cls(**stored))
        wrong = [f"--{name.replace('_', '-')} {value} (was {before[name]})" for name, value in given.items()
                 if name not in (*GROWING, *MAY_MOVE) and value != before[name]]
        grown = {name: given[name] for name in GROWING if name in given}
        wrong += [f"--{name} {value} (was {before[name]}; it may only grow)"
                  for name, value in grown.items() if value < (before[name] or math.inf)]
        if wrong:
            raise UserError(f"--resume goes on as before, so these cannot change: {', '.join(wrong)}")
        moved = {name: whole_path(given[name]) for name in MAY_MOVE if name in given}
        return cls(**{**before, **moved, **grown})


def facts_now(facts: dict[str, Any], model: Path) -> dict[str, Any]:
    """A checkpoint's facts, with where the config.json beside it says that its images, their labels and the
    packed form (`cache`) are now: they may have been moved since the checkpoint was written."""
    try:
        config = read_json((model if model.is_dir() else model.parent) / "config.json")
        if config.get("content_of_data") != facts.get("images"):   # another run's
            return facts
        moved = {name: config["settings"][name] for name in ("data", "labels")}
        return {**facts, **moved, "cache": config["cache"]}
    except (OSError, UserError, KeyError, TypeError, AttributeError):
        return facts


def whole_path(where: str) -> str:
    """The whole path of a folder or file, so that a run goes on from anywhere; names as they are."""
    return str(Path(where).resolve()) if where != "demo" and Path(where).exists() else where


def outline(num_classes: int, image_size: int, variant: str, **changes: Any) -> AlexNet:
    """The network without memory for its weights; UserError if the images are too small."""
    try:
        with torch.device("meta"):
            return AlexNet(num_classes, image_size, variant, **changes)
    except (ValueError, RuntimeError, OverflowError) as error:   # torch's word for far too large
        raise UserError(str(error).splitlines()[0]) from None


def default_head(start: Checkpoint, pack: Pack, recipe: Recipe, lr: float) -> float:
    """The factor for the learning rate of fc8: 1, or what brings a new one to half of its highest stable
    learning rate if that is less."""
    if start["classes"] == pack.classes:
        return 1.0
    half = highest_head_rate(checkpoint.build(start), pack, recipe) / 2
    return 1.0 if lr <= half else float(f"{half / lr:.1e}")
