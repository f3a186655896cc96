"""Frames of a video track on a grid of 25 a second, as a player shows them: upright, whole, with square pixels.

A track gives each stored frame the tick of that grid from which on it is shown; `dataset.reader.Reader.shown` repeats
and drops frames accordingly.
"""

from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from math import lcm
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

FRAME_RATE = 25
RATES_APART = 0.5  # frames a second, below which a rate counts as 25
HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of H.273


class Shown(NamedTuple):
    """A frame, the tick (1/25 s) from which on it is shown, and its time in ticks before rounding."""

    tick: int
    time: float
    frame: av.VideoFrame


class VideoTrack:
    """A track while it is decoded, on a clock whose zero is its first frame.

    `zero` is when ticks begin, in seconds on the container's clock, as FFmpeg's fps filter counts them.
    """

    def __init__(self, stream: av.VideoStream, zero: Fraction) -> None:
        stream.codec_context.thread_count = 1
        self.stream = stream
        self.packets = self.errors = 0  # packets so far, and those that do not decode
        self.count = self.damaged = 0  # frames decoded so far, and those in which something is missing
        self.times = array("d")  # seconds at which each frame so far is shown
        self.seconds, self.length = 0.0, 0  # where the last frame so far ends, in seconds and in ticks
        self.size = (0, 0)  # width and height of the first frame as it is shown
        self.first: int | None = None  # time stamp of the first frame
        self.usual = round(1 / ((stream.average_rate or FRAME_RATE) * stream.time_base))  # length of a frame
        self._end: int | None = None
        self._base = float(stream.time_base)
        # A tick is (stamp * base - zero) * 25, rounded half up, in whole numbers.
        step, shift = stream.time_base * FRAME_RATE, Fraction(1, 2) - zero * FRAME_RATE
        down = lcm(step.denominator, shift.denominator)
        self._grid = int(step * down), int(shift * down), down
        self._is_stamped = True
        self.look_notes: list[str] = []  # what is unusual about how its frames look
        self._views: dict[tuple[int, int], tuple[tuple[int, int], Callable[[np.ndarray], np.ndarray]]] = {}
        self._deinterlacer: _Deinterlacer | None = None
        self._reformatter = VideoReformatter()

    def decode(self, packet: av.Packet | None) -> list[Shown]:
        """Frames that are ready after a packet; None: what the decoder still holds."""
        if packet is not None:
            self.packets += 1
            if not packet.size:  # Theora's way to show the frame before again
                self._reach(packet.pts, packet.duration or 0)
                return []
        try:
            frames = self.stream.codec_context.decode(packet)
        except av.FFmpegError:
            # A recording may begin between two key frames; what cannot be decoded before the first one is not missed.
            self.errors += self.count > 0
            return []
        ready = [shown for frame in frames for shown in self._place(frame)]
        if packet is None and self._deinterlacer is not None:
            ready += self._deinterlaced(None)
        return ready

    def rgb(self, frame: av.VideoFrame) -> np.ndarray:
        """A frame as it is shown, RGB (H, W, 3) uint8: upright, with square pixels, of the size of the first one."""
        plane = self._reformatter.reformat(frame, format="rgb24", interpolation="BICUBIC", threads=1).planes[0]
        width, height = frame.width, frame.height
        strides = plane.line_size, 3, 1
        stored: np.ndarray = np.ndarray((height, width, 3), np.uint8, plane, strides=strides)  # not copied
        size, turn = self._views[width, height]
        return resize(turn(resize(stored, size)), self.size)

    @property
    def rate(self) -> float | None:
        """Frames a second so far, on average; None without usable time stamps."""
        if not self._is_stamped or not self.count:
            return None
        last = self.times[-1]
        return (self.count - 1) / last if last > 0 else 1 / self.seconds if self.seconds else float(FRAME_RATE)

    def is_even(self) -> bool:
        """Whether the frames so far lie less than half a frame from an even grid of their average rate."""
        if len(self.times) < 2:
            return True
        times = np.frombuffer(self.times)
        return bool(np.ptp(times * self.rate - np.arange(len(times))) < 1)

    def time_notes(self) -> Iterator[str]:
        """Sentences on what is unusual about its time stamps."""
        if not self._is_stamped:
            yield "no usable time stamps: its frames are taken as evenly spaced"
        elif not self.is_even():
            yield f"variable frame rate: brought to {FRAME_RATE} by time stamps"
        elif self.count > 1 and abs(self.rate - FRAME_RATE) > RATES_APART:
            yield f"{round(self.rate, 2):g} frames a second: brought to {FRAME_RATE} by time stamps"

    def _place(self, frame: av.VideoFrame) -> list[Shown]:
        """Put a decoded frame on the clock."""
        stamp = frame.dts if frame.pts is None else frame.pts
        if stamp is None or stamp == self.first:  # as those of raw streams, or of a file where all are the same
            self._is_stamped = False
            stamp = self._end or 0
        if self.first is None:
            self.first = stamp
        self.count += 1
        self.damaged += frame.is_corrupt
        self.times.append((stamp - self.first) * self._base)
        self._reach(stamp, frame.duration or self.usual)
        if (frame.width, frame.height) not in self._views:
            self._look(frame)
        if frame.interlaced_frame or self._deinterlacer is not None:
            self._note("interlaced: deinterlaced")
            self._deinterlacer = self._deinterlacer or _Deinterlacer()
            frame.pts, frame.time_base = stamp, self.stream.time_base
            return self._deinterlaced(frame)
        return [self._shown(stamp, frame)]

    def _deinterlaced(self, frame: av.VideoFrame | None) -> list[Shown]:
        """Frames that come out of the filter, in a time base of its own."""
        frames = self._deinterlacer.push(frame)
        return [self._shown(round(ready.pts * ready.time_base / self.stream.time_base), ready) for ready in frames]

    def _shown(self, stamp: int, frame: av.VideoFrame) -> Shown:
        return Shown(self._tick(stamp), (stamp - self.first) * self._base * FRAME_RATE, frame)

    def _tick(self, stamp: int) -> int:
        """Tick of a time, rounded as FFmpeg's fps filter does, from that of the first frame."""
        up, add, down = self._grid
        return (stamp * up + add) // down - (self.first * up + add) // down

    def _reach(self, stamp: int | None, duration: int) -> None:
        """Let the video last until the end of a frame."""
        if stamp is None or self.first is None:
            return
        if self._end is None or stamp + duration > self._end:
            self._end = stamp + duration
            self.seconds = (self._end - self.first) * self._base
            self.length = max(1, self._tick(self._end))

    def _look(self, frame: av.VideoFrame) -> None:
        """Learn how frames of a size are shown."""
        width, height = frame.width, frame.height
        ratio = self.stream.sample_aspect_ratio or self.stream.codec_context.sample_aspect_ratio or Fraction(1)
        size = (max(1, round(width * ratio)), height)
        if size[0] != width:
            self._note(f"pixels are not square ({ratio.numerator}:{ratio.denominator}): shown as {by(*size)}")
        turn, name = _orientation(frame)
        if name:
            self._note(f"stored {name}: shown upright")
        self._views[width, height] = size, turn
        shown = size[::-1] if turn(np.empty((1, 2))).shape[0] == 2 else size
        if self.size == (0, 0):
            self.size = shown
        elif shown != self.size:
            self._note(f"its frames change from {by(*self.size)} to {by(*shown)}: shown as the first")
        if frame.color_trc in HDR:
            self._note(f"HDR ({HDR[frame.color_trc]}): shown without tone mapping")

    def _note(self, text: str) -> None:
        if text not in self.look_notes:
            self.look_notes.append(text)


