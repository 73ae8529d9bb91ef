"""Weights that do not say themselves what they are: from eight layers to the dict of a checkpoint of ours.

Names do not matter (`module.`, features.N, ...), only shapes and order. What shapes cannot tell is usual for
the kind of file, or `Hints` say it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.augment import centre
from alexnet.checkpoint import FORMAT, VERSION, Checkpoint, Inert, advice, is_whole, shape_text, trusted
from alexnet.cli import warn
from alexnet.files import UserError, brief, lines_of, quoted, read_csv, read_json
from alexnet.model import LAYERS, VARIANTS, AlexNet, describe
from alexnet.predict import CLASS_NAMES, as_people_sort

CAFFE_MEAN = (122.68, 116.67, 104.01)   # RGB; the mean of Caffe's ilsvrc_2012_mean.npy over the pixels
CAFFE_SIZE = 227                        # crop_size in caffe/models/bvlc_alexnet/train_val.prototxt
NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
NAMED = "classes", "class_names", "class_to_idx", "label2id", "id2label", "idx_to_class", "label_names"
HUB = "model.safetensors", "pytorch_model.bin"   # the Hugging Face hub's names, beside a config.json

Found = tuple[Checkpoint, list[str] | None]   # and warnings: None for our own files
Layers = list[tuple[Tensor, Tensor]]               # weight and bias of conv1 ... fc8


@dataclass(frozen=True)
class Hints:
    """What a foreign file does not say itself."""

    variant: str | None = None
    image_size: int | None = None
    bgr: bool | None = None         # whether conv1 takes blue, green, red; None: as is usual for the kind
    mean: Path | None = None        # .npy: 3 values or an image, channels in the order of the file's conv1
    classes: Path | None = None     # text: one class's name per line


# ------------------------------------------------------------------- from a state dict to layers

def find_state(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, however deep it lies in what was saved."""
    where = trusted(path)
    for _ in range(3):
        inside = content if isinstance(content, dict) else {}
        if name := next((name for name in NESTED if isinstance(inside.get(name), (dict, Inert))), None):
            content, where = content[name], f"{where}[{name!r}]"
        elif len(holding := [name for name, value in inside.items() if holds_kernels(value)]) == 1:
            content, where = content[holding[0]], f"{where}[{holding[0]!r}]"
    if isinstance(content, Inert):
        raise UserError(f"{path} holds a whole object of the class {type(content).__name__}, which is not "
                        "run; where that class is known, and if you trust the file, "
                        + advice(f"{where}.state_dict()"))
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no state dict, but a {type(content).__name__}")
    state = {name: value for name, value in content.items()
             if isinstance(name, str) and isinstance(value, Tensor)}
    inert = [type(value).__name__ for value in content.values() if isinstance(value, Inert)]
    if inert and not state:
        raise UserError(f"{path} holds {inert[0]} in the place of tensors; if you trust it, "
                        + advice(f"{{name: torch.as_tensor(value) for name, value in {where}.items()}}"))
    return state


def holds_kernels(value: Any) -> bool:
    """Whether it is a state dict with a convolution."""
    return isinstance(value, dict) and any(isinstance(tensor, Tensor) and tensor.ndim == 4
                                           for tensor in value.values())


def from_state(state: dict[str, Tensor], path: Path, hints: Hints, kind: str, about: Any) -> Found:
    """From five convolutions and three fully-connected layers, which are conv1 ... fc8 in the order of their
    numbers, or as stored if only then they fit. about: what may give the classes' names. UserError if there
    are others."""
    ours = {"mean", *(f"{name}.weight" for name in LAYERS)} <= set(state) and state["mean"].shape[2:] > (1, 1)
    mean = state["mean"] if ours else None
    names = [name for name in state if state[name].ndim in (2, 4) and bias_of(name) in state]
    as_stored = sorted(names, key=lambda name: -state[name].ndim)
    names = sorted(names, key=lambda name: (-state[name].ndim, as_people_sort(Path(name))))   # 3 before 10
    if not in_a_row(names, state) and in_a_row(as_stored, state):
        names = as_stored
    others = sorted(set(state) - set(names) - set(map(bias_of, names)) - {"mean" if ours else ""})
    left_out = [name for name in others if names and lies_beside(name, state, names)]
    if [state[name].ndim for name in names] != [4] * 5 + [2] * 3 or left_out != others:
        also = "".join(f", and {name}" for name in others[:1])
        counts = [sum(tensor.ndim == ndim for tensor in state.values()) for ndim in (4, 2)]
        raise UserError(f"{path} is not a checkpoint of this project and holds no AlexNet: {counts[0]} "
                        f"convolution(s), {counts[1]} fully-connected layer(s){also}; "
                        "an AlexNet has 5 and 3, with their biases")
    layers = [(state[name], state[bias_of(name)]) for name in names]
    content, notes = from_layers(layers, path, hints, kind, about=about, mean=mean)
    if left_out:
        notes.append(f"{path} has more than an AlexNet's weights; left out: {', '.join(left_out)[:160]}")
    return content, notes


