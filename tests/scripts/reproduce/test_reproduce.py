"""main.py reproduce: who does which fold, what is done, what stops; and killed runs that end with the same numbers."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from main import main
from model.training.saving import WholeCheckpoints
from scripts.reproduce.command import make_job, share_of
from scripts.reproduce.fold_lock import held
from scripts.reproduce.fold_state import Fold, config_hash, figures_of, set_aside_others
from scripts.reproduce.overview import Overview, State, Status, duration
from tests.reproduce_tools import CORPUS, patch, started
from utils.cli import run
from utils.options import TrainOptions, plain
from utils.results import SCORE_COLUMNS, read_folds

pytestmark = pytest.mark.usefixtures("restore_logging")


def reproduce(*arguments: object) -> int:
    """Exit code of the command."""
    try:
        return main(["reproduce", *map(str, arguments)])
    except SystemExit as ended:
        return ended.code


def config_of(**changed: Any) -> dict[str, Any]:
    return plain(TrainOptions(data_root=CORPUS, **changed))


def test_hash_changes_with_what_decides_the_numbers_alone(prepared_root: Path) -> None:
    expected = config_hash(config_of())
    for same in (
        {"outputs": Path("elsewhere"), "num_workers": 3, "cache_dir": Path("cache"), "log_steps": 1},
        {"resume": "auto", "folds": "2", "save_name": "other"},
        {"learning_rate": 1e-3, "recipe": "released", "num_train": 400},  # what the recipe says anyway
    ):
        assert config_hash(config_of(**same)) == expected, same
    for other in ({"seed": 1}, {"max_epochs": 31}, {"recipe": "clean"}, {"model_type": "AVDF"}, {"gpus": 2},
                  {"learning_rate": 2e-3}, {"skip_bad": True}, {"pretrained": Path("absent.pt")}):  # fmt: skip
        assert config_hash(config_of(**other)) != expected, other
    here = config_of() | {"data_root": str(prepared_root)}
    assert config_hash(here) == expected  # the same data elsewhere
    table = prepared_root / "meta_data.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    assert config_hash(here) != expected


def test_the_command_asks_for_the_configuration_that_is_looked_for(tmp_path: Path) -> None:
    options = {"data_root": CORPUS, "outputs": tmp_path, "learning_rate": 3e-4, "train_frontend": False}
    options |= {"skip_bad": True, "precision": "32", "max_frames": 7, "num_workers": None}
    job = make_job("MRDF_Margin", "3", options)
    seen: list[TrainOptions] = []
    assert run(TrainOptions, seen.append, "train.py", job.command[2:]) == 0
    assert config_hash(plain(seen[0])) == job.config["config_hash"]
    assert (seen[0].model_type, seen[0].save_name, seen[0].fold_names) == ("MRDF_Margin", "MRDF_Margin", ["train_3"])
    assert (seen[0].resume, seen[0].outputs) == ("auto", tmp_path)


def test_the_configuration_repeats_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch(monkeypatch, lambda fold: "0")
    flags = ("--models", "AVDF,MRDF_CE", "--folds", "2", "--learning_rate", "2e-3", "--train_frontend")
    assert reproduce("--data_root", CORPUS, "--outputs", tmp_path, *flags) == 0
    assert set(started(tmp_path).values()) == {1}
    assert reproduce("--config", tmp_path / "results/reproduce.yaml") == 0
    assert started(tmp_path) == {"AVDF train_2": 1, "MRDF_CE train_2": 1}  # all of it was done already
    assert reproduce("--config", tmp_path / "results/reproduce.yaml", "--learning_rate", "1e-3") == 0
    assert set(started(tmp_path).values()) == {2}


def test_files_of_another_configuration_are_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fold = Fold(tmp_path, "AVDF", "train_1")
    fold.best.parent.mkdir(parents=True)
    fold.results.mkdir(parents=True)
    original = {
        "ckpts/AVDF/AVDF_train_1.ckpt",
        "ckpts/AVDF/AVDF_train_1-last.ckpt",
        "results/AVDF/train_1/metrics.json",
    }

    def names() -> set[str]:
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}

    def write(digest: str) -> None:
        config = {"config_hash": digest}
        for path in (fold.best, fold.last):
            torch.save({"state_dict": {}, "config": config}, path)
        fold.results.mkdir(exist_ok=True)
        fold.metrics.write_text(json.dumps({"config": config, "per_category": {}, "n": 1, "acc": 1.0}))

    write("a")
    set_aside_others(fold, "a")
    assert names() == original
    assert not caplog.records
    set_aside_others(fold, "b")
    first = {"ckpts/AVDF/AVDF_train_1.1.ckpt", "ckpts/AVDF/AVDF_train_1-last.1.ckpt"}
    first |= {"results/AVDF/train_1.1/metrics.json"}
    assert names() == first
    assert (
        "AVDF_train_1-last.ckpt is of another configuration, so training does not go on from there. Kept: "
        in caplog.text
    )
    write("b")
    assert read_folds(tmp_path / "results/AVDF").index.tolist() == ["train_1"]
    for path in (fold.best, fold.last):
        path.write_bytes(b"cut short")
    set_aside_others(fold, "b")
    assert names() == first | {name.replace(".1", ".2") for name in first}
    assert "AVDF_train_1-last.ckpt: not a PyTorch checkpoint" in caplog.text


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run" / "last.ckpt"
    writer = WholeCheckpoints()
    writer.save_checkpoint({"epoch": 1}, path)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]

    def fail(_: object, file: Any) -> None:
        file.write(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        writer.save_checkpoint({"epoch": 2}, path)
    assert torch.load(path) == {"epoch": 1}


def test_figures_of_another_test_are_not_those_of_the_fold(tmp_path: Path) -> None:
    fold = Fold(tmp_path, "AVDF", "train_1")
    config = config_of(model_type="AVDF")
    config["config_hash"] = config_hash(config)
    fold.results.mkdir(parents=True)
    scores = fold.results / "scores.csv"
    scores.write_text(f"{','.join(SCORE_COLUMNS)}\na.mp4,id1,A,real,1,0.5,,,1\n")

    def written(**found: Any) -> bool:
        found = {"checkpoint": "moved/since/AVDF_train_1.ckpt"} | found
        fold.metrics.write_text(json.dumps({"config": config | found, "per_category": {}, "n": 1}))
        return figures_of(fold, config) is not None

    assert figures_of(fold, config) is None
    assert written()
    assert written(data_root="moved since")
    assert not written(config_hash="another")
    assert written(train_fold="train_1.txt")  # by test.py
    assert not written(train_fold="train_1.txt", num_val=3)
    assert not written(train_fold="train_1.txt", data_root="another")
    assert not written(train_fold="train_1.txt", checkpoint="moved/since/AVDF_train_2.ckpt")
    assert not written(checkpoint=None)
    assert written()
    scores.write_text(f"{','.join(SCORE_COLUMNS)}\n")
    assert not written()
    scores.unlink()
    assert not written()


def test_one_failure_does_not_stop_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    common = ("--data_root", CORPUS, "--outputs", tmp_path, "--models", "AVDF,MRDF_CE", "--folds", "1,2")
    behaviours = {"AVDF train_1": "fail", "AVDF train_2": "die", "MRDF_CE train_1": "nothing"}
    patch(monkeypatch, lambda fold: behaviours.get(fold, "0"))
    assert reproduce(*common) == 1
    said = capsys.readouterr().err
    assert "3 of 4 folds failed" in said
    assert "AVDF train_1: exit code 1: train.py: error: a flag is broken" in said
    assert "AVDF train_2: killed by SIGKILL: so far so good" in said
    assert "MRDF_CE train_1: train.py left no results of this configuration: it said nothing" in said
    assert "MRDF_CE train_2: done 75.00/50.00" in said
    assert "| MRDF_CE" in (tmp_path / "results/table.md").read_text()

    patch(monkeypatch, lambda fold: "0")
    assert reproduce(*common) == 0
    assert started(tmp_path) == {"AVDF train_1": 2, "AVDF train_2": 2, "MRDF_CE train_1": 2, "MRDF_CE train_2": 1}
    assert reproduce(*common, "--seed", 7) == 0
    assert started(tmp_path)["MRDF_CE train_2"] == 2  # another configuration is done anew
    table = json.loads((tmp_path / "results/table.json").read_text())
    assert [row["run"] for row in table["rows"]] == ["AVDF", "MRDF_CE"]


def test_shards_have_every_fold_once() -> None:
    jobs = list(range(30))
    shares = [share_of(jobs, f"{k}/4") for k in range(1, 5)]
    assert sorted(job for share in shares for job in share) == jobs
    assert shares[1][:2] == [1, 5]
    assert share_of(jobs, None) == jobs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--models", "AVDF,MRDF"), "--models AVDF,MRDF: MRDF unknown; known are AVDF, AVDF_Ensemble"),
        (("--models", ","), "--models ,: names no detector; known are AVDF, AVDF_Ensemble"),
        (("--shard", "5/4"), "--shard 5/4: must be such as 2/4"),
        (("--shard", "2"), "--shard 2: must be such as 2/4"),
        (("--folds", "0"), "--folds 0: must be fold numbers from 1 to 9"),
        (("--data_root", "absent"), "absent"),
        (("--resume", "auto"), "--resume"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], message: str, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    assert reproduce("--data_root", CORPUS, "--outputs", tmp_path, *arguments) == 2
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_locked_fold_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    patch(monkeypatch, lambda fold: "0")
    fold = Fold(tmp_path, "AVDF", "train_1")
    keeper = held(fold)
    assert keeper.__enter__() is not None
    with held(fold) as descriptor:
        assert descriptor is None
    said = ""

    def let_go(_: float) -> None:
        nonlocal said
        said += capsys.readouterr().err
        if "waiting for" in said and fold.holder.exists():
            keeper.__exit__(None, None, None)

    monkeypatch.setattr("scripts.reproduce.command.time.sleep", let_go)
    assert reproduce("--data_root", CORPUS, "--outputs", tmp_path, "--models", "AVDF", "--folds", "1,2") == 0
    lines = (said + capsys.readouterr().err).splitlines()
    parts = ("train_1: locked elsewhere", "train_2: done", "train_1: waiting for", "train_1: done")
    places = [next(k for k, line in enumerate(lines) if part in line) for part in parts]
    assert places == sorted(places)
    assert f"process {os.getpid()}" in lines[places[2]]
    assert started(tmp_path) == {"AVDF train_1": 1, "AVDF train_2": 1}


def test_overview(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folds = {Fold(tmp_path, run, f"train_{k}"): Status("h", 10) for run in ("AVDF", "MRDF_CE") for k in (1, 2)}
    first, second, third, fourth = folds
    console = Console(force_terminal=True, width=100, record=True)
    with Overview(folds, Console(force_terminal=False)) as overview:
        assert overview.seconds_left() is None
        overview.set(first, State.RUNNING)
        first.results.mkdir(parents=True)
        progress = {"epoch": 4, "max_epochs": 10, "seconds": 240.0, "config_hash": "h"}
        first.progress.write_text(json.dumps(progress))
        overview.refresh()
        second.results.mkdir(parents=True)
        second.progress.write_text(json.dumps(progress | {"config_hash": "of another configuration"}))
        overview.refresh()
        overview.refresh()
        assert overview.seconds_left() == pytest.approx(60 * (6 + 30))
        record = {"environment": {"hours": 0.5, "epochs": 10}}
        overview.done(third, {"acc": 0.9405, "auc": 0.91, "config": record})
        assert overview.seconds_left() == pytest.approx(60 * (6 + 10) + 180 * 10)
        overview.set(fourth, State.FAILED, "exit code 2: no test clips")
        console.print(overview.render())
    shown = console.export_text()
    for part in ("running, epoch 4/10", "waiting", "done 94.05/91.00", "failed", "1 of 4 folds done"):
        assert part in shown
    assert "MRDF_CE train_2: exit code 2: no test clips" in shown
    assert [record.getMessage() for record in caplog.records if "epoch" in record.getMessage()] == [
        "AVDF train_1: running, epoch 0/10",
        "AVDF train_1: running, epoch 4/10; about 36 min left",
    ]
    assert duration(3 * 3600 + 20 * 60) == "about 3 h 20 min"