class _Deinterlacer:
    """FFmpeg's bwdif, made anew when frames change; those that are not interlaced pass."""

    def __init__(self) -> None:
        self._kind: tuple[int, int, str] | None = None
        self._graph: av.filter.Graph | None = None

    def push(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Take a frame, or None at the end, and give those that are ready; most come one later."""
        kind = None if frame is None else (frame.width, frame.height, frame.format.name)
        ready = []
        if self._graph is not None and kind != self._kind:
            ready = self._run(None)
            self._graph = None
        if frame is not None:
            if self._graph is None:
                self._kind, self._graph = kind, self._make(frame)
            ready += self._run(frame)
        return ready

    def _run(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        self._graph.push(frame)
        ready = []
        with suppress(av.BlockingIOError, av.EOFError):
            while True:
                ready.append(self._graph.vpull())
        return ready

    @staticmethod
    def _make(frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        kind = {"width": frame.width, "height": frame.height, "format": frame.format, "time_base": frame.time_base}
        deinterlace = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        graph.link_nodes(graph.add_buffer(**kind), deinterlace, graph.add("buffersink"))
        graph.configure()
        return graph


def by(width: int, height: int) -> str:
    """A size in words."""
    return f"{width}x{height}"


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale an image (H, W, 3) to width and height: by area where it shrinks, which does not alias."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    shrinks = size[0] < width or size[1] < height
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _orientation(frame: av.VideoFrame) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """How to show a stored image upright, by its display matrix (the nearest of eight), and how it lies in a word."""
    data = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    a, b, _, c, d = (1, 0, 0, 0, 1) if data is None else np.frombuffer(bytes(data), np.int32)[:5].tolist()
    lies = abs(b) > abs(a)  # the rows of what is stored are columns of what is shown
    right, down = (c, b) if lies else (a, d)
    if not lies and right > 0 and down > 0:
        return lambda image: image, ""

    def turn(image: np.ndarray) -> np.ndarray:
        image = image.swapaxes(0, 1) if lies else image
        return np.ascontiguousarray(image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])

    return turn, "mirrored" if (a * d - b * c) < 0 else "turned"
