"""What is lost when things go wrong; `python -m results.faults` is the long form."""

from __future__ import annotations

import csv
import gc
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
import errno
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image

import alexnet_inference
import train_alexnet
from alexnet import AlexNet, checkpoint, figures, files, predict
from alexnet.images import open_image
from alexnet.pack import open_item, open_pack, packed
from alexnet.sources import find_source
from alexnet.device import World, make_deterministic
from alexnet.cli import shell
from alexnet.files import (UserError, alone, cell, printable, read_csv, sweep, whole_file, whole_folder,
                           write_csv, write_json, write_text, writing)
from alexnet.training import BATCH_DONE, EPOCH_DONE, Run, Stopped
from alexnet.progress import COLUMNS
from conftest import ROOT, in_two_processes, make_folder, save_picture
from test_training import SIZE, SMALL, assert_same, settings, state_of, timeless, train

resource = pytest.importorskip("resource")   # Windows has none of what is done here
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = make_folder(tmp_path_factory.mktemp("data"), {
        "train/star": 20, "train/stripes": 20, "val/star": 4, "val/stripes": 3})
    return packed(find_source(str(folder)), SIZE, tmp_path_factory.mktemp("cache"), quiet=True)


def small(folder: Path, pack, **changes) -> Run:
    minutes = changes.pop("minutes", 5.0)
    return Run(folder, settings(changes=SMALL, **changes), pack, CPU, minutes=minutes)


def in_a_process_that_is_killed(work) -> None:
    """Runs `work`, which ends by killing its own process as the system would."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# ------------------------------------------------------------------- files

def test_a_file_is_the_old_one_or_the_new_one_and_the_next_writer_clears_up(tmp_path):
    def work():
        with whole_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("half of")
            killed()
    write_text(tmp_path / "a.txt", "old")
    in_a_process_that_is_killed(work)
    assert (tmp_path / "a.txt").read_text() == "old" and len(list(tmp_path.glob(".a.txt.*.part"))) == 1
    write_text(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link, target = tmp_path / "a.txt", tmp_path / "elsewhere" / "b.txt"
    link.symlink_to(target)   # which is not there yet
    for text in ("one", "two"):
        with whole_file(link) as temporary:
            temporary.write_text(text)
        assert link.is_symlink() and target.read_text() == text
    assert sorted(tmp_path.rglob("*")) == [link, target.parent, target]


@pytest.mark.parametrize("moment", ["filling", "moved aside"])
def test_a_folder_is_the_old_one_or_the_new_one(tmp_path, moment, monkeypatch):
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "x").write_text("old")

    def work():
        if moment == "moved aside":
            replace = os.replace
            monkeypatch.setattr(os, "replace", lambda *names: (replace(*names), killed()))
        with alone(folder), whole_folder(folder) as temporary:
            (temporary / "x").write_text("new")
            if moment == "filling":
                killed()
    in_a_process_that_is_killed(work)
    assert folder.exists() == (moment == "filling")
    sweep(tmp_path, "pa??")
    assert [path.name for path in tmp_path.iterdir()] == ["pack"] and (folder / "x").read_text() == "old"


def test_a_second_process_on_the_same_target_is_refused_and_the_lock_dies_with_its_process(tmp_path):
    target = tmp_path / "a.json"
    with alone(target) as first, alone(target) as second:
        assert first and not second
        with pytest.raises(UserError, match="another process is writing .*a.json"):
            write_json(target, 1)
    in_a_process_that_is_killed(lambda: alone(target).__enter__() and killed())
    write_json(target, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_where_there_are_no_locks_nobody_clears_up_after_others(tmp_path, monkeypatch):
    def unknown(file, how):
        raise OSError(38, "Function not implemented")
    monkeypatch.setattr(files.fcntl, "flock", unknown)
    foreign = tmp_path / ".pack.1.part"   # of a process that lives, for all we know
    foreign.mkdir()
    (tmp_path / ".a.txt.1.part").write_text("half of")
    sweep(tmp_path, "pack")
    write_text(tmp_path / "a.txt", "mine")
    with alone(tmp_path / "pack") as mine, whole_folder(tmp_path / "pack") as temporary:
        (temporary / "x").write_text("x")
    assert mine and foreign.exists() and (tmp_path / ".a.txt.1.part").exists()
    assert (tmp_path / "a.txt").read_text() == "mine" and (tmp_path / "pack/x").exists()
    monkeypatch.setattr(files, "fcntl", None)
    write_text(tmp_path / "a.txt", "again")
    assert (tmp_path / "a.txt").read_text() == "again"


@pytest.mark.parametrize("patience", [1.0, 0.0])
def test_a_file_that_a_scanner_holds_for_a_moment_is_moved_later(tmp_path, monkeypatch, patience):
    """As Windows refuses to rename what another program has open."""
    replace, times = os.replace, itertools.count()

    def refused_at_first(source, target):
        if next(times) == 0:
            raise PermissionError(13, "used by another process")
        replace(source, target)
    monkeypatch.setattr(files, "PATIENCE", patience)
    monkeypatch.setattr(os, "replace", refused_at_first)
    if not patience:
        with pytest.raises(UserError, match="used by another process"):
            write_text(tmp_path / "x", "new")
        assert not list(tmp_path.iterdir())
        return
    write_text(tmp_path / "x", "new")
    times = itertools.count()
    with whole_folder(tmp_path / "folder") as temporary:
        (temporary / "y").write_text("new")
    assert (tmp_path / "x").read_text() == (tmp_path / "folder/y").read_text() == "new"


def test_whoever_waits_says_so_and_gets_the_lock(tmp_path, capfd):
    held, done = threading.Event(), threading.Event()

    def hold():
        with alone(tmp_path / "x"):
            held.set()
            time.sleep(0.2)
            done.set()
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with alone(tmp_path / "x", wait="waiting for it") as mine:
        assert mine and done.is_set()
    thread.join()
    assert capfd.readouterr().err == "waiting for it\n" and not list(tmp_path.iterdir())


def test_many_at_once_are_never_two(tmp_path):
    inside, most, turns = [], [], []

    def work():
        for _ in range(50):
            with alone(tmp_path / "x") as mine:
                if mine:
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0)
                    inside.pop()
                    turns.append(1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: work(), range(8)))
    assert max(most) == 1 and len(turns) >= 8


@contextmanager
def space_for(size: int):
    """No file can grow larger: what a full disk is to a single file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_gets_a_line_and_leaves_all_as_it_was(pack, place):
    run = small(place / "run", pack)
    train(run)
    source = make_folder(place / "set", {"train/star": 4, "train/disc": 4, "val/star": 1, "val/disc": 1})
    writes = {
        "run/last.pt": run.save, "run/best.pt": run.save_best,
        "run/metrics.csv": lambda: write_csv(place / "run/metrics.csv", run.progress.rows * 100),
        "run/curves.png": lambda: figures.training_curves(run.progress.rows, place / "run/curves.png", "x"),
        "run/config.json": lambda: write_json(place / "run/config.json", ["x" * 5000]),
        "packed": lambda: packed(find_source(str(source)), 64, place / "packed", quiet=True)}
    for name, write in writes.items():
        before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        with space_for(2000), pytest.raises(UserError, match="cannot write .*before is kept") as caught:
            write()
        assert "\n" not in str(caught.value) and name.split("/")[0] in str(caught.value)
        assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
        write()


