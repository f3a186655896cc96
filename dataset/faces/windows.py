"""A clip as the detectors take it: windows of its video and audio, one after the other, or all of it at once."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
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
    """Crop a clip to its face, exactly as :func:`windows` does; a ClipFault if it does not decode, or shows no face.

    Comes as :func:`dataset.media.read_clip` gives it, with the notes of the survey, and with the survey.
    """
    found = survey(path, detector or make_detector())
    with Reader(path, audio=False) as reader:
        frames = np.stack(list(islice(_cropped(reader, found), min(found.frames, max_frames))))
    return Clip(frames, read_audio(path, max_frames), found.notes), found


def windows(path: str | Path, found: Survey, length: int, hop: int) -> Iterator[Window]:
    """Decode a clip again, of which :func:`dataset.faces.survey` has `found` what it shows, and cut it into windows.

    In each span that shows one person's face they begin every `hop` frames and have `length`, and the last one ends
    with it; a span of at most `length` frames is one window. No more than a window is kept.

    A ClipFault if the clip does not decode to its end, or no span is long enough.
    """
    if length < 1 or hop < 1:
        raise DataError(f"windows of {length} frames every {hop}: both must be at least 1")
    spans = [span for span in found.spans if span.end - span.start >= SHORTEST]
    if not spans:
        longest = max((span.end - span.start for span in found.spans), default=0) / FRAME_RATE
        why = f"a face is seen for {longest:.1f} of {found.seconds:.1f} s at most, give at least"
        raise ClipFault(ClipFault.NO_FACE, f"{path}: {why} {SHORTEST / FRAME_RATE:g} s")
    try:
        with Reader(path, audio=False) as reader:
            frames = _Sliding(frame[None] for frame in _cropped(reader, found))
            samples = _Sliding(audio_chunks(path))
            for span in spans:
                count = min(length, span.end - span.start)
                last = span.end - count
                for start in (*range(span.start, last, hop), last):
                    shown = frames.take(start, start + count)
                    first, end = start * SAMPLES_PER_FRAME, (start + count) * SAMPLES_PER_FRAME
                    yield _window(start, shown, samples.take(first, end + WINDOW_OVERHANG))
    except DataError as error:
        raise unreadable(path, error) from error


def _cropped(reader: Reader, found: Survey) -> Iterator[np.ndarray]:
    """Frames (112, 112, 3) at 25 a second, cut out around the face."""

    def draw(frame: np.ndarray, time: float) -> np.ndarray:
        return draw_frame(frame if found.face is None else cut_square(frame, *found.face.at(time)))

    return reader.shown(draw)


def _window(start: int, frames: np.ndarray, samples: np.ndarray) -> Window:
    """Make a window of frames (T, 112, 112, 3) from that number on, and their samples."""
    count = len(frames)
    # Where the audio has ended, features are zeros, as they are in the data set.
    audio = audio_features(samples, count) if len(samples) else torch.zeros(count, FEATURES)
    whole = np.zeros(count * SAMPLES_PER_FRAME, np.int32)
    used = samples[: len(whole)]
    whole[: len(used)] = used
    levels = np.abs(whole).reshape(count, -1).max(1).astype(np.float32) / 32_768
    video = centre_crop(torch.from_numpy(frames).permute(3, 0, 1, 2)).contiguous()  # (3, T, 100, 100)
    return Window(start / FRAME_RATE, video, audio, torch.from_numpy(levels))


class _Sliding:
    """Frames or samples that come in arrays, of which only those of the window at hand are kept."""

    def __init__(self, coming: Iterator[np.ndarray]) -> None:
        self._coming = coming
        self._kept: deque[np.ndarray] = deque()
        self._first = self._end = 0  # which of all are kept

    def take(self, start: int, end: int) -> np.ndarray:
        """Those from `start` to `end`, fewer if no more come; what lies before is gone for good."""
        while self._end < end and (more := next(self._coming, None)) is not None:
            self._kept.append(more)
            self._end += len(more)
            self._drop(start)
        self._drop(start)
        if not self._kept:
            return np.empty(0, np.int16)
        return np.concatenate(self._kept)[start - self._first : end - self._first]

    def _drop(self, start: int) -> None:
        while self._kept and self._first + len(self._kept[0]) <= start:
            self._first += len(self._kept.popleft())
