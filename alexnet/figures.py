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


def effects(bars: list[tuple[str, float, float, float]], path: Path, title: str, axis: str) -> None:
    """Horizontal bars with intervals, the first at the bottom: (name, value, low, high). 0 is the line;
    grey where the interval crosses it."""
    figure, axes = plt.subplots(figsize=(10, 1.2 + 0.36 * len(bars)), layout="constrained")
    for place, (_, value, low, high) in enumerate(bars):
        colour = "tab:red" if low > 0 else "tab:green" if high < 0 else "lightgrey"
        axes.barh(place, value, color=colour, height=0.7)
        axes.plot([low, high], [place, place], color="black", linewidth=1.2)
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars], fontsize=9)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_xlabel(axis)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(title, fontsize=10)
    save(figure, path)


Line = list[tuple[float, float]]


def curves(panels: dict[str, dict[str, list[Line]]], path: Path, title: str, x: str, y: str,
           level: float | None = None, top: float | None = None, log: tuple[bool, bool] = (False, False)) -> None:
    """Panels of lines: {panel: {name: [a line of (x, y) for each seed]}}; a name has the same colour in all.
    A dotted line at `level`; the axis ends at `top`; `log` says which axes are logarithmic."""
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(max(8.0, 3.6 * columns), 3.4 * rows), squeeze=False,
                                sharex=True, sharey=True, layout="constrained")
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    colours = {name: f"C{number % 10}" for number, name in enumerate(names)}
    for axes, (panel, lines) in zip(grid.flat, panels.items()):
        for name, seeds in lines.items():
            for number, line in enumerate(seeds):
                axes.plot(*zip(*line), color=colours[name], linewidth=1.2, alpha=0.8,
                          label=name if number == 0 else None)
        if level is not None:
            axes.axhline(level, color="black", linestyle=":", linewidth=1)
        axes.set_title(panel, fontsize=9)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
        axes.set_xscale("log" if log[0] else "linear")
        axes.set_yscale("log" if log[1] else "linear")
    if top is not None:
        grid[0, 0].set_ylim(top=top)
    for axes in grid.flat[len(panels):]:
        axes.set_axis_off()
    figure.supxlabel(x, fontsize=10)
    figure.supylabel(y, fontsize=10)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def agreement(points: dict[str, list[tuple[float, float]]], path: Path, title: str, x: str, y: str) -> None:
    """Points of two positive quantities on logarithmic axes, with the line on which they are equal."""
    figure, axes = plt.subplots(figsize=(7, 6), layout="constrained")
    for number, (name, pairs) in enumerate(points.items()):
        axes.scatter(*zip(*pairs), label=name, alpha=0.8, marker="os^Dv*"[number // 10 % 6], color=f"C{number % 10}")
    values = [value for pairs in points.values() for pair in pairs for value in pair]
    ends = [min(values) / 2, max(values) * 2]
    axes.plot(ends, ends, color="grey", linestyle=":", linewidth=1)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title(title, fontsize=11)
    save(figure, path)


def stairs(steps: list[tuple[str, float, bool]], path: Path, title: str, axis: str) -> None:
    """A change a row, from above: (name, value, kept). A line goes down the values that were kept."""
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.42 * len(steps)), layout="constrained")
    kept = [(value, place) for place, (_, value, keep) in enumerate(steps) if keep]
    axes.step(*zip(*kept), where="post", color="tab:blue", linewidth=1)
    for place, (_, value, keep) in enumerate(steps):
        axes.plot(value, place, "o", color="tab:blue" if keep else "lightgrey")
        axes.annotate(f"{value:.1f}", (value, place), (8, -3), textcoords="offset points", fontsize=8)
    axes.set_yticks(range(len(steps)), [f"{name}{'' if keep else ' (dropped)'}" for name, _, keep in steps], fontsize=9)
    axes.set_ylim(len(steps) - 0.5, -0.5)
    axes.set_xlabel(axis)
    axes.grid(alpha=0.3)
    axes.set_title(title, fontsize=11)
    save(figure, path)
