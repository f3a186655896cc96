"""Clips of talking faces in larger pictures: where the face is in every frame is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np

from scripts.synthesize.clip import CATEGORIES, make_cast, make_clip
from tests.media_files import tone

Place = tuple[int, int, int]  # x and y of a portrait's upper left corner, and its side, in pixels


@cache
def portrait(person: int = 0, seconds: float = 1.0) -> np.ndarray:
    """Film one of the miniature's subjects (T, 224, 224, 3), RGB, framed as FakeAVCeleb's; detectors find the face."""
    subject = make_cast(person + 1, seed=5)[person]
    return make_clip(subject, CATEGORIES[0], seconds, np.random.SeedSequence(person)).frames


def scene(places: Sequence[Sequence[Place | None]], size: tuple[int, int] = (640, 360)) -> Iterator[np.ndarray]:
    """Put portraits before a smooth background.

    Parameters
    ----------
    places
        For each frame, where each person's portrait is; None where that person is not there.
    size
        Width and height.
    """
    noise = np.random.default_rng(1).integers(70, 150, (5, 8, 3)).astype(np.uint8)
    background = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    for index, there in enumerate(places):
        picture = background.copy()
        for person, place in enumerate(there):
            if place is not None:
                frames = portrait(person)
                _paste(picture, frames[index % len(frames)], *place)
        yield picture


def moving(count: int, start: Place, end: Place) -> list[list[Place]]:
    """One person who moves evenly from one place to another."""
    return [[tuple(place)] for place in np.linspace(start, end, count).round().astype(int).tolist()]


def film(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    fps: int = 30,
    codec: str = "libx264",
    sound: tuple[np.ndarray, int] | None = None,
    audio_codec: str = "aac",
    sound_at: float = 0,
    rotation: int = 0,
) -> Path:
    """Write pictures (H, W, 3), RGB, with sound (N, channels) int16 that begins `sound_at` seconds after them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        stream.thread_count = 1  # the same bytes on any number of cores
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "18"}
        if rotation:
            stream.set_display_rotation(rotation)
        audio = sound and container.add_stream(
            audio_codec, rate=sound[1], layout={1: "mono", 2: "stereo"}[sound[0].shape[1]]
        )
        for index, picture in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            _mux_sound(container, audio, *sound, sound_at)
    return path


def speech(seconds: float, rate: int = 44_100, channels: int = 2) -> tuple[np.ndarray, int]:
    """A tone that is switched on and off five times a second, and its rate."""
    samples = tone(seconds, rate, channels)
    on = np.arange(len(samples)) // (rate // 10) % 2 == 0
    return samples * on[:, None], rate


def _paste(picture: np.ndarray, face: np.ndarray, x: int, y: int, side: int) -> None:
    """Put a portrait of that side where it is to be; what lies outside of the picture is cut."""
    face = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA if side < len(face) else cv2.INTER_LINEAR)
    height, width = picture.shape[:2]
    left, right, top, bottom = max(x, 0), min(x + side, width), max(y, 0), min(y + side, height)
    if left < right and top < bottom:
        picture[top:bottom, left:right] = face[top - y : bottom - y, left - x : right - x]


def _mux_sound(
    container: av.container.OutputContainer, stream: av.AudioStream, samples: np.ndarray, rate: int, start: float
) -> None:
    context = stream.codec_context
    frame = av.AudioFrame.from_ndarray(samples.astype(np.int16).reshape(1, -1), format="s16", layout=stream.layout.name)
    frame.sample_rate = rate
    frame.pts, frame.time_base = round(start * rate), Fraction(1, rate)
    cut = av.AudioResampler(context.format.name, stream.layout.name, context.sample_rate, frame_size=context.frame_size)
    for part in (*cut.resample(frame), *cut.resample(None), None):
        container.mux(stream.encode(part))
