"""What main.py predict prints, writes, draws and remembers."""

import csv
import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from model.threshold import Threshold
from scripts.predict.arguments import FoundClip
from scripts.predict.figure import draw_clip, write_figure
from scripts.predict.journal import Journal, journal_path
from scripts.predict.output import (
    as_csv,
    as_json,
    clip_line,
    described,
    head_lines,
    name_width,
    numbers,
    printable,
    put,
    summary_line,
)
from scripts.predict.prediction import ClipResult, Decision, Prediction, WindowScore
from scripts.predict.preview import Preview

PLAIN = ClipResult(seconds=12.0, faces=1, crop=True, windows=[WindowScore(0.0, 12.0, 0.75)])
HEADS = ClipResult(
    seconds=25.0,
    faces=2,
    crop=False,
    notes=["2 faces: the most visible one is used"],
    windows=[
        WindowScore(0.0, 20.0, 0.05, 0.90, 0.03),
        WindowScore(5.0, 25.0, 0.01, 0.92, 0.01),
    ],
)
FAULT = ClipResult("no audio", "c.mp4: has no audio")
CLIPS = {"a.mp4": PLAIN, "long name.mp4": HEADS, "c.mp4": FAULT}


def at(threshold: float) -> Decision:
    return Decision(Threshold(threshold, "given"))


def judged(decision: Decision, clips: dict[str, ClipResult] = CLIPS) -> list[Prediction]:
    return [decision.judge(file, result) for file, result in clips.items()]


def test_a_line_a_clip() -> None:
    width = name_width(list(CLIPS))
    assert [clip_line(clip, 0.47, width) for clip in judged(at(0.47))] == [
        "a.mp4           REAL   0.750 (real from 0.47)   1 window",
        "long name.mp4   FAKE   0.030 (real from 0.47)   audio real 0.91   video fake 0.02   "
        "2 windows, lowest 0.010 at 5.0 s   [2 faces: the most visible one is used]",
        "c.mp4           NOT SCORED   no audio: has no audio",
    ]
    gone = at(0.47).judge("d.mp4", ClipResult("no such file", "d.mp4: no such file"))
    assert clip_line(gone, 0.5, 0) == "d.mp4   NOT SCORED   no such file"
    assert summary_line([*judged(at(0.47)), gone, at(0.47).judge("c.mp4", FAULT)]) == (
        "2 scored: 1 real, 1 fake; 3 not scored (no audio 2, no such file 1)"
    )
    assert summary_line(judged(at(0.8), {"a.mp4": PLAIN})) == "1 scored: 0 real, 1 fake; 0 not scored"


def test_the_side_of_the_threshold_can_be_seen() -> None:
    assert numbers(0.4698, 0.4703) == "0.469800 (real from 0.4703)"
    assert numbers(0.4688, 0.4703) == "0.469 (real from 0.47)"
    assert numbers(0.46998, 0.47004) == "0.469980 (real from 0.47004)"
    assert numbers(0.5, 0.5) == "0.500000000 (real from 0.5)"


def test_calibrated_probabilities() -> None:
    """Half at the threshold unless a prior is given; a higher prior of fakes makes real less likely."""
    platts = {"slope": 2.0, "intercept": 1.0, "prior": 0.75, "clips": 40}
    checkpoint = {"threshold": {"value": 0.47, "rule": "eer", "clips": 40}, "calibration": platts}
    checkpoint |= {"audio_calibration": platts, "config": {"validation": "test", "fold": "train_1"}}
    decision = Decision.of(checkpoint, None, None)
    assert decision.probability(0.47) == pytest.approx(0.5)
    assert decision.probability(0.5, "audio") == pytest.approx(0.5)
    assert decision.probability(0.5, "video") is None
    said = decision.judge("b.mp4", HEADS)
    assert said.probability == decision.probability(said.score) < 0.5
    assert (said.audio_probability > 0.5, said.video_probability) == (True, None)
    rare = Decision.of(checkpoint, 0.3, 0.01)
    assert rare.threshold == Threshold(0.3, "given")
    assert rare.probability(0.47) > Decision.of(checkpoint, 0.3, 0.5).probability(0.47)
    assert "   p 0." in clip_line(decision.judge("a.mp4", PLAIN), 0.47, 0)
    (line,) = (line for line in head_lines("AVDF", Path("a.ckpt"), decision) if line.startswith("p = "))
    assert "calibrated on the clips of the test fold, by which the epoch was picked too (train_1) (40 clips)" in line
    content = json.loads(as_json(Path("a.ckpt"), rare, {}, judged(rare)))
    assert content["calibration"]["prior_of_fakes"] == 0.01
    assert content["clips"][0]["probability"] == pytest.approx(rare.probability(0.75))
    table = pd.read_csv(io.StringIO(as_csv(Path("a.ckpt"), 0.47, judged(decision))))
    assert table["calibrated_p_real"].notna().tolist() == [True, True, False]


