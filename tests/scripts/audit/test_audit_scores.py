"""Scores of changed clips: those of a test of each clip alone, and never computed twice."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal

from dataset import read_corpus
from dataset.clips import ClipDataset
from dataset.transforms import normalise
from model import CheckpointError, Detector, load_detector
from model.avhubert.model import VisualStream
from model.scorer import Scorer, Scores
from scripts.audit import scores
from scripts.audit.changes import ORIGINAL, Change, ClipFile, Context, change_clip
from scripts.audit.scores import COLUMNS, ChangedClips, score_changes
from tests.audit_clips import changed, give_audio, named, speech

SHIFT, DEAF, BLUR, LOUD = (named(name) for name in ("shift +80 ms", "missing audio", "blur sigma 2 px", "loudness"))
FEW_FRAMES = 10
Score = Callable[..., pd.DataFrame]

pytestmark = pytest.mark.usefixtures("small_detectors")


@pytest.fixture
def clips(original_root: Path) -> pd.DataFrame:
    """The four clips of one subject, which differ in length."""
    table = read_corpus(original_root)
    return table[table["subject"] == table["subject"].iloc[0]]


@pytest.fixture
def detector(small_checkpoint: Path) -> Detector:
    return load_detector(small_checkpoint)


@pytest.fixture
def score(clips: pd.DataFrame, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Score:
    """Score the first frames of two of these clips with a detector that is read from a small file in no time."""
    (tmp_path / "small.ckpt").write_bytes(b"weights")
    monkeypatch.setattr(scores, "load_detector", lambda *_: detector)

    def run(
        *changes: Change, table: pd.DataFrame = clips.iloc[:2], folder: str = "scores", **options: int
    ) -> pd.DataFrame:
        options = {"max_frames": FEW_FRAMES} | options
        return score_changes(tmp_path / "small.ckpt", table, table, tmp_path / folder, changes, device="cpu", **options)

    return run


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the changes that are computed, in order."""
    names = []
    call = scores.scored

    def counting(data: ChangedClips, *given: Any) -> pd.DataFrame:
        names.append(data.change.name)
        return call(data, *given)

    monkeypatch.setattr(scores, "scored", counting)
    return names


def test_untouched_clips_score_as_a_test_of_each_alone(score: Score, clips: pd.DataFrame, detector: Detector) -> None:
    clips = clips.iloc[:3]
    table = score(table=clips, max_frames=36)
    lengths = set()
    for item, row in zip(ClipDataset(clips, train=False, max_frames=36), table.itertuples(), strict=True):
        with torch.inference_mode():
            outputs = detector(normalise(item["video"][None]), item["audio"].T[None])
        verdict = detector.decide(outputs)
        expected = [float(value) for value in (verdict.score, verdict.video_score, verdict.audio_score)]
        assert_allclose([row.score, row.video_score, row.audio_score], expected, rtol=0, atol=1e-5)
        lengths.add(len(item["audio"]))
    assert len(lengths) > 1
    assert table["score"].nunique() == len(table)


def test_the_table(score: Score, clips: pd.DataFrame) -> None:
    clips = clips.iloc[:2]
    table = score(SHIFT, BLUR)
    assert tuple(table.columns) == COLUMNS
    assert list(table["change"].unique()) == ["original", "shift +80 ms", "blur sigma 2 px"]
    for _, part in table.groupby("change"):
        for name in ("file", "subject", "category"):
            assert_array_equal(part[name], clips[name])
        assert_array_equal(part["label"], clips["m_label"])
    kinds = table.drop_duplicates("change").set_index("change")
    assert kinds["kind"].to_dict() == {"original": "original", "shift +80 ms": "probe", "blur sigma 2 px": "damage"}
    assert list(kinds.loc["blur sigma 2 px", ["family", "level"]]) == ["blur", "sigma 2 px"]
    assert table[["score", "video_score", "audio_score"]].to_numpy().min() > 0
    assert table.attrs["notes"] == []


