"""Units: one run each, with the JSON file it leaves.

A unit says what it computes (`config`, from which its numbers follow), from which data, and about
how long it takes. Several processes may work on one list: a unit belongs to the process that holds
its lock, and the system gives the lock back when that process dies. What a unit needs to go on after a
stop lies in its work folder, which goes when the JSON file is written.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import time
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Callable, Iterable

import numpy as np
import torch
from PIL import Image

from alexnet.checkpoint import save_torch
from alexnet.device import choose_precision
from alexnet.pack import Pack, packed
from alexnet.sources import find_source
from alexnet.files import UserError, alone, read_json, whole_file, write_json, write_text
from alexnet.images import square
from alexnet.training import Stopped

RESULTS = Path(__file__).resolve().parent
DATA = {"imagenette": "photographs", "cifar10": "32 px", "tiny": "Tiny-ImageNet, 200 classes"}   # sets
TOY_IMAGES, TOY_STEPS = 256, 3   # of a unit that is only tried
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Unit:
    """One run."""

    experiment: str                  # its folder
    case: str                        # what is compared there
    seed: int
    config: dict[str, Any]           # everything that decides its numbers
    compute: Callable[[Unit, Place], dict[str, Any]]  # {"result": ..., "curve": [...]}
    minutes: float                   # about, on one thread
    data: str = ""                   # the data sets it reads, of DATA
    needs: tuple[Unit, ...] = ()     # units on whose results it builds

    @property
    def name(self) -> str:
        return f"{self.experiment}/{re.sub(r'[^a-z0-9.]+', '-', self.case.lower())}-{self.seed}"


@dataclass(frozen=True)
class Place:
    """Where things lie, and whether somebody asked to stop."""

    out: Path = RESULTS                                   # experiments/ and the tables
    folders: dict[str, Path] = field(default_factory=dict)  # of the data sets
    toy: bool = False                                     # everything as small as can be
    device: torch.device = CPU                            # where units run
    asked: list[int] = field(default_factory=list)        # the signals that asked to stop

    def file(self, unit: Unit) -> Path:
        return self.out / "experiments" / f"{unit.name}.json"

    def work(self, unit: Unit) -> Path:
        return self.out / "runs" / "units" / unit.name

    def found(self, unit: Unit) -> dict[str, Any] | None:
        """What the unit found out, or None if it was not run. UserError if it was run with another config."""
        if not self.file(unit).exists():
            return None
        content = read_json(self.file(unit))
        if changed := differing(content.get("config", {}), json.loads(json.dumps(unit.config))):
            raise UserError(f"{self.file(unit)} was computed with {changed}: delete it, and run it again")
        return content

    def found_all(self, units: Iterable[Unit]) -> list[dict[str, Any]]:
        """What those that were run found out. UserError where one was computed in bf16 and another was not,
        or one on a GPU and another on a CPU: such numbers are not compared."""
        contents = [(self.file(unit), content) for unit in units if (content := self.found(unit))]
        kinds = {computed_in(content): path for path, content in contents}
        if len(kinds) > 1:
            (one, path), (other, other_path) = list(kinds.items())[:2]
            raise UserError(f"{path} was computed in {one}, {other_path}, which it is compared with, in "
                            f"{other}: delete one, and run it on the other's kind of machine")
        return [content for _, content in contents]

    def results(self, units: Iterable[Unit]) -> list[dict[str, Any]]:
        """The results of those that were run."""
        return [content["result"] for content in self.found_all(units)]

    def pairs(self, ones: Iterable[Unit], others: Iterable[Unit]) -> list[list[dict[str, Any]]]:
        """What both units of a pair found out, for the pairs of which both were run."""
        found = map(self.found_all, zip(ones, others))
        return [pair for pair in found if len(pair) == 2]

    def pack(self, data: str, image_size: int, val_fraction: float | None = None,
             through: int | None = None) -> Pack:
        """A data set in packed form; its images are brought to squares of `through` px first."""
        source = find_source(str(self.folders[data]), val_fraction)
        if through:
            open_large = source.open
            source = replace(source, key=f"{source.key} through {through} px",
                             identity=f"{source.identity} through {through} px",
                             open=lambda item, _: Image.fromarray(square(open_large(item, through), through)))
        pack = packed(source, image_size, quiet=True, threads=torch.get_num_threads())
        return part_of(pack, TOY_IMAGES) if self.toy else pack

    def few(self, count: int, toy: int = 1) -> int:
        """A number of epochs or steps, less where things are only tried."""
        return min(count, toy) if self.toy else count


def differing(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The first setting that both have, with another value; settings that were added later are no change."""
    for name in before.keys() & now.keys():
        if isinstance(before[name], dict) and isinstance(now[name], dict):
            if found := differing(before[name], now[name]):
                return found
        elif before[name] != now[name]:
            return f"{name} {before[name]}, which is {now[name]} now"
    return ""


