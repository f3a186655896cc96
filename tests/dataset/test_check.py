"""What is said of a clip, and that it is broken for the reason for which training refuses it."""

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dataset.check import ClipFacts, inspect_clip
from dataset.media import read_clip, read_video
from tests.media_files import copy_clip, even_times, remux, repeat, tone, write_clip, write_wav
from utils.errors import DataError

NTSC = Fraction(30_000, 1001)


@pytest.fixture
def clip(reference: Path, tmp_path: Path) -> Path:
    return copy_clip(reference, tmp_path)


def quiet_clip(path: Path, times: list[Fraction], **options: object) -> Path:
    """A clip with as much audio as video, 16 kHz mono and not compressed."""
    last = options.setdefault("last", Fraction(1, 25))
    audio = tone(float(times[-1] + last - times[0]), 16_000)
    return write_clip(path, times, audio=(audio, 16_000), audio_codec="pcm_s16le", **options)


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
        write_clip(tmp_path / "a.mov", even_times(25, 25), audio=(audio, 44_100), audio_codec="pcm_s16le")
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
    facts = inspect_clip(write_clip(tmp_path / "a.mp4", even_times(25, 25), size=(112, 112), audio=audio))
    assert (facts.audio, facts.sample_rate, facts.channels, facts.audio_codec) == ("mp4", rate, channels, "aac")
    assert 1 <= facts.audio_seconds <= 1 + 4 * 1024 / rate


def test_missing(tmp_path: Path) -> None:
    assert inspect_clip(tmp_path / "a.mp4") == ClipFacts.missing() == ClipFacts("missing", "no such file")
    folder = inspect_clip(tmp_path)
    assert (folder.state, folder.reason) == ("broken", "is a folder, not a file")


MEASURED = """
import sys
from dataset.check import inspect_clip
from dataset.media import read_audio, read_video
def peak():  # of this program alone: ru_maxrss begins with what the process that started it had
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
before = peak()
facts = inspect_clip(sys.argv[1])
assert facts.state == "ok" and facts.frames == facts.frames_25 == 30_000, facts
assert len(read_video(sys.argv[1])) == 500 and len(read_audio(sys.argv[1])) == 500 * 640 + 240
after = peak()
assert after < 1_000_000 and after - before < 150_000, (before, after)  # KiB
"""


@pytest.mark.slow
def test_memory_for_twenty_minutes(tmp_path: Path) -> None:
    second = (tone(1, 16_000), 16_000)
    short = write_clip(tmp_path / "short.mp4", even_times(25, 25), size=(224, 224), b_frames=0, audio=second)
    clip = repeat(short, "long.mp4", times=1200)
    command = [sys.executable, "-c", MEASURED, str(clip)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])


def refusal(path: Path) -> str:
    """What training says of a clip, without its path; "" if it reads it."""
    try:
        read_clip(path)
    except DataError as error:
        return str(error).removeprefix(f"{path}: ").removeprefix(f"{path.with_suffix('.wav')}: ")
    return ""


def _cut(clip: Path) -> None:
    clip.write_bytes(clip.read_bytes()[:100_000])


def _cut_in_the_middle(clip: Path) -> None:
    data = remux(clip, "first.mp4", movflags="faststart").read_bytes()
    clip.write_bytes(data[: len(data) // 2])


def _silent(clip: Path) -> None:
    remux(clip, "silent.mp4", kinds=("video",)).replace(clip)


def _blind(clip: Path) -> None:
    remux(clip, "blind.mp4", kinds=("audio",)).replace(clip)


def _blank(clip: Path, start: int = 60_000, end: int = 90_000) -> None:
    data = bytearray(clip.read_bytes())
    data[start:end] = bytes(end - start)
    clip.write_bytes(data)


def _blank_all(clip: Path) -> None:
    _blank(clip, 48, 159_000)


def _empty(clip: Path) -> None:
    clip.write_bytes(b"")


def _text(clip: Path) -> None:
    clip.write_bytes(b"no clip at all" * 99)


def _broken_wav(clip: Path) -> None:
    clip.with_suffix(".wav").write_bytes(b"no wav at all" * 99)


def _empty_wav(clip: Path) -> None:
    write_wav(clip.with_suffix(".wav"), np.empty(0), 16_000)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_cut, "truncated, or not a video"),
        (_cut_in_the_middle, "truncated, only"),
        (_silent, "has no audio"),
        (_blind, "has no video stream"),
        (_blank, "of its 39 frames decode"),
        (_blank_all, "has no frame that decodes"),
        (_empty, "truncated, the file is empty"),
        (_text, "truncated, or not a video"),
        (_broken_wav, "its audio does not decode"),
        (_empty_wav, "its audio is empty"),
    ],
)
def test_broken(clip: Path, damage: Callable[[Path], None], reason: str) -> None:
    damage(clip)
    facts = inspect_clip(clip)
    assert facts.state == "broken"
    assert reason in facts.reason
    assert facts.reason == refusal(clip)
    assert facts.bytes == clip.stat().st_size
    assert facts.notes == ()


def test_clip_that_lacks_a_frame_is_used(clip: Path) -> None:
    whole = remux(clip, "first.mp4", movflags="faststart")
    with av.open(str(whole)) as container:
        last = list(container.streams.video[0].index_entries)[-1]
    data = bytearray(whole.read_bytes())
    data[last.pos : last.pos + last.size] = bytes(last.size)
    clip.write_bytes(data)
    assert read_clip(clip).frames.shape == (39, 112, 112, 3)
    (note, *_) = inspect_clip(clip).notes
    assert note == "1 of 39 frames do not decode; the rest is used"


def test_clip_whose_container_has_no_index_and_which_stops_decoding(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.flv", [index / 25 for index in range(50)])
    broken = remux(whole, "b.flv", instead=dict.fromkeys(range(10, 50), b"\xff" * 50))
    assert len(read_video(whole)) == 50
    for of_it in (refusal(broken), inspect_clip(broken).reason):
        assert of_it == "only 10 of its 50 frames decode"


def test_what_is_known_of_a_broken_clip(clip: Path) -> None:
    _silent(clip)
    facts = inspect_clip(clip)
    assert (facts.frames, facts.fps, facts.width, facts.audio) == (39, 25.0, 224, "")
    assert facts.sample_rate is facts.audio_seconds is facts.leading_silence is None


@pytest.mark.parametrize("seed", range(12))
def test_says_what_training_says(clip: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(clip.read_bytes())
    start = data.index(b"moov") if seed % 2 else 0  # the index, or anywhere
    for _ in range(8):
        data[rng.integers(start, len(data))] = rng.integers(256)
    clip.write_bytes(data)
    facts = inspect_clip(clip)
    assert facts.reason == refusal(clip)
    assert (facts.state == "ok") == (facts.reason == "")
