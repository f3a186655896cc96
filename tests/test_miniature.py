"""The miniature is what it claims to be: the fakes carry their cues, and nothing else tells the categories apart."""

from __future__ import annotations

import csv
import json
from pathlib import Path

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

from dataset.miniature import synthesize
from dataset.miniature.clip import CATEGORIES, make_clip, make_sound
from dataset.miniature.motion import frame_energy
from dataset.miniature.subjects import make_cast

SUBJECTS = 15
SECONDS = 1.2
FAKES = ("B", "C", "D")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature of fifteen subjects on disk."""
    out = tmp_path_factory.mktemp("miniature") / "mini"
    synthesize(out, subjects=SUBJECTS, seconds=SECONDS)
    return out


@pytest.fixture(scope="module")
def clips(root: Path) -> pd.DataFrame:
    """Every clip as its decoder gives it: a row each, with `frames` (T, 224, 224, 3) and `sound` (N,)."""
    rows = []
    with (root / "meta_data.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            path = root / row[""].removeprefix("FakeAVCeleb/") / row["path"]
            frames, sound = _decode(path)
            rows.append({**row, "file": path, "frames": frames, "sound": sound})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def sounds() -> pd.DataFrame:
    """The sound of four clips each of eighty subjects, before it is encoded."""
    rows = []
    for index, subject in enumerate(make_cast(80, seed=7)):
        for kind, category in enumerate(CATEGORIES):
            seed = np.random.SeedSequence(7, spawn_key=(index, kind))
            sound = make_sound(subject, category, SECONDS, seed)
            rows.append({"source": subject.id, "category": category.letter, "sound": sound.samples})
    return pd.DataFrame(rows)


def _decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        sound = np.concatenate([block.to_ndarray()[0] for block in container.decode(audio=0)])
    return frames, sound[: len(frames) * 640]


def _auc(table: pd.DataFrame, features: np.ndarray, fake: str, real: str = "A") -> float:
    """AUC of telling two categories apart by a linear classifier on subjects that it has not seen."""
    rows = table["category"].isin([real, fake]).to_numpy()
    label = (table["category"][rows] == fake).to_numpy()
    features = np.asarray(features, dtype=np.float64).reshape(len(table), -1)[rows]
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    scores = cross_val_predict(
        classifier, features, label, groups=table["source"][rows], cv=GroupKFold(5), method="decision_function"
    )
    return float(roc_auc_score(label, scores))


def _chance(clips_each: int) -> float:
    """AUC that a guess exceeds once in a thousand: 3.1 deviations of the Mann-Whitney statistic above one half."""
    return 0.5 + 3.1 * np.sqrt((2 * clips_each + 1) / (12 * clips_each**2))


def _loudness(sound: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(sound**2))))


def _leading_silence(sound: np.ndarray) -> int:
    """Steps of 5 ms before the sound comes within 30 dB of its loudest."""
    blocks = sound[: len(sound) // 80 * 80].reshape(-1, 80)
    level = 10 * np.log10(np.mean(blocks**2, axis=1) + 1e-10)
    return int(np.argmax(level > level.max() - 30))


def _log_mel(sound: np.ndarray) -> np.ndarray:
    """Log mel energies (N, 26) of a sound in [-1, 1]."""
    return logfbank(np.round(sound * 32767).astype(np.int16), 16_000)


def _sharpness(frames: np.ndarray) -> tuple[float, float]:
    """Mean strength of the Laplacian on cheeks and chin and on forehead and eyes, in the halved grey picture."""
    grey = [cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (112, 112)) for frame in frames]
    strength = np.mean([np.abs(cv2.Laplacian(picture.astype(np.float32), cv2.CV_32F)) for picture in grey], axis=0)
    return float(strength[62:98, 36:76].mean()), float(strength[24:56, 36:76].mean())


def _dark_mouth(frames: np.ndarray) -> np.ndarray:
    """How much darker than its brightest fifth the mouth's part of each frame is (T,)."""
    mouth = frames[:, 140:190, 88:136].mean(axis=-1).reshape(len(frames), -1)
    return np.percentile(mouth, 80, axis=1) - mouth.mean(axis=1)


def _pitch_variance(sound: np.ndarray) -> float:
    """Variance of the pitch in semitones over the voiced pieces of 40 ms, found by autocorrelation."""
    pitches = []
    level = frame_energy(sound)
    for at in np.flatnonzero(level > level.max() - 15) * 640:
        piece = sound[max(0, at - 160) : at + 800] * np.hanning(len(sound[max(0, at - 160) : at + 800]))
        correlation = np.correlate(piece, piece, mode="full")[len(piece) - 1 :]
        lag = 50 + int(np.argmax(correlation[50:230]))  # 70 to 320 Hz
        if correlation[lag] > 0.5 * correlation[0]:
            pitches.append(12 * np.log2(16_000 / lag))
    middle = np.median(pitches)
    return float(np.mean(np.clip(np.abs(np.array(pitches) - middle), 0, 6) ** 2))