def in_a_row(names: list[str], state: dict[str, Tensor]) -> bool:
    """Whether each layer takes what the one before it gives, or half of that, in two columns."""
    shapes = [state[name].shape for name in names]
    return all(one[0] in (other[1], 2 * other[1]) for one, other in zip(shapes, shapes[1:])
               if len(one) == len(other))


def bias_of(name: str) -> str:
    return name.removesuffix("weight") + "bias"


def lies_beside(name: str, state: dict[str, Tensor], layers: list[str]) -> bool:
    """Whether a tensor that is no layer's has no part in the network: a criterion's weight for each class, or
    what is neither among the layers (their containers' names tell) nor called like a normalisation's."""
    if name.endswith(".weight"):
        return state[name].shape == state[layers[-1]].shape[:1]
    containers = {layer.rpartition(".")[0].rpartition(".")[0] for layer in layers}
    among = any(name.startswith(f"{container}.") if container else "." in name for container in containers)
    return not among and not name.endswith((".bias", "running_mean", "running_var"))


# ------------------------------------------------------------------- from layers to a checkpoint

def from_layers(layers: Layers, path: Path, hints: Hints, kind: str, changes: dict[str, Any] = {},
                about: Any = None, mean: Tensor | None = None) -> Found:
    """changes: to the variant, as far as the file says. about: what may name the classes. mean: an image,
    which only our own networks have."""
    if not all(is_whole(tensor) for layer in layers for tensor in layer):
        raise UserError(f"{path} holds weights that are not plain floating-point numbers (quantised?)")
    if mean is not None and hints.variant is None:
        raise UserError(f"{path} has this project's names and does not say which variant it is: "
                        f"{converted(path)} --variant NAME makes a checkpoint that does")
    notes = []
    if len(layers[-1][0]) == 1:   # the sigmoid of z is the softmax of (0, z)
        layers = [*layers[:-1], tuple(torch.cat([torch.zeros_like(tensor), tensor]) for tensor in layers[-1])]
        notes.append(f"{path} has one output: its sigmoid is the probability of the second of two classes")
    variant, changes = whose(layers, path, hints, changes)
    try:
        design = describe(variant, **changes)
    except ValueError as error:
        raise UserError(f"{path} holds no AlexNet: {error}") from None
    classes = class_names(len(layers[-1][0]), path, hints, about)
    usual_size = CAFFE_SIZE if variant == "caffe" else 224
    size = hints.image_size or (usual_size if mean is None else mean.shape[-1])
    check_fc6(variant, changes, size, layers[5][0], path)
    bgr = hints.bgr
    if bgr is None and variant != "torchvision" and mean is None:
        raise UserError(f"{path} does not say in which order its conv1 takes the colours: "
                        f"{converted(path)}, with the options given so far and --bgr (Caffe's order) or "
                        "--rgb, makes a checkpoint that does")
    model = {f"{name}.{what}": tensor.float() for name, layer in zip(LAYERS, layers)
             for what, tensor in zip(("weight", "bias"), layer)}
    if bgr and model["conv1.weight"].shape[1] == 3:
        model["conv1.weight"] = model["conv1.weight"][:, [2, 1, 0]].contiguous()
    if hints.mean:
        model["mean"] = read_mean(hints.mean, size, bool(bgr))[None]
    elif mean is not None:
        model["mean"] = mean.float()
    else:
        values = design.pixel_mean or CAFFE_MEAN
        model["mean"] = torch.tensor(values).view(1, 3, 1, 1).repeat(1, 1, size, size)
        if design.pixel_mean is None:
            notes.append(f"{path} has no mean: the usual {values} is taken for red, green, blue; "
                         "python -m alexnet.weights with --mean FILE.npy takes another")
        elif len(classes) != 1000:
            notes.append(f"{path} does not say how its training normalised images: ImageNet's mean and "
                         "deviation are taken, as is usual; if it had others, the answers are wrong")
    return {"format": FORMAT, "version": VERSION, "variant": variant, "changes": changes, "image_size": size,
            "classes": classes, "facts": {"source": path.name, "kind": kind}, "model": model}, notes