def test_where_the_threshold_comes_from() -> None:
    assert described(Threshold()) == "real from 0.5 on (the checkpoint holds none; --threshold sets another)"
    assert described(Threshold(0.3, "given")) == "real from 0.3 on (as --threshold says)"
    chosen = Threshold(0.47, "eer", "the validation subjects (train_1)", 40)
    assert described(chosen) == (
        "real from 0.47 on (where the error rates meet on the validation subjects (train_1) (40 clips))"
    )
    lines = head_lines("AVDF", Path("a.ckpt"), Decision(chosen))
    assert any("1 = real, 0 = fake" in line for line in lines)


def test_json_holds_everything(tmp_path: Path) -> None:
    put(as_json(Path("a.ckpt"), at(0.5), {"window": 20.0}, judged(at(0.5))), str(tmp_path / "new" / "out.json"))
    content = json.loads((tmp_path / "new" / "out.json").read_text())
    assert content["score"] == "probability of real: 1 = real, 0 = fake"
    assert content["threshold"]["value"] == 0.5
    assert content["threshold"]["rule"] == "given"
    plain, heads, fault = content["clips"]
    assert (plain["status"], plain["verdict"], plain["score"]) == ("scored", "real", 0.75)
    assert (plain["audio_score"], plain["audio_verdict"], plain["reason"]) == (None, None, None)
    assert heads["score"] == pytest.approx(0.03)
    assert (heads["verdict"], heads["audio_verdict"], heads["video_verdict"]) == ("fake", "real", "fake")
    assert (heads["seconds"], heads["faces"], heads["crop"]) == (25.0, 2, False)
    assert heads["notes"] == ["2 faces: the most visible one is used"]
    assert heads["windows"][1] == {"start": 5.0, "end": 25.0, "score": 0.01, "audio_score": 0.92, "video_score": 0.01}
    assert (fault["status"], fault["reason"], fault["message"]) == ("not scored", "no audio", "c.mp4: has no audio")
    assert (fault["score"], fault["verdict"], fault["windows"]) == (None, None, [])


