"""The figures that only results/ needs. Knows arrays and numbers, not runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Collection, Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet import figure_words, figures, fonts
from results.pages import TEXTS, Text

# Colours that colour-blind people can tell apart (Okabe and Ito). One side has one colour in all figures:
# ours, `as-trained`, and what is as it is are blue; the other side, `as-written` and nn.Dropout are orange.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
OURS, THEIRS, BOTH = PALETTE[:3]
# What figures say, in Chinese. Modules that have sentences of their own add them.
CHINESE: dict[str, str] = TEXTS["labels"] | dict(TEXTS["cases"].values()) | TEXTS["figures"]


def add_words(texts: Iterable[Text]) -> None:
    CHINESE.update({text.en.replace("`", ""): text.zh.replace("`", "") for text in texts})


def save(figure: Figure, path: Path) -> None:
    """The PNG file and, beside it, `name.zh.png` with Chinese words, if a font here has them."""
    figures.save(figure, path)
    if fonts.language_drawn("zh") == "en":   # whatever is there stays
        return
    with figure_words.chinese(CHINESE):
        figures.save(figure, path.with_suffix(".zh.png"))


def name_rows(axes: Axes, ticks: dict[float, str], headings: Collection[str], size: float) -> None:
    """Writes names beside the rows of a figure, those of its groups in bold."""
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=size)
    for label, name in zip(axes.get_yticklabels(), ticks.values()):
        label.set_fontweight("bold" if name in headings else "normal")
    axes.tick_params("y", length=0)


def ratios(bars: list[tuple[str, str, float]], path: Path, title: str) -> None:
    """Horizontal bars on a logarithmic scale, grouped: (group, name, ratio). A line at 1. The headings of the
    groups stand among the names, left of the bars."""
    groups = list(dict.fromkeys(group for group, _, _ in bars))
    figure = Figure(figsize=(9, 1 + 0.28 * (len(bars) + 1.4 * len(groups))), layout="constrained")
    axes = figure.subplots()
    place, ticks = 0.0, {}
    for group in groups:
        ticks[place] = group
        for _, name, ratio in (bar for bar in bars if bar[0] == group):
            place += 1
            axes.barh(place, ratio - 1, left=1, color=OURS if ratio >= 1 else THEIRS, height=0.7)
            axes.text(max(ratio, 1) * 1.03, place, f"{ratio:.2f}", va="center", fontsize=8)
            ticks[place] = name
        place += 1.4
    name_rows(axes, ticks, groups, 8)
    axes.set_ylim(place, -0.8)
    axes.set_xscale("log")
    axes.set_xlim(0.4, max([2.0, *(ratio for _, _, ratio in bars)]) * 1.5)
    axes.set_xticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("blue: ours is faster; orange: the other is faster")
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(title, fontsize=11)
    save(figure, path)


def few_pictures(runs: list[dict[str, Any]], kinds: list[str], path: Path) -> None:
    """Left: the last error over the number of training pictures per class; one dot per seed, a line through
    their means. Right: the error after each epoch with the fewest pictures, the mean of the seeds."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    fewest = min(run["pictures"] for run in runs)
    for kind, colour in zip(kinds, PALETTE):
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
    left.set(xlabel="training images per class", ylabel="top-1 error, %")
    right.set(xlabel=f"epoch, {fewest} images per class", ylabel="top-1 error, %")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    save(figure, path)


Effect = tuple[str, float, float, float]   # name, value, the ends of its interval


def effects(groups: dict[str, list[Effect]], path: Path, title: str, axis: str,
            aside: dict[str, list[Effect]]) -> None:
    """Dots with intervals below the heading of their group, from above; a line at 0; grey where the interval
    reaches it. Groups `aside` have no part in the scale: they are only numbers."""
    rows = sum(len(bars) + 1.5 for bars in (groups | aside).values())
    figure = Figure(figsize=(8, 1.3 + 0.26 * rows), layout="constrained")
    axes = figure.subplots()
    place, ticks = 0.0, {}
    for heading, bars in (groups | aside).items():
        ticks[place] = heading
        for name, value, low, high in bars:
            place += 1
            ticks[place] = name
            if heading in aside:
                axes.annotate(f"{value:+.1f} ({low:+.1f} to {high:+.1f}): beyond this scale", (0, place),
                              (8, 0), textcoords="offset points", va="center", fontsize=9, color="dimgrey")
                continue
            colour = THEIRS if low > 0 else OURS if high < 0 else "darkgrey"
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            axes.plot(value, place, "o", color=colour, markersize=6)
        place += 1.5
    name_rows(axes, ticks, groups | aside, 9.5)
    axes.set_ylim(place - 0.5, -0.8)
    axes.axvline(0, color="black", linewidth=1)
    axes.locator_params("x", integer=True)
    axes.set_xlabel(axis)
    axes.grid(axis="x", alpha=0.3)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


