"""Where a network runs and in which precision; what makes a CPU fast."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager
from typing import Iterator

import torch

from alexnet.files import UserError


def keep_memory() -> None:
    """Lets this process keep the memory that it frees. glibc gives a large tensor back to the system
    and fetches the next one page by page, each zeroed first: a quarter of a step on a CPU."""
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):   # another C library: as it is
        return
    for option, value in ((-4, 0),             # M_MMAP_MAX: nothing apart from the heap
                          (-1, 2 ** 31 - 1),   # M_TRIM_THRESHOLD: which does not shrink
                          (-2, 64 * 2 ** 20)): # M_TOP_PAD: and grows by this
        mallopt(option, value)


def make_deterministic(wanted: bool) -> None:
    """On CUDA, too, the same numbers in every run; a CPU always gives them. Before CUDA is first used."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")   # what cuBLAS asks for
        torch.utils.deterministic.fill_uninitialized_memory = False   # we read none
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)


def choose_device(name: str) -> torch.device:
    """`auto`: CUDA, else MPS (for one process), else the CPU; one GPU a process."""
    alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
    if name == "auto":
        name = ("cuda" if torch.cuda.is_available() else
                "mps" if alone and torch.backends.mps.is_available() else "cpu")
    if name.startswith("mps") and not alone:
        raise UserError("--device mps takes one process; start without torchrun")
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name} is not to be had here "
                        f"({str(error).splitlines()[0]})") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto`: bf16 where the device computes in it (emulated, it is far slower); fp16 on a GPU whose tensor
    cores have only that (compute capability 7: V100, T4); else fp32."""
    if name == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
            if not fast and torch.cuda.get_device_capability(device) >= (7, 0):
                return torch.float16
        else:
            has = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
            fast = bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("amx_tile"))
        return torch.bfloat16 if fast else torch.float32
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]


@contextmanager
def precision(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        yield
