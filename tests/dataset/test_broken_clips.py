"""Every way in which a clip can be broken: the inspection gives the reason for which training refuses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from dataset.check import inspect_clip
from dataset.media import read_clip, read_video
from tests.media_files import copy_clip, remux, write_clip, write_wav
from utils.errors import DataError


@pytest.fixture
def clip(reference: Path, tmp_path: Path) -> Path:
    return copy_clip(reference, tmp_path)


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
