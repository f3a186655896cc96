"""Flags, defaults and the configuration file."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from main import main
from model import MODELS
from model.training.trainer import close_loggers, make_loggers, make_trainer
from utils.cli import run
from utils.options import RECIPES, TestOptions, TrainOptions

Capture = pytest.CaptureFixture[str]


def test_flags_of_the_release_parse() -> None:
    seen = []
    release = (
        "--dataset fakeavceleb --model_type MRDF_Margin --data_root ./data/FakeAVCeleb_v1.2/ --batch_size 32 "
        "--num_workers 4 --gpus 2 --precision 16 --num_train 10 --num_val 5 --max_epochs 7 --min_epochs 3 --patience 2 "
        "--log_steps 5 --resume auto --save_name run --learning_rate 1e-4 --weight_decay 0 --margin_audio 0.1 "
        "--margin_visual 0.2 --margin_contrast 0.3 --outputs ./elsewhere --folds 1,3 --seed 7 --skip_bad"
    )
    assert run(TrainOptions, seen.append, "train.py", release.split()) == 0
    (options,) = seen
    assert options.fold_names == ["train_1", "train_3"]
    assert (options.margin_audio, options.margin_visual, options.margin_contrast) == (0.1, 0.2, 0.3)
    assert (options.gpus, options.precision, options.resume, options.skip_bad) == (2, "16", "auto", True)

    release = (
        "--data_root ./data/ --model_type MRDF_CE --checkpoint a.ckpt --train_fold train_2.txt --batch_size 8 "
        "--num_workers 2 --gpus 1 --outputs out --precision 32"
    )
    assert run(TestOptions, seen.append, "test.py", release.split()) == 0
    assert seen[1].fold_name == "train_2"


def test_defaults_are_those_of_the_release() -> None:
    options = TrainOptions()
    assert (options.batch_size, options.gpus, options.precision) == (64, 1, "16")
    assert (options.max_epochs, options.min_epochs, options.patience, options.log_steps) == (30, 30, 0, 20)
    assert (options.learning_rate, options.weight_decay, options.seed) == (1e-3, 1e-4, 42)
    assert (options.num_train, options.num_val) == (400, 100)
    assert options.fold_names[:5] == [f"train_{number}" for number in range(1, 6)]


def test_patience_alone_may_end_training_early() -> None:
    assert TrainOptions(patience=3).min_epochs == 1
    assert TrainOptions(patience=3, min_epochs=5).min_epochs == 5


def test_recipes_fill_in_what_is_not_given() -> None:
    clean = TrainOptions(recipe="clean")
    assert (clean.encoder_layers, clean.train_frontend, clean.padding) == (12, True, "mask")
    assert (clean.validation, clean.selection, clean.optimizer) == ("subjects", "auc", "adamw")
    assert (clean.schedule, clean.warmup, clean.gradient_clip) == ("cosine", 0.1, 1.0)
    released = TrainOptions()
    assert (released.encoder_layers, released.train_frontend, released.padding) == (0, False, "cut")
    assert (released.validation, released.selection, released.optimizer) == ("test", "released", "adam")
    assert (released.schedule, released.gradient_clip) == ("plateau", 0.0)
    assert RECIPES["clean"].keys() == RECIPES["released"].keys()
    for name in RECIPES["clean"]:  # each is a flag of its own
        mixed = TrainOptions(recipe="clean", **{name: RECIPES["released"][name]})
        assert getattr(mixed, name) == RECIPES["released"][name]
    assert TrainOptions(recipe="clean", pretrained=Path("base.pt")).encoder_layers is None  # the file has them
    assert TrainOptions(dataset="csv").num_train is None


def test_flags_override_the_configuration_file(tmp_path: Path) -> None:
    seen = []
    (tmp_path / "run.yaml").write_text("model_type: AVDF\nbatch_size: 16\nfolds: 2,4\nskip_bad: true\n")
    arguments = ["--config", str(tmp_path / "run.yaml"), "--batch_size", "8"]
    assert run(TrainOptions, seen.append, "train.py", arguments) == 0
    assert (seen[0].model_type, seen[0].batch_size, seen[0].fold_names) == ("AVDF", 8, ["train_2", "train_4"])
    assert seen[0].skip_bad


def test_bad_options(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for arguments, words in (
        (("--model_type", "Foo"), ["--model_type", *MODELS]),
        (("--folds", "10"), ["--folds", "10"]),
        (("--batch_size", "0"), ["--batch_size", "0"]),
        (("--dataset", "other"), ["--dataset", "fakeavceleb"]),
        (("--bach_size", "4"), ["--bach_size"]),
        (("--config", tmp_path / "absent.yaml"), ["absent.yaml"]),
    ):
        with pytest.raises(SystemExit) as stop:
            run(TrainOptions, lambda options: None, "train.py", [str(argument) for argument in arguments])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert all(word in line for word in words), line


def test_main_lists_its_commands(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    assert "synthesize" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["frobnicate"])
    assert stop.value.code == 2
    assert "synthesize" in capsys.readouterr().err


def test_main_synthesizes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["synthesize", "--subjects", "1", "--seconds", "0.8", "--out"]
    assert main([*arguments, str(tmp_path / "mini")]) == 0
    assert len(list((tmp_path / "mini").rglob("*.mp4"))) == 4
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/work.txt").write_text("keep me")
    assert main([*arguments, str(tmp_path / "mine")]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_a_gpu_is_used_in_mixed_precision_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    monkeypatch.setattr("model.training.trainer.Trainer", lambda **options: seen.update(options))
    make_trainer(2, "16")
    assert (seen["accelerator"], seen["devices"], seen["precision"]) == ("cpu", 1, "32-true")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("model.training.trainer.check_gpus", lambda gpus: None)  # of a machine's GPUs: its own tests
    make_trainer(2, "16")
    assert (seen["accelerator"], seen["devices"], seen["precision"]) == ("gpu", 2, "16-mixed")
    assert seen["strategy"].startswith("ddp")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("tensorboard", [TensorBoardLogger, CSVLogger]), ("csv", [CSVLogger]), ("none", [])],
)
def test_loggers(kind: str, expected: list[type], tmp_path: Path) -> None:
    loggers = make_loggers(kind, tmp_path, "train_2")
    assert [type(logger) for logger in loggers] == expected
    assert {str(logger.log_dir) for logger in loggers} <= {str(tmp_path / "train_2/version_0")}


def test_wandb_groups_the_folds_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    monkeypatch.setattr("model.training.trainer.WandbLogger", lambda name, **options: seen.update(options, name=name))
    assert len(make_loggers("wandb", tmp_path / "MRDF_CE", "train_2")) == 2
    assert (seen["name"], seen["group"]) == ("MRDF_CE train_2", "MRDF_CE")


def test_wandb_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **options: object) -> None:
        raise ModuleNotFoundError("wandb")

    monkeypatch.setattr("model.training.trainer.WandbLogger", missing)
    with pytest.raises(ValueError, match="--logger wandb: the package wandb is not installed; pip install wandb"):
        make_loggers("wandb", tmp_path, "train_2")


def test_wandb_starts_a_run_a_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    class Wandb:
        experiment = SimpleNamespace(finish=lambda: ended.append(True))

    monkeypatch.setattr("model.training.trainer.WandbLogger", Wandb)
    close_loggers(SimpleNamespace(loggers=[Wandb(), object()]))
    assert ended == [True]