def test_changed_clips_are_scored_as_changed(score: Score, clips: pd.DataFrame, detector: Detector) -> None:
    table = score(SHIFT, DEAF, BLUR, table=clips.iloc[:3], batch_size=2)
    for change in (SHIFT, DEAF, BLUR):
        listed = [ClipFile(row.file, Path(row.path), FEW_FRAMES) for row in clips.iloc[:3].itertuples()]
        part = table[table["change"] == change.name]
        for item, expected in zip(
            (ChangedClips(listed, change, Context())[i] for i in range(3)), part["score"], strict=True
        ):
            video = normalise(item.video[None])
            with torch.inference_mode():
                verdict = detector.decide(detector(video, item.audio.T[None]))
            assert abs(float(verdict.score) - expected) < 1e-5
    assert table["score"].nunique() == len(table)


def test_a_score_does_not_depend_on_its_batch(score: Score, clips: pd.DataFrame) -> None:
    clips = clips.iloc[[0, 3]]  # 39 and 32 frames
    alone = score(table=clips, max_frames=34, folder="one", batch_size=1)
    together = score(table=clips, max_frames=34, folder="two", batch_size=2, num_workers=1)
    assert_allclose(alone["score"], together["score"], rtol=0, atol=1e-5)
    assert_array_equal(alone["file"], together["file"])


def test_changes_of_the_audio_see_the_video_once(score: Score, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    forward = VisualStream.forward
    monkeypatch.setattr(
        VisualStream, "forward", lambda self, *given: looks.append(len(given[0])) or forward(self, *given)
    )
    score(DEAF, named("audio noise 10 dB"), LOUD)
    assert looks == [2]
    score(BLUR, SHIFT)
    assert looks == [2, 2, 2]


def test_what_is_finished_is_read(score: Score, computed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = score(SHIFT, LOUD)
    assert computed == ["original", "shift +80 ms", "loudness"]
    assert len(first.attrs["notes"]) == 1
    monkeypatch.setattr(scores, "load_detector", lambda *_: pytest.fail("the network is not needed"))
    again = score(SHIFT, LOUD)
    assert_frame_equal(first, again, check_exact=True)
    assert first.attrs == again.attrs
    assert len(computed) == 3


def test_another_change_computes_itself_alone(score: Score, computed: list[str]) -> None:
    score(SHIFT)
    score(SHIFT, BLUR)
    assert computed == ["original", "shift +80 ms", "blur sigma 2 px"]


def test_other_clips_or_settings_compute_anew(score: Score, clips: pd.DataFrame, computed: list[str]) -> None:
    score()
    clips = clips.iloc[:1]
    score(table=clips)
    os.utime(clips["path"].iloc[0], ns=(1, 1))
    score(table=clips)
    give_audio(Path(clips["path"].iloc[0]), speech(20_000))
    score(table=clips)
    score(table=clips, max_frames=11)
    assert computed == ["original"] * 5
    score(table=clips, max_frames=11)
    assert len(computed) == 5


def test_another_checkpoint_computes_anew(
    clips: pd.DataFrame, small_checkpoint: Path, computed: list[str], tmp_path: Path
) -> None:
    checkpoint = torch.load(small_checkpoint, weights_only=True)
    checkpoint["state_dict"]["mm_classifier.2.bias"] += torch.tensor([0.0, 1.0])
    torch.save(checkpoint, tmp_path / "other.ckpt")
    clips, odds = clips.iloc[:1], []
    for path in (small_checkpoint, tmp_path / "other.ckpt"):
        table = score_changes(path, clips, clips, tmp_path, [], max_frames=FEW_FRAMES, device="cpu")
        odds.append(np.log(table["score"] / (1 - table["score"])))
    assert computed == ["original"] * 2
    assert_allclose(odds[1] - odds[0], 1, atol=1e-3)


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"file,score\na.mp4,0.5\n", "half", "a row less"])
def test_a_damaged_file_is_computed_anew(
    score: Score, computed: list[str], tmp_path: Path, content: bytes | str
) -> None:
    first = score()
    path = tmp_path / "scores" / "original.csv"
    cut = {"half": -80, "a row less": path.read_bytes()[:-1].rfind(b"\n") + 1}
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[: cut[content]])
    assert_frame_equal(score(), first, check_exact=True)
    assert computed == ["original"] * 2


