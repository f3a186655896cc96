"""The second look at a clip: windows of its picture and sound, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from dataset.faces.crop import cut_square
from dataset.faces.fault import NO_FACE, ClipFault, unreadable
from dataset.faces.look import Survey
from dataset.faces.reader import Reader
from dataset.features import FEATURES, audio_features
from dataset.media import SAMPLES_PER_FRAME, SIDE, WINDOW_OVERHANG, Sound, draw_picture, open_video
from dataset.resample import zeros
from dataset.timing import FRAME_RATE, FrameClock
from dataset.transforms import centre_crop
from utils.errors import DataError


class Window(NamedTuple):
    """Part of a clip, as the detectors take it.

    Attributes
    ----------
    start
        Seconds from the clip's start.
    video
        Frames (3, T, 100, 100), uint8, 25 a second.
    audio
        Features (T, 104), float32.
    levels
        Largest sample of each frame's sound (T,), float32, 0 to 1.
    """

    start: float
    video: Tensor
    audio: Tensor
    levels: Tensor


def windows(path: str | Path, survey: Survey, length: int, hop: int) -> Iterator[Window]:
    """Decode a clip again, and cut it into windows.

    They begin every `hop` frames, and the last one ends with the clip; a clip of at most `length` frames is one
    window. Windows that show the face for less than half of their time are left out. No more than a window is kept.

    Parameters
    ----------
    path
        The clip.
    survey
        What :func:`dataset.faces.survey` found there.
    length, hop
        Frames.

    Raises
    ------
    ClipFault
        If the sound does not decode to its end, or no window shows the face for long enough.
    ValueError
        If `length` or `hop` is not positive.
    """
    if length < 1 or hop < 1:
        raise ValueError(f"windows of {length} frames every {hop}: both must be at least 1")
    starts = [*range(0, max(survey.frames - length, 0), hop), max(survey.frames - length, 0)]
    count = min(length, survey.frames)
    face = survey.face
    shown = [start for start in starts if face is None or 2 * face.seen(start, start + count) >= count]
    if not shown:
        seen = face.seen(0, survey.frames) / FRAME_RATE
        why = f"a face is seen for {seen:.1f} of {survey.seconds:.1f} s, less than half of any window"
        raise ClipFault(NO_FACE, f"{path}: {why}. Choose shorter windows, or cut the clip")
    pictures, sound = _Pictures(path, survey), _Samples(path, survey.sound_shift)
    try:
        for start in shown:
            yield _window(start, pictures.take(start, start + count), sound, count)
    except ClipFault:
        raise
    except (DataError, av.FFmpegError) as error:
        raise unreadable(path, str(error).removeprefix(f"{path}: ")) from error
    finally:
        pictures.close()


def _window(start: int, pictures: np.ndarray, sound: _Samples, count: int) -> Window:
    """Make a window of `count` frames from pictures (T, 112, 112, 3)."""
    samples = sound.take(start * SAMPLES_PER_FRAME, (start + count) * SAMPLES_PER_FRAME + WINDOW_OVERHANG)
    # Where the sound has ended, features are zeros, as they are in the data set.
    audio = audio_features(samples, count) if len(samples) else torch.zeros(count, FEATURES)
    whole = np.zeros(count * SAMPLES_PER_FRAME, np.int32)
    heard = samples[: len(whole)]
    whole[: len(heard)] = heard
    levels = np.abs(whole).reshape(count, -1).max(1).astype(np.float32) / 32_768
    video = centre_crop(torch.from_numpy(pictures).permute(3, 0, 1, 2)).contiguous()  # (3, T, 100, 100)
    return Window(start / FRAME_RATE, video, audio, torch.from_numpy(levels))


class _Pictures:
    """The pictures of a clip at 25 a second, of which only those of the window at hand are kept."""

    def __init__(self, path: str | Path, survey: Survey) -> None:
        self._capture = _open(path, survey)
        self._coming = _shown(self._capture, path, survey)
        self._kept: deque[np.ndarray] = deque()
        self._first = 0  # tick of the first one that is kept

    def take(self, start: int, end: int) -> np.ndarray:
        """Pictures (T, 112, 112, 3) of some ticks; those before `start` are gone for good."""
        while self._first + len(self._kept) < end:
            self._kept.append(next(self._coming))
            if self._first < start:
                self._kept.popleft()
                self._first += 1
        while self._first < start:
            self._kept.popleft()
            self._first += 1
        return np.stack(self._kept)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class _Samples:
    """The sound of a clip, of which only that of the window at hand is kept."""

    def __init__(self, path: str | Path, shift: int) -> None:
        self._coming = _shifted(Sound(path), shift)
        self._kept = np.empty(0, np.int16)
        self._first = 0  # index of the first sample that is kept

    def take(self, start: int, end: int) -> np.ndarray:
        """Samples (N,) int16 from `start` to `end`, fewer if the sound ends; those before are gone for good."""
        parts, known = [self._kept], self._first + len(self._kept)
        while known < end and (chunk := next(self._coming, None)) is not None:
            parts.append(chunk)
            known += len(chunk)
        samples = np.concatenate(parts)
        gone = min(start - self._first, len(samples))
        self._kept = samples[gone:].copy()
        self._first += gone
        return self._kept[: end - start]


def _open(path: str | Path, survey: Survey) -> cv2.VideoCapture | Reader:
    """Open a clip whose frames are taken as they are just as the data set does, if OpenCV can read it."""
    if survey.is_crop and not survey.has_repeats:
        with suppress(DataError):  # of a name that is not Unicode
            capture = open_video(path)
            knows = capture.grab()
            capture.release()
            if knows:
                return open_video(path)
    return Reader(path)


def _shown(capture: cv2.VideoCapture | Reader, path: str | Path, survey: Survey) -> Iterator[np.ndarray]:
    """Draw what each tick shows (112, 112, 3): the last frame whose time has come, as in dataset.media.read_video."""
    known, picture = 0, None
    for tick in FrameClock(path).decode(capture):
        while known < tick:
            yield picture
            known += 1
        if known >= survey.frames:
            return
        frame = capture.retrieve()[1]
        if survey.face is not None:
            frame = cut_square(frame, *survey.face.at(capture.ticks))
        picture = np.empty((SIDE, SIDE, 3), np.uint8)
        draw_picture(frame, picture)
    if picture is None:
        raise DataError(f"{path}: has no frame that decodes")
    for _ in range(known, survey.frames):
        yield picture


def _shifted(sound: Sound, shift: int) -> Iterator[np.ndarray]:
    """Put silence before the sound, or leave out its first samples."""
    yield from zeros(shift)
    surplus = max(0, -shift)
    for chunk in sound:
        yield chunk[surplus:]
        surplus -= min(surplus, len(chunk))
