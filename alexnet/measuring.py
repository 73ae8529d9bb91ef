"""The errors of a checkpoint, and on which images they are measured: train_alexnet.py --evaluate."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from alexnet import checkpoint, weights
from alexnet.checkpoint import Checkpoint
from alexnet.console import warn_if_no_better
from alexnet.device import choose_precision, surroundings
from alexnet.files import UserError, printable, write_json
from alexnet.layout import PARTS, measured_part
from alexnet.pack import Pack, Packer, kept_in, say_findings, short_digest
from alexnet.settings import facts_now, whole_path
from alexnet.sources import to_measure
from alexnet.training import evaluate


def measure(path: Path, given: dict[str, Any], part: str | None, views: int | None, out: Path | None,
            packer: Packer, device: torch.device) -> None:
    """The errors of a checkpoint: a line for one crop and for ten-crop, and JSON."""
    content, world = weights.read(path), packer.world
    content["facts"] = facts = facts_now(content["facts"], path)
    model = checkpoint.build(content)
    if given.get("image_size", model.image_size) != model.image_size:
        raise UserError(f"{path} takes images of {model.image_size} px; leave --image-size out")
    where = given.get("data") or facts.get("data")
    if not where:
        raise UserError(f"{path} does not say what it was trained on: --data FOLDER says what to measure on")
    if out and out.is_dir():
        raise UserError(f"--out {out} is a folder; the numbers go into a file, such as {out / 'x.json'}")
    beside = path if path.is_dir() else path.parent
    if not out and not os.access(beside, os.W_OK):
        raise UserError(f"nothing can be written to {beside}: --out FILE.json says where the numbers go")
    if not packer.cache:
        packer = replace(packer, cache=kept_in(facts.get("cache")))
    pack, measured, said = images_to_measure(path, content, where, part, given, packer)
    say_findings(pack, where, world)
    labels = in_the_order_of(model.classes, pack, measured)
    if world.rank == 0:
        print(f"{len(labels):,} images of {len(np.unique(labels))} class(es): {printable(said)}")
    model.to(device, memory_format=torch.channels_last)
    dtype = choose_precision(given.get("precision", "auto"), device)
    results = []
    for count in (views,) if views else (1, 10):
        with tqdm(total=len(labels[world.rows(len(labels))]), unit="image", leave=False,
                  disable=packer.quiet or world.rank > 0 or None) as bar:
            result = evaluate(model, pack, dtype, views=count, batch_size=given.get("batch_size", 128),
                              world=world, part=measured, labels=labels, progress=bar.update)
        if not math.isfinite(result["loss"]):
            raise UserError(f"{path} gives values that are no numbers: it cannot be measured")
        if world.rank == 0:
            five = f", top-5 error {result['top5_error']:.2%}" if len(model.classes) > 5 else ""
            print(f"{'one crop' if count == 1 else 'ten-crop'}: top-1 error {result['top1_error']:.2%}{five}")
            warn_if_no_better(result["top1_error"], labels, model.classes)
        results.append(result)
    if world.rank == 0:
        other = [] if whole_path(where) == facts.get("data") else [Path(where).resolve().name]
        name = "-".join(["evaluation", *other, *([part] if part in ("train", "test") else [])]) + ".json"
        target = out or beside / name
        trained = {name: fact for name, fact in facts.items() if name not in ("sample", "cache")}
        write_json(target, {"checkpoint": path.name, "data": where, "measured": said, "results": results,
                            "trained": trained, "surroundings": surroundings(device, world, dtype)})
        print(f"written to {printable(str(target))}")


def images_to_measure(path: Path, content: Checkpoint, where: str, part: str | None,
                      given: dict[str, Any], packer: Packer) -> tuple[Pack, str, str]:
    """Packed images, which part of them a checkpoint is measured on, and what that is in words: of its own
    data, also where they have moved, what training held out; of another folder its val part, or all."""
    facts, classes, size = content["facts"], content["classes"], content["image_size"]
    own, folder, labels = whole_path(where) == facts.get("data"), Path(where), given.get("labels")
    if "val_fraction" in given or where == "demo" or not folder.is_dir() or own and part != "test":
        before = facts if own else {}
        pack = packer.packed(size, packer.find, where, given.get("val_fraction", before.get("val_fraction")),
                             labels or before.get("labels"))
        if part not in (None, *PARTS):
            raise UserError(f"--part {part}: {where} has the parts {' and '.join(PARTS)}")
        held_out = f", of which {pack.split:g} is held out" if pack.split else ""
        return pack, part or "val", f"the {part or 'val'} part of {where}{held_out}"
    source = folder if labels else measured_part(folder, classes, part)
    known, split = facts.get("images") or {}, facts.get("split")
    if known and split and not part and (source == folder or source.name == "train"):   # its own, moved?
        pack = packer.packed(size, to_measure, source, classes, labels, split)
        if pack.content["val"] == known.get("val"):
            return pack, "val", f"the {split:g} of {source} that the run held out"
    pack = packer.packed(size, to_measure, source, classes, labels)
    sample = set(facts.get("sample") or ())
    seen = sum(short_digest(image) in sample for image in pack.images["val"]) if sample else 0
    if seen:
        advice = f"; --val-fraction {split:g} measures what it held out of its own" if split else ""
        pack.findings.append(f"{path} was trained on at least {seen} of these images, so that the errors "
                             f"look better than they are{advice}")
    return pack, "val", f"all of {source}"


def in_the_order_of(classes: list[str], pack: Pack, part: str) -> np.ndarray:
    """The labels of a part as numbers of the checkpoint's classes, matched by name."""
    if missing := sorted(set(pack.classes) - set(classes)):
        raise UserError(f"the checkpoint knows no class {', '.join(missing[:3])}; it has "
                        f"{', '.join(classes[:3])} ... ({len(classes)} in all)")
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[name] for name in pack.classes])[pack.labels[part]]
