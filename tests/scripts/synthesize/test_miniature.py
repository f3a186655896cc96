"""The miniature is what it claims to be: the fakes carry their cues, and nothing else tells the categories apart."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pandas as pd
import pytest
from python_speech_features import logfbank
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scripts.synthesize import synthesize
from scripts.synthesize.clip import CATEGORIES, make_audio, make_cast, make_clip, write_clip
from scripts.synthesize.face import frame_energy

SUBJECTS = 12
SECONDS = 0.9
FAKES = ("B", "C", "D")


@dataclass(frozen=True)
class Clip:
    """A clip of the miniature, as its decoder gives it."""

    source: str
    category: str
    file: Path
    frames: np.ndarray = field(repr=False)  # (T, 224, 224, 3)
    audio: np.ndarray = field(repr=False)  # (N,)


@dataclass(frozen=True)
class Track:
    """The audio of a clip before it is encoded."""

    source: str
    category: str
    audio: np.ndarray = field(repr=False)  # (N,)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature of twelve subjects on disk."""
    out = tmp_path_factory.mktemp("miniature") / "mini"
    synthesize(out, subjects=SUBJECTS, seconds=SECONDS)
    return out


@pytest.fixture(scope="module")
def table(root: Path) -> pd.DataFrame:
    """The csv of the miniature, with the file of each row."""
    rows = pd.read_csv(root / "meta_data.csv").rename(columns={"Unnamed: 9": "folder"})
    folders = rows["folder"].str.removeprefix("FakeAVCeleb/")
    return rows.assign(file=[root / folder / name for folder, name in zip(folders, rows["path"], strict=True)])


@pytest.fixture(scope="module")
def clips(table: pd.DataFrame) -> list[Clip]:
    """Every clip, decoded."""
    return [Clip(row.source, row.category, row.file, *_decode(row.file)) for row in table.itertuples()]


@pytest.fixture(scope="module")
def tracks() -> list[Track]:
    """The audio of four clips each of fifty subjects."""
    made = []
    for index, subject in enumerate(make_cast(50, seed=7)):
        for kind, category in enumerate(CATEGORIES):
            audio = make_audio(subject, category, 0.7, np.random.SeedSequence(7, spawn_key=(index, kind)))
            made.append(Track(subject.id, category.letter, audio.samples))
    return made


def _decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        audio = np.concatenate([block.to_ndarray()[0] for block in container.decode(audio=0)])
    return frames, audio[: len(frames) * 640]


def _auc(clips: list[Clip] | list[Track], features: list, fake: str) -> float:
    """AUC of telling a category from the real clips, by a linear classifier on subjects that it has not seen."""
    chosen = [index for index, clip in enumerate(clips) if clip.category in ("A", fake)]
    label = np.array([clips[index].category == fake for index in chosen])
    subjects = [clips[index].source for index in chosen]
    values = np.array([np.atleast_1d(features[index]) for index in chosen], dtype=np.float64)
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    scores = cross_val_predict(classifier, values, label, groups=subjects, cv=GroupKFold(5), method="decision_function")
    return float(roc_auc_score(label, scores))


def _by_category(clips: list[Clip], values: list[float]) -> pd.Series:
    """Median of `values` in each category."""
    return pd.Series(values).groupby([clip.category for clip in clips]).median()


def _chance(clips_each: int) -> float:
    """AUC that a guess exceeds once in a thousand: 3.1 deviations of the Mann-Whitney statistic above one half."""
    return 0.5 + 3.1 * np.sqrt((2 * clips_each + 1) / (12 * clips_each**2))


def _loudness(audio: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(audio**2))))


def _leading_silence(audio: np.ndarray) -> int:
    """Steps of 5 ms before the audio comes within 30 dB of its loudest."""
    blocks = audio[: len(audio) // 80 * 80].reshape(-1, 80)
    level = 10 * np.log10(np.mean(blocks**2, axis=1) + 1e-10)
    return int(np.argmax(level > level.max() - 30))


def _log_mel(audio: np.ndarray) -> np.ndarray:
    """Log mel energies (N, 26) of a audio in [-1, 1]."""
    return logfbank(np.round(audio * 32767).astype(np.int16), 16_000)


def _sharpness(frames: np.ndarray) -> tuple[float, float]:
    """Mean strength of the Laplacian on cheeks and chin and on forehead and eyes, in the halved grey frame."""
    grey = [cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (112, 112)) for frame in frames]
    strength = np.mean([np.abs(cv2.Laplacian(frame.astype(np.float32), cv2.CV_32F)) for frame in grey], axis=0)
    return float(strength[62:98, 36:76].mean()), float(strength[24:56, 36:76].mean())


