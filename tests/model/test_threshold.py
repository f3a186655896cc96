"""The threshold and the calibration that a checkpoint holds of its validation clips."""

import pandas as pd
import pytest

from model.threshold import (
    calibration_of,
    threshold_of,
    validation_calibration,
    validation_threshold,
    with_calibration,
)
from tests.score_tables import random_table, with_heads
from utils.metrics import evaluate
from utils.statistics.calibration import fit_platt
from utils.summary import calibration_notes


def checkpoint_of(table: pd.DataFrame, **config: str) -> dict:
    return {"threshold": validation_threshold(table), **validation_calibration(table), "config": config}


def test_clip_and_heads_are_fitted_with_their_own_labels() -> None:
    table = with_heads(random_table(1, 40))
    unknown = table.head(8).assign(label=-1, category="", score=0.0)
    checkpoint = checkpoint_of(pd.concat([table, unknown]))
    assert calibration_of(checkpoint) == fit_platt(table["label"].to_numpy(), table["score"].to_numpy())
    audio_real = table["category"].isin(["A", "C"]).to_numpy(int)
    assert calibration_of(checkpoint, "audio") == fit_platt(audio_real, table["audio_score"].to_numpy())
    assert threshold_of(checkpoint).clips == 160
    without = checkpoint_of(random_table(1, 40))
    assert (calibration_of(without, "audio"), calibration_of({})) == (None, None)


@pytest.mark.parametrize(("validation", "fold", "same"), [("test", "train_1", True), ("subjects", "train_1", False),
                                                          ("test", "train_2", False)])  # fmt: skip
def test_a_test_says_what_calibration_does(validation: str, fold: str, same: bool) -> None:
    checkpoint = checkpoint_of(random_table(1, 40), validation=validation, fold="train_1", corpus="FakeAVCeleb")
    test = random_table(2, 40)
    table, metrics = with_calibration(checkpoint, test, evaluate(test), {"corpus": "FakeAVCeleb", "fold": fold})
    record = metrics["calibration"]
    threshold = threshold_of(checkpoint).value
    assert ((table["probability"] >= 0.5) == (table["score"] >= threshold)).all()
    assert evaluate(table.assign(score=table["probability"]))["auc"] == metrics["auc"]
    assert record["on_test_clips"] is same
    assert any("the very clips of this test" in note for note in calibration_notes(record)) is same
    assert record["after"]["ece"] < record["before"]["ece"]


def test_without_a_calibration_nothing_is_added() -> None:
    test = random_table(2, 40)
    table, metrics = with_calibration({}, test, {"n": 160}, {})
    assert table is test
    assert metrics == {"n": 160, "calibration": None}
    assert calibration_notes(None) == []
