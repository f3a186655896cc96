"""Sound of any kind to mono at 16 kHz, by its time stamps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import av
import numpy as np

SAMPLE_RATE = 16_000
CHUNK = 1 << 14  # samples of a sound that are read or resampled at once
GAP = 0.05  # seconds without sound inside a track that are filled with silence; shorter ones are mostly rounding
LONGEST_GAP = 600  # a longer one is a clock that was set anew


class _Stretch(NamedTuple):
    """What the frames of one stretch of a sound have in common."""

    format: str
    layout: str
    rate: int
    silence: float  # seconds in all that no frame holds, up to here


class _Continuity:
    """Tell of one frame after the other which stretch of the sound it belongs to."""

    def __init__(self) -> None:
        self._end: float | None = None  # of the frame before, on the container's clock
        self._silence = 0.0

    def __call__(self, frame: av.AudioFrame) -> _Stretch:
        start = frame.time
        if start is not None:
            gap = 0 if self._end is None else start - self._end
            if GAP <= gap <= LONGEST_GAP:
                self._silence += gap
            self._end = start + frame.samples / frame.sample_rate
        return _Stretch(frame.format.name, frame.layout.name, frame.sample_rate, self._silence)


def to_mono(frames: Iterable[av.AudioFrame]) -> Iterator[np.ndarray]:
    """Average to mono at 16 kHz, many frames at a time, which gives the same samples sooner.

    Parameters
    ----------
    frames
        Decoded from one track; where their time stamps leave a gap, there is silence.

    Yields
    ------
    Samples (n,), int16.
    """
    silence = 0.0
    # Some tracks change their rate or channels on the way, which needs another filter; so does what a gap parts.
    for stretch, alike in groupby(frames, _Continuity()):
        yield from zeros(round(stretch.silence * SAMPLE_RATE) - round(silence * SAMPLE_RATE))
        silence = stretch.silence
        resampler, waiting = av.AudioResampler("s16", "mono", SAMPLE_RATE), av.AudioFifo()
        for frame in alike:
            frame.pts = None  # the queue would refuse small gaps, which are closed here
            waiting.write(frame)
            if waiting.samples >= CHUNK:
                yield from _arrays(resampler.resample(waiting.read()))
        if waiting.samples:
            yield from _arrays(resampler.resample(waiting.read()))
        yield from _arrays(resampler.resample(None))  # what it holds back


def zeros(count: int) -> Iterator[np.ndarray]:
    """Silence of so many samples, in chunks."""
    for start in range(0, count, CHUNK):
        yield np.zeros(min(CHUNK, count - start), np.int16)


def _arrays(frames: Iterable[av.AudioFrame]) -> Iterator[np.ndarray]:
    return (frame.to_ndarray()[0] for frame in frames)
