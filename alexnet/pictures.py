"""Each kind of picture: what is computed (interpret.py), drawn (figures.py), and said below (captions.py)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Iterator, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet import captions, explore, figure_words, figures, interpret, step_figures
from alexnet.captions import AND, COMMAS, SEMICOLONS, UNITS, Text, joined
from alexnet.cli import say
from alexnet.files import UserError, read_csv, write_text
from alexnet.geometry import Step, sizes, step_of
from alexnet.subject import FEW, Inputs, Network, evenly

PATCHES = 9           # of a unit
NEAR = 6              # neighbours, as in figure 4
ASKED = 500           # validation pictures whose neighbours are counted
LAID_OUT = 1000       # validation pictures in the plane
EXAMINED = 256        # training pictures over which health is measured
EXPLORED = 400        # training pictures among which explore.html's strongest are found,
PIXELS = 20_000_000   # fewer if they are large: the page holds them
KEPT = "epoch-[0-9][0-9][0-9].npy"   # files of `--keep-filters`
FRAMES = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55)   # epochs whose kernels are shown, and the last one


class Shown(NamedTuple):
    """A file that was written (PNG, WebP, HTML), with what one sees in it."""

    file: str
    english: str
    chinese: str


def architecture(network: Network, out: Path) -> Iterator[Shown]:
    steps = {"norm": "LRN", "mapnorm": "same-map norm", "pool": "max-pool", "drop": "dropout", "flatten": "",
             "relu": network.model.design.activation.replace("relu", "ReLU")}
    blocks = [figures.Block(Step("picture", 3, (3, network.size, network.size)), [])]
    layers = sizes(network.model).values()
    for layer in layers:
        if layer.weights:
            blocks.append(figures.Block(layer, []))
        elif step := steps[layer.kind]:
            size = f" {layer.kernel}×{layer.kernel}/{layer.stride}" if step == "max-pool" else ""
            blocks[-1].between.append(step + size)
    figures.architecture(blocks, network.columns, out / "architecture.png",
                         f"AlexNet {network.title}, {len(network.classes):,} classes")
    columns = captions.RED_LINES if network.columns == 2 else ""
    dense = sum(layer.parameters for layer in layers if layer.kind == "fc")
    convolved = sum(layer.multiply_adds for layer in layers if layer.kind == "conv")
    yield Shown("architecture.png", *captions.ARCHITECTURE.filled(
        columns=columns, parameters=dense / sum(layer.parameters for layer in layers),
        work=convolved / sum(layer.multiply_adds for layer in layers)))


def filters(network: Network, out: Path, most: str | None) -> Iterator[Shown]:
    for name in network.convs:
        kernels = getattr(network.model, name).weight.detach().float().cpu()
        if kernels.shape[1] == 3:
            yield from first_kernels(network, out, name, kernels)
            continue
        if kernels.shape[2] == 3 and not most:   # hundreds of 3 x 3 squares tell nobody anything
            continue
        pages = math.ceil(len(kernels) / 32)
        wanted = pages if most == "all" else min(pages, int(most or 1))
        for page in range(wanted):
            chosen = list(range(page, len(kernels), pages))
            file = f"filters-{name}.png" if wanted == 1 else f"filters-{name}-{page + 1}.png"
            title = (f"{name}: {len(chosen)} of {len(kernels)} kernels (every {pages}th from {page}), each "
                     f"for its {kernels.shape[1]} input maps; red positive, blue negative, by the kernel's "
                     f"own largest value ({network.title})")
            figures.kernel_page(kernels[chosen].numpy(), chosen, out / file, title)
            yield Shown(file, *captions.KERNEL_PAGE.filled(
                layer=name, side=kernels.shape[2], inputs=kernels.shape[1], shown=len(chosen),
                count=len(kernels), step=pages, rest="" if wanted == pages else captions.ALL_PAGES))


def first_kernels(network: Network, out: Path, name: str, kernels: Tensor) -> Iterator[Shown]:
    """Those of the layer that sees the picture, and how colourful they are."""
    colour, side, columns = interpret.colourfulness(kernels), kernels.shape[2], network.columns
    figures.first_kernels(kernels.numpy(), columns, out / f"filters-{name}.png",
                          f"{name}: all {len(kernels)} kernels, {side} × {side} px ({network.title})")
    yield Shown(f"filters-{name}.png", *captions.FIRST_KERNELS)
    figures.colourfulness(colour, columns, out / f"colourfulness-{name}.png",
                          f"{name}: how colourful the kernels are ({network.title})")
    means = joined([f"{part.mean():.2f}" for part in np.split(colour, columns)], AND)
    yield Shown(f"colourfulness-{name}.png", *captions.COLOURFULNESS.filled(means=means))


def maps(network: Network, inputs: Inputs, out: Path, layers: list[str] | None) -> Iterator[Shown]:
    steps = network.model.steps
    names = layers or [next(step for step in steps[steps.index(name):] if step.startswith("relu"))
                       for name in network.convs]
    with torch.inference_mode():
        found = network.model.activations(inputs.crops, names)
    for number, picture in enumerate(inputs.pictures):
        for name in names:
            values, columns = found[name][number].float().cpu(), network.columns
            dark = captions.DARK_VALUE if values.ndim == 1 else captions.DARK_MAP
            colours = captions.SIGNED if values.min() < 0 else dark
            if values.ndim == 1:   # a fully-connected layer: its values as one square
                what, columns = captions.ALL_VALUES.filled(count=len(values)), 1
                side = math.ceil(len(values) ** 0.5)
                values = F.pad(values, (0, side * side - len(values))).view(1, side, side)
            else:
                what = captions.ALL_MAPS.filled(count=len(values), side=values.shape[1])
            file = f"maps-{number + 1}-{name}.png"
            figures.layer_maps(picture.image, values.numpy(), columns, out / file,
                               f"{name} of {picture.name}: {what.english}, on one scale ({network.title})")
            blocks = captions.TWO_BLOCKS if columns == 2 else ""
            yield Shown(file, *captions.MAPS.filled(picture=picture.name, what=what, layer=name,
                                                    colours=colours, blocks=blocks))


def predictions(network: Network, inputs: Inputs, out: Path) -> Iterator[Shown]:
    rows = list(zip(inputs.pictures, inputs.probabilities))
    known = all(picture.truth for picture in inputs.pictures)
    end = captions.RIGHT_ONE if known else captions.FULL_STOP
    for page, first in enumerate(range(0, len(rows), FEW), 1):
        entries = []
        for picture, row in rows[first:first + FEW]:
            top = row.argsort(descending=True, stable=True)[:5].tolist()
            entries.append(figures.PanelEntry(picture.image, network.title_of(picture), [
                (network.classes[index], row[index].item(), network.model.classes[index] == picture.truth)
                for index in top]))
        file = "predictions.png" if page == 1 else f"predictions-{page}.png"
        figures.prediction_panel(entries, out / file)
        yield Shown(file, *captions.PREDICTIONS.filled(end=end))


def neighbours(network: Network, inputs: Inputs, out: Path, sample: int) -> Iterator[Shown]:
    model, shown = network.model, inputs.pictures if inputs.places else inputs.pictures[:5]
    bank, labels = inputs.part("train", sample)
    many, truths = inputs.part("val", ASKED)
    pixels, count = np.stack([picture.image for picture in shown]), min(NEAR, len(bank))
    known = interpret.layer_values(model, bank, "fc7", "fc7 of training pictures")
    spaces = {"fc7": (interpret.layer_values(model, pixels), interpret.layer_values(model, many), known),
              "pixels": (pixels, many, bank)}
    agree, nearest = {}, {}
    for space, (queries, asked, among) in spaces.items():
        found, _ = interpret.neighbours(asked, among, NEAR, f"neighbours in {space}")
        agree[space] = (labels[found] == truths[:, None]).mean()
        nearest[space] = interpret.neighbours(queries, among, NEAR + 1)
    share = f"{len(bank):,} training pictures"
    if len(bank) < len(inputs.pack.images["train"]):
        share += ", evenly chosen"
    frames = captions.FRAMES if any(picture.truth for picture in shown) else ""
    for space, (found, distances) in nearest.items():
        rows = []
        for picture, indices, far in zip(shown, found.tolist(), distances):
            near = []
            for index, distance in zip(indices, far):
                if np.abs(bank[index].astype(int) - picture.image).mean() > 1:   # not the query itself
                    same = inputs.pack.classes[labels[index]] == picture.truth if picture.truth else None
                    near.append((bank[index], f"{inputs.data_classes[labels[index]]}\n"
                                 f"{figures.three_digits(distance)}", same))
            rows.append(figures.NeighbourRow(picture.image, network.title_of(picture), near[:NEAR]))
        file = f"neighbours-{space}.png"
        title = (f"nearest in {space} among {share}, with Euclidean distance; over {len(many)} validation "
                 f"pictures {agree[space]:.1%} of the {count} nearest are of their class ({network.title})")
        figures.neighbour_rows(rows, out / file, title)
        yield Shown(file, *captions.NEIGHBOURS.filled(
            space=captions.SPACES[space].filled(values=model.design.hidden), asked=len(many), near=count,
            among=Text(share, str(len(bank))), frames=frames, **agree))


def occlusion(network: Network, inputs: Inputs, out: Path) -> Iterator[Shown]:
    side = max(4, round(network.size / 7))
    stride = max(2, side // 2)
    heats = [interpret.occlusion(network.model, crop, int(target), side, stride)
             for crop, target in zip(inputs.crops, inputs.targets)]
    entries = inputs.attributions([[(f"largest fall {100 * heat.max():.1f}", heat)] for heat in heats])
    title = f"occlusion by the mean image, {side} × {side} px every {stride} px ({network.title})"
    figures.attributions(entries, out / "occlusion.png", title,
                         "fall of the probability, percentage points (mean of the squares over a pixel)",
                         reach=max(0.02, float(np.abs(heats).max())))
    yield Shown("occlusion.png", *captions.OCCLUSION.filled(side=side))


OWN_SCALE = "share of the picture's 99.5th percentile"


def gradient(network: Network, inputs: Inputs, out: Path) -> Iterator[Shown]:
    plain = interpret.gradient(network.model, inputs.crops, inputs.targets)
    smooth = interpret.gradient(network.model, inputs.crops, inputs.targets, noise=30, samples=16)
    heats = [[("gradient", np.abs(one).max(0)), ("over noise", np.abs(mean).max(0))]
             for one, mean in zip(plain, smooth)]
    title = ("|d logit / d pixel|, largest of R, G, B; right: mean over 16 copies with noise of 30 grey "
             f"levels ({network.title})")
    figures.attributions(inputs.attributions(heats), out / "gradient.png", title, OWN_SCALE, overlay=False)
    yield Shown("gradient.png", *captions.GRADIENT)


def gradcam(network: Network, inputs: Inputs, out: Path, layers: list[str] | None) -> Iterator[Shown]:
    names = only_convs(layers, network.convs[-1:])
    heats = [interpret.gradcam(network.model, inputs.crops, inputs.targets, name) for name in names]
    entries = inputs.attributions([list(zip(names, of_picture)) for of_picture in zip(*heats)])
    sides = ", ".join("{1} × {2}".format(*step_of(network.model, name).shape) for name in names)
    title = f"Grad-CAM, {', '.join(names)}: {sides} places ({network.title})"
    figures.attributions(entries, out / "gradcam.png", title, OWN_SCALE)
    yield Shown("gradcam.png", *captions.GRADCAM.filled(layers=joined(names, COMMAS), sides=sides))


def units_of(count: int, asked: list[int] | None) -> list[int]:
    """The units asked for of a layer that has `count`, or some of them."""
    if wrong := [unit for unit in asked or [] if not 0 <= unit < count]:
        raise UserError(f"--units: there is no unit {wrong[0]} in a layer of {count} (0 to {count - 1})")
    return asked or evenly(count, UNITS)


def only_convs(layers: list[str] | None, otherwise: list[str]) -> list[str]:
    """The convolutions among the layers asked for, or those that are shown otherwise."""
    found = [name for name in layers or [] if name.startswith("conv")]
    if layers and not found:
        say(f"--layers {' '.join(layers)}: no convolution is among them; shown is {', '.join(otherwise)}")
    return found or otherwise


def patches(network: Network, inputs: Inputs, out: Path, layers: list[str] | None, units: list[int] | None,
            sample: int) -> Iterator[Shown]:
    images, _ = inputs.part("train", sample)
    best = interpret.strongest(network.model, images, only_convs(layers, network.convs), PATCHES, "patches")
    for name, found in best.items():
        layer = step_of(network.model, name)
        rows = []
        for unit in units_of(layer.shape[0], units):
            pieces = []
            for index, row, column, value in zip(*(part[unit].tolist() for part in found)):
                window = interpret.field_of_view(layer, row, column, network.size)
                pieces.append((images[index][window], figures.three_digits(value)))
            rows.append((f"{name}\nunit {unit}", pieces))
        figures.picture_rows(rows, out / f"patches-{name}.png",
                             f"{name}: strongest of {len(images):,} training pictures, cut at the receptive "
                             f"field, {layer.field} × {layer.field} px; value before the nonlinearity "
                             f"({network.title})")
        cut = captions.LARGER_THAN_PICTURE if layer.field > network.size else captions.CUT_AT_EDGE
        yield Shown(f"patches-{name}.png", *captions.PATCHES.filled(
            layer=name, count=len(images), field=layer.field, cut=cut))


RULE = "gradient ascent, blurred gradients, decay to the mean image, shifts"


def synthesis(network: Network, out: Path, layers: list[str] | None, units: list[int] | None,
              target: int | None) -> Iterator[Shown]:
    rows = []
    for name in layers or [*network.convs, "fc8"]:
        if name == "fc8":
            yield synthesis_of_classes(network, out, target)
            continue
        layer = step_of(network.model, name)
        chosen, title = units_of(layer.shape[0], units), name
        pictures = interpret.synthesis(network.model, name, chosen, doing=name)
        if layer.shape[1] > 1:
            middle = layer.shape[1] // 2
            rows_seen, columns_seen = interpret.field_of_view(layer, middle, middle, network.size)
            pictures = pictures[:, rows_seen, columns_seen]
            title = f"{name}\n{pictures.shape[1]} px"
        rows.append((title, [(picture, f"unit {unit}") for picture, unit in zip(pictures, chosen)]))
    if rows:
        figures.picture_rows(rows, out / "synthesis-units.png", "what excites a unit in the middle most, cut "
                             f"at its receptive field: {RULE} ({network.title})")
        yield Shown("synthesis-units.png", *captions.SYNTHESIS_UNITS)


def synthesis_of_classes(network: Network, out: Path, target: int | None) -> Shown:
    count, file = len(network.classes), "synthesis-classes.png"
    chosen = evenly(count, 12) if target is None else [target]
    made = interpret.synthesis(network.model, "fc8", chosen, doing="classes")
    pictures = [(picture, network.classes[index]) for picture, index in zip(made, chosen)]
    rows = [("", pictures[first:first + 6]) for first in range(0, len(chosen), 6)]
    figures.picture_rows(rows, out / file, f"what excites a class most: {RULE} ({network.title})")
    return Shown(file, *captions.SYNTHESIS_CLASSES.filled(shown=len(chosen), count=count))


def embedding(network: Network, inputs: Inputs, out: Path) -> Iterator[Shown]:
    images, labels = inputs.part("val", LAID_OUT)
    if len(images) < 2:
        raise UserError("needs two validation pictures at least")
    fc7 = interpret.layer_values(network.model, images, "fc7", "fc7 of validation pictures")
    places, (first, second) = interpret.plane(fc7)
    step = max(1, network.size // 64)
    figures.plane(places, labels, inputs.data_classes, [image[::step, ::step] for image in images],
                  (first, second), out / "embedding.png",
                  f"{len(images):,} validation pictures by the two largest principal components of fc7 "
                  f"({network.title})")
    yield Shown("embedding.png", *captions.EMBEDDING.filled(count=len(images), first=first, second=second))


def health(network: Network, inputs: Inputs, out: Path) -> Iterator[Shown]:
    model = network.model
    images, labels = inputs.part("train", EXAMINED)
    crops = torch.cat([crops for _, crops in interpret.batches(model, images)])
    known = set(inputs.pack.classes) <= set(model.classes)
    if known:
        numbers = np.array([model.classes.index(name) for name in inputs.pack.classes])
        targets = torch.as_tensor(numbers[labels], device=network.device)
    else:
        with torch.no_grad():
            targets = model(crops).argmax(1)
    report = interpret.health(model, crops, targets)
    loss = captions.LOSS.filled(loss=report.loss, chance=report.chance) if known else captions.OWN_ANSWERS
    things = [captions.UNUSUAL[kind].filled(layer=layer, number=number)
              for kind, layer, number in interpret.unusual(model, report)]
    lines = [f"• {figure_words.chosen(thing)}" for thing in things or [captions.NOTHING_UNUSUAL]]
    figures.health(report.layers, report.divisors, [figure_words.chosen(loss), *lines], out / "health.png",
                   f"over {len(images)} training pictures, without dropout ({network.title})")
    for thing in things:
        say(f"health: {thing.english}")
    unusual = captions.NOTHING_UNUSUAL
    if things:
        unusual = captions.UNUSUAL_THINGS.filled(things=joined(things, SEMICOLONS))
    yield Shown("health.png", *captions.HEALTH.filled(count=len(images), loss=loss, unusual=unusual))


def explore_page(network: Network, inputs: Inputs, out: Path, language: str) -> Iterator[Shown]:
    images, titles = zip(*((picture.image, network.title_of(picture)) for picture in inputs.pictures))
    most = min(EXPLORED, 10 + PIXELS // network.size ** 2)
    training = inputs.part("train", most)[0] if inputs.has_data else None
    data = network.facts.get("data") or ""
    trained_on = explore.BUILT_IN_SET if data == "demo" else Path(data).name
    content = explore.contents(network.model, np.stack(images), list(titles), training, trained_on, language)
    write_text(out / "explore.html", explore.page(content))
    yield Shown("explore.html", *captions.EXPLORE)


def training(network: Network, out: Path, folders: list[str] | None) -> Iterator[Shown]:
    given = [Path(folder) for folder in folders or [network.path.parent]]
    names = [folder.resolve().name for folder in given]
    runs = {name if names.count(name) == 1 else str(folder): metrics(folder)
            for name, folder in zip(names, given)}
    if len(runs) == 1:
        (name, rows), = runs.items()
        figures.training_curves(rows, out / "training.png", name)
    else:
        figures.runs_side_by_side(runs, out / "training.png")
    ends = [f"{name}: {rows[-1]['val_top1_error']:.1%}" for name, rows in runs.items()]
    yield Shown("training.png", *captions.TRAINING.filled(ends=joined(ends, SEMICOLONS)))


def growing(network: Network, out: Path) -> Iterator[Shown]:
    folder = network.path.parent
    kept = {int(path.stem[-3:]): path for path in sorted((folder / "filters").glob(KEPT))}
    if not kept:
        raise UserError(f"{folder / 'filters'} has no kernels: train with --keep-filters")
    errors = {int(row["epoch"]): row["val_top1_error"] for row in metrics(folder)}
    kernels = {}
    for epoch, path in kept.items():
        if epoch in FRAMES or epoch == max(kept):
            try:
                kernels[epoch] = np.load(path).astype(np.float32)
            except (ValueError, EOFError):
                raise UserError(f"{path} is damaged: without it the others can be drawn") from None
    figures.growing_kernels(kernels, errors, out / "growing.webp", network.run_title)
    yield Shown("growing.webp", *captions.GROWING)


def steps(out: Path) -> Iterator[Shown]:
    for name, (says, _) in step_figures.STEPS.items():
        yield Shown(step_figures.draw(name, out, figure_words.language), *says)


def metrics(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's metrics.csv, as numbers; UserError if there are none."""
    path = folder / "metrics.csv"
    if not path.is_file():
        raise UserError(f"there is no {path}: --runs takes folders of runs")
    try:
        rows = [{name: float(value) for name, value in row.items()} for row in read_csv(path)]
        if not rows:
            raise UserError(f"{path} has no epoch yet")
        for name in ("epoch", "lr", "train_loss", "train_top1_error", "val_loss", "val_top1_error",
                     "val_top5_error"):   # what the figures show
            rows[0][name]
    except (KeyError, ValueError, TypeError):
        raise UserError(f"{path} is not the table of a run") from None
    return rows
