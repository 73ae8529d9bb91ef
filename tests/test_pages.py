"""The pages say what is there: links, functions, claims, options, commands and numbers, in both languages.

A number that is quoted from results/ has a comment behind it that says where it stands:
    26.9<!-- results/benchmark/step.json: rows > ours, as-trained, fp32 > median -->   (JSON: the way to it)
    113<!-- results/experiments/...-1.json: curve > 50 > firing > fc7 x 4096 -->   (a share of 4,096 neurons)
    20.92%<!-- results/README.md -->   (any text: it stands there)
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import torch

import alexnet
from alexnet import AlexNet

ROOT = Path(__file__).resolve().parent.parent
PAIRS = {"README.md": "README.zh-CN.md", "paper/README.md": "paper/README.zh-CN.md",
         "paper/faq.md": "paper/faq.zh-CN.md", "paper/history.md": "paper/history.zh-CN.md",
         "paper/recipe.md": "paper/recipe.zh-CN.md", "paper/using.md": "paper/using.zh-CN.md",
         "paper/code.md": "paper/code.zh-CN.md", "paper/exercises.md": "paper/exercises.zh-CN.md",
         "data/README.md": "data/README.zh-CN.md"}
PAIRS |= {f"results/{page}.md": f"results/{page}.zh-CN.md" for page in (
    "README", "base/README", "modern/README", "what-breaks-it/README", "what-breaks-it/why",
    "fine-tuning/README", "balance/README", "faults/README", "benchmark/README", "benchmark/scaling")}
PAGES = [page for pair in PAIRS.items() for page in pair]
PAPER = ("paper/README.md", "paper/README.zh-CN.md")
PROGRAMS = {"train_alexnet.py": "train_alexnet:parse", "alexnet_inference.py": "alexnet_inference:parse",
            "alexnet_visualization.py": "alexnet_visualization:parse",
            "alexnet.weights": "alexnet.weights:main",
            "alexnet.exercises": "alexnet.exercises:main", "results.benchmark": "results.benchmark:main",
            "results.faults": "results.faults:main", "results.reproduce": "results.reproduce:main"}
REMEDY = "python -m results.reproduce table"
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
both = pytest.mark.parametrize("english, chinese", PAIRS.items())
each = pytest.mark.parametrize("page", PAGES)


# ------------------------------------------------------------------- a page in parts

@functools.cache
def source(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[list[str]]:
    """The indented code blocks, each a list of lines."""
    found: list[list[str]] = []
    open_, before = False, ""
    for line in source(page).splitlines():
        if line.startswith("    ") and (open_ or not before.strip()):
            found += [] if open_ else [[]]
            found[-1].append(line[4:])
            open_ = True
        elif line.strip():
            open_ = False
        before = line
    return found


def prose(page: str) -> str:
    """The text without comments and indented code."""
    text = COMMENT.sub("", source(page))
    return "\n".join(line for line in text.splitlines() if not line.startswith("    "))


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ .*", prose(page), re.MULTILINE)


def anchors(page: str) -> set[str]:
    """Where a link can lead: the headings, and what keeps the address of one that went elsewhere."""
    slugs = {re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in headings(page)}
    return slugs | set(re.findall(r'<a id="([^"]+)"></a>', source(page)))


def sections(page: str) -> list[str]:
    """The text between the headings."""
    return re.split(r"^#+ .*", prose(page), flags=re.MULTILINE)


def tables(page: str) -> list[str]:
    return re.findall(r"(?:^\|.*\n)+", prose(page), re.MULTILINE)


def numbers(text: str) -> Counter[str]:
    """All numbers; 60 million and 6000 万 are the same."""
    for unit, size in ((" million", 10 ** 6), (" 万", 10 ** 4)):
        text = re.sub(rf"(\d[\d.]*){unit}", lambda match: f"{round(float(match[1]) * size):,}", text)
    return Counter(re.findall(r"\d[\d,.]*\d|\d", text))


# ------------------------------------------------------------------- what is named exists

@each
def test_every_link_inside_the_project_lives(page):
    here = (ROOT / page).parent
    for title, target in LINK.findall(prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = here / path if path else ROOT / page
        assert file.exists(), f"{page}: [{title}]({target}) leads nowhere"
        if anchor:
            there = str(file.resolve().relative_to(ROOT))
            assert anchor in anchors(there), f"{page}: no heading for {target}"


@pytest.mark.parametrize("page, addresses", [
    ("README.md", "two-lines train classify look-inside begin-with-other-peoples-weights in-python "
                  "four-variants the-recipe "
                  "what-to-expect it-loses-nothing the-files citing-licence"),
    ("README.zh-CN.md", "两行命令 训练 分类 看看网络内部 从别人的权重开始 在-python-里使用 四个版本 训练方法 能达到什么水平 "
                        "什么都不会丢 文件 引用许可证"),
    ("results/what-breaks-it/README.md", "in-short why-it-dies overtaken-by-the-fade when-you-are-stuck "
                                         "the-runs the-swing the-fade the-largest-rate-that-fc7-survives "
                                         "how-far-apart-pictures-are 64-px-10-classes"),
    ("results/what-breaks-it/README.zh-CN.md", "主要结果 为什么会死亡 被消退抢先 遇到问题怎么办 全部实验 振荡 消退 "
                                               "fc7-能承受的最大学习率 不同图像相差多少 64-px10-类")])
def test_no_address_that_was_given_out_is_lost(page, addresses):
    assert set(addresses.split()) <= anchors(page)


@pytest.mark.parametrize("page, most", [("README.md", 1500), ("README.zh-CN.md", 3000)])
def test_the_first_page_is_short(page, most):
    """At most 140 lines; words, or Chinese characters."""
    text = COMMENT.sub("", source(page))
    assert len(text.splitlines()) <= 140
    assert len(re.findall(r"[\u4e00-\u9fff]" if "zh" in page else r"\S+", text)) <= most


@functools.cache
def definitions(file: Path) -> set[str]:
    """Functions, classes, constants of a Python file; methods and fields as Class.name."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], before: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(before + node.name)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{before}{node.name}.")
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(before + node.target.id)
            elif isinstance(node, ast.Assign):
                found.update(before + target.id for target in node.targets if isinstance(target, ast.Name))

    visit(ast.parse(file.read_text("utf-8")).body, "")
    return found


