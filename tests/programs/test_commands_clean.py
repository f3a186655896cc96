"""train.py and test.py under recipe `clean`, and from AV-HuBERT's weights, as a user runs them."""

import json
import lzma
from pathlib import Path

import pandas as pd
import pytest

from model import load_detector, read_checkpoint
from tests.programs.test_commands import TINY, epochs, test, train
from utils.results import read_scores

pytestmark = pytest.mark.usefixtures("restore_logging")


CLEAN = ("--recipe", "clean", "--encoder_layers", 1, "--num_train", 2, "--accumulate", 2, "--batch_size", 2)


@pytest.mark.usefixtures("small_detectors")
def test_clean_recipe(short_corpus: Path, tmp_path: Path) -> None:
    """What is recorded, and that neither scores nor figures depend on the batch size of the test."""
    assert train("--data_root", short_corpus, "--outputs", tmp_path, *TINY, *CLEAN, *epochs(2)) == 0
    metrics = json.loads((tmp_path / "results/MRDF_CE/train_1/metrics.json").read_text())
    expected = {"recipe": "clean", "encoder_layers": 1, "padding": "mask", "validation": "subjects", "selection": "auc"}
    assert {name: metrics["config"][name] for name in expected} == expected

    checkpoint = tmp_path / "ckpts/MRDF_CE/MRDF_CE_train_1.ckpt"
    scores = []
    for size in (1, 4):
        outputs = tmp_path / f"by {size}"
        arguments = (
            "--data_root",
            short_corpus,
            "--checkpoint",
            checkpoint,
            "--outputs",
            outputs,
            "--batch_size",
            size,
        )
        assert test(*arguments) == 0
        scores.append(read_scores(outputs / f"results/MRDF_CE/train_1@batch-{size}/scores.csv")["score"])
        again = json.loads((outputs / f"results/MRDF_CE/train_1@batch-{size}/metrics.json").read_text())
        assert again | {"config": None} == metrics | {"config": None}
    assert (scores[0] - scores[1]).abs().max() < 1e-5
    log = pd.read_csv(tmp_path / "log/MRDF_CE/train_1/version_0/metrics.csv")
    assert log["lr"].dropna().is_monotonic_decreasing


@pytest.mark.slow  # bfloat16 convolutions are slow on most CPUs
def test_pretrained_in_bfloat16(short_corpus: Path, tmp_path: Path, reference: Path) -> None:
    """A small encoder in fairseq's own format: its shape is taken over, and the checkpoint needs no file beside it."""
    official = tmp_path / "official.pt"
    official.write_bytes(lzma.decompress((reference / "avhubert_official_format_omegaconf.pt.xz").read_bytes()))
    options = ("--recipe", "clean", "--pretrained", official, "--num_train", 2, "--batch_size", 2)
    more = ("--freeze_encoder_steps", 1, "--backbone_learning_rate", 1e-5, "--precision", "bf16-mixed")
    assert train("--data_root", short_corpus, "--outputs", tmp_path, *TINY, *options, *more, *epochs(1)) == 0
    config = json.loads((tmp_path / "results/MRDF_CE/train_1/metrics.json").read_text())["config"]
    assert (config["pretrained"], config["precision"]) == (str(official), "bf16-mixed")
    assert config["encoder_layers"] == 2
    official.unlink()
    detector = load_detector(tmp_path / "ckpts/MRDF_CE/MRDF_CE_train_1.ckpt")
    assert len(detector.model.encoder.layers) == 2
    assert detector.hparams.encoder["layer_norm_first"]
    scores = read_scores(tmp_path / "results/MRDF_CE/train_1/scores.csv")["score"]
    assert scores.between(0, 1).all()


def test_pretrained_file_that_is_none(short_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.pt").write_text("no checkpoint")
    assert train("--data_root", short_corpus, "--outputs", tmp_path, *TINY, "--pretrained", tmp_path / "words.pt") == 2
    assert "words.pt" in capsys.readouterr().err.splitlines()[-1]


def test_layers_that_the_pretrained_file_has_not(
    short_corpus: Path, tmp_path: Path, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    official = tmp_path / "official.pt"
    official.write_bytes(lzma.decompress((reference / "avhubert_official_format_omegaconf.pt.xz").read_bytes()))
    options = ("--pretrained", official, "--encoder_layers", 6)
    assert train("--data_root", short_corpus, "--outputs", tmp_path, *TINY, *options) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"train.py: error: --encoder_layers 6: the encoder of --pretrained {official} has 2 layers; "
        "omit --encoder_layers"
    )


@pytest.mark.usefixtures("small_detectors")
def test_weights_that_the_last_step_of_an_epoch_breaks(
    short_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are validated before they are saved, and neither saved nor tested."""
    for recipe in ("released", "clean"):
        options = ("--recipe", recipe, "--encoder_layers", 0, "--num_train", 2, "--batch_size", 64)
        broken = ("--learning_rate", 1e30, "--warmup", 0, "--save_name", recipe)
        assert train("--data_root", short_corpus, "--outputs", tmp_path, *TINY, *options, *broken, *epochs(1)) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("train.py: error: epoch 1, validation: the loss or a score is NaN or infinite")
        assert "RealVideo-RealAudio/" in line
        assert not list(tmp_path.glob("ckpts/**/*.ckpt"))
        assert not list(tmp_path.glob("results/**/metrics.json"))


@pytest.mark.usefixtures("small_detectors")
def test_a_resumed_run_has_the_rate_that_it_is_given(
    short_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--data_root", short_corpus, "--outputs", tmp_path, *TINY)
    assert train(*common, *epochs(1)) == 0
    last = tmp_path / "ckpts/MRDF_CE/MRDF_CE_train_1-last.ckpt"
    for odd, message in (
        (("--backbone_learning_rate", 1e-5), "was trained without --backbone_learning_rate; leave it out"),
        (("--optimizer", "adamw"), "it was trained with --optimizer adam; give that"),
    ):
        assert train(*common, *epochs(2), "--resume", last, *odd) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert train(*common, *epochs(2), "--resume", last, "--learning_rate", 1e-6) == 0
    (group,) = read_checkpoint(last)["optimizer_states"][0]["param_groups"]
    assert group["lr"] == 1e-6
    metrics = json.loads((tmp_path / "results/MRDF_CE/train_1/metrics.json").read_text())
    assert metrics["config"]["learning_rate"] == 1e-6
    log = (tmp_path / "log/MRDF_CE/train.log").read_text()
    assert "--learning_rate: 1e-06 from here on, in place of the checkpoint's 0.0005" in log
