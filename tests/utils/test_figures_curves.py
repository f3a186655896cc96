"""ROC, DET and precision-recall curves against scikit-learn's, and the folds that have none."""

from collections.abc import Callable
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from scipy.stats import norm
from sklearn.metrics import average_precision_score, det_curve, precision_recall_curve

from tests.utils.test_figures_layout import assert_readable, fold, shown_texts, svg_texts
from utils.errors import DataError
from utils.figures.curves import draw_det, draw_precision_recall, draw_roc
from utils.figures.style import FOLD_STYLES, fold_looks, save_figure
from utils.figures.training import draw_training_curves
from utils.metrics import evaluate

FOLDS = {f"train_{k}": fold(k, 80) for k in (1, 2, 3)}


def words(figure: Figure) -> str:
    """All that a figure says, in one line."""
    return " ".join(" ".join(text.get_text() for text in shown_texts(figure)).split())


def test_det_curve_is_that_of_scikit_learn() -> None:
    axes = draw_det(FOLDS, "title").axes[0]
    low, high = norm.cdf(axes.get_xlim())
    assert (low, high) == (pytest.approx(0.005), pytest.approx(0.6))  # 180 fakes in all
    assert norm.cdf(axes.get_ylim()) == pytest.approx([low, high])
    for k, table in enumerate(FOLDS.values()):
        drawn = norm.cdf(np.column_stack(axes.lines[3 * k].get_data()))
        false_positive, false_negative, _ = det_curve(table["label"], table["score"])
        for point in np.clip(np.column_stack([false_positive, false_negative]), low, 1 - 1e-6):
            assert np.abs(drawn - point).max(axis=1).min() < 1e-9
        mark = norm.cdf(np.ravel(axes.lines[3 * k + 1].get_data()))
        assert_allclose(mark, evaluate(table)["eer"], atol=1e-12)
        assert to_hex(axes.lines[3 * k].get_color()) == FOLD_STYLES[k][0].lower()


def test_det_legend_and_ticks() -> None:
    figure = draw_det(FOLDS, "title")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    rates = [evaluate(table)["eer"] for table in FOLDS.values()]
    assert labels[:3] == [f"train_{k}: EER {100 * rate:.2f}, n = 80" for k, rate in enumerate(rates, start=1)]
    pooled = evaluate(pd.concat(FOLDS.values()))["eer"]
    assert labels[3:] == [f"pooled: EER {100 * pooled:.2f}, n = 240", "equal error rates"]
    assert f"mean of 3 folds {100 * np.mean(rates):.2f} ± {100 * np.std(rates, ddof=1):.2f} %" in words(figure)
    ticks = figure.axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["0.5", "1", "2", "5", "10", "20", "40", "60"]
    assert norm.cdf(figure.axes[0].get_xticks()) == pytest.approx([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6])


def test_det_of_a_perfect_and_of_a_reversed_fold() -> None:
    perfect = fold(0, 8).assign(score=[0.9, 0.1, 0.2, 0.3] * 2)
    reversed_ = perfect.assign(score=1 - perfect["score"])
    axes = draw_det({"train_1": perfect, "train_2": reversed_}, "title").axes[0]
    low, high = axes.get_xlim()
    assert norm.cdf([low, high]) == pytest.approx([0.05, 0.99])  # 12 fakes in all
    assert "Rates below 5 % are drawn at the edge. So are marks above 99 %." in words(axes.figure)
    assert_allclose(axes.lines[1].get_data(), [[low], [low]])
    assert_allclose(axes.lines[4].get_data(), [[high], [high]])
    assert all(np.isfinite(line.get_data()).all() for line in axes.lines)


@pytest.mark.parametrize(("panel", "positive"), [(0, "real"), (1, "fake")])
def test_precision_recall_is_that_of_scikit_learn(panel: int, positive: str) -> None:
    axes = draw_precision_recall(FOLDS, "title").axes[panel]
    everything = [*FOLDS.items(), ("pooled", pd.concat(FOLDS.values()))]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    for k, (name, table) in enumerate(everything):
        label, score = table["label"], table["score"]
        if positive == "fake":
            label, score = 1 - label, -score
        precision, recall, _ = precision_recall_curve(label, score)
        assert_allclose(axes.lines[k].get_data(), [recall, precision], atol=1e-12)
        value = average_precision_score(label, score)
        assert labels[k] == f"{name}: AP {100 * value:.2f}, n = {len(table)}"
        x, y = axes.lines[k].get_data()
        assert -np.sum(np.diff(x) * y[:-1]) == pytest.approx(value)  # the area under the steps
        assert axes.lines[k].get_drawstyle() == "steps-post"
    share, count = (0.25, 60) if positive == "real" else (0.75, 180)
    assert_allclose(axes.lines[-1].get_ydata(), share)
    assert labels[-1] == f"chance: AP {100 * share:.2f} ({count} {positive})"


def test_det_of_tied_scores_goes_through_its_mark() -> None:
    tied = fold(0, 8).assign(score=[0.9, 0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1])
    axes = draw_det({"train_1": tied}, "title").axes[0]
    rates, mark = norm.cdf(axes.lines[0].get_data()), norm.cdf(np.ravel(axes.lines[1].get_data()))
    on_slope = (rates > 0.101).all(axis=0) & (rates[0] < 0.66)  # from (0, 1/2) to (4/6, 0)
    assert on_slope.sum() > 20
    assert_allclose(rates[1][on_slope], 0.5 - 0.75 * rates[0][on_slope], atol=1e-9)
    assert_allclose(mark, 2 / 7)


