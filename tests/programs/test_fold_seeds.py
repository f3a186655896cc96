"""Each fold starts from a seed of its own, whatever is trained before it."""

import json
from pathlib import Path

import pytest
import torch

from model import read_checkpoint
from tests.programs.test_commands import TINY, epochs, train
from train import fold_seed, title_of
from utils.outputs import Fold

pytestmark = pytest.mark.usefixtures("restore_logging", "small_detectors")


def test_the_first_fold_has_the_seed_itself() -> None:
    assert fold_seed(42, "train_1") == 42
    seeds = {fold_seed(seed, f"train_{number}") for seed in (0, 1, 42) for number in range(1, 6)}
    assert len(seeds) == 15
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(("tested", "unseen"), [(0, True), (2, False), (None, False)])
def test_the_title_says_unseen_only_of_people_who_are(tested: int | None, unseen: bool) -> None:
    title = title_of(Fold(Path("outputs"), "AVDF", "train_1"), {"trained_subjects_tested": tested})
    assert title == "AVDF, train_1: best epoch" + ", on unseen subjects" * unseen


def test_a_fold_trained_alone_equals_that_of_a_run_of_several(short_corpus: Path, tmp_path: Path) -> None:
    common = ("--data_root", short_corpus, "--model_type", "AVDF", *TINY, *epochs(1), "--logger", "none")
    assert train(*common, "--outputs", tmp_path / "both", "--folds", "1,2") == 0
    assert train(*common, "--outputs", tmp_path / "alone", "--folds", "2") == 0
    scores = [tmp_path / run / "results/AVDF/train_2/scores.csv" for run in ("both", "alone")]
    assert scores[0].read_bytes() == scores[1].read_bytes()
    first, second, alone = (
        read_checkpoint(tmp_path / run / f"ckpts/AVDF/AVDF_{fold}.ckpt")
        for run, fold in (("both", "train_1"), ("both", "train_2"), ("alone", "train_2"))
    )
    assert all(torch.equal(value, alone["state_dict"][name]) for name, value in second["state_dict"].items())
    # The front end is not trained, so that it tells how a fold has started.
    frontend = "model.feature_extractor_video.resnet.frontend3D.0.weight"
    assert not torch.equal(first["state_dict"][frontend], second["state_dict"][frontend])
    for config in (second["config"], json.loads((scores[0].parent / "metrics.json").read_text())["config"]):
        assert (config["seed"], config["fold_seed"]) == (42, fold_seed(42, "train_2"))
    assert first["config"]["fold_seed"] == 42
