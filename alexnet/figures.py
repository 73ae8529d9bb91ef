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


def ratios(bars: list[tuple[str, str, float]], path: Path, title: str) -> None:
    """Horizontal bars on a logarithmic scale, grouped: (group, name, ratio). 1 is the line."""
    groups = list(dict.fromkeys(group for group, _, _ in bars))
    figure, axes = plt.subplots(figsize=(10, 1 + 0.32 * (len(bars) + 1.4 * len(groups))), layout="constrained")
    place, ticks, names = 0.0, [], []
    for group in groups:
        axes.text(0.005, place, group, transform=axes.get_yaxis_transform(), fontsize=9, weight="bold",
                  va="center")
        place += 1
        for _, name, ratio in (bar for bar in bars if bar[0] == group):
            colour = "tab:blue" if ratio >= 1 else "tab:orange"
            axes.barh(place, ratio - 1, left=1, color=colour, height=0.7)
            axes.text(max(ratio, 1) * 1.03, place, f"{ratio:.2f}", va="center", fontsize=8)
            ticks.append(place)
            names.append(name)
            place += 1
        place += 0.4
    axes.set_yticks(ticks, names, fontsize=8)
    axes.set_ylim(place, -0.8)
    axes.set_xscale("log")
    axes.set_xlim(0.4, max(2.0, max(ratio for _, _, ratio in bars)) * 1.5)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("times as long as ours (blue: ours is faster)")
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(title, fontsize=11)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png", metadata={"Software": None})
    plt.close(figure)
