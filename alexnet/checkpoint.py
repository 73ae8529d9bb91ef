"""Our own checkpoints: what is needed to predict, and, in a run's last.pt, to go on.

A checkpoint is a dict of plain values and tensors: variant, changes, image size, class names, the
state dict (the mean image is in it), and facts about the training. `torch.load(...,
weights_only=True)` opens it, so nothing in a file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet.files import UserError, brief, whole_file
from alexnet.model import AlexNet

# format, version, variant, changes, image_size, classes, facts, model (the state dict); a last.pt's has more
Checkpoint = dict[str, Any]

FORMAT = "alexnet"
VERSION = 1
FLOAT32_MAX = torch.finfo(torch.float32).max
FACTS = {"data": str, "labels": str, "images": dict, "sample": list, "val_fraction": float, "split": float}
OTHERS = {   # what an archive is that has such a name inside, and Python for its state dict
    "/code/": ("TorchScript, a program", "torch.jit.load({!r}).state_dict()"),
    "/archive_format": ("a program of torch.export", "torch.export.load({!r}).state_dict"),
    "serialized_exported_program": ("a program of torch.export", "torch.export.load({!r}).state_dict"),
    ".npy": ("numpy's archive",
             "{{name: torch.from_numpy(array) for name, array in numpy.load({!r}).items()}}")}


def about(model: AlexNet, facts: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint says beside its tensors, in JSON's plain values; TypeError for others."""
    return json.loads(json.dumps({
        "format": FORMAT, "version": VERSION, "variant": model.variant, "changes": model.changes,
        "image_size": model.image_size, "classes": list(model.classes), "facts": facts}))


def digest(model: AlexNet) -> str:
    """Twelve hexadecimal digits that follow from all that decides the network's answers, wherever it lies."""
    found = hashlib.sha256(json.dumps({**about(model, {}), "version": 0}, sort_keys=True).encode())
    for tensor in model.state_dict().values():
        found.update(tensor.cpu().contiguous().numpy())
    return found.hexdigest()[:12]


def save(path: Path | str, model: AlexNet, facts: dict[str, Any], keep: Path | None = None,
         **more: Any) -> None:
    """Writes a checkpoint, whole or not at all. `more` goes beside what every checkpoint has; the file
    that was there before goes to `keep`. UserError where the tensors' shapes are not those of the network
    that is described (another fc8, say), or its classes no names; TypeError for facts that are no plain
    values."""
    content = {**about(model, facts), "model": model.state_dict(), **more}
    check_shapes(content, path, {name: tuple(tensor.shape) for name, tensor in content["model"].items()})
    with whole_file(path, keep) as temporary:
        save_torch(content, temporary)


def save_torch(content: Any, path: Path) -> None:
    """torch.save, whose word for a disk that is full is not OSError."""
    try:
        torch.save(content, path)
    except RuntimeError as error:
        free = shutil.disk_usage(path.parent).free / 2 ** 20
        raise OSError(None, f"{str(error).splitlines()[0][:100]}; {free:,.0f} MiB are free there") from None


class Inert:
    """Stands for an object of another's class, which is neither imported nor run."""

    def __init__(self, *_: Any) -> None:
        pass

    __setstate__ = __init__


STAND_INS = {"collections.defaultdict": lambda *_: {}, "collections.deque": lambda *_: []}
OLD_FORM = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."   # how a file begins that torch wrote before archives


def load_tensors(path: Path) -> Any:
    """torch.load with weights_only; what else the file mentions (a training script's options, numpy's
    numbers, a network's class) becomes an `Inert` of a class of that name."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                old = file.read(len(OLD_FORM)) == OLD_FORM
            given = f"pickle.load(open({str(path)!r}, 'rb'))"
            raise UserError(f"{path} is damaged, or holds more than tensors in torch's old form; "
                            f"if you trust it, {advice(trusted(path) if old else given)}") from None
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals(
                [(STAND_INS.get(name) or type(name, (Inert,), {}), name) for name in names]):
            return torch.load(path, map_location="cpu", weights_only=True)


def trusted(path: Path) -> str:
    """Python for all that torch.save wrote to a file."""
    return f"torch.load({str(path)!r}, weights_only=False)"


def advice(state: str) -> str:
    """How a person who trusts a file makes one that is read; state: Python for its state dict."""
    return f"this line of Python makes a file that is read here: torch.save({state}, 'new.pth')"


def check_archive(path: Path) -> None:
    """UserError for an archive that torch.save did not write: it packs nothing, so what would unpack to more
    than the file's own size is not opened. BadZipFile for a wrong checksum: torch.load compares none."""
    with zipfile.ZipFile(path) as archive:
        names, entries = archive.namelist(), archive.infolist()
        for part, (what, state) in OTHERS.items():
            if any(part in name for name in names):
                raise UserError(f"{path} is {what}; {advice(state.format(str(path)))}")
        if not any(name.endswith(".pkl") for name in names):
            inside = ", ".join(names[:3])
            raise UserError(f"{path} is an archive ({inside}): unpack it, and give the network's")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise UserError(f"{path} would unpack to more than its own size, so it was not opened")
        for entry in entries:
            if entry.CRC:   # 0: written without one
                with archive.open(entry) as file:
                    while file.read(2 ** 20):   # to the end, where the checksum is compared
                        pass


