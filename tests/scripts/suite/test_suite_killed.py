"""A suite that is killed at any moment, run twice at once, or left with cut files ends with the very same table."""

import hashlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import utils.files
from dataset import read_corpus
from main import main
from scripts.suite.scoring import COLUMNS, Bench, Cell, Scored
from utils.errors import DataError

ROOT = Path(__file__).parents[3]
WRITTEN = ["suite.md", "suite.csv", "suite.tex", "suite.json", "suite.html", "heatmap.png", "heatmap.svg"]
RUN = ["suite", "plan.yaml", "--bootstrap", "20", "--outputs"]
CELLS = 6  # two detectors with checkpoints, of which one has one a fold, on three corpora
START = multiprocessing.get_context("fork")


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restore_logging: None) -> Path:
    """A suite of two detectors and another's scores, whose scores are made up from the clips' names."""
    monkeypatch.chdir(tmp_path)
    names = [f"{k}.mp4" for k in range(40)]
    for corpus in "abc":
        (tmp_path / corpus).mkdir()
        subjects = [f"{corpus}{k // 4}" for k in range(40)]
        table = pd.DataFrame({"file": names, "subject": subjects, "category": [*"ABCD"] * 10})
        table.assign(split="test").to_csv(tmp_path / corpus / "clips.csv", index=False)
    for name in ("one.ckpt", "two_train_1.ckpt", "two_train_2.ckpt"):
        (tmp_path / name).write_text(name)
    pd.DataFrame({"file": names, "score": np.linspace(0, 1, 40)}).to_csv("theirs.csv", index=False)
    corpora = "".join(f"  {name}: {{dataset: csv, data_root: {name}, protocols: [official]}}\n" for name in "abc")
    (tmp_path / "plan.yaml").write_text(
        "detectors:\n  one: one.ckpt\n  two: {train_1: two_train_1.ckpt, train_2: two_train_2.ckpt}\n"
        f"  theirs: {{scores: theirs.csv, polarity: real}}\ncorpora:\n{corpora}groups: {{all: [a, b]}}\n"
    )

    def stub(bench: Bench, cell: Cell) -> Scored:
        moment()
        time.sleep(0.01)  # so that two suites are at it at the same time
        clips = read_corpus(cell.test.data_root, cell.test.dataset)
        seeds = [hashlib.sha256(f"{cell.source.name} {cell.test.name} {file}".encode()) for file in clips["file"]]
        score = [int.from_bytes(seed.digest()[:4], "big") / 2**32 for seed in seeds]
        table = clips.assign(label=clips["m_label"].astype(int), score=score, reason="")
        record = {"protocol": "official", "fold_meaning": "", "trained_subjects_tested": None, "trained_on": "a"}
        with open("scored.txt", "a", encoding="utf-8") as out:
            out.write(f"{cell.name}\n")
        return Scored(table[COLUMNS], record | {"threshold": 0.5, "threshold_of": "given"})

    def replace(*paths: Path) -> None:
        moment()  # the file is written, but not in its place
        os_replace(*paths)
        moment()

    os_replace = os.replace
    monkeypatch.setattr(Bench, "_test", stub)
    monkeypatch.setattr(utils.files.os, "replace", replace)
    return tmp_path


MOMENTS_LEFT = [0]  # of this process; below 1 it lives on


def moment() -> None:
    """Pass a moment, of which the last is not survived."""
    MOMENTS_LEFT[0] -= 1
    if MOMENTS_LEFT[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def start(outputs: str, moments: int = 0) -> multiprocessing.context.ForkProcess:
    """Start the suite in a process of its own, which is killed at the last of so many moments; 0: not at all."""

    def run() -> None:
        MOMENTS_LEFT[0] = moments
        sys.exit(main([*RUN, outputs]))

    process = START.Process(target=run)
    process.start()
    return process


def finish(process: multiprocessing.context.ForkProcess) -> None:
    process.join(600)
    assert process.exitcode == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in WRITTEN}


def test_killed_at_any_moment(plan: Path) -> None:
    finish(start("undisturbed"))
    assert len((plan / "scored.txt").read_text().splitlines()) == CELLS
    (plan / "scored.txt").unlink()

    # Five moments of a detector on a corpus: it is scored, scores.csv is written and is in its place, and so for
    # record.json. The first does not count for the scores of others. Then two moments of each table.
    folder = plan / "killed" / "suite" / "plan"
    done = []
    for moments in (2, 4, 13, 17, 15, 8):
        process = start("killed", moments)
        process.join(600)
        assert process.exitcode == -signal.SIGKILL
        done.append(len(list(folder.glob("scores/*/record.json"))))
    finish(start("killed"))
    assert contents(folder) == contents(plan / "undisturbed" / "suite" / "plan")
    assert done == [0, 0, 2, 5, 8, 9]
    # The first detector alone was killed between its scoring and its record, twice; the other times it was theirs.csv.
    assert len((plan / "scored.txt").read_text().splitlines()) == CELLS + 2
    assert not list(folder.rglob(".*.tmp"))


