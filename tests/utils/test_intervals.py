"""Intervals of F1, recall, precision and of the heads' AUCs: those of resamples that are built, clip by clip."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.score_tables import random_table, with_heads
from utils.metrics import evaluate
from utils.statistics.bootstrap import METRICS, bootstrap_intervals, subject_weights
from utils.statistics.evaluation import evaluate_table

NAMES = [f"{figure}_{side}" for figure in ("f1", "recall", "precision") for side in ("real", "fake")]
NAMES += ["audio_auc", "video_auc"]


def more_intervals(table: pd.DataFrame, resamples: int = 40, seed: int = 42) -> dict[str, list[float] | None]:
    found = bootstrap_intervals(table, resamples, seed, detailed=True)["intervals"]
    return {name: found[name] for name in found if name not in METRICS}


def test_they_are_those_of_resamples_that_are_built() -> None:
    table = with_heads(random_table(4, 15))
    (weights,) = subject_weights(table["subject"].to_numpy(), 40, 42)
    drawn = [evaluate(table.loc[table.index.repeat(counts.astype(int))]) for counts in weights]
    found = more_intervals(table)
    assert found.keys() == set(NAMES)
    for name in NAMES:
        expected = np.percentile([figures[name] for figures in drawn], [2.5, 97.5])
        assert found[name] == pytest.approx(expected.tolist(), abs=1e-12), name


def test_clips_of_an_unknown_category_are_left_out_of_the_heads() -> None:
    table = with_heads(random_table(4, 15))
    unknown = table.tail(20).assign(category="")
    some = pd.concat([table.head(40), unknown])
    found, expected = more_intervals(some), more_intervals(table.head(40))
    assert found["audio_auc"] == expected["audio_auc"]
    assert found["f1_real"] != expected["f1_real"]


def test_evaluation_has_them_in_detail() -> None:
    table = with_heads(random_table(4, 15))
    intervals = evaluate_table(table, 40, 42, detailed=True)["bootstrap"]["intervals"]
    assert {name: intervals[name] for name in NAMES} == more_intervals(table)


def test_where_there_are_none() -> None:
    table = with_heads(random_table(4, 15))
    assert more_intervals(table[table["label"] == 1]) == {}
    assert more_intervals(table, 0) == {}
    never = more_intervals(table.assign(decision=0, audio_score=np.nan))
    assert never["precision_real"] is None
    assert never["recall_real"] == pytest.approx([0, 3 / 15])
    assert "audio_auc" not in never
