"""Every matplotlib figure. Knows arrays, not models.

Drawn without pyplot, whose state (the backend, open figures) is the caller's: a notebook keeps its plots.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator
from PIL import Image

from alexnet.files import whole_file
from alexnet.fonts import fitted, prepare_texts, wrapped

if TYPE_CHECKING:
    from alexnet.geometry import Step
    from alexnet.interpret import LayerHealth

DPI = 200   # of a PNG file


def save(figure: Figure, path: Path, title: str = "", dpi: int | None = None) -> None:
    """Whole or not at all, with the same bytes for the same figure. title: above it all, if there is one.
    dpi: DPI, unless it is given."""
    if title:
        headline(figure, title)
    prepare_texts(figure)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi or DPI, format="png", metadata={"Software": None})


def clipped(name: str) -> str:
    """A class's name, which may be a whole sentence, cut so that the rest of the figure has room."""
    return name if len(name) <= 40 else f"{name[:39]}…"


def training_curves(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """Loss and errors by epoch, from the rows of metrics.csv; dotted where the learning rate changed."""
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for part, colour in (("train", "tab:blue"), ("val", "tab:orange")):
        left.plot(epochs, [row[f"{part}_loss"] for row in rows], color=colour, label=part)
        right.plot(epochs, [100 * row[f"{part}_top1_error"] for row in rows], color=colour,
                   label=f"{part}, top-1")
    if any(row["val_top5_error"] for row in rows):   # of five classes all are among five answers
        right.plot(epochs, [100 * row["val_top5_error"] for row in rows], color="tab:orange",
                   linestyle="--", label="val, top-5")
    for axes, name in ((left, "cross-entropy"), (right, "error, %")):
        for before, after in zip(rows, rows[1:]):
            if before["lr"] != after["lr"]:
                axes.axvline(after["epoch"] - 0.5, color="grey", linestyle=":", linewidth=1)
        by_epoch(axes, name)
        axes.legend()
    save(figure, path, f"{title} (train: with dropout and augmentation)")


def by_epoch(axes: Axes, name: str) -> None:
    """Axes for what changes from epoch to epoch, from 0 on."""
    axes.set(xlabel="epoch", ylabel=name, ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def confusion(counts: np.ndarray, classes: list[str], path: Path) -> None:
    """A confusion matrix: one row per true class, one column per answer. Colours are shares of the row;
    numbers stand where there is room."""
    size = len(classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(5.0, 0.45 * size + 2), 16)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class's pictures")
    if size <= 40:
        names = list(map(clipped, classes))
        axes.set_xticks(range(size), names, rotation=90, fontsize=8)
        axes.set_yticks(range(size), names, fontsize=8)
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
    columns = min(4, len(entries))
    rows = math.ceil(len(entries) / columns)
    figure = Figure(figsize=(2.6 * columns, 4.0 * rows), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[2.3, 1.3] * rows)
    for place, entry in enumerate(entries):
        row, column = divmod(place, columns)
        picture = figure.add_subplot(grid[2 * row, column])
        picture.imshow(entry.image)
        picture.set_axis_off()
        picture.set_title(clipped(entry.truth), fontsize=10)
        bars = figure.add_subplot(grid[2 * row + 1, column])
        for line, (name, probability, right) in enumerate(entry.answers):
            bars.barh(line, probability, color="tab:red" if right else "tab:blue", alpha=0.55, height=0.8)
            bars.text(0.02, line, clipped(name), va="center", fontsize=9)
            bars.text(0.98, line, f"{probability:.0%}", va="center", ha="right", fontsize=8, color="grey")
        bars.set(xlim=(0, 1), ylim=(max(len(entry.answers), 5) - 0.5, -0.5), xticks=[], yticks=[])
    save(figure, path)


# ------------------------------------------------------------------- looking inside

def mosaic(tiles: np.ndarray, across: int, gap: int = 1, scale: int = 1) -> np.ndarray:
    """(N, h, w, 3) as one picture, `across` per row, white between them; each value a square of `scale` px.

    torchvision's make_grid would draw a frame, too, and not for a single tile."""
    count, height, width, _ = tiles.shape
    down = math.ceil(count / across)
    canvas = np.ones((down * (height + gap) - gap, across * (width + gap) - gap, 3), np.float32)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, across)
        canvas[row * (height + gap):, column * (width + gap):][:height, :width] = tile
    return canvas.repeat(scale, 0).repeat(scale, 1)


def own_largest(kernels: np.ndarray) -> np.ndarray:
    """(K, 1, 1, 1): the largest magnitude of each kernel (K, inputs, h, w), to divide by: never 0."""
    return np.maximum(np.abs(kernels).max((1, 2, 3), keepdims=True), 1e-30)


def three_digits(value: float) -> str:
    """4,350, not 4.35e+03."""
    return f"{float(f'{value:.3g}'):,g}"


def headline(figure: Figure, title: str) -> None:
    figure.suptitle(wrapped(title, figure.get_size_inches()[0]), fontsize=11)


class Sheet:
    """Rows of square places for pictures, of `side` inches, with room for `above` lines of text over each,
    and at the `left` and `right`. All share one pair of axes: a hundred would take seconds."""

    def __init__(self, rows: int, columns: int, side: float, title: str, above: int = 1, left: float = 0.1,
                 right: float = 0.1) -> None:
        self.side, self.left = side, left
        width = left + columns * (side + 0.1) - 0.1 + right
        lines = wrapped(title, width)
        self.head, self.cell = 0.16 + 0.19 * (lines.count("\n") + 1), side + 0.06 + 0.155 * above
        self.height = self.head + rows * self.cell + 0.08
        self.figure = Figure(figsize=(width, self.height))
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, self.height),
                                         autoscale_on=False)
        self.axes.set_axis_off()
        self.axes.text(width / 2, self.height - 0.08, lines, ha="center", va="top", fontsize=11)

    def middle_of(self, row: int) -> float:
        return self.height - self.head - (row + 1) * self.cell + 0.03 + self.side / 2

    def put(self, row: int, column: int, image: np.ndarray, title: str, frame: str = "",
            interpolation: str = "antialiased") -> None:
        """A picture with a title above it; `frame` colours its edge."""
        x, y = self.left + column * (self.side + 0.1) + self.side / 2, self.middle_of(row)
        high, wide = (self.side / 2 * length / max(image.shape[:2]) for length in image.shape[:2])
        self.axes.imshow(image, extent=(x - wide, x + wide, y - high, y + high), interpolation=interpolation,
                         aspect="auto")
        self.axes.text(x, y + high + 0.03, title, ha="center", va="bottom", fontsize=8.5)
        if frame:
            self.axes.add_patch(Rectangle((x - wide, y - high), 2 * wide, 2 * high, fill=False,
                                          edgecolor=frame, linewidth=3))

    def name(self, row: int, text: str) -> None:
        """What a row is called, at its left."""
        self.axes.text(self.left - 0.08, self.middle_of(row), text, ha="right", va="center", fontsize=9)


