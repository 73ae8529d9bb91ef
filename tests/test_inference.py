"""alexnet_inference.py and alexnet.predict: every picture gets its answer or its reason."""

from __future__ import annotations

import codecs
import csv
import importlib.util
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet_inference
from alexnet import AlexNet, answers, checkpoint, figures, fonts, load
from alexnet.images import from_array, square
from alexnet.pack import packed
from alexnet.sources import find_source, from_datasets
from alexnet.files import UserError, read_csv
from alexnet.codes import nearest_codes
from alexnet.predict import (CLASS_NAMES, Answer, Average, class_above, classify, features, find_pictures,
                             in_their_order, open_picture, Opened, Prediction, readable_names, reason)
from alexnet.training import evaluate
from alexnet.answers import Panel, Truth
from conftest import ROOT, make_folder, run_main, save_picture

CLASSES = ["disc", "star", "stripes", "moon", "ring", "cross"]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return saved_model(tmp_path_factory.mktemp("model") / "best.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("pictures") / "set", {"star": 7, "disc": 5, "moon": 3})


def call(capsys, *arguments) -> tuple[int, str, str]:
    return run_main(alexnet_inference.main, capsys, *arguments)


def saved_model(path: Path, seed: int = 0, **changes) -> Path:
    """A checkpoint of a network whose answers differ from picture to picture."""
    torch.manual_seed(seed)
    classes = changes.pop("classes", CLASSES)
    model = AlexNet(len(classes), **{"image_size": 36, "hidden": 16, **changes})
    model.classes = list(classes)
    with torch.no_grad():
        model.mean.fill_(100)   # each network subtracts its own
        model.fc8.weight.mul_(300)
    checkpoint.save(path, model, {})
    return path


# ------------------------------------------------------------------- the answers

def test_an_answer_is_the_softmax_of_the_central_crop(model_file, folder):
    model = load(model_file)
    path = folder / "star" / "0.png"
    prediction, = classify(model, [path], top=6, dtype=torch.float32)
    image = Image.open(path).convert("RGB").resize((41, 41), Image.Resampling.BICUBIC)  # 36 * 256 / 224
    crop = np.asarray(image)[2:38, 2:38]
    with torch.no_grad():
        expected = model(torch.from_numpy(crop.copy()).permute(2, 0, 1)[None])[0].softmax(0)
    for answer in prediction.top:
        assert answer.probability == pytest.approx(expected[answer.index].item(), rel=1e-4)
        assert answer.name == CLASSES[answer.index]
    found = [answer.probability for answer in prediction.top]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("views", [1, 10])
def test_several_networks_answer_by_the_mean_of_their_probabilities(model_file, folder, tmp_path, capsys,
                                                                    views):
    """As from Python, so from the command line."""
    files = [model_file, saved_model(tmp_path / "second.pt", seed=1)]
    pictures = sorted(folder.rglob("*.png"))[:4]
    models = list(map(load, files))
    each = [list(classify(model, pictures, 6, views, dtype=torch.float32)) for model in models]
    together = list(classify(Average(models), pictures, 6, views, dtype=torch.float32))
    for one, other, both in zip(*each, together):
        first, second, mean = ({answer.name: answer.probability for answer in found.top}
                               for found in (one, other, both))
        assert mean == pytest.approx({name: (first[name] + second[name]) / 2 for name in CLASSES}, abs=1e-5)
    status, out, _ = call(capsys, *pictures, "--model", files[0], "--model", files[1], "--output", "-",
                          "--views", views, "--precision", "fp32", "--top", 1)
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [one["predictions"][0]["class"] for one in answers] == [both.top[0].name for both in together]


def test_networks_that_cannot_answer_together_are_one_line(model_file, folder, tmp_path, capsys):
    for changes, says in ({"classes": ["disc", "star"]}, "same classes"), ({"image_size": 40}, "same size"):
        other = saved_model(tmp_path / "other.pt", **changes)
        status, _, err = call(capsys, folder, "--model", model_file, "--model", other)
        assert status == 2 and says in err and len(err.splitlines()) == 1
    status, _, err = call(capsys, folder, "--model", model_file, "--model", model_file, "--features", "fc7",
                          "--output", tmp_path / "x.npz")
    assert status == 2 and "one --model" in err


def test_answers_do_not_depend_on_batch_workers_or_order(model_file, folder):
    model = load(model_file)
    pictures, _ = find_pictures([str(folder)])
    first = list(classify(model, pictures, batch_size=1, threads=1))
    assert len({prediction.top[0].probability for prediction in first}) > 5
    for again in (list(classify(model, pictures, batch_size=4, threads=3)),
                  list(classify(model, pictures[::-1], batch_size=64))[::-1]):
        assert [p.path for p in again] == [p.path for p in first] == [str(path) for path in pictures]
        for a, b in zip(first, again):
            assert [x.index for x in a.top] == [x.index for x in b.top]
            assert [x.probability for x in a.top] == pytest.approx([x.probability for x in b.top], rel=1e-4)


def test_pictures_in_memory_and_paths_give_the_same(model_file, folder):
    model, path = load(model_file), folder / "disc" / "1.png"
    from_file, in_memory = classify(model, [path, Image.open(path)])
    assert from_file.top == in_memory.top and in_memory.path == ""


def test_a_turned_photograph_is_the_same_for_every_way_in(model_file, folder, tmp_path):
    picture, exif, side = Image.open(folder / "disc" / "1.png").crop((0, 0, 40, 30)), Image.Exif(), 41
    exif[0x0112] = 6
    picture.save(tmp_path / "phone.png", exif=exif)
    path = tmp_path / "phone.png"
    expected = open_picture(picture.transpose(Image.Transpose.ROTATE_270), side).square
    assert (expected != open_picture(picture, side).square).any()
    for way in (str(path), path, path.read_bytes(), open(path, "rb"), Image.open(path)):
        np.testing.assert_array_equal(open_picture(way, side).square, expected)
    sets = {"train": [(Image.open(path), 0), (Image.open(path).convert("RGB"), 1)] * 3, "val": None}
    source = from_datasets("fake", sets)   # and for torchvision's data sets
    for item, _ in source.parts["train"]:
        np.testing.assert_array_equal(square(source.open(item, side), side), expected)


def same(one, two) -> bool:
    """The same classes in the same order, as probable but for the rounding of a larger batch."""
    close = all(math.isclose(a[2], b[2], abs_tol=1e-6) for a, b in zip(one, two))
    return close and [a[:2] for a in one] == [b[:2] for b in two]


def test_whatever_holds_a_picture_is_classified_alone_or_in_a_list(model_file, folder):
    model, path = load(model_file), folder / "disc" / "1.png"
    image = Image.open(path).convert("RGB")
    array = np.array(image)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    answer, = classify(model, path)
    assert answer.path == str(path) and answer.error is None
    forms = [str(path), path, path.read_bytes(), io.BytesIO(path.read_bytes()), image, array, array / 255,
             array.astype(np.float16), array.astype(np.uint16) * 257, np.moveaxis(array, 2, 0),
             np.dstack([array, np.full_like(array[..., 0], 255)]), tensor, tensor / 255,
             tensor.float().requires_grad_(), (tensor / 255).half(), torch.from_numpy(array)]
    for form in forms:
        alone, = classify(model, form)
        assert same(alone.top, answer.top), type(form)
        assert alone.path == (str(path) if isinstance(form, (str, Path)) else "")
        form.seek(0) if isinstance(form, io.BytesIO) else None
    for several in (forms, tuple(forms), iter(forms), (form for form in forms), np.stack([array] * 3),
                    torch.stack([tensor] * 2)):
        answers = list(classify(model, several))
        assert len(answers) > 1 and all(same(one.top, answer.top) for one in answers)
    assert from_array(tensor[:, :8, :4]).size == from_array(array[:8, :4]).size == (4, 8)
    assert from_array(array[:4, :4]).size[0] == 4
    (_, row), = features(model, array, "fc7")
    assert row.shape == (16,)
    grey = array[..., 1]
    assert len({next(classify(model, form)).top
                for form in (grey, grey[..., None], grey[None] / 255, Image.fromarray(grey))}) == 1


def test_what_is_no_picture_gets_a_clear_error(model_file, folder):
    for wrong, words in ((5, "int is no image"), (None, "NoneType is no image"),
                         (np.zeros((4, 4), np.int64), "int64"),
                         (np.float32([[-1, 1]]), "from -1 to 1"),
                         (np.float32([[0, 2.6]]), "white is 1 or 255"),
                         (torch.zeros(3, 8), None), (np.zeros((5, 7, 2)), "5 x 7 x 2"),
                         (np.zeros((0, 3, 3)), "0 x 3 x 3"),
                         ([folder], "Is a directory"), ([[1]], "list is no image"),
                         ("http://a/b.jpg", "No such file")):
        prediction, = classify(load(model_file), wrong)
        assert bool(words) == bool(prediction.error) and (words or "") in (prediction.error or ""), wrong


def test_one_pil_image_many_times_is_read_once(model_file, tmp_path, noise_image):
    Image.fromarray(noise_image(600, 800)).save(tmp_path / "one.jpg", quality=95)
    answers = list(classify(load(model_file), [Image.open(tmp_path / "one.jpg")] * 12, threads=6))
    assert len({answer.top for answer in answers}) == 1 and not answers[0].error


def test_dim_deep_pictures_are_said_once(capsys, model_file, tmp_path):
    for number in range(3):
        Image.fromarray(np.full((20, 20), 4000 + number, np.uint16)).save(tmp_path / f"{number}.png")
    status, out, err = call(capsys, tmp_path, "--model", model_file)
    assert status == 0 and err.count("warning: 3 image(s) of more than 8 bits") == 1 and err.count("\n") == 1


# ------------------------------------------------------------------- networks that do not compute

@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused_when_they_are_read(
        capsys, model_file, folder, tmp_path, value):
    model = load(model_file)
    with torch.no_grad():
        model.conv3.bias[5] = value
    checkpoint.save(tmp_path / "bad.pt", model, {})
    status, out, err = call(capsys, folder, "--model", tmp_path / "bad.pt", "--output", tmp_path / "a.json")
    assert status == 2 and "conv3.bias holds NaN or infinity" in err and err.count("\n") == 1
    assert not (tmp_path / "a.json").exists()


def test_what_overflows_is_an_error_of_the_image_and_json_stays_json(capsys, model_file, folder, tmp_path):
    model = load(model_file)
    with torch.no_grad():
        model.conv1.weight.mul_(1e20)
        model.fc8.weight.mul_(1e30)
    checkpoint.save(tmp_path / "large.pt", model, {})
    for name in ("a.json", "a.csv"):
        status, _, err = call(capsys, folder, "--model", tmp_path / "large.pt", "--output", tmp_path / name)
        assert status == 1 and "the network computes NaN or infinity" in err
    entries = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert len(entries) == 15 and all(entry["error"] and not entry["predictions"] for entry in entries)
    assert {row["class_1"] for row in read_csv(tmp_path / "a.csv")} == {""}
    assert all(isinstance(values, ValueError)
               for _, values in features(load(tmp_path / "large.pt"), [folder / "disc/1.png"], "fc8"))


def test_one_output_is_refused(tmp_path):
    model = AlexNet(1, 36, hidden=16).eval()
    model.classes = ["cat"]
    with pytest.raises(ValueError, match="one output"):
        list(classify(model, np.zeros((40, 40, 3), np.uint8)))
    with pytest.raises(UserError, match="one class"):
        checkpoint.save(tmp_path / "one.pt", model, {})
    checkpoint.save_torch({**checkpoint.about(model, {}), "model": model.state_dict()}, tmp_path / "one.pt")
    with pytest.raises(UserError, match="one class"):
        load(tmp_path / "one.pt")


def test_numbers_that_make_no_sense_are_refused(model_file):
    for more in ({"views": 5}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="1 or 10 crops, and at least one image at once"):
            list(classify(load(model_file), np.zeros((40, 40, 3), np.uint8), **more))


def test_a_model_in_training_mode_is_refused(model_file, folder):
    with pytest.raises(ValueError, match="eval"):
        list(classify(load(model_file).train(), [folder / "disc" / "1.png"]))


def test_truth_on_the_training_images_is_said(capsys, tmp_path):
    folder = make_folder(tmp_path / "set", {"train/disc": 2, "train/star": 2, "val/disc": 1, "val/star": 1})
    flat = make_folder(tmp_path / "flat", {"disc": 3, "star": 2})
    inner = make_folder(tmp_path / "inner", {f"{name}/{part}": 1 for name in ("disc", "star") for part in ("train", "val")})
    odd = make_folder(tmp_path / "odd", {f"{name}_{part}": 1 for name in ("disc", "star") for part in ("train", "test")})
    (tmp_path / "links").mkdir()
    (tmp_path / "links/linked").symlink_to(folder / "train/disc")
    for data, split, part, said in (
            (None, None, folder / "val", ""), (odd, None, folder / "val", ""), (inner, None, "disc/val", ""),
            (folder, None, tmp_path / "links", "2 of these pictures lie in"),
            (folder, None, "train", f"4 of these pictures lie in {folder / 'train'}, and .* on the images there"),
            (folder, None, "val", ""), (flat, 0.2, "disc", f"3 of these pictures lie in {flat}, .* on 80% of the images")):
        model = AlexNet(2, 36, hidden=8).eval()
        model.classes = ["disc", "star"]
        checkpoint.save(tmp_path / "m.pt", model, {"data": data and str(data), "split": split})
        err = call(capsys, data / part if data else part, "--model", tmp_path / "m.pt", "--truth")[2]
        assert re.search(said, err) if said else "trained" not in err


@pytest.mark.parametrize("views", [1, 10])
def test_truth_gives_the_errors_of_evaluate(capsys, model_file, folder, tmp_path, views):
    pack = packed(find_source(str(folder)), 36, tmp_path / "cache", quiet=True)
    model = load(model_file)
    numbers = np.array([CLASSES.index(name) for name in pack.classes])
    parts = [evaluate(model, pack, views=views, part=part, labels=numbers[pack.labels[part]])
             for part in ("train", "val")]
    wrong = [sum(part[what] * part["images"] for part in parts) / 15 for what in ("top1_error", "top5_error")]
    status, out, _ = call(capsys, folder, "--model", model_file, "--truth", "--views", views,
                          "--output", tmp_path / "a.csv")
    assert status == 0
    assert f"15 pictures: top-1 error {wrong[0]:.2%}, top-5 error {wrong[1]:.2%}" in out
    about = json.loads((tmp_path / "truth.json").read_text())
    assert about["classes"]["star"]["pictures"] == 7 and about["top1_error"] == pytest.approx(wrong[0])
    rows = read_csv(tmp_path / "confusion.csv")
    assert sum(int(row[name]) for row in rows for name in CLASSES) == 15
    assert Image.open(tmp_path / "confusion.png").size[0] > 200


def test_the_fifth_answer_counts_for_top_5_and_the_sixth_does_not(capsys, tmp_path):
    model = AlexNet(8, 36, hidden=8)
    model.classes = list("abcdefgh")
    with torch.no_grad():   # a is the most probable class of every picture, h the least
        model.fc8.weight.zero_()
        model.fc8.bias.copy_(torch.linspace(1, 0, 8))
    checkpoint.save(tmp_path / "m.pt", model, {})
    folder = make_folder(tmp_path / "set", {"a": 1, "e": 2, "f": 4})
    for top in (1, 5):
        assert call(capsys, folder, "--model", tmp_path / "m.pt", "--truth", "--top", top,
                    "--output", tmp_path / "o.csv")[0] == 0
        about = json.loads((tmp_path / "truth.json").read_text())
        assert about["top1_error"] == pytest.approx(6 / 7) and about["top5_error"] == pytest.approx(4 / 7)
        assert [about["classes"][name]["not_among_five"] for name in "aef"] == [0, 0, 4]


def test_the_truth_is_the_nearest_folder_of_a_class_from_wherever_it_is_named(
        capsys, monkeypatch, model_file, tmp_path):
    save_picture(tmp_path / "star/moon or not/1.png", 0)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/disc").symlink_to(tmp_path / "star/moon or not")
    (tmp_path / "linked/other").symlink_to(tmp_path / "star/moon or not")
    monkeypatch.chdir(tmp_path / "star/moon or not")
    for place, name in ((".", "star"), ("1.png", "star"), (tmp_path / "star", "star"),
                        (tmp_path / "linked/disc", "disc"), (tmp_path / "linked/other", "star")):
        status, out, _ = call(capsys, place, "--model", model_file, "--truth", "--output", tmp_path / "a.csv")
        counts = json.loads((tmp_path / "truth.json").read_text())["classes"]
        assert status == 0 and [one for one, about in counts.items() if about["pictures"]] == [name]
        path = tmp_path / "linked/disc/1.png" if name == "disc" else "1.png"
        assert class_above(path, CLASSES) == name   # what the figures ask
    assert class_above("/photos/DISC /1.png", CLASSES) == "disc" and not class_above("/photos/1.png", CLASSES)


def test_files_of_other_kinds_are_counted_by_kind(capsys, model_file, tmp_path):
    for name in ("a.mp4", "b.mp4", "c.txt", "README"):
        (tmp_path / name).write_text("nothing")
    status, _, err = call(capsys, tmp_path, "--model", model_file)
    assert status == 2 and "but 4 file(s) of other kinds (2 .mp4, " in err
    save_picture(tmp_path / "star", 0, format="PNG")   # known by its content
    status, _, err = call(capsys, tmp_path, "--model", model_file, "--output", tmp_path / "a.csv")
    assert status == 0 and "4 file(s) of other kinds (2 .mp4, " in err and "left alone" in err


def test_truth_with_other_folders_is_refused_before_any_work(capsys, model_file, tmp_path):
    save_picture(tmp_path / "holiday" / "1.png", 0)
    status, _, err = call(capsys, tmp_path, "--model", model_file, "--truth")
    assert status == 2 and "holiday" in err and "disc" in err
    for name in ("cat", "dog"):   # below a folder that has the name of a class by chance
        save_picture(tmp_path / "disc/val" / name / "1.png", 0)
    status, _, err = call(capsys, tmp_path / "disc/val", "--model", model_file, "--truth", "--output",
                          tmp_path / "a.csv")
    assert status == 0 and "all pictures count as disc, the name of a folder above" in err and "cat, dog" in err


def test_features_are_written_in_order_as_python_gives_them(capsys, model_file, folder, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    status, out, err = call(capsys, tmp_path / "bad.png", folder, "--model", model_file, "--features", "fc7",
                            "--output", tmp_path / "f.npz", "--batch-size", 4, "--device", "cpu")
    assert status == 1 and "bad.png: not an image" in err
    content = np.load(tmp_path / "f.npz")
    pictures, _ = find_pictures([str(folder)])
    assert content["paths"].tolist() == [str(path) for path in pictures] and len(content["errors"]) == 1
    assert content["features"].shape == (15, 16)
    model = load(model_file)
    for row, (_, values) in zip(content["features"], features(model, pictures, "fc7", batch_size=1)):
        np.testing.assert_allclose(row, values, rtol=1e-4, atol=1e-5)
    status, _, err = call(capsys, folder, "--model", model_file, "--features", "fc9",
                          "--output", tmp_path / "g.npz")
    assert status == 2 and "fc9" in err and "fc7" in err and not (tmp_path / "g.npz").exists()


def test_codes_of_pictures_can_be_compared_with_those_of_another_file(capsys, model_file, folder, tmp_path):
    """The codes of a file's pictures, made again from its coder, are the same; so a new picture, coded so, is
    nearest to itself."""
    arguments = folder, "--model", model_file, "--features", "fc7", "--device", "cpu"
    status, out, err = call(capsys, *arguments, "--bits", 32, "--output", tmp_path / "bank.npz")
    assert status == 0 and "codes (15, 4), paths, errors (0)" in out
    assert err == ("warning: 15 pictures are few to learn 32 bits from; FILE.npz of more pictures can be "
                   "named instead of the number of bits\n")
    bank = np.load(tmp_path / "bank.npz")
    assert bank["codes"].shape == (15, 4) and "features" not in bank
    assert len(np.unique(bank["codes"], axis=0)) > 5
    again = "--bits", tmp_path / "bank.npz", "--output"
    status, _, err = call(capsys, *arguments, *again, tmp_path / "same.npz")
    same = np.load(tmp_path / "same.npz")
    assert status == 0 and not err and (same["codes"] == bank["codes"]).all()
    call(capsys, bank["paths"][7], *arguments[1:], *again, tmp_path / "one.npz")
    rows = nearest_codes(np.load(tmp_path / "one.npz")["codes"], bank["codes"], 15)
    same_code = (bank["codes"] == bank["codes"][7]).all(1).nonzero()[0]
    assert rows[0, 0] == same_code[0] and 7 in rows[0, :len(same_code)]


def test_codes_that_cannot_be_made_or_compared_get_a_line(capsys, model_file, folder, tmp_path):
    features = folder, "--model", model_file, "--features", "fc7", "--device", "cpu"
    bank, output = tmp_path / "bank.npz", ("--output", tmp_path / "out.npz")
    call(capsys, *features, "--bits", 8, "--output", bank)
    call(capsys, *features, "--output", tmp_path / "values.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "half.npz").write_bytes(bank.read_bytes()[:900])
    other = folder, "--model", model_file, "--features", "fc6", "--device", "cpu"
    one = folder / "disc/0.png", *features[1:]
    for arguments, words in (
            ((*features, "--bits", 12, *output), "multiple of 8"),
            ((*features, "--bits", 0, *output), "multiple of 8"),
            ((*features, "--bits", "none.npz", *output), "neither a number of bits nor a file"),
            ((folder, "--model", model_file, "--bits", 8), "--features"),
            ((*features, "--bits", tmp_path / "values.npz", *output), "not a file that --bits N wrote"),
            ((*features, "--bits", tmp_path / "array.npy", *output), "not a file that --bits N wrote"),
            ((*features, "--bits", tmp_path / "half.npz", *output), "not a file that --bits N wrote"),
            ((*features, "--bits", model_file, *output), "not a file that --bits N wrote"),
            ((*other, "--bits", bank, *output), "cannot be compared"),
            ((*one, "--bits", 8, *output), "two at least have to differ")):
        status, _, err = call(capsys, *arguments)
        assert status == 2 and words in err and err.count("\n") == 1, arguments
        assert not (tmp_path / "out.npz").exists()


# ------------------------------------------------------------------- the forms of the output

def test_csv_json_and_json_lines_say_the_same(capsys, model_file, folder, tmp_path):
    for name in ("a.csv", "a.json", "a.jsonl"):
        assert call(capsys, folder, "--model", model_file, "--output", tmp_path / name, "--top", 2)[0] == 0
    whole = json.loads((tmp_path / "a.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines[0].pop("made_with")["top"] == 2 and lines == whole
    rows = read_csv(tmp_path / "a.csv")
    assert list(rows[0]) == ["path", "class_1", "probability_1", "class_2", "probability_2", "error"]
    assert len(rows) == len(whole) == 15
    for row, entry in zip(rows, whole):
        assert set(entry) == {"path", "predictions", "error"} and entry["error"] is None
        assert row["error"] == ""
        assert row["path"] == entry["path"]
        for number, answer in enumerate(entry["predictions"], 1):
            assert set(answer) == {"index", "class", "probability"}
            assert CLASSES[answer["index"]] == answer["class"]
            assert row[f"class_{number}"] == answer["class"]
            assert float(row[f"probability_{number}"]) == answer["probability"]
    status, out, _ = call(capsys, folder, "--model", model_file, "--output", "-", "--top", 2)
    assert [json.loads(line) for line in out.splitlines()] == whole and status == 0


def test_few_pictures_show_bars_and_many_a_summary(capsys, model_file, folder, tmp_path):
    status, out, _ = call(capsys, folder / "moon", "--model", model_file)
    assert status == 0 and out.count("%") == 15 and "█" in out and "0.png" in out
    for copy in range(21):
        save_picture(tmp_path / "many" / f"{copy}.png", copy)
    status, out, _ = call(capsys, tmp_path / "many", "--model", model_file)
    assert "21 of 21 pictures classified" in out and out.count("%") == 0


def test_pictures_are_sorted_as_people_sort(tmp_path):
    for name in ("10.png", "2.png", "a/1.png", "B.png", "a/x.txt", ".hidden.png"):
        save_picture(tmp_path / name, 0) if name.endswith("png") else (tmp_path / name).write_text("")
    pictures, others = find_pictures([str(tmp_path), str(tmp_path / "2.png")])
    assert [str(path.relative_to(tmp_path)) for path in pictures] == ["2.png", "10.png", "a/1.png", "B.png"]
    assert others == {".txt": 1}


def test_a_list_on_standard_input_and_what_is_missing_from_it(capsys, monkeypatch, model_file, folder):
    paths = [str(folder / "star" / "3.png"), "gone.png", str(folder / "disc" / "0.png")]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(paths) + "\n"))
    status, out, err = call(capsys, "-", "--model", model_file, "--output", "-")
    assert status == 1 and [json.loads(line)["path"] for line in out.splitlines()] == paths
    assert "gone.png: No such file" in err


@pytest.mark.parametrize("kind, encode", [
    ("utf-8 with a mark", lambda text: text.encode("utf-8-sig")),
    ("PowerShell's utf-16", lambda text: text.encode("utf-16")),
    ("utf-16 without a mark", lambda text: text.encode("utf-16-le")),
    ("utf-32", lambda text: text.encode("utf-32")),
    ("Windows' line ends", lambda text: text.replace("\n", "\r\n").encode()),
    ("find -print0", lambda text: text.replace("\n", "\0").encode())])
def test_lists_of_every_kind_are_read(monkeypatch, tmp_path, kind, encode):
    paths = [save_picture(tmp_path / name, 0) for name in ("2.png", "Stra\xdfe \u732b.png", " blank .png")]
    text = "".join(f"{path}\n" for path in paths)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encode(text))))
    assert alexnet_inference.list_pictures(["-"]) == paths


