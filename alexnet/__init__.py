"""AlexNet as it was really trained in 2012."""

from __future__ import annotations

from pathlib import Path

from alexnet.model import AlexNet

__all__ = ["AlexNet", "load"]


def load(path: Path | str) -> AlexNet:
    """An AlexNet in eval mode, with `.classes`, from a run's folder, a checkpoint, or another's file
    (alexnet/weights.py); `pretrained` is torchvision's. UserError if it holds none."""
    from alexnet import weights  # here, so that `python -m alexnet.weights` can be the one to load it
    return weights.load(path)