def _dark_mouth(frames: np.ndarray) -> np.ndarray:
    """How much darker than its brightest fifth the mouth's part of each frame is (T,)."""
    mouth = frames[:, 140:190, 88:136].mean(axis=-1).reshape(len(frames), -1)
    return np.percentile(mouth, 80, axis=1) - mouth.mean(axis=1)


def _pitch_spread(audio: np.ndarray) -> float:
    """Distance between the quartiles of the pitch over the loud pieces of 60 ms, in semitones, by autocorrelation."""
    level = frame_energy(audio)
    pitches = []
    for at in np.flatnonzero(level > level.max() - 12)[1:-1] * 640:
        piece = audio[at - 160 : at + 800] * np.hanning(960)
        correlation = np.correlate(piece, piece, mode="full")[959:]
        pitches.append(12 * np.log2(16_000 / (55 + np.argmax(correlation[55:230]))))  # 70 to 290 Hz
    return float(np.subtract(*np.percentile(pitches, [75, 25])))


def test_layout_is_fakeavceleb_v12(root: Path, table: pd.DataFrame, reference: Path) -> None:
    header = (root / "meta_data.csv").read_text().splitlines()[0]
    assert header == (reference / "corpus" / "original" / "meta_data.csv").read_text().splitlines()[0]
    assert set(root.rglob("*.mp4")) == set(table["file"])
    assert len(table) == len(set(table["file"])) == SUBJECTS * 4
    assert table.groupby("source")["category"].apply("".join).eq("ABCD").all()
    for row in table.itertuples():
        assert row.file.relative_to(root).parts[:-1] == (row.type, row.race, row.gender, row.source)
        assert (row.target1 == "-") == row.type.startswith("RealVideo")
        assert row.target1 != row.source
    assert table["race"].nunique() == 5
    assert table["gender"].nunique() == 2


def test_file_numbers_carry_no_cue(table: pd.DataFrame) -> None:
    number = table["path"].str[:5].astype(int)
    clips = [Track(row.source, row.category, np.empty(0)) for row in table.itertuples()]
    assert number.nunique() > 0.9 * len(table)
    assert all(_auc(clips, list(number), fake) < _chance(SUBJECTS) for fake in FAKES)


def test_streams_are_those_of_fakeavceleb(clips: list[Clip]) -> None:
    for clip in clips:
        with av.open(str(clip.file)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, video.width, video.height) == ("h264", 224, 224)
            assert (video.pix_fmt, video.average_rate) == ("yuv420p", 25)
            assert (audio.codec_context.name, audio.rate, audio.layout.name) == ("aac", 16_000, "mono")
            assert float(audio.duration * audio.time_base) == pytest.approx(len(clip.frames) / 25, abs=1e-3)
        assert len(clip.audio) == 640 * len(clip.frames)
        assert 0.9 * SECONDS * 25 - 1 <= len(clip.frames) <= 1.1 * SECONDS * 25 + 1


def test_audio_is_not_shifted_against_the_video(tmp_path: Path) -> None:
    """Encoding neither delays nor advances the audio by as much as 2 ms."""
    made = make_clip(make_cast(1, seed=3)[0], CATEGORIES[0], SECONDS, np.random.SeedSequence(3))
    write_clip(tmp_path / "clip.mp4", made.frames, made.audio)
    _, audio = _decode(tmp_path / "clip.mp4")
    correlation = np.correlate(audio, made.audio[2000:-2000], mode="valid")
    assert abs(int(np.argmax(correlation)) - 2000) < 32
    assert np.corrcoef(audio, made.audio)[0, 1] > 0.98


@pytest.mark.parametrize("fake", FAKES)
def test_audio_alone_gives_nothing_away(tracks: list[Track], fake: str) -> None:
    for measure in (len, _loudness, _leading_silence):
        assert _auc(tracks, [measure(track.audio) for track in tracks], fake) < _chance(50), measure.__name__