def test_more_than_five_folds_differ() -> None:
    looks = fold_looks(f"train_{k}" for k in range(1, 13))
    assert len(set(looks.values())) == 12


def test_one_fold_is_not_pooled() -> None:
    assert "pooled" not in words(draw_det({"train_1": FOLDS["train_1"]}, "title"))
    assert "pooled" not in words(draw_precision_recall({"train_1": FOLDS["train_1"]}, "title"))


@pytest.mark.parametrize("draw", [draw_roc, draw_det, draw_precision_recall])
def test_folds_that_cannot_be_drawn_are_named(draw: Callable[..., Figure], caplog: pytest.LogCaptureFixture) -> None:
    table = fold(1)
    odd = {
        "train_1": table.query("label == 0"),
        "train_2": table.query("label == 1"),
        "train_3": table.iloc[:0],
        "train_5": table,
    }
    figure = draw(odd, "title")
    reasons = "Not drawn: train_1 (no real clip), train_2 (no fake clip), train_3 (no clip)."
    assert reasons in words(figure)
    assert reasons in caplog.text
    assert figure.axes[0].lines[0].get_color() == FOLD_STYLES[4][0]  # a fold looks the same in every figure
    assert_readable(figure)


@pytest.mark.parametrize("draw", [draw_roc, draw_det, draw_precision_recall])
def test_nothing_to_draw(draw: Callable[..., Figure]) -> None:
    with pytest.raises(DataError, match=r"no fold has clips of both classes with scores: there is no .* to draw"):
        draw({"train_1": fold(1).query("label == 0")}, "title")


def test_a_fold_has_one_colour_in_all_figures() -> None:
    """Whatever other folds there are, with scores or with logs."""
    later = {"train_3": FOLDS["train_3"]}
    log = {"train_3": pd.DataFrame({"epoch": [0, 1], "val_acc": [0.5, 0.6]})}
    for figure in (draw_roc(later, "t"), draw_det(later, "t"), draw_precision_recall(later, "t")):
        assert to_hex(figure.axes[0].lines[0].get_color()) == FOLD_STYLES[2][0].lower()
    assert to_hex(draw_training_curves(log, {}, "t").axes[2].lines[0].get_color()) == FOLD_STYLES[2][0].lower()


def test_tables_without_the_scores_of_a_modality() -> None:
    bare = {"train_1": FOLDS["train_1"].drop(columns=["video_score", "audio_score"])}
    assert len(draw_det(bare, "title").axes) == 1
    assert len(draw_precision_recall(bare, "title").axes) == 2


def test_files_of_the_figure(tmp_path: Path) -> None:
    figure = draw_roc({f"train_{k}": fold(k) for k in (1, 2, 3)}, "MRDF_CE on FakeAVCeleb")
    save_figure(figure, tmp_path / "figures" / "roc.png")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["roc.png", "roc.svg"]
    image = cv2.imread(str(tmp_path / "figures" / "roc.png"))
    assert min(image.shape[:2]) >= 800
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50
    assert 0.5 < np.mean(image == 255) < 0.98

    texts = svg_texts(tmp_path / "figures" / "roc.svg")
    assert "MRDF_CE on FakeAVCeleb" in texts
    assert "False positive rate (fake clips taken for real)" in texts
    assert "True positive rate (real clips taken for real)" in texts
    assert any("Positive class: real" in text for text in texts)
    for start in ("train_1: AUC", "train_2: AUC", "train_3: AUC", "mean of 3 folds: AUC", "pooled: AUC", "chance"):
        assert sum(text.startswith(start) for text in texts) == 1
    assert sum(text.endswith("n = 40") for text in texts) == 3
    assert sum(text.endswith("n = 120") for text in texts) == 1


def roc_texts(folds: dict[str, pd.DataFrame]) -> list[str]:
    return [text.get_text() for text in shown_texts(draw_roc(folds, "title"))]


def test_legend_has_the_right_numbers() -> None:
    perfect = fold(0, 8).assign(score=[0.9, 0.1, 0.2, 0.3] * 2)
    # the two real clips at 0.25 lie above four of six fakes: AUC 2/3; pooled: (2 * 12 + 2 * 8) / 48 = 5/6
    partly = fold(0, 8).assign(score=[0.25, 0.1, 0.2, 0.3] * 2)
    texts = roc_texts({"train_1": perfect, "train_2": partly})
    assert "train_1: AUC 100.00, n = 8" in texts
    assert "train_2: AUC 66.67, n = 8" in texts
    assert "mean of 2 folds: AUC 83.33 ± 23.57" in texts
    assert "pooled: AUC 83.33, n = 16" in texts


def test_one_fold_has_neither_mean_nor_pooled_curve() -> None:
    texts = roc_texts({"train_2": fold(1)})
    assert any(text.startswith("train_2") for text in texts)
    assert not any(text.startswith(("mean", "pooled")) for text in texts)


def test_same_folds_give_the_same_bytes_and_settings_stay(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for name in ("first", "second"):
        save_figure(draw_roc({"train_1": fold(1), "train_2": fold(2)}, "title"), tmp_path / f"{name}.png")
    for suffix in ("png", "svg"):
        assert (tmp_path / f"first.{suffix}").read_bytes() == (tmp_path / f"second.{suffix}").read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_fold_of_one_class_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    fakes = fold(1).query("label == 0")
    texts = roc_texts({"train_1": fakes, "train_2": fold(2)})
    assert "train_1" in caplog.text
    assert not any(text.startswith("train_1") for text in texts)
    with pytest.raises(DataError, match="there is no ROC to draw"):
        draw_roc({"train_1": fakes}, "title")
