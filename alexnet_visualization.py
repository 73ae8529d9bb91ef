"""Look inside a network: what its filters are, what it sees, what it finds alike. Pictures and a page.

    python alexnet_visualization.py                                everything, for the newest run
    python alexnet_visualization.py filters --model best.pt        one thing
    python alexnet_visualization.py maps gradcam --images cat.jpg --out look
    python alexnet_visualization.py maps --layers conv1 norm1      before the ReLU, and between
    python alexnet_visualization.py training --runs results/runs/A results/runs/B
    python alexnet_visualization.py steps --out steps              one picture per idea; no network is needed
    python alexnet_visualization.py explore                        explore.html, a page to play with
    python alexnet_visualization.py --list                         what there is to see
"""

from __future__ import annotations

import argparse
import html
import os
import time
from contextlib import suppress
from pathlib import Path

from alexnet import captions
from alexnet.captions import COMMAS, KINDS, UNITS, Text, joined
from alexnet.cli import CommandLine, check_data, find, say, shell
from alexnet.files import UserError, read_json, write_json, write_text


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = CommandLine(__doc__)
    add = parser.add_argument
    add("what", nargs="*", metavar="WHAT", help=f"{', '.join(KINDS)} (default: all that the inputs allow)")
    add("--list", action="store_true", help="say what each of them shows")
    add("--model", metavar="CHECKPOINT",
        help="a checkpoint or a run's folder (default: the newest run's best.pt)")
    add("--images", nargs="+", metavar="PATH", help="files (up to 64) and folders, eight pictures of each "
        "(default: eight validation pictures of the data, else the samples in data/)")
    add("--data", metavar="WHERE", help="training and validation pictures, as in train_alexnet.py (default: "
        "those that the network was trained on, if they are there)")
    add("--out", metavar="DIR", help="where the files go (default: inside/ beside the checkpoint; steps: "
        "results/steps)")
    add("--language", choices=("en", "zh"), default="en",
        help="of the words in the pictures and of explore.html; index.html has both and begins with this one "
        "(default en)")

    add = parser.add_argument_group("choices").add_argument
    add("--layers", nargs="+", metavar="NAME", help="for maps, patches, gradcam, synthesis: conv1 is before "
        "the nonlinearity, relu1 after it, pool1, norm1, fc7 ... what their names say")
    add("--class", dest="target", metavar="NAME", help="for occlusion, gradient, gradcam, synthesis: a class "
        "by its name (default: for each picture the most probable one)")
    add("--units", nargs="+", type=int, metavar="N",
        help=f"for patches and synthesis, but not of fc8 (default: {UNITS} evenly chosen)")
    add("--pages", metavar="N",
        help="for filters: how many pages of conv2 to conv5, or all (default: one of conv2)")
    add("--sample", type=int, default=2000, metavar="N", help="for neighbours and patches: how many training "
        "pictures are searched, evenly chosen (default 2000; 0 is all)")
    add("--runs", nargs="+", metavar="RUN", help="for training: folders of runs (default: the checkpoint's)")
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps")
    add("--cache", metavar="DIR", help="where packed images lie (default: the run's, or data/packed)")
    add("--download", action="store_true", help="let torchvision fetch its data set")
    options = parser.parse_args(arguments)
    check(options)
    return options


def check(options: argparse.Namespace) -> None:
    """UserError for options that name what does not exist."""
    if unknown := [name for name in options.what if name not in KINDS]:
        meant = f" (is --model or --images {unknown[0]} meant?)" if os.path.exists(unknown[0]) else ""
        raise UserError(f"there is nothing called {', '.join(unknown)} to look at{meant}; "
                        f"there is {', '.join(KINDS)}")
    if behind := [name for name in options.images or () if name in KINDS and not os.path.lexists(name)]:
        raise UserError(f"{behind[0]} stands behind --images, so it counts as a picture: put it before")
    if options.pages not in (None, "all") and not (options.pages.isdecimal() and int(options.pages) > 0):
        raise UserError(f"--pages takes a number from 1 on, or all, not {options.pages}")
    if options.sample < 0:
        raise UserError("--sample must be 0 (all) or more")
    if options.images and not any(map(os.path.lexists, options.images)):
        raise UserError(f"no picture could be read in {', '.join(options.images)}: there is no such file "
                        "or folder")
    check_data(options.data)
    if not options.list and options.what != ["steps"]:
        find(options.model)


if __name__ == "__main__":   # mistakes in the options are answered at once: importing torch takes seconds
    with shell("alexnet_visualization.py"):
        parse()

from alexnet import figure_words, fonts, pictures
from alexnet.device import keep_memory
from alexnet.pictures import Shown
from alexnet.predict import shapes
from alexnet.subject import Inputs, Network


# ------------------------------------------------------------------- the page

