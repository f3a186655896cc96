"""What becomes of a fold's files when it is trained again, or after an accident."""

import errno
import json
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import train as train_program
from model.training.resume import Start, make_way, start_of
from model.training.trainer import WholeCheckpoints
from tests.reproduce_tools import CORPUS
from utils import outputs
from utils.cli import run
from utils.errors import DataError
from utils.options import TrainOptions
from utils.outputs import Fold, held, holder_of, is_held, write_options
from utils.signals import Stopped

ASKED = {"model_type": "AVDF", "fold": "train_1", "optimizer": "adam", "backbone_learning_rate": None}


def options(outputs: Path, **changed: Any) -> TrainOptions:
    return TrainOptions(data_root=CORPUS, outputs=outputs, **({"model_type": "AVDF", "folds": "1"} | changed))


def asked(digest: str, **changed: Any) -> dict[str, Any]:
    """A configuration."""
    return ASKED | {"config_hash": digest, "clips": {"train": "t", "val": "v", "test": "v"}} | changed


def begin(fold: Fold, digest: str, resume: str | None = "auto", **more: Any) -> Start:
    """What a fold starts from, after the way was made free."""
    start = start_of(fold, asked(digest), resume, **more)
    make_way(fold, start)
    return start


def write(path: Path, digest: str, epoch: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {}, "config": asked(digest), "epoch": epoch}, path)


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


def test_a_fold_goes_on_from_its_last_checkpoint(fold: Fold) -> None:
    start = begin(fold, "a")
    assert (start.path, start.checkpoint["epoch"], start.in_the_way) == (fold.last, 5, ())
    fold.last.unlink()
    start = begin(fold, "a")
    assert (start.path, start.checkpoint["epoch"], start.in_the_way) == (fold.best, 3, ())


def test_the_checkpoint_to_go_on_from_is_read_once(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = torch.load

    def load(path: Path, *arguments: Any, mmap: bool = False, **options: Any) -> dict[str, Any]:
        if not mmap:
            read.append(Path(path).name)
        return real(path, *arguments, mmap=mmap, **options)

    monkeypatch.setattr(torch, "load", load)
    start = begin(fold, "a")
    assert WholeCheckpoints(start.path, start.checkpoint).load_checkpoint(start.path)["epoch"] == 5
    assert read == [fold.last.name]


def test_a_damaged_last_checkpoint_makes_way_for_the_best(fold: Fold, caplog: pytest.LogCaptureFixture) -> None:
    fold.last.write_bytes(b"broken")
    start = begin(fold, "a")
    assert (start.path, start.checkpoint["epoch"]) == (fold.best, 3)
    assert "AVDF_train_1-last.ckpt: not a PyTorch checkpoint, or damaged" in caplog.text
    assert "so the fold goes on from AVDF_train_1.ckpt" in caplog.text
    assert names(fold) == COMPLETE - {"AVDF_train_1-last.ckpt"} | {"AVDF_train_1-last.1.ckpt"}
    assert begin(fold, "a").in_the_way == ()


def test_without_its_best_checkpoint_a_fold_starts_anew(fold: Fold, caplog: pytest.LogCaptureFixture) -> None:
    fold.best.unlink()
    fold.metrics.unlink()
    assert begin(fold, "a").path is None
    assert "AVDF_train_1.ckpt, the best epoch, is missing beside AVDF_train_1-last.ckpt" in caplog.text
    assert names(fold) == ASIDE - {"AVDF_train_1.1.ckpt"}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"config": {}, "per_category": {}, "n": 1}'])
def test_metrics_alone_do_not_undo_a_training(fold: Fold, content: bytes) -> None:
    fold.metrics.write_bytes(content)
    assert begin(fold, "a").path == fold.last
    assert names(fold) == COMPLETE


def test_a_checkpoint_without_a_configuration_is_of_another(fold: Fold) -> None:
    for config in (None, [1]):
        torch.save({"state_dict": {}, "config": config}, fold.best)
        assert start_of(fold, asked("a"), "auto").path is None