def named_in(page: str) -> list[tuple[str, str]]:
    """(file, name) for each function that a page names with its file."""
    found = []
    text = re.sub(r"\s+", " ", prose(page))
    boxes = re.findall(r"\*\*(?:In the code|代码里)\*\*(.*?)(?=\*\*(?:What the 2012|2012 年的代码))", text)
    for box in boxes:                                # [file](file): `name`, `name`. [file](file): ...
        pieces = LINK.split(box)
        for target, after in zip(pieces[2::3], pieces[3::3]):
            found += [(target, name) for name in re.findall(r"`([^`]+)`", after)
                      if target.endswith(".py") and not name.startswith("--")]
    a_file, some = r"\[[^\]]+\]\(([^)]+\.py)\)", r"((?:`[^`]+`(?:, | and |、)?)+)"
    pairs = [(target, names) for names, target in re.findall(rf"{some} in {a_file}", text)]
    pairs += re.findall(rf"{a_file} (?:里的|的) {some}", text)
    return found + [(target, name) for target, names in pairs for name in re.findall(r"`([^`]+)`", names)]


@each
def test_every_function_named_with_its_file_is_in_it(page):
    for target, name in named_in(page):
        file = (ROOT / page).parent / target
        assert name in definitions(file), f"{page}: there is no {name} in {target}"


