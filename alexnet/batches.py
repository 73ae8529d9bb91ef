"""Batches: an image's way from its packed form to the network, and the random numbers that are drawn on it.

Everything that chance decides follows from the run's seed, the epoch and the batch. So any number of
threads gives the same batches, and several processes draw together what one would have drawn.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Iterator

import numpy as np
import torch
from torch import Tensor

from alexnet import augment
from alexnet.augment import Choice
from alexnet.device import World
from alexnet.pack import Pack
from alexnet.settings import Settings
from alexnet.threads import in_order

ORDER, AUGMENT, DROPOUT = range(3)  # what a random number is for


def generator(device: torch.device | str, *key: int) -> torch.Generator:
    """A generator whose numbers follow from the key."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1
    return torch.Generator(device).manual_seed(seed)


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
        self.mean = mean if settings.recipe.colour == "release" else None
        self.deviations = torch.from_numpy(augment.components(pack.covariance))
        self.order = self.draw_order().numpy()

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.settings.batch_size)

    def draw_order(self) -> Tensor:
        """Every image once; or, balanced, as many images, each class equally often on average."""
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
        """A batch where it is wanted."""
        return self.to_device(*self.cut(index))

    def cut(self, index: int) -> tuple[Batch, Choice]:
        """A batch on the CPU, without colour noise, with what was drawn for it."""
        settings = self.settings
        chosen = self.order[index * settings.batch_size:(index + 1) * settings.batch_size]
        total, rows = len(chosen), self.world.rows(len(chosen))
        chance = generator("cpu", settings.seed, self.epoch, index, AUGMENT)
        choice = self.draw(total, self.pack.side - settings.image_size, chance)[rows]
        images = augment.crop(self.pack.images["train"], chosen[rows], choice, settings.image_size)
        return Batch(images, torch.from_numpy(self.pack.labels["train"][chosen[rows]]), total, index), choice

    def to_device(self, batch: Batch, choice: Choice) -> Batch:
        pinned = self.device.type == "cuda"   # only such memory outlives a copy that nobody waits for
        images, labels = ((values.pin_memory() if pinned else values).to(self.device, non_blocking=pinned)
                          for values in (batch.images, batch.labels))
        if self.noise:
            images = augment.colour_noise(images, choice, self.deviations, self.noise, self.mean)
        return Batch(images, labels, batch.total, batch.index)

    def __iter__(self) -> Iterator[Batch]:
        here = self.device.type == "mps"   # which aborts when two threads compute (pytorch issue 197805)
        work, numbers = self.cut if here else self.prepare, range(self.first, len(self))
        start = time.perf_counter()
        for batch in in_order(work, numbers, self.threads, self.threads + 1):
            batch = self.to_device(*batch) if here else batch
            self.waited += time.perf_counter() - start
            yield batch
            start = time.perf_counter()
