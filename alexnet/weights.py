"""Other people's files in, ours out: torchvision's, Caffe's as ONNX, plain PyTorch, safetensors.

    python -m alexnet.weights alexnet-owt-7be5be79.pth              what is in it
    python -m alexnet.weights bvlcalexnet-12.onnx bvlc.pt           into a checkpoint of ours
    python -m alexnet.weights results/runs/NAME/best.pt mine.onnx   ours for others: .onnx, .safetensors, .pth
    python -m alexnet.weights pretrained imagenet.pt                torchvision's file, fetched if need be

What a file is follows from its content, not from its name. Whatever comes in becomes the dict of our own
checkpoints (`checkpoint.check` compares every shape), so the rest of the project knows one kind.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Callable

import torch

from alexnet import checkpoint
from alexnet.checkpoint import FORMAT, Checkpoint
from alexnet.cli import PRETRAINED, CommandLine, shell, warn
from alexnet.files import UserError, brief, fetching, printable, whole_file
from alexnet.foreign import HUB, Hints, Found, find_state, from_state
from alexnet.model import LAYERS, VARIANTS, AlexNet
from alexnet.onnx_files import open_onnx, package, parse, save_onnx

LARGEST = 4 * 2 ** 30   # bytes of a file; an AlexNet with momentum has half a gigabyte
TORCHVISION = ("features.0", "features.3", "features.6", "features.8", "features.10",   # conv1 ... fc8
               "classifier.1", "classifier.4", "classifier.6")


# ------------------------------------------------------------------- in

def read(path: Path | str, hints: Hints = Hints()) -> Checkpoint:
    """The dict of a checkpoint of ours (alexnet/checkpoint.py) from a file of any kind.

    path: a file, a run's folder, or `pretrained`. UserError with one line for what is no AlexNet.
    """
    path = file_of(path)
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path} has {path.stat().st_size / 2**30:.1f} GiB; an AlexNet has a quarter of one")
    content, notes = opener_of(path)(path, hints)
    if notes is None and hints != Hints():
        raise UserError(f"{path} was written by this project and says itself what it holds; "
                        "only other people's files take options")
    for note in notes or ():
        warn(note)
    return checkpoint.check(content, path)


def file_of(path: Path | str) -> Path:
    """The file that `path` means: of a run's folder best.pt, of the Hugging Face hub's its weights."""
    path = Path(os.path.expanduser(path))
    if str(path) == PRETRAINED and not path.exists():
        path = pretrained()
    if path.is_dir():
        path = next((path / name for name in HUB if (path / name).is_file()), path / "best.pt")
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    return path


def opener_of(path: Path) -> Callable[[Path, Hints], Found]:
    """What opens such a file, from its first bytes; UserError if nothing does."""
    with open(path, "rb") as file:
        head = file.read(60)
    if not head:
        raise UserError(f"{path} is empty")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size - 8:
        return open_safetensors   # first: the length of its header may begin with 0x80, too
    if head.startswith(b"PK\x03\x04") or head[0] == 0x80:   # torch.save's archive, or its old form, a pickle
        return open_torch
    if head[0] == 0x08:     # protobuf's first field, a number: ir_version
        return open_onnx
    if head.isascii() and b"\0" not in head:   # a page of the web, what Git LFS leaves in the place of a file
        raise UserError(f"{path} is a text, not a network (was it downloaded?): {printable(head.decode())}")
    raise UserError(f"{path} is no checkpoint: neither torch.save's, nor safetensors, nor ONNX (Caffe's "
                    ".caffemodel is not read: the ONNX model zoo's bvlcalexnet-12.onnx has the same weights)")


def open_torch(path: Path, hints: Hints) -> Found:
    content = checkpoint.open_torch(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return content, None
    return from_state(find_state(content, path), path, hints, "a PyTorch state dict", content)


def open_safetensors(path: Path, hints: Hints) -> Found:
    safetensors = package("safetensors")
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (safetensors.SafetensorError, RuntimeError, ValueError) as error:
        raise UserError(f"{path} is damaged or no checkpoint ({brief(error)})") from None
    if FORMAT in metadata:
        return {**parse(metadata[FORMAT], path), "model": state}, None
    return from_state(state, path, hints, "safetensors", metadata)


def pretrained() -> Path:
    """torchvision's published file in torch's own cache; fetched there if it is missing."""
    from torchvision.models import AlexNet_Weights
    url = AlexNet_Weights.DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    known = path.stem.split("-")[-1]   # its SHA-256 begins so
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fetching():
                torch.hub.download_url_to_file(url, str(path), known)
        except Exception as error:  # no network, no room, another hash
            raise UserError(f"{path.name} cannot be fetched ({str(error).splitlines()[0][:80]}): get {url} "
                            f"another way and put it at {path}, or give its path instead of "
                            f"{PRETRAINED}") from None
    with open(path, "rb") as file:  # one that a person put there, too
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(known):
        raise UserError(f"{path} is not torchvision's file: its SHA-256 begins with {digest[:8]}; remove it")
    return path


# ------------------------------------------------------------------- out

def save_torchvision(path: Path, model: AlexNet, facts: dict[str, Any]) -> None:
    """torchvision.models.alexnet's state dict: for one column at a size where pool5 leaves 6 x 6."""
    instead = ".pt, .safetensors and .onnx take it"
    if model.design != VARIANTS["torchvision"]:
        changes = f" {model.changes}" if model.changes else ""
        raise UserError(f"{path}: only the variant torchvision has torchvision's layout, this is "
                        f"{model.variant}{changes}: {instead}")
    if model.fc6.in_features != 256 * 6 * 6:
        raise UserError(f"{path}: fc6 is 4096 x {model.fc6.in_features} at {model.image_size} px, "
                        f"torchvision's is 4096 x 9216: {instead}")
    if (model.mean != torch.tensor(model.design.pixel_mean).view(3, 1, 1)).any():
        raise UserError(f"{path}: torchvision's layout has no place for a mean of one's own: {instead}")
    state = {f"{theirs}.{what}": getattr(getattr(model, ours), what).detach().contiguous()
             for ours, theirs in zip(LAYERS, TORCHVISION) for what in ("weight", "bias")}
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


def convert(content: Checkpoint, path: Path) -> None:
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


def description(content: Checkpoint) -> str:
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
        lines.append(f"trained on {facts.get('data')}{origin}: {facts['epoch']} of {facts.get('epochs')} "
                     f"epochs, batch {facts.get('batch_size')}, learning rate {facts.get('lr')}")
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
    add("--bgr", action="store_true", default=None,
        help="conv1 takes blue, green, red (the default for ONNX)")
    add("--rgb", action="store_false", dest="bgr",
        help="conv1 takes red, green, blue (the default for torchvision)")
    add("--mean", type=Path, metavar="FILE.npy",
        help="3 values or an image, 0..255, channels in the file's order")
    add("--image-size", type=int, metavar="PX", help="default: the ONNX file's; Caffe 227, torchvision 224")
    add("--variant", choices=list(VARIANTS),
        help="for a state dict of ours, and for layers that are neither Caffe's nor torchvision's")
    add("--classes", type=Path, metavar="FILE.txt",
        help="one class's name per line (default: the file's, or for 1,000 ImageNet's)")
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
