"""Clips that are odd in some way are read all the same, and it is said of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from dataset.faces import survey, windows
from dataset.media import audio_chunks, read_video
from tests.face_clips import film, portrait, speech
from tests.media_files import copy_clip, remux


@pytest.fixture
def clip(reference: Path, tmp_path: Path) -> Path:
    return copy_clip(reference, tmp_path)


def notes(path: Path) -> tuple[str, ...]:
    return survey(path, None, framing="crop").notes


def test_empty_packets_show_the_frame_before_again(tmp_path: Path) -> None:
    still = [portrait()[max(index - 2, 0)] for index in range(25)]
    clip = film(tmp_path / "a.nut", still, fps=25, codec="ffvhuff", sound=speech(1), audio_codec="mp3")
    sparse = remux(clip, "b.nut", instead={1: b"", 2: b""})  # as Theora stores a frame that does not change
    parts = [next(windows(path, survey(path, None, framing="crop"), 500, 250)) for path in (clip, sparse)]
    assert parts[1].video.shape == (3, 25, 100, 100)
    assert torch.equal(parts[1].video[:, 1], parts[1].video[:, 0])
    assert not torch.equal(parts[1].video[:, 20], parts[1].video[:, 0])
    assert torch.equal(parts[0].video, parts[1].video)


def test_damaged_frames(clip: Path) -> None:
    assert notes(clip) == ()
    data = bytearray(clip.read_bytes())
    data[60_000:60_400] = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
    clip.write_bytes(data)
    (note,) = notes(clip)
    assert note.startswith("damaged in ")
    assert note.endswith(" or more")


def test_small_video(tmp_path: Path) -> None:
    small = [cv2.resize(picture, (64, 64)) for picture in portrait()]
    assert notes(film(tmp_path / "a.mp4", small, fps=25, sound=speech(1))) == ("64x64: enlarged to 112x112",)


def test_second_audio_track(clip: Path) -> None:
    target = clip.with_name("two.mkv")
    with av.open(str(clip)) as old, av.open(str(target), "w") as new:
        video, audio = old.streams.video[0], old.streams.audio[0]
        targets = {video.index: [new.add_stream_from_template(video)]}
        targets[audio.index] = [new.add_stream_from_template(audio) for _ in range(2)]
        for packet in old.demux():
            if packet.dts is not None:
                for stream in targets[packet.stream.index]:
                    packet.stream = stream
                    new.mux(packet)
    assert notes(target) == ("2 audio tracks: the best one is used (number 1)",)


def test_name_that_is_not_unicode(clip: Path) -> None:
    odd = clip.with_name("odd\udcff.mp4")
    shutil.copyfile(clip, odd)
    assert_array_equal(read_video(odd), read_video(clip))
    (first,), (second,) = ([*windows(path, survey(path, None, framing="crop"), 500, 250)] for path in (clip, odd))
    assert torch.equal(first.audio, second.audio)
    assert torch.equal(first.video, second.video)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "flac"), ("a.mp4", "aac"), ("a.webm", "libopus")])
def test_gap_in_the_audio_is_silence(tmp_path: Path, name: str, codec: str) -> None:
    rate = 48_000
    beeps = np.zeros((4 * rate, 1), np.int16)
    for second in (0.5, 1.5, 2.5, 3.0):
        at = round(second * rate)
        beeps[at : at + 960, 0] = 20_000 * np.sin(np.arange(960) / rate * 2 * np.pi * 800)
    pictures = [np.full((64, 64, 3), 90, np.uint8)] * 100
    video = "libvpx" if name.endswith("webm") else "libx264"
    whole = film(tmp_path / name, pictures, fps=25, codec=video, sound=(beeps, rate), audio_codec=codec)
    holed = remux(whole, f"holed_{name}", gap=(1, 2))
    for path, expected in ((whole, [0.5, 1.5, 2.5, 3.0]), (holed, [0.5, 2.5, 3.0])):
        samples = np.concatenate(list(audio_chunks(path)))
        loud = np.flatnonzero(np.abs(samples) > 5_000) / 16_000
        starts = loud[np.diff(loud, prepend=-1) > 0.1]
        assert np.abs(starts - expected).max() < 0.03
        assert abs(len(samples) / 16_000 - 4) < 0.1