def test_names_that_are_not_utf8_are_read_from_a_list(monkeypatch, tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(path)).write_bytes(b"")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path + b"\n")))
    assert [os.fsencode(found) for found in alexnet_inference.list_pictures(["-"])] == [path]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_an_image_in_the_place_of_a_list_gets_one_line(capsys, monkeypatch, model_file, noise_image, kind):
    buffer = io.BytesIO()
    Image.fromarray(noise_image(20, 30)).save(buffer, kind)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(buffer.getvalue())))
    status, _, err = call(capsys, "-", "--model", model_file)
    assert status == 2 and "standard input" in err and "not a text but binary data" in err
    assert err.count("\n") == 1


def test_wrong_calls_get_a_line(capsys, monkeypatch, model_file, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, words in (
            (("nowhere", "--model", model_file), "nowhere"),
            ((tmp_path / "empty", "--model", model_file), "no picture"),
            ((folder, "--model", tmp_path / "none.pt"), "none.pt"),
            ((folder, "--model", model_file, "--output", "a.txt"), ".csv"),
            ((folder, "--model", model_file, "--resume"), "jsonl"),
            ((folder, "--model", model_file, "--top", 0), "--top"),
            ((folder, "--model", model_file, "--features", "fc7"), ".npz"),
            ((folder, "--model", model_file, "--features", "fc7", "--names", "en", "--output", "x.npz"),
             "--names has no meaning with it"),
            ((folder, "--model", model_file, "--names", "zh"), "ImageNet")):
        status, _, err = call(capsys, *arguments)
        assert status == 2 and words in err and err.count("\n") == 1, arguments
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, folder)
    assert status == 2 and "train_alexnet.py" in err


