"""The hardest clips of report.html: which they are, and how they are shown."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from scripts.report import command
from scripts.report.clips import BARS, COUNT, envelope, hardest, outline, strip
from tests.report_files import (
    build_page,
    write_run,
)
from tests.score_tables import random_table, table_of


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take their time, and are looked at in one report only."""
    monkeypatch.setattr(command, "figures", lambda run, log_dir: ([], [str(log_dir)]))


def test_hardest_clips() -> None:
    scores = random_table(3, subjects=30)
    for label, sign in ((1, 1), (0, -1)):
        own = scores[scores["label"] == label]
        chosen = hardest(scores.sample(frac=1, random_state=0), label)
        expected = own.assign(key=sign * own["score"]).sort_values("key").head(COUNT)
        assert list(chosen["file"]) == list(expected["file"])
        truth = own.loc[chosen.index, "score"] if label else 1 - own.loc[chosen.index, "score"]
        np.testing.assert_allclose(chosen["loss"], -np.log(truth), rtol=1e-12)


def test_hardest_clips_without_a_loss_that_is_finite() -> None:
    scores = table_of("AAB", [0.0, 1.0, 1.0])
    assert list(hardest(scores, 1)["loss"]) == [np.inf, 0.0]
    assert str(hardest(scores, 1)["loss"].iloc[1]) == "0.0"
    assert list(hardest(scores, 0)["loss"]) == [np.inf]
    assert hardest(scores[:2], 0).empty


def test_strip_and_waveform() -> None:
    frames = np.repeat(np.arange(0, 250, 10, dtype=np.uint8), 16 * 16 * 3).reshape(25, 16, 16, 3)
    row = cv2.imdecode(np.frombuffer(strip(frames), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert row.shape == (16, 8 * 16)
    shown = row.reshape(16, 8, 16).mean((0, 2))
    np.testing.assert_allclose(shown, [0, 30, 70, 100, 140, 170, 210, 240], atol=3)
    assert cv2.imdecode(np.frombuffer(strip(frames[:3]), np.uint8), cv2.IMREAD_GRAYSCALE).shape == (16, 3 * 16)
    low, high = envelope(np.array([-100, 50, 0, 200], np.int16))
    assert (list(low), list(high)) == ([-0.5, 0.25, 0, 1], [-0.5, 0.25, 0, 1])
    low, high = envelope(np.full(16_000, -(1 << 15), np.int16))
    assert (len(low), set(low), set(high)) == (BARS, {-1}, {-1})
    assert not envelope(np.zeros(5, np.int16))[0].any()
    assert outline(np.zeros(1, np.int16)) == ("M0,20.0L0,20.0Z", 1)


def test_without_a_corpus_and_with_a_wrong_one(tmp_path: Path, no_figures: None) -> None:
    write_run(tmp_path / "results" / "run", {"train_1": random_table(1)})
    assert "Frames and audio are not shown: --data_root says where" in build_page(tmp_path / "results").said()
    said = build_page(tmp_path / "results", tmp_path / "nowhere").said()
    assert f"Frames and audio are not shown: {tmp_path / 'nowhere'}: no such folder" in said


def test_a_corpus_without_these_clips(tmp_path: Path, reference: Path, no_figures: None) -> None:
    write_run(tmp_path / "results" / "run", {"train_1": random_table(1)})
    page = build_page(tmp_path / "results", reference / "corpus" / "original")
    assert "has none of these clips" in page.said()
    assert page.all("svg") == []
