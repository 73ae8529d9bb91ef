"""The pages and the figure of results/benchmark/, in both languages, from the JSON files of the sections."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable

from alexnet.files import read_json
from results import plots
from results.pages import Text, fill, heading, picture, row, say, table, texts, worded

TITLE = Text("Speed", "速度")
RATIOS = "Time of others for the same work, divided by ours"
PLACES = {   # folders of results/benchmark/, with the machine that they are for
    "": Text("CPU that computes in bf16; only ours keeps freed memory", "支持 bf16 的 CPU；只有我们保留释放的内存"),
    "second-machine": Text("a second, slower CPU that computes in bf16; all sides keep freed memory",
                           "另一块支持 bf16、较慢的 CPU；各方都保留释放的内存"),
    "without-bf16": Text("CPU without bf16, all sides in fp32; only ours keeps freed memory",
                         "不支持 bf16 的 CPU，各方都用 fp32；只有我们保留释放的内存"),
    "gpu": Text("GPU", "GPU")}
NETWORKS = ["torchvision, fp32", "torchvision, fp32, channels_last", "torchvision, bf16, channels_last",
            "textbook, fp32"]
SHOWN = {   # in the summary: peers of a section
    "step": NETWORKS, "inference-network": NETWORKS,
    "inference": ["a loop: PIL, transforms, textbook network",
                  "DataLoader, 2 workers, batch 64, torchvision"],
    "input": ["ImageFolder + DataLoader"], "packing": ["a loop over PIL, one process"],
    "lrn": ["nn.LocalResponseNorm", "nn.LocalResponseNorm, memory kept"],
    "optimizer": ["torch.optim.SGD as it comes"]}

HERE = Path(__file__).resolve().parent / "benchmark"
WORDS = texts(HERE / "words.json")   # what the sections' JSON files say, as the pages say it
plots.add_words(WORDS.values())
WHY = texts(HERE / "why.json")       # why a target is missed on a CPU
NOTES = texts(HERE / "notes.json")   # what a section's numbers do not say


def write(folder: Path, sections: Iterable[str]) -> None:
    """README.md, README.zh-CN.md and ratios.png from the JSON files of all sections that were run."""
    found = {place: {name: read_json(folder / place / f"{name}.json") for name in sections
                     if (folder / place / f"{name}.json").exists()} for place in PLACES}
    found = {place: contents for place, contents in found.items() if contents}
    fill(folder, "summary", summary(found), TITLE)
    bars = [(worded(content["title"], WORDS).en, full_name(line).en, line["ratio"])
            for name, content in found.get("", next(iter(found.values()))).items()
            if name not in ("profile", "scaling") for line in content["rows"] if line["ratio"] != 1]
    plots.ratios(bars, folder / "ratios.png", RATIOS)
    lines = picture(folder, "ratios.png", RATIOS)
    for place, contents in found.items():
        lines += [heading(PLACES[place]), ""]
        for content in contents.values():
            lines += section_lines(content)
    fill(folder, "sections", lines)


def full_name(line: dict[str, Any]) -> Text:
    """Of a side, with its group."""
    name = worded(line["name"], WORDS)
    return say("{}: {}", "{}：{}", worded(line["about"], WORDS), name) if line.get("about") else name


def summary(found: dict[str, dict[str, Any]]) -> list[Text | str]:
    """One row per peer: its time for the same work, divided by ours, on each machine."""
    rows = []
    for section, names in SHOWN.items():
        for name in names:
            cells, shown = [], None
            for contents in found.values():
                content = contents.get(section, {"rows": []})
                line = next((line for line in content["rows"] if line["name"] == name), None)
                cells.append(f"{line['ratio']:.2f}" if line else "")
                shown = shown or line and (worded(content["title"], WORDS), full_name(line))
            if shown:
                rows.append(row(*shown, *cells))
    return table([Text("work", "工作"), Text("compared with", "比较对象"),
                  *(PLACES[place] for place in found)], rows)


def section_lines(content: dict[str, Any]) -> list[Text | str]:
    """One section: its command, its table, its targets and the machine."""
    about, rounds = content["machine"], content["rows"][0].get("rounds")
    lines = [heading(worded(content["title"], WORDS), "###"), "",
             f"    python -m results.benchmark {content['command']}", "",
             *(layer_table if "forward" in content["rows"][0] else side_table)(content)]
    rows = []
    for mark in content["marks"]:
        at = Text("at most", "最多") if mark["at_most"] else Text("at least", "至少")
        missed = "" if mark["reached"] else Text(", not reached", "，未达到")
        rows.append(row(worded(mark["what"], WORDS), say("{} {:g}", "{} {:g}", at, mark["wanted"]),
                        say("{:.3g}{}", "{:.3g}{}", mark["value"], missed)))
    lines += table([Text("target", "目标"), Text("wanted", "要求"), Text("measured", "测得")], rows)
    for mark in content["marks"]:
        if not mark["reached"] and mark["what"] in WHY and about["device"] == "cpu":
            lines += [say("*{}*: {}", "*{}*：{}", worded(mark["what"], WORDS), WHY[mark["what"]]), ""]
    for remark in content["remarks"]:
        lines += [worded(remark, WORDS), ""]
    if note := NOTES.get(content["command"].split()[0]):
        lines += [note, ""]
    how = (Text("medians of several rounds", "数次的中位数") if not rounds else
           Text("one run", "一次") if rounds == 1 else
           say("medians of {} rounds", "{} 次计时的中位数", rounds) if content["command"] == "scaling" else
           say("medians of {} rounds, interleaved", "{} 次交替计时的中位数", rounds))
    machine = (about[name] for name in ("cores", "instructions", "device", "torch"))
    lines += [say("{}, {} cores ({}), {}, torch {}; seed 0; {}.", "{}，{} 个核（{}），{}，torch {}；种子 0；{}。",
                  content["date"], *machine, how), ""]
    return lines


def layer_table(content: dict[str, Any]) -> list[Text | str]:
    rows = [row(worded(line["name"], WORDS), f"{1e3 * line['forward']:.1f}", f"{1e3 * line['backward']:.1f}",
                f"{line['share']:.1%}", f"{1e3 * line['limit']:.1f}", f"{line['of_limit']:.0%}")
            for line in content["rows"]]
    return table(["", Text("forward, ms", "前向，毫秒"), Text("backward, ms", "反向，毫秒"), Text("share", "比例"),
                  Text("limit, ms", "下限，毫秒"), Text("limit / time", "下限 / 时间")], rows)


def side_table(content: dict[str, Any]) -> list[Text | str]:
    """Of a section that compares sides; memory and arithmetic where they were measured."""
    more = {key: title for key, title in (("peak_gib", Text("peak memory, GiB", "峰值内存，GiB")),
                                          ("gflop", Text("GFLOP per image", "每张图像 GFLOP")))
            if key in content["rows"][0]}
    rows = [row(full_name(line), number(line["median"]),
                say("{} to {}", "{} 至 {}", number(line["low"]), number(line["high"])), f"{line['ratio']:.2f}",
                *(f"{line[key]:.2f}" if key in line else "" for key in more)) for line in content["rows"]]
    unit = Text("seconds", "秒") if content["unit"] == "s" else Text("images per second", "每秒图像数")
    return table(["", unit, Text("range", "范围"), Text("time / first row", "时间 / 第一行"), *more.values()], rows)


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