def test_without_a_model_the_newest_run_is_taken_and_named(capsys, monkeypatch, model_file, tmp_path):
    for age, name in ((100, "old"), (1, "new")):
        path = tmp_path / "results" / "runs" / name / "best.pt"
        path.parent.mkdir(parents=True)
        shutil.copy(model_file, path)
        os.utime(path, (time.time() - age,) * 2)
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys)   # without a path: the samples
    assert status == 0 and str(Path("results/runs/new/best.pt")) in err and "photo-cat.jpg" in out


# ------------------------------------------------------------------- interruption

def test_a_killed_run_leaves_valid_lines_and_resume_completes_them(model_file, tmp_path):
    source = save_picture(tmp_path / "one.png", 0)
    (tmp_path / "many").mkdir()
    for number in range(1500):
        os.link(source, tmp_path / "many" / f"{number}.png")
    out = tmp_path / "out.jsonl"
    command = [sys.executable, str(ROOT / "alexnet_inference.py"), str(tmp_path / "many"),
               "--model", str(model_file), "--batch-size", "16", "--output", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out.exists() and out.stat().st_size > 20_000):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    before = out.read_bytes()
    assert 0 < before.count(b"\n") < 1500
    with open(out, "ab") as file:   # as if it had been killed within a line
        file.write(b'{"path": "x')
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2 and "--resume" in refused.stderr
    assert subprocess.run([*command, "--resume"], capture_output=True).returncode == 0
    assert out.read_bytes().startswith(before[:before.rindex(b"\n") + 1])
    paths = [json.loads(line)["path"] for line in out.read_text().splitlines()]
    assert paths == [str(tmp_path / "many" / f"{number}.png") for number in range(1500)]


