"""The data sets of torchvision, by name."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from alexnet.files import UserError
from alexnet.layout import VAL_NAMES


def open_sets(name: str, download: bool, downloads: Path) -> dict[str, Any]:
    """The parts train and val (None if it has no such part) of a data set, named in upper or lower case.

    UserError for names that torchvision does not know, and for sets that are not there, or need more.
    """
    from torchvision import datasets   # takes a second

    known = {other.lower(): other for other in datasets.__all__}
    if name.lower() not in known or name.lower() in ("imagefolder", "datasetfolder", "fakedata"):
        raise UserError(f"--data {name}: there is no such folder, and torchvision has no data set "
                        "of that name (cifar10, cifar100, imagenette, flowers102, food101 ...)")
    kind = getattr(datasets, known[name.lower()])
    options = inspect.signature(kind.__init__).parameters
    root = downloads / name.lower()
    if download:
        root.mkdir(parents=True, exist_ok=True)
    choices: dict[str, list[dict[str, Any]]] = {"train": [{}], "val": []}   # arguments, the best first
    if "train" in options:
        choices = {"train": [{"train": True}], "val": [{"train": False}]}
    elif "split" in options:
        choices = {"train": [{"split": split} for split in ("train", "trainval")],
                   "val": [{"split": split} for split in VAL_NAMES]}
    shared: dict[str, Any] = {"root": str(root)} | ({"download": download} if "download" in options else {})
    try:
        sets = {part: first_of(kind, choices[part], shared) for part in choices}
    except (RuntimeError, FileNotFoundError) as error:
        advice = "check the network" if download else "--download fetches it"
        raise UserError(f"{name} is not in {root}: {advice} ({str(error).splitlines()[0]})") from None
    except OSError as error:
        raise UserError(f"{name} could not be downloaded to {root} ({error})") from None
    except ImportError as error:
        raise UserError(f"torchvision's {name} needs one more package ({error})") from None
    except TypeError:
        raise UserError(f"torchvision's {name} needs more than a folder, or has no classes") from None
    if sets["train"] is None:
        raise UserError(f"torchvision's {name} has no training part of a known name")
    return sets


def first_of(kind: type, choices: list[dict[str, Any]], shared: dict[str, Any]) -> Any:
    """The data set with the first choice of arguments that it takes, or None."""
    for choice in choices:
        try:
            return kind(**choice, **shared)
        except ValueError:   # torchvision's word for a split that does not exist
            continue
    return None
