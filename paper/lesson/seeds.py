"""Section 15 of the lesson with ten seeds instead of one: does the broken network stay at ln 10 in each?

    python paper/lesson/seeds.py

Writes seeds.json: for each network and seed the mean loss of every 50 steps. The lesson quotes it (tested).
"""

from __future__ import annotations

import contextlib
import io
import json
from datetime import date
from typing import Any

import numpy as np
import torch

import build
from alexnet.model import AlexNet

FILE = build.FOLDER / "seeds.json"
SEEDS, STEPS, MEAN_OF = 10, 300, 50
NETWORKS = {"as trained in 2012": {}, "biases 0, weights 0.01": {"bias": (0,) * 8, "std": (0.01,) * 8}}


def lesson_until_training() -> dict[str, Any]:
    """What the lesson's cells have defined by section 13: its pictures, and `train`."""
    code = [cell for cell in build.cells() if not cell.language]
    last = next(number for number, cell in enumerate(code) if "def train(" in cell.source)
    space: dict[str, Any] = {"__name__": "lesson"}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in code[:last + 1]:
            exec(compile(cell.source.replace("STEPS = 300", "STEPS = 0"), "lesson.py", "exec"), space)
    return space


def means_of(losses: list[float]) -> list[float]:
    return [round(float(np.mean(losses[first:first + MEAN_OF])), 4)
            for first in range(0, len(losses), MEAN_OF)]


def main() -> None:
    train = lesson_until_training()["train"]
    content: dict[str, Any] = {"steps": STEPS, "mean_of": MEAN_OF, "date": date.today().isoformat(),
                               "threads": torch.get_num_threads(), "torch": torch.__version__,
                               "losses": {name: [] for name in NETWORKS}}
    for seed in range(SEEDS):
        for name, change in NETWORKS.items():
            torch.manual_seed(seed)
            content["losses"][name].append(means_of(train(AlexNet(10, 64, **change), STEPS, seed=seed)))
            print(f"seed {seed}, {name}: {content['losses'][name][-1]}", flush=True)
    FILE.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