def write_page(network: Network, out: Path, language: str, drawn: dict[str, list[Shown]]) -> None:
    """index.html, with what earlier calls drew of the same network; captions.json remembers it."""
    about = f"{network.path.resolve()} {network.path.stat().st_mtime_ns}"
    memory = out / "captions.json"
    earlier: dict[str, list[Shown]] = {}
    damaged = OSError, UserError, LookupError, TypeError, AttributeError   # or there is none yet
    with suppress(*damaged):
        before = read_json(memory)
        for name, entries in before["looks"].items() if before["model"] == about else ():
            with suppress(*damaged):   # in one kind of picture: the others stay
                earlier[name] = [Shown(*map(str, entry)) for entry in entries if (out / entry[0]).is_file()]
    shown = {name: entries for name in KINDS if (entries := drawn.get(name) or earlier.get(name))}
    write_json(memory, {"model": about, "looks": shown})
    sections = []
    for name, entries in shown.items():
        heading = KINDS[name].heading
        sections.append(f'<h2 id="{name}">{in_spans(heading)}</h2>')
        for entry in entries:
            form = captions.LINK if entry.file.endswith(".html") else captions.FIGURE
            sections.append(form.format(file=html.escape(entry.file), alt=html.escape(heading.english),
                                        caption=in_spans(Text(entry.english, entry.chinese))))
    classes = captions.CLASSES.filled(count=len(network.classes), names=joined(network.classes[:20], COMMAS),
                                      end=captions.AND_MORE if len(network.classes) > 20 else "")
    write_text(out / "index.html", captions.PAGE.format(
        language="zh-CN" if language == "zh" else "en", title=html.escape(f"AlexNet: {network.title}"),
        about=in_spans(classes), links=" ".join(f'<a href="#{name}">{name}</a>' for name in shown),
        sections="\n".join(sections)))


def in_spans(text: Text) -> str:
    """Both languages, of which the page shows one."""
    return (f'<span lang="en">{html.escape(text.english)}</span>'
            f'<span lang="zh-CN">{html.escape(text.chinese)}</span>')


# ------------------------------------------------------------------- the job

def possible(network: Network, inputs: Inputs, runs: bool) -> list[str]:
    """The kinds of pictures that the inputs allow. runs: whether runs were named."""
    folder = network.path.parent
    some = inputs.has_data and len(inputs.pack.labels["val"]) > 1   # of one picture there is no plane
    there = {"": True, "pictures": True, "data": inputs.has_data,
             "run": runs or (folder / "metrics.csv").is_file(),
             "filters": any((folder / "filters").glob(pictures.KEPT)), "named": False}
    return [name for name, kind in KINDS.items() if there[kind.needs] and (some or name != "embedding")]


def main(arguments: list[str] | None = None) -> None:
    with shell("alexnet_visualization.py"):
        options = parse(arguments)
        if options.list:
            print("\n".join(f"{name:13} {kind.help}" for name, kind in KINDS.items()))
            return
        figure_words.language = fonts.language_drawn(options.language)
        if options.what == ["steps"]:
            for shown in pictures.steps(Path(options.out or "results/steps")):
                print(f"{shown.file}: {shown.chinese if options.language == 'zh' else shown.english}")
            return
        keep_memory()
        network = Network(options.model, options.device)
        figure_words.names = frozenset(network.classes)
        shapes(network.model, options.layers or [], "--layers")   # an unknown one is said before drawing
        target = network.number_of(options.target) if options.target else None
        inputs = Inputs(network, options.images, options.data, target, options.cache, options.download)
        out = Path(options.out) if options.out else network.path.parent / "inside"
        if not options.model:
            say(f"model: {network.path}")
        layers, units = options.layers, options.units
        draw = {
            "architecture": lambda: pictures.architecture(network, out),
            "filters": lambda: pictures.filters(network, out, options.pages),
            "maps": lambda: pictures.maps(network, inputs, out, layers),
            "predictions": lambda: pictures.predictions(network, inputs, out),
            "neighbours": lambda: pictures.neighbours(network, inputs, out, options.sample),
            "occlusion": lambda: pictures.occlusion(network, inputs, out),
            "gradient": lambda: pictures.gradient(network, inputs, out),
            "gradcam": lambda: pictures.gradcam(network, inputs, out, layers),
            "patches": lambda: pictures.patches(network, inputs, out, layers, units, options.sample),
            "synthesis": lambda: pictures.synthesis(network, out, layers, units, target),
            "embedding": lambda: pictures.embedding(network, inputs, out),
            "health": lambda: pictures.health(network, inputs, out),
            "explore": lambda: pictures.explore_page(network, inputs, out, options.language),
            "training": lambda: pictures.training(network, out, options.runs),
            "growing": lambda: pictures.growing(network, out),
            "steps": lambda: pictures.steps(out),
        }
        drawn: dict[str, list[Shown]] = {}
        for name in options.what or possible(network, inputs, bool(options.runs)):
            start = time.perf_counter()
            try:
                drawn[name] = list(draw[name]())
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
            write_page(network, out, options.language, drawn)   # after each: what was finished is not lost
            count = len(drawn[name])
            say(f"{name}: {count} file{'s' * (count != 1)}, {time.perf_counter() - start:.1f} s")
        print(out / "index.html")


if __name__ == "__main__":
    main()