def test_a_stop_keeps_what_is_finished(
    score: Score, computed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Scorer.__call__

    def stopping(self: Scorer, *given: Any, **more: Any) -> list[Scores]:
        if computed[-1] == BLUR.name:
            raise KeyboardInterrupt
        return forward(self, *given, **more)

    monkeypatch.setattr(Scorer, "__call__", stopping)
    with pytest.raises(KeyboardInterrupt):
        score(SHIFT, BLUR, DEAF)
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == ["original.csv", "shift_+80_ms.csv"]
    monkeypatch.setattr(Scorer, "__call__", forward)
    computed.clear()
    assert len(score(SHIFT, BLUR, DEAF)) == 8
    assert computed == ["blur sigma 2 px", "missing audio"]


def test_clips_that_a_change_cannot_be_made_of_are_left_out(score: Score, clips: pd.DataFrame) -> None:
    silent, other = Path(clips["path"].iloc[1]), Path(clips["path"].iloc[2])
    give_audio(silent, np.zeros(25_000))
    give_audio(other, np.r_[np.zeros(2000), speech(23_000)])
    trim = named("leading silence")
    table = score(trim, LOUD, named("length equalised"), table=clips)
    for name in ("leading silence", "loudness"):
        assert_array_equal(table.loc[table["change"] == name, "file"], clips["file"].iloc[[0, 2, 3]])
    notes = table.attrs["notes"]
    assert "leading silence: 1 of 4 clips: left out: all of its audio is silent" in notes
    assert f"length equalised: 4 of 4 clips: cut to {FEW_FRAMES} frames" in notes
    assert sum(note.startswith("loudness: 3 of 4 clips: brought to -") for note in notes) == 1
    # The median is that of the clips that have audio.
    assert_array_equal(changed("leading silence", other, max_frames=FEW_FRAMES).frames[:5], _original(other)[4:9])
    Path(clips["path"].iloc[0]).write_bytes(b"no clip")
    table = score(trim, table=clips)
    assert len(table) == 5
    assert any(note.startswith("original: 1 of 4 clips: left out: truncated") for note in table.attrs["notes"])


def test_nothing_is_left(score: Score, clips: pd.DataFrame) -> None:
    for path in clips["path"]:
        give_audio(Path(path), np.zeros(25_000))
    table = score(LOUD)
    assert list(table["change"].unique()) == ["original"]
    assert table.attrs["notes"] == ["loudness: 2 of 2 clips: left out: all of its audio is silent"]


def test_swaps_take_a_stream_of_the_same_subject_if_they_can(score: Score, original_root: Path) -> None:
    clips = read_corpus(original_root).iloc[[0, 2, 4, 6, 8]]  # real audio of two subjects, one of fake audio
    table = score(named("swap audio"), table=clips)
    swapped = table[table["change"] == "swap audio"].set_index("file")["score"]
    untouched = table[table["change"] == "original"].set_index("file")["score"]
    assert_array_equal(swapped.index, clips.loc[clips["a_label"] == 1, "file"])
    assert (swapped != untouched[swapped.index]).all()
    assert table.attrs["notes"] == [  # both clips of the second subject begin with the same audio
        "swap audio: 2 of 5 clips: audio of another subject",
        "swap audio: 1 of 5 clips: left out: no other clip has audio of another recording that is as real or as fake",
    ]


def test_a_checkpoint_that_is_none(clips: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt"):
        score_changes(tmp_path / "none.ckpt", clips, clips, tmp_path)
    (tmp_path / "bad.ckpt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"bad\.ckpt"):
        score_changes(tmp_path / "bad.ckpt", clips, clips, tmp_path)


def _original(path: Path) -> np.ndarray:
    return change_clip(ORIGINAL, ClipFile("a", path, 500), Context()).frames


def test_a_score_that_is_not_a_number_is_not_ranked(
    score: Score, clips: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Scorer.__call__

    def broken(self: Scorer, *given: Any, **more: Any) -> list[Scores]:
        first, *others = call(self, *given, **more)
        return [first._replace(score=float("nan")), *others]

    monkeypatch.setattr(Scorer, "__call__", broken)
    table = score()
    assert list(table["file"]) == list(clips["file"].iloc[1:2])
    assert table.attrs["notes"] == ["original: 1 of 2 clips: left out: its score is not a number"]
