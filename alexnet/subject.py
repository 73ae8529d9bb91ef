"""What alexnet_visualization.py looks at: a network, pictures, and the data that it was trained on."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet import checkpoint, weights
from alexnet.augment import as_batch, middle
from alexnet.cli import find, say
from alexnet.device import World, choose_device
from alexnet.figures import Attribution
from alexnet.files import UserError
from alexnet.images import packed_side
from alexnet.pack import Pack, Packer, kept_in
from alexnet.predict import SAMPLES, class_above, find_pictures, open_picture, readable_names, reason
from alexnet.settings import facts_now, whole_path

FEW = 8   # pictures where many could be taken, as in figure 4
MOST = 64   # pictures in a figure, also of those that are named


class Network:
    """The network that is looked at, and what is known about it."""

    def __init__(self, given: str | None, device: str) -> None:
        self.path = weights.file_of(find(given))
        content = weights.read(self.path)
        self.facts: dict[str, Any] = facts_now(content["facts"], self.path)
        self.model = checkpoint.build(content)
        self.device = choose_device(device)
        self.model.to(self.device, memory_format=torch.channels_last)
        self.size, self.columns = self.model.image_size, self.model.design.columns
        self.convs = [name for name in self.model.steps if name.startswith("conv")]
        english = readable_names(self.model.classes, "en")
        self.names = {name: text.split(",")[0] for name, text in english.items()}
        self.classes = self.readable(self.model.classes)
        self.run_title = f"{self.model.variant}, {self.size} px"   # at whatever epoch
        if self.facts.get("data"):
            self.run_title += f", trained on {Path(self.facts['data']).name}"
        self.title = self.run_title
        if self.facts.get("epoch"):
            self.title += f" for {self.facts['epoch']} epoch{'s' * (self.facts['epoch'] != 1)}"

    def readable(self, classes: list[str]) -> list[str]:
        """The classes by ImageNet's English names, where they are ImageNet's."""
        return [self.names.get(name, name) for name in classes]

    def title_of(self, picture: Picture) -> str:
        return self.readable([picture.truth])[0] if picture.truth else picture.name

    def number_of(self, name: str) -> int:
        """The class of this name; UserError if there is none."""
        for names in (self.model.classes, self.classes):
            if name in names:
                return names.index(name)
        some = ", ".join(self.classes[:12]) + (" ..." if len(self.classes) > 12 else "")
        raise UserError(f"--class: the network has no class {name}; there is {some}")


class Picture(NamedTuple):
    """A picture to look at, as the network gets it."""

    name: str
    image: np.ndarray     # (S, S, 3) uint8
    truth: str | None     # its class, if it is known


class Crops:
    """The central crops of some pictures of a packed part, read when they are asked for: by a number, one
    (S, S, 3), by a slice or by numbers several."""

    def __init__(self, images: np.ndarray, chosen: np.ndarray, size: int) -> None:
        self.images, self.chosen = images, chosen
        self.inside = middle(images.shape[1], size)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, which: int | slice | np.ndarray) -> np.ndarray:
        return np.asarray(self.images[self.chosen[which]][..., self.inside, self.inside, :])


class Inputs:
    """The pictures that are looked at, the class asked about, and the data. What is costly is computed once,
    when it is first needed."""

    def __init__(self, network: Network, images: list[str] | None, data: str | None, target: int | None,
                 cache: str | None = None, download: bool = False) -> None:
        self.network, self.model, self.size = network, network.model, network.size
        self.places, self.data, self.target = images, data, target
        self.packer = Packer(World(), Path(cache or kept_in(network.facts.get("cache"))), download)

    @cached_property
    def pack(self) -> Pack:
        """Training and validation pictures, divided as in the network's training if they are its own, also
        where they have moved; UserError if they are not available."""
        facts = self.network.facts
        where = self.data or facts.get("data")
        if not where:
            raise UserError("needs pictures to look through: --data FOLDER")
        if whole_path(where) == facts.get("data"):
            return self.packed(where, facts.get("val_fraction"), facts.get("labels"))
        if (split := facts.get("split")) and Path(where).is_dir():
            pack = self.packed(where, split)
            if pack.content["val"] == (facts.get("images") or {}).get("val"):
                return pack
        return self.packed(where)

    def packed(self, where: str, fraction: float | None = None, labels: str | None = None) -> Pack:
        return self.packer.packed(self.size, self.packer.find, where, fraction, labels)

    @cached_property
    def has_data(self) -> bool:
        try:
            self.pack
        except UserError as error:
            if self.data:
                raise
            say(f"without training pictures ({error}); --data names them")
            return False
        return True

    def part(self, part: str, most: int) -> tuple[Crops, np.ndarray]:
        """At most `most` (0: all) pictures of a part with their labels, of each class its share."""
        labels = self.pack.labels[part]
        chosen = np.sort(np.argsort(labels, kind="stable")[evenly(len(labels), most or len(labels))])
        return Crops(self.pack.images[part], chosen, self.size), labels[chosen]

    @cached_property
    def data_classes(self) -> list[str]:
        return self.network.readable(self.pack.classes)

    @cached_property
    def pictures(self) -> list[Picture]:
        """Those that were named, or validation pictures, or the samples."""
        if not self.places and self.has_data:
            images, labels = self.part("val", FEW)
            known = set(self.pack.classes) <= set(self.model.classes)
            truths = [self.pack.classes[label] if known else None for label in labels]
            return [Picture(f"val-{number}", image, truth)
                    for number, image, truth in zip(images.chosen.tolist(), images, truths)]
        places = self.places or [str(SAMPLES)]
        side, inside = packed_side(self.size), middle(packed_side(self.size), self.size)
        pictures = []
        for path in some_of(places):
            opened = open_picture(path, side)
            if opened.error:
                say(f"{path}: {reason(opened.error)}")
                continue
            square = opened.square[inside, inside]
            pictures.append(Picture(path.stem, square, class_above(path, self.model.classes)))
        if not pictures:
            raise UserError(f"no picture could be read in {', '.join(places)}")
        return pictures

    @cached_property
    def crops(self) -> Tensor:
        """The pictures as the network takes them: (N, 3, S, S) uint8."""
        return as_batch([picture.image for picture in self.pictures]).to(self.network.device)

    @cached_property
    def probabilities(self) -> Tensor:
        with torch.inference_mode():
            return self.model(self.crops).softmax(1).cpu()

    @cached_property
    def targets(self) -> Tensor:
        """For each picture the class that is asked about."""
        if self.target is not None:
            return torch.full((len(self.pictures),), self.target, device=self.network.device)
        return self.probabilities.argmax(1).to(self.network.device)

    def attributions(self, heats: list[list[tuple[str, np.ndarray]]]) -> list[Attribution]:
        """The pictures, each with the class asked about, its probability, and its heats: names, (S, S)."""
        return [Attribution(picture.image, f"{self.network.classes[target]}: {row[target]:.0%}", of_picture)
                for picture, target, row, of_picture in zip(
                    self.pictures, self.targets.tolist(), self.probabilities, heats)]


def some_of(places: list[str]) -> list[Path]:
    """The files that are named, and some of the pictures in each folder."""
    found: list[Path] = []
    for place in places:
        paths, _ = find_pictures([place])
        if Path(place).is_dir() and len(paths) > FEW:
            say(f"{place}: {FEW} of {len(paths)} pictures, evenly chosen")
            paths = [paths[index] for index in evenly(len(paths), FEW)]
        found += paths
    if len(found) > MOST:
        say(f"{MOST} of {len(found)} pictures, evenly chosen: more do not fit into a figure")
        found = [found[index] for index in evenly(len(found), MOST)]
    return found


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers from 0 to count - 1, from the first to the last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