Line = list[tuple[float, float]]
Panels = dict[str, dict[str, list[Line]]]   # {panel: {name: a line of (x, y) for each seed}}


def curves(panels: Panels, path: Path, title: str, x: str, y: str, level: tuple[float, str],
           log: tuple[bool, bool], dashed: Collection[str] = (), columns: int = 2,
           spans: dict[str, tuple[float, float]] | None = None) -> None:
    """Panels of lines: {panel: {name: [a line of (x, y) for each seed]}}; a name has the same colour in all,
    and one legend explains them. A dotted line at the `level`, which has a name; `log` says which axes are
    logarithmic; lines that only predict are `dashed`, and the others then have their points marked, with
    their x on the axis. Panels of `spans` have a linear axis from one value to the other."""
    columns, spans = min(columns, len(panels)), spans or {}
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(8, 1.3 + (2.9 if len(panels) < 3 else 2.4) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey="row")
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    solid = "o-" if dashed else "-"
    drawn = {}
    for axes, (panel, lines) in zip(grid.flat, panels.items()):
        for name, seeds in lines.items():
            for line in seeds:   # the first name lies on top
                drawn[name], = axes.plot(*zip(*line), "--" if name in dashed else solid, linewidth=1.5,
                                         color=PALETTE[names.index(name) % len(PALETTE)], alpha=0.8,
                                         markersize=5, zorder=3 - names.index(name) / len(names))
        drawn[level[1]] = axes.axhline(level[0], color="black", linestyle=":", linewidth=1.2)
        axes.set_title(panel, fontsize=10)
        axes.grid(alpha=0.3)
        if panel in spans:
            axes.set_ylim(*spans[panel])
        if log[0]:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        if log[1] and panel not in spans:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        if dashed:
            points = sorted({point for seeds in lines.values() for line in seeds for point, _ in line})
            axes.set_xticks(points, map(str, points))
            axes.xaxis.minorticks_off()
    for axes in grid.flat[max(0, len(panels) - columns):len(panels)]:   # the lowest panel of each column
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(x, fontsize=10)
    for axes in grid.flat[len(panels):]:
        axes.set_axis_off()
    figure.supylabel(y, fontsize=10, multialignment="center")
    figure.suptitle(title, fontsize=11)
    order = [*names, level[1]]
    figure.legend([drawn[name] for name in order], order, loc="outside lower center",
                  ncols=2 if max(map(len, order)) > 24 else 3, fontsize=9)
    save(figure, path)


