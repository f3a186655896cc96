"""What becomes of a fold's files when it is trained again, or after an accident."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import train as train_program
from scripts.reproduce.fold_start import make_room, write_options
from scripts.reproduce.fold_state import Fold, resumable, set_aside_others
from tests.reproduce_tools import CORPUS
from utils.cli import run
from utils.options import TrainOptions


def options(outputs: Path, **changed: Any) -> TrainOptions:
    return TrainOptions(data_root=CORPUS, outputs=outputs, **({"model_type": "AVDF", "folds": "1"} | changed))


def write(path: Path, digest: str, epoch: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {}, "config": {"config_hash": digest}, "epoch": epoch}, path)


@pytest.fixture
def fold(tmp_path: Path) -> Fold:
    """A fold that was trained in configuration "a"."""
    fold = Fold(tmp_path, "AVDF", "train_1")
    write(fold.best, "a", epoch=3)
    write(fold.last, "a", epoch=5)
    fold.results.mkdir(parents=True)
    figures = {"config": {"config_hash": "a"}, "per_category": {}, "n": 1}
    fold.metrics.write_text(json.dumps(figures))
    return fold


def names(fold: Fold) -> set[str]:
    return {path.name for path in (*fold.best.parent.iterdir(), *fold.results.parent.iterdir())}


COMPLETE = {"AVDF_train_1.ckpt", "AVDF_train_1-last.ckpt", "train_1"}
ASIDE = {"AVDF_train_1.1.ckpt", "AVDF_train_1-last.1.ckpt", "train_1.1"}


def test_a_damaged_last_checkpoint_makes_way_for_the_best(fold: Fold) -> None:
    fold.last.write_bytes(b"broken")
    assert resumable(fold, "a") == fold.best
    said = set_aside_others(fold, "a")
    assert "AVDF_train_1-last.ckpt: not a PyTorch checkpoint, or cut short, so the fold goes on from AVDF_tr" in said
    assert names(fold) == COMPLETE - {"AVDF_train_1-last.ckpt"} | {"AVDF_train_1-last.1.ckpt"}
    assert resumable(fold, "a") == fold.best
    assert set_aside_others(fold, "a") is None


def test_without_its_best_checkpoint_a_fold_starts_anew(fold: Fold) -> None:
    fold.best.unlink()
    fold.metrics.unlink()
    assert resumable(fold, "a") is None
    assert "AVDF_train_1.ckpt, the best epoch, is missing beside AVDF_train_1-last.ckpt" in set_aside_others(fold, "a")
    assert names(fold) == ASIDE - {"AVDF_train_1.1.ckpt"}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"config": {}, "per_category": {}, "n": 1}'])
def test_metrics_alone_do_not_undo_a_training(fold: Fold, content: bytes) -> None:
    fold.metrics.write_bytes(content)
    assert set_aside_others(fold, "a") is None
    assert resumable(fold, "a") == fold.last
    assert names(fold) == COMPLETE


def test_a_checkpoint_without_a_configuration_is_of_another(fold: Fold) -> None:
    for config in (None, [1]):
        torch.save({"state_dict": {}, "config": config}, fold.best)
        assert resumable(fold, "a") is None


def test_training_anew_writes_over_nothing_of_another_configuration(
    fold: Fold, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    make_room(options(fold.outputs), fold, "a")
    assert names(fold) == COMPLETE
    assert "AVDF train_1 was trained with these options before: its checkpoints and results are re" in caplog.text
    make_room(options(fold.outputs), fold, "b")
    assert names(fold) == ASIDE
    assert "AVDF_train_1-last.ckpt is of another configuration, so training does not go on from there" in caplog.text
    caplog.clear()
    make_room(options(fold.outputs), fold, "b")
    assert not caplog.records


def test_what_cannot_start_leaves_everything_as_it_was(
    fold: Fold, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, restore_logging: None
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("--logger wandb: the package wandb is not installed")

    monkeypatch.setattr(train_program, "make_loggers", refuse)
    arguments = ["--data_root", CORPUS, "--outputs", fold.outputs, "--model_type", "AVDF", "--folds", "1"]
    assert run(TrainOptions, train_program.train, "train.py", list(map(str, arguments))) == 2
    assert "--logger wandb: " in capfd.readouterr().err
    assert names(fold) == COMPLETE  # and no config.yaml


def test_going_on_from_a_file(fold: Fold) -> None:
    """From its own, which stays where it is; and from one set aside, whose best epoch comes with it."""
    make_room(options(fold.outputs, resume=str(fold.last)), fold, "b")
    assert names(fold) == COMPLETE
    make_room(options(fold.outputs, resume="auto"), fold, "b")
    write(fold.best, "b", epoch=1)
    resumed = fold.last.with_name("AVDF_train_1-last.1.ckpt")
    make_room(options(fold.outputs, resume=str(resumed)), fold, "c")
    assert torch.load(fold.best)["epoch"] == 3
    assert torch.load(fold.best.with_name("AVDF_train_1.2.ckpt"))["epoch"] == 1


def test_the_options_of_a_run_have_all_its_folds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "results/AVDF/config.yaml"

    def written() -> dict[str, Any]:
        return yaml.safe_load(path.read_text())

    for number in ("2", "1"):  # as reproduce does
        write_options(options(tmp_path, folds=number, resume="auto"))
    assert (written()["folds"], written()["resume"]) == ("1,2", None)
    assert not caplog.records
    write_options(options(tmp_path, folds="3", seed=7, resume="some.ckpt"))
    assert (written()["folds"], written()["resume"], written()["seed"]) == ("3", "some.ckpt", 7)
    assert yaml.safe_load(path.with_name("config.1.yaml").read_text())["folds"] == "1,2"
    assert "config.yaml is of other options: kept as config.1.yaml" in caplog.text
    path.write_text("{")
    write_options(options(tmp_path))
    assert written()["folds"] == "1"
    assert path.with_name("config.2.yaml").read_text() == "{"