def test_a_file_that_cannot_be_written_in_the_middle_costs_no_epoch_and_is_written_later(pack, place, capsys):
    folder = place / "run"
    for name in ("metrics.csv", "curves.png", "best.pt"):   # nothing can take the place of a folder
        (folder / name).mkdir(parents=True)
    run = small(folder, pack, schedule="constant", epochs=1)
    for event in run.train():
        if event == EPOCH_DONE:   # what another program held is free again
            for name in ("metrics.csv", "curves.png", "best.pt"):
                (folder / name).rmdir()
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 3
    assert all(line.startswith("warning: cannot write") and "goes on without it" in line for line in warnings)
    assert checkpoint.read(folder / "last.pt")["progress"]["epoch"] == 1
    assert not (folder / "metrics.csv").exists()
    again = small(folder, pack, schedule="constant", epochs=2)
    again.restore()
    train(again)
    assert capsys.readouterr().err == ""
    assert [row["epoch"] for row in read_csv(folder / "metrics.csv")] == ["1", "2"]
    assert (folder / "curves.png").is_file() and checkpoint.read(folder / "best.pt")["facts"]["epoch"] == 2


def test_a_place_that_may_not_be_written_to_gets_a_line(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "closed").mkdir(mode=0o500)
    closed = [tmp_path / "closed" / "a.json"] if os.geteuid() else []   # root may write everywhere
    for path in [tmp_path / "file" / "a.json", tmp_path / ("n" * 300), tmp_path, *closed]:
        with pytest.raises(UserError, match="cannot write"):
            write_json(path, 1)


def test_no_cell_is_a_formula_and_every_name_comes_back(tmp_path):
    names = ["=1+1", "+x", "-x", "@x", "\tx", 'a "quoted", one', "two\nlines", "图片", "\udcff", "x"]
    write_csv(tmp_path / "a.csv", [{"=name": name, "value": -1.5} for name in names])
    rows = list(csv.reader(open(tmp_path / "a.csv", encoding="utf-8-sig", newline="")))
    assert rows[0] == ["'=name", "value"] and all(row[1] == "-1.5" for row in rows[1:])
    assert [row[0] for row in rows[1:]] == ["'=1+1", "'+x", "'-x", "'@x", "'\tx", *names[5:8], "\\udcff", "x"]
    assert cell("") == "" and cell(-1) == -1
    write_json(tmp_path / "a.json", names)
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == names