def test_layout_is_fakeavceleb_v12(root: Path, clips: pd.DataFrame, reference: Path) -> None:
    header = (root / "meta_data.csv").read_text().splitlines()[0]
    assert header == (reference / "corpus" / "original" / "meta_data.csv").read_text().splitlines()[0]
    assert len(clips) == SUBJECTS * 4
    assert clips["file"].map(Path.exists).all()
    assert set(root.rglob("*.mp4")) == set(clips["file"])
    assert clips.groupby("source")["category"].apply("".join).eq("ABCD").all()
    for row in clips.itertuples():
        assert row.file.relative_to(root).parts[:-1] == (row.type, row.race, row.gender, row.source)
        assert (row.target1 == "-") == row.type.startswith("RealVideo")
        assert row.target1 != row.source
    assert clips["race"].nunique() == 5
    assert clips["gender"].nunique() == 2


def test_streams_are_those_of_fakeavceleb(clips: pd.DataFrame) -> None:
    for row in clips.itertuples():
        with av.open(str(row.file)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, video.width, video.height) == ("h264", 224, 224)
            assert (video.pix_fmt, video.average_rate) == ("yuv420p", 25)
            assert (audio.codec_context.name, audio.rate, audio.layout.name) == ("aac", 16_000, "mono")
            assert float(audio.duration * audio.time_base) == pytest.approx(len(row.frames) / 25, abs=1e-3)
        assert len(row.sound) == 640 * len(row.frames)
        assert 0.9 * SECONDS * 25 - 1 <= len(row.frames) <= 1.1 * SECONDS * 25 + 1


def test_sound_is_not_shifted_against_the_picture(clips: pd.DataFrame) -> None:
    """Encoding neither delays nor advances the sound by as much as 2 ms."""
    subject = make_cast(SUBJECTS, seed=42)[0]
    row = clips[(clips["source"] == subject.id) & (clips["category"] == "A")].iloc[0]
    seed = np.random.SeedSequence(42, spawn_key=(0, 0, 0)).spawn(2)[1]
    made = make_clip(subject, CATEGORIES[0], SECONDS, seed).sound
    correlation = np.correlate(row["sound"], made[2000:-2000], mode="valid")
    assert abs(int(np.argmax(correlation)) - 2000) < 32
    assert np.corrcoef(row["sound"], made)[0, 1] > 0.98


@pytest.mark.parametrize("fake", FAKES)
def test_sound_alone_gives_nothing_away(sounds: pd.DataFrame, fake: str) -> None:
    chance = _chance(80)
    assert _auc(sounds, sounds["sound"].map(len), fake) < chance
    assert _auc(sounds, sounds["sound"].map(_loudness), fake) < chance
    assert _auc(sounds, sounds["sound"].map(_leading_silence), fake) < chance


@pytest.mark.parametrize("fake", FAKES)
def test_encoded_clips_give_nothing_away(clips: pd.DataFrame, fake: str) -> None:
    chance = _chance(SUBJECTS)
    colour = np.stack([frames.mean(axis=(0, 1, 2)) for frames in clips["frames"]])
    assert _auc(clips, clips["frames"].map(len), fake) < chance
    assert _auc(clips, clips["sound"].map(_loudness), fake) < chance
    assert _auc(clips, clips["sound"].map(_leading_silence), fake) < chance
    assert _auc(clips, colour, fake) < chance


def test_rerendering_keeps_the_mean_colour() -> None:
    """The same seed films the same scene up to the lips, so that the two can be compared closely."""
    subject = make_cast(1, seed=3)[0]
    seed = np.random.SeedSequence(3)
    real, _, fake, _ = (make_clip(subject, category, SECONDS, np.random.SeedSequence(3)) for category in CATEGORIES)
    assert seed.entropy == 3
    assert real.frames.shape == fake.frames.shape
    np.testing.assert_allclose(real.frames.mean(axis=(0, 1, 2)), fake.frames.mean(axis=(0, 1, 2)), atol=1.0)
    assert np.array_equal(real.frames[:, :60], fake.frames[:, :60])  # above the face, not one pixel differs


