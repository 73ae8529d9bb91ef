"""Pictures to probabilities or features: reading, batching, order.

    model = load("best.pt")
    for prediction in classify(model, ["cat.jpg", Image.open("dog.png")]):
        print(prediction.path, prediction.top[0])

Pictures are paths, files' bytes, PIL's images, arrays (H, W, 3) or tensors (3, H, W), one or several.
Threads read the next ones while the network computes. Answers come in the order of the pictures, and
a picture that cannot be read gets its reason instead of stopping the others.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Collection, Iterable, Iterator, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from alexnet import augment
from alexnet.cli import warn
from alexnet.device import choose_precision, precision
from alexnet.files import UserError, read_csv
from alexnet.folders import Folder
from alexnet.images import (dim_text, from_array, one_at_a_time, open_image, packed_side, square, to_rgb,
                            without_frames)
from alexnet.model import AlexNet
from alexnet.layout import alike
from alexnet.threads import cores, in_order

DATA = Path(__file__).resolve().parent.parent / "data"
SAMPLES, CLASS_NAMES = DATA / "samples", DATA / "imagenet_classes.csv"

Picture = os.PathLike | str | bytes | IO[bytes] | Image.Image | np.ndarray | Tensor


class Answer(NamedTuple):
    index: int
    name: str            # the checkpoint's own class
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What the network says to one picture, or why it says nothing."""

    path: str                        # empty for a picture in memory
    top: tuple[Answer, ...] = ()     # the most probable first
    error: str | None = None


# ------------------------------------------------------------------- finding pictures

def find_pictures(places: Iterable[str]) -> tuple[list[Path], Counter[str]]:
    """The files named, and the images in folders (searched through, as for training), each name once, sorted
    as people sort; and how many other files lay in the folders, by kind."""
    found: dict[Path, None] = {}
    others: Counter[str] = Counter()
    for path in map(Path, places):
        if os.path.isdir(path):   # no error for an impossible name
            folder = Folder(path)
            found |= dict.fromkeys(sorted(folder.all_images(), key=as_people_sort))
            others += folder.all_others()
        else:
            found[path] = None
    return list(found), others


def class_above(path: Path | str, classes: Collection[str]) -> str | None:
    """The class that the nearest folder above a picture is named after: cat for cat/holiday/x.jpg, from
    wherever and through whatever link it is named."""
    above = [one.name for place in (os.path.abspath, os.path.realpath) for one in Path(place(path)).parents]
    if found := next((name for name in above if name in classes), None):
        return found
    spelt = {alike(name): name for name in classes}   # Cat for cat, as in evaluation
    return next((spelt[alike(name)] for name in above if alike(name) in spelt), None)


def as_people_sort(path: Path) -> list[list[tuple[int, int, str]]]:
    """A key with which 2.jpg comes before 10.jpg, and a folder's pictures stay together."""
    return [[(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold())
             for piece in re.split(r"(\d+)", part)] for part in path.parts]


# ------------------------------------------------------------------- to squares

@dataclass
class Opened:
    """A picture on its way to the network."""

    picture: Picture
    square: np.ndarray | None = None   # (side, side, 3) uint8, as in a pack (section 2)
    error: Exception | None = None
    dim: bool = False                  # see `images.dim_text`


def each(pictures: Any) -> Iterable[Picture]:
    """The pictures of several, of a batch (N, ...), or the one that was given."""
    if isinstance(pictures, (np.ndarray, Tensor)):
        return pictures if pictures.ndim == 4 else [pictures]
    one = isinstance(pictures, (str, bytes, Image.Image)) or hasattr(pictures, "read")
    return [pictures] if one or not isinstance(pictures, Iterable) else pictures


def as_rgb(picture: Picture, side: int) -> Image.Image:
    if isinstance(picture, (np.ndarray, Tensor)):
        return from_array(picture)
    if isinstance(picture, Image.Image):
        with one_at_a_time:   # the same one may be there twice, and reads its file only now
            return to_rgb(picture)
    return open_image(picture, side)


def open_picture(picture: Picture, side: int) -> Opened:
    """A picture as a square for the network, or why it cannot be one."""
    try:
        image = as_rgb(picture, side)
        return Opened(picture, square(image, side), dim="dim" in image.info)
    except Exception as error:  # Pillow raises nearly anything for a damaged file
        return Opened(picture, error=without_frames(error))


def open_batches(model: AlexNet | Average, pictures: Picture | Iterable[Picture], batch_size: int,
                 threads: int | None) -> Iterator[tuple[list[Opened], Tensor]]:
    """The pictures in order, `batch_size` at a time, with the squares of those that can be read:
    (N, 3, side, side) uint8 on the model's device. At most some two batches are in memory."""
    side, dim = packed_side(model.image_size), []
    if model.training:
        raise ValueError("the model is in training mode: call model.eval() first")
    nothing = torch.empty(0, 3, side, side, dtype=torch.uint8)
    threads = threads or cores()
    coming = in_order(partial(open_picture, side=side), each(pictures), threads, batch_size + threads)
    while batch := list(islice(coming, batch_size)):
        dim += [name_of(opened.picture) or "one in memory" for opened in batch if opened.dim]
        squares = [opened.square for opened in batch if not opened.error]
        yield batch, (augment.as_batch(squares) if squares else nothing).to(model.mean.device)
    if dim:
        warn(dim_text(dim))


def name_of(picture: Picture) -> str:
    """Its path, or nothing for a picture in memory."""
    return os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else ""