def test_resume_knows_pictures_of_one_name_in_different_folders(capsys, monkeypatch, model_file, tmp_path):
    for number, year in enumerate(("2023", "2024")):
        save_picture(tmp_path / year / "IMG_1.png", number)
    for year, more in (("2023", []), ("2024", ["--resume"]), ("2024", ["--resume"])):
        monkeypatch.chdir(tmp_path / year)
        assert call(capsys, ".", "--model", model_file, "--output", "../all.jsonl", *more)[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == ["IMG_1.png", "IMG_1.png"]
    assert lines[0]["predictions"] != lines[1]["predictions"]
    moved = (tmp_path / "2024").parent.rename(tmp_path.parent / f"{tmp_path.name}-moved")   # all of it
    monkeypatch.chdir(moved / "2024")
    _, _, err = call(capsys, ".", "--model", model_file, "--output", "../all.jsonl", "--resume")
    assert "1 of 1 pictures are in" in err


def test_classifying_leaves_the_warnings_of_a_program_as_they_are(model_file, tmp_path):
    """warnings.catch_warnings on several threads would not."""
    save_picture(tmp_path / "1.png", 0)
    before, model = list(warnings.filters), load(model_file)
    for _ in range(10):
        list(classify(model, [tmp_path / "1.png"] * 40, threads=4))
        assert list(warnings.filters) == before


def test_a_name_with_an_odd_letter_does_not_refuse_a_list(monkeypatch):
    odd, usual = b"./b\x1bc.png\0", b"./a.png\0./d.png\0"
    for content in (odd, odd + usual, usual + odd):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert "b\x1bc.png" in [path.name for path in alexnet_inference.list_pictures(["-"])]


def test_what_is_left_of_features_by_a_killed_process_is_removed(capsys, model_file, folder, tmp_path):
    left = tmp_path / f".f.npz.{10 ** 9}.rows.part"
    left.write_bytes(b"1" * 1000)
    assert call(capsys, folder, "--model", model_file, "--features", "fc7", "--output", tmp_path / "f.npz")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["f.npz"]


def test_resume_of_a_finished_file_still_says_what_could_not_be_read(capsys, model_file, tmp_path):
    save_picture(tmp_path / "in" / "good.png", 0)
    (tmp_path / "in" / "bad.png").write_bytes(b"nothing")
    for more in ([], ["--resume"]):
        status, _, err = call(capsys, tmp_path / "in", "--model", model_file,
                              "--output", tmp_path / "out.jsonl", *more)
        assert status == 1
    assert "2 of 2 pictures are in" in err and "1 of these could not be read" in err


def test_resume_is_refused_where_anything_differs_that_decides_an_answer(
        capsys, model_file, folder, tmp_path):
    out, copy = tmp_path / "out.jsonl", shutil.copy(model_file, tmp_path / "moved.pt")
    other, changed = load(model_file), load(model_file)
    other.classes = CLASSES[::-1]
    changed.mean.data += 1
    for name, model in (("names.pt", other), ("mean.pt", changed)):
        checkpoint.save(tmp_path / name, model, {})
    common = ("--output", out, "--device", "cpu", "--precision")
    assert call(capsys, folder / "star", "--model", model_file, *common, "fp32")[0] == 0
    before = out.read_bytes()
    for model, more, word in ((model_file, ["fp32", "--views", 10], "views 1 (now 10)"),
                              (model_file, ["fp32", "--top", 2], "top 5 (now 2)"),
                              (model_file, ["bf16"], "(now bfloat16)"),
                              (tmp_path / "names.pt", ["fp32"], "model "),
                              (tmp_path / "mean.pt", ["fp32"], "model "),
                              (model_file, ["fp32", "--model", copy], "model ")):
        status, _, err = call(capsys, folder, "--model", model, "--resume", *common, *more)
        assert status == 2 and word in err and err.count("\n") == 1 and out.read_bytes() == before
    # the same network elsewhere
    status, _, err = call(capsys, folder / "disc", "--model", copy, "--resume", *common, "fp32")
    assert status == 0 and out.read_bytes().startswith(before) and out.read_bytes().count(b"\n") == 12
    assert "warning" not in err
    out.write_text(json.dumps({key: value for key, value in json.loads(before.splitlines()[0]).items()
                               if key != "made_with"}) + "\n")
    status, _, err = call(capsys, folder / "star", "--model", model_file, "--resume", *common, "fp32")
    # it does not say with what it was made
    assert status == 2 and "holds a line that is not one of ours" in err


# ------------------------------------------------------------------- bad and odd files

def odd_files(folder: Path) -> tuple[set[str], set[str]]:
    """Names of files that must be classified, and of those that cannot be."""
    folder.mkdir()
    picture = Image.open(save_picture(folder / "good.png", 0)).convert("RGB")
    grey16 = Image.fromarray((np.arange(90 * 70).reshape(70, 90) * 10).astype(np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    grey16.save(folder / "grey16.png")
    grey16.save(folder / "grey16.tif")
    picture.save(folder / "turned.jpg", exif=turned)
    picture.convert("P").save(folder / "palette.gif")
    picture.save(folder / "moving.gif", save_all=True, append_images=[picture.rotate(90)] * 3)
    picture.convert("RGBA").save(folder / "clear.webp")
    picture.save(folder / "name with 'quotes', commas;\nand a new line.jpg")
    picture.save(folder / "=1+1.jpg")
    picture.save(folder / "图片.jpg")
    good = {path.name for path in folder.iterdir()}
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture")
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    data = io.BytesIO()
    picture.resize((300, 300)).save(data, "JPEG")
    (folder / "cut.jpg").write_bytes(data.getvalue()[:len(data.getvalue()) // 2])
    (folder / "bomb.png").write_bytes(huge_png(30_000))
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "folder.jpg").mkdir()
    if os.geteuid():   # root may read everything
        picture.save(folder / "forbidden.jpg")
        (folder / "forbidden.jpg").chmod(0)
    bad = {path.name for path in folder.iterdir()} - good - {"folder.jpg"}
    chance = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        data = io.BytesIO()
        picture.save(data, kind)
        for number in range(32):
            raw = bytearray(data.getvalue())
            for place in chance.integers(0, len(raw), 1 + number // 2):
                raw[place] ^= 1 << int(chance.integers(8))
            (folder / f"flipped-{number}.{kind.lower()}").write_bytes(raw)
    return good, bad


def huge_png(side: int) -> bytes:
    """A small file that unpacks to side x side pixels."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    head = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_bad_and_odd_files_never_stop_it(capsys, model_file, tmp_path):
    good, bad = odd_files(tmp_path / "odd")
    files = {str(path) for path in (tmp_path / "odd").rglob("*") if not path.is_dir()}
    assert len(files) >= 200
    for name in ("a.json", "a.csv"):
        status, _, err = call(capsys, tmp_path / "odd", "--model", model_file, "--output", tmp_path / name)
        assert status == 1
    entries = json.loads((tmp_path / "a.json").read_text())
    assert sorted(entry["path"] for entry in entries) == sorted(files)
    by_name = {Path(entry["path"]).name: entry for entry in entries}
    for name in good:
        assert by_name[name]["error"] is None and len(by_name[name]["predictions"]) == 5, name
    for name in bad:
        assert by_name[name]["error"] and not by_name[name]["predictions"], name
        assert "\n" not in by_name[name]["error"]
        assert f"{tmp_path / 'odd' / name}: {by_name[name]['error']}" in err
    heif = importlib.util.find_spec("pillow_heif")
    assert by_name["empty.jpg"]["error"] == "the file is empty"
    assert ("not an image" if heif else "pip install pillow-heif") in by_name["photo.heic"]["error"]
    assert "DecompressionBomb" in by_name["bomb.png"]["error"] and "truncated" in by_name["cut.jpg"]["error"]
    assert all(bool(entry["error"]) != bool(entry["predictions"]) for entry in entries)
    rows = read_csv(tmp_path / "a.csv")
    assert [row["path"] for row in rows] == [entry["path"] for entry in entries]


def test_a_name_in_another_encoding_is_written(capsys, model_file, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xe9t\xe9.png"
    shutil.copy(save_picture(tmp_path / "a" / "x.png", 0), path)
    status, _, _ = call(capsys, tmp_path, "--model", model_file, "--output", tmp_path / "o.jsonl")
    entries = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text("utf-8").splitlines()]
    assert status == 0 and os.fsencode(entries[-1]["path"]) == path


# ------------------------------------------------------------------- names, panel

def test_the_list_of_classes_has_no_gap_and_no_double():
    rows = list(csv.DictReader(open(CLASS_NAMES, encoding="utf-8")))
    assert [int(row["index"]) for row in rows] == list(range(1000))
    # the folders' order
    assert [row["wordnet_id"] for row in rows] == sorted({row["wordnet_id"] for row in rows})
    assert {int(row["ilsvrc_id"]) for row in rows} == set(range(1, 1001))
    for language in ("english", "chinese"):
        assert len({row[language] for row in rows}) == 1000 and all(row[language].strip() for row in rows)
    assert all(any("一" <= letter <= "鿿" or "㐀" <= letter <= "䶿" for letter in row["chinese"]) for row in rows)


def test_english_names_are_torchvisions():
    from torchvision.models import AlexNet_Weights
    rows = list(csv.DictReader(open(CLASS_NAMES, encoding="utf-8")))
    assert [row["english"] for row in rows] == AlexNet_Weights.IMAGENET1K_V1.meta["categories"]


def test_names_fit_folders_english_words_and_a_thousand_numbers():
    assert readable_names(["n01440764", "other"], "zh") == {"n01440764": "丁鲷"}
    assert readable_names(["tench"], "zh") == {"tench": "丁鲷"}
    assert readable_names([str(number) for number in range(1000)], "en")["1"] == "goldfish"
    assert readable_names(["0", "1"], "en") == {}


def test_json_adds_the_readable_name_and_csv_has_it_instead(capsys, folder, tmp_path):
    saved_model(tmp_path / "m.pt", classes=["n01440764", "n02102040"])
    assert call(capsys, folder / "moon", "--model", tmp_path / "m.pt", "--names", "zh",
                "--output", tmp_path / "o.json")[0] == 0
    answers = json.loads((tmp_path / "o.json").read_text())[0]["predictions"]
    assert {(answer["class"], answer["name"]) for answer in answers} == {
        ("n01440764", "丁鲷"), ("n02102040", "英国史宾格犬")}
    assert call(capsys, folder / "moon", "--model", tmp_path / "m.pt", "--names", "zh",
                "--output", tmp_path / "o.csv")[0] == 0
    assert {row[f"class_{k}"] for row in read_csv(tmp_path / "o.csv") for k in (1, 2)} == {"丁鲷", "英国史宾格犬"}


def test_a_panel_has_pages_of_eight(capsys, model_file, folder, tmp_path):
    status, out, _ = call(capsys, folder, "--model", model_file, "--truth", "--panel", tmp_path / "p.png",
                          "--output", tmp_path / "o.csv")
    assert status == 0 and str(tmp_path / "p-2.png") in out and not (tmp_path / "p-3.png").exists()
    assert Image.open(tmp_path / "p.png").width == Image.open(tmp_path / "p-2.png").width > 800


def test_letters_without_a_font_are_said_once(monkeypatch, capsys):
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [])
    monkeypatch.setattr(fonts, "said", set())
    assert fonts.choose_fonts(set("plain words, déjà vu")) == ([], set()) and not capsys.readouterr().err
    for _ in range(2):
        assert fonts.choose_fonts(set("a丁鲷\udcff"))[1] == set("丁鲷\udcff")
    assert re.fullmatch("warning: no installed font has 丁 鲷, drawn as .*fonts-noto-cjk.*\n",
                        capsys.readouterr().err)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_panel_of_any_class_names_is_drawn(capsys, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "said", set())
    # a letter that no font has, one of 350, no formula
    saved_model(tmp_path / "m.pt", classes=["\U000E0041 tag", "a name " * 50, "$x_{$"])
    status, _, err = call(capsys, folder / "moon", "--model", tmp_path / "m.pt",
                          "--panel", tmp_path / "p.png", "--output", tmp_path / "o.csv")
    assert status == 0 and Image.open(tmp_path / "p.png").width == 3 * 520   # three pictures, no blank column
    assert err.count("warning: no installed font has") == 1


def test_a_table_with_names_that_are_not_ascii_opens_in_excel_and_is_read_again(capsys, folder, tmp_path):
    for classes, mark in ((["ant", "bee"], b""), (["猫", "狗"], codecs.BOM_UTF8)):
        saved_model(tmp_path / "m.pt", classes=classes)
        assert call(capsys, folder / "moon", "--model", tmp_path / "m.pt",
                    "--output", tmp_path / "o.csv")[0] == 0
        assert (tmp_path / "o.csv").read_bytes().startswith(mark + b"path,class_1")
        assert {row["class_1"] for row in read_csv(tmp_path / "o.csv")} <= set(classes)
        assert "path" in read_csv(tmp_path / "o.csv")[0]


def test_a_name_as_long_as_may_be_is_written_and_a_longer_one_in_a_list_is_one_error(
        capsys, folder, model_file, tmp_path, monkeypatch):
    out = tmp_path / ("n" * 250 + ".csv")
    monkeypatch.setattr(sys, "stdin", io.StringIO("k" * 300 + "\n" + str(next((folder / "moon").iterdir()))))
    status, _, err = call(capsys, "-", "--model", model_file, "--output", out)
    assert status == 1 and err.startswith("kkk")
    assert [bool(row["error"]) for row in read_csv(out)] == [True, False]
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.filterwarnings("error:Glyph")
@pytest.mark.parametrize("installed", [True, False])
def test_chinese_in_a_figure_is_drawn_or_a_line_says_which_font_to_install(
        tmp_path, monkeypatch, capsys, installed):
    monkeypatch.setattr(fonts, "said", set())
    if not installed:
        monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [])
    elif not fonts.font_manager.findSystemFonts():
        pytest.skip("no font installed")
    names = ["丁鲷", "b\udcff", "$c$"]   # Chinese, a broken encoding, what would be a formula
    figures.confusion(np.eye(3, dtype=int), names, tmp_path / "confusion.png")
    figures.plane(np.eye(3, 2), np.arange(3), names, [], np.ones(2), tmp_path / "plane.png", "丁鲷")
    assert (tmp_path / "confusion.png").exists() and (tmp_path / "plane.png").exists()
    assert installed or "fonts-noto-cjk" in capsys.readouterr().err   # a machine may have other fonts only


# ------------------------------------------------------------------- standard output, other spellings

def test_standard_output_has_lines_of_json_only_whatever_its_encoding(model_file, folder, tmp_path):
    pictures = shutil.copytree(folder, tmp_path / "pictures")
    (pictures / "star/0.png").rename(pictures / "star/se\u00f1or.png")
    done = subprocess.run([sys.executable, ROOT / "alexnet_inference.py", pictures, "--model", model_file,
                           "--truth", "--panel", tmp_path / "panel.png", "--output", "-", "--device", "cpu"],
                          capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp936"})
    lines = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
    assert len(lines) == 15 and any("se\u00f1or.png" in line["path"] for line in lines)
    assert b"top-1 error" in done.stderr and b"panel: " in done.stderr


def test_pictures_that_are_spelt_in_another_way_are_not_classified_again(capsys, model_file, folder, tmp_path,
                                                                      monkeypatch):
    monkeypatch.chdir(folder.parent)
    output = ["--model", model_file, "--output", tmp_path / "answers.jsonl", "--device", "cpu"]
    assert call(capsys, "set", *output)[0] == 0
    status, _, err = call(capsys, folder, *output, "--resume")
    assert status == 0 and "15 of 15 pictures are in" in err
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 15


def test_features_are_those_of_the_central_crop(tmp_path):
    torch.manual_seed(0)
    model = AlexNet(3, 36, hidden=16).eval()
    square = np.random.default_rng(0).integers(0, 256, (41, 41, 3), np.uint8)   # 36 * 256 / 224
    (_, found), = features(model, square, "fc7", dtype=torch.float32)
    crop = torch.from_numpy(square[2:38, 2:38].copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        torch.testing.assert_close(found, model.activations(crop, ["fc7"])["fc7"][0], rtol=1e-4, atol=1e-5)


def test_white_may_be_a_tenth_beyond_one():
    assert np.asarray(from_array(np.float32([[0, 1, 1.05]])))[0, :, 0].tolist() == [0, 255, 255]


# ------------------------------------------------------------------- promises that no other test holds

def test_an_infinite_value_is_an_error_of_its_picture():
    rows = torch.tensor([[1.0, 2.0], [math.inf, 1.0]])
    (_, good), (_, bad) = in_their_order([Opened("a"), Opened("b")], rows)
    assert torch.equal(good, rows[0]) and isinstance(bad, ValueError)


def test_of_classes_spelt_alike_the_one_of_that_name_is_meant():
    assert [class_above(f"/photos/{name}/1.png", ["ant", "Ant"]) for name in ("ant", "Ant")] == ["ant", "Ant"]
    assert class_above("/ant/ANT/1.png", ["ant", "bee"]) == "ant"


def test_an_error_without_words_is_a_reason_too():
    assert reason(MemoryError()) == "MemoryError: damaged" and reason(ValueError("a\nb")) == "a"


def test_the_panel_marks_the_right_answer(folder, tmp_path):
    panel = Panel(tmp_path / "p.png", {name: name for name in CLASSES})
    answers = tuple(Answer(CLASSES.index(name), name, 0.5) for name in ("disc", "star"))
    panel.add(Prediction(str(folder / "star/0.png"), answers), "star")
    entry, = panel.page
    assert entry.truth == "star" and entry.answers == [("disc", 0.5, False), ("star", 0.5, True)]


def test_codes_are_learnt_from_all_over_a_list_that_is_too_long(monkeypatch):
    monkeypatch.setattr(answers, "LEARN_FROM", 40)
    monkeypatch.setattr(answers, "trained_coder", lambda some, bits: some)
    some = answers.learnt(torch.arange(400.0).view(100, 4), 8)
    assert some[:, 0].tolist() == [40.0 * number for number in range(10)]


def test_pictures_in_no_folder_of_a_class_are_counted(capsys):
    Truth(["a", "b"], [Path("/p/a/1.png"), Path("/p/x/1.png"), Path("/p/x/2.png")])
    assert "2 of 3 pictures lie in no folder named like a class" in capsys.readouterr().err


def test_masks_and_brain_floats_are_pictures():
    assert np.asarray(from_array(np.array([[False, True]])))[0, :, 0].tolist() == [0, 255]
    assert np.asarray(from_array(torch.tensor([[[0, 1]]], dtype=torch.bfloat16)))[0, :, 0].tolist() == [0, 255]


def test_a_table_with_paths_that_are_not_ascii_has_a_mark(capsys, model_file, tmp_path):
    for name, mark in (("a.png", b""), ("图.png", codecs.BOM_UTF8)):
        save_picture(tmp_path / name, 0)
        assert call(capsys, tmp_path / name, "--model", model_file, "--output", tmp_path / "o.csv")[0] == 0
        assert (tmp_path / "o.csv").read_bytes().startswith(mark + b"path,")


def test_names_in_another_language_are_not_mixed_into_a_file(capsys, folder, tmp_path):
    saved_model(tmp_path / "m.pt", classes=["n01440764", "n02102040"])
    common = "--model", tmp_path / "m.pt", "--output", tmp_path / "o.jsonl", "--names"
    assert call(capsys, folder / "moon", *common, "zh")[0] == 0
    status, _, err = call(capsys, folder, *common, "en", "--resume")
    assert status == 2 and "names zh (now en)" in err


def test_a_table_has_no_columns_for_classes_that_a_network_lacks(capsys, folder, tmp_path):
    saved_model(tmp_path / "m.pt", classes=["ant", "bee"])
    assert call(capsys, folder / "moon", "--model", tmp_path / "m.pt", "--output", tmp_path / "o.csv")[0] == 0
    assert list(read_csv(tmp_path / "o.csv")[0]) == ["path", "class_1", "probability_1", "class_2", "probability_2", "error"]


def test_more_wrong_calls_get_a_line(capsys, model_file, folder, tmp_path):
    model, npz = ("--model", model_file), ("--output", tmp_path / "x.npz")
    jsonl = "--output", tmp_path / "x.jsonl", "--resume"
    for arguments, words in (
            ((folder, *model, *jsonl, "--truth"), "--resume goes without --truth and --panel"),
            ((folder, *model, *jsonl, "--panel", tmp_path / "p.png"), "--resume goes without --truth and --panel"),
            ((folder, *model, *npz, "--features", "fc7", "--views", 10), "--features goes without --truth, --panel"),
            ((folder, *model, *npz, "--features", "fc9"), "--features: no step is called fc9"),
            ((folder, *model, "--panel", tmp_path / "p.jpg"), "p.jpg: the name must end in .png")):
        status, _, err = call(capsys, *arguments)
        assert status == 2 and words in err and err.count("\n") == 1, arguments
    assert not list(tmp_path.iterdir())


def test_a_panel_has_five_answers_whatever_top_says(capsys, model_file, folder, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "prediction_panel", lambda page, path: shown.extend(page))
    assert call(capsys, folder / "moon", "--model", model_file, "--top", 1, "--panel", tmp_path / "p.png")[0] == 0
    assert [len(entry.answers) for entry in shown] == [5] * 3


def test_errors_by_class_begin_with_the_largest_share_and_say_what_was_taken_for_what(tmp_path, capsys):
    names = ["ant", "bee", "cat", "dog", "elk"]
    truth = Truth(names, [Path(f"{name}/1.png") for name in names])
    for true, answer in (("ant", "elk"), ("ant", "elk"), ("ant", "ant"), ("bee", "ant"), ("cat", "ant"), ("dog", "ant"),
                         ("elk", "elk")):
        truth.add(Prediction("", (Answer(names.index(answer), answer, 1.0),)), true)
    truth.report(tmp_path, dict(zip(names, names)))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert lines == [*(f"100.0% of 1 {name} (taken for ant)" for name in ("bee", "cat", "dog")),
                     "66.7% of 3 ant (taken for elk)", "0.0% of 1 elk"]
