"""Other people's files in, ours out: torchvision's, Caffe's as ONNX, plain PyTorch, safetensors.

    python -m alexnet.weights alexnet-owt-7be5be79.pth              what is in it
    python -m alexnet.weights bvlcalexnet-12.onnx bvlc.pt           into a checkpoint of ours
    python -m alexnet.weights results/runs/NAME/best.pt mine.onnx   ours for others: .onnx, .safetensors, .pth
    python -m alexnet.weights pretrained imagenet.pt                torchvision's file, fetched if need be

What a file is follows from its content, not from its name. Whatever comes in becomes the dict of our
own checkpoints (`checkpoint.check` compares every shape), so the rest of the project knows one kind.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from alexnet import checkpoint
from alexnet.augment import centre
from alexnet.checkpoint import FORMAT, VERSION, Inert, advice, is_whole, shape_text
from alexnet.cli import PRETRAINED, CommandLine, shell
from alexnet.files import UserError, brief, printable, read_csv, read_json, whole_file
from alexnet.geometry import Step, sizes
from alexnet.layers import SameMapNorm
from alexnet.model import LAYERS, VARIANTS, AlexNet, LocalResponseNorm, describe
from alexnet.predict import CLASS_NAMES
from alexnet.text import lines_of

LARGEST = 4 * 2 ** 30               # bytes of a file; an AlexNet with momentum has half a gigabyte
CAFFE_MEAN = (122.68, 116.67, 104.01)   # RGB; the mean of Caffe's ilsvrc_2012_mean.npy over the pixels
CAFFE_SIZE = 227                    # crop_size in caffe/models/bvlc_alexnet/train_val.prototxt
TOLERANCE = 1e-4                    # between ONNX and us, of the largest logit
NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
NAMED = "classes", "class_names", "class_to_idx", "label2id", "id2label", "idx_to_class", "label_names"
HUB = "model.safetensors", "pytorch_model.bin"   # beside a config.json
NUMBERS = (0, 3, 6, 8, 10), (1, 4, 6)   # torchvision's features.N and classifier.N


@dataclass(frozen=True)
class Hints:
    """What a foreign file does not say itself."""

    variant: str | None = None
    image_size: int | None = None
    bgr: bool | None = None         # whether conv1 takes blue, green, red; None: as is usual for the kind
    mean: Path | None = None        # .npy: 3 values or an image, channels in the order of the file's conv1
    classes: Path | None = None     # text: a class's name a line


def say(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def package(name: str) -> Any:
    """A package that only some files need; UserError if it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"this kind of file needs one more package: pip install {name.split('.')[0]}") from None


# ------------------------------------------------------------------- any file

def load(path: Path | str) -> AlexNet:
    """An AlexNet in eval mode, with `.classes`, from any file that `read` knows."""
    return checkpoint.build(read(path))


def read(path: Path | str, hints: Hints = Hints()) -> dict[str, Any]:
    """The dict of a checkpoint of ours (alexnet/checkpoint.py) from a file of any kind.

    path: a file, a run's folder, or `pretrained`. UserError with one line for what is no AlexNet.
    """
    path = Path(path)
    if str(path) == PRETRAINED and not path.exists():
        path = pretrained()
    if path.is_dir():   # a run's, or one of the Hugging Face hub's
        path = next((path / name for name in HUB if (path / name).is_file()), path / "best.pt")
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path} has {path.stat().st_size / 2**30:.1f} GiB; an AlexNet has a quarter of one")
    content = OPENERS[kind_of(path)](path, hints)
    notes = content.pop("notes", None)      # only `from_layers` gives them
    if not isinstance(notes, list) and hints != Hints():
        raise UserError(f"{path} was written by this project and says itself what it holds; only other people's "
                        "files take options")
    for note in notes if isinstance(notes, list) else ():
        say(note)
    return checkpoint.check(content, path)


