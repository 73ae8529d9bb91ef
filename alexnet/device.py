"""Where it runs: the device, the precision, and the processes that torchrun starts."""

from __future__ import annotations

import ctypes
import importlib
import itertools
import os
import platform
import re
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from alexnet.cli import warn
from alexnet.files import UserError
from alexnet.model import AlexNet

# Of compute capability 7.5 all the same; convolutions in fp16 give NaN there (pytorch issues 58123, 77955).
NO_TENSOR_CORES = re.compile(r"GTX 16\d\d|\bMX[45]50\b|\bT(400|500|550|600|1000|1200|2000)\b")


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
    """On CUDA, too, the same numbers in every run; a CPU always gives them. Before cuBLAS is first used."""
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
        if name == "cpu" and torch.version.cuda is None and shutil.which("nvidia-smi"):
            warn("this PyTorch cannot use the NVIDIA GPU: pytorch.org/get-started/locally has the command "
                 "for one that can")
    if name.startswith("mps") and not alone:
        raise UserError("--device mps takes one process; start without torchrun")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise UserError(f"--device takes auto, cpu, cuda, cuda:1 or mps, not {name}")
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name} is not available here ({str(error).splitlines()[0]})") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto`: bf16 where the device computes in it (emulated, it is far slower); fp16 on a GPU whose tensor
    cores have only that (compute capability 7: V100, T4, but not NO_TENSOR_CORES); else fp32."""
    if name != "auto":
        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        if (torch.cuda.get_device_capability(device) >= (7, 0)
                and not NO_TENSOR_CORES.search(torch.cuda.get_device_name(device))):
            return torch.float16
    elif device.type == "cpu" and cpu_has_bf16():
        return torch.bfloat16
    return torch.float32


def cpu_has_bf16() -> bool:
    """Whether the processor has instructions for it, AVX-512 or AMX."""
    names = ("avx512_bf16", "amx_bf16", "amx_tile")
    if hasattr(torch.cpu, "get_capabilities"):
        has = torch.cpu.get_capabilities()
    else:   # PyTorch before 2.11
        has = {name: getattr(torch.cpu, f"_is_{name}_supported", bool)() for name in names}
    return any(has.get(name) for name in names)


def precision(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def surroundings(device: torch.device, world: World, dtype: torch.dtype) -> dict[str, Any]:
    """What one needs to know to repeat a run; no names of machines."""
    return {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(), "processes": world.size,
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "computed_in": str(dtype).removeprefix("torch.")}


# ------------------------------------------------------------------- several processes

@dataclass(frozen=True)
class World:
    """This process among those that train together (torchrun); alone by default."""

    rank: int = 0
    size: int = 1

    def rows(self, total: int) -> slice:
        """This process's part of a batch of `total` images."""
        return slice(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values


def compute_ready(model: AlexNet, device: torch.device, world: World) -> nn.Module:
    """The network on its device in the fast memory format, and what to call in training."""
    model.to(device=device, memory_format=torch.channels_last)
    if world.size == 1:
        return model
    return DistributedDataParallel(model, gradient_as_bucket_view=True)


def join_world(device: torch.device) -> World:
    """The processes that torchrun started, connected; or this one alone."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return World()
    # The functions of this module take the process group that exists when it is imported as a default
    # argument. DDP imports it later: then the defaults would keep the group and its threads alive past
    # destroy_process_group, and now and then such a thread aborts Python's end. So: before there is a group.
    importlib.import_module("torch.distributed.nn")
    # The others wait while the first process packs the images: hours, for ImageNet.
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=1))
    return World(dist.get_rank(), dist.get_world_size())


MEETINGS = itertools.count()   # of all processes, in the same order


@cache
def store() -> Any:
    """What the processes of torchrun know in common; it outlives each of them."""
    return next(dist.rendezvous("env://"))[0]


def meet(world: World) -> None:
    """Waits, hours if need be, until all processes have come here; where one has failed, this one ends, too.

    Not dist.barrier: on GPUs it does not notice that another process is gone, and lets no signal through.
    """
    if world.size > 1:
        meeting = f"meeting {next(MEETINGS)}"
        store().add(meeting, 1)
        while store().add(meeting, 0) < world.size:
            if store().add("failed", 0):
                raise UserError("another process has failed")
            time.sleep(0.05)


@contextmanager
def processes() -> Iterator[None]:
    """Around a main() that torchrun may have started several times: of what the processes raise, a person
    sees only the first error, and the group ends."""
    try:
        yield
    except Exception:
        if not first_to_fail():   # another process has said what is wrong
            sys.exit(2)
        raise
    finally:
        if dist.is_available() and dist.is_initialized():
            time.sleep(0.2)   # gloo's threads need Python's lock to let go of their tensors: in torch 2.6
            dist.destroy_process_group()   # this call would hold it and wait for them


def first_to_fail() -> bool:
    """Whether no other process has failed before this one, whose error a person must then see: what the
    others raise is the same, or follows from it. The first waits for them; SIGTERM no longer counts."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        return True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        first = store().add("failed", 1) == 1
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()   # whoever waits for us in it fails
        until = time.monotonic() + 10
        while first and store().add("failed", 0) < size and time.monotonic() < until:
            time.sleep(0.05)
        return first
    except (RuntimeError, ValueError):   # whoever kept the count is gone
        return False