def open_torch(path: Path) -> Any:
    """What torch.save wrote to a file, as `load_tensors` gives it; UserError if something else did."""
    try:
        if zipfile.is_zipfile(path):
            check_archive(path)
        return load_tensors(path)
    except pickle.UnpicklingError:
        raise UserError(f"{path} is damaged, or holds more than tensors and plain values: it was not opened; "
                        f"if you trust it and its state dict lies on top, {advice(trusted(path))}") from None
    except UserError:
        raise
    except Exception as error:  # a damaged file makes torch raise nearly anything
        raise UserError(f"{path} is damaged or no checkpoint ({brief(error)})") from None


def read(path: Path | str) -> Checkpoint:
    """The dict in a checkpoint; UserError with one line if it is none of ours or damaged."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    content = open_torch(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this project")
    return check(content, path)


def check(content: Checkpoint, path: Path) -> Checkpoint:
    """The same dict; UserError if its tensors are not those of the network that it describes. No memory is
    taken before that is known."""
    if not isinstance(content.get("version"), int) or content["version"] > VERSION:
        raise UserError(f"{path} was written by a newer version of this project")
    state = content.get("model")
    if not isinstance(state, dict):
        raise UserError(f"{path} does not describe a network of this project (it has no state dict)")
    check_shapes(content, path, {name: tuple(tensor.shape) if is_whole(tensor) else None
                                 for name, tensor in state.items()})
    for name, tensor in state.items():
        low, high = torch.aminmax(tensor.detach())
        if not -FLOAT32_MAX <= low <= high <= FLOAT32_MAX:   # NaN, too, fails here
            raise UserError(f"{path} cannot be used: {name} holds NaN or infinity (damaged, or its training "
                            "diverged: take an earlier checkpoint, or train with a lower --lr)")
    return content


def check_shapes(content: Checkpoint, path: Path | str, given: dict[str, tuple[int, ...] | None]) -> None:
    """UserError if tensors of the shapes `given` are not those of the network that a dict describes."""
    try:
        classes, facts = content["classes"], content["facts"]
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise TypeError("classes must be a list of names")
        if len(classes) < 2:
            raise ValueError("one class: its probability is always 1")
        json.dumps(facts)   # plain values
        for name, kind in FACTS.items():
            if not isinstance(facts.get(name), kind | None):
                raise TypeError(f"{name} among its facts is {facts[name]!r}")
        expected = {name: tuple(tensor.shape) for name, tensor in described(content).state_dict().items()}
    except Exception as error:  # whatever stands in the place of a size or a name
        raise UserError(f"{path} does not describe a network of this project ({brief(error)})") from None
    if strange := [name for name in given if name not in expected]:
        raise UserError(f"{path} does not fit the network that it describes, which has no {strange[0]}")
    for name, shape in expected.items():
        if shape != given.get(name):
            raise UserError(f"{path} does not fit the network that it describes: {name} is "
                            f"{shape_text(given.get(name))}, not {shape_text(shape)}")


def described(content: Checkpoint) -> AlexNet:
    """The network that a checkpoint's dict describes, on `meta`: shapes without memory."""
    with torch.device("meta"):
        return AlexNet(len(content["classes"]), content["image_size"], content["variant"],
                       **content["changes"])


def is_whole(tensor: Any) -> bool:
    """Whether it is a plain tensor of real numbers, of which each has its place in memory."""
    return (isinstance(tensor, Tensor) and tensor.layout is torch.strided and tensor.device.type == "cpu"
            and tensor.is_floating_point()
            and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes())


def shape_text(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape))


def build(content: Checkpoint) -> AlexNet:
    """The network that a checkpoint's dict describes, with its weights, in eval mode."""
    model = described(content)   # to draw 61 million initial weights would take longer than to read these
    weights = {name: tensor.detach().to(torch.float32, memory_format=torch.contiguous_format, copy=True)
               for name, tensor in content["model"].items()}
    model.load_state_dict(weights, assign=True)
    model.classes = list(content["classes"])
    return model.eval()
