"""What test.py takes from a checkpoint's training, and where it puts the results of which test."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import test as test_program
from utils.options import TestOptions
from utils.outputs import fold_of


@pytest.mark.parametrize(
    ("checkpoint", "trained", "warned"),
    [
        ("AVDF_train_1.ckpt", {"fold": "train_1", "corpus": "FakeAVCeleb"}, True),
        ("any.ckpt", {"fold": "train_1"}, True),
        ("AVDF_train_1.ckpt", {}, True),  # of the release, which does not say
        ("AVDF_train_2.ckpt", {"fold": "train_2", "corpus": "FakeAVCeleb"}, False),
        ("AVDF_train_1.ckpt", {"fold": "train_1", "corpus": "another"}, False),
        ("any.ckpt", {}, False),
    ],
)
def test_a_checkpoint_that_knows_the_people_is_named(
    checkpoint: str, trained: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    options = TestOptions(data_root=Path("data"), checkpoint=Path(checkpoint), train_fold="train_2.txt")
    test_program.warn_of_training(options, trained, "FakeAVCeleb")
    said = f"{checkpoint} was trained on train_1, so on most people that train_2.txt tests"
    assert (said in caplog.text) is warned
    assert bool(caplog.records) is warned


def options_of(checkpoint: str = "any.ckpt", **given: Any) -> TestOptions:
    return TestOptions(data_root=Path("data"), checkpoint=Path(checkpoint), **given)


@pytest.mark.parametrize(
    ("checkpoint", "trained", "fold"),
    [("any.ckpt", {"fold": "train_3"}, "train_3"), ("AVDF_train_2.ckpt", {}, "train_2"), ("any.ckpt", {}, "train_1")],
)
def test_the_fold_of_the_checkpoint_is_tested(checkpoint: str, trained: dict[str, Any], fold: str) -> None:
    options = options_of(checkpoint)
    test_program.as_trained(options, trained)
    assert options.fold_name == fold
    options = options_of(checkpoint, train_fold="train_5.txt")
    test_program.as_trained(options, trained)
    assert options.fold_name == "train_5"


def test_a_checkpoint_of_the_release_is_tested_in_float32() -> None:
    options = options_of()
    test_program.as_trained(options, {})
    assert (options.precision, options.batch_size, options.num_val) == ("32", 64, 100)
    for precision in ("16", "bf16-mixed"):
        options = options_of()
        test_program.as_trained(options, {"precision": precision})
        assert options.precision == precision


TRAINED = {
    "fold": "train_2", "corpus": "FakeAVCeleb", "dataset": "fakeavceleb", "protocol": "mrdf-5fold", "precision": "16",
    "gpus": 1, "batch_size": 64, "max_frames": 500, "trim_silence": False, "clips": {"test": "0123456789abcdef"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({}, "train_2"),
        ({"fold": "train_1"}, "train_1@checkpoint-of-train_2"),
        ({"corpus": "LAV-DF", "dataset": "lavdf", "protocol": "official"}, "train_2@LAV-DF"),
        ({"corpus": "my corpus/ü", "dataset": "csv"}, "train_2@my_corpus_ü"),
        ({"protocol": "official"}, "train_2@official"),
        ({"precision": "32"}, "train_2@precision-32"),
        ({"gpus": 2, "batch_size": 8}, "train_2@gpus-2+batch-8"),
        ({"clips": {"test": "fedcba9876543210"}}, "train_2@clips-fedcba98"),
    ],
)
def test_only_the_runs_own_test_has_the_place_of_the_fold(changed: dict[str, Any], name: str) -> None:
    assert test_program.place_of(TRAINED | changed, TRAINED, "any") == name


def test_the_place_of_a_checkpoint_of_the_release() -> None:
    tested = TRAINED | {"precision": "32", "corpus": "a part of FakeAVCeleb"}
    assert test_program.place_of(tested, {}, "MRDF_CE_train_2") == "train_2"
    assert test_program.place_of(tested, {}, "MRDF_CE_train_1") == "train_2@checkpoint-of-train_1"
    lavdf = {"corpus": "LAV-DF", "dataset": "lavdf", "protocol": "official"}
    assert test_program.place_of(tested | lavdf, {}, "MRDF_CE_train_2") == "train_2@LAV-DF"


@pytest.mark.parametrize("corpus", ["FakeAVCeleb", "another"])
def test_whom_training_showed_is_not_written_into_the_results(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the checkpoint is of the corpus that is tested or of another."""
    clips = pd.DataFrame({"subject": ["a"], "file": ["a.mp4"]})
    told: dict[str, Any] = {"protocol": "official", "trained_subjects_tested": None}
    data = SimpleNamespace(
        setup=lambda stage: None, dataset="fakeavceleb", corpus="FakeAVCeleb", skipped=[], notes={},
        test_clips=lambda: clips, protocol_record=lambda trained: told,
    )  # fmt: skip
    written: list[dict[str, Any]] = []
    config = {**TRAINED, "corpus": corpus, "padding": "mask", "trained_subjects": ["a", "b"]}
    replaced = {
        "read_checkpoint": lambda path: {"config": config},
        "detector_of": lambda *given: None,
        "log_run": lambda path: None,
        "corpus_folder": lambda *given: tmp_path,
        "find_cache": lambda *given: None,
        "FakeAVCelebDataModule": lambda *given, **more: data,
        "taken_by": lambda *given: {},
        "clips_digest": lambda clips: "digest",
        "make_trainer": lambda *given, **more: SimpleNamespace(is_global_zero=True),
        "score_fold": lambda *given: None,
        "write_test": lambda folder, scored, checkpoint, config, title: written.append(config),
    }
    for name, stand_in in replaced.items():
        monkeypatch.setattr(test_program, name, stand_in)
    test_program.test_fold(options_of(outputs=tmp_path))
    assert "trained_subjects" not in written[0]


def test_of_several_folds_in_a_files_name_the_last_is_meant() -> None:
    assert fold_of({}, "train_1_again_train_7") == "train_7"
    assert fold_of({"fold": "train_6"}, "MRDF_train_2") == "train_6"
    assert fold_of({}, "train_2024") is None