@both
def test_both_languages_name_the_same_functions(english, chinese):
    assert Counter(named_in(english)) == Counter(named_in(chinese))
    assert len(named_in(english)) > {"paper/README.md": 50, "paper/faq.md": 25}.get(english, -1)


@pytest.fixture(scope="module")
def options():
    """Program: its options, from its own --help. (Only those that a page names.)"""
    found = {}
    for program, place in PROGRAMS.items():
        if not any(program in source(page) for page in PAGES):
            continue
        module, function = place.split(":")
        with pytest.MonkeyPatch.context() as patch:
            heard: list[str] = []
            patch.setattr("argparse.ArgumentParser.print_help",
                          lambda self, file=None: heard.append(self.format_help()))
            with pytest.raises(SystemExit):
                getattr(importlib.import_module(module), function)(["--help"])
        found[program] = set(re.findall(r"--[a-z][a-z-]*", heard[0]))
    return found


@each
def test_every_option_exists(page, options):
    everywhere = set().union(*options.values())
    for line in COMMENT.sub("", source(page)).splitlines():
        program = next((program for program in options if program in line), None)
        known = options[program] if program and line.startswith("    ") else everywhere
        if line.strip().startswith("torchrun"):      # its own options stand before the program
            line = line[line.index(program):]
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line):
            assert option in known, f"{page}: {program or 'no program'} has no {option}: {line.strip()}"


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_map_of_the_code_names_what_is_there(page):
    listed = [line.split()[0] for block in blocks(page) for line in block
              if re.match(r"\w+[\w/]*(\.py|/) +\S", line)]
    listed = [name for name in listed if not name.startswith("results/runs")]
    scripts = {"train_alexnet.py", "alexnet_inference.py", "alexnet_visualization.py"}
    assert {"alexnet/model.py", *scripts} <= set(listed)
    for name in listed:
        assert (ROOT / name).exists(), f"{page}: there is no {name}"


def test_the_map_of_the_package_names_each_file_once():
    listed = re.findall(r"^    (\w+\.py) +\S", alexnet.__doc__, re.MULTILINE)
    there = [path.name for path in (ROOT / "alexnet").glob("*.py") if path.name != "__init__.py"]
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize("page", ["paper/recipe.md", "paper/recipe.zh-CN.md"])
def test_the_table_of_layers_is_what_the_network_prints(page):
    with torch.device("meta"):
        printed = [line.rstrip() for line in AlexNet().table().splitlines()]
    assert printed in [[line.rstrip() for line in block] for block in blocks(page)]


# ------------------------------------------------------------------- claims

def claims(page: str) -> list[tuple[str, int]]:
    """(id, which section it stands in) for each claim's place."""
    found, section = [], -1
    lines = source(page).splitlines()
    for index, line in enumerate(lines):
        section += line.startswith("#")
        if match := re.fullmatch(r"<!-- claim (C\d+) -->", line):
            assert lines[index + 1].startswith(match[1]), f"{page}: {match[1]} does not begin its line"
            more = lines[index + 2:lines.index("<!-- /claim -->", index)]
            items = [one for one in more if one.startswith("- ")]
            assert more == [*items, "", more[-1]] if more else not items, f"{page}: {match[1]} is no list"
            assert re.match("Experiment: |实验：", more[-1]) if more else True, f"{page}: {match[1]}"
            found.append((match[1], section))
    return found


@pytest.mark.parametrize("page", PAPER)
def test_every_claim_has_one_place(page):
    assert sorted(name for name, _ in claims(page)) == sorted(f"C{number}" for number in range(1, 28))
    assert source(page).count("<!-- claim ") == source(page).count("<!-- /claim -->") == 27


def test_claims_stand_in_the_same_sections():
    assert claims(PAPER[0]) == claims(PAPER[1])


# ------------------------------------------------------------------- both languages alike

@both
def test_both_languages_have_the_same_sections(english, chinese):
    def shape(page):
        return [(line.split()[0], re.findall(r"^#+ (\d+(?:\.\d+)*)", line)) for line in headings(page)]
    assert shape(english) == shape(chinese)