def test_a_name_cannot_speak_to_the_terminal():
    assert printable("a\x1b[2Jb\nc\udcff图") == "a?[2Jb?c?图"


# ------------------------------------------------------------------- a run that was stopped

def train_and_die(run: Run, step: int) -> None:
    """As far as files are concerned, the process is gone in the middle of a step, if there are so many."""
    steps = (event for event in run.train() if event == BATCH_DONE)
    if len(list(itertools.islice(steps, step))) == step:
        raise MemoryError


def test_a_run_killed_within_an_epoch_goes_on_from_the_very_batch(pack, place):
    straight = small(place / "straight", pack)
    train(straight)
    lives = 0
    for step in (2, 3, 4):   # one, two, three batches a life: it dies before it could write the last
        folder, again = place / f"run{step}", None
        while again is None or not again.finished:
            again = small(folder, pack, minutes=-1)   # a checkpoint after each batch
            again.restore()
            lives += 1
            try:
                train_and_die(again, step)
            except MemoryError:
                continue
        assert_same(state_of(again), state_of(straight))
        assert timeless(again) == timeless(straight)
        assert [row["epoch"] for row in read_csv(folder / "metrics.csv")] == ["1", "2"]
    assert lives >= 10


def test_without_minutes_nothing_is_written_within_an_epoch(pack, place):
    with pytest.raises(MemoryError):
        train_and_die(small(place / "run", pack, minutes=float("inf")), 3)
    assert not (place / "run").exists()


class StopsInEvaluation(Run):
    asked = 0

    @property
    def stop(self) -> bool:
        self.asked += 1
        return self.asked > 3   # after each of three batches, then in the evaluation


def test_a_stop_during_evaluation_keeps_the_whole_epoch(pack, place):
    straight = small(place / "straight", pack)
    train(straight)
    with pytest.raises(Stopped):
        for _ in StopsInEvaluation(place / "run", settings(changes=SMALL), pack, CPU).train():
            pass
    again = small(place / "run", pack)
    assert again.restore() and (again.progress.epoch, again.progress.batch) == (0, 3)
    train(again)
    assert_same(state_of(again), state_of(straight))


def share(rank: int, folder: str, pack_folder: str, stop_at: int | None) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store{stop_at}", rank=rank, world_size=2)
    run = Run(Path(folder) / ("run" if stop_at != -1 else "straight"), settings(changes=SMALL),
              open_pack(Path(pack_folder)), CPU, World(rank, 2), minutes=-1)
    run.restore()
    try:
        if stop_at == 4:
            train_and_die(run, stop_at)
        train(run, stop_at if rank else None)   # one asks, both stop
    except (Stopped, MemoryError):
        pass
    if rank == 0 and stop_at in (-1, None):
        losses = torch.tensor([row["train_loss"] for row in run.progress.rows], dtype=torch.float64)
        name = "straight" if stop_at else "resumed"
        torch.save({**state_of(run), "loss": losses}, f"{folder}/{name}.pt")
    dist.destroy_process_group()


def test_two_processes_stopped_and_killed_within_epochs_end_as_never_stopped(pack, place, capfd):
    for stop_at in (-1, 2, 4, None):   # never; one of them asks; both die; to the end
        in_two_processes(share, str(place), str(pack.folder), stop_at)
    assert_same(*(torch.load(place / f"{name}.pt", weights_only=True) for name in ("resumed", "straight")))
    run = small(place / "run", pack, epochs=3)   # now alone
    capfd.readouterr()
    assert run.restore()
    assert "2 process(es) trained before, now 1 do" in capfd.readouterr().err


def test_a_damaged_last_pt_falls_back_to_the_one_before_and_says_so(pack, place, capsys):
    train(small(place / "run", pack))
    last, straight = place / "run/last.pt", small(place / "x", pack)
    train(straight)
    good = last.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 4
    content = torch.load(last, weights_only=True)
    others = [changed(content, name) for name in ("optimizer", "progress", "model", "classes")]
    for raw in (flipped, good[:-100], b"", b"garbage" * 1000, *others):
        last.write_bytes(raw)
        again = small(place / "run", pack)
        assert again.restore() and again.progress.epoch == 1
        err = capsys.readouterr().err
        assert err.startswith("warning: ") and err.endswith("; going on from previous.pt\n")
        assert err.count("\n") == 1
    train(again)
    assert_same(state_of(again), state_of(straight))
    for name in ("last.pt", "previous.pt"):
        (place / "run" / name).write_bytes(b"x")
    with pytest.raises(UserError, match="last.pt is damaged.*nothing else is there to go on from"):
        small(place / "run", pack).restore()