@pytest.mark.parametrize(("category", "synchronous"), [("A", True), ("B", True), ("C", False), ("D", False)])
def test_lips_follow_the_sound_in_real_video_only(clips: pd.DataFrame, category: str, synchronous: bool) -> None:
    rows = clips[clips["category"] == category]
    agreement = [spearmanr(_dark_mouth(row.frames), frame_energy(row.sound)).statistic for row in rows.itertuples()]
    assert (np.median(agreement) > 0.75) if synchronous else (np.median(agreement) < 0.5)


def test_fake_video_is_softer_in_the_lower_face(clips: pd.DataFrame) -> None:
    sharpness = np.log([_sharpness(frames) for frames in clips["frames"]])
    ratio = pd.Series(sharpness[:, 0] - sharpness[:, 1]).groupby(clips["category"]).mean()
    assert ratio[["C", "D"]].max() < ratio[["A", "B"]].min() - 0.3
    assert _auc(clips, sharpness, "C") > 0.95
    assert _auc(clips, sharpness, "D") > 0.95
    assert _auc(clips, sharpness, "B") < _chance(SUBJECTS)


def test_fake_audio_has_no_high_band_and_a_flat_pitch(clips: pd.DataFrame) -> None:
    mel = np.stack([_log_mel(sound).mean(axis=0) for sound in clips["sound"]])
    high = pd.Series(mel[:, 21:].mean(axis=1) - mel[:, 5:15].mean(axis=1)).groupby(clips["category"]).mean()
    assert high[["B", "D"]].max() < high[["A", "C"]].min() - 1
    assert _auc(clips, mel, "B") > 0.95
    assert _auc(clips, mel, "D") > 0.95
    assert _auc(clips, mel, "C") < _chance(SUBJECTS)
    pitch = clips["sound"].map(_pitch_variance).groupby(clips["category"]).median()
    assert pitch[["B", "D"]].max() < 0.5 * pitch[["A", "C"]].min()


def test_clips_share_no_picture_and_no_sound(clips: pd.DataFrame) -> None:
    assert len({frame.tobytes() for frames in clips["frames"] for frame in frames}) == clips["frames"].map(len).sum()
    assert len({sound[:640].tobytes() for sound in clips["sound"]}) == len(clips)
    assert clips["path"].str[:5].nunique() > 0.9 * len(clips)


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed, workers in (("one", 5, 1), ("two", 5, 3), ("three", 6, 1)):
        synthesize(tmp_path / name, subjects=2, seconds=0.8, seed=seed, num_workers=workers)
    one, two, three = (
        {file.relative_to(tmp_path / name): file.read_bytes() for file in (tmp_path / name).rglob("*.*")
         if file.is_file()}
        for name in ("one", "two", "three")
    )  # fmt: skip
    assert one == two
    assert one[Path("meta_data.csv")] != three[Path("meta_data.csv")]


def test_an_earlier_miniature_is_reused_or_finished(tmp_path: Path) -> None:
    options = {"subjects": 1, "seconds": 0.8}
    table = synthesize(tmp_path, **options)
    files = sorted(tmp_path.rglob("*.mp4"))
    times = {file: file.stat().st_mtime_ns for file in files}
    content = files[2].read_bytes()
    files[2].unlink()
    pd.testing.assert_frame_equal(synthesize(tmp_path, **options), table)
    assert files[2].read_bytes() == content
    assert all(file.stat().st_mtime_ns == times[file] for file in files if file != files[2])


def test_other_options_need_overwrite(tmp_path: Path) -> None:
    synthesize(tmp_path, subjects=1, seconds=0.8)
    mine = tmp_path / "notes.txt"
    mine.write_text("keep me")
    with pytest.raises(ValueError, match="overwrite"):
        synthesize(tmp_path, subjects=1, seconds=0.8, seed=1)
    table = synthesize(tmp_path, subjects=1, seconds=0.8, seed=1, overwrite=True)
    assert {file.name for file in tmp_path.rglob("*.mp4")} == set(table["path"])
    assert mine.read_text() == "keep me"


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        synthesize(tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="not a folder"):
        synthesize(tmp_path / "thesis.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unreadable_marker_is_named(tmp_path: Path) -> None:
    (tmp_path / "miniature.json").write_text("{")
    with pytest.raises(ValueError, match="miniature.json"):
        synthesize(tmp_path)


@pytest.mark.parametrize("option", [{"subjects": 0}, {"seconds": 0.1}, {"clips": 0}, {"num_workers": 0}])
def test_options_out_of_range_are_named(tmp_path: Path, option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        synthesize(tmp_path / "mini", **option)
    assert not (tmp_path / "mini").exists()


def test_marker_tells_the_options(root: Path) -> None:
    options = json.loads((root / "miniature.json").read_text())
    assert (options["subjects"], options["seconds"], options["seed"]) == (SUBJECTS, SECONDS, 42)