def test_two_suites_of_one_folder_at_once(plan: Path) -> None:
    finish(start("alone"))
    (plan / "scored.txt").unlink()
    both = [start("shared"), start("shared")]
    for process in both:
        finish(process)
    assert contents(plan / "shared" / "suite" / "plan") == contents(plan / "alone" / "suite" / "plan")
    assert len((plan / "scored.txt").read_text().splitlines()) == CELLS


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_file_that_was_cut_is_made_again(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = plan / "out" / "suite" / "plan"
    assert main([*RUN, "out"]) == 0
    before = contents(folder)
    assert "scored again" not in capsys.readouterr().err
    cells = sorted(folder.glob("scores/*"))
    for cell, name in zip(cells, ("scores.csv", "record.json"), strict=False):
        cut(cell / name)
    (cells[2] / "scores.csv").write_bytes(b"")
    (cells[3] / "record.json").unlink()
    assert main([*RUN, "out"]) == 0
    assert contents(folder) == before
    assert capsys.readouterr().err.count("scored again") == 4


def test_each_row_says_its_checkpoint_and_a_clip_that_has_come_is_scored(plan: Path) -> None:
    assert main([*RUN, "out"]) == 0
    folder = plan / "out" / "suite" / "plan"
    table = pd.read_csv(folder / "suite.csv").set_index(["test", "detector"])["sources"]
    assert table["a, official", "one"] == "train_1: one.ckpt"
    assert table["a, official", "two"] == "train_1: two_train_1.ckpt"
    assert table["a, official", "theirs"] == "train_1: theirs.csv"
    digest = hashlib.sha256(b"two_train_1.ckpt").hexdigest()[:12]
    rows = [[cell.strip() for cell in line.split("|")] for line in (folder / "suite.md").read_text().splitlines()]
    assert ["", "b, official", "two", "train_1", "two_train_1.ckpt", digest, ""] in rows

    (plan / "a" / "0.mp4").write_bytes(b"clip")
    (plan / "scored.txt").unlink()
    assert main([*RUN, "out"]) == 0
    assert len((plan / "scored.txt").read_text().splitlines()) == 2


def test_others_are_tested_when_one_fails(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(bench: Bench, cell: Cell, stub: Callable[[Bench, Cell], Scored] = Bench._test) -> Scored:
        if cell.detector.name == "one" and cell.test.corpus == "b":
            raise DataError("no space on it")
        return stub(bench, cell)

    with monkeypatch.context() as patched:
        patched.setattr(Bench, "_test", fail)
        assert main([*RUN, "out"]) != 0
    assert len(pd.read_csv(plan / "out" / "suite" / "plan" / "suite.csv")) == 3 * 3 - 1
    assert main([*RUN, "out"]) == 0
    assert len((plan / "scored.txt").read_text().splitlines()) == CELLS


@pytest.mark.slow
def test_the_command_itself_killed(original_root: Path, released_checkpoint: Path, tmp_path: Path) -> None:
    """A real detector with processes that load clips, which outlive the killed one for a moment."""
    table = read_corpus(original_root).assign(split="test")
    table[["file", "subject", "category", "method", "split"]].to_csv(original_root / "clips.csv", index=False)
    (tmp_path / "plan.yaml").write_text(f"""
        detectors: {{ours: {released_checkpoint}}}
        corpora:
          Whole: {{dataset: csv, data_root: {original_root}, protocols: [official, {{trim_silence: true}}]}}
    """)

    def begin(outputs: str) -> subprocess.Popen[bytes]:
        options = ["--outputs", outputs, "--bootstrap", "20", "--num_workers", "2", "--gpus", "0"]
        command = [sys.executable, str(ROOT / "main.py"), "suite", "plan.yaml", *options]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    began = time.monotonic()
    assert begin("undisturbed").wait() == 0
    whole = time.monotonic() - began
    draw = random.Random(3)
    for _ in range(4):
        process = begin("killed")
        time.sleep(draw.uniform(0.4, 0.95) * whole)
        process.kill()
        process.wait()
    assert begin("killed").wait() == 0
    assert contents(tmp_path / "killed/suite/plan") == contents(tmp_path / "undisturbed/suite/plan")
