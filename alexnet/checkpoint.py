"""Our own checkpoints: what is needed to predict, and, in a run's last.pt, to go on.

A checkpoint is a dict of plain values and tensors: variant, changes, image size, class names, the
state dict (the mean image is in it), and facts about the training. `torch.load(...,
weights_only=True)` opens it, so nothing in a file is ever executed.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from alexnet.files import UserError, whole_file
from alexnet.model import AlexNet

RUNS = Path("results/runs")
FORMAT = "alexnet"
VERSION = 1


def save(path: Path | str, model: AlexNet, facts: dict[str, Any], **more: Any) -> None:
    """Writes a checkpoint, whole or not at all. `more` goes beside what every checkpoint has."""
    changes = {name: list(value) if isinstance(value, tuple) else value
               for name, value in model.changes.items()}
    with whole_file(path) as temporary:
        torch.save({"format": FORMAT, "version": VERSION, "variant": model.variant,
                    "changes": changes, "image_size": model.image_size,
                    "classes": list(model.classes), "facts": facts,
                    "model": model.state_dict(), **more}, temporary)


def find(given: str | None) -> Path:
    """The checkpoint (or run's folder) that was named, or the newest run's best.pt; UserError if there is none."""
    if given:
        return Path(given)
    runs = sorted(RUNS.glob("*/best.pt"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise UserError(f"no model: there is no run in {RUNS}. Train one (python train_alexnet.py takes some "
                        "minutes), or name a checkpoint with --model")
    return runs[-1]


def read(path: Path | str) -> dict[str, Any]:
    """The dict in a checkpoint; UserError with one line if it is none of ours or damaged."""
    path = Path(path)
    if path.is_dir():
        path = path / "best.pt"
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(f"{path} holds more than tensors and plain values, so it was not "
                        "opened") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged or no checkpoint "
                        f"({(str(error).splitlines() or [type(error).__name__])[0][:120]})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this project")
    if content["version"] > VERSION:
        raise UserError(f"{path} was written by a newer version of this project")
    return content


def build(content: dict[str, Any]) -> AlexNet:
    """The network that a checkpoint's dict describes, with its weights, in eval mode."""
    model = AlexNet(len(content["classes"]), content["image_size"], content["variant"],
                    **content["changes"])
    model.load_state_dict(content["model"])
    model.classes = list(content["classes"])
    return model.eval()


def load(path: Path | str) -> AlexNet:
    """An AlexNet in eval mode, with `.classes`, from a checkpoint (or a run's folder)."""
    return build(read(path))