def test_csv_has_a_row_a_clip(tmp_path: Path) -> None:
    put(as_csv(Path("a.ckpt"), 0.5, judged(at(0.5))), str(tmp_path / "out.csv"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["file"] for row in rows] == list(CLIPS)
    assert [row["verdict"] for row in rows] == ["real", "fake", ""]
    assert [row["reason"] for row in rows] == ["", "", "no audio"]
    assert float(rows[1]["p_real"]) == pytest.approx(0.03)
    assert float(rows[1]["p_audio_real"]) == pytest.approx(0.91)
    assert (rows[1]["lowest_p_real"], rows[1]["lowest_start"], rows[1]["windows"]) == ("0.01", "5.0", "2")
    assert [row["faces"] for row in rows] == ["1", "2", ""]
    assert rows[2]["p_real"] == ""
    put(as_csv(Path("a.ckpt"), 0.5, judged(at(0.5), {"c.mp4": FAULT})), str(tmp_path / "none.csv"))
    assert "not scored,no audio" in (tmp_path / "none.csv").read_text()


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n.mp4")
    clips = judged(at(0.5), {name: PLAIN})
    assert printable(clip_line(clips[0], 0.5, 0)).startswith("caf\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.")
    put(as_json(Path("a.ckpt"), at(0.5), {}, clips), str(tmp_path / "a.json"))
    put(as_csv(Path("a.ckpt"), 0.5, clips), str(tmp_path / "a.csv"))
    assert json.loads((tmp_path / "a.json").read_text())["clips"][0]["file"] == name


@pytest.fixture
def preview() -> Preview:
    frames = {(k + 0.5) * 25 / 8: np.full((100, 100, 3), 30 * k, np.uint8) for k in range(7)}
    return Preview(25.0, frames, [0.1] * 625)


def test_a_figure_says_what_it_shows(preview: Preview, tmp_path: Path) -> None:
    figure = draw_clip(at(0.47).judge("b $x$.mp4", HEADS), preview, 0.47, "a.ckpt")
    strip, audio, scores = figure.axes
    assert figure.get_suptitle() == "FAKE 0.030 (real from 0.47): b $x$.mp4"
    assert len(strip.images) == 7
    assert scores.get_ylabel() == "Probability of real (1 = real)"
    assert audio.get_xlim() == scores.get_xlim() == (0, 25)
    _, labels = scores.get_legend_handles_labels()
    assert labels == ["threshold 0.47", "audio alone", "video alone", "windows"]
    bars = [collection.get_segments()[0].tolist() for collection in scores.collections]
    assert bars == [[[0, 0.05], [20, 0.05]], [[5, 0.01], [25, 0.01]]]
    write_figure(tmp_path / "new" / "b.png", at(0.47).judge("b.mp4", HEADS), preview, 0.47, "a.ckpt")
    assert cv2.imread(str(tmp_path / "new" / "b.png")).shape == (840, 960, 3)
    one = draw_clip(at(0.5).judge("a.mp4", PLAIN), Preview(12.0, {}, [0.0] * 300), 0.5, "a.ckpt")
    assert one.get_suptitle() == "REAL 0.750 (real from 0.5): a.mp4"
    assert one.axes[2].get_legend_handles_labels()[1] == ["threshold 0.5", "windows"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"media")
    return path


def wanted(path: Path, figure: Path | None = None) -> FoundClip:
    return FoundClip(path, Path(path.name), figure)


def remember(path: Path, clip: Path, result: ClipResult, figure: Path | None = None) -> None:
    journal = Journal(path, 0.5)
    assert journal.find(wanted(clip, figure)) is None
    journal.add(wanted(clip, figure), result)


def test_a_journal_remembers_clips_that_have_not_changed(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "new" / "journal.jsonl"
    remember(path, clip, HEADS)
    assert Journal(path, 0.9).find(wanted(clip)) == HEADS
    clip.with_suffix(".wav").write_bytes(b"audio")  # which comes before the audio in the clip
    assert Journal(path, 0.9).find(wanted(clip)) is None
    clip.with_suffix(".wav").unlink()
    assert Journal(path, 0.9).find(wanted(clip)) == HEADS
    os.utime(clip, (1, 1))
    assert Journal(path, 0.9).find(wanted(clip)) is None
    assert Journal(path, 0.9, fresh=True).find(wanted(clip)) is None
    assert not path.exists()


def test_a_journal_forgets_what_may_be_otherwise(tmp_path: Path, clip: Path) -> None:
    remember(tmp_path / "a.jsonl", clip, ClipResult("unreadable", "the disk is away", lasting=False))
    assert Journal(tmp_path / "a.jsonl", 0.5).find(wanted(clip)) is None
    remember(tmp_path / "a.jsonl", clip, FAULT)
    assert Journal(tmp_path / "a.jsonl", 0.5).find(wanted(clip)) == FAULT


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_line_that_was_cut_loses_its_clip_alone(tmp_path: Path, clip: Path, cut: int) -> None:
    path, other = tmp_path / "a.jsonl", tmp_path / "other.mp4"
    other.write_bytes(b"more")
    remember(path, clip, HEADS)
    remember(path, other, PLAIN)
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path, 0.5)
    assert journal.find(wanted(clip)) == HEADS
    assert journal.find(wanted(other)) == (PLAIN if cut == 1 else None)  # the line break alone
    journal.add(wanted(other), PLAIN)
    assert Journal(path, 0.5).find(wanted(other)) == PLAIN


def test_a_clip_whose_figure_is_not_there_is_not_done(tmp_path: Path, clip: Path) -> None:
    path, figure = tmp_path / "a.jsonl", tmp_path / "clip.png"
    figure.write_bytes(b"drawn")
    remember(path, clip, HEADS, figure)
    assert Journal(path, 0.5).find(wanted(clip, figure)) == HEADS
    assert Journal(path, 0.6).find(wanted(clip)) == HEADS
    assert Journal(path, 0.6).find(wanted(clip, figure)) is None  # it shows another threshold
    assert Journal(path, 0.5).find(wanted(clip, tmp_path / "elsewhere.png")) is None
    figure.write_bytes(b"another")
    assert Journal(path, 0.5).find(wanted(clip, figure)) is None


def test_a_journal_is_that_of_one_checkpoint_and_its_settings(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.ckpt"
    checkpoint.write_bytes(b"weights")
    path = journal_path(tmp_path, checkpoint, {"window": 20})
    assert path.parent == tmp_path / "predict"
    assert path == journal_path(tmp_path, checkpoint, {"window": 20})
    assert path != journal_path(tmp_path, checkpoint, {"window": 10})
    checkpoint.write_bytes(b"others")
    assert path != journal_path(tmp_path, checkpoint, {"window": 20})
