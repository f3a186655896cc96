"""main.py reproduce after an accident: files that are missing, damaged, or of another fold; and who holds a lock."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest
import torch

from main import main
from scripts.reproduce import command as program
from scripts.reproduce.fold_lock import held, holder_of
from scripts.reproduce.fold_state import Fold
from scripts.reproduce.overview import Overview, Status
from tests.reproduce_tools import CORPUS, patch, started

pytestmark = pytest.mark.usefixtures("restore_logging")


def reproduce(outputs: Path, *arguments: object) -> int:
    """Exit code of the command on fold 2 of AVDF."""
    common = ("--data_root", CORPUS, "--outputs", outputs, "--models", "AVDF", "--folds", 2)
    try:
        return main(["reproduce", *map(str, (*common, *arguments))])
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize("accident", ["another fold's checkpoint", "no scores", "broken figures"])
def test_what_is_not_the_folds_own_is_done_again(
    accident: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch(monkeypatch, lambda fold: "0")
    assert reproduce(tmp_path) == 0
    fold = Fold(tmp_path, "AVDF", "train_2")
    if accident == "no scores":
        (fold.results / "scores.csv").unlink()
    elif accident == "broken figures":
        fold.metrics.write_text("{")
    else:
        fold.metrics.write_text(fold.metrics.read_text().replace("AVDF_train_2.ckpt", "AVDF_train_1.ckpt"))
    assert reproduce(tmp_path) == 0
    assert started(tmp_path) == {"AVDF train_2": 2}
    assert json.loads(fold.metrics.read_text())["config"]["checkpoint"] == "AVDF_train_2.ckpt"
    assert reproduce(tmp_path) == 0
    assert started(tmp_path) == {"AVDF train_2": 2}


def test_the_screen_says_what_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    patch(monkeypatch, lambda fold: "0")
    fold = Fold(tmp_path, "AVDF", "train_2")
    fold.best.parent.mkdir(parents=True)
    for path in (fold.best, fold.last):
        torch.save({"state_dict": {}, "config": {"config_hash": "another"}}, path)
    assert reproduce(tmp_path) == 0
    said = "AVDF_train_2-last.ckpt is of another configuration, so training does not go on from there. Kept: "
    assert said in capsys.readouterr().err
    assert said in fold.log.read_text()


def test_files_that_cannot_be_moved_fail_their_fold_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    patch(monkeypatch, lambda fold: "0")

    def refuse(fold: Fold, _: str) -> None:
        if fold.name == "train_1":
            raise PermissionError(13, "Permission denied", "train_1")

    monkeypatch.setattr(program, "set_aside_others", refuse)
    assert reproduce(tmp_path, "--folds", "1,2") == 1
    said = capsys.readouterr().err
    assert "AVDF train_1: its earlier files cannot be moved: [Errno 13] Permission denied: 'train_1'" in said
    assert "AVDF train_2: done" in said


def test_a_fold_that_was_not_asked_for_and_cannot_be_read_leaves_the_rest_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    patch(monkeypatch, lambda fold: "0")
    other = Fold(tmp_path, "AVDF", "train_1")
    other.results.mkdir(parents=True)
    other.metrics.write_text("{")
    assert reproduce(tmp_path) == 1
    said = capsys.readouterr().err
    assert "AVDF train_2: done" in said
    assert f"results: {tmp_path / 'results'}" in said
    assert f"the table cannot be made: {other.metrics} is not valid JSON" in said


def test_the_holder_is_the_process_that_works(tmp_path: Path) -> None:
    """It may outlive the one that started it, whose id would lead nowhere."""
    fold = Fold(tmp_path, "AVDF", "train_1")
    note = tmp_path / "seen.txt"
    script = f"""
import os, time
from pathlib import Path
holder, deadline = Path({str(fold.holder)!r}), time.monotonic() + 30
while f"process {{os.getpid()}} of" not in holder.read_text() and time.monotonic() < deadline:
    time.sleep(0.01)
Path({str(note)!r}).write_text(f"{{os.getpid()}}|{{holder.read_text()}}")
"""
    fold.lock.parent.mkdir(parents=True)
    fold.holder.write_text("what a killed process left")
    job = program.Job(fold, {}, [sys.executable, "-c", script])
    with held(fold) as descriptor:
        assert holder_of(fold) == f"{socket.gethostname()}, process {os.getpid()}"
        with Overview({fold: Status("h", 1)}) as overview:
            assert program.run_fold(job, descriptor, overview)[0] == 0
    child, said = note.read_text().split("|")
    assert said == f"{socket.gethostname()}, process {child} of process {os.getpid()}"
    assert not fold.holder.exists()