def computed_in(content: dict[str, Any]) -> str:
    """In which precision a unit was computed, and where if not on a CPU. The oldest files of some experiments
    do not say it: these were bf16, but are compared with one another only."""
    rows = content.get("curve") or [{}]
    kind = (content["result"].get("precision") or rows[-1].get("precision") or content.get("precision")
            or "a precision that is not stated")
    device = content.get("device", "cpu")
    return kind if device == "cpu" else f"{kind} on {device}"


def part_of(pack: Pack, images: int, first: int = 0) -> Pack:
    """Every n-th image of both parts, `images` of each at most, so that all classes stay."""
    def some(values: np.ndarray) -> np.ndarray:
        return values[first::max(1, len(values) // images)][:images]
    return replace(pack, images={part: some(values) for part, values in pack.images.items()},
                   labels={part: some(values) for part, values in pack.labels.items()})


# ------------------------------------------------------------------- running

def run(unit: Unit, place: Place) -> bool:
    """Computes a unit and writes its JSON file; False if there is nothing to do here and now.

    Stopped if somebody asked to stop; then the unit goes on from its work folder next time.
    """
    with alone(place.work(unit)) as mine:
        if not mine or place.found(unit):
            return False
        for data in unit.data.split():
            if data not in place.folders:
                raise UserError(f"{unit.name} needs --{data} DIR")
        kind, begun = unit.config.get("precision"), place.work(unit) / "unit.json"
        precision = {"precision": str(choose_precision(kind, place.device))} if kind else {}
        now = json.loads(json.dumps({"config": unit.config, "device": place.device.type, **precision}))
        if begun.exists() and (changed := differing(read_json(begun), now)):
            raise UserError(f"{begun.parent} was begun with {changed}: delete it, and run it again")
        write_json(begun, now)
        start = time.perf_counter()
        found = unit.compute(unit, place)
        curve = found.get("curve", [])
        seconds = sum(row.pop("seconds", 0.0) for row in curve) or time.perf_counter() - start
        write_text(place.file(unit), readable({
            "experiment": unit.experiment, "case": unit.case, "seed": unit.seed, "data": unit.data,
            **precision,
            **({} if place.device == CPU else {"device": place.device.type}), "config": unit.config,
            "result": found["result"], "curve": curve, "seconds": round(seconds, 1),
            "date": date.today().isoformat(), "toy": place.toy, "machine": machine(place.device)}))
        shutil.rmtree(place.work(unit), ignore_errors=True)
        return True


def readable(content: dict[str, Any]) -> str:
    """JSON with one value on each line, but a list of numbers on one."""
    text = json.dumps(content, indent=2)
    return re.sub(r"\[\s*[-\d.][-\d.,\seE+]*\]", lambda found: f"[{' '.join(found[0][1:-1].split())}]",
                  text) + "\n"


def machine(device: torch.device = CPU) -> dict[str, Any]:
    """Its shape and the versions; of names only that of the GPU, if units run there."""
    card = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return {**card, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "instructions": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__,
            "numpy": np.__version__, "python": platform.python_version()}


def pieces(unit: Unit, place: Place, count: int, parts: dict[str, Any],
           one: Callable[[list[dict[str, Any]]], dict[str, Any]],
           enough: Callable[[list[dict[str, Any]]], bool] = lambda rows: False) -> list[dict[str, Any]]:
    """At most `count` rows, one for each epoch (or for fewer steps, or a trial); `one` makes the next from
    those before.

    After each, the rows and the state of all `parts` (networks, optimisers) are kept, so that a stopped unit
    goes on from there; what chance decides must follow from the row's number. Ends early when the rows are
    `enough`.
    """
    kept, rows = place.work(unit) / "pieces.pt", []
    if kept.exists():
        content = torch.load(kept, weights_only=True)
        rows = content["rows"]
        for name, part in parts.items():
            part.load_state_dict(content["parts"][name])
    while len(rows) < count and not enough(rows):
        start = time.perf_counter()
        row = one(rows)
        rows.append({**row, "seconds": time.perf_counter() - start})
        with whole_file(kept) as temporary:
            save_torch({"rows": rows, "parts": {name: part.state_dict() for name, part in parts.items()}},
                       temporary)
        if place.asked:
            raise Stopped
    return rows
