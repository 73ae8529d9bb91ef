"""Every matplotlib figure. Knows arrays, not models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display needed
import matplotlib.pyplot as plt  # noqa: E402

from alexnet.files import whole_file  # noqa: E402


def training_curves(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """Loss and errors by epoch, from the rows of metrics.csv; dotted where the rate changed."""
    epochs = [row["epoch"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for part, colour in (("train", "tab:blue"), ("val", "tab:orange")):
        left.plot(epochs, [row[f"{part}_loss"] for row in rows], color=colour, label=part)
        right.plot(epochs, [100 * row[f"{part}_top1_error"] for row in rows], color=colour,
                   label=f"{part}, top-1")
    right.plot(epochs, [100 * row["val_top5_error"] for row in rows], color="tab:orange",
               linestyle="--", label="val, top-5")
    for axes, name in ((left, "cross-entropy"), (right, "error, %")):
        for before, after in zip(rows, rows[1:]):
            if before["lr"] != after["lr"]:
                axes.axvline(after["epoch"] - 0.5, color="grey", linestyle=":", linewidth=1)
        axes.set(xlabel="epoch", ylabel=name)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"{title} (train: with dropout and augmentation)", fontsize=11)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png", metadata={"Software": None})
    plt.close(figure)