def reason(error: Exception) -> str:
    """Why a picture could not be read, in a line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = (str(error).splitlines() or ["damaged"])[0]
    return text if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: {text}"


# ------------------------------------------------------------------- to answers

class Average(nn.Module):
    """Several networks that answer together, by the mean of their probabilities (section 6, table 2: five
    networks, and seven). UserError if their classes or the sizes of their images differ."""

    def __init__(self, models: list[AlexNet]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        first = models[0]
        self.classes, self.num_classes, self.image_size = first.classes, first.num_classes, first.image_size
        for other in models[1:]:
            if other.classes != first.classes:
                raise UserError("networks answer together only if they have the same classes in the same "
                                f"order: {', '.join(first.classes[:3])} ..., and "
                                f"{', '.join(other.classes[:3])} ...")
            if other.image_size != first.image_size:
                raise UserError("networks answer together only if their images have the same size: "
                                f"{first.image_size} px, and {other.image_size} px")
        self.eval()

    @property
    def mean(self) -> Tensor:
        """The first network's, for its device: each network subtracts its own."""
        return self.models[0].mean

    def forward(self, images: Tensor) -> Tensor:
        """Logits whose softmax is the mean of the networks' probabilities."""
        return torch.stack([model(images).float().softmax(1) for model in self.models]).mean(0).log()


def classify(model: AlexNet | Average, pictures: Picture | Iterable[Picture], top: int = 5, views: int = 1,
             batch_size: int = 128, threads: int | None = None,
             dtype: torch.dtype | None = None) -> Iterator[Prediction]:
    """The `top` most probable classes of each picture, in order. A picture alone, too, gives an iterator.

    views: 1 or 10 crops.    dtype: of the arithmetic, by default what the device does best.
    """
    dtype = dtype or choose_precision("auto", model.mean.device)
    if views not in (1, 10) or batch_size < 1:
        raise ValueError(f"views={views}, batch_size={batch_size}: 1 or 10 crops, and at least one image at "
                         "once")
    if model.num_classes < 2:
        raise ValueError("a network with one output tells no classes apart: its softmax is always 1")
    for batch, squares in open_batches(model, pictures, batch_size, threads):
        with torch.inference_mode():
            found = probabilities(model, squares, views, dtype) if len(squares) else squares
        for picture, row in in_their_order(batch, found):
            path = name_of(picture)
            if isinstance(row, Exception):
                yield Prediction(path, error=reason(row))
                continue
            order = row.argsort(descending=True, stable=True)[:top].tolist()
            yield Prediction(path, tuple(Answer(index, model.classes[index], row[index].item())
                                         for index in order))


def features(model: AlexNet, pictures: Picture | Iterable[Picture], layer: str, batch_size: int = 128,
             threads: int | None = None,
             dtype: torch.dtype | None = None) -> Iterator[tuple[Picture, Tensor | Exception]]:
    """Each picture, in order, with the values of a layer (any name of `model.activations`) or its error."""
    dtype = dtype or choose_precision("auto", model.mean.device)
    for batch, squares in open_batches(model, pictures, batch_size, threads):
        with torch.inference_mode(), precision(squares.device, dtype):
            crops = augment.centre(squares, model.image_size).contiguous(memory_format=torch.channels_last)
            found = model.activations(crops, [layer])[layer].float() if len(crops) else crops
        yield from in_their_order(batch, found)


def shapes(model: AlexNet, layers: list[str], option: str) -> dict[str, tuple[int, ...]]:
    """Of these layers' values for one picture; UserError, naming the option, if there is no such layer."""
    blank = torch.zeros(1, 3, model.image_size, model.image_size, device=model.mean.device)
    try:
        with torch.inference_mode():
            found = model.activations(blank, layers)
        return {name: tuple(values.shape[1:]) for name, values in found.items()}
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def probabilities(model: AlexNet | Average, squares: Tensor, views: int, dtype: torch.dtype) -> Tensor:
    """(N, classes): softmax of the central crop, or averaged over the paper's ten (section 4.1).

    squares: (N, 3, side, side) uint8 on the model's device.
    """
    size = model.image_size
    crops = [augment.centre(squares, size)] if views == 1 else augment.ten_crops(squares, size)
    total = torch.zeros(len(squares), model.num_classes, device=squares.device)
    for crop in crops:
        with precision(squares.device, dtype):
            logits = model(crop.contiguous(memory_format=torch.channels_last))
        total += logits.float().softmax(1) / len(crops)
    return total


def in_their_order(batch: list[Opened], found: Tensor) -> Iterator[tuple[Picture, Tensor | Exception]]:
    """Each picture of a batch with its row of what the network found for those that could be read, or with
    its error. A row that holds NaN or infinity counts as an error."""
    rows = iter(found.cpu())
    for opened in batch:
        row = opened.error or next(rows)
        if isinstance(row, Tensor) and not row.isfinite().all():
            row = ValueError("the network computes NaN or infinity: its weights are damaged or too large")
        yield opened.picture, row


# ------------------------------------------------------------------- names of classes

def readable_names(classes: list[str], language: str) -> dict[str, str]:
    """Names of ImageNet's classes in `en` or `zh`, for each of `classes` that is one: by its WordNet id
    (n01440764), its English name, or its number where there are a thousand numbers."""
    column = {"en": "english", "zh": "chinese"}[language]
    rows = read_csv(CLASS_NAMES)
    names = {row[key]: row[column] for key in ("wordnet_id", "english") for row in rows}
    if len(classes) == len(rows):
        names |= {row["index"]: row[column] for row in rows}
    return {name: names[name] for name in classes if name in names}