@both
def test_both_languages_have_the_same_commands(english, chinese):
    def commands(page):
        return [[re.split(r"  | #|；|，", line.strip())[0] for line in block] for block in blocks(page)]
    assert commands(english) == commands(chinese)


@both
def test_both_languages_have_the_same_numbers_in_tables(english, chinese):
    assert len(tables(english)) == len(tables(chinese))
    for ours, theirs in zip(tables(english), tables(chinese)):
        assert numbers(ours) == numbers(theirs), ours.splitlines()[0]


@both
def test_both_languages_have_the_same_decimals_and_per_cents(english, chinese):
    """Whole numbers may be words, and millions are counted otherwise in Chinese; these are not."""
    def exact(text):
        return Counter(re.findall(r"\d[\d,]*\.\d+%?(?! million)|\d+%", re.sub(r"\s+", " ", text)))
    for heading, ours, theirs in zip(["# top", *headings(english)], sections(english), sections(chinese)):
        assert exact(ours) == exact(theirs), f"{english}: {heading}"


@both
def test_both_languages_show_the_same_figures_and_links(english, chinese):
    def targets(page):
        figures = re.findall(r"<!-- figure: !\[[^\]]+\]\((\S+)\) -->", source(page))
        # a link of a page to its own language, and to the other one, are the same
        links = Counter(re.sub(r"\.zh(-CN)?(?=\.)", "", target).split("#")[0]
                        for _, target in LINK.findall(prose(page)))
        return figures, links
    assert targets(english) == targets(chinese)


# ------------------------------------------------------------------- numbers from results/

QUOTED = re.compile(r"(\d[\d,]*(?:\.\d+)?)(%?)(?: (?:s|days|天))?<!-- (results/[^\s:]+)(?:: (.*?))? -->")


def quoted(page: str) -> list[tuple[str, str, str, str]]:
    found = QUOTED.findall(source(page))
    assert len(found) == source(page).count("<!-- results/"), f"{page}: a comment has no number before it"
    return found


@each
def test_numbers_are_those_of_the_results(page):
    for number, per_cent, file, way in quoted(page):
        text = (ROOT / file).read_text("utf-8")
        if not way:
            text = QUOTED.sub("", text)   # a page that quotes itself has it elsewhere, too
            exactly = rf"(?<![\d.,]){re.escape(number + per_cent)}(?![\d%])"
            assert re.search(exactly, text), f"{page}: {number} in {file}"
            continue
        value, (way, _, factor) = json.loads(text), way.partition(" x ")
        for step in way.split(" > "):
            if isinstance(value, list):
                value = next(entry for entry in value
                             if step in (entry.get("name"), entry.get("what"), str(entry.get("step"))))
            else:
                value = value[step]
        value = value * 100 if per_cent else value * float(factor or 1)
        digits = len(number.partition(".")[2])
        assert f"{value:,.{digits}f}" == number, f"{page}: {number} should be {value} ({file}: {way})"


@both
def test_both_languages_quote_the_same_results(english, chinese):
    assert Counter(quoted(english)) == Counter(quoted(chinese))
    assert len(quoted(english)) >= {"paper/README.md": 5, "paper/faq.md": 15}.get(english, 0)


# ------------------------------------------------------------------- plain words