def test_training_anew_writes_over_nothing_of_another_configuration(
    fold: Fold, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    begin(fold, "a", None)
    assert names(fold) == COMPLETE
    assert "AVDF train_1 was trained with these options before: its checkpoints and results are re" in caplog.text
    begin(fold, "b", None)
    assert names(fold) == ASIDE
    assert "AVDF_train_1-last.ckpt is of another configuration, so training does not go on from there" in caplog.text
    caplog.clear()
    assert begin(fold, "b", None) == Start()
    assert not caplog.records
    for path in (fold.best, fold.last):
        path.write_bytes(b"cut short")
    begin(fold, "b")
    assert names(fold) == ASIDE | {name.replace(".1", ".2") for name in ASIDE if name != "train_1.1"}


def test_a_job_that_was_queued_again_goes_on(fold: Fold) -> None:
    assert start_of(fold, asked("a"), None).path is None
    assert start_of(fold, asked("a"), None, requeued=True).path == fold.last
    assert start_of(fold, asked("b"), None, requeued=True).path is None
    other = fold.last.with_name("other-last.ckpt")
    write(other, "x", epoch=9)
    assert start_of(fold, asked("a"), str(other), requeued=True).path == fold.last
    assert start_of(fold, asked("b"), str(other), requeued=True).path == other


def test_what_was_trained_on_other_clips_is_not_gone_on_from(fold: Fold) -> None:
    config = asked("b", clips={"train": "another fold file", "val": "v", "test": "v"})
    with pytest.raises(DataError, match=r"AVDF_train_1-last\.ckpt: it was trained on other clips"):
        start_of(fold, config, str(fold.last))


def test_what_cannot_start_leaves_everything_as_it_was(
    fold: Fold, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, restore_logging: None
) -> None:
    def refuse(*_: object) -> None:
        raise DataError("--logger wandb: the package wandb is not installed")

    monkeypatch.setattr(train_program, "make_loggers", refuse)
    arguments = ["--data_root", CORPUS, "--outputs", fold.outputs, "--model_type", "AVDF", "--folds", "1"]
    assert run(TrainOptions, train_program.train, "train.py", list(map(str, arguments))) == 2
    assert "--logger wandb: " in capfd.readouterr().err
    assert names(fold) == COMPLETE  # and no config.yaml


def test_going_on_from_a_file(fold: Fold) -> None:
    """From its own, which stays where it is; and from one set aside, whose best epoch comes with it."""
    assert begin(fold, "b", str(fold.last)).path == fold.last
    assert names(fold) == COMPLETE
    begin(fold, "b")
    write(fold.best, "b", epoch=1)
    resumed = fold.last.with_name("AVDF_train_1-last.1.ckpt")
    start = begin(fold, "c", str(resumed))
    assert (start.path, start.checkpoint["epoch"]) == (resumed, 5)
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


def test_a_fold_has_one_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fold = Fold(tmp_path, "AVDF", "train_1")
    monkeypatch.setattr(outputs, "GRACE_SECONDS", 0)
    with held(fold):
        assert is_held(fold)
        assert holder_of(fold) == f"{socket.gethostname()}, process {os.getpid()}"
        with pytest.raises(DataError, match=f"AVDF train_1 is being trained by .*process {os.getpid()}; wait for it"):
            held(fold).__enter__()
    assert not is_held(fold)
    assert holder_of(fold) == "another process"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """As some of clusters are: a file that is there while the lock is held does instead."""
    caplog.set_level(logging.INFO)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    fold = Fold(tmp_path, "AVDF", "train_1")
    with held(fold):
        assert is_held(fold)
    assert not is_held(fold)
    assert f"the file system of {fold.lock.parent} knows no locks (No locks available)" in caplog.text


@pytest.mark.parametrize("raised", ["on writing", "on closing"])
def test_a_full_disk_leaves_the_earlier_checkpoint(
    raised: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run" / "last.ckpt"
    writer = WholeCheckpoints()
    writer.save_checkpoint({"epoch": 1}, path)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]

    def fail(_: object, file: Any) -> None:
        file.write(b"half of it")
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            if raised == "on writing":
                raise
            raise RuntimeError("unexpected pos")  # noqa: B904, as PyTorch does

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(DataError, match=r"last\.ckpt: the checkpoint cannot be written .No space left on device"):
            writer.save_checkpoint({"epoch": 2}, path)
    assert torch.load(path) == {"epoch": 1}
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", stopped)
        with pytest.raises(Stopped, match="SIGTERM"):
            writer.save_checkpoint({"epoch": 2}, path)
    monkeypatch.setattr(torch, "save", fault)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        writer.save_checkpoint({"epoch": 2}, path)


def stopped(*_: object) -> None:
    """A signal while PyTorch writes, on top of which it says that its archive has no end."""
    try:
        raise Stopped(signal.SIGTERM)
    except Stopped:
        raise RuntimeError("unexpected pos")  # noqa: B904


def fault(*_: object) -> None:
    raise RuntimeError("a fault of ours")