def learning_curves(sides: dict[str, list[list[float]]], path: Path, title: str, last: int) -> None:
    """Errors (%) by epoch, {side: one list per seed}: the mean, and a band from the lowest to the highest
    seed. Right: the `last` epochs."""
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    whole, end = figure.subplots(1, 2)
    for (name, seeds), colour in zip(sides.items(), (OURS, THEIRS, BOTH)):
        errors = np.array(seeds)
        epochs = np.arange(1, errors.shape[1] + 1)
        for axes, shown in ((whole, slice(None)), (end, slice(-last, None))):
            axes.plot(epochs[shown], errors.mean(0)[shown], color=colour, linewidth=1.5, label=name)
            axes.fill_between(epochs[shown], errors.min(0)[shown], errors.max(0)[shown], color=colour,
                              alpha=0.2, linewidth=0)
    for axes, says in ((whole, "all epochs"), (end, f"the last {last} epochs")):
        axes.set_title(says, fontsize=10)
        axes.set(xlabel="epoch", ylabel="top-1 error on validation images, %")
        axes.grid(alpha=0.3)
    figure.legend(*whole.get_legend_handles_labels(), loc="outside lower center", ncols=len(sides),
                  fontsize=10, title="line: mean of the seeds; band: lowest to highest", title_fontsize=9)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def overfitting(panels: dict[str, dict[str, list[list[dict[str, Any]]]]], path: Path, title: str) -> None:
    """Error (above) and loss (below) on the validation images by epoch, {panel: {side: the rows of
    metrics.csv by seed}}: the mean, and a band from the lowest to the highest seed. Dotted lines where the
    learning rate falls."""
    figure = Figure(figsize=(9.5, 6.4), layout="constrained")
    grid = figure.subplots(2, len(panels), squeeze=False, sharex=True, sharey="row")
    for column, (panel, sides) in zip(grid.T, panels.items()):
        column[0].set_title(panel, fontsize=10)
        column[1].set_xlabel("epoch")
        for (name, seeds), colour in zip(sides.items(), (OURS, THEIRS)):
            epochs = [row["epoch"] for row in seeds[0]]
            for axes, what, factor in zip(column, ("val_top1_error", "val_loss"), (100, 1)):
                values = factor * np.array([[row[what] for row in rows] for rows in seeds])
                axes.plot(epochs, values.mean(0), color=colour, linewidth=1.5, label=name)
                axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)
        for before, after in zip(seeds[0], seeds[0][1:]):
            for axes in column if before["lr"] != after["lr"] else ():
                axes.axvline(after["epoch"] - 0.5, color="grey", linestyle=":", linewidth=1)
    for axes in grid.flat:
        axes.grid(alpha=0.3)
    grid[0, 0].set_ylabel("top-1 error on validation images, %")
    grid[1, 0].set_ylabel("loss on validation images")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10,
                  title="line: mean of the seeds; band: lowest to highest", title_fontsize=9)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def changes(steps: list[tuple[str, float, bool]], finals: dict[str, dict[int, list[float]]], path: Path,
            title: str, axis: str) -> None:
    """Left: one change per row, (name, error in %, kept), from above. A line joins the errors that were kept;
    an error far off stands at the edge. Right, if there are any: {recipe: {epochs: errors by seed}}."""
    figure = Figure(figsize=(10.5 if finals else 7, 1.2 + 0.32 * len(steps)), layout="constrained")
    left, *right = figure.subplots(1, 2 if finals else 1, squeeze=False)[0]
    kept = [(value, place) for place, (_, value, keep) in enumerate(steps) if keep]
    best, first = min(value for value, _ in kept), kept[0][0]
    edge = first + 2 * max(first - best, 1)
    left.step(*zip(*kept), where="post", color=OURS, linewidth=1)
    for place, (_, value, keep) in enumerate(steps):
        far = value > edge
        left.plot(min(value, edge), place, ">" if far else "o", color=OURS if keep else "darkgrey")
        left.annotate(f"{value:.1f}", (min(value, edge), place), (8, -3), textcoords="offset points",
                      fontsize=8)
    left.set_xlim(best - 1, edge + (edge - best) / 5)
    left.set_yticks(range(len(steps)), [name for name, _, _ in steps], fontsize=9)
    left.set_ylim(len(steps) - 0.5, -0.5)
    left.set_xlabel(axis)
    left.grid(alpha=0.3)
    left.set_title(title, fontsize=10)
    for axes in right:
        recipes_by_length(axes, finals)
    save(figure, path)


def recipes_by_length(axes: Axes, finals: dict[str, dict[int, list[float]]]) -> None:
    """One dot per seed, a bar at their mean; a recipe's lengths below each other."""
    rows = [(name, epochs, errors) for name, lengths in finals.items() for epochs, errors in lengths.items()]
    lengths = sorted({epochs for _, epochs, _ in rows})
    for place, (_, epochs, errors) in enumerate(rows):
        colour = ("#56B4E9", OURS)[lengths.index(epochs) % 2]
        axes.plot(errors, [place] * len(errors), "o", color=colour, alpha=0.6, markersize=5)
        axes.plot(np.mean(errors), place, "|", color=colour, markersize=18, markeredgewidth=2)
        axes.annotate(f"{np.mean(errors):.1f}", (np.mean(errors), place), (0, 12), textcoords="offset points",
                      fontsize=8, ha="center")
    axes.set_yticks(range(len(rows)), [f"{name}, {epochs} epochs" for name, epochs, _ in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.set_xlabel("top-1 error on validation images, %")
    axes.grid(alpha=0.3)
    axes.set_title(f"{' and '.join(map(str, lengths))} epochs, {len(rows[0][2])} seeds (bar: their mean)",
                   fontsize=10)
