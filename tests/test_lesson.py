"""paper/lesson: every cell runs; the notebooks are what build.py makes; both languages do the same."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import matplotlib
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "paper" / "lesson"


@pytest.fixture
def build(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.chdir(FOLDER)
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    import build
    yield build
    matplotlib.use(before)
    sys.modules.pop("build")


def test_every_cell_runs_and_its_checks_hold(build):
    lesson = build.cells()
    code = [cell for cell in lesson if not cell.language]
    assert sum("STEPS = 300" in cell.source for cell in code) == 1
    for cell in code:
        cell.source = cell.source.replace("STEPS = 300", "STEPS = 2")
    outputs = build.run(lesson)
    printed = "".join("".join(one.get("text", [])) for outputs_of_cell in outputs for one in outputs_of_cell)
    assert "363 products" in printed and "values in a row 55" in printed and "becomes 43.9" in printed
    assert "first half of conv2 is the same: True" in printed and "2.3026 = 2.3026" in printed
    assert sum(one["output_type"] == "display_data" for found in outputs for one in found) >= 7


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_notebooks_are_what_the_builder_makes(build, language):
    path = build.NOTEBOOKS[language]
    published = json.loads(path.read_text("utf-8"))
    outputs = [cell["outputs"] for cell in published["cells"] if cell["cell_type"] == "code"]
    assert published == build.notebook(build.cells(), outputs, language)
    assert path.stat().st_size < 500_000 and all(outputs[1:2])
    errors = [one for found in outputs for one in found if one["output_type"] == "error"]
    assert not errors


def test_code_is_equal_in_both_languages_but_for_comments(build):
    code = {}
    for language, path in build.NOTEBOOKS.items():
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code[language] = [re.sub(r"# .*", "#", "".join(cell["source"]))
                          for cell in cells if cell["cell_type"] == "code"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        assert all(bool(re.search("[一-鿿]", text.replace("中文", ""))) == (language == "zh") for text in texts)
    assert code["en"] == code["zh"]


def test_both_languages_tell_the_same_numbers(build):
    lesson = build.cells()
    texts = {language: [re.findall(r"\d+(?:[.,]\d+)*", cell.source.replace("120 万", "1.2")) for cell in lesson
                        if cell.language == language] for language in ("en", "zh")}
    assert len(texts["en"]) == len(texts["zh"])
    for english, chinese in zip(texts["en"], texts["zh"]):
        assert sorted(english) == sorted(chinese)


@pytest.mark.parametrize("page", ["code.md", "code.zh-CN.md"])
def test_quoted_code_is_the_code(page, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    import quote
    text = (FOLDER.parent / page).read_text("utf-8")
    assert quote.filled(text) == text, "run python paper/quote.py"
    assert text.count("<!-- quote ") == len(quote.MARKER.findall(text)) >= 15


def test_a_quotation_of_what_is_not_there_is_an_error(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    import quote
    assert quote.quoted("alexnet/model.py", "LAYERS").startswith('LAYERS = ("conv1"')
    for name in ("AlexNet.nowhere", "Nothing"):
        with pytest.raises(ValueError, match=name.split(".")[0]):
            quote.quoted("alexnet/model.py", name)
    with pytest.raises(ValueError, match="begins with"):
        quote.quoted("alexnet/model.py", "AlexNet.forward", "x = ", "nowhere")


def test_what_the_lesson_says_of_ten_seeds_is_what_was_measured(build):
    """seeds.json: the broken network stays at ln 10 in all of them, the other learns."""
    content = json.loads((FOLDER / "seeds.json").read_text("utf-8"))
    trained, broken = content["losses"].values()
    assert len(trained) == len(broken) == 10
    assert all(abs(mean - 2.3026) < 0.002 for means in broken for mean in means)
    for language in ("en", "zh"):
        text = "".join(cell.source for cell in build.cells() if cell.language == language)
        for losses in (trained, broken):
            last = [means[-1] for means in losses]
            assert f"{min(last):.3f}" in text and f"{max(last):.3f}" in text


def test_the_ten_seeds_train_the_lessons_own_network(build):
    """The functions that seeds.py takes from the cells: two steps of each network."""
    import seeds
    train = seeds.lesson_until_training()["train"]
    for change in seeds.NETWORKS.values():
        assert len(train(seeds.AlexNet(10, 64, **change), 2, seed=1)) == 2
    assert seeds.means_of([1.0] * 50 + [3.0] * 50) == [1.0, 3.0]


def test_a_quotation_ends_with_the_line_that_is_named_and_begins_with_the_decorators(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    import quote
    lines = ("import torch", "", "", "class A:", "    @torch.no_grad()", "    def f(self):", "        c = 0",
             "        a = 1", "        b = 2", "        c = 3", "        d = 4", "")
    (tmp_path / "code.py").write_text("\n".join(lines))
    monkeypatch.setattr(quote, "ROOT", tmp_path)
    assert quote.quoted("code.py", "A.f").startswith("@torch.no_grad()\ndef f(self):\n    c = 0\n")
    assert quote.quoted("code.py", "A.f", "a = ", "c = ") == "a = 1\nb = 2\nc = 3\n"
