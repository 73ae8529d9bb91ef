"""AlexNet as it was really trained in 2012."""

from alexnet.checkpoint import load
from alexnet.model import AlexNet
from alexnet.predict import classify

__all__ = ["AlexNet", "classify", "load"]