# What the pages, the messages and --help no longer say, and what they say instead.
# Options, JSON keys and names in code are excepted.
PHRASES = {
    r"off the ground|comes alive|\balive\b": "starts learning",
    r"\bguessing\b": "chance level",
    r"\blook: ": "warning: ",
    r"\ba row an epoch|\ba line an epoch": "one row per epoch",
    r"\ba line a layer|\ba block a column": "one line per layer, one block per column",
    r"\b(?:one|a|single|ten|10|two) views?\b|\bviews\b(?!:)": "one crop, ten-crop",
    r"\bthe paper's text\b|\bto the letter\b": "as-written",
    r"\bhabits?\b": "practices",
    r"\bnot to be had\b": "is not available",
    r"\bloses nothing\b": "fault tolerance",
    r"\bin turns\b|machine that others use": "interleaved runs on a shared machine",
    r"(?:\d\.\d+|[+-]\d|\}|in|error,) points\b": "percentage points",
    r"\bat (?:its best )?rate\b|(?<!learning )rate of 0\.": "learning rate",
    r"\bweights of 0\.0": "weights drawn with standard deviation 0.0",
    r"that are none|what looks wrong|looked odd|stops nothing|crippled|is turned, each": "say what it does",
    r"瞎猜": "随机猜测水平",
    r"视图": "中心裁剪，十裁剪",
    r"(?<![根红灰蓝])柱(?![状子形])": "双路，一路",
    r"(?<!池化)(?<!线性)单元": "神经元",
    r"起得来|起不来|大伤元气|弄坏": "能收敛，训练失败",
    r"什么都不会丢": "断点续训与容错",
    r"个习惯|论文的文字|照文字": "常见的做法，as-written",
}
PLAIN = [ROOT, *(ROOT / folder for folder in ("paper", "data", "results", "alexnet"))]


def words_of_a_page(file: Path) -> list[tuple[int, str]]:
    """(line, text) of Markdown, without comments, anchors, code in a line and options."""
    text = re.sub(r"<!--.*?-->|<a id=[^>]*>|`[^`\n]+`|\]\([^)\s]+\)|--[\w-]+",
                  lambda found: "\n" * found[0].count("\n"), file.read_text("utf-8"), flags=re.DOTALL)
    return list(enumerate(text.splitlines(), 1))


def words_of_code(file: Path) -> list[tuple[int, str]]:
    """(line, text) of the strings of a Python file that are more than a name."""
    lines = [(node.lineno + more, line) for node in ast.walk(ast.parse(file.read_text("utf-8")))
             if isinstance(node, ast.Constant) and isinstance(node.value, str)
             for more, line in enumerate(node.value.split("\n"))]
    return [(number, re.sub(r"`[^`]+`|--[\w-]+", "", line)) for number, line in lines
            if re.search(r"\s|[\u4e00-\u9fff]", line)]


@pytest.mark.parametrize("page", ["paper/using.md", "paper/using.zh-CN.md"])
def test_the_list_of_pictures_is_what_the_script_prints(page, capsys):
    import alexnet_visualization
    with contextlib.suppress(SystemExit):
        alexnet_visualization.main(["--list"])
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert printed in [[line.rstrip() for line in block] for block in blocks(page)]


def test_pages_and_messages_are_in_plain_words():
    pages = sorted(file for folder in PLAIN for file in folder.glob("*.md"))
    pages += sorted((ROOT / "results").glob("*/*.md"))
    code = sorted(file for folder in PLAIN for file in folder.glob("*.py"))
    said = [(file, number, found[0], better)
            for file in pages + code
            for number, line in (words_of_a_page if file.suffix == ".md" else words_of_code)(file)
            for phrase, better in PHRASES.items()
            for found in re.finditer(phrase, line)]
    told = [f"{file.relative_to(ROOT)}:{number}: {found!r}: {better}" for file, number, found, better in said]
    assert not told, "\n".join(["say it plainly:", *told])


# ------------------------------------------------------------------- bold text, formulas

