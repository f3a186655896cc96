"""Clips of talking faces in larger frames: where the face is in every frame is known."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np

from scripts.synthesize.clip import CATEGORIES, make_cast, make_clip
from tests.media_files import add_audio, mux_audio, tone

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
        image = background.copy()
        for person, place in enumerate(there):
            if place is not None:
                frames = portrait(person)
                _paste(image, frames[index % len(frames)], *place)
        yield image


def moving(count: int, start: Place, end: Place) -> list[list[Place]]:
    """One person who moves evenly from one place to another."""
    return [[tuple(place)] for place in np.linspace(start, end, count).round().astype(int).tolist()]


def film(
    path: Path,
    images: Iterable[np.ndarray],
    *,
    fps: int = 30,
    codec: str = "libx264",
    audio: tuple[np.ndarray, int] | None = None,
    audio_codec: str = "aac",
    audio_at: float = 0,
    rotation: int = 0,
) -> Path:
    """Write images (H, W, 3), RGB, with audio (N, channels) int16 that begins `audio_at` seconds after them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        stream.thread_count = 1  # the same bytes on any number of cores
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "18"}
        if rotation:
            stream.set_display_rotation(rotation)
        track = audio and add_audio(container, audio_codec, *audio)
        for index, image in enumerate(images):
            if index == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            mux_audio(container, track, *audio, audio_at)
    return path


def speech(seconds: float, rate: int = 44_100, channels: int = 2) -> tuple[np.ndarray, int]:
    """A tone that is switched on and off five times a second, and its rate."""
    samples = tone(seconds, rate, channels)
    on = np.arange(len(samples)) // (rate // 10) % 2 == 0
    return samples * on[:, None], rate


def _paste(image: np.ndarray, face: np.ndarray, x: int, y: int, side: int) -> None:
    """Put a portrait of that side where it is to be; what lies outside of the image is cut."""
    face = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA if side < len(face) else cv2.INTER_LINEAR)
    height, width = image.shape[:2]
    left, right, top, bottom = max(x, 0), min(x + side, width), max(y, 0), min(y + side, height)
    if left < right and top < bottom:
        image[top:bottom, left:right] = face[top - y : bottom - y, left - x : right - x]