def test_a_good_previous_pt_outlives_a_damaged_last_pt(pack, place):
    train(small(place / "run", pack))
    (place / "run/last.pt").write_bytes(b"x")
    again = small(place / "run", pack)
    again.restore()
    before = (place / "run/previous.pt").read_bytes()
    again.save()
    assert (place / "run/previous.pt").read_bytes() == before and checkpoint.read(place / "run/last.pt")
    again.save()
    assert (place / "run/previous.pt").read_bytes() == (place / "run/last.pt").read_bytes()


def test_only_the_first_process_says_when_a_checkpoint_is_due(pack, place, monkeypatch):
    run = small(place / "run", pack)
    monkeypatch.setattr(World, "sum", lambda world, values: values)
    run.saved -= 1000
    run.world = World(0, 2)
    assert run.agree(False, True) == (False, True)
    run.world = World(1, 2)
    assert run.agree(False, True) == (False, False) and run.agree(True, True) == (True, False)


@pytest.mark.parametrize("way, value", [
    ("batch", None), ("batch", 3.5), ("facts", {"data": 5}),
    ("facts", {"x": torch.zeros(2)}), ("facts", []), ("classes", [torch.zeros(2), "b"]), ("classes", 2),
    ("variant", torch.zeros(3, 3)), ("image_size", torch.zeros(3, 3))])
