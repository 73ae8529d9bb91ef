"""Every matplotlib figure. Knows arrays, not models."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display needed
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib import font_manager, ft2font  # noqa: E402

from alexnet.files import UserError, whole_file  # noqa: E402


def save(figure: plt.Figure, path: Path, dpi: int = 100) -> None:
    """Whole or not at all, with the same bytes for the same figure."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png", metadata={"Software": None})
    plt.close(figure)


def choose_font(text: str) -> None:
    """Takes a font that has every letter of `text`, so that none shows as a box; UserError if no
    installed one has."""
    needed = {ord(letter) for letter in text}

    def has_all(path: str) -> bool:
        try:
            return needed <= ft2font.FT2Font(path).get_charmap().keys()
        except (RuntimeError, OSError):   # a font file that cannot be read
            return False

    if max(needed, default=0) < 128 or has_all(font_manager.findfont("DejaVu Sans")):
        return
    asian = ("cjk", "hei", "song", "sung", "ming", "wqy", "pingfang", "simsun")
    paths = sorted(font_manager.findSystemFonts(),   # looks anew: matplotlib's list may be older
                   key=lambda path: (not any(word in Path(path).name.lower() for word in asian), path))
    found = next((path for path in paths if has_all(path)), None)
    if found is None:
        raise UserError("no installed font has these letters (Chinese?): install one, such as Noto Sans CJK "
                        "(Debian, Ubuntu: apt install fonts-noto-cjk), or leave --names zh out")
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it lacks a weight: no matter
    font_manager.fontManager.addfont(found)
    plt.rcParams["font.family"] = [ft2font.FT2Font(found).family_name, "DejaVu Sans"]


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
    save(figure, path)


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
    save(figure, path)


def few_pictures(runs: list[dict[str, Any]], kinds: list[str], path: Path) -> None:
    """Left: the last error over the number of training pictures a class; a dot a seed, a line their mean.
    Right: the error after each epoch with the fewest pictures, the mean of the seeds."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    fewest = min(run["pictures"] for run in runs)
    for kind, colour in zip(kinds, ("tab:blue", "tab:green", "tab:orange")):
        last: dict[int, list[float]] = {}
        for run in (run for run in runs if run["kind"] == kind):
            last.setdefault(run["pictures"], []).append(100 * run["errors"][-1])
        for pictures, errors in last.items():
            left.plot([pictures] * len(errors), errors, "o", color=colour, alpha=0.4, markersize=4)
        left.plot(sorted(last), [np.mean(last[pictures]) for pictures in sorted(last)], color=colour, label=kind)
        curves = [run["errors"] for run in runs if (run["kind"], run["pictures"]) == (kind, fewest)]
        if curves:
            mean = 100 * np.mean(curves, axis=0)
            right.plot(range(1, len(mean) + 1), mean, ".-", color=colour, label=kind)
    left.set_xscale("log")
    amounts = sorted({run["pictures"] for run in runs})
    left.set_xticks(amounts, map(str, amounts))
    left.minorticks_off()
    left.set(xlabel="training pictures a class", ylabel="top-1 error, %")
    right.set(xlabel=f"epoch, {fewest} pictures a class", ylabel="top-1 error, %")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    save(figure, path)


def confusion(counts: np.ndarray, classes: list[str], path: Path) -> None:
    """A confusion matrix: a true class a row, an answer a column; shares of the row by colour, and as
    numbers where there is room."""
    choose_font("".join(classes))
    size = len(classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(5.0, 0.45 * size + 2), 16)
    figure, axes = plt.subplots(figsize=(side + 1, side), layout="constrained")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class's pictures")
    if size <= 40:
        axes.set_xticks(range(size), classes, rotation=90, fontsize=8)
        axes.set_yticks(range(size), classes, fontsize=8)
    if size <= 20:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axes.text(column, row, str(count), ha="center", va="center", fontsize=7,
                          color="white" if shares[row, column] > 0.5 else "black")
    axes.set(xlabel="answer", ylabel="true class")
    axes.set_title(f"{counts.sum():,} pictures, top-1 error {1 - counts.trace() / max(1, counts.sum()):.1%}",
                   fontsize=11)
    save(figure, path)


class PanelEntry(NamedTuple):
    """A picture with its answers."""

    image: np.ndarray                              # (height, width, 3) uint8
    truth: str                                     # its class, if it is known
    answers: list[tuple[str, float, bool]]         # name, probability, whether it is right


def prediction_panel(entries: list[PanelEntry], path: Path) -> None:
    """Figure 4, left: each picture with its most probable classes as bars; the right one in red."""
    columns = 4
    rows = -(-len(entries) // columns)
    figure = plt.figure(figsize=(2.6 * columns, 4.0 * rows), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[2.3, 1.3] * rows)
    for place, entry in enumerate(entries):
        row, column = divmod(place, columns)
        picture = figure.add_subplot(grid[2 * row, column])
        picture.imshow(entry.image)
        picture.set_axis_off()
        picture.set_title(entry.truth, fontsize=10)
        bars = figure.add_subplot(grid[2 * row + 1, column])
        for line, (name, probability, right) in enumerate(entry.answers):
            bars.barh(line, probability, color="tab:red" if right else "tab:blue", alpha=0.55, height=0.8)
            bars.text(0.02, line, name, va="center", fontsize=9)
            bars.text(0.98, line, f"{probability:.0%}", va="center", ha="right", fontsize=8, color="grey")
        bars.set(xlim=(0, 1), ylim=(max(len(entry.answers), 5) - 0.5, -0.5))
        bars.set_xticks([])
        bars.set_yticks([])
    save(figure, path)
