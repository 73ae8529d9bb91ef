"""What ours is compared with: images read, and networks trained, as pytorch/examples do it; and the training
step that experiments use whose loss is not the product's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from alexnet.device import precision

NORMALIZE = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def imagefolder(folder: Path, size: int, batch: int, workers: int, train: bool = True) -> DataLoader:
    """Batches of (N, 3, size, size) normalised images and their labels, read from class folders."""
    if train:
        views = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    else:
        views = [transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size)]
    data = ImageFolder(str(folder), transforms.Compose([*views, transforms.ToTensor(), NORMALIZE]))
    return DataLoader(data, batch, shuffle=train, num_workers=workers, persistent_workers=workers > 0)


def examples_sgd(network: nn.Module, fused: bool | None = None) -> torch.optim.SGD:
    """The optimiser that pytorch/examples give AlexNet."""
    return torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, fused=fused)


def step(network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor,
         dtype: torch.dtype = torch.float32, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Forward, backward, update, with the mean loss of the batch. Returns that loss, and the logits."""
    optimizer.zero_grad()
    with precision(images.device, dtype):
        logits = network(images)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
    loss.backward()
    optimizer.step()
    return loss.detach(), logits.detach()


@dataclass
class Tally:
    """Sums over the images of one epoch, or of a part of it."""

    loss: float = 0.0
    wrong: int = 0
    seen: int = 0

    def add(self, mean_loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.loss += mean_loss.item() * len(labels)
        self.wrong += int((logits.argmax(1) != labels).sum())
        self.seen += len(labels)

    @property
    def mean_loss(self) -> float:
        return self.loss / max(1, self.seen)

    @property
    def error(self) -> float:
        return self.wrong / max(1, self.seen)