def whose(layers: Layers, path: Path, hints: Hints, changes: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The variant whose layers these are, and the changes to it that their shapes tell."""
    widths = tuple(len(weight) for weight, _ in layers[:5])
    columns = widths[0] // max(1, layers[1][0].shape[1])
    usual = {(VARIANTS[name].widths, VARIANTS[name].columns): name for name in ("caffe", "torchvision")}
    variant = hints.variant or usual.get((widths, columns))
    if variant is None or columns not in (1, 2):
        raise UserError(f"{path} has {'-'.join(map(str, widths))} feature maps, conv2 sees "
                        f"{layers[1][0].shape[1]} of conv1's: neither Caffe's nor torchvision's layers; "
                        f"{converted(path)} --variant NAME makes a checkpoint with its order and constants")
    found = {"widths": widths, "columns": columns, "hidden": len(layers[5][0]), **changes}
    return variant, {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()
                     if value != getattr(VARIANTS[variant], name)}


def converted(path: Path) -> str:
    """How the command begins that makes a checkpoint of a file that does not say all."""
    return f"python -m alexnet.weights {quoted(path)} NEW.pt"


def check_fc6(variant: str, changes: dict[str, Any], size: int, weight: Tensor, path: Path) -> None:
    """UserError if fc6 is made for another image size, with both shapes and a size that fits."""
    with torch.device("meta"):
        model = AlexNet(1, 224, variant, **changes)
    inputs = model.values_after_pool5(size)
    if inputs != weight.shape[1]:
        fits = next((f"; {converted(path)} --image-size {side} makes a checkpoint that fits"
                     for side in (224, 227, *range(36, 512))
                     if model.values_after_pool5(side) == weight.shape[1]), "")
        here = f"{model.design.hidden} x {inputs}" if inputs else "nothing"
        raise UserError(f"{path}: fc6 is {shape_text(weight.shape)}, with {size} px it would be {here}{fits}")


def class_names(count: int, path: Path, hints: Hints, about: Any) -> list[str]:
    """From --classes, the file or the config.json beside it, or ImageNet's WordNet ids for a thousand (their
    sorted order is everybody's order of the outputs), or numbers."""
    if hints.classes:
        option = f"--classes {hints.classes}"
        try:
            names = [line.strip() for line in lines_of(hints.classes.read_bytes(), option)]
        except OSError as error:
            raise UserError(f"{option} cannot be read ({error.strerror})") from None
        if not len(names) == len(set(names)) == count:
            raise UserError(f"{option} has {len(names)} names, {len(set(names))} of them different; {path} "
                            f"has {count} classes")
        return names
    for said in (about, config_beside(path)):
        for name in NAMED if isinstance(said, dict) else ():
            if name in said and (names := names_in_order(said[name], count)):
                return names
            if name in said:
                warn(f"{path}: what {name} gives are not {count} different names: left out")
    if count == 1000:
        return [row["wordnet_id"] for row in read_csv(CLASS_NAMES)]
    return [str(index) for index in range(count)]


def config_beside(path: Path) -> Any:
    """The hub's config.json, if there is one that can be read."""
    try:
        return read_json(path.with_name("config.json")) if path.name in HUB else None
    except (UserError, OSError):
        return None


def names_in_order(given: Any, count: int) -> list[str] | None:
    """`count` different names from a list, {name: number} or {number: name}; None if there are others."""
    if isinstance(given, dict):
        pairs = [(one, other) if isinstance(other, str) else (other, one) for one, other in given.items()]
        numbered = {str(number): name for number, name in pairs}
        given = [numbered.get(str(index)) for index in range(count)] if len(pairs) == count else None
    whole = isinstance(given, (list, tuple)) and all(isinstance(name, str) for name in given)
    return list(given) if whole and len(given) == len(set(given)) == count else None


def read_mean(path: Path, size: int, bgr: bool) -> Tensor:
    """(3, S, S), RGB, from a .npy file: 3 values, or an image (3, H, W) or (H, W, 3), of which the centre is
    taken. Its channels are in the order of the file's conv1."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        shape = array.shape
    except Exception as error:  # numpy, too, raises nearly anything for a damaged file
        raise UserError(f"--mean {path} is no .npy file of numbers ({brief(error)})") from None
    if len(shape) == 4 and shape[0] == 1:
        array, shape = array[0], shape[1:]
    if len(shape) == 3 and shape[0] != 3 and shape[2] == 3:
        array, shape = array.transpose(2, 0, 1), (3, *shape[:2])
    is_image = len(shape) == 3 and shape[0] == 3 and size <= shape[1] == shape[2] <= 4096
    if array.dtype.kind not in "fui" or not (shape == (3,) or is_image):
        raise UserError(f"--mean {path} is {shape_text(array.shape)}; it must be 3 values, or an image of "
                        f"3 x {size} x {size} or larger")
    mean = torch.from_numpy(np.array(array, np.float32))
    mean = centre(mean, size) if is_image else mean.view(3, 1, 1).repeat(1, size, size)
    return mean.flip(0).contiguous() if bgr else mean.contiguous()
