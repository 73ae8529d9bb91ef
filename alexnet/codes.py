"""Binary codes of features: pictures that are alike differ in few bits.

Section 6.1 proposes an auto-encoder for them; the 2012 release has none. This one is linear: in the spirit of
Krizhevsky and Hinton's of 2011, whose networks are deeper. It compresses 4,096 values to a few bytes, which
are compared in a fraction of the time (results/looks.py measures how well).

    python alexnet_inference.py photos --features fc7 --bits 128 --output photos.npz
    python alexnet_inference.py holiday.jpg --features fc7 --bits photos.npz --output query.npz

    photos, query = np.load("photos.npz"), np.load("query.npz")
    rows = nearest_codes(query["codes"], photos["codes"], 6)   # the six most alike: photos["paths"][rows[0]]
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from alexnet.files import UserError

EPOCHS, RATE, BATCH = 30, 1e-3, 128
ENCODER = "encoder."   # how the names of a coder's arrays begin in a file
ONES = np.array([byte.bit_count() for byte in range(256)], np.uint16)   # of each byte


class Coder(nn.Module):
    """An auto-encoder whose code is the signs of a linear layer, each bit normalised over the batch, so that
    about half of the pictures have it. All values are scaled alike first."""

    def __init__(self, values: int, bits: int) -> None:
        super().__init__()
        self.encode, self.balance = nn.Linear(values, bits), nn.BatchNorm1d(bits, affine=False)
        self.decode = nn.Linear(bits, values)
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("spread", torch.ones(()))

    def scaled(self, values: Tensor) -> Tensor:
        """Less the mean of the values that were learnt from, divided by one number, their spread."""
        return (values - self.mean) / self.spread

    def forward(self, x: Tensor) -> Tensor:
        """The scaled values again, from their bits; in training a bit's gradient is that of a sigmoid
        ("straight through")."""
        soft = 2 * torch.sigmoid(self.balance(self.encode(x))) - 1
        code = torch.where(soft > 0, 1.0, -1.0)
        return self.decode(soft + (code - soft).detach())

    @torch.inference_mode()
    def codes(self, values: Tensor) -> np.ndarray:
        """(N, bits / 8) uint8, of (N, values)."""
        ones = [self.balance(self.encode(self.scaled(some))) > 0 for some in values.split(1024)]
        return np.packbits(torch.cat(ones).numpy(), axis=1)


def trained_coder(values: Tensor, bits: int, epochs: int = EPOCHS, seed: int = 0) -> Coder:
    """A coder of `values`, (N, values), two rows at least; by Adam, from the squared error."""
    torch.manual_seed(seed)
    coder, chance = Coder(values.shape[1], bits), torch.Generator().manual_seed(seed)
    coder.mean.copy_(values.mean(0))
    coder.spread.copy_((values - coder.mean).square().mean().sqrt())
    values = coder.scaled(values)
    optimizer = torch.optim.Adam(coder.parameters(), RATE)
    for _ in tqdm(range(epochs), "learning the codes", leave=False, unit="epoch", disable=None):
        for chosen in torch.randperm(len(values), generator=chance).split(BATCH):
            if len(chosen) == 1:   # no batch to normalise over
                continue
            loss = F.mse_loss(coder(values[chosen]), values[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return coder.eval()


def nearest_codes(asked: np.ndarray, bank: np.ndarray, count: int) -> np.ndarray:
    """(Q, count) rows of the bank by Hamming distance; of equally near ones the first.

    asked: (Q, bytes) uint8.    bank: (N, bytes) uint8; with fewer than `count` rows, all of them are given.
    """
    distances = (ONES[bank ^ code].sum(1, dtype=np.uint16) for code in asked)   # 16 bits are sorted fast
    return np.stack([distance.argsort(kind="stable")[:count] for distance in distances])


# ------------------------------------------------------------------- in a file

def arrays_of(coder: Coder) -> dict[str, np.ndarray]:
    """What makes the codes of further pictures, to be stored beside the codes: all but the decoder."""
    return {ENCODER + name: value.numpy() for name, value in coder.state_dict().items()
            if not name.startswith("decode")}


def read_coder(path: Path | str, made_with: str) -> Coder:
    """The coder of a file with codes. UserError if there is none, or if the features that it learnt from were
    others than `made_with` says."""
    try:
        with np.load(path, allow_pickle=False) as content:
            state = {name.removeprefix(ENCODER): torch.from_numpy(content[name]) for name in content.files
                     if name.startswith(ENCODER)}
            before = str(content["made_with"])
        bits, values = state["encode.weight"].shape
        coder = Coder(values, bits)
        coder.load_state_dict(state | {f"decode.{name}": value for name, value
                                       in coder.decode.state_dict().items()})
    except (ValueError, KeyError, TypeError, RuntimeError, EOFError, AttributeError, zipfile.BadZipFile):
        raise UserError(f"--bits {path}: not a file that --bits N wrote") from None
    if before != made_with:
        raise UserError(f"--bits {path}: its codes are of {before}, not of {made_with}: codes of different "
                        "networks or layers cannot be compared")
    return coder.eval()
