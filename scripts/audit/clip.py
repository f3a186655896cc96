"""One clip of an audit: its picture and its sound as training reads them, and its frames as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset.check import SILENCE
from dataset.media import draw_frame, full_frames, read_audio, read_video


class Media(NamedTuple):
    """What a detector sees and hears of a clip.

    Attributes
    ----------
    frames
        RGB pictures (T, 112, 112, 3), uint8, 25 a second.
    samples
        Mono sound at 16 kHz (N,), of any numeric type, in levels of int16.
    remark
        What there is to say about this clip in few words; "" as a rule.
    """

    frames: np.ndarray
    samples: np.ndarray
    remark: str = ""


class Candidate(NamedTuple):
    """A clip that another may take a stream from."""

    path: Path
    is_same_subject: bool


class Context(NamedTuple):
    """What changes depend on besides the clip.

    Attributes
    ----------
    seed
        Of what is chosen at random.
    rms
        Loudness that all clips are brought to, in levels of int16.
    frames
        Length of the shortest clip.
    candidates
        Of each stream, "sound" and "picture": clips that a file may take it from, the best first.
    """

    seed: int = 42
    rms: float = 0.0
    frames: int = 0
    candidates: Mapping[str, Mapping[str, tuple[Candidate, ...]]] = {}


class Clip(NamedTuple):
    """Where a clip lies, and how much of it is read.

    Attributes
    ----------
    file
        Its name in the table.
    path
        The mp4.
    max_frames
        Where decoding stops.
    """

    file: str
    path: Path
    max_frames: int

    def picture(self, more: int = 0) -> np.ndarray:
        """Pictures (T, 112, 112, 3) RGB, as training reads them; `more` than max_frames if something is cut off."""
        return read_video(self.path, self.max_frames + more)

    def sound(self, more: int = 0) -> np.ndarray:
        """Samples (N,) int16, as training reads them, for `more` frames than max_frames."""
        return read_audio(self.path, self.max_frames + more)

    def full_frames(self) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) RGB uint8 as they are shown, 25 a second, one after the other.

        Raises
        ------
        DataError
            As :func:`dataset.media.read_video` does.
        """
        return full_frames(self.path, self.max_frames)


def scaled(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Scale frames (H, W, 3) to (T, 112, 112, 3), as training does."""
    return np.stack([draw_frame(frame) for frame in frames])


def leading_silence(samples: np.ndarray) -> int:
    """Samples before the first one above -60 dB of full scale; all of them (N,) if none is."""
    loud = np.flatnonzero((samples > SILENCE) | (samples < -SILENCE))
    return int(loud[0]) if len(loud) else len(samples)


def loudness(samples: np.ndarray) -> float:
    """Root of the mean square of the samples (N,)."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
