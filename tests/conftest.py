"""Small data made on the spot."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any, Callable

if "PYTEST_XDIST_WORKER" in os.environ:   # several at once (.pytest.ini): before torch counts the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the scripts are imported from the top level

from alexnet import demo  # noqa: E402


multiprocessing.set_forkserver_preload(["torch", "torchvision", "matplotlib.figure"])


def in_two_processes(function: Callable, *arguments: Any) -> None:
    """function(rank, *arguments) in each; they start from one process that has imported torch once."""
    torch.multiprocessing.start_processes(function, arguments, nprocs=2, start_method="forkserver")


def run_main(main: Callable, capsys: pytest.CaptureFixture, *arguments: Any) -> tuple[int, str, str]:
    """A script's main() in this process: status, standard output, standard error."""
    status = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


def save_picture(path: Path, index: int, part: str = "train", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    demo.draw((part, index)).save(path, **options)
    return path


def make_folder(folder: Path, counts: dict[str, int], suffix: str = ".png") -> Path:
    """Class folders below `folder`: {"train/disc": 5, ...}; the pictures show demo's class of that
    name where there is one."""
    for number, (name, count) in enumerate(counts.items()):
        kind = Path(name).name
        label = demo.CLASSES.index(kind) if kind in demo.CLASSES else number % 10
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            part = "val" if name.startswith("val") else "train"
            save_picture(folder / name / f"{index}{suffix}", index * 10 + label, part)
    return folder


@pytest.fixture
def place(tmp_path):
    """A folder for a run, which sets signal handlers: they are put back."""
    handlers = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    for name, handler in handlers.items():
        signal.signal(name, handler)


@pytest.fixture
def noise_image():
    """An RGB array of smooth noise, (height, width, 3) uint8."""
    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        small = np.random.default_rng(seed).integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return make
