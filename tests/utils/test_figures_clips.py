"""Confusion, histogram and reliability: counts by hand, absent categories and scores."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import calibration_curve

from tests.utils.test_figures_curves import words
from tests.utils.test_figures_layout import assert_readable, fold
from tests.utils.test_figures_layout import table as random_table
from utils.errors import DataError
from utils.figures.clips import (
    BINS,
    category_counts,
    decision_counts,
    draw_confusion,
    draw_reliability,
    draw_score_histogram,
    needs_log,
)
from utils.statistics.calibration import calibration

# category, score, video_score, audio_score
ROWS = [
    ("A", 0.9, 0.9, 0.9),
    ("A", 0.5, 0.5, 0.5),  # the threshold belongs to real
    ("A", 0.1, 0.2, 0.9),
    ("B", 0.2, 0.9, 0.1),
    ("B", 0.7, 0.8, 0.6),
    ("C", 0.1, 0.1, 0.9),
    ("D", 0.0, 0.1, 0.1),
    ("D", 1.0, 0.49, 0.9),
]


@pytest.fixture
def table() -> pd.DataFrame:
    table = pd.DataFrame(ROWS, columns=["category", "score", "video_score", "audio_score"])
    return table.assign(label=(table["category"] == "A").astype(int), decision=(table["score"] >= 0.5).astype(int))


def steps(figure: Figure, panel: int) -> np.ndarray:
    """Heights that a panel draws; empty if it draws none."""
    patches = [patch for patch in figure.axes[panel].patches if isinstance(patch, StepPatch)]
    return patches[0].get_data().values if patches else np.empty(0)


def test_confusion_counts_by_hand(table: pd.DataFrame) -> None:
    assert_array_equal(decision_counts(table), [[2, 1], [1, 1], [0, 1], [1, 1]])
    assert_array_equal(category_counts(table), [[2, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]])
    figure = draw_confusion(table, "title")
    first, second = figure.axes
    assert_allclose(first.images[0].get_array(), [[2 / 3, 1 / 3], [0.5, 0.5], [0, 1], [0.5, 0.5]])
    assert_allclose(second.images[0].get_array()[0], [2 / 3, 0, 1 / 3, 0])
    assert [text.get_text() for text in first.texts][:4] == ["2\n66.7 %", "1\n33.3 %", "1\n50.0 %", "1\n50.0 %"]
    assert len(second.texts) == 16
    assert [text.get_text() for text in first.get_xticklabels()] == ["real", "fake"]
    assert first.get_yticklabels()[1].get_text() == "B: real video,\nfake audio\nn = 2"
    assert "Decision right: 5 of n = 8 clips (62.50 %). Category right: 5 of n = 8 (62.50 %)." in words(figure)
    frames = [(patch.get_x() + 0.46, patch.get_y() + 0.46) for patch in first.patches]
    assert_allclose(frames, [(0, 0), (1, 1), (1, 2), (1, 3)])


def test_detector_without_modality_scores_has_one_matrix(table: pd.DataFrame) -> None:
    for bare in (table.drop(columns=["audio_score"]), table.assign(video_score=np.nan)):
        figure = draw_confusion(bare, "title")
        assert len(figure.axes) == 1
        assert "Video and audio have no scores of their own here." in words(figure)
        assert_readable(figure)


def test_some_clips_without_modality_scores(table: pd.DataFrame) -> None:
    table.loc[0, "audio_score"] = np.nan
    figure = draw_confusion(table, "title")
    assert "Category right: 4 of n = 7" in words(figure)
    assert "Not in the right matrix: 1 without both scores." in words(figure)
    assert_readable(figure)


def test_absent_category_in_the_confusion(table: pd.DataFrame) -> None:
    figure = draw_confusion(table[table["category"] != "C"], "title")
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts].count("no clip") == 1
    assert "n = 0" in words(figure)
    assert_readable(figure)


def test_histogram_counts(table: pd.DataFrame) -> None:
    figure = draw_score_histogram(table, "title")
    for panel, category in enumerate("ABCD"):
        scores = table.loc[table["category"] == category, "score"]
        assert_array_equal(steps(figure, panel), np.histogram(scores, BINS)[0])
        assert_array_equal(figure.axes[panel].lines[0].get_xdata(), [0.5, 0.5])
    assert steps(figure, 3)[[0, -1]].tolist() == [1, 1]
    assert figure.axes[0].get_title(loc="left") == "A: real video, real audio, n = 3, 2 (66.7 %) at 0.5 or above"
    assert figure.axes[0].get_yscale() == "linear"
    assert len({patch.get_hatch() for axes in figure.axes for patch in axes.patches[:1]}) == 4


def test_histogram_is_logarithmic_where_a_bin_would_vanish() -> None:
    table = pd.DataFrame({"category": "D", "score": [0.01] * 50 + [0.9]})
    figure = draw_score_histogram(table, "title")
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_ylim()[0] < 1
    assert "logarithmic" in words(figure)
    assert not needs_log(np.array([0, 3, 60]))


def test_absent_category_in_the_histogram(table: pd.DataFrame) -> None:
    figure = draw_score_histogram(table[table["category"] != "A"], "title")
    assert steps(figure, 0).size == 0
    assert "no clip of this category" in words(figure)
    assert "A: real video, real audio, n = 0" in words(figure)
    assert_readable(figure)


def test_reliability_points_are_those_of_scikit_learn() -> None:
    table = random_table(3, 200)
    figure = draw_reliability(table, "title")
    real, mean_score = calibration_curve(table["label"], table["score"], n_bins=15)
    assert_allclose(figure.axes[0].lines[1].get_data(), [mean_score, real])
    assert steps(figure, 1).sum() == 200
    counts = steps(figure, 1)[steps(figure, 1) > 0]
    error = np.sum(counts * np.abs(real - mean_score)) / 200
    assert f"Expected calibration error {100 * error:.2f} % in 15 bins of equal width." in words(figure)
    assert "n = 200 clips, 50 real." in words(figure)


def test_reliability_by_hand() -> None:
    # Two bins: 0.02 with none of two real, and 0.99 with one of two. ECE = 2/4 * 0.02 + 2/4 * 0.49.
    table = pd.DataFrame({"label": [0, 0, 1, 0], "score": [0.01, 0.03, 0.98, 1.0]})
    figure = draw_reliability(table, "title")
    assert_allclose(figure.axes[0].lines[1].get_data(), [[0.02, 0.99], [0, 0.5]])
    assert_allclose(figure.axes[0].collections[0].get_segments()[1][:, 1], [0.0945312, 0.9054688], atol=1e-6)  # Wilson
    assert "Expected calibration error 25.50 %" in words(figure)
    assert "no fake clip" in words(draw_reliability(table.query("label == 1"), "title"))
    assert "no real clip" in words(draw_reliability(table.query("label == 0"), "title"))


def test_reliability_before_and_after_calibration() -> None:
    table = random_table(3, 200)
    figure = draw_reliability(table.assign(calibrated=table["score"] ** 2), "title")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["as often as said", "scores", "calibrated scores"]
    after = calibration(table["label"].to_numpy(), table["score"].to_numpy() ** 2)["ece"]
    assert f"% before and {100 * after:.2f} % after calibration" in words(figure)
    assert_readable(figure)


def test_clips_of_an_unknown_category_are_left_out(table: pd.DataFrame) -> None:
    more = pd.concat([table, table.assign(category="")])
    assert "n = 8 clips" in words(draw_confusion(more, "title"))
    assert "n = 8 clips" in words(draw_score_histogram(more, "title"))


@pytest.mark.parametrize("draw", [draw_confusion, draw_score_histogram, draw_reliability])
def test_no_clip_at_all(draw: Callable[..., Figure]) -> None:
    with pytest.raises(DataError, match=r"^no clip .*: there is no (confusion|histogram|reliability diagram) to draw$"):
        draw(fold(1).iloc[:0], "title")
