"""What is said of a clip, and that it agrees with what training can read."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dataset.check import ClipFacts, inspect_clip
from dataset.media import read_video
from tests.media_files import copy_clip, even_times, remux, repeat, tone, write_clip, write_wav

NTSC = Fraction(30_000, 1001)


@pytest.fixture
def clip(reference: Path, tmp_path: Path) -> Path:
    return copy_clip(reference, tmp_path)


def quiet_clip(path: Path, times: list[Fraction], **options: object) -> Path:
    """A clip with as much audio as video, 16 kHz mono and not compressed."""
    last = options.setdefault("last", Fraction(1, 25))
    audio = tone(float(times[-1] + last - times[0]), 16_000)
    return write_clip(path, times, sound=(audio, 16_000), audio_codec="pcm_s16le", **options)


def test_facts_of_a_reference_clip(clip: Path) -> None:
    assert inspect_clip(clip) == ClipFacts(
        state="ok",
        reason="",
        frames=39,
        fps=25.0,
        constant_rate=True,
        width=224,
        height=224,
        video_codec="h264",
        video_seconds=1.56,
        audio="mp4",
        sample_rate=44_100,
        channels=2,
        audio_codec="aac",
        audio_seconds=70_656 / 44_100,
        leading_silence=0.0,
        frames_25=39,
        bytes=162_452,
        notes=(),
        video_bytes=134_052,
        audio_bytes=25_679,
    )


def test_facts_are_plain(clip: Path) -> None:
    for value in vars(inspect_clip(clip)).values():
        assert type(value) in (str, int, float, bool, tuple)


def test_wav_beside_the_clip(clip: Path) -> None:
    samples = np.r_[np.full(4000, 32), np.full(4000, -32), -33, np.zeros(16_959)]
    write_wav(clip.with_suffix(".wav"), samples, 16_000)
    facts = inspect_clip(clip)
    assert (facts.audio, facts.sample_rate, facts.channels, facts.audio_codec) == ("wav", 16_000, 1, "pcm_s16le")
    assert facts.audio_seconds == 24_960 / 16_000
    assert facts.leading_silence == 0.5
    assert facts.bytes == 162_452
    assert facts.notes == ()


@pytest.mark.parametrize(("samples", "silence"), [(np.zeros(200_000), 12.5), (np.full(160, 9000), 0.0)])
def test_all_or_nothing_of_it_is_silent(clip: Path, samples: np.ndarray, silence: float) -> None:
    write_wav(clip.with_suffix(".wav"), samples, 16_000)
    assert inspect_clip(clip).leading_silence == silence


def test_silence_before_audio_at_another_rate(tmp_path: Path) -> None:
    audio = np.concatenate([np.zeros((11_025, 2)), tone(0.75, 44_100, 2)])
    facts = inspect_clip(
        write_clip(tmp_path / "a.mov", even_times(25, 25), sound=(audio, 44_100), audio_codec="pcm_s16le")
    )
    assert facts.leading_silence == pytest.approx(0.25, abs=0.001)
    assert facts.audio_seconds == 1.0
    assert (facts.audio, facts.audio_codec, facts.notes) == (
        "mov",
        "pcm_s16le",
        ("64x64: enlarged to 112x112",),
    )


@pytest.mark.parametrize(
    ("rate", "fps", "frames_25", "notes"),
    [
        (25, 25.0, 60, ()),
        (30, 30.0, 50, ("30 frames a second: brought to 25 by time stamps",)),
        (NTSC, 29.97, 50, ("29.97 frames a second: brought to 25 by time stamps",)),
        (24, 24.0, 63, ("24 frames a second: brought to 25 by time stamps",)),
        (50, 50.0, 30, ("50 frames a second: brought to 25 by time stamps",)),
    ],
)
def test_frame_rates(tmp_path: Path, rate: Fraction, fps: float, frames_25: int, notes: tuple[str, ...]) -> None:
    path = quiet_clip(tmp_path / "a.mov", even_times(60, rate), last=1 / Fraction(rate), size=(112, 112))
    facts = inspect_clip(path)
    assert (facts.state, facts.frames, facts.fps, facts.constant_rate) == ("ok", 60, fps, True)
    assert facts.frames_25 == frames_25 == len(read_video(path))
    assert facts.video_seconds == pytest.approx(60 / rate, abs=1e-4)
    assert facts.notes == notes


def test_variable_rate(tmp_path: Path) -> None:
    steps = np.random.default_rng(0).choice([Fraction(1, 30), Fraction(1, 10)], 40)
    path = quiet_clip(tmp_path / "a.mov", list(np.cumsum(steps)), size=(112, 112))
    facts = inspect_clip(path)
    assert not facts.constant_rate
    assert facts.frames == 40
    assert facts.fps == pytest.approx(39 / float(sum(steps[1:])), abs=0.001)
    assert facts.frames_25 == len(read_video(path))
    assert facts.notes[0] == "variable frame rate: brought to 25 by time stamps"


def test_jitter_is_a_constant_rate(tmp_path: Path) -> None:
    shifts = np.random.default_rng(0).uniform(0, 0.018, 50)
    facts = inspect_clip(quiet_clip(tmp_path / "a.mov", list(np.arange(50) / 25 + shifts), size=(112, 112)))
    assert facts.constant_rate
    assert facts.frames_25 == 50
    assert facts.notes == ()


def test_no_time_stamps(tmp_path: Path) -> None:
    bare = remux(write_clip(tmp_path / "a.mp4", even_times(20, 25), b_frames=0), "bare.h264", kinds=("video",))
    write_wav(bare.with_suffix(".wav"), tone(0.8, 16_000), 16_000)
    facts = inspect_clip(bare)
    assert (facts.state, facts.frames, facts.frames_25, facts.video_seconds) == ("ok", 20, 20, 0.8)
    assert facts.fps is None
    assert facts.constant_rate is None
    assert facts.notes[0] == "no usable time stamps: its frames are taken as evenly spaced"


@pytest.mark.parametrize(
    ("size", "notes"),
    [
        ((224, 224), []),
        ((300, 300), []),
        ((640, 480), ["640x480: its central square is used"]),
        ((161, 121), ["161x121: its central square is used"]),
        ((64, 64), ["64x64: enlarged to 112x112"]),
        ((64, 48), ["64x48: its central square is used", "64x48: enlarged to 112x112"]),
    ],
)
def test_sizes(tmp_path: Path, size: tuple[int, int], notes: list[str]) -> None:
    facts = inspect_clip(quiet_clip(tmp_path / "a.mov", even_times(12, 25), size=size))
    assert (facts.width, facts.height) == size
    assert list(facts.notes) == notes


@pytest.mark.parametrize(("count", "note"), [(1, "only 1 frame"), (3, "only 3 frames")])
def test_few_frames(tmp_path: Path, count: int, note: str) -> None:
    facts = inspect_clip(quiet_clip(tmp_path / "a.mov", even_times(count, 25), size=(112, 112)))
    assert facts.notes == (note,)


@pytest.mark.parametrize(
    ("seconds", "notes"),
    [
        (0.69, ["audio ends 0.31 s before the video"]),
        (1.25, ["audio ends 0.25 s after the video"]),
        (0.95, []),
    ],
)
def test_audio_and_video_of_different_length(tmp_path: Path, seconds: float, notes: list[str]) -> None:
    path = write_clip(tmp_path / "a.mp4", even_times(25, 25), size=(112, 112))
    write_wav(path.with_suffix(".wav"), tone(seconds, 16_000), 16_000)
    assert list(inspect_clip(path).notes) == notes


def test_longer_than_is_used(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [Fraction(0), Fraction(21)], size=(112, 112))
    facts = inspect_clip(path)
    assert (facts.frames, facts.frames_25) == (2, 526)
    write_wav(path.with_suffix(".wav"), tone(21.04, 16_000), 16_000)
    assert "longer than 20 s: the first 500 frames are used" in inspect_clip(path).notes
    assert len(read_video(path)) == 500


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 6), (8_000, 1)])
def test_audio_tracks(tmp_path: Path, rate: int, channels: int) -> None:
    audio = (tone(1, rate, channels), rate)
    facts = inspect_clip(write_clip(tmp_path / "a.mp4", even_times(25, 25), size=(112, 112), sound=audio))
    assert (facts.audio, facts.sample_rate, facts.channels, facts.audio_codec) == ("mp4", rate, channels, "aac")
    assert 1 <= facts.audio_seconds <= 1 + 4 * 1024 / rate


def test_missing(tmp_path: Path) -> None:
    assert inspect_clip(tmp_path / "a.mp4") == ClipFacts.missing() == ClipFacts("missing", "no such file")
    folder = inspect_clip(tmp_path)
    assert (folder.state, folder.reason) == ("broken", "is a folder, not a file")


MEASURED = """
import resource, sys
from dataset.check import inspect_clip
from dataset.media import read_audio, read_video
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
facts = inspect_clip(sys.argv[1])
assert facts.state == "ok" and facts.frames == facts.frames_25 == 30_000, facts
assert len(read_video(sys.argv[1])) == 500 and len(read_audio(sys.argv[1])) == 500 * 640 + 240
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert after < 1_000_000 and after - before < 150_000, (before, after)  # KiB
"""


@pytest.mark.slow
def test_memory_for_twenty_minutes(tmp_path: Path) -> None:
    second = (tone(1, 16_000), 16_000)
    short = write_clip(tmp_path / "short.mp4", even_times(25, 25), size=(224, 224), b_frames=0, sound=second)
    clip = repeat(short, "long.mp4", times=1200)
    command = [sys.executable, "-c", MEASURED, str(clip)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
