"""What changes do to a detector: differences of AUC with paired intervals, the sentences on them, and the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn.metrics import roc_auc_score

from tests.audit_tables import planted, score_table
from utils.audit.changes import CHANGES
from utils.audit.effects import find_effects
from utils.audit.figure import audit_figure, draw_audit
from utils.audit.sentences import named, sentences

RESAMPLES = 300
PROBES = tuple(change for change in CHANGES if change.kind == "probe")
FEW = tuple(change for change in CHANGES if change.family in ("leading silence", "missing", "shift", "H.264", "MP3"))


def shortcut_table(**aucs: float) -> pd.DataFrame:
    """Shortcuts as `find_shortcuts` gives them, by the AUC of all fakes; those of 0.7 and more are named."""
    rows = []
    for name, auc in aucs.items():
        for category in ("all", "B", "C", "D"):
            facts = {"auc": auc, "low": auc - 0.05, "high": auc + 0.05, "bound": auc - 0.1, "n": 160}
            note = {"named": auc >= 0.7, "note": ""}
            rows.append({"shortcut": name.replace("_", " "), "category": category, **facts, **note})
    return pd.DataFrame(rows)


def row(effects: pd.DataFrame, change: str, category: str = "all") -> pd.Series:
    return effects[(effects["change"] == change) & (effects["category"] == category)].iloc[0]


def one(said: list[str], part: str) -> str:
    (found,) = [sentence for sentence in said if part in sentence]
    return found


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """A detector that goes by the sound and a little by the silence, and not at all by the picture."""
    return score_table(3, 20, planted(silence=0.3, sound=1.0, picture=0.0), FEW)


@pytest.fixture(scope="module")
def effects(scores: pd.DataFrame) -> pd.DataFrame:
    return find_effects(scores, RESAMPLES)


def test_differences_are_those_of_the_aucs(scores: pd.DataFrame, effects: pd.DataFrame) -> None:
    for change in ("leading silence", "shift +40 ms", "missing sound"):
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
    assert row(effects, "missing sound")["matters"]
    matters = effects[effects["matters"] & (effects["kind"] == "probe")]
    assert set(matters["family"]) <= {"leading silence", "missing"}
    assert not row(effects, "missing picture")["matters"]
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
    """Silence and picture are enough each: without one of them the AUC of C stays 1."""
    scores = score_table(1, 30, planted(silence=1.5, sound=1.5, picture=1.5, noise=0.2), FEW[:1])
    effects = find_effects(scores, RESAMPLES)
    silence = row(effects, "leading silence")
    assert silence["before"] == silence["after"] == 1
    assert silence["weaker"]
    assert not silence["matters"]
    said = sentences(shortcut_table(leading_silence=0.95), effects)
    assert "The detector uses it beside other cues" in one(said, "SHORTCUT")


def test_clips_that_a_change_lacks_are_left_out_before_too(scores: pd.DataFrame) -> None:
    lacking = scores[~((scores["change"] == "missing sound") & scores["subject"].isin(["id00000", "id00001"]))]
    found = row(find_effects(lacking, RESAMPLES), "missing sound")
    kept = scores[~scores["subject"].isin(["id00000", "id00001"])]
    original = kept[kept["change"] == "original"]
    assert found["n"] == 72
    assert found["before"] == pytest.approx(roc_auc_score(original["label"], original["score"]), abs=1e-12)


def test_a_change_without_one_class_has_no_auc(scores: pd.DataFrame) -> None:
    lacking = scores[~((scores["change"] == "missing sound") & (scores["label"] == 1))]
    found = row(find_effects(lacking, RESAMPLES), "missing sound")
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


def test_sentences_on_a_detector_that_uses_a_shortcut(effects: pd.DataFrame) -> None:
    said = sentences(shortcut_table(leading_silence=0.98, duration=0.52), effects)
    assert said[0].startswith("The detector tells real from fake where nothing is done to the clips (AUC 0.")
    used = one(said, "SHORTCUT")
    assert used.startswith("SHORTCUT: leading silence alone tells the fakes from real clips (AUC 0.98, 95 % 0.93 to ")
    assert "The detector USES it: its AUC" in used
    assert "with the silence cut off both streams" in used
    assert one(said, "No shortcut") == "No shortcut was found, in 160 clips, in duration (AUC 0.52 at most)."
    assert one(said, "uses the sound").startswith("It uses the sound: its AUC falls from 0.")
    assert one(said, "uses the picture").startswith("That it uses the picture could not be shown")
    assert "could not be shown" in one(said, "go together")
    assert "MP3" in one(said, "Everyday damage")
    assert one(said, "At no level") == "At no level tested was such a loss shown for H.264."


def test_streams_of_other_clips_alone_do_not_show_synchrony() -> None:
    effects = find_effects(score_table(3, 30, planted(silence=0.0), PROBES), RESAMPLES)
    swapped = effects["change"] == "swap sound"
    said = sentences(shortcut_table(loudness=0.5), effects.assign(matters=effects["matters"] | swapped))
    assert one(said, "go together").startswith("With another clip's sound its AUC falls from ")
    shifted = effects["change"] == "shift +80 ms"
    said = sentences(shortcut_table(loudness=0.5), effects.assign(matters=effects["matters"] | swapped | shifted))
    assert one(said, "go together").startswith(
        "It uses how sound and picture go together: with a shift +80 ms of the sound its AUC falls from "
    )


def test_sentences_on_a_detector_that_does_not() -> None:
    effects = find_effects(score_table(3, 30, planted(silence=0.0), FEW), RESAMPLES)
    said = sentences(shortcut_table(leading_silence=0.98), effects)
    assert "The detector does not depend on it: " in one(said, "SHORTCUT")
    assert "95 %" in one(said, "SHORTCUT").split("depend")[1]
    cleared = sentences(shortcut_table(leading_silence=0.55), effects)
    assert not any("SHORTCUT" in sentence for sentence in cleared)
    assert named(shortcut_table(leading_silence=0.55)) == []
    assert named(shortcut_table(leading_silence=0.95, duration=0.5)) == ["leading silence"]


def test_sentences_on_what_was_not_measured(effects: pd.DataFrame) -> None:
    said = sentences(shortcut_table(loudness=0.9, bit_rate_of_the_sound=0.9), effects)
    assert "Whether the detector uses it was not measured." in one(said, "SHORTCUT: loudness")
    assert "The detector may use it, beside other cues: " in one(said, "SHORTCUT: bit rate of the sound")
    of_b = (effects["change"] == "MP3 48 kbit/s") & (effects["category"] == "B")
    losing = effects.assign(matters=effects["matters"] | of_b)
    said = sentences(shortcut_table(bit_rate_of_the_sound=0.9), losing)
    assert "The detector may use it: its AUC for fakes with fake sound (B) goes from " in one(said, "SHORTCUT")
    assert "takes other traces away too" in one(said, "SHORTCUT")
    unknown = shortcut_table(loudness=0.5).assign(auc=np.nan, note="not known")
    assert "Not judged: loudness (not known)." in sentences(unknown, effects)


def test_a_detector_that_falls_though_the_corpus_is_clean(effects: pd.DataFrame) -> None:
    said = sentences(shortcut_table(leading_silence=0.5), effects)
    assert "does not give fakes away by leading silence, but the detector's AUC" in one(said, "it needs what goes")


def test_a_detector_that_tells_nothing() -> None:
    scores = score_table(5, 10, planted(silence=0.0, sound=0.0, picture=0.0), FEW)
    said = sentences(shortcut_table(leading_silence=0.98), find_effects(scores, RESAMPLES))
    assert "does not tell real from fake" in said[0]
    assert "Whether the detector uses it cannot be told." in said[1]
    assert len(said) == 2


def test_a_detector_that_tells_one_kind_of_fake() -> None:
    scores = score_table(5, 6, planted(silence=0.0, sound=0.0, picture=0.0, noise=0.1), FEW)
    scores["score"] += scores["category"].map({"A": 1, "B": -1, "C": 1, "D": 0})
    scores["score"] = (scores["score"] + 1) / 3 + (scores["category"] == "D") * 0.4
    said = sentences(shortcut_table(leading_silence=0.5), find_effects(scores, RESAMPLES))
    assert said[0].startswith("Of the fakes, the detector tells only those with fake sound (B) from real clips (AUC")


def test_a_few_clips_exclude_nothing() -> None:
    scores = score_table(2, 8, planted(silence=0.0, sound=0.5, picture=0.5, noise=1.5), FEW)
    effects = find_effects(scores, RESAMPLES)
    wide = row(effects, "leading silence")
    assert wide["low"] < -0.05
    assert not wide["matters"]
    if row(effects, "original")["matters"] and not wide["weaker"]:
        assert (
            "No dependence of the detector could be shown" in sentences(shortcut_table(leading_silence=0.9), effects)[1]
        )


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
    audit_figure(shortcuts, effects[effects["kind"] == "original"], tmp_path / "none.png", "Audit")
    assert (tmp_path / "none.png").stat().st_size > 10_000
    assert "no probe was made" in (tmp_path / "none.svg").read_text()
