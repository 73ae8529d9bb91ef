"""paper/exercises.md and alexnet/exercises.py: right answers, known slips, both languages."""

from __future__ import annotations

import math
import re

import pytest

from alexnet import exercises
from alexnet.exercises import EXERCISES, PAGES, comment, number_in, question

# Worked out by hand, not by the code: sizes and counts from section 3.5, formulas in Python's floats.
V1 = -0.01 * 0.5 - 0.0005 * 0.01
V2 = 0.9 * V1 - 0.0005 * 0.01 * (1 + V1) - 0.01 * 0.5
FULL = (9216 * 4096 + 4096, 4096 * 4096 + 4096, 4096 * 1000 + 1000)
CONVOLUTIONS = 363 * 96 + 1200 * 256 + 2304 * 384 + 1728 * 384 + 1728 * 256
ALL = sum(FULL) + CONVOLUTIONS + (96 + 256 + 384 + 384 + 256)
WORK = 363 * 96 * 55 ** 2 + 1200 * 256 * 27 ** 2 + (2304 * 384 + 1728 * 384 + 1728 * 256) * 13 ** 2
EXPECTED = [
    150_528, 1 - math.tanh(3) ** 2, 48, 55, 34_944, 307_456, 100 * sum(FULL) / ALL,
    100 * WORK / (WORK + 9216 * 4096 + 4096 * 4096 + 4096 * 1000), 290_400,
    100 / 3 ** 0.75, 100 / 7 ** 0.75, 100 / 5 ** 0.75, 27, 9216, 51,
    2178, (1 / (1 + math.exp(-4)) + 1 / (1 + math.exp(1))) / 2, 0.1 * math.sqrt(4000) * 0.6,
    1.5, 8192, 1 + V1, 1 + V1 + V2, 843_750, math.log(1000), 2 * 1.9 * 2 / (1024 + 2)]
numbered = pytest.mark.parametrize("number", range(1, len(EXERCISES) + 1))
languages = pytest.mark.parametrize("language", PAGES)


@numbered
def test_the_computed_answer_is_the_one_worked_out_by_hand(number):
    answer = EXERCISES[number - 1]()
    assert answer.value == pytest.approx(EXPECTED[number - 1], rel=1e-5)
    shown = f"{answer.value:.{answer.decimals}f}"
    assert answer.gives(answer.value, float(shown))   # as a person rounds it
    assert not answer.gives(answer.value, float(shown) * 1.2 + 1)


@numbered
@languages
def test_each_slip_is_wrong_and_gets_its_own_hint(number, language):
    answer = EXERCISES[number - 1]()
    said = [comment(answer, float(f"{value:.{answer.decimals}f}"), language) for value, _ in answer.slips]
    assert answer.slips
    for text, (_, reason) in zip(said, answer.slips, strict=True):
        assert reason[language == "zh"] in text
    assert comment(answer, answer.value, language) in ("Right.", "正确。")


@languages
def test_the_page_has_every_exercise_and_no_answer(language):
    page = PAGES[language].read_text("utf-8")
    assert [int(number) for number in re.findall(r"^\*\*(\d+)\.\*\*", page, re.MULTILINE)] == list(
        range(1, len(EXERCISES) + 1))
    for number, exercise in enumerate(EXERCISES, 1):
        answer = exercise()
        shown = f"{answer.value:.{answer.decimals}f}"
        assert not re.search(rf"(?<![\d.]){re.escape(shown)}(?![\d.]?\d)", page.replace(",", "")), number


@numbered
def test_both_languages_ask_for_the_same_numbers(number):
    def numbers(language: str) -> list[str]:
        return sorted(re.findall(r"\d+(?:\.\d+)?", question(number, language).replace("120 万", "1.2")))

    assert numbers("en") == numbers("zh")
    decimals = {"one": ("一", 1), "two": ("两", 2), "three": ("三", 3), "four": ("四", 4), "six": ("六", 6)}
    asked = re.search(r"to (\w+) decimal", question(number, "en"))
    word, count = decimals[asked[1]] if asked else ("", 0)
    assert EXERCISES[number - 1]().decimals == count
    assert re.findall("(.)位小数", question(number, "zh")) == [word] * bool(asked)


def test_a_number_is_read_as_people_write_it():
    assert [number_in(text) for text in ("34,944", "34944", "96.2%", "1e-2", "96.2％")] == [
        34944, 34944, 96.2, 0.01, 96.2]


def test_the_command_says_whether_an_answer_is_right(capsys):
    exercises.main(["4", "54"])
    said = capsys.readouterr().out
    assert "11 x 11" in said and "rounded down" in said
    exercises.main(["4", "55", "--language", "zh"])
    assert "正确" in capsys.readouterr().out
    exercises.main(["5", "--hint", "--answer"])
    assert capsys.readouterr().out.endswith("34,944\n")


@pytest.mark.parametrize("arguments, said", [
    (["0"], "1 to 25"), (["4", "many"], "not a number"), (["four"], "four")])
def test_a_mistake_is_one_line(capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        exercises.main(arguments)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and said in error and error.count("\n") == 1


@pytest.mark.parametrize("arguments", [("17", "0.625"), ("17", "62.5%"), ("7", "96.2％"), ("7", "96.2")])
def test_a_share_may_be_given_in_per_cent(capsys, arguments):
    exercises.main(list(arguments))
    assert capsys.readouterr().out.endswith("Right.\n")
