"""main.py reproduce in processes of its own: killed runs end with the numbers of an undisturbed one, and the like."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import train as train_program
from main import main
from model import read_checkpoint
from tests.reproduce_tools import CORPUS, spawn, start, started
from utils.cli import run
from utils.options import TrainOptions
from utils.outputs import Fold, is_held

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("restore_logging")]
TINY = ("--batch_size", "4", "--num_train", "1", "--num_val", "1", "--max_frames", "2")


def test_two_at_once_share_the_folds(tmp_path: Path) -> None:
    both = [start(tmp_path, "1.5", "--models", "AVDF,MRDF_CE", "--folds", "1,2,3") for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert set(started(tmp_path / "outputs").values()) == {1}
    assert len(started(tmp_path / "outputs")) == 6
    log = (tmp_path / "reproduce.log").read_text()
    assert "locked elsewhere" in log
    assert log.count(": done") == 12  # each of them tells of all


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_stops_the_children(number: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path, "600", "--models", "AVDF")
    note = tmp_path / "outputs/results/AVDF/started.txt"
    wait_until(lambda: note.exists() and note.read_text().endswith("\n"))
    child = int(note.read_text().split()[1])
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_fold_stays_locked_while_its_process_lives(tmp_path: Path) -> None:
    process = start(tmp_path, "600", "--models", "AVDF", "--folds", "1")
    note = tmp_path / "outputs/results/AVDF/started.txt"
    wait_until(lambda: note.exists() and note.read_text().endswith("\n"))
    process.kill()  # but not the child
    process.wait()
    fold = Fold(tmp_path / "outputs", "AVDF", "train_1")
    assert is_held(fold)
    os.kill(int(note.read_text().split()[1]), signal.SIGKILL)

    wait_until(lambda: not is_held(fold))


def wait_until(true: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def epochs(number: int) -> tuple[str, ...]:
    return "--max_epochs", str(number), "--min_epochs", str(number)


def outcome(outputs: Path) -> tuple[dict[str, Any], str]:
    """Figures and scores of AVDF on fold 1."""
    folder = outputs / "results/AVDF/train_1"
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics.pop("config")
    return metrics, (folder / "scores.csv").read_text()


MAIN = Path(__file__).parents[3] / "main.py"
ONE = ("--models", "AVDF", "--folds", "1", *TINY)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Three epochs without interruption: the outputs, and how long it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    begin = time.monotonic()
    assert spawn(folder, [MAIN], (*ONE, *epochs(3))).wait(170) == 0
    return folder / "outputs", time.monotonic() - begin


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_runs_end_with_the_numbers_of_an_undisturbed_one(
    seed: int, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    draw = random.Random(seed)
    killed = 0
    for _ in range(3):
        process = spawn(tmp_path, [MAIN], (*ONE, *epochs(3)))
        try:
            process.wait(seconds * draw.uniform(0.35, 0.85))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    assert killed
    assert spawn(tmp_path, [MAIN], (*ONE, *epochs(3))).wait(170) == 0
    assert outcome(tmp_path / "outputs") == outcome(expected)
    ours, theirs = (
        read_checkpoint(Fold(folder, "AVDF", "train_1").last) for folder in (tmp_path / "outputs", expected)
    )
    assert ours["epoch"] == theirs["epoch"] == 2
    for key, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][key], value), key
    assert not Fold(tmp_path / "outputs", "AVDF", "train_1").progress.exists()
    names = {path.name for path in (tmp_path / "outputs/ckpts/AVDF").iterdir()}
    assert names == {"AVDF_train_1.ckpt", "AVDF_train_1-last.ckpt"}


def test_killed_ten_times_the_table_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    """On the miniature, two detectors and two folds, killed anywhere from the start of Python to the table."""
    assert main(["synthesize", "--out", str(tmp_path / "mini"), "--subjects", "10", "--seconds", "0.8"]) == 0
    flags = ("--data_root", tmp_path / "mini", "--models", "AVDF,MRDF_CE", "--folds", "1,2", "--batch_size", 4)
    flags += ("--max_frames", "4", *epochs(2))
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    begin = time.monotonic()
    assert spawn(tmp_path / "undisturbed", [MAIN], flags).wait(600) == 0
    seconds = time.monotonic() - begin
    draw = random.Random(3)
    killed = 0
    while killed < 10:
        process = spawn(tmp_path / "killed", [MAIN], flags)
        time.sleep(seconds * draw.uniform(0.02, 0.45))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        else:  # done already: a fold less, and on
            assert process.returncode == 0
            shutil.rmtree(tmp_path / "killed/outputs/results/MRDF_CE")
    assert spawn(tmp_path / "killed", [MAIN], flags).wait(600) == 0
    expected, found = (tmp_path / name / "outputs/results" for name in ("undisturbed", "killed"))
    for scores in ("AVDF/train_1", "AVDF/train_2", "MRDF_CE/train_1", "MRDF_CE/train_2"):
        assert (found / scores / "scores.csv").read_bytes() == (expected / scores / "scores.csv").read_bytes()
    tables = [pd.read_csv(folder / "table.csv") for folder in (expected, found)]
    figures = [name for name in tables[0] if name.endswith(("_mean", "_std"))]
    assert len(figures) > 6
    pd.testing.assert_frame_equal(tables[0][figures], tables[1][figures])
    assert (found / "report.html").is_file()


def test_a_damaged_last_checkpoint_does_not_change_the_numbers(undisturbed: tuple[Path, float], tmp_path: Path) -> None:
    shutil.copytree(undisturbed[0], tmp_path / "outputs")
    fold = Fold(tmp_path / "outputs", "AVDF", "train_1")
    fold.last.write_bytes(b"broken")
    fold.metrics.unlink()
    assert spawn(tmp_path, [MAIN], (*ONE, *epochs(3))).wait(170) == 0
    assert outcome(tmp_path / "outputs") == outcome(undisturbed[0])
    assert "so the fold goes on from AVDF_train_1.ckpt. Kept: " in (tmp_path / "reproduce.log").read_text()
    assert fold.last.with_name("AVDF_train_1-last.1.ckpt").read_bytes() == b"broken"


def train(*arguments: object) -> int:
    return run(TrainOptions, train_program.train, "train.py", [str(argument) for argument in arguments])


def test_a_changed_flag_starts_anew_and_keeps_the_old(undisturbed: tuple[Path, float], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(undisturbed[0], outputs)
    before = outcome(outputs)
    common = ("--data_root", CORPUS, "--outputs", outputs, "--model_type", "AVDF", "--folds", "1", *TINY)
    assert train(*common, *epochs(2), "--seed", "5", "--resume", "auto") == 0
    folder = outputs / "results/AVDF"
    assert json.loads((folder / "train_1/metrics.json").read_text())["config"]["seed"] == 5
    kept = json.loads((folder / "train_1.1/metrics.json").read_text())
    assert kept.pop("config")["seed"] == 42
    assert (kept, (folder / "train_1.1/scores.csv").read_text()) == before
    assert (outcome(outputs)) != before
    names = {path.name for path in (outputs / "ckpts/AVDF").iterdir()}
    assert names == {f"AVDF_train_1{suffix}.ckpt" for suffix in ("", "-last", ".1", "-last.1")}
    assert list(json.loads((folder / "summary.json").read_text())["folds"]) == ["train_1"]


@pytest.mark.parametrize("early", [False, True])
def test_what_is_trained_is_only_tested(early: bool, tmp_path: Path) -> None:
    """Also where training ended before the last epoch asked for, and after the outputs were moved."""
    length = ("--max_epochs", "4", "--min_epochs", "1", "--patience", "1") if early else epochs(1)
    common = ("--data_root", CORPUS, "--model_type", "AVDF", "--folds", "1", *TINY, *length)
    assert train(*common, "--outputs", tmp_path / "here") == 0
    before = outcome(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    fold = Fold(tmp_path / "there", "AVDF", "train_1")
    checkpoint = fold.last.read_bytes()
    epoch = read_checkpoint(fold.last)["epoch"]
    assert epoch < 3
    record = json.loads(fold.metrics.read_text())["config"]["environment"]
    assert record["epochs"] == epoch + 1
    assert record["hours"] > 0
    fold.metrics.unlink()
    assert train(*common, "--outputs", tmp_path / "there", "--resume", "auto") == 0
    assert outcome(tmp_path / "there") == before
    assert fold.last.read_bytes() == checkpoint
    assert json.loads(fold.metrics.read_text())["config"]["environment"] == record


def test_the_best_epoch_is_known_after_the_outputs_were_moved(tmp_path: Path) -> None:
    """So that a worse epoch after it does not take its place."""
    common = ("--data_root", CORPUS, "--model_type", "AVDF", "--folds", "1", *TINY)
    assert train(*common, *epochs(1), "--outputs", tmp_path / "here") == 0
    best = Fold(tmp_path / "here", "AVDF", "train_1").best.read_bytes()
    shutil.move(tmp_path / "here", tmp_path / "there")
    fold = Fold(tmp_path / "there", "AVDF", "train_1")
    assert train(*common, *epochs(2), "--outputs", tmp_path / "there", "--resume", fold.last) == 0
    log = pd.read_csv(tmp_path / "there/log/AVDF/train_1/version_1/metrics.csv")
    first = read_checkpoint(fold.best)
    second = log.dropna(subset="val_released").set_index("epoch")["val_released"][1]
    score = next(state["best_model_score"] for name, state in first["callbacks"].items() if "val_released" in name)
    assert second <= float(score)
    assert fold.best.read_bytes() == best


def test_a_fold_without_test_clips_fails_alone(prepared_root: Path, tmp_path: Path) -> None:
    everyone = sorted({clip.parent.name for clip in prepared_root.rglob("*.mp4")})
    (prepared_root / "train_1.txt").write_text("\n".join(["fold 1", *everyone, ""]))
    arguments = ("--data_root", prepared_root, "--models", "AVDF", "--folds", "1,2", *TINY, *epochs(1))
    assert spawn(tmp_path, [MAIN], arguments).wait(170) == 1
    log = (tmp_path / "reproduce.log").read_text()
    assert "1 of 2 folds failed" in log
    assert "AVDF train_1: exit code 2, see " in log
    assert "AVDF train_2: done" in log
