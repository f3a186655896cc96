"""Windows of long clips: where they begin, what they hold, how much memory they take; audio that begins elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dataset.faces import ClipFault, survey, windows
from dataset.features import audio_features
from dataset.media import read_audio, read_video
from dataset.transforms import centre_crop
from tests.face_clips import film, portrait, scene, speech
from tests.media_files import even_times, repeat, tone, write_clip, write_wav

SMALL = "64x64: enlarged to 112x112"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Frames of 64x64 that say which they are, 72 at 25 a second, and 48 kHz audio."""
    return write_clip(tmp_path / "a.mp4", even_times(72, 25), audio=speech(2.88, 48_000))


STARTS = [
    (72, 30, [0]),
    (100, 1, [0]),
    (71, 30, [0, 1]),
    (30, 15, [0, 15, 30, 42]),
    (12, 15, [0, 15, 30, 45, 60]),
    (10, 40, [0, 40, 62]),
    (1, 35, [0, 35, 70, 71]),
]


@pytest.mark.parametrize(("length", "hop", "starts"), STARTS)
def test_windows_are_parts_of_the_clip(clip: Path, length: int, hop: int, starts: list[int]) -> None:
    found = survey(clip, None, framing="crop")
    parts = list(windows(clip, found, length, hop))
    assert [round(25 * part.start) for part in parts] == starts
    video = centre_crop(torch.from_numpy(read_video(clip)).permute(3, 0, 1, 2))
    audio = read_audio(clip)
    for start, part in zip(starts, parts, strict=True):
        end = min(start + length, 72)
        assert torch.equal(part.video, video[:, start:end])
        assert part.video.is_contiguous()
        assert torch.equal(part.audio, audio_features(audio[start * 640 : end * 640 + 240], end - start))
        loudest = np.abs(audio[start * 640 : end * 640].astype(int)).reshape(-1, 640).max(1)
        assert_allclose(part.levels[: len(loudest)], loudest / 32_768)


def test_windows_of_no_length(clip: Path) -> None:
    found = survey(clip, None, framing="crop")
    with pytest.raises(ValueError, match="windows of 0 frames every 5: both must be at least 1"):
        next(windows(clip, found, 0, 5))


def test_audio_that_ends_before_the_video(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", even_times(72, 25), audio=(tone(1, 16_000), 16_000))
    found = survey(clip, None, framing="crop")
    assert found.notes == ("audio ends 1.79 s before the video", SMALL)
    first, second = windows(clip, found, 36, 36)
    assert torch.equal(first.audio, audio_features(read_audio(clip), 36))
    assert not second.audio.any()
    assert not second.levels.any()
    assert second.audio.shape == (36, 104)


@pytest.mark.parametrize("late", [0.03, 0.2, 1.0])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_audio_that_begins_later_is_put_where_it_is_heard(tmp_path: Path, late: float, name: str) -> None:
    images = list(scene([[None]] * 50, (64, 64)))
    audio = tone(1.5, 48_000), 48_000
    clip = film(tmp_path / name, images, fps=25, audio=audio, audio_at=late, audio_codec="aac")
    found = survey(clip, None, framing="crop")
    (window,) = windows(clip, found, 500, 250)
    samples = read_audio(clip)
    assert torch.equal(window.audio, audio_features(samples, 50))
    assert abs(np.flatnonzero(np.abs(samples) > 4000)[0] / 16_000 - late) < 0.015
    assert any("after the video: silence before it" in note for note in found.notes) == (late >= 0.1)


def test_wav_beside_a_clip_has_no_time_stamps(clip: Path) -> None:
    write_wav(clip.with_suffix(".wav"), tone(2, 16_000)[:, 0], 16_000)
    found = survey(clip, None, framing="crop")
    assert found.notes == ("audio ends 0.88 s before the video", SMALL)
    (window,) = windows(clip, found, 500, 250)
    assert torch.equal(window.audio, audio_features(read_audio(clip), 72))


def test_audio_that_breaks_on_the_way(clip: Path) -> None:
    found = survey(clip, None, framing="crop")
    clip.with_suffix(".wav").write_bytes(b"no wav at all" * 99)
    with pytest.raises(ClipFault, match="its audio does not decode") as caught:
        list(windows(clip, found, 30, 15))
    assert caught.value.reason == "unreadable"


MEASURE = """
import resource, sys
import numpy as np
from dataset.faces import survey, windows
for clip in sys.argv[1:]:
    found = survey(clip, lambda frame: np.array([[30, 30, 60, 60, 0.9]]), framing="find")
    count = sum(1 for window in windows(clip, found, 50, 25))
    sys.stdout.write(f"{found.frames} {count} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\\n")
"""


def test_memory_does_not_grow_with_the_length_of_a_clip(tmp_path: Path) -> None:
    images = [np.ascontiguousarray(image[::2, ::2]) for image in portrait()[:25]]
    short = film(tmp_path / "a.mp4", images, fps=25, codec="mpeg4", audio=(tone(1, 44_100, 2), 44_100))
    clips = [repeat(short, f"{times}.mp4", times) for times in (8, 40)]
    command = [sys.executable, "-c", MEASURE, *map(str, clips)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    (frames, count, before), (more_frames, more, after) = (map(int, line.split()) for line in lines)
    assert (frames, more_frames, count, more) == (200, 1000, 7, 39)
    # The frames of 32 s more are 30 MB, and their audio is 1.
    assert after - before < 6 * 1024  # KiB
