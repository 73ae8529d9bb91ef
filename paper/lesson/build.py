"""Makes the lesson's notebooks, in English and in Chinese, from lesson.py, and runs them.

    python paper/lesson/build.py

All code cells run in one namespace; what each prints and draws is stored behind it, as in any notebook.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

FOLDER = Path(__file__).resolve().parent
NOTEBOOKS = {"en": FOLDER / "lesson.ipynb", "zh": FOLDER / "lesson.zh-CN.ipynb"}

Outputs = list[dict[str, Any]]


@dataclass
class Cell:
    """Of lesson.py: text in one language, or code for both (language "")."""

    language: str
    source: str


def cells() -> list[Cell]:
    """The cells of lesson.py, in their order."""
    found = []
    blocks = (FOLDER / "lesson.py").read_text("utf-8").split("# %%")
    for block in blocks[2:]:   # [1] is the head's own mention
        head, _, source = block.partition("\n")
        language = head.removeprefix(" [markdown]").strip()
        if language:
            source = re.sub(r"^# ?", "", source, flags=re.MULTILINE)
        found.append(Cell(language, source.strip("\n")))
    return found


def in_language(code: str, language: str) -> str:
    """The code with its comments in one language: they stand in both, with | between."""
    kept = r"# \1" if language == "en" else r"# \2"
    return re.sub(r"# (.+) \| (.+)$", kept, code, flags=re.MULTILINE)


def run(lesson: list[Cell]) -> list[Outputs]:
    """What each code cell prints and draws, in a notebook's format."""
    import matplotlib.pyplot as plt
    space: dict[str, Any] = {"__name__": "lesson"}
    outputs = []
    for cell in lesson:
        if cell.language:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(cell.source, "lesson.py", "exec"), space)
        found: Outputs = []
        if printed.getvalue():
            found.append({"output_type": "stream", "name": "stdout", "text": lines(printed.getvalue())})
        for number in plt.get_fignums():
            picture = {"image/png": drawn(plt.figure(number))}
            found.append({"output_type": "display_data", "metadata": {}, "data": picture})
        plt.close("all")
        outputs.append(found)
    return outputs


def drawn(figure: Any) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=60, bbox_inches="tight", metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode()


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def notebook(lesson: list[Cell], outputs: list[Outputs], language: str) -> dict[str, Any]:
    """In Jupyter's format 4.5."""
    made, ran = [], iter(outputs)
    for number, cell in enumerate(cell for cell in lesson if cell.language in ("", language)):
        one = {"id": f"cell-{number}", "metadata": {}}
        if cell.language:
            made.append({"cell_type": "markdown", **one, "source": lines(cell.source)})
        else:
            made.append({"cell_type": "code", **one, "execution_count": None,
                         "source": lines(in_language(cell.source, language)), "outputs": next(ran)})
    return {"cells": made, "nbformat": 4, "nbformat_minor": 5, "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"}}}


def main() -> None:
    matplotlib.use("agg")
    os.chdir(FOLDER)
    lesson = cells()
    outputs = run(lesson)
    for language, path in NOTEBOOKS.items():
        text = json.dumps(notebook(lesson, outputs, language), ensure_ascii=False, indent=1)
        path.write_text(text + "\n", "utf-8")
        print(path.relative_to(FOLDER.parent.parent))


if __name__ == "__main__":
    main()
