"""Everyday damage: as much of it as its level says, more from level to level, and the same every time."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.signal import correlate, welch

from dataset.media import draw_frame, read_audio, read_video
from scripts.audit.changes import LEVELS, ClipFile, Context, change_clip
from scripts.audit.damage import OF_AUDIO
from tests.audit_clips import changed, give_audio, named, speech, untouched
from tests.media_files import copy_clip, even_times, write_clip
from utils.errors import DataError

VIDEO = [family for family in LEVELS["damage"] if family not in OF_AUDIO]
AUDIO = [family for family in LEVELS["damage"] if family in OF_AUDIO]


@pytest.fixture
def clip(reference: Path, tmp_path: Path) -> Path:
    return copy_clip(reference, tmp_path)


def _levels(family: str) -> list[str]:
    return [f"{family} {level}" for level in LEVELS["damage"][family]]


def _ratio(signal: np.ndarray, damaged: np.ndarray) -> float:
    """Power of the signal to that of the difference, dB."""
    signal = signal.astype(float)
    return 10 * np.log10(np.mean(signal**2) / np.mean((damaged - signal) ** 2))


def test_all_damage_is_here() -> None:
    assert list(LEVELS["damage"]) == VIDEO + AUDIO


@pytest.mark.parametrize("size", [(224, 224), (640, 360), (161, 121), (112, 112)])
@pytest.mark.parametrize("rate", [25, 30, Fraction(30_000, 1001), 12])
@pytest.mark.parametrize("max_frames", [500, 9])
def test_full_frames_are_those_that_training_scales(
    tmp_path: Path, size: tuple[int, int], rate: Fraction | int, max_frames: int
) -> None:
    path = write_clip(tmp_path / "a.mp4", even_times(14, rate), size=size, last=Fraction(1) / rate)
    frames = list(ClipFile("a", path, max_frames).full_frames())
    assert {frame.shape for frame in frames} == {(size[1], size[0], 3)}
    assert_array_equal([draw_frame(frame) for frame in frames], read_video(path, max_frames))


def test_full_frames_of_a_broken_clip(clip: Path) -> None:
    whole = bytearray(clip.read_bytes())
    whole[60_000:90_000] = bytes(30_000)
    clip.write_bytes(whole)
    with pytest.raises(DataError, match=r"only \d+ of its 39 frames decode"):
        changed("blur sigma 1 px", clip)


@pytest.mark.parametrize("family", VIDEO)
def test_video_gets_worse_from_level_to_level(clip: Path, family: str) -> None:
    frames, samples = read_video(clip, 12), read_audio(clip, 12)
    peaks = []
    for name in _levels(family):
        media = changed(name, clip, max_frames=12)
        assert media.frames.shape == frames.shape
        assert media.frames.dtype == np.uint8
        assert_array_equal(media.samples, samples)
        peaks.append(10 * np.log10(255**2 / np.mean((media.frames.astype(float) - frames) ** 2)))
    assert np.all(np.diff(peaks) < -0.5)
    assert peaks[0] > 19
    assert peaks[-1] < 30


def test_nothing_but_the_amount_changes_a_frame(clip: Path) -> None:
    frames = read_video(clip, 6).astype(float)
    darker = changed("brightness ×0.4", clip, max_frames=6).frames
    assert np.abs(darker - 0.4 * frames).max() <= 1
    noisy = changed("noise sigma 10", clip, max_frames=6).frames - frames
    # Halving a frame of 224 pixels averages four values; few pixels are near black or white.
    assert abs(np.std(noisy) - 5) < 0.5
    assert abs(np.mean(noisy)) < 0.2


@pytest.mark.parametrize("size", [(161, 121), (224, 224)])
def test_h264_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_clip(tmp_path / "a.mp4", even_times(30, 25), size=size, audio=(speech(20_000)[:, None], 16_000))
    frames, media = read_video(path), changed("H.264 CRF 18", path)
    assert media.frames.shape == frames.shape
    # Each is three levels brighter than the one before: none is lost, doubled or out of its place.
    assert np.abs(media.frames.astype(int) - frames).max() <= 1


@pytest.mark.parametrize("family", AUDIO)
def test_audio_gets_worse_from_level_to_level_and_stays_in_its_place(clip: Path, family: str) -> None:
    frames, samples = untouched(clip)[0], give_audio(clip, speech(25_037))
    ratios = []
    for name in _levels(family):
        media = changed(name, clip)
        assert_array_equal(media.frames, frames)
        assert media.samples.shape == samples.shape
        assert media.samples.dtype == np.int16
        ratios.append(_ratio(samples, media.samples))
        product = correlate(media.samples.astype(float), samples.astype(float), method="fft")
        assert np.argmax(product) == len(samples) - 1
    assert np.all(np.diff(ratios) < -0.5)


@pytest.mark.parametrize("decibels", [30, 20, 10, 5, 0])
def test_audio_noise_is_as_loud_as_it_says(clip: Path, decibels: int) -> None:
    samples = untouched(clip)[1]
    assert abs(_ratio(samples, changed(f"audio noise {decibels} dB", clip).samples) - decibels) < 0.5


@pytest.mark.parametrize("kilohertz", [6, 4, 3, 2, 1])
def test_band_limit(clip: Path, kilohertz: int) -> None:
    samples = give_audio(clip, np.random.default_rng(1).normal(0, 3000, 25_000))
    frequencies, before = welch(samples, 16_000, nperseg=1024)
    _, after = welch(changed(f"band limit {kilohertz} kHz", clip).samples, 16_000, nperseg=1024)
    change = 10 * np.log10(after / before)
    assert np.abs(change[frequencies < 800 * kilohertz]).max() < 1
    assert change[frequencies > 1300 * kilohertz].max() < -20


@pytest.mark.parametrize("name", ["noise sigma 20", "audio noise 10 dB"])
def test_noise_depends_on_clip_and_seed_alone(clip: Path, name: str) -> None:
    def noise(file: str, seed: int) -> bytes:
        frames, samples, _ = change_clip(named(name), ClipFile(file, clip, 12), Context(seed=seed))
        return frames.tobytes() + samples.tobytes()

    assert noise("a", 1) == noise("a", 1)
    assert len({noise("a", 1), noise("b", 1), noise("a", 2)}) == 3


def test_silence_has_no_signal_to_noise_ratio(clip: Path) -> None:
    give_audio(clip, np.zeros(25_000))
    with pytest.raises(DataError, match="all of its audio is silent"):
        changed("audio noise 0 dB", clip)
    assert not changed("MP3 32 kbit/s", clip).samples.any()


def test_damage_of_the_start_of_a_long_clip(clip: Path) -> None:
    for name in ("H.264 CRF 28", "resize ×0.5", "MP3 64 kbit/s", "band limit 3 kHz"):
        media = changed(name, clip, max_frames=12)
        assert media.frames.shape == (12, 112, 112, 3)
        assert len(media.samples) == 12 * 640 + 240
