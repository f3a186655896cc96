"""What changes do to a detector: differences of AUC with paired intervals, the sentences on them, and the figure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn.metrics import roc_auc_score

from scripts.audit.effects import find_effects
from scripts.audit.report import draw_audit
from scripts.audit.sentences import sentences
from tests.audit_tables import FEW, PROBES, one, planted, row, score_table, shortcut_table
from utils.figures.style import save_figure

RESAMPLES = 300


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """A detector that goes by the audio and a little by the silence, and not at all by the video."""
    return score_table(3, 20, planted(silence=0.3, audio=1.0, video=0.0), FEW)


@pytest.fixture(scope="module")
def effects(scores: pd.DataFrame) -> pd.DataFrame:
    return find_effects(scores, RESAMPLES)


def test_differences_are_those_of_the_aucs(scores: pd.DataFrame, effects: pd.DataFrame) -> None:
    for change in ("leading silence", "shift +40 ms", "missing audio"):
        for category in ("all", "C"):
            chosen = scores["category"].isin(["A", *("BCD" if category == "all" else category)])
            auc = {
                name: roc_auc_score(part["label"], part["score"])
                for name, part in scores[chosen].groupby("change")
                if name in ("original", change)
            }
            found = row(effects, change, category)
            assert found["before"] == pytest.approx(auc["original"], abs=1e-12)
            assert found["after"] == pytest.approx(auc[change], abs=1e-12)
            assert found["difference"] == pytest.approx(auc[change] - auc["original"], abs=1e-12)
            assert found["low"] <= found["difference"] <= found["high"]
    assert list(effects["category"].unique()) == ["all", "B", "C", "D"]
    assert row(effects, "original")["n"] == 80
    assert row(effects, "original", "B")["n"] == 40


def test_what_matters(effects: pd.DataFrame) -> None:
    assert row(effects, "leading silence")["matters"]
    assert row(effects, "missing audio")["matters"]
    matters = effects[effects["matters"] & (effects["kind"] == "probe")]
    assert set(matters["family"]) <= {"leading silence", "missing"}
    assert not row(effects, "missing video")["matters"]
    assert row(effects, "original")["matters"]


def test_a_change_of_nothing() -> None:
    scores = score_table(1, 8, planted(noise=0.0), FEW)
    effects = find_effects(scores, RESAMPLES)
    same = row(effects, "shift +80 ms")
    assert (same["difference"], same["low"], same["high"]) == (0, 0, 0)
    assert not same["matters"]
    assert not same["weaker"]
    assert same["gap_before"] == same["gap_after"]


def test_where_the_auc_stays_the_scores_may_tell() -> None:
    """Silence and video are enough each: without one of them the AUC of C stays 1."""
    scores = score_table(1, 30, planted(silence=1.5, audio=1.5, video=1.5, noise=0.2), FEW[:1])
    effects = find_effects(scores, RESAMPLES)
    silence = row(effects, "leading silence")
    assert silence["before"] == silence["after"] == 1
    assert silence["weaker"]
    assert not silence["matters"]
    said = sentences(shortcut_table(leading_silence=0.95), effects)
    assert "The detector uses it beside other cues" in one(said, "SHORTCUT")


def test_clips_that_a_change_lacks_are_left_out_before_too(scores: pd.DataFrame) -> None:
    lacking = scores[~((scores["change"] == "missing audio") & scores["subject"].isin(["id00000", "id00001"]))]
    found = row(find_effects(lacking, RESAMPLES), "missing audio")
    kept = scores[~scores["subject"].isin(["id00000", "id00001"])]
    original = kept[kept["change"] == "original"]
    assert found["n"] == 72
    assert found["before"] == pytest.approx(roc_auc_score(original["label"], original["score"]), abs=1e-12)


def test_a_change_without_one_class_has_no_auc(scores: pd.DataFrame) -> None:
    lacking = scores[~((scores["change"] == "missing audio") & (scores["label"] == 1))]
    found = row(find_effects(lacking, RESAMPLES), "missing audio")
    assert np.isnan([found["before"], found["difference"], found["low"]]).all()
    assert not found["matters"]
    with pytest.raises(ValueError, match="no change 'original'"):
        find_effects(scores[scores["change"] != "original"], RESAMPLES)


def test_probes_without_effect_are_not_said_to_matter() -> None:
    """As many false alarms as `ERROR_RATE` allows, over all probes together."""
    alarms = [
        find_effects(score_table(seed, 8, planted(noise=0.6), PROBES[1:]), 100, seed)["matters"][4:].any()
        for seed in range(100, 103)
    ]
    assert alarms == [False] * 3


def test_the_figure(effects: pd.DataFrame, tmp_path: Path) -> None:
    shortcuts = shortcut_table(leading_silence=0.98, duration=0.52)
    figure = draw_audit(shortcuts, effects, "Audit")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    panels = [axes for part in figure.subfigs for axes in part.axes]
    assert [axes.get_title() for axes in panels[:2]] == [
        "What single facts give away", "What the detector loses without it"
    ]  # fmt: skip
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["★ leading silence", "duration"]
    titles = [axes.get_title() for axes in panels[2:] if axes.has_data()]
    assert titles == ["H.264", "MP3"]
    # The curve of all fakes: untouched, then its five levels.
    curve = panels[2].lines[0].get_ydata()
    damage = effects[(effects["family"] == "H.264") & (effects["category"] == "all")]
    assert list(curve) == [row(effects, "original")["after"], *damage["after"]]
    save_figure(draw_audit(shortcuts, effects[effects["kind"] == "original"], "Audit"), tmp_path / "none.png")
    assert (tmp_path / "none.png").stat().st_size > 10_000
    assert "no probe was made" in (tmp_path / "none.svg").read_text()
