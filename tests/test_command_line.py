"""train_alexnet.py as a person uses it."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import alexnet_inference
import alexnet_visualization
import train_alexnet
from alexnet import AlexNet, checkpoint, cli, console, device, load, model, pack, recipe, settings, weights
from alexnet.files import UserError, quoted
from alexnet.training import Run
from alexnet.measuring import in_the_order_of
from conftest import ROOT, make_folder, run_main, save_picture

SIZE = ["--image-size", "36", "--batch-size", "8", "--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "my set", {
        "train/star": 24, "train/stripes": 24, "val/star": 6, "val/stripes": 5})


def call(capsys, *arguments) -> tuple[int, str, str]:
    return run_main(train_alexnet.main, capsys, *arguments)


def train(capsys, folder, place, *more):
    return call(capsys, "--data", folder, "--cache", place / "cache", "--out", place / "run", *SIZE,
                "--epochs", 2, *more)


@pytest.mark.parametrize("data, images, epochs, schedule", [
    ("demo", 3_000, 16, "steps"), ("folder", 900, 30, "steps"), ("folder", 199_999, 30, "steps"),
    ("folder", 200_000, 90, "release")])
def test_a_run_is_as_long_as_help_says(data, images, epochs, schedule):
    pack = SimpleNamespace(labels={"train": range(images)}, classes=list("abcdefghij"), name=data)
    chosen = settings.Settings.new({"data": data}, pack, 64)
    assert (chosen.epochs, chosen.schedule) == (epochs, schedule)


def test_help_fits_on_two_screens_and_names_every_option_and_the_defaults(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")   # else the terminal in which the tests run decides
    status, text, _ = call(capsys, "--help")
    assert status == 0 and text.count("\n") < 74
    for option in ("data variant image-size val-fraction part cache epochs batch-size lr momentum "
                   "weight-decay warmup schedule color-noise seed out resume evaluate views weights freeze "
                   "head-lr device precision workers quiet").split():
        assert f"--{option}" in text
    said = " ".join(text.split())
    assert (f"default {settings.EPOCHS}; demo {settings.DEMO_EPOCHS}; {settings.LARGE_EPOCHS} from "
            f"{settings.LARGE:,} images") in said
    assert (f"default {recipe.Recipe().batch_size}; demo {settings.DEMO_BATCH}; "
            f"fewer than {settings.SMALL:,} images {settings.SMALL_BATCH}") in said


def test_train_evaluate_and_resume(capsys, folder, place):
    status, out, err = train(capsys, folder, place)
    # six steps
    assert status == 0 and err.startswith("warning: the training loss is no better") and err.count("\n") == 1
    lines = [line for line in out.splitlines() if line.startswith("epoch")]
    assert len(lines) == 2 and re.search(
        r"loss [\d.]+ train, [\d.]+ val  error [\d.]+% train, [\d.]+% val  learning rate 0.0037  "
        r"\d+ images/s, [\d.]+% waiting  .* left", lines[0])
    assert f"--evaluate {place / 'run'}/best.pt" in out and "learning rate 0.0037 instead of 0.01" in out
    config = json.loads((place / "run/config.json").read_text())
    assert config["settings"]["lr"] == 0.0037 and config["images"] == {"train": 48, "val": 11}
    assert config["surroundings"]["torch"] == torch.__version__

    status, out, err = call(capsys, "--evaluate", place / "run/last.pt", "--data", folder,
                            "--cache", place / "cache")
    one, ten = re.findall(r"^(one crop|ten-crop): top-1 error ([\d.]+)%$", out, re.M)
    rows = list(csv.DictReader(open(place / "run/metrics.csv")))
    assert one == ("one crop", f"{100 * float(rows[-1]['val_top1_error']):.2f}") and ten[0] == "ten-crop"
    stored = json.loads((place / "run/evaluation.json").read_text())
    assert [result["views"] for result in stored["results"]] == [1, 10] and stored["trained"]["epoch"] == 2

    # the same pictures: another set's numbers overwrite nothing
    other = folder.rename(folder.with_name("other set"))
    stored = (place / "run/evaluation.json").read_text()
    call(capsys, "--evaluate", place / "run/last.pt", "--data", other, "--cache", place / "cache")
    other.rename(folder)
    assert (place / "run/evaluation.json").read_text() == stored
    assert (place / "run/evaluation-other set.json").exists()
    status, _, err = call(capsys, "--resume", place / "run/last.pt")
    assert status == 2 and f"--resume takes the folder, {place / 'run'}" in err

    resume = ("--resume", place / "run", "--cache", place / "cache")
    status, out, _ = call(capsys, *resume)
    assert status == 0 and "is finished: 2 epochs" in out
    status, _, err = call(capsys, *resume, "--lr", "0.01", "--batch-size", "8", "--epochs", "1")
    assert status == 2 and "--lr 0.01 (was 0.0037)" in err and "--epochs 1 (was 2" in err
    assert "--batch-size" not in err
    status, out, _ = call(capsys, *resume, "--epochs", "3")
    assert status == 0 and "going on in epoch 3" in out
    assert [row["epoch"] for row in csv.DictReader(open(place / "run/metrics.csv"))] == ["1", "2", "3"]

    status, _, err = train(capsys, folder, place)
    assert status == 2 and "holds a run already" in err and "--resume" in err


def test_a_network_that_computes_nan_is_not_measured(capsys, folder, place):
    network = AlexNet(2, 36, hidden=8)
    network.classes = ["star", "stripes"]
    with torch.no_grad():
        network.conv1.weight.mul_(1e20)
        network.fc8.weight.mul_(1e30)
    checkpoint.save(place / "large.pt", network, {})
    status, _, err = call(capsys, "--evaluate", place / "large.pt", "--data", folder,
                          "--cache", place / "cache", "--out", place / "measured.json", "--device", "cpu")
    assert status == 2 and "cannot be measured" in err and not (place / "measured.json").exists()


def test_labels_from_a_list_are_trained_on_kept_and_evaluated(capsys, folder, place):
    images = place / "photos"
    images.mkdir()
    rows = ["id;label;split"]
    for kind in ("star", "stripes"):
        for path in sorted((folder / "train" / kind).iterdir())[:12]:
            os.link(path, images / f"{kind[:3]}{path.name}")
            rows.append(f"{kind[:3]}{path.stem};{kind} shape;{'train' if len(path.stem) == 1 else 'valid'}")
    (place / "list.csv").write_text("\n".join(rows), "utf-8-sig")
    status, out, _ = train(capsys, images, place, "--labels", place / "list.csv")
    assert status == 0 and out.startswith("photos: 2 classes (star shape, stripes shape)\n")
    config = json.loads((place / "run/config.json").read_text())
    assert config["settings"]["labels"] == str(place / "list.csv") and sum(config["images"].values()) == 24
    status, _, err = call(capsys, "--resume", place / "run", "--labels", place / "other.csv")
    # it may have moved
    assert status == 2 and f"--labels {place / 'other.csv'}: there is no such file" in err
    status, _, _ = call(capsys, "--resume", place / "run", "--epochs", 3, "--quiet")
    assert status == 0 and json.loads((place / "run/config.json").read_text())["resumed"]
    status, out, _ = call(capsys, "--evaluate", place / "run/best.pt", "--cache", place / "cache", "--quiet")
    assert status == 0 and "top-1 error" in out and "classes (" not in out


def test_a_folder_called_demo_is_one(capsys, monkeypatch, tmp_path):
    make_folder(tmp_path / "demo", {"star": 4, "stripes": 4})
    monkeypatch.chdir(tmp_path)
    packer = pack.Packer(device.World(), tmp_path / "packed", quiet=True)
    found = packer.packed(36, packer.find, "./demo")
    assert found.classes == ["star", "stripes"]
    assert settings.Settings.new({"data": "./demo"}, found, 64).epochs == settings.EPOCHS
    capsys.readouterr()
    pack.say_findings(found, "demo", device.World())
    assert "the folder of that name is --data ./demo" in capsys.readouterr().err


def test_a_run_stopped_before_its_first_checkpoint_starts_anew(capsys, folder, place):
    train(capsys, folder, place)
    for name in ("last.pt", "previous.pt", "best.pt", "metrics.csv"):
        (place / "run" / name).unlink()
    status, out, _ = call(capsys, "--resume", place / "run", "--cache", place / "cache")
    assert status == 0 and "epoch  1/2" in out and "going on" not in out


@pytest.mark.parametrize("arguments,message", [
    (["--data", "nowhere"], "no such folder"), (["--image-size", "20"], "smallest possible size is 36"),
    (["--epochs", "0"], "--epochs must be above 0"), (["--warmup", "-1"], "--warmup must not be negative"),
    (["--resume", "nowhere"], "is not a run"), (["--batch", "3"], "is --batch-size meant?"),
    (["--eopchs", "3"], "is --epochs meant?"), (["\u2014epochs", "3"], "is --epochs meant?"),
    (["-epochs", "3"], "is --epochs meant?"), (["ODD"], "(is --data ODD meant?)"),
    (["FILE"], "unrecognized arguments: FILE; --help"), (["--weigths", "ODD"], "(is --weights meant?)"),
    (["--out", ""], "--out: nothing is given"), (["--lr", "inf"], "--lr must be finite"),
    (["--evaluate", "nowhere.pt"], "there is no checkpoint nowhere.pt"),
    (["--val-fraction", "2"], "must lie between 0 and 1"), (["--device", "cuda:77"], "is not available here"),
    (["--checkpoint-minutes", "nan"], "--checkpoint-minutes must be at least 0"),
    (["--workers", "-1"], "--workers must be at least 1"), (["--lr", "nan"], "--lr must be above 0"),
    (["--seed", str(2 ** 70)], "--seed must be below"), (["--image-size", "1" + 20 * "0"], "must be below"),
    (["--image-size", "1000000000"], "train_alexnet.py: "), (["--resume", "n" * 300], "File name too long"),
    (["--resume", "ODD"], "is not the config.json"), (["--out", "OLD"], "holds a run already"),
    (["--out", "FILE"], "FILE is a file; a run is a folder"), (["--out", "FILE/x"], "cannot write")])
def test_mistakes_get_one_line_and_status_2(capsys, folder, place, arguments, message):
    (place / "file").write_text("x")
    for run, name, text in (("odd", "config.json", '{"settings": 3}'), ("old", "last.pt", "x")):
        (place / run).mkdir()
        (place / run / name).write_text(text)
    names = {"FILE": place / "file", "FILE/x": place / "file/x", "ODD": place / "odd", "OLD": place / "old"}
    arguments = [names.get(argument, argument) for argument in arguments]
    data = [] if "--data" in arguments or "--evaluate" in arguments else ["--data", folder]
    device = [] if "--device" in arguments else ["--device", "cpu"]
    size = [] if "--image-size" in arguments else ["--image-size", "36"]
    out = [] if "--resume" in arguments else ["--out", place / "run"]
    status, _, err = call(capsys, *data, *device, *size, *out, "--cache", place / "cache", *arguments)
    assert status == 2 and message.replace("FILE", str(place / "file")).replace("ODD", str(place / "odd")) in err and err.count("\n") == 1 and "Traceback" not in err


def test_patience_ends_a_run_and_may_grow(capsys, folder, place):
    status, out, _ = train(capsys, folder, place, "--epochs", 4, "--patience", 1, "--lr", 1e-9)
    assert status == 0 and "ended early: the last 1 epoch(s) brought no lower validation error" in out
    resume = ("--resume", place / "run", "--cache", place / "cache")
    status, out, _ = call(capsys, *resume)
    assert status == 0 and "is finished: 2 epochs; " in out and "a larger --patience goes on" in out
    status, out, _ = call(capsys, *resume, "--patience", 2)
    assert status == 0 and "after epoch 3" in out
    status, _, err = call(capsys, *resume, "--patience", 1, "--augmentation", "resized")
    assert status == 2 and "--patience 1 (was 2; it may only grow)" in err
    assert "--augmentation resized (was shifts)" in err
    status, out, _ = call(capsys, *resume, "--patience", 3)
    assert status == 0 and "after epoch 4" in out and "ended early" not in out   # that was the last one anyway
    status, out, _ = call(capsys, *resume)
    assert status == 0 and "larger --epochs and --patience go on" in out


@pytest.mark.parametrize("name, value", [
    ("schedule", "stairs"), ("variant", "vgg"), ("lr", "0.1"), ("epochs", None), ("image_size", 40.5), ("image_size", -5),
    ("batch_size", 0), ("seed", 2 ** 70), ("momentum", -1), ("lr", math.nan), ("precision", "fp8"), ("freeze", "xx"),
    ("changes", {"foo": 1}), ("changes", []), ("val_fraction", "x"), ("data", None), ("patience", True), ("weights", 5),
    ("augmentation", "none"), ("image_size", 5), ("image_size", 20_000), ("patience", 0), ("lr", 0)])
def test_a_config_that_somebody_changed_by_hand_is_refused_in_a_line(capsys, held_out, place, name, value):
    config = json.loads((held_out / "run/config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "settings": {**config["settings"], name: value}}))
    status, _, err = call(capsys, "--resume", place)
    assert status == 2 and err.count("\n") == 1 and "config.json is not the config.json of a run" in err


@pytest.mark.parametrize("name, value", [("resumed", 5), ("resumed", [5]), ("resumed", None), ("surroundings", 5),
                                         ("settings", 5), ("settings", [])])
def test_a_config_whose_parts_somebody_changed_is_refused_in_a_line(capsys, held_out, place, name, value):
    config = json.loads((held_out / "run/config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, name: value}))
    status, _, err = call(capsys, "--resume", place)
    assert status == 2 and err.count("\n") == 1 and "config.json is not the config.json of a run" in err


def test_what_the_options_take_the_config_takes(capsys, folder, place):
    assert train(capsys, folder, place, "--epochs", 1, "--patience", 10 ** 19)[0] == 0
    assert call(capsys, "--resume", place / "run", "--cache", place / "cache")[0] == 0


def test_a_run_names_only_files_that_it_could_write(capsys, folder, place, monkeypatch):
    def no_room(run):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(Run, "save_best", no_room)
    status, out, err = train(capsys, folder, place, "--epochs", 1)
    assert status == 0 and "best.pt" in err and "best.pt" not in out and f"{place / 'run/last.pt'}\n" in out


def test_what_is_odd_about_a_folder_is_said_once_and_before_it_is_packed(capsys, place, monkeypatch):
    folder = make_folder(place / "set", {"train/star": 4, "train/stripes": 4, "val/star": 2, "val/stripes": 2})
    (folder / "train/empty").mkdir()
    said = "warning: class empty is empty: left out"
    with monkeypatch.context() as patch:
        patch.setattr(pack, "write_pack", lambda *_: sys.exit(9))
        status, _, err = train(capsys, folder, place)
    assert status == 9 and err.count(said) == 1
    for more in ((), ("--quiet",)):
        shutil.rmtree(place / "run", ignore_errors=True)
        status, _, err = train(capsys, folder, place, "--epochs", 1, *more)
        assert status == 0 and err.count(said) == 1


def test_a_pack_that_was_made_from_elsewhere_says_where_the_images_are_now(capsys, place, monkeypatch):
    folder = make_folder(place / "set", {"train/star": 4, "train/stripes": 4, "val/star": 2, "val/stripes": 2})
    save_picture(folder / "train/stray.png", 0)
    monkeypatch.chdir(place)
    for where in ("set", folder):
        shutil.rmtree(place / "run", ignore_errors=True)
        status, _, err = train(capsys, where, place, "--epochs", 1)
        assert status == 0 and err.count("belong to no class") == err.count(f"in {where}/train belong to no class") == 1


def test_a_network_that_always_gives_the_largest_class_is_called_no_success(capsys, place):
    folder = make_folder(place / "set", {"train/star": 30, "train/stripes": 6, "val/star": 7, "val/stripes": 3})
    status, _, err = train(capsys, folder, place, "--lr", 1e-9)
    said = "this is no better than always answering star, which is wrong for 30.00% of these images"
    assert status == 0 and err.count(said) == 1
    assert call(capsys, "--evaluate", place / "run", "--cache", place / "cache")[2].count(said) == 2   # crops: 1, 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: path != place / "run")
        status, _, err = call(capsys, "--evaluate", place / "run", "--cache", place / "cache")
    assert status == 2 and f"nothing can be written to {place / 'run'}: --out FILE.json" in err


def test_a_rate_that_cannot_be_stable_is_warned_of(capsys, folder, place):
    status, _, err = train(capsys, folder, place, "--lr", "0.02", "--epochs", "1")
    assert "may not be stable" in err and "0.0074" in err


@pytest.mark.parametrize("variant, advice",
                         [("as-trained", "Try --lr 0.003,"), ("as-written", "Try --variant as-trained,")])
def test_a_flat_loss_is_said_with_what_may_help(capsys, folder, place, variant, advice):
    # too much for two classes
    status, _, err = train(capsys, folder, place, "--variant", variant, "--lr", 0.01)
    assert status == 0 and "loss is no better than at chance level" in err and advice in err
    assert err.count("loss is no better") == 1


def test_classes_are_matched_by_name_in_evaluation(capsys, folder, place, tmp_path_factory):
    train(capsys, folder, place, "--epochs", "1")
    stripes = make_folder(place / "other",
                          {"train/stripes": 20, "train/aaa": 20, "val/stripes": 5, "val/aaa": 1})
    status, out, err = call(capsys, "--evaluate", place / "run", "--data", stripes,
                            "--cache", place / "cache")
    assert status == 0 and "val/ has 1 class(es) that the model lacks (aaa): left out" in err
    assert out.startswith(f"5 images of 1 class(es): all of {stripes / 'val'}\n")
    (place / "none/aaa").mkdir(parents=True)
    (stripes / "val/aaa").rename(place / "none/aaa/aaa")
    status, _, err = call(capsys, "--evaluate", place / "run", "--data", place / "none",
                          "--cache", place / "cache")
    assert status == 2 and "no image of a class that the model has (star, stripes)" in err


# ------------------------------------------------------------------- what is measured, and data that moved

@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """A run of one epoch on class folders, a tenth of which it held out: 3 of star, 2 of stripes."""
    place = tmp_path_factory.mktemp("held out")
    make_folder(place / "set", {"star": 30, "stripes": 20})
    train_alexnet.main([str(argument) for argument in (
        "--data", place / "set", "--val-fraction", 0.1, "--cache", place / "cache", "--out", place / "run",
        *SIZE, "--epochs", 1)])
    yield place
    shutil.rmtree(place)


def measured(capsys, place, *more) -> tuple[int, str, str]:
    return call(capsys, "--evaluate", place / "run", "--cache", place / "cache", "--device", "cpu",
                "--views", 1, *more)


def test_all_images_of_a_folder_are_measured_or_those_of_its_part_and_counted(capsys, held_out, tmp_path):
    pictures = make_folder(tmp_path / "X", {
        "train/star": 3, "train/stripes": 3, "Validation/star": 4, "test/star": 2, "test/stripes": 1,
        "alone/star": 1})
    for more, count, place in (([pictures / "test"], 3, "test"), ([pictures / "alone"], 1, "alone"),
                               ([pictures / "test/star"], 2, "test/star"),
                               ([pictures], 4, "Validation"), ([pictures, "--part", "test"], 3, "test"),
                               ([pictures, "--part", "train"], 6, "train")):
        status, out, _ = measured(capsys, held_out, "--data", *more)
        assert status == 0
        assert re.match(rf"{count} images of \d class\(es\): all of {re.escape(str(pictures / place))}\n",
                        out)
    results = json.loads((held_out / "run/evaluation-X-test.json").read_text())["results"]
    assert results[0]["images"] == 3 and (held_out / "run/evaluation-X.json").exists()
    listed = make_folder(tmp_path / "photos", {"a": 3, "b": 1})
    (tmp_path / "list.csv").write_text("image,label\na/0.png,star\na/1.png,stripes\nb/0.png,owl\n")
    status, out, err = measured(capsys, held_out, "--data", listed, "--labels", tmp_path / "list.csv")
    assert status == 0 and out.startswith("2 images of 2 class(es): all of")
    assert "1 class(es) that the model lacks (owl)" in err
    status, _, err = measured(capsys, held_out, "--data", pictures / "test", "--part", "val")
    assert status == 2 and "there is no val/ in" in err and err.count("\n") == 1
    status, _, err = measured(capsys, held_out, "--part", "test")
    assert status == 2 and f"there is no test/ in {held_out / 'set'}" in err


def test_a_runs_own_split_is_known_by_content_and_images_it_was_trained_on_are_said(
        capsys, held_out, tmp_path):
    status, there, err = measured(capsys, held_out)
    assert status == 0 and there.startswith("5 images of 2 class(es): the val part of")
    # other times, too
    moved = shutil.copytree(held_out / "set", tmp_path / "elsewhere/moved", copy_function=shutil.copyfile)
    status, out, err = measured(capsys, held_out, "--data", moved)
    assert out.startswith(f"5 images of 2 class(es): the 0.1 of {moved} that the run held out\n")
    assert "trained" not in err
    assert out.splitlines()[1] == there.splitlines()[1]   # the same errors
    train = shutil.copytree(moved, tmp_path / "parts/train")   # asked for by name, it is measured whole
    out = measured(capsys, held_out, "--data", train.parent, "--part", "train")[1]
    assert out.startswith(f"50 images of 2 class(es): all of {train}\n")
    shutil.copy(moved / "star/0.png", moved / "star/new.png")
    status, out, err = measured(capsys, held_out, "--data", moved)
    assert status == 0 and out.startswith(f"51 images of 2 class(es): all of {moved}\n")
    assert "was trained on at least 4" in err and "--val-fraction 0.1" in err
    other = make_folder(tmp_path / "other", {"val/star": 9, "val/stripes": 3})
    assert "trained" not in measured(capsys, held_out, "--data", other / "val")[2]


def test_a_run_goes_on_where_its_images_or_packed_images_or_weights_have_moved(capsys, held_out, tmp_path):
    run = shutil.copytree(held_out / "run", tmp_path / "run")
    resume = ("--resume", run, "--device", "cpu")
    away = (held_out / "set").rename(held_out / "away")
    cache = shutil.copytree(held_out / "cache", tmp_path / "cache")
    before = sorted(path.name for path in cache.iterdir())
    try:
        status, _, err = call(capsys, *resume, "--epochs", 2)
        assert status == 2 and f"no longer in {held_out / 'set'}: --data FOLDER" in err
        assert err.count("\n") == 1
        status, out, err = call(capsys, *resume, "--epochs", 2, "--data", away, "--cache", cache)
        assert status == 0 and "going on in epoch 2" in out and "have changed" not in err
        assert sorted(path.name for path in cache.iterdir()) == before   # nothing was packed anew
    finally:
        away.rename(held_out / "set")
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["data"] == str(away) and config["cache"] == str(cache)
    # packed anew, the same pixels
    copy = shutil.copytree(held_out / "set", tmp_path / "copy", copy_function=shutil.copyfile)
    assert call(capsys, *resume, "--epochs", 3, "--data", copy)[0] == 0
    (copy / "star/0.png").write_bytes((copy / "stripes/0.png").read_bytes())
    status, _, err = call(capsys, *resume, "--epochs", 4)   # in its place: as before, a warning
    assert status == 0 and "have changed since the run was started" in err
    status, _, err = call(capsys, *resume, "--epochs", 5,
                          "--data", make_folder(tmp_path / "others", {"star": 30, "stripes": 20, "disc": 9}))
    assert status == 2 and "does not give the images and classes that the run was begun with" in err
    status, _, err = call(capsys, *resume, "--epochs", 5, "--weights", held_out / "run/best.pt")
    assert status == 2 and "does not hold what the run began with (new weights)" in err


def test_a_run_that_was_fine_tuned_knows_its_weights_by_content(capsys, held_out, tmp_path):
    common = ("--cache", held_out / "cache", "--device", "cpu")
    weights = shutil.copy(held_out / "run/best.pt", tmp_path / "weights.pt")
    assert call(capsys, "--data", held_out / "set", "--val-fraction", 0.1, "--weights", weights,
                "--out", tmp_path / "run", "--epochs", 1, *common)[0] == 0
    for name in ("last.pt", "best.pt", "metrics.csv"):
        (tmp_path / "run" / name).unlink()   # it has to begin anew
    moved = Path(weights).rename(tmp_path / "moved.pt")
    other = load(moved)
    other.conv1.bias.data += 1
    checkpoint.save(tmp_path / "other.pt", other, {})
    status, _, err = call(capsys, "--resume", tmp_path / "run", "--weights", tmp_path / "other.pt", *common)
    assert status == 2 and f"{tmp_path / 'other.pt'} does not hold what the run began with ({weights})" in err
    assert call(capsys, "--resume", tmp_path / "run", "--weights", moved, *common)[0] == 0


def test_a_run_whose_checkpoints_are_gone_is_left_as_it_is(capsys, held_out, tmp_path):
    run = shutil.copytree(held_out / "run", tmp_path / "run")
    for name in ("last.pt", "previous.pt"):
        (run / name).unlink(missing_ok=True)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    status, _, err = call(capsys, "--resume", run, "--epochs", 9, "--device", "cpu")
    assert status == 2 and "has neither last.pt nor previous.pt" in err and f"--weights {run / 'best.pt'}" in err
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_checkpoint_is_measured_where_its_run_has_its_images_and_packed_images(capsys, held_out, tmp_path,
                                                                               monkeypatch):
    """The command that training names at its end, without options."""
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(held_out / "run", tmp_path / "run")
    away = shutil.copytree(held_out / "set", tmp_path / "away")
    status, out, err = call(capsys, "--evaluate", run / "best.pt", "--device", "cpu", "--views", 1)
    assert status == 0 and "5 images of 2 class(es)" in out and not (tmp_path / "data").exists()
    content = checkpoint.read(run / "best.pt")
    status, out, _ = call(capsys, "--resume", run, "--data", away, "--device", "cpu")
    assert status == 0 and "is finished" in out
    config = json.loads((run / "config.json").read_text())
    hidden = (held_out / "set").rename(held_out / "hidden")
    try:
        status, out, err = call(capsys, "--evaluate", run / "best.pt", "--device", "cpu", "--views", 1)
        assert status == 0 and f"the val part of {away}, of which 0.1 is held out" in out, err
        (run / "config.json").write_text(json.dumps({**config, "content_of_data": {"val": "another"}}))
        status, _, err = call(capsys, "--evaluate", run / "best.pt", "--device", "cpu")   # not of this network
        assert status == 2 and f"no longer in {content['facts']['data']}" in err
    finally:
        hidden.rename(held_out / "set")


@pytest.mark.parametrize("options, message", [
    (["--evaluate", "BEST", "--lr", "5"], "--lr has no meaning with --evaluate"),
    (["--evaluate", "BEST", "--workers", "2"], "--workers has no meaning with --evaluate"),
    (["--evaluate", "BEST", "--resume", "RUN"], "--resume has no meaning with --evaluate"),
    (["--views", "10"], "--views belongs to --evaluate"),
    (["--evaluate", "BEST", "--out", "RUN"], "is a folder; the numbers go into a file"),
    (["--device", "meta"], "--device takes auto, cpu, cuda, cuda:1 or mps, not meta")])
def test_an_option_that_would_do_nothing_is_refused(capsys, held_out, options, message):
    names = {"BEST": held_out / "run/best.pt", "RUN": held_out / "run"}
    status, _, err = call(capsys, *(names.get(option, option) for option in options))
    assert status == 2 and message in err and err.count("\n") == 1


def test_a_network_that_names_no_images_is_measured_on_none_that_it_does_not_know(capsys, held_out, tmp_path):
    network = load(held_out / "run/best.pt")
    checkpoint.save(tmp_path / "bare.pt", network, {})
    status, _, err = call(capsys, "--evaluate", tmp_path / "bare.pt")
    assert status == 2 and "--data FOLDER says what to measure on" in err


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError(),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory: 12 bytes")])
def test_too_little_memory_is_one_line_everywhere(capsys, error):
    with pytest.raises(SystemExit) as end, cli.shell("any.py"):
        raise error
    assert end.value.code == 2
    assert capsys.readouterr().err == ("any.py: out of memory: fewer images at once (a smaller --batch-size) or "
                                       "smaller ones (in training a smaller --image-size) take less\n")
    with pytest.raises(RuntimeError, match="other"), cli.shell("any.py"):
        raise RuntimeError("some other mistake")


def test_a_path_in_a_command_is_quoted_as_the_systems_shell_reads_it(monkeypatch):
    assert quoted("my run") == "'my run'" and quoted("run") == "run"
    monkeypatch.setattr("alexnet.files.WINDOWS", True)
    assert quoted("results\\my run") == '"results\\my run"'
    monkeypatch.undo()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA GPU"))])
def test_ctrl_c_writes_and_the_run_goes_on_to_the_same_end(folder, place, device):
    there = ["--device", device]
    bits = [] if device == "cpu" else ["--deterministic"]

    def command(out, *more):
        return [sys.executable, ROOT / "train_alexnet.py", "--data", folder, "--cache", place / "cache",
                "--out", place / out, *SIZE, *there, *bits, "--epochs", "4", *more]
    process = subprocess.Popen(command("run", "--schedule", "constant"), stdout=subprocess.PIPE, text=True)
    while not process.stdout.readline().startswith("epoch"):
        assert process.poll() is None
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert f"--resume {quoted(place / 'run')} --device {device} goes on exactly there" in rest   # all given
    stopped = torch.load(place / "run/last.pt", weights_only=True)
    assert stopped["progress"]["epoch"] < 4
    done = stopped["progress"]["epoch"] + 1
    subprocess.run([sys.executable, ROOT / "train_alexnet.py", "--resume", place / "run",
                    "--cache", place / "cache", *there],
                   check=True, capture_output=True)
    straight = subprocess.run(command("straight", "--schedule", "constant"), capture_output=True, text=True,
                              check=True)
    said = [line for line in straight.stderr.splitlines()
            if not line.startswith(("warning: the training loss is no better", "warning: this is no better"))]
    assert "\r" not in straight.stdout + straight.stderr and not said   # no progress bar in a log file
    one, two = (list(csv.DictReader(open(place / name / "metrics.csv"))) for name in ("run", "straight"))
    assert done <= len(one) == len(two) == 4
    assert [row["val_loss"] for row in one] == [row["val_loss"] for row in two]
    one, two = (torch.load(place / name / "last.pt", weights_only=True)["model"]
                for name in ("run", "straight"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_torchrun_trains_and_evaluates_with_two_processes(capsys, folder, place):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    data = ["--data", str(folder), "--cache", str(place / "cache")]
    then = place / "then.py"    # the script, and what still runs when it is done: it could abort Python's end
    then.write_text("import pathlib, runpy, sys\n"
                    f"sys.path.insert(0, {str(ROOT)!r})\n"
                    f"runpy.run_path({str(ROOT / 'train_alexnet.py')!r}, run_name='__main__')\n"
                    "threads = pathlib.Path('/proc/self/task').glob('*/comm')\n"
                    "left = {path.read_text().strip() for path in threads}\n"
                    "print('left:', [name for name in left if 'gloo' in name])\n")
    result = subprocess.run([*torchrun, str(then), *data, "--out", str(place / "run"), *SIZE,
                             "--epochs", "2"],
                            capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    assert "2 process(es)" in result.stdout and result.stdout.count("epoch  2/2") == 1
    assert result.stdout.count("left: []") == 2
    evaluate = [*data, "--evaluate", str(place / "run/last.pt"), "--device", "cpu"]
    both = subprocess.run([*torchrun, str(ROOT / "train_alexnet.py"), *evaluate],
                          capture_output=True, text=True).stdout
    _, alone, _ = call(capsys, *evaluate)
    lines = [[line for line in text.splitlines() if "top-1 error" in line] for text in (alone, both)]
    assert "one crop: top-1 error" in alone and lines[0] == lines[1] and len(lines[0]) == 2
    assert json.loads((place / "run/evaluation.json").read_text())["results"][0]["images"] == 11


def test_an_error_of_one_process_is_one_line_and_all_end_with_status_2(tmp_path):
    result = subprocess.run([sys.executable, "-m", "torch.distributed.run",
                             "--standalone", "--nproc-per-node", "2",
                             str(ROOT / "train_alexnet.py"), "--data", str(tmp_path / "nowhere")],
                             capture_output=True, text=True,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})
    ours, _, torchruns = result.stderr.partition("Traceback")   # its own report of what it started
    said = [line for line in ours.splitlines() if line and not line.startswith(("W", "E"))]
    assert result.returncode and len(said) == 1 and "nowhere: there is no such folder" in said[0]
    assert re.findall(r"exitcode +: (-?\d+)", torchruns) == ["2", "2"]


@pytest.mark.parametrize("line, status, said", [
    ("train_alexnet.py --help", 0, "--epochs"), ("alexnet_inference.py --help", 0, "--panel"),
    ("alexnet_visualization.py --help", 0, "gradcam"),
    ("train_alexnet.py --eopchs 3", 2, "is --epochs meant?"),
    ("train_alexnet.py --variant alexnet", 2, "as-trained"),
    ("train_alexnet.py --epochs 0", 2, "must be above 0"),
    ("train_alexnet.py --data no/where", 2, "no such folder"),
    ("train_alexnet.py --resume nowhere", 2, "is not a run"),
    ("train_alexnet.py --weights no.pt", 2, "no checkpoint no.pt"),
    ("alexnet_inference.py no.jpg", 2, "no file or folder no.jpg"),
    ("alexnet_inference.py - --model no.pt", 2, "no checkpoint no.pt"),
    ("alexnet_inference.py --top 0", 2, "at least 1"),
    ("alexnet_visualization.py nonsense", 2, "nothing called nonsense"),
    ("alexnet_visualization.py --images no.jpg", 2,
     "no picture could be read in no.jpg: there is no such file")])
def test_help_and_mistakes_are_answered_before_torch_is_imported(line, status, said):
    script, *arguments = line.split()
    result = subprocess.run([sys.executable, "-X", "importtime", ROOT / script, *arguments],
                            capture_output=True, text=True)
    assert result.returncode == status and said in result.stdout + result.stderr
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", result.stderr, re.M))
    assert "argparse" in imported and not imported & {"torch", "numpy", "PIL", "matplotlib"}


def test_the_names_that_options_take_are_those_of_the_modules():
    assert cli.VARIANTS == tuple(model.VARIANTS) and cli.LAYERS == model.LAYERS
    assert cli.SCHEDULES == tuple(recipe.SCHEDULES)


def test_a_tilde_is_the_home_in_every_option(capsys, folder, place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.chdir(place)
    shutil.copytree(folder, place / "my set")
    assert call(capsys, "--data=~/my set", "--cache=~/cache", "--out=~/run", *SIZE, "--epochs", 1)[0] == 0
    assert call(capsys, "--evaluate=~/run", "--cache=~/cache", "--out=~/measured.json", "--views", 1)[0] == 0
    assert call(capsys, "--resume=~/run", "--data=~/my set")[0] == 0
    for main, line in ((alexnet_inference.main,
                        ["~/my set/val/star", "--model=~/run", "--output=~/a.csv", "--panel=~/p.png"]),
                       (alexnet_visualization.main, ["architecture", "--model=~/run", "--out=~/in"]),
                       (weights.main, ["~/run/best.pt", "~/mine.pt"])):
        with contextlib.suppress(SystemExit):
            main(line)
    found = {path.name for path in place.iterdir()}
    assert found == {"my set", "cache", "run", "measured.json", "a.csv", "p.png", "in", "mine.pt"}


def test_the_scripts_run_in_a_notebook_and_leave_it_as_it_was(folder, place):
    small = AlexNet(2, 36, hidden=8)
    small.classes = ["star", "stripes"]
    checkpoint.save(place / "m.pt", small, {})
    stars, saved = f"'{folder}/val/star'", place / "m.pt"
    lines = [f"train_alexnet.py --data '{folder}' --cache {place / 'cache'} --out {place / 'run'} "
             f"{' '.join(SIZE)} --epochs 1",
             f"alexnet_inference.py {stars} --model {saved} --panel {place / 'panel.png'}",
             f"alexnet_visualization.py predictions --model {saved} --images {stars} --out {place / 'in'}"]
    cell = f"""