def colour_scale(figure: Figure, cmap: str, low: float, high: float, label: str) -> None:
    """A colour bar in the last 0.9 inches at the right."""
    width, height = figure.get_size_inches()
    tall = min(3.0, height - 1)
    axes = figure.add_axes((1 - 0.75 / width, 0.5 - tall / 2 / height, 0.16 / width, tall / height))
    figure.colorbar(ScalarMappable(Normalize(low, high), cmap), cax=axes).set_label(label, fontsize=8)
    axes.tick_params(labelsize=8)


class Block(NamedTuple):
    """A layer of the architecture's drawing, and the steps between it and the next one."""

    layer: Step
    between: list[str]


class Box(NamedTuple):
    """A layer, or its half in one column, in oblique view; (x, y) is the middle of the front's left edge."""

    x: float
    y: float
    width: float
    height: float
    depth: float

    def draw(self, axes: Axes, colour: str) -> None:
        """Front, top and right side."""
        left, right = self.x, self.x + self.width
        bottom, top = self.y - self.height / 2, self.y + self.height / 2
        dx, dy = 0.55 * self.depth, 0.5 * self.depth
        front = [(left, bottom), (right, bottom), (right, top), (left, top)]
        lid = [(left, top), (right, top), (right + dx, top + dy), (left + dx, top + dy)]
        side = [(right, bottom), (right + dx, bottom + dy), (right + dx, top + dy), (right, top)]
        for corners, shade in ((front, 1.0), (lid, 0.93), (side, 0.85))[:3 if self.depth else 1]:
            axes.add_patch(Polygon(corners, facecolor=np.array(to_rgb(colour)) * shade, edgecolor="#44546a",
                                   linewidth=0.8, zorder=2))


