"""A clip as the detectors take it: windows of its video and audio, one after the other, or all of it at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataset.faces.crop import cut_square
from dataset.faces.detector import FaceDetector, make_detector
from dataset.faces.survey import SHORTEST, ClipFault, Survey, survey, unreadable
from dataset.features import FEATURES, audio_features
from dataset.media import (
    FRAME_RATE,
    MAX_FRAMES,
    SAMPLES_PER_FRAME,
    WINDOW_OVERHANG,
    Clip,
    audio_chunks,
    draw_frame,
    read_audio,
)
from dataset.reader import Reader
from dataset.transforms import centre_crop
from utils.errors import DataError


class Window(NamedTuple):
    """Part of a clip, as the detectors take it."""

    start: float  # seconds from the clip's start
    video: Tensor  # frames (3, T, 100, 100), uint8, 25 a second
    audio: Tensor  # features (T, 104), float32
    levels: Tensor  # largest sample of each frame's audio (T,), float32, 0 to 1


def crop_clip(
    path: str | Path, max_frames: int = MAX_FRAMES, detector: FaceDetector | None = None
) -> tuple[Clip, Survey]:
    """Crop a clip to its face, exactly as :func:`windows` does.

    Returns
    -------
    Clip
        As :func:`dataset.media.read_clip` gives it, with the notes of the survey.
    Survey
        What was found.

    Raises
    ------
    ClipFault
        If it does not decode, or shows no face; a DataError.
    """
    found = survey(path, detector or make_detector())
    with _Frames(path, found) as shown:
        frames = shown.take(0, min(found.frames, max_frames))
    return Clip(frames, read_audio(path, max_frames), found.notes), found


def windows(path: str | Path, found: Survey, length: int, hop: int) -> Iterator[Window]:
    """Decode a clip again, and cut it into windows.

    In each span that shows one person's face they begin every `hop` frames, and the last one ends with it; a span of
    at most `length` frames is one window. No more than a window is kept.

    Parameters
    ----------
    path
        The clip.
    found
        What :func:`dataset.faces.survey` found there.
    length, hop
        Frames.

    Raises
    ------
    ClipFault
        If the clip does not decode to its end, or no span is long enough.
    DataError
        If `length` or `hop` is not positive.
    """
    if length < 1 or hop < 1:
        raise DataError(f"windows of {length} frames every {hop}: both must be at least 1")
    spans = [span for span in found.spans if span.end - span.start >= SHORTEST]
    if not spans:
        longest = max((span.end - span.start for span in found.spans), default=0) / FRAME_RATE
        why = f"a face is seen for {longest:.1f} of {found.seconds:.1f} s at most, give at least"
        raise ClipFault(ClipFault.NO_FACE, f"{path}: {why} {SHORTEST / FRAME_RATE:g} s")
    samples = _Samples(path)
    try:
        with _Frames(path, found) as shown:
            for span in spans:
                count = min(length, span.end - span.start)
                last = span.end - count
                for start in (*range(span.start, last, hop), last):
                    yield _window(start, shown.take(start, start + count), samples, count)
    except DataError as error:
        raise unreadable(path, error) from error


def _window(start: int, frames: np.ndarray, heard: _Samples, count: int) -> Window:
    """Make a window of the `count` frames (T, 112, 112, 3) from `start` on."""
    samples = heard.take(start * SAMPLES_PER_FRAME, (start + count) * SAMPLES_PER_FRAME + WINDOW_OVERHANG)
    # Where the audio has ended, features are zeros, as they are in the data set.
    audio = audio_features(samples, count) if len(samples) else torch.zeros(count, FEATURES)
    whole = np.zeros(count * SAMPLES_PER_FRAME, np.int32)
    used = samples[: len(whole)]
    whole[: len(used)] = used
    levels = np.abs(whole).reshape(count, -1).max(1).astype(np.float32) / 32_768
    video = centre_crop(torch.from_numpy(frames).permute(3, 0, 1, 2)).contiguous()  # (3, T, 100, 100)
    return Window(start / FRAME_RATE, video, audio, torch.from_numpy(levels))


class _Frames:
    """The frames of a clip at 25 a second, cropped, of which only those of the window at hand are kept."""

    def __init__(self, path: str | Path, found: Survey) -> None:
        def draw(frame: np.ndarray, time: float) -> np.ndarray:
            return draw_frame(frame if found.face is None else cut_square(frame, *found.face.at(time)))

        self._reader = Reader(path, audio=False)
        self._coming = self._reader.shown(draw)
        self._kept: deque[np.ndarray] = deque()
        self._first = 0  # tick of the first one that is kept

    def __enter__(self) -> _Frames:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()

    def take(self, start: int, end: int) -> np.ndarray:
        """Frames (T, 112, 112, 3) of some ticks; those before `start` are gone for good."""
        while self._first + len(self._kept) < end:
            self._kept.append(next(self._coming))
            if self._first < start:
                self._kept.popleft()
                self._first += 1
        while self._first < start:
            self._kept.popleft()
            self._first += 1
        return np.stack(self._kept)


class _Samples:
    """The audio of a clip, of which only that of the window at hand is kept."""

    def __init__(self, path: str | Path) -> None:
        self._coming = audio_chunks(path)
        self._kept: np.ndarray = np.empty(0, np.int16)
        self._first = 0  # index of the first sample that is kept

    def take(self, start: int, end: int) -> np.ndarray:
        """Samples (N,) int16 from `start` to `end`, fewer if the audio ends; those before are gone for good."""
        parts, known = [self._kept], self._first + len(self._kept)
        while known < end and (chunk := next(self._coming, None)) is not None:
            parts.append(chunk)
            known += len(chunk)
        samples = np.concatenate(parts)
        gone = min(start - self._first, len(samples))
        self._kept = samples[gone:].copy()
        self._first += gone
        return self._kept[: end - start]