def test_anything_in_the_place_of_a_number_is_refused(kept_run, place, way, value):
    good, pack = kept_run
    content = torch.load(io.BytesIO(good), weights_only=True)
    (content if way in content else content["progress"])[way] = value
    (place / "run").mkdir()
    (place / "run/last.pt").write_bytes(b"")
    torch.save(content, place / "run/last.pt")
    with pytest.raises(UserError) as caught:
        small(place / "run", pack).restore()
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def kept_run(pack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    train(small(folder / "run", pack, epochs=1))
    return (folder / "run/last.pt").read_bytes(), pack


def test_a_folder_may_have_any_name(pack, place):
    for name in ("run$x_{$", os.fsdecode(b"run-\xff"), "a b"):
        train(small(place / name, pack, epochs=1))
        assert Image.open(place / name / "curves.png").size[0] > 100


def test_names_with_dollars_are_no_formulas_but_powers_of_ten_are(tmp_path):
    figure = figures.Figure()
    left, right = figure.subplots(1, 2)
    left.barh(["a$x_{$", "b"], [1, 10])
    left.set_xscale("log")
    right.set_title("$x_{$")
    figures.save(figure, tmp_path / "a.png")
    assert not any(label.get_parse_math() for label in left.get_yticklabels())
    assert not right.title.get_parse_math()
    assert all(label.get_parse_math() for label in left.get_xticklabels())


def changed(content: dict, name: str) -> bytes:
    """A checkpoint that opens, but in which something is not what it should be."""
    out, wrong = io.BytesIO(), {
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": []},
        "progress": {"epoch": "x"}, "model": {}, "classes": ["a", "b"]}
    torch.save({**content, name: wrong[name]}, out)
    return out.getvalue()


def test_every_flipped_bit_is_noticed_or_changes_nothing(pack, place):
    run = small(place / "run", pack, epochs=1)
    run.save_best()
    path, chance = place / "run/best.pt", np.random.default_rng(0)
    good, content = path.read_bytes(), torch.load(path, weights_only=True)
    refused = 0
    for at in chance.integers(0, len(good), 60):
        raw = bytearray(good)
        raw[at] ^= 1 << int(chance.integers(8))
        path.write_bytes(raw)
        try:
            found = checkpoint.read(path)
            assert all(torch.equal(found["model"][name], value) for name, value in content["model"].items())
            assert {**found, "model": 0} == {**content, "model": 0}
        except UserError:
            refused += 1
    assert refused > 50


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        def noted(*arguments, name=name, call=getattr(os, name)):
            done.append(name)
            return call(*arguments)
        monkeypatch.setattr(os, name, noted)
    write_text(tmp_path / "a.txt", "text")
    assert done == ["fsync", "replace"]
    with alone(tmp_path / "b"), whole_folder(tmp_path / "b") as temporary:
        (temporary / "1").write_text("1")
        (temporary / "2").write_text("2")
        done.clear()
    assert done == ["fsync", "fsync", "replace"]


# ------------------------------------------------------------------- the commands

def start(*arguments, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(ROOT / "train_alexnet.py"), *map(str, arguments)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_sigterm_leaves_a_checkpoint_a_second_process_is_refused_and_home_is_not_needed(place):
    """In one process after the other, since each start takes seconds."""
    odd = place / "ein Ordner mit 空格"
    folder = make_folder(odd / "set", {"train/star": 12, "train/disc": 12, "val/star": 2, "val/disc": 2})
    common = ["--cache", odd / "cache", "--device", "cpu", "--checkpoint-minutes", "0"]   # SIGTERM saves
    home = {**os.environ, "HOME": "/proc/nowhere", "OMP_NUM_THREADS": "1"}
    checkpoint.save(odd / "small.pt", AlexNet(2, SIZE, **SMALL), {})
    first = start("--data", folder, "--weights", odd / "small.pt", "--batch-size", 2, "--epochs", 5000,
                  "--schedule", "constant", "--out", odd / "run", *common, env=home)
    try:
        while not first.stdout.readline().startswith("epoch"):
            assert first.poll() is None
        second = start("--resume", odd / "run", *common, env=home)
        _, err = second.communicate(timeout=120)
        assert second.returncode == 2 and err.splitlines()[-1] == (
            f"train_alexnet.py: another process is training in {odd / 'run'}: two would overwrite each "
            "other's files")
        first.send_signal(signal.SIGTERM)
        out, err = first.communicate(timeout=120)
    finally:
        first.kill()
    assert first.returncode == 143 and "--resume" in out
    assert "Traceback" not in err
    assert not [path for path in (odd / "run").iterdir() if path.name.startswith(".")]
    content = torch.load(odd / "run/last.pt", weights_only=True)
    epoch = content["progress"]["epoch"]
    rows = read_csv(odd / "run/metrics.csv")
    assert 0 < epoch < 5000 and [int(row["epoch"]) for row in rows] == list(range(1, epoch + 1))
    third = start("--resume", odd / "run", *common, env=home)
    try:
        while not (line := third.stdout.readline()).startswith("going on"):
            assert third.poll() is None
    finally:
        third.kill()
        third.communicate()
    done = content["progress"]["batch"]
    assert line.startswith(f"going on in epoch {epoch + 1}, of which {done} of ")
    assert checkpoint.read(odd / "run/last.pt")


def test_sigterm_that_comes_twice_is_one(pack, place):
    run = small(place / "run", pack)
    console = train_alexnet.Console(run, quiet=True)
    for _ in range(3):   # from the cluster, from torchrun
        console.ask_to_stop(signal.SIGTERM, None)
    assert run.stop and console.asked == signal.SIGTERM
    console.ask_to_stop(signal.SIGINT, None)   # so soon it may be the same key
    console.asked_at -= 1
    with pytest.raises(SystemExit) as end:
        console.ask_to_stop(signal.SIGINT, None)
    assert end.value.code == 130


def test_ctrl_c_that_ends_tee_before_us_stops_the_run_all_the_same(pack, place, monkeypatch):
    """`2>&1 | tee log`: then nobody reads what we print."""
    run = small(place / "run", pack)
    console = train_alexnet.Console(run, quiet=True)
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stderr", open(writer, "w", buffering=1))
    console.ask_to_stop(signal.SIGINT, None)   # raises nothing
    with pytest.raises(BrokenPipeError):
        sys.stderr.close()
    assert run.stop


def test_deterministic_is_kept_by_resume_and_trains(place):
    source = make_folder(place / "set", {"train/star": 4, "train/disc": 4, "val/star": 1, "val/disc": 1})
    common = ["--cache", str(place / "cache"), "--device", "cpu"]
    try:
        train_alexnet.main(["--data", str(source), "--image-size", "36", "--batch-size", "4", "--epochs", "1",
                            "--deterministic", "--out", str(place / "run"), *common])
        assert torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(False)
        train_alexnet.main(["--resume", str(place / "run"), "--epochs", "2", *common])
        assert torch.are_deterministic_algorithms_enabled() and os.environ["CUBLAS_WORKSPACE_CONFIG"]
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = True
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    make_deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_two_that_write_one_jsonl_are_refused(pack, place, capsys):
    train(small(place / "run", pack, epochs=1))
    picture = save_picture(place / "=1+1.png", 0)
    arguments = [str(picture), "--model", str(place / "run/best.pt"), "--output", str(place / "out.jsonl")]
    with alone(place / "out.jsonl"), pytest.raises(SystemExit) as end:
        alexnet_inference.main(arguments)
    assert end.value.code == 2 and "another process is writing" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        alexnet_inference.main(arguments)
    assert end.value.code == 0 and json.loads((place / "out.jsonl").read_text())["predictions"]


def test_sigterm_in_inference_takes_the_unfinished_file_away(pack, place):
    train(small(place / "run", pack, epochs=1))
    pictures = place / "many"
    first = save_picture(pictures / "0.png", 0)
    for number in range(1, 3000):
        os.link(first, pictures / f"{number}.png")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "alexnet_inference.py"), str(pictures), "--model",
         str(place / "run/best.pt"), "--output", str(place / "out.csv")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(place.glob(".out.csv.*.part")):
        assert process.poll() is None
        time.sleep(0.005)
    process.terminate()
    assert "Traceback" not in process.communicate(timeout=60)[1] and process.returncode == 143
    assert not [path.name for path in place.iterdir() if path.name.startswith(".") or path.name == "out.csv"]


def test_a_list_that_was_stopped_says_how_it_goes_on(pack, place, capsys, monkeypatch):
    train(small(place / "run", pack, epochs=1))
    picture, watched = save_picture(place / "a.png", 0), alexnet_inference.watched

    def stopped(*arguments):
        yield from watched(*arguments)
        raise KeyboardInterrupt
    monkeypatch.setattr(alexnet_inference, "watched", stopped)
    arguments = [str(picture), "--model", str(place / "run/best.pt"), "--output", str(place / "out.jsonl")]
    with pytest.raises(SystemExit) as end:
        alexnet_inference.main(arguments)
    assert end.value.code == 130 and "the same command with --resume goes on" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        alexnet_inference.main([*arguments[:-1], str(place / "disc.jsonl"), "--panel", str(place / "p.png")])
    assert "with --resume and without --truth and --panel goes on" in capsys.readouterr().err
    assert (place / "out.jsonl").read_text().count("\n") == 1


STOPPED_ANYWHERE = """
import sys
from alexnet.threads import in_order

def run():
    return list(in_order(str, range(4), 2, 3))

def at(number):   # as a signal's handler would, before this step of the main thread
    def trace(frame, event, what):
        global steps
        steps += 1
        if steps == number:
            raise KeyboardInterrupt
        return trace
    return trace

number = interrupted = 0
while number <= interrupted:
    number, steps = number + 1, 0
    sys.settrace(at(number))
    try:
        assert run() == list("0123")
    except KeyboardInterrupt:
        interrupted += 1
    sys.settrace(None)
print(interrupted)
"""


def test_threads_do_not_wait_for_each_other_wherever_a_signal_stops_the_main_one():
    """With a ThreadPoolExecutor they did, for ever: its locks stay locked."""
    done = subprocess.run([sys.executable, "-c", STOPPED_ANYWHERE], cwd=ROOT, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0 and int(done.stdout) > 50, done.stderr


@pytest.mark.parametrize("way", ["one = next(it)", "def f(it):\n    next(it)\n    raise ValueError\nf(it)"])
def test_python_ends_although_not_all_results_were_asked_for(way):
    code = f"from alexnet.threads import in_order\nit = in_order(str, range(100), 2, 3)\n{way}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == ("raise" in way)


LEFT_TO_THE_COLLECTOR = """
import gc, time
from alexnet.threads import in_order

def collects(number):   # an allocation does the same, now and then
    time.sleep(0.02)
    gc.collect()

def begin():
    it = in_order(collects, range(100), 2, 20)
    next(it)
    cycle = [it]
    cycle.append(cycle)

begin()
time.sleep(0.5)
"""


def test_a_thread_that_collects_its_own_work_does_not_wait_for_itself():
    done = subprocess.run([sys.executable, "-c", LEFT_TO_THE_COLLECTOR], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("asked, status", [(SystemExit(143), 143), (KeyboardInterrupt(), 130)])
def test_a_signal_that_comes_while_a_lock_is_waited_for_ends_a_script_without_traceback(asked, status):
    with pytest.raises(SystemExit) as ended, shell("script.py"):
        try:
            raise asked   # within threading.Condition.wait, which has given its lock back
        finally:
            threading.Lock().release()   # "release unlocked lock"
    assert ended.value.code == status


def test_two_runs_that_begin_within_a_second_have_folders_of_their_own(place, monkeypatch):
    monkeypatch.chdir(place)
    assert train_alexnet.unused("runs/demo") == "runs/demo"
    (place / "runs/demo").mkdir(parents=True)
    (place / "runs/demo-2").mkdir()
    assert train_alexnet.unused("runs/demo") == "runs/demo-3"


def test_a_name_that_looks_like_a_formula_is_none_in_a_spreadsheet(pack, place, capsys, monkeypatch):
    train(small(place / "run", pack, epochs=1))
    save_picture(place / "=1+1.png", 0)
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit):
        alexnet_inference.main(["=1+1.png", "--model", str(place / "run/best.pt"), "--output", "out.csv"])
    assert read_csv(place / "out.csv")[0]["path"] == "'=1+1.png"


# ------------------------------------------------------------------- packed images

def test_a_pack_that_was_damaged_is_made_anew(tmp_path, capsys):
    folder = make_folder(tmp_path / "set", {"train/star": 6, "train/disc": 6, "val/star": 2, "val/disc": 2})

    def make():
        return packed(find_source(str(folder)), SIZE, tmp_path / "cache", quiet=True)
    good = make()
    images = good.images["train"].copy()
    files = {path.name: path.read_bytes() for path in good.folder.iterdir()}
    assert set(files) == {"train.npy", "val.npy", "train_labels.npy", "val_labels.npy", "mean.npy",
                          "pack.json"}
    for name, content in files.items():
        for broken in (content[:len(content) // 2], b"", b"{}"):
            (good.folder / name).write_bytes(broken)
            assert np.array_equal(make().images["train"], images)
            assert "damaged" in capsys.readouterr().err
        (good.folder / name).unlink()
        assert np.array_equal(make().images["train"], images)
    assert make().folder == good.folder and capsys.readouterr().err != ""
    make()
    assert capsys.readouterr().err == ""


def test_an_image_that_takes_too_much_memory_is_left_out_and_named(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/star": 6, "train/disc": 6, "val/star": 2, "val/disc": 2})
    source = find_source(str(folder))

    def open_most(key, side):
        if key.name == "3.png" and key.parent.name == "disc":
            raise MemoryError   # as Pillow does for the size in a damaged head
        return open_image(key, side)
    pack = packed(replace(source, open=open_most), SIZE, tmp_path / "cache", quiet=True)
    assert len(pack.skipped) == 1 and pack.skipped[0].endswith("3.png: it takes too much memory")


def test_a_folder_that_vanishes_while_it_is_packed_leaves_nothing(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/star": 6, "train/disc": 6, "val/star": 2, "val/disc": 2})
    source = find_source(str(folder))
    shutil.rmtree(folder / "train/star")
    with pytest.raises(UserError, match="star.* was there a moment ago"):
        packed(source, SIZE, tmp_path / "cache", quiet=True)
    assert not list((tmp_path / "cache").iterdir())


def test_a_picture_that_changes_leaves_training_alone_and_is_packed_anew_next_time(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/star": 6, "train/disc": 6, "val/star": 2, "val/disc": 2})
    pack = packed(find_source(str(folder)), SIZE, tmp_path / "cache", quiet=True)
    before = pack.images["train"].copy()
    Image.new("RGB", (50, 50), "red").save(folder / "train/star/0.png")
    again = packed(find_source(str(folder)), SIZE, tmp_path / "cache", quiet=True)
    assert again.identity != pack.identity and not np.array_equal(again.images["train"], before)
    assert np.array_equal(pack.images["train"], before)   # whoever trains goes on with what it has


def test_what_a_killed_packer_left_goes_with_the_next(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/star": 6, "train/disc": 6, "val/star": 2, "val/disc": 2})
    packed(find_source(str(folder)), SIZE, tmp_path / "cache", quiet=True)
    for what in ("part", "old"):   # of another data set, and of this one, killed before it could tidy up
        for name in ("other-41px-01234567", next((tmp_path / "cache").glob("set-*")).name):
            stale = tmp_path / f"cache/.{name}.12345.{what}"
            stale.mkdir(parents=True)
            (stale / "train.npy").write_bytes(b"x" * 100)
    (tmp_path / "cache/.third-41px-01234567.lock").touch()
    packed(find_source(str(folder)), SIZE, tmp_path / "cache", quiet=True)
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")] == []
    assert (tmp_path / "cache/other-41px-01234567/train.npy").exists()   # was moved aside, and came back


def test_two_packers_end_with_one_pack(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/star": 30, "train/disc": 30, "val/star": 2, "val/disc": 2})

    def work(_):
        return packed(find_source(str(folder)), 64, tmp_path / "cache", quiet=True)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(work, range(3)))
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert all(np.array_equal(pack.images["train"], results[0].images["train"]) for pack in results)


# ------------------------------------------------------------------- foreign content

def test_no_program_is_started_for_a_picture(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: called.append(a))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: called.append(a))
    path = tmp_path / "x.jpg"   # to pillow it is PostScript, whatever its name
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(Exception, match="not an image"):
        open_image(path)
    assert not called
    assert open_image(save_picture(tmp_path / "good.webp", 0)).size == (96, 96)


def test_of_a_picture_that_cannot_be_read_only_the_reason_stays_in_memory(tmp_path):
    """Its pixels would, too, as long as the error holds the frames that it went through."""
    whole = io.BytesIO()
    Image.effect_noise((400, 300), 99).convert("RGB").save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[:5_000])
    source = find_source("demo")
    source.open = open_image
    for opened in (open_item(source, 41, (tmp_path / "cut.jpg", 0)),
                   predict.open_picture(tmp_path / "cut.jpg", 41)):
        assert "truncated" in str(opened.error)
        reached, waiting = set(), [opened.error]
        while waiting:   # whatever the error keeps alive, but for types and modules
            one = waiting.pop()
            if id(one) not in reached and not isinstance(one, (type, types.ModuleType)):
                reached.add(id(one))
                assert not isinstance(one, (Image.Image, np.ndarray, types.FrameType))
                waiting += gc.get_referents(one)


def test_large_images_are_opened_one_at_a_time(tmp_path, monkeypatch):
    from PIL import PngImagePlugin
    from alexnet import images
    Image.new("RGB", (500, 400)).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "LARGE", 100_000)
    inside, most = [], []
    load = PngImagePlugin.PngImageFile.load

    def slow(self):
        if self.size == (500, 400) and self.format == "PNG":
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()
        return load(self)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_image, [tmp_path / "a.png"] * 4))
    assert len(most) >= 4 and max(most) == 1


def test_writing_leaves_other_errors_alone():
    with pytest.raises(FileNotFoundError), writing("x"):
        open("/nowhere/at/all")


def test_what_another_process_writes_to_a_longer_name_is_left_alone(tmp_path):
    (tmp_path / ".answers.csv.1.part").write_text("of a process that lives")
    (tmp_path / ".answers.1.part").write_text("left by one that died")
    write_text(tmp_path / "answers", "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".answers.csv.1.part", "answers"]


# ------------------------------------------------------------------- promises that no other test holds

def test_of_several_processes_none_stops_alone_in_the_evaluation(pack, place):
    run = small(place / "run", pack)
    run.world, run.stop = World(0, 2), True
    run.stop_in_evaluation(16)   # raises nothing: the others would wait for it
    assert not (place / "run").exists()


def test_processes_that_see_different_checkpoints_do_not_go_on(pack, place, monkeypatch):
    """Two machines, each with a results folder of its own."""
    train(small(place / "run", pack, epochs=1))
    run = small(place / "run", pack)
    run.world = World(0, 2)
    monkeypatch.setattr(World, "sum", lambda world, places: places)   # the other has found none
    with pytest.raises(UserError, match="do not see the same checkpoints in .*one folder for all"):
        run.restore()


def test_gpus_talk_every_20_batches_and_at_the_last_of_a_short_epoch(pack, place, monkeypatch):
    run = small(place / "run", pack)
    run.world, run.device = World(0, 2), torch.device("meta")
    monkeypatch.setattr(World, "sum", lambda world, both: torch.tensor([1.0, 0.0]))   # another is to stop
    stops = []
    for run.progress.batch, last in ((19, False), (20, False), (3, True)):
        stops.append(run.agree(False, last)[0])
    assert stops == [False, True, True]


def test_an_offset_beyond_a_damaged_file_leaves_that_out_and_a_lost_disk_stops(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/star": 6, "train/disc": 6, "val/star": 2, "val/disc": 2})
    source = find_source(str(folder))
    for number, left_out in ((errno.EINVAL, True), (errno.EIO, False)):
        def open_most(key, side):
            if key.name == "3.png" and key.parent.name == "disc":
                raise OSError(number, os.strerror(number))
            return open_image(key, side)
        if left_out:
            assert len(packed(replace(source, open=open_most), SIZE, tmp_path / "one", quiet=True).skipped) == 1
            continue
        with pytest.raises(UserError, match="3.png was there a moment ago"):
            packed(replace(source, open=open_most), SIZE, tmp_path / "two", quiet=True)


def test_a_long_chinese_name_has_room_for_what_is_added(tmp_path):
    path = tmp_path / ("图" * 83 + ".csv")   # 253 bytes of 255
    write_text(path, "text")
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "text"


def test_a_quota_that_is_used_up_gets_the_line_of_a_full_disk():
    with pytest.raises(UserError, match="cannot write x: .*before is kept"), writing("x"):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def test_whatever_ends_a_thread_is_raised_where_its_result_is_asked_for():
    code = ("from alexnet.threads import in_order\nimport sys\n"
            "try:\n    list(in_order(sys.exit, [7], 1, 1))\nexcept SystemExit as end:\n    print(end.code)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "7\n", done.stderr


def test_the_time_left_is_that_of_the_epochs_left_at_the_speed_of_now(pack, place, capsys):
    run = small(place / "run", pack, epochs=10)
    console = train_alexnet.Console(run, quiet=False)
    console.bar, console.first_epoch = types.SimpleNamespace(close=lambda: None), 4   # it was stopped after four
    console.started = time.perf_counter() - 240   # two minutes an epoch
    run.progress.epoch, run.progress.rows = 6, [{**dict.fromkeys(COLUMNS, 0.5), "epoch": 6}]
    console.epoch_done()
    assert capsys.readouterr().out.endswith(" 8 min left\n")


def test_a_machine_is_compared_with_that_of_the_last_start(pack, place, capsys):
    run = small(place / "run", pack)
    train_alexnet.write_config(run, None, place, None)
    first = json.loads((place / "run/config.json").read_text())
    old = {**first, "surroundings": {**first["surroundings"], "torch": "1.0"}}
    for resumed, said in (([], "warning: torch 1.0 is now"), ([{"surroundings": first["surroundings"]}], "")):
        train_alexnet.write_config(run, {**old, "resumed": resumed}, place, None)
        err = capsys.readouterr().err
        assert err.startswith(said) and bool(err) == bool(said)