def architecture(blocks: list[Block], columns: int, path: Path, title: str) -> None:
    """Figure 2: the first block is the picture; below it three bars per layer."""
    figure = Figure(figsize=(14, 8.4), layout="constrained")
    axes, *bars = figure.subplot_mosaic("aaa;pnm", height_ratios=[2.2, 1]).values()
    axes.set_axis_off()
    axes.set_aspect("equal")
    drawn: list[list[Box]] = []
    x = ceiling = 0.0
    for number, (layer, between) in enumerate(blocks):
        (maps, side, _), dense = layer.shape, layer.kind == "fc"
        inner = 0 < number < len(blocks) - 1   # neither the picture nor fc8, which the columns share
        rows = [1.45, -1.45] if inner and columns == 2 else [0.0]
        share = maps / len(rows)
        if dense:
            height, width, depth = 0.5 + 0.026 * share ** 0.5, 0.16, 0.0
        else:
            height = 0.55 + 1.25 * (side / blocks[0].layer.shape[1]) ** 0.55
            width, depth = 0.10 + 0.045 * share ** 0.5, 0.45 * height
        if columns == 1:
            height, depth = height * 1.35, depth * 1.35
        drawn.append([Box(x, y, width, height, depth) for y in rows])
        for box in drawn[-1]:
            box.draw(axes, "#cfe0f1" if number else "#e8e8e8")
        size = f"{maps:,}" if dense else f"{maps} × {side} × {side}"
        top = rows[0] + height / 2 + 0.5 * depth
        if inner:   # the layers' names on one line
            top = ceiling = max(top, ceiling)
        axes.text(x + width / 2 + 0.4 * depth, top + 0.12, f"{layer.name}\n{size}", ha="center", va="bottom",
                  fontsize=9, weight="bold" if number else "normal")
        if between:
            axes.text(x + width / 2, rows[-1] - height / 2 - 0.15, "\n".join(between), ha="center",
                      va="top", fontsize=7.5, color="dimgrey")
        x += width + 0.55 * depth + (0.75 if dense else 0.85)
    layers = [block.layer for block in blocks[1:]]
    for before, after, layer in zip(drawn, drawn[1:], layers):
        connect(axes, before, after, layer)
    axes.autoscale_view()
    layer_bars(bars, layers)
    save(figure, path, title)


def connect(axes: Axes, before: list[Box], after: list[Box], layer: Step) -> None:
    """From each box to those that see it: a kernel's square and where it leads, or a line; red where one
    column sees the other."""
    for there, target in enumerate(after):
        for here, source in enumerate(before):
            crosses = len(before) == len(after) == 2 and here != there
            if crosses and layer.groups == 2:
                continue
            x, y = source.x + source.width + 0.3 * source.depth, source.y
            end_x, end_y = target.x + 0.2 * target.depth, target.y + 0.25 * target.depth
            if layer.kind == "fc":
                axes.plot([x, end_x], [y + 0.15 * source.depth, end_y], linewidth=0.9, zorder=3,
                          color="tab:red" if crosses else "grey")
                continue
            y = y + (0.12 if there == 0 else -0.12) * source.height + 0.2 * source.depth
            small = 0.11 + 0.012 * layer.kernel
            patch = [(x - small / 2, y - small), (x + small / 2, y - small * 0.4),
                     (x + small / 2, y + small), (x - small / 2, y + small * 0.4)]
            colour = "tab:red" if crosses else "tab:orange"
            axes.add_patch(Polygon(patch, facecolor="none", edgecolor=colour, linewidth=1, zorder=4))
            for corner in (patch[1], patch[2]):
                axes.plot([corner[0], end_x], [corner[1], end_y], color=colour, linewidth=0.8, zorder=4)
    if layer.kind == "conv":
        source = before[0]
        middle = (source.x + source.width + after[0].x) / 2 + 0.2 * source.depth
        low = min(box.y - box.height / 2 for box in before + after)
        stride = f" / {layer.stride}" if layer.stride > 1 else ""
        axes.text(middle, low - 0.05, f"{layer.kernel} × {layer.kernel}{stride}", ha="center", va="bottom",
                  fontsize=8, color="tab:orange")