def kind_of(path: Path) -> str:
    """`torch`, `safetensors` or `onnx`, from the first bytes; UserError for anything else."""
    with open(path, "rb") as file:
        head = file.read(60)
    if not head:
        raise UserError(f"{path} is empty")
    if head.startswith(b"PK\x03\x04") or head[0] == 0x80:   # torch.save's archive, or its old form, a pickle
        return "torch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size - 8:
        return "safetensors"
    if head[0] == 0x08:     # protobuf's first field, a number: ir_version
        return "onnx"
    if head.isascii() and b"\0" not in head:   # a page of the web, what Git LFS leaves in the place of a file
        raise UserError(f"{path} is a text, not a network (was it downloaded?): {printable(head.decode())}")
    raise UserError(f"{path} is no checkpoint: neither torch.save's, nor safetensors, nor ONNX (Caffe's .caffemodel "
                    "is not read: the ONNX model zoo's bvlcalexnet-12.onnx has the same weights)")


def open_torch(path: Path, hints: Hints) -> dict[str, Any]:
    content = checkpoint.open_torch(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return content
    return from_state(find_state(content, path), path, hints, "a PyTorch state dict", content)


def open_safetensors(path: Path, hints: Hints) -> dict[str, Any]:
    safetensors = package("safetensors")
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (safetensors.SafetensorError, RuntimeError, ValueError) as error:
        raise UserError(f"{path} is damaged or no checkpoint ({brief(error)})") from None
    if FORMAT in metadata:
        return {**parse(metadata[FORMAT], path), "model": state}
    return from_state(state, path, hints, "safetensors", metadata)


def parse(text: str, path: Path) -> dict[str, Any]:
    """What one of our exports says about itself (`checkpoint.about`)."""
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        raise UserError(f"{path} is damaged: what it says about itself cannot be read") from None


# ------------------------------------------------------------------- weights without a description

def find_state(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, however deep it lies in what was saved."""
    where = f"torch.load({str(path)!r}, weights_only=False)"
    for _ in range(3):
        inside = content if isinstance(content, dict) else {}
        if name := next((name for name in NESTED if isinstance(inside.get(name), (dict, Inert))), None):
            content, where = content[name], f"{where}[{name!r}]"
    if isinstance(content, Inert):
        raise UserError(f"{path} holds a whole object of the class {type(content).__name__}, which is not run; where "
                        f"that class is known, and if you trust the file, {advice(where + '.state_dict()')}")
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no state dict, but a {type(content).__name__}")
    state = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    inert = [type(value).__name__ for value in content.values() if isinstance(value, Inert)]
    if inert and not state:
        raise UserError(f"{path} holds {inert[0]} in the place of tensors; if you trust it, "
                        + advice(f"{{name: torch.as_tensor(value) for name, value in {where}.items()}}"))
    return state


def numbers_as_numbers(name: str) -> list[tuple[bool, int, str]]:
    """A key by which features.3 comes before features.10."""
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def from_state(state: dict[str, Tensor], path: Path, hints: Hints, kind: str, about: Any) -> dict[str, Any]:
    """Names do not matter (`module.`, features.N, ...): five convolutions and three fully-connected
    layers, in the order of their numbers, are conv1 ... fc8. about: what may give the classes' names."""
    ours = {"mean", *(f"{name}.weight" for name in LAYERS)} <= set(state) and state["mean"].shape[2:] > (1, 1)
    mean = state["mean"] if ours else None
    names = sorted((name for name in state if state[name].ndim in (2, 4) and bias_of(name) in state),
                   key=lambda name: (-state[name].ndim, numbers_as_numbers(name)))
    others = sorted(set(state) - set(names) - set(map(bias_of, names)) - {"mean" if ours else ""})
    shapes = [state[name].ndim for name in names]
    left = [name for name in others if names and lies_beside(name, state, names)]
    if shapes != [4] * 5 + [2] * 3 or left != others:
        also = "".join(f", and {name}" for name in others[:1])
        counts = [sum(tensor.ndim == ndim for tensor in state.values()) for ndim in (4, 2)]
        raise UserError(f"{path} is not a checkpoint of this project and holds no AlexNet: {counts[0]} "
                        f"convolution(s), {counts[1]} fully-connected layer(s){also}; an AlexNet has 5 and 3, "
                        "with their biases")
    layers = [(state[name], state[bias_of(name)]) for name in names]
    content = from_layers(layers, path, hints, kind, about=about, mean=mean)
    if left:
        content["notes"].append(f"{path} has more than an AlexNet's weights; left out: {', '.join(left)[:160]}")
    return content


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


def from_layers(layers: list[tuple[Tensor, Tensor]], path: Path, hints: Hints, kind: str,
                changes: dict[str, Any] = {}, about: Any = None, mean: Tensor | None = None) -> dict[str, Any]:
    """The content of a checkpoint from the eight layers' weights and biases, the hints, what may name the
    classes (`about`), and a mean image, which only our own networks have."""
    if not all(is_whole(tensor) for layer in layers for tensor in layer):
        raise UserError(f"{path} holds weights that are not plain floating-point numbers (quantised?)")
    if mean is not None and hints.variant is None:
        raise UserError(f"{path} has this project's names and does not say which variant it is: --variant says it")
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
    size = hints.image_size or (mean.shape[-1] if mean is not None else CAFFE_SIZE if variant == "caffe" else 224)
    check_fc6(variant, changes, size, layers[5][0], path)
    bgr = hints.bgr
    if bgr is None:
        if variant != "torchvision" and mean is None:
            raise UserError(f"{path} does not say in which order its conv1 takes the colours: "
                            f"python -m alexnet.weights {shlex.quote(str(path))} NEW.pt --bgr (Caffe's order) or --rgb makes a "
                            "checkpoint that does")
        bgr = False
    model = {f"{name}.{what}": tensor.float() for name, layer in zip(LAYERS, layers)
             for what, tensor in zip(("weight", "bias"), layer)}
    if bgr and model["conv1.weight"].shape[1] == 3:
        model["conv1.weight"] = model["conv1.weight"][:, [2, 1, 0]].contiguous()
    if hints.mean:
        model["mean"] = read_mean(hints.mean, size, bgr)[None]
    elif mean is not None:
        model["mean"] = mean.float()
    else:
        values = design.pixel_mean or CAFFE_MEAN
        model["mean"] = torch.tensor(values).view(1, 3, 1, 1).repeat(1, 1, size, size)
        if design.pixel_mean is None:
            notes.append(f"{path} has no mean: the usual {values} is taken for red, green, blue; "
                         "python -m alexnet.weights with --mean FILE.npy takes another")
    return {"format": FORMAT, "version": VERSION, "variant": variant, "changes": changes, "image_size": size,
            "classes": classes, "facts": {"source": path.name, "kind": kind}, "model": model, "notes": notes}


def whose(layers: list[tuple[Tensor, Tensor]], path: Path, hints: Hints,
          changes: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The variant whose layers these are, and the changes to it that their shapes tell."""
    widths = tuple(len(weight) for weight, _ in layers[:5])
    columns = widths[0] // max(1, layers[1][0].shape[1])
    usual = {(VARIANTS[name].widths, VARIANTS[name].columns): name for name in ("caffe", "torchvision")}
    variant = hints.variant or usual.get((widths, columns))
    if variant is None or columns not in (1, 2):
        raise UserError(f"{path} has {'-'.join(map(str, widths))} maps, conv2 sees {layers[1][0].shape[1]} of conv1's: "
                        "neither Caffe's nor torchvision's layers; --variant says which order and constants they take")
    found = {"widths": widths, "columns": columns, "hidden": len(layers[5][0]), **changes}
    return variant, {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()
                     if value != getattr(VARIANTS[variant], name)}


def check_fc6(variant: str, changes: dict[str, Any], size: int, weight: Tensor, path: Path) -> None:
    """UserError if fc6 is made for another image size, with both shapes and a size that fits."""
    with torch.device("meta"):
        model = AlexNet(1, 224, variant, **changes)
    inputs = model.values_after_pool5(size)
    if inputs == weight.shape[1]:
        return
    fits = next((side for side in (224, 227, *range(36, 512)) if model.values_after_pool5(side) == weight.shape[1]), None)
    here = f"{model.design.hidden} x {inputs}" if inputs else "nothing"
    advice = f"; --image-size {fits} fits" if fits else ""
    raise UserError(f"{path}: fc6 is {shape_text(tuple(weight.shape))}, with {size} px it would be {here}{advice}")


def class_names(count: int, path: Path, hints: Hints, about: Any = None) -> list[str]:
    """From --classes, the file or the config.json beside it, or ImageNet's WordNet ids for a thousand (their
    sorted order is everybody's order of the outputs), or numbers."""
    if hints.classes:
        try:
            names = [line.strip() for line in lines_of(hints.classes.read_bytes(), f"--classes {hints.classes}")]
        except OSError as error:
            raise UserError(f"--classes {hints.classes} cannot be read ({error})") from None
        if len(names) != count or len(set(names)) != count:
            raise UserError(f"--classes {hints.classes} has {len(set(names))} different names, {path} has {count} "
                            "classes")
        return names
    for said in (about, config_beside(path)):
        for name in NAMED if isinstance(said, dict) else ():
            if name in said and (names := names_in_order(said[name], count)):
                return names
            if name in said:
                say(f"{path}: what {name} gives are not {count} different names, so they are left out")
    if count == 1000:
        return [row["wordnet_id"] for row in read_csv(CLASS_NAMES)]
    return [str(index) for index in range(count)]


def config_beside(path: Path) -> Any:
    try:
        return read_json(path.with_name("config.json")) if path.name in HUB else None
    except (UserError, OSError):   # it is not needed
        return None


def names_in_order(given: Any, count: int) -> list[str] | None:
    """`count` different names from a list, {name: number} or {number: name}; None if it does not give them."""
    if isinstance(given, dict):
        pairs = [(one, other) if isinstance(other, str) else (other, one) for one, other in given.items()]
        numbered = {str(number): name for number, name in pairs}
        given = [numbered.get(str(index)) for index in range(count)] if len(pairs) == count else None
    whole = isinstance(given, (list, tuple)) and all(isinstance(name, str) for name in given)
    return list(given) if whole and len(given) == len(set(given)) == count else None


def read_mean(path: Path, size: int, bgr: bool) -> Tensor:
    """(3, S, S), RGB, from a .npy file: 3 values, or an image (3, H, W) or (H, W, 3), of which the
    centre is taken. Its channels are in the order of the file's conv1."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        shape = array.shape
    except Exception as error:  # numpy, too, raises nearly anything for a damaged file
        raise UserError(f"--mean {path} is no .npy file of numbers ({brief(error)})") from None
    if len(shape) == 4 and shape[0] == 1:
        array, shape = array[0], shape[1:]
    if len(shape) == 3 and shape[0] != 3 and shape[2] == 3:
        array, shape = array.transpose(2, 0, 1), (3, *shape[:2])
    if array.dtype.kind not in "fui" or not (shape == (3,) or len(shape) == 3 and shape[0] == 3
                                             and size <= shape[1] == shape[2] <= 4096):
        raise UserError(f"--mean {path} is {shape_text(array.shape)}; it must be 3 values, or an image of 3 x {size} x "
                        f"{size} or larger")
    mean = torch.from_numpy(np.array(array, np.float32))
    mean = centre(mean, size) if mean.ndim == 3 else mean.view(3, 1, 1).repeat(1, size, size)
    return mean.flip(0).contiguous() if bgr else mean.contiguous()


def pretrained() -> Path:
    """torchvision's published file in torch's own cache; fetched there if it is missing."""
    from torchvision.models import AlexNet_Weights
    url = AlexNet_Weights.DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.exists():
        try:
            torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
        except Exception as error:  # no network, no room, another hash
            path.unlink(missing_ok=True)
            raise UserError(f"{path.name} cannot be fetched ({str(error).splitlines()[0][:80]}): get {url} another way "
                            f"and put it at {path}, or give its path instead of {PRETRAINED}") from None
    with open(path, "rb") as file:  # one that a person put there, too
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(path.stem.split("-")[-1]):
        raise UserError(f"{path} is not torchvision's file: its SHA-256 begins with {digest[:8]}; remove it")
    return path


# ------------------------------------------------------------------- ONNX

def onnx_step(layer: Step, model: AlexNet) -> tuple[str, dict[str, Any]]:
    """A step of the network as ONNX's operator and its attributes.

    Windows that hang over the edge get their padding in numbers, right and below: what ONNX's own
    ceil_mode does differs between versions.
    """
    module, kind = getattr(model, layer.name), layer.name.rstrip("12345678")
    if kind in ("conv", "pool"):
        found = {"kernel_shape": [layer.kernel] * 2, "strides": [layer.stride] * 2,
                 "pads": [layer.padding] * 2 + [layer.padding + layer.far] * 2}
        return ("Conv", {**found, "group": layer.groups}) if kind == "conv" else ("MaxPool", found)
    if kind == "norm":      # ONNX, too, divides alpha by n
        return "LRN", {"size": module.n, "alpha": module.alpha * (1 if module.over_n else module.n),
                       "beta": module.beta, "bias": module.k}
    if kind == "fc":
        return "Gemm", {"transB": 1}
    return {"flatten": "Flatten", "relu": type(module).__name__.replace("ReLU", "Relu"), "mapnorm": "SameMapNorm",
            "drop": "Dropout"}[kind], {}


def as_onnx(model: AlexNet, facts: dict[str, Any]) -> Any:
    """The network in ONNX: `images` (N, 3, S, S), float, RGB, 0..255, to `logits` (N, classes). The
    steps keep their names."""
    onnx = package("onnx")
    nodes, constants = [], {name: value.numpy() for name, value in model.state_dict().items()}

    def add(operator: str, name: str, *inputs: str, outputs: int = 0, **attributes: Any) -> str:
        names = [f"{name}.{index}" for index in range(outputs)] or [name]
        nodes.append(onnx.helper.make_node(operator, list(inputs), names, name=name, **attributes))
        return name

    def constant(name: str, value: Any) -> str:
        constants[name] = np.asarray(value, np.float32)
        return name

    def lrn(name: str, x: str, module: LocalResponseNorm, attributes: dict[str, Any]) -> str:
        if module.columns == 1:
            return add("LRN", name, x, **attributes)
        add("Split", f"{name}.in", x, outputs=module.columns, axis=1)
        parts = [add("LRN", f"{name}.column{c}", f"{name}.in.{c}", **attributes) for c in range(module.columns)]
        return add("Concat", name, *parts, axis=1)

    def same_map_norm(name: str, x: str, module: SameMapNorm) -> str:
        n, half = module.n, module.n // 2   # AveragePool divides by n x n at the border, too
        square = add("Mul", f"{name}.square", x, x)
        mean = add("AveragePool", f"{name}.mean", square, kernel_shape=[n, n], strides=[1, 1], pads=[half] * 4,
                   count_include_pad=1)
        scaled = add("Mul", f"{name}.scaled", mean, constant(f"{name}.alpha", module.alpha))
        sum_ = add("Add", f"{name}.sum", scaled, constant(f"{name}.k", 1.0))
        power = add("Pow", f"{name}.power", sum_, constant(f"{name}.beta", module.beta))
        return add("Div", name, x, power)

    x = add("Sub", "centred", "images", "mean")
    if model.design.pixel_std:
        x = add("Div", "scaled", x, constant("std", model.std[0]))
    for layer in sizes(model).values():
        module, (operator, attributes) = getattr(model, layer.name), onnx_step(layer, model)
        name = "logits" if layer.name == "fc8" else layer.name
        if operator == "LRN":
            x = lrn(name, x, module, attributes)
        elif operator == "SameMapNorm":
            x = same_map_norm(name, x, module)
        elif operator == "Dropout":
            x = x if module.inverted else add("Mul", name, x, constant("keep", module.keep))
        else:
            inputs = [f"{layer.name}.weight", f"{layer.name}.bias"] if layer.weights else []
            x = add(operator, name, x, *inputs, **attributes)

    float32, value = onnx.TensorProto.FLOAT, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "AlexNet", [value("images", float32, ["N", 3, model.image_size, model.image_size])],
        [value("logits", float32, ["N", model.num_classes])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()])
    result = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8,
                                    producer_name=FORMAT)
    onnx.helper.set_model_props(result, {FORMAT: json.dumps(checkpoint.about(model, facts))})
    onnx.checker.check_model(result)
    return result


def save_onnx(path: Path, model: AlexNet, facts: dict[str, Any]) -> None:
    """Written, run with onnxruntime, compared with us, and only then given its name."""
    session_of = package("onnxruntime").InferenceSession
    data = as_onnx(model, facts).SerializeToString()
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
        session = session_of(str(temporary), providers=["CPUExecutionProvider"])
        for count in (1, 3):
            images = torch.rand(count, 3, model.image_size, model.image_size,
                                generator=torch.Generator().manual_seed(count)) * 255
            with torch.inference_mode():
                ours = model(images)
            theirs = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
            difference = (ours - theirs).abs().max() / ours.abs().max().clamp_min(1e-30)
            if not difference <= TOLERANCE:     # not a number is no agreement
                raise UserError(f"onnxruntime computes other logits than we do ({difference:.1e} of the largest): "
                                f"{path} was not written")


def open_onnx(path: Path, hints: Hints) -> dict[str, Any]:
    """One of our exports, or Caffe's AlexNet as the model zoo has it."""
    onnx = package("onnx")
    try:
        with open(path, "rb") as file:
            found = onnx.load_model_from_string(file.read())   # looks into no other file
    except Exception as error:  # protobuf's own classes of errors
        raise UserError(f"{path} is damaged or no checkpoint ({brief(error)})") from None
    arrays = {tensor.name: tensor for tensor in found.graph.initializer}

    def tensor(name: str) -> Tensor:
        if name not in arrays or arrays[name].data_location == onnx.TensorProto.EXTERNAL:
            raise UserError(f"{path} has no weights {name} inside: it must be one file")
        try:
            return torch.from_numpy(onnx.numpy_helper.to_array(arrays[name]).copy())
        except Exception as error:  # a shape that its bytes do not fill, a type that torch lacks
            raise UserError(f"{path} is damaged: {name} ({brief(error)})") from None

    for entry in found.metadata_props:
        if entry.key == FORMAT:
            model = {name: tensor(name) for name in arrays if name == "mean" or name.split(".")[0] in LAYERS}
            return {**parse(entry.value, path), "model": model}
    try:
        return from_zoo(found.graph, tensor, path, hints)
    except (TypeError, ValueError, LookupError) as error:   # attributes of other types, parts that are missing
        raise UserError(f"{path} is not Caffe's AlexNet ({brief(error)})") from None


def from_zoo(graph: Any, tensor: Callable[[str], Tensor], path: Path, hints: Hints) -> dict[str, Any]:
    """Caffe's AlexNet, or one with its steps in another order (CaffeNet), from a graph whose every
    attribute is compared with ours."""
    kinds = {"Conv": "conv", "Relu": "relu", "LRN": "norm", "MaxPool": "pool", "Reshape": "flatten",
             "Flatten": "flatten", "Gemm": "fc"}
    nodes = [node for node in graph.node if node.op_type not in ("Dropout", "Softmax", "Constant", "Identity")]
    if strange := sorted({node.op_type for node in nodes} - set(kinds)):
        raise UserError(f"{path} has operators that an AlexNet lacks: {', '.join(strange[:4])} (of the model zoo's "
                        "files, bvlcalexnet-12.onnx is the one with plain weights)")
    steps, number = [], 0
    for node in nodes:
        kind = kinds[node.op_type]
        number += kind in ("conv", "fc")
        steps.append(kind if kind == "flatten" else f"{kind}{number}")
    usual = [step for step in VARIANTS["caffe"].steps() if not step.startswith("drop")]
    if sorted(steps) != sorted(usual):
        raise UserError(f"{path} is not Caffe's AlexNet: its steps are {' '.join(steps)[:160]}")
    weighted = [node for node in nodes if node.op_type in ("Conv", "Gemm")]
    layers = []
    for node in weighted:
        if len(node.input) != 3:
            raise UserError(f"{path}: {node.op_type} without a bias is not Caffe's")
        weight = tensor(node.input[1])
        turn = node.op_type == "Gemm" and not attributes_of(node).get("transB") and weight.ndim == 2
        layers.append((weight.T.contiguous() if turn else weight, tensor(node.input[2])))
    if [weight.ndim for weight, _ in layers] != [4] * 5 + [2] * 3:
        raise UserError(f"{path} is not Caffe's AlexNet: its weights have other shapes")
    norm = {"alpha": 1e-4, "bias": 1.0, **attributes_of(nodes[steps.index("norm1")])}
    changes: dict[str, Any] = {"lrn_k": round(norm["bias"], 9), "lrn_alpha": round(norm["alpha"], 9)}
    if steps != usual:
        changes["order"] = " ".join(steps).replace("relu6", "relu6 drop6").replace("relu7", "relu7 drop7")
    side = graph.input[0].type.tensor_type.shape.dim
    given = side[2].dim_value if len(side) == 4 else 0
    hints = Hints("caffe", hints.image_size or given or None, hints.bgr is not False, hints.mean, hints.classes)
    content = from_layers(layers, path, hints, "Caffe's weights as ONNX", changes)
    compare_attributes(nodes, content, given or content["image_size"], path)
    return content


def attributes_of(node: Any) -> dict[str, Any]:
    helper = package("onnx").helper
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def compare_attributes(nodes: Iterable[Any], content: dict[str, Any], size: int, path: Path) -> None:
    """UserError where a node of another's graph, made for `size` px, computes something else than our
    step does."""
    with torch.device("meta"):
        model = AlexNet(len(content["classes"]), size, content["variant"], **content["changes"])
    usual = {"pads": [0] * 4, "strides": [1, 1], "group": 1, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    steps = [layer for layer in sizes(model).values() if not layer.name.startswith("drop")]
    for node, layer in zip(nodes, steps, strict=True):
        operator, expected = onnx_step(layer, model)
        given = {**usual, **attributes_of(node)}
        if given.get("ceil_mode") and operator == "MaxPool":    # the same windows, said in another way
            given["pads"] = expected["pads"]
        for name, value in expected.items():
            if name != "transB" and not np.allclose(given.get(name, np.nan), value, rtol=1e-5):
                raise UserError(f"{path} is not Caffe's AlexNet at {model.image_size} px: {name} of {layer.name} is "
                                f"{given.get(name)}, not {value}")


OPENERS = {"torch": open_torch, "safetensors": open_safetensors, "onnx": open_onnx}


# ------------------------------------------------------------------- out

def save_torchvision(path: Path, model: AlexNet, facts: dict[str, Any]) -> None:
    """torchvision.models.alexnet's state dict: for one column at a size where pool5 leaves 6 x 6."""
    if model.design != VARIANTS["torchvision"]:
        raise UserError(f"{path}: only the variant torchvision has torchvision's layout, this is {model.variant} "
                        f"{model.changes or ''}: .pt, .safetensors and .onnx take it".replace(" :", ":"))
    fc6 = tuple(model.fc6.weight.shape)
    if fc6[1] != 256 * 6 * 6:
        raise UserError(f"{path}: fc6 is {shape_text(fc6)} at {model.image_size} px, torchvision's is 4096 x 9216: "
                        ".pt, .safetensors and .onnx take it")
    usual = torch.tensor(model.design.pixel_mean).view(3, 1, 1)
    if not torch.equal(model.mean[0], usual.expand_as(model.mean[0])):
        raise UserError(f"{path}: torchvision's layout has no place for a mean of one's own: .pt, .safetensors and "
                        ".onnx take it")
    names = [f"features.{n}" for n in NUMBERS[0]] + [f"classifier.{n}" for n in NUMBERS[1]]
    state = {f"{theirs}.{what}": getattr(getattr(model, ours), what).detach().contiguous()
             for ours, theirs in zip(LAYERS, names) for what in ("weight", "bias")}
    with whole_file(path) as temporary:
        checkpoint.save_torch(state, temporary)


def save_safetensors(path: Path, model: AlexNet, facts: dict[str, Any]) -> None:
    save = package("safetensors.torch").save
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    data = save(state, metadata={FORMAT: json.dumps(checkpoint.about(model, facts))})
    with whole_file(path) as temporary:
        temporary.write_bytes(data)    # its own save_file makes a file that only its owner can read


WRITERS: dict[str, Callable[[Path, AlexNet, dict[str, Any]], None]] = {
    ".pt": checkpoint.save, ".pth": save_torchvision, ".safetensors": save_safetensors, ".onnx": save_onnx}


def convert(content: dict[str, Any], path: Path) -> None:
    """Writes what `read` gave to a file of the kind that its suffix names."""
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise UserError(f"{path}: the name must end in {', '.join(WRITERS)}")
    if path.exists():
        raise UserError(f"{path} is there already; give another name")
    try:
        write(path, checkpoint.build(content), content["facts"])
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error})") from None


def description(content: dict[str, Any]) -> str:
    """What one wants to know of a file, in some lines."""
    model, facts, classes = checkpoint.build(content), content["facts"], content["classes"]
    changes = "".join(f", {name} {value}" for name, value in model.changes.items())
    mean = ", ".join(f"{value:.1f}" for value in model.mean.mean((0, 2, 3)).tolist())
    lines = [f"variant {model.variant}{changes}, {model.image_size} px, {len(classes):,} classes "
             f"({', '.join(classes[:3])}{' ...' if len(classes) > 3 else ''})",
             f"images: RGB, 0..255; the mean, over its pixels, is {mean}"]
    if "kind" in facts:
        lines.append(f"read from {facts['source']}: {facts['kind']}")
    if "epoch" in facts:
        origin = f", from the weights of {facts['weights']}" if facts.get("weights") else ""
        lines.append(f"trained on {facts.get('data')}{origin}: {facts['epoch']} of {facts.get('epochs')} epochs, "
                     f"batch {facts.get('batch_size')}, rate {facts.get('lr')}")
    errors = facts.get("val_top1_error"), facts.get("val_top5_error")
    if all(isinstance(error, float) for error in errors):
        lines.append(f"validation errors: top-1 {errors[0]:.2%}, top-5 {errors[1]:.2%}")
    return "\n".join([*lines, "", model.table()])


def main(arguments: list[str] | None = None) -> None:
    parser = CommandLine(__doc__, prog="python -m alexnet.weights")
    add = parser.add_argument
    add("source", metavar="SOURCE",
        help="any file of an AlexNet's weights, a run's folder, one of the Hugging Face hub, or pretrained")
    add("destination", metavar="DESTINATION", nargs="?",
        help=f"{', '.join(WRITERS)}: the suffix decides; without it SOURCE is described")
    add = parser.add_argument_group("what another's file may not say").add_argument
    add("--bgr", action="store_true", default=None, help="conv1 takes blue, green, red (the default for ONNX)")
    add("--rgb", action="store_false", dest="bgr", help="conv1 takes red, green, blue (the default for torchvision)")
    add("--mean", type=Path, metavar="FILE.npy", help="3 values or an image, 0..255, channels in the file's order")
    add("--image-size", type=int, metavar="PX", help="default: the ONNX file's; Caffe 227, torchvision 224")
    add("--variant", choices=list(VARIANTS),
        help="for a state dict of ours, and for layers that are neither Caffe's nor torchvision's")
    add("--classes", type=Path, metavar="FILE.txt",
        help="a class's name a line (default: the file's, or for 1,000 ImageNet's)")
    with shell("alexnet.weights"):
        options = parser.parse_args(arguments)
        hints = Hints(options.variant, options.image_size, options.bgr, options.mean, options.classes)
        content = read(options.source, hints)
        if options.destination:
            convert(content, Path(options.destination))
            print(f"written to {options.destination}")
        else:
            print(description(content))


if __name__ == "__main__":
    main()