import matplotlib, runpy, shlex, signal, sys
class Stream:                      # as ipykernel's, which has no reconfigure
    encoding = "UTF-8"
    def write(self, text): sys.__stdout__.write(text)
    def flush(self): pass
sys.stdout = sys.stderr = Stream()
matplotlib.use("svg")
handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
for line in {lines}:
    sys.argv = shlex.split(line)
    try: runpy.run_path({str(ROOT)!r} + "/" + sys.argv[0], run_name="__main__")
    except SystemExit as end: assert not end.code, end.code
assert matplotlib.get_backend() == "svg" and "matplotlib.pyplot" not in sys.modules
assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
"""
    result = subprocess.run([sys.executable, "-c", cell], capture_output=True, text=True,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert result.returncode == 0, result.stdout + result.stderr
    assert all((place / name).exists() for name in ("run/curves.png", "panel.png", "in/predictions.png"))


def test_the_scripts_run_in_a_thread(capsys, folder, place):
    ends = []
    thread = threading.Thread(target=lambda: ends.append(train(capsys, folder, place)))
    thread.start()
    thread.join()
    (status, out, _), = ends
    assert status == 0 and "epoch  2/2" in out


def test_the_scripts_run_without_docstrings_and_a_closed_input_is_said():
    run = partial(subprocess.run, cwd=ROOT, capture_output=True, text=True)
    for script in ("train_alexnet.py", "alexnet_inference.py", "alexnet_visualization.py"):
        assert "--device" in run([sys.executable, "-OO", script, "--help"]).stdout
    python = shlex.quote(sys.executable)
    ended = run(["sh", "-c",
                 f"{python} -c 'import alexnet_inference; alexnet_inference.standard_input()' <&-"])
    assert "UserError: standard input is closed" in ended.stderr


def test_a_name_of_a_folder_cannot_speak_to_the_terminal(capsys, place):
    source = make_folder(place / "new\nline \x1b[31m",
                         {"train/star": 8, "train/disc": 8, "val/star": 2, "val/disc": 2})
    status, out, err = train(capsys, source, place)
    status, more, err = call(capsys, "--evaluate", place / "run" / "best.pt", "--data", source,
                             "--cache", place / "cache")
    assert status == 0 and "new?line ?[31m: 2 classes" in out and "\x1b" not in out + more + err


def test_tensorboard_without_its_package_is_said_first_and_leaves_nothing(capsys, folder, place, monkeypatch):
    monkeypatch.setattr(train_alexnet, "find_spec", lambda name: None)
    status, _, err = train(capsys, folder, place, "--tensorboard")
    assert status == 2 and "pip install tensorboard" in err and not list(place.iterdir())


def test_a_run_that_fails_before_it_begins_leaves_no_folder(folder, place, monkeypatch, capsys):
    monkeypatch.setattr(train_alexnet, "write_config", lambda *_: (_ for _ in ()).throw(UserError("no")))
    status, _, err = train(capsys, folder, place)
    assert status == 2 and err.endswith("no\n") and not (place / "run").exists()


def test_commands_to_copy_are_quoted(capsys, folder, place):
    name = place / "it's mine"
    status, out, _ = train(capsys, folder, place, "--out", name, "--epochs", 1)
    command = next(line for line in out.splitlines() if line.startswith("next:"))
    assert shlex.split(command)[-1] == str(name / "best.pt")
    _, _, err = train(capsys, folder, place, "--out", name)
    assert shlex.split(err.partition("--resume")[2])[0] == str(name)
    _, _, err = call(capsys, "--resume", name / "last.pt")
    assert str(name) == shlex.split(err.rpartition("takes the folder,")[2])[0]


def test_a_run_that_keeps_its_filters_is_bit_for_bit_the_same(tmp_path, monkeypatch):
    """--resume included."""
    monkeypatch.chdir(tmp_path)
    names = [f"{part}/{name}" for part in ("train", "val") for name in ("a", "b")]
    pictures = make_folder(tmp_path / "set", dict.fromkeys(names, 6))
    common = ["--data", str(pictures), "--image-size", "64", "--batch-size", "4", "--lr", "0.001", "--quiet"]
    train_alexnet.main([*common, "--epochs", "2", "--out", "plain"])
    train_alexnet.main([*common, "--epochs", "1", "--out", "kept", "--keep-filters"])
    train_alexnet.main(["--resume", "kept", "--epochs", "2", "--keep-filters", "--quiet"])
    plain, kept = (torch.load(f"{name}/last.pt", weights_only=True)["model"] for name in ("plain", "kept"))
    assert all(torch.equal(plain[name], kept[name]) for name in plain)
    filters = [np.load(path) for path in sorted(Path("kept/filters").iterdir())]
    assert len(filters) == 3   # before, after one epoch, after two
    assert not np.array_equal(filters[0], filters[1])
    assert np.array_equal(filters[2], kept["conv1.weight"].half().numpy())
    assert not Path("plain/filters").exists()


def test_every_option_of_the_recipe_arrives_in_the_run(capsys, folder, place):
    given = {"lr": 0.001, "momentum": 0.5, "weight_decay": 0.001, "warmup": 3, "color_noise": 0.2, "seed": 7,
             "schedule": "constant", "augmentation": "resized", "patience": 4, "precision": "fp32"}
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert train(capsys, folder, place, *options, "--balance", "--checkpoint-minutes", 0, "--epochs", 1)[0] == 0
    stored = json.loads((place / "run/config.json").read_text())["settings"]
    assert {name: stored[name] for name in given} == given and stored["balance"] is True
    groups = torch.load(place / "run/last.pt", weights_only=True)["optimizer"]["param_groups"]
    assert {group["momentum"] for group in groups} == {0.5}
    assert {group["weight_decay"] for group in groups} == {0, 0.001}
    assert not (place / "run/previous.pt").exists()   # 0 minutes: last.pt was written once, at the end


def test_strict_stops_at_an_unreadable_image(capsys, place):
    source = make_folder(place / "set", {"train/star": 4, "train/disc": 4, "val/star": 1, "val/disc": 1})
    (source / "train/star/bad.png").write_bytes(b"nothing")
    status, _, err = train(capsys, source, place, "--strict")
    assert status == 2 and "bad.png cannot be read" in err and not (place / "run").exists()


@pytest.mark.parametrize("count, given, start, expected", [
    (5000, {}, None, (0.0037, 128)), (5000, {"momentum": 0.0}, None, (0.0019, 128)),
    (48, {}, None, (0.0037, 32)),
    (5000, {}, {"variant": "as-trained", "changes": {}, "classes": ["a", "b"]}, (0.003, 32))])
def test_learning_rate_and_batch_are_those_of_the_recipe_page(count, given, start, expected):
    pack = SimpleNamespace(labels={"train": range(count)}, classes=["a", "b"], name="x")
    chosen = settings.Settings.new({"data": "folder", **given}, pack, 64, start)
    assert (chosen.lr, chosen.batch_size) == expected


# ------------------------------------------------------------------- promises that no other test holds

def test_a_run_knows_its_images_by_their_whole_path(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    pack = SimpleNamespace(labels={"train": range(48)}, classes=["a", "b"], name="x")
    for given, stored in ((folder.name, str(folder)), ("demo", "demo"), ("cifar10", "cifar10")):
        assert settings.Settings.new({"data": given, "labels": given}, pack, 64).data == stored


def test_a_thousand_images_are_not_few():
    for count, batch in ((999, 32), (1000, 128)):
        pack = SimpleNamespace(labels={"train": range(count)}, classes=["a", "b"], name="x")
        assert settings.Settings.new({"data": "folder"}, pack, 64).batch_size == batch


def test_of_images_of_one_class_no_answer_is_called_the_usual_one(capsys):
    console.warn_if_no_better(0.0, np.zeros(5, np.int64), ["star", "stripes"])
    assert not capsys.readouterr().err


def test_labels_are_those_of_the_networks_classes(capsys, held_out):
    data = SimpleNamespace(classes=["stripes", "zebra"], labels={"val": np.array([0, 1, 0])})
    assert in_the_order_of(["star", "stripes", "wave", "zebra"], data, "val").tolist() == [1, 3, 1]
    with pytest.raises(UserError, match="the checkpoint knows no class zebra; it has star, stripes"):
        in_the_order_of(["star", "stripes"], data, "val")


def test_a_checkpoint_is_measured_at_its_own_size(capsys, held_out):
    status, _, err = call(capsys, "--evaluate", held_out / "run/best.pt", "--image-size", 64)
    assert status == 2 and "takes images of 36 px; leave --image-size out" in err and err.count("\n") == 1


@pytest.mark.parametrize("options, message", [
    (["--color-noise", "-1"], "--color-noise must not be negative"),
    (["--weight-decay", "-1"], "--weight-decay must not be negative"),
    (["--part", "val"], "--part belongs to --evaluate"),
    (["--evaluate", "BEST", "--part", "val", "--labels", "x.csv"], "--part belongs to --evaluate, and goes without --labels"),
    (["--resume", "RUN", "--out", "elsewhere"], "leave --out out"),
    (["--head-lr", "2"], "--freeze and --head-lr need --weights")])
def test_options_that_do_not_go_together_are_refused(held_out, options, message):
    names = {"BEST": held_out / "run/best.pt", "RUN": held_out / "run"}
    with pytest.raises(UserError, match=message):
        train_alexnet.parse([str(names.get(option, option)) for option in options])


def test_a_rate_above_half_of_the_limit_is_warned_of(capsys):
    pack = SimpleNamespace(labels={"train": range(5000)}, classes=["a", "b"], name="x")
    for rate, said in ((0.0038, ""), (0.005, "warning: --lr 0.005 may not be stable")):
        chosen = settings.Settings.new({"data": "folder", "lr": rate}, pack, 64)
        train_alexnet.say_learning_rate(chosen, 2, True, False)
        err = capsys.readouterr().err
        assert err.startswith(said) and bool(err) == bool(said)