def is_mark(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "PS"


@each
def test_bold_text_begins_and_ends_where_viewers_see_it(page):
    """CommonMark: behind a punctuation mark, ** ends bold text only before a space or another mark (Chinese
    has no spaces there); before a mark, it begins bold text only behind a space or another mark."""
    for paragraph in re.sub(r"`[^`]*`", "code", prose(page)).split("\n\n"):
        for number, stars in enumerate(re.finditer(r"\*\*", paragraph)):
            before, after = (f"\n{paragraph}\n"[place] for place in (stars.start(), stars.end() + 1))
            inside, outside = (before, after) if number % 2 else (after, before)
            assert not inside.isspace() and (not is_mark(inside) or outside.isspace() or is_mark(outside)), \
                f"{page}: {paragraph[max(0, stars.start() - 20):stars.end() + 20]}"



@each
def test_formulas_are_such_as_viewers_render(page):
    """Dollars come in pairs; inside a line a space or ASCII punctuation stands outside of them."""
    text = re.sub(r"`[^`]*`", "", prose(page))
    displayed = re.findall(r"^\$\$(.*)\$\$$", text, re.MULTILINE)
    text = re.sub(r"^\$\$.*\$\$$", "", text, flags=re.MULTILINE)
    assert "$$" not in text, f"{page}: a displayed formula must be a line of its own"
    inside = re.findall(r"\$([^$]+)\$", text)
    assert text.count("$") == 2 * len(inside), f"{page}: a dollar is alone"
    assert not [formula for formula in inside if "\n" in formula], f"{page}: a formula in two lines"
    for around in re.finditer(r"(^|.)\$[^$]+\$(.|$)", text, re.MULTILINE):
        assert around[1] in ("", " ", "("), f"{page}: {around[0]}"
        assert around[2] in ("", " ", ",", ".", ";", ":", ")"), f"{page}: {around[0]}"
    for formula in displayed + inside:
        assert formula.count("{") == formula.count("}")
        assert formula.count("\\left") == formula.count("\\right")
        spoilt = re.search(r"\\[^\w\s]|[^\w}\])]_", formula)   # for Markdown an escape, or emphasis
        assert not spoilt, f"{page}: {spoilt[0]} in {formula}"


@pytest.mark.parametrize("page", PAPER)
def test_the_guide_says_of_each_claim_what_the_runs_found(page):
    from results import reproduce
    from results.pages import in_language
    place = reproduce.Place()
    for name, one in reproduce.CLAIMS.items():
        line = in_language(reproduce.claim_line(name, one.finding(place), place), "zh" if "zh" in page else "en")
        assert f"<!-- claim {name} -->\n{line}\n<!-- /claim -->" in source(page), REMEDY


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_first_page_counts_the_verdicts_that_there_are(page):
    from results import reproduce
    from results.pages import in_language
    place = reproduce.Place()
    findings = {name: one.finding(place) for name, one in reproduce.CLAIMS.items()}
    line = in_language(reproduce.verdict_line(findings), "zh" if "zh" in page else "en")
    assert f"<!-- verdicts -->\n{line}\n<!-- /verdicts -->" in source(page), REMEDY


@pytest.mark.parametrize("page, first, last", [
    ("results/what-breaks-it/README.md", "`as-trained` after {} to {} steps", "`as-written` after {} to {}."),
    ("results/what-breaks-it/README.zh-CN.md", "`as-trained` 在第 {} 至 {} 步", "`as-written` 在第 {} 至 {} 步。")])
def test_the_earliest_and_latest_starts_are_those_of_all_runs(page, first, last):
    """Imagenette, 64 and 128 px, the networks as they are: both groups of runs."""
    line = next(line for line in source(page).splitlines() if "Imagenette" in line and line.startswith("- "))
    for variant, said in ("as-trained", first), ("as-written", last):
        steps = [json.loads(file.read_text("utf-8"))["result"][key] for group, key in (
                     ("first-steps-64px-10/{}", "alive_at"), ("first-steps-128px-10/{}", "alive_at"),
                     ("starting/imagenette-{}", "starts_at"))
                 for file in (ROOT / "results/experiments").glob(group.format(variant) + "-as-it-is-?.json")]
        assert len(steps) >= 14 and None not in steps
        assert said.format(min(steps), max(steps)) in line
