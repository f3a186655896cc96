"""train.py and test.py once each with detectors of full size; elsewhere they are small."""

from pathlib import Path

import pytest

from model import MODELS, load_detector
from tests.programs.test_commands import TINY, epochs, test, train
from utils.results import read_scores

pytestmark = pytest.mark.usefixtures("restore_logging")


def test_a_fold_is_trained(short_corpus: Path, tmp_path: Path) -> None:
    assert train("--data_root", short_corpus, "--outputs", tmp_path, *TINY, *epochs(1)) == 0
    weights = load_detector(tmp_path / "ckpts/MRDF_CE/MRDF_CE_train_1.ckpt").state_dict()
    expected = MODELS["MRDF_CE"]().state_dict()
    assert {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in expected.items()
    }
    scores = read_scores(tmp_path / "results/MRDF_CE/train_1/scores.csv")
    assert scores["category"].tolist() == list("ABCD")
    assert scores["score"].between(0, 1).all()


def test_a_released_checkpoint_is_tested(released_checkpoint: Path, prepared_root: Path, tmp_path: Path) -> None:
    arguments = ("--data_root", prepared_root, "--checkpoint", released_checkpoint, "--outputs", tmp_path)
    assert test(*arguments, "--train_fold", "train_2.txt", "--model_type", "MRDF_CE") == 0
    scores = read_scores(tmp_path / "results/MRDF_CE_train_2/train_2/scores.csv")
    assert set(scores["subject"]) == {"id00113"}
    assert scores["score"].between(0, 1).all()