@pytest.mark.parametrize("fake", FAKES)
def test_encoded_clips_give_nothing_away(clips: list[Clip], fake: str) -> None:
    chance = _chance(SUBJECTS)
    for measure in (len, _loudness, _leading_silence):
        assert _auc(clips, [measure(clip.audio) for clip in clips], fake) < chance, measure.__name__
    assert _auc(clips, [clip.frames.mean(axis=(0, 1, 2)) for clip in clips], fake) < chance


def test_rerendering_keeps_what_it_must() -> None:
    """The same seed films the same scene but for the lips, so that real and fake can be compared closely."""
    real, _, fake, _ = _four_of_one_seed(make_clip)
    np.testing.assert_allclose(real.frames.mean(axis=(0, 1, 2)), fake.frames.mean(axis=(0, 1, 2)), atol=1.0)
    assert np.array_equal(real.frames[:, :60], fake.frames[:, :60])  # above the pasted part not one pixel differs
    assert np.array_equal(real.audio, fake.audio)


def test_revoicing_keeps_what_it_must() -> None:
    real, fake, _, _ = (audio.samples for audio in _four_of_one_seed(make_audio))
    assert len(real) == len(fake)
    assert _loudness(real) == pytest.approx(_loudness(fake), abs=3.0)  # drawn between -26 and -20 dB
    assert abs(_leading_silence(real) - _leading_silence(fake)) <= 2
    assert np.corrcoef(frame_energy(real), frame_energy(fake))[0, 1] > 0.95


def _four_of_one_seed(make: Callable[..., Any]) -> list[Any]:
    subject = make_cast(1, seed=3)[0]
    return [make(subject, category, SECONDS, np.random.SeedSequence(3)) for category in CATEGORIES]


@pytest.mark.parametrize(("category", "synchronous"), [("A", True), ("B", True), ("C", False), ("D", False)])
def test_lips_follow_the_sound_in_real_video_only(clips: list[Clip], category: str, synchronous: bool) -> None:
    chosen = [clip for clip in clips if clip.category == category]
    agreement = np.median([spearmanr(_dark_mouth(clip.frames), frame_energy(clip.audio)).statistic for clip in chosen])
    assert agreement > 0.75 if synchronous else agreement < 0.5


def test_fake_video_is_softer_in_the_lower_face(clips: list[Clip]) -> None:
    sharpness = [np.log(_sharpness(clip.frames)) for clip in clips]
    ratio = _by_category(clips, [lower - upper for lower, upper in sharpness])
    assert ratio[["C", "D"]].max() < ratio[["A", "B"]].min() - 0.3
    assert _auc(clips, sharpness, "C") > 0.95
    assert _auc(clips, sharpness, "D") > 0.95
    assert _auc(clips, sharpness, "B") < _chance(SUBJECTS)


def test_fake_audio_has_no_high_band(clips: list[Clip]) -> None:
    mel = [_log_mel(clip.audio).mean(axis=0) for clip in clips]
    high = _by_category(clips, [bands[21:].mean() - bands[5:15].mean() for bands in mel])
    assert high[["B", "D"]].max() < high[["A", "C"]].min() - 1
    assert _auc(clips, mel, "B") > 0.95
    assert _auc(clips, mel, "D") > 0.95
    assert _auc(clips, mel, "C") < _chance(SUBJECTS)


def test_fake_audio_has_a_flat_pitch(clips: list[Clip]) -> None:
    spread = _by_category(clips, [_pitch_spread(clip.audio) for clip in clips])
    assert spread[["B", "D"]].max() < 0.5 * spread[["A", "C"]].min()


def test_clips_share_no_frame_and_no_audio(clips: list[Clip]) -> None:
    assert len({frame.tobytes() for clip in clips for frame in clip.frames}) == sum(len(clip.frames) for clip in clips)
    assert len({clip.audio[:640].tobytes() for clip in clips}) == len(clips)


def test_marker_tells_the_options(root: Path) -> None:
    options = json.loads((root / "miniature.json").read_text())
    assert (options["subjects"], options["seconds"], options["seed"]) == (SUBJECTS, SECONDS, 42)
