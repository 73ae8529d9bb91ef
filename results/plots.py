"""The figures that only results/ needs. Knows arrays and numbers, not runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Collection

import numpy as np
from matplotlib.figure import Figure

from alexnet.figures import save


def ratios(bars: list[tuple[str, str, float]], path: Path, title: str) -> None:
    """Horizontal bars on a logarithmic scale, grouped: (group, name, ratio). A line at 1."""
    groups = list(dict.fromkeys(group for group, _, _ in bars))
    figure = Figure(figsize=(10, 1 + 0.32 * (len(bars) + 1.4 * len(groups))), layout="constrained")
    axes = figure.subplots()
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
    axes.set_xlim(0.4, max([2.0, *(ratio for _, _, ratio in bars)]) * 1.5)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("times as long as ours (blue: ours is faster)")
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(title, fontsize=11)
    save(figure, path)


def few_pictures(runs: list[dict[str, Any]], kinds: list[str], path: Path) -> None:
    """Left: the last error over the number of training pictures per class; one dot per seed, a line through
    their means. Right: the error after each epoch with the fewest pictures, the mean of the seeds."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    fewest = min(run["pictures"] for run in runs)
    for kind, colour in zip(kinds, ("tab:blue", "tab:green", "tab:orange")):
        last: dict[int, list[float]] = {}
        for run in (run for run in runs if run["kind"] == kind):
            last.setdefault(run["pictures"], []).append(100 * run["errors"][-1])
        for pictures, errors in last.items():
            left.plot([pictures] * len(errors), errors, "o", color=colour, alpha=0.4, markersize=4)
        amounts = sorted(last)
        left.plot(amounts, [np.mean(last[amount]) for amount in amounts], color=colour, label=kind)
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


def effects(bars: list[tuple[str, float, float, float]], path: Path, title: str, axis: str) -> None:
    """Horizontal bars with intervals, the first at the bottom: (name, value, low, high). A line at 0;
    grey where the interval crosses it."""
    figure = Figure(figsize=(10, 1.2 + 0.36 * len(bars)), layout="constrained")
    axes = figure.subplots()
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
           level: float | None = None, log: tuple[bool, bool] = (False, False),
           dashed: Collection[str] = ()) -> None:
    """Panels of lines: {panel: {name: [a line of (x, y) for each seed]}}; a name has the same colour in all.
    A dotted line at `level`; `log` says which axes are logarithmic; lines that only predict are `dashed`, and
    the others then have their points marked."""
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(8.0, 3.6 * columns), 3.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    colours = {name: f"C{number % 10}" for number, name in enumerate(names)}
    solid = "o-" if dashed else "-"
    for axes, (panel, lines) in zip(grid.flat, panels.items()):
        for name, seeds in lines.items():
            for number, line in enumerate(seeds):
                axes.plot(*zip(*line), "--" if name in dashed else solid, color=colours[name], linewidth=1.2,
                          alpha=0.8, label=name if number == 0 else None,
                          zorder=3 - names.index(name) / len(names))   # the first name lies on top
        if level is not None:
            axes.axhline(level, color="black", linestyle=":", linewidth=1)
        axes.set_title(panel, fontsize=9)
        axes.grid(alpha=0.3)
        if len(panels) == 1:   # within the only panel a legend would hide lines
            axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        else:
            axes.legend(fontsize=7)
        axes.set_xscale("log" if log[0] else "linear")
        axes.set_yscale("log" if log[1] else "linear")
    for axes in grid.flat[max(0, len(panels) - columns):len(panels)]:   # the lowest panel of each column
        axes.tick_params(labelbottom=True)
    for axes in grid.flat[len(panels):]:
        axes.set_axis_off()
    figure.supxlabel(x, fontsize=10)
    figure.supylabel(y, fontsize=10)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def stairs(steps: list[tuple[str, float, bool]], path: Path, title: str, axis: str) -> None:
    """One row per change, from the top: (name, value, kept). A line joins the values that were kept."""
    figure = Figure(figsize=(9, 1.2 + 0.42 * len(steps)), layout="constrained")
    axes = figure.subplots()
    kept = [(value, place) for place, (_, value, keep) in enumerate(steps) if keep]
    axes.step(*zip(*kept), where="post", color="tab:blue", linewidth=1)
    axes.margins(x=0.12)   # for the numbers
    for place, (_, value, keep) in enumerate(steps):
        axes.plot(value, place, "o", color="tab:blue" if keep else "lightgrey")
        axes.annotate(f"{value:.1f}", (value, place), (8, -3), textcoords="offset points", fontsize=8)
    names = [name if keep else f"{name} (dropped)" for name, _, keep in steps]
    axes.set_yticks(range(len(steps)), names, fontsize=9)
    axes.set_ylim(len(steps) - 0.5, -0.5)
    axes.set_xlabel(axis)
    axes.grid(alpha=0.3)
    axes.set_title(title, fontsize=11)
    save(figure, path)
