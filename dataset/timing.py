"""When the frames of a clip are shown, and how they become 25 a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np

from utils.errors import DataError

FRAME_RATE = 25
# In ticks of 1/25 s. Time stamps are rounded, to a millisecond in some containers, which is 1/40 of a tick.
ROUNDING = 0.1


class Timeline(NamedTuple):
    """When the frames of a clip are shown, as its container says.

    Attributes
    ----------
    stamps
        Start of each frame from the first one's, in order (N,), int64, in units of `base`.
    end
        Where the last frame ends, in the same units.
    base
        Seconds a unit.
    codec
        Of the picture.
    stamped
        False if the container has no usable time stamps, so that these are made from its average frame rate.
    """

    stamps: np.ndarray
    end: int
    base: Fraction
    codec: str
    stamped: bool = True

    @property
    def rate(self) -> float:
        """Frames a second, on average."""
        count, length = (len(self.stamps) - 1, int(self.stamps[-1])) if len(self.stamps) > 1 else (1, self.end)
        return float(count / (length * self.base)) if length else float(FRAME_RATE)

    @property
    def seconds(self) -> float:
        """From the start of the first frame to the end of the last."""
        return float(self.end * self.base)

    @property
    def last(self) -> float:
        """Seconds from the first frame to the last one; 0 if they have no time stamps."""
        return float(self.stamps[-1] * self.base) if self.stamped else 0.0

    def is_constant(self, rate: float) -> bool:
        """Whether all frames lie less than half a frame from an even grid of that rate."""
        return len(self.stamps) < 2 or bool(np.ptp(self._offsets(rate)) < 1)

    def is_at_25(self) -> bool:
        """Whether these are 25 frames a second already, jitter below half a tick included."""
        if len(self.stamps) < 2:  # a picture that may be meant to last
            return self.tick(len(self.stamps)) <= 1
        offsets = self._offsets(FRAME_RATE)
        # A few frames of another rate stay close to the grid too, but they leave it along a line.
        off_line = offsets - np.linspace(0, offsets[-1], len(offsets))
        is_even = np.ptp(offsets) < ROUNDING
        return bool(is_even or (np.ptp(offsets) < 1 and np.ptp(off_line) >= ROUNDING))

    def tick(self, index: int) -> int:
        """First tick (1/25 s, from the first frame) that shows a frame, rounded half up as in FFmpeg's fps filter.

        That of the frame after the last one is where the clip ends.
        """
        beyond = index - len(self.stamps)  # more frames than packets go on as the others do on average
        stamp = int(self.stamps[index]) if beyond < 0 else self.end + round(beyond / (self.rate * self.base))
        return int(stamp * self.base * FRAME_RATE + Fraction(1, 2))

    def _offsets(self, rate: float) -> np.ndarray:
        """How far each frame is from an even grid, in frames of that rate (N,)."""
        return self.stamps * (rate * float(self.base)) - np.arange(len(self.stamps))


class FrameClock:
    """Bring the frames of one clip to 25 a second, one after the other while they are decoded.

    The time stamps of the whole clip are looked up only if a frame is not where 25 frames a second put it.

    Attributes
    ----------
    count
        How many frames have been decoded.
    seconds
        When the last of them is shown, from the first one on.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.count = 0
        self.seconds = 0.0
        self._start = 0.0
        self._is_odd = False
        self._timeline: Timeline | None = None  # of a clip that is not at 25 frames a second

    def decode(self, capture: cv2.VideoCapture) -> Iterator[int]:
        """Decode frame after frame, and yield the tick (1/25 s) from which each is shown.

        ``capture.retrieve()`` has the picture. If two frames have the same tick, it shows the second.

        Raises
        ------
        DataError
            If the container turns out to be broken.
        """
        while capture.grab():
            # The frame's own time from the start of the stream, right for B-frames and edit lists too.
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if self.count == 0:
                self._start = seconds
            self.seconds = seconds - self._start
            off_grid = self.seconds * FRAME_RATE - self.count
            if abs(off_grid) >= ROUNDING / 2 and not self._is_odd:
                self._look_up()
            self.count += 1
            yield self._tick(self.count - 1)
        if self.count == 1:
            self._look_up()

    @property
    def end(self) -> int:
        """Length in ticks of what was decoded; a clip with a frame has at least one."""
        return max(self._tick(self.count), min(self.count, 1))

    def _look_up(self) -> None:
        self._is_odd = True
        timeline = read_timeline(self.path)
        self._timeline = None if timeline.is_at_25() else timeline

    def _tick(self, index: int) -> int:
        return index if self._timeline is None else self._timeline.tick(index)


def read_timeline(path: str | Path) -> Timeline:
    """Take the time stamps of a clip without decoding it.

    Raises
    ------
    DataError
        If the container cannot be opened, or has no video stream.
    """
    packets = []
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.video:
                raise DataError(f"{path}: has no video stream")
            stream = container.streams.video[0]
            base, rate = stream.time_base, stream.average_rate or Fraction(FRAME_RATE)
            codec = codec_name(stream)
            with suppress(av.FFmpegError):  # cut short: whoever decodes the clip misses frames, and says so
                for packet in container.demux(stream):
                    if packet.size and not packet.is_discard:
                        packets.append((packet.pts, packet.duration or 0))
    except av.FFmpegError as error:
        raise DataError(f"{path}: truncated, or not an mp4 ({error.strerror})") from error
    if any(stamp is None for stamp, _ in packets) or not packets:
        return _even_timeline(len(packets), rate, codec)
    packets.sort()  # B-frames are stored in another order
    stamps, durations = np.array(packets, np.int64).T
    steps = np.diff(stamps)
    if len(steps) and np.median(steps) == 0:
        return _even_timeline(len(packets), rate, codec)
    usual = np.mean(steps) if len(steps) else float(1 / (rate * base))
    last = int(durations[-1]) or round(usual)
    return Timeline(stamps - stamps[0], int(stamps[-1] - stamps[0]) + last, base, codec)


def codec_name(stream: av.stream.Stream) -> str:
    """Name of a stream's codec; "unknown" if this build of FFmpeg has no decoder for it."""
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"


def _even_timeline(count: int, rate: Fraction, codec: str) -> Timeline:
    return Timeline(np.arange(count), count, 1 / rate, codec, stamped=False)