def layer_bars(panels: list[Axes], layers: list[Step]) -> None:
    """Parameters, neurons and multiply-adds of each layer, with their sums."""
    for axes, name, label in zip(panels, ("parameters", "neurons", "multiply_adds"),
                                 ("parameters", "neurons", "multiply-adds for one picture")):
        values = [getattr(layer, name) for layer in layers]
        axes.bar([layer.name for layer in layers], values, color="tab:blue", alpha=0.75)
        for place, value in enumerate(values):
            axes.text(place, value, f"{value / sum(values):.1%}", ha="center", va="bottom", fontsize=7.5)
        axes.set_title(f"{label}: {sum(values):,}", fontsize=10)
        axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(y=0.12)


def first_kernels(kernels: np.ndarray, columns: int, path: Path, title: str) -> None:
    """Figure 3: (K, 3, h, w), one row per column; grey is 0. Left each kernel is scaled by its own largest
    magnitude, right all by the largest of all."""
    own = own_largest(kernels)
    across = 12 if columns == 2 else 16
    down = math.ceil(len(kernels) / (columns * across))
    figure = Figure(figsize=(12, 0.7 + columns * (0.3 + 5.9 * down / across)), layout="constrained")
    grid = figure.subplots(columns, 2, squeeze=False, gridspec_kw={"wspace": 0.06})
    scales = (own, "each by its own largest weight"), (own.max(), "all on one scale")
    for place, (scale, says) in enumerate(scales):
        scaled = 0.5 + 0.5 * (kernels / scale).transpose(0, 2, 3, 1)
        for number, part in enumerate(np.split(scaled, columns)):
            axes = grid[number, place]
            axes.imshow(mosaic(part, across, gap=2), interpolation="nearest")
            axes.set_axis_off()
            axes.set_title(f"column {number + 1}, {says}" if columns > 1 else says, fontsize=11)
    save(figure, path, title)


def colourfulness(colour: np.ndarray, columns: int, path: Path, title: str) -> None:
    """How colourful the kernels (K,) of each column are, least first."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, part in enumerate(np.split(colour, columns), 1):
        name = f"column {number}" if columns > 1 else "all"
        axes.plot(np.sort(part), np.linspace(0, 100, len(part)), drawstyle="steps-post",
                  label=f"{name}: mean {part.mean():.2f}")
    axes.axvline(2 / 3, color="grey", linestyle=":", label="drawn at random")
    axes.set(xlim=(0, 1), ylim=(0, 100), xlabel="colourfulness: share of a kernel's energy that is not grey",
             ylabel="% of the kernels have less")
    axes.legend(fontsize=9)
    axes.grid(alpha=0.3)
    save(figure, path, title)


def growing_kernels(kept: dict[int, np.ndarray], errors: dict[int, float], path: Path, title: str) -> None:
    """An animation of kernels (K, 3, h, w) by epoch, each scaled by its own largest magnitude, and of the
    validation errors (fractions) by epoch; WebP."""
    frames = []
    for epoch, kernels in kept.items():
        scaled = kernels / own_largest(kernels)
        figure = Figure(figsize=(10, 4.3), layout="constrained", dpi=100)
        left, right = figure.subplots(1, 2, width_ratios=(2, 1))
        left.imshow(mosaic(0.5 + 0.5 * scaled.transpose(0, 2, 3, 1), 12), interpolation="nearest")
        left.set_axis_off()
        right.plot(list(errors), [100 * error for error in errors.values()], color="lightgrey")
        past = [one for one in errors if one <= epoch]
        right.plot(past, [100 * errors[one] for one in past], color="tab:blue")
        right.set(xlabel="epoch", ylabel="validation error, %", ylim=(0, 100))
        right.xaxis.get_major_locator().set_params(integer=True)
        right.set_title(f"epoch {epoch}" + (f": {errors[epoch]:.1%}" if epoch in errors else ""))
        headline(figure, title)
        prepare_texts(figure)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    with whole_file(path) as temporary:
        frames[0].save(temporary, "WEBP", save_all=True, append_images=frames[1:], quality=70, loop=0,
                       duration=[800] * (len(frames) - 1) + [3000])


def kernel_page(kernels: np.ndarray, numbers: list[int], path: Path, title: str) -> None:
    """(K, inputs, h, w): one block per kernel, in it one square per input feature map; blue is negative, red
    positive, by the kernel's own largest magnitude."""
    count, inputs, height, _ = kernels.shape
    inner = math.ceil(inputs ** 0.5)
    scale = max(1, round(150 / (inner * (height + 1))))
    colours = colormaps["RdBu_r"](0.5 + 0.5 * kernels / own_largest(kernels))[..., :3]
    across = 8
    sheet = Sheet(math.ceil(count / across), across, 1.65, title)
    for place, (tile, number) in enumerate(zip(colours, numbers)):
        block = mosaic(tile, inner, scale=scale)
        sheet.put(*divmod(place, across), block, f"kernel {number}", interpolation="nearest")
    save(sheet.figure, path)


