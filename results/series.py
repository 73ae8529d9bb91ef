"""A base and its changes, trained with the same seeds: what longer.py and larger.py have in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Callable

from alexnet.settings import Settings
from results.ablations import Case, CaseRun, curve_of, errors_of, measured, trained
from results.pages import Text, named, part, row, text
from results.units import Place, Unit
from results.verdicts import t_interval

Kind = Callable[[str], Callable[..., CaseRun]]   # the run of a case, by its name
Measure = Callable[[dict[str, Any]], float]      # what it makes of a unit's JSON file


def val_error(content: dict[str, Any]) -> float:
    return content["result"]["val_top1_error"]


def train_error(content: dict[str, Any]) -> float:
    return content["result"]["train_top1_error"]


def gap(content: dict[str, Any]) -> float:
    return val_error(content) - train_error(content)


def held_out(case: Case) -> float | None:
    return case.settings.get("val_fraction")


@dataclass(frozen=True)
class Series:
    """One experiment. Every case records both errors without augmentation and dropout, and the curve."""

    experiment: str
    settings: Settings
    cases: dict[str, Case]      # the first of them is the base, unless `against` says otherwise
    seeds: range
    minutes: float              # about, of a unit
    data: str
    title: str
    conditions: str             # of texts.toml
    kind: Kind = lambda name: CaseRun
    ten_crop: bool = False      # whether ten-crop is measured, too

    def unit(self, case: str, seed: int) -> Unit:
        config = {**asdict(self.settings), "seed": seed, "case": asdict(self.cases[case])}
        return Unit(self.experiment, case, seed, config, self.compute, self.minutes, self.data)

    def units(self) -> list[Unit]:
        """Case by case, so that each pair is whole as early as can be."""
        return [self.unit(case, seed) for case in self.cases for seed in self.seeds]

    def compute(self, unit: Unit, place: Place) -> dict[str, Any]:
        run = trained(unit, place, self.cases[unit.case], self.settings, self.kind(unit.case))
        pack = run.pack
        result = {"finite": run.finite, "precision": str(run.dtype), "epochs": run.progress.epoch,
                  **errors_of(run, pack)}
        if run.settings.val_fraction:   # what steered the schedule does not measure it
            pack = place.pack(unit.data, self.settings.image_size)
            result |= {f"val_{name}": value for name, value in measured(run, pack).items()}
        if self.ten_crop:
            ten = measured(run, pack, views=10)
            result |= {f"ten_views_{name}": ten[name] for name in ("top1_error", "top5_error")}
        return {"result": result, "curve": curve_of(run)}

    def pairs(self, place: Place, case: str) -> list[list[dict[str, Any]]]:
        """The JSON files of the case, and of what it is compared with, for the seeds that both have."""
        against = self.cases[case].against
        return place.pairs([self.unit(case, seed) for seed in self.seeds],
                           [self.unit(against, seed) for seed in self.seeds])

    def differences(self, place: Place, case: str, measure: Measure) -> list[float]:
        """The case less what it is compared with, by seed."""
        return [measure(one) - measure(other) for one, other in self.pairs(place, case)]

    def lines(self, place: Place) -> list[Text | str]:
        """The table of what was run, for the page of all results."""
        rows = []
        for case, about in self.cases.items():
            if about.against == case or held_out(about) != held_out(self.cases[about.against]):
                continue   # or trained on fewer images than the other: no change alone
            found = [self.differences(place, case, measure) for measure in (val_error, train_error, gap)]
            if len(found[0]) >= 2:
                change = text("results.against", named(case), named(about.against))
                rows.append(row(change, *(t_interval(values).text(unit="") for values in found)))
        return part(self.title, text(self.conditions, self.settings.epochs),
                    ("change", "validation", "training", "gap"), rows)
