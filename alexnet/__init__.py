"""AlexNet as it was really trained in 2012."""

from alexnet.checkpoint import load
from alexnet.model import AlexNet

__all__ = ["AlexNet", "load"]