def layer_maps(image: np.ndarray, maps: np.ndarray, columns: int, path: Path, title: str) -> None:
    """A picture beside all feature maps (C, h, w) of a layer on one scale, up to the 99.8th percentile of
    magnitudes. Those of two columns stand apart, the first above."""
    least, side = maps.min(), maps.shape[-1]
    reach = max(float(np.quantile(np.abs(maps), 0.998)), 1e-12)
    low, cmap = (-reach, "RdBu_r") if least < 0 else (0.0, "inferno")
    share, wanted = len(maps) // columns, (1.5 * len(maps)) ** 0.5
    whole_rows = [number for number in range(1, share + 1) if share % number == 0]
    across = min(whole_rows, key=lambda number: abs(np.log(number / wanted)))
    colours = colormaps[cmap]((maps - low) / (reach - low))[..., :3]
    gap, scale = max(1, side // 12), max(1, round(900 / (across * (side + 1))))
    parts = [mosaic(part, across, gap, scale) for part in np.split(colours, columns)]
    between = np.ones((3 * (gap + 1) * scale, parts[0].shape[1], 3), np.float32)
    canvas = np.concatenate([piece for part in parts for piece in (between, part)][1:])
    width = 9.6
    height = max(3.2, width * canvas.shape[0] / canvas.shape[1] + 0.7)
    figure = Figure(figsize=(width + 4.4, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2.6, width])
    left.imshow(image)
    right.imshow(canvas, interpolation="nearest")
    for axes in (left, right):
        axes.set_axis_off()
    figure.colorbar(ScalarMappable(Normalize(low, reach), cmap), ax=right, shrink=0.6, pad=0.01,
                    label="value", extend="max" if least >= 0 else "both")
    save(figure, path, title)


class Attribution(NamedTuple):
    """A picture, and how much each of its places counts."""

    image: np.ndarray                       # (S, S, 3) uint8
    title: str
    heats: list[tuple[str, np.ndarray]]     # name, (S, S)


def attributions(entries: list[Attribution], path: Path, title: str, label: str, reach: float | None = None,
                 overlay: bool = True) -> None:
    """Each picture, and beside it each of its heats, laid over it if `overlay`. With `reach` the scale goes
    from -reach to reach for all; without, each heat has its own, from 0 to its 99.5th percentile; one
    that is 0 everywhere says so."""
    columns = 1 + len(entries[0].heats)
    across = 2 if len(entries) > 1 else 1
    sheet = Sheet(math.ceil(len(entries) / across), across * columns, 2.2, title, right=1.0)
    cmap = "RdBu_r" if reach else "inferno"
    for number, entry in enumerate(entries):
        row, column = divmod(number, across)
        sheet.put(row, column * columns, entry.image, fitted(entry.title, sheet.side))
        grey = entry.image.mean(2) / 255
        for place, (name, heat) in enumerate(entry.heats, 1):
            low, high = (-reach, reach) if reach else (0, max(float(np.quantile(heat, 0.995)), 1e-30))
            colours = colormaps[cmap]((heat - low) / (high - low))[..., :3]   # beyond the scale: its ends
            mixed = 0.4 * (0.3 + 0.7 * grey[..., None]) + 0.6 * colours if overlay else colours
            if not (reach or heat.any()):
                mixed = np.repeat(grey[..., None], 3, 2)
                name += ": nothing speaks for this class" if overlay else ": no pixel changes its score"
            sheet.put(row, column * columns + place, mixed, name)
    colour_scale(sheet.figure, cmap, -100 * reach if reach else 0, 100 * reach if reach else 1, label)
    save(sheet.figure, path)


class NeighbourRow(NamedTuple):
    query: np.ndarray                                  # (S, S, 3) uint8
    title: str
    near: list[tuple[np.ndarray, str, bool | None]]    # picture, title, whether of the query's class


def neighbour_rows(rows: list[NeighbourRow], path: Path, title: str) -> None:
    """Figure 4, right: one row per query, then what is nearest; blue of its class, orange of another."""
    sheet = Sheet(len(rows), 1 + max(len(row.near) for row in rows), 1.6, title, above=2)
    for number, row in enumerate(rows):
        sheet.put(number, 0, row.query, fitted(row.title, sheet.side))
        for column, (image, name, same) in enumerate(row.near, 1):
            frame = "" if same is None else "tab:blue" if same else "tab:orange"
            sheet.put(number, column, image, fitted(name, sheet.side), frame)
    save(sheet.figure, path)


def picture_rows(rows: list[tuple[str, list[tuple[np.ndarray, str]]]], path: Path, title: str) -> None:
    """Rows of pictures with titles; a name before each row."""
    columns = max(len(pictures) for _, pictures in rows)
    sheet = Sheet(len(rows), columns, 1.3, title, left=0.8 if any(name for name, _ in rows) else 0.1)
    for row, (name, pictures) in enumerate(rows):
        sheet.name(row, name)
        for column, (image, text) in enumerate(pictures):
            sheet.put(row, column, image, fitted(text, sheet.side),
                      interpolation="nearest" if image.shape[0] < 40 else "antialiased")
    save(sheet.figure, path)


def plane(places: np.ndarray, labels: np.ndarray, classes: list[str], images: list[np.ndarray],
          shares: tuple[float, float], path: Path, title: str) -> None:
    """Pictures laid out in the plane: dots coloured by class, and as thumbnails where there is room."""
    figure = Figure(figsize=(15, 7), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = colormaps["tab10" if len(classes) <= 10 else "tab20" if len(classes) <= 20 else "hsv"]
    for label, name in enumerate(classes):
        mine = labels == label
        colour = colours(label / len(classes)) if len(classes) > 20 else colours(label)
        left.scatter(*places[mine].T, s=12, color=colour, label=clipped(name), alpha=0.8, linewidths=0)
    if len(classes) <= 20:
        left.legend(fontsize=8, markerscale=1.6, loc="best")
    cells, low, high = 20, places.min(0), places.max(0)
    spread = np.maximum(high - low, 1e-12)
    taken: set[tuple[int, int]] = set()
    for place, image in zip(places, images):
        cell = tuple(((place - low) / spread * (cells - 1)).round().astype(int).tolist())
        if cell in taken:
            continue
        taken.add(cell)
        x, y = low + np.array(cell) / (cells - 1) * spread
        dx, dy = spread / (cells - 1) / 2 * 0.96
        right.imshow(image, extent=(x - dx, x + dx, y - dy, y + dy), aspect="auto", zorder=2)
    right.set_xlim(low[0] - spread[0] / cells, high[0] + spread[0] / cells)
    right.set_ylim(low[1] - spread[1] / cells, high[1] + spread[1] / cells)
    for axes in (left, right):
        axes.set(xlabel=f"first principal component ({shares[0]:.0%} of the variance)",
                 ylabel=f"second ({shares[1]:.0%})", box_aspect=1)
        axes.tick_params(labelsize=8)
    save(figure, path, title)


def health(layers: list[LayerHealth], divisors: dict[str, np.ndarray], words: list[str], path: Path,
           title: str) -> None:
    """Dead units, values, weights and gradients by layer, what the norms divide by; then what is unusual."""
    figure = Figure(figsize=(14, 8.2 + 0.2 * len(words)), layout="constrained")
    units, values, sizes, ratio, norms, text = figure.subplot_mosaic(
        "uuuvvv;ssrrnn;tttttt", height_ratios=[1, 1, 0.06 + 0.055 * len(words)]).values()
    places, hidden = np.arange(len(layers)), layers[:-1]   # no ReLU follows fc8
    units.bar(places[:-1] - 0.2, [100 * layer.dead for layer in hidden], 0.4, color="black",
              label="never above 0: dead after a ReLU")
    units.bar(places[:-1] + 0.2, [100 * layer.always for layer in hidden], 0.4, color="tab:green",
              label="never below 0: a ReLU does nothing")
    units.set(ylim=(0, 100), ylabel="% of the units", title="units, over all pictures and places")
    units.legend(fontsize=8)
    draw_boxes(values, [layer.values for layer in layers])
    values.axhline(0, color="grey", linewidth=0.8)
    values.set_yscale("symlog", linthresh=1)
    values.set(title="values before the nonlinearity (whiskers: 1 and 99%)",
               ylabel="linear within ±1, then logarithmic")
    draw_line(sizes, [layer.weights for layer in layers], "tab:blue", "weights: standard deviation")
    draw_line(sizes, [layer.gradients for layer in layers], "tab:red", "gradients: root mean square")
    sizes.set(yscale="log", title="weights and gradients")
    sizes.legend(fontsize=8)
    draw_line(ratio, [layer.gradients / max(layer.weights, 1e-30) for layer in layers], "tab:purple")
    ratio.axhspan(1e-3, 10, color="tab:green", alpha=0.12, label="usual")
    ratio.set(yscale="log", title="gradient / weight (times the learning rate: a step)")
    ratio.legend(fontsize=8)
    if divisors:
        draw_boxes(norms, list(divisors.values()))
        norms.axhline(1, color="grey", linewidth=0.8, linestyle=":")
        norms.set(xticklabels=list(divisors), title="what the norms divide by (1: their least)")
    else:
        norms.set_axis_off()
        norms.text(0.5, 0.5, "no normalisation in this network", ha="center", va="center",
                   transform=norms.transAxes)
    for axes, shown in ((units, hidden), (values, layers), (sizes, layers), (ratio, layers)):
        axes.set_xticks(places[:len(shown)], [layer.name for layer in shown])
    for axes in (units, values, sizes, ratio, norms):
        axes.tick_params(labelsize=8)
        axes.title.set_fontsize(10)
        axes.grid(axis="y", alpha=0.3)
    text.set_axis_off()
    text.text(0, 1, "\n".join(words), va="top", fontsize=10, transform=text.transAxes)
    save(figure, path, title)


def draw_line(axes: Axes, values: list[float], colour: str, label: str | None = None) -> None:
    """A line over the layers, for a logarithmic axis: at a value of 0 it has a gap, and a 0 stands below."""
    axes.plot([value if value > 0 else np.nan for value in values], "o-", color=colour, label=label)
    for place, value in enumerate(values):
        if value == 0:
            axes.text(place, 0.02, "0", color=colour, ha="center", transform=axes.get_xaxis_transform())


def draw_boxes(axes: Axes, quantiles: list[np.ndarray]) -> None:
    """A box for each five quantiles: the outer two are its whiskers."""
    boxes = [dict(whislo=q[0], q1=q[1], med=q[2], q3=q[3], whishi=q[4]) for q in quantiles]
    axes.bxp(boxes, positions=range(len(boxes)), showfliers=False, widths=0.5)


def runs_side_by_side(runs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Loss and top-1 error by epoch of several runs, one colour per run: solid on val, dashed on train."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, rows) in enumerate(runs.items()):
        colour, epochs = f"C{number % 10}", [row["epoch"] for row in rows]
        for axes, what, scale in ((left, "loss", 1), (right, "top1_error", 100)):
            axes.plot(epochs, [scale * row[f"val_{what}"] for row in rows], color=colour, label=name)
            axes.plot(epochs, [scale * row[f"train_{what}"] for row in rows], color=colour, linewidth=0.8,
                      linestyle="--")
    for axes, name in ((left, "cross-entropy"), (right, "top-1 error, %")):
        by_epoch(axes, name)
    right.legend(fontsize=8)
    save(figure, path, f"{len(runs)} runs (solid: val; dashed: train, with dropout and augmentation)")
