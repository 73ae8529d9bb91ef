"""AlexNet as it was really trained in 2012."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet.model import AlexNet

__all__ = ["AlexNet", "load"]


def __getattr__(name: str) -> Any:
    """`alexnet.AlexNet`, imported when it is first used: it brings torch, which takes seconds, and --help needs none."""
    if name != "AlexNet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from alexnet.model import AlexNet
    return AlexNet


def load(path: Path | str) -> AlexNet:
    """An AlexNet in eval mode, with `.classes`, from a run's folder, a checkpoint, or another's file
    (alexnet/weights.py); `pretrained` is torchvision's. UserError if it holds none."""
    from alexnet import weights  # here, so that `python -m alexnet.weights` can be the one to load it
    return weights.load(path)
