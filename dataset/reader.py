"""One media file, decoded once from its start, as a player shows and plays it: frames and audio on one clock."""

from __future__ import annotations

import os
import stat
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from itertools import repeat
from math import lcm
from pathlib import Path

import av
import cv2
import numpy as np
from av.format import Flags
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from dataset.sound import WORTH_A_NOTE, Sound
from utils.errors import DataError

FRAME_RATE = 25
ENOUGH = 0.9  # of the frames that a file promises; with fewer, a clip is broken
EARLY = 0.5  # seconds that a file may end before its header says without a note
# A clock that leaps further was set anew. Some containers (such as MPEG-TS, after a cut) do so as a rule.
FORWARD, BACKWARD = 3600.0, 1.0  # seconds
DISCONT_FORWARD, DISCONT_BACKWARD = 10.0, 0.1  # of those containers, as in FFmpeg
HELD_PACKETS = 500  # of other audio tracks, about 10 s, after which the first choice counts as empty
NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
HAS_LENGTH = ("matroska", "flv", "asf")  # their header says how long the file is meant to be
HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of H.273
RATES_APART = 0.5  # frames a second, below which a rate counts as 25


class NoAudio(DataError):
    """A clip without audio."""


class Reader:
    """A media file while it is decoded, on one thread.

    Frames and audio come from one pass: whichever is asked for, what is decoded of the other on the way waits. Both
    lie on the clock of the video, whose zero is its first frame.

    Parameters
    ----------
    path
        The file.
    video, audio
        Whether to decode it. Without audio, its packets are read all the same, as they tell of the clock; without
        video, its first frame is decoded, at which the audio begins.

    Attributes
    ----------
    videos, audios
        Tracks that can be decoded, the best one first.
    video, audio
        The tracks in use; `audio` is None until one has a packet.
    count
        Frames decoded so far.
    length
        Ticks (1/25 s) from the first frame to the end of the last one so far.
    times
        Seconds at which each frame so far is shown, from the first one.
    seconds
        Where the last frame so far ends.
    sizes
        Bytes of the packets of each track so far, by its index.
    size
        Width and height of the first frame as it is shown.
    sound
        The audio's way to 16 kHz, which knows its rate, channels and samples.

    Raises
    ------
    DataError
        If it is no media file.
    """

    def __init__(self, path: str | Path, video: bool = True, audio: bool = True) -> None:
        self.path = Path(path)
        self._container = open_media(path)
        streams = self._container.streams
        self.videos = _ranked(streams.video, lambda stream: stream.width * stream.height)
        self.audios = _ranked(streams.audio, lambda stream: stream.channels)
        self.video: av.VideoStream | None = self.videos[0] if self.videos else None
        self.audio: av.AudioStream | None = None
        for stream in self.videos[:1] + self.audios:
            stream.codec_context.thread_count = 1
        self.count = self.length = self.errors = self.damaged = self.packets = 0
        self.times, self.seconds = array("d"), 0.0
        self.size = (0, 0)
        self.sound: Sound | None = None
        self._wants_video, self._wants_audio = video, audio
        self._notes: dict[str, None] = {}
        main = self.video.index if self.video is not None else None
        self._clock = _Clock(main, bool(self._container.format.flags & Flags.ts_discont.value))
        self._zero = Fraction(self._container.start_time or 0, av.time_base)  # from which ticks are counted
        self._bases = {stream.index: float(stream.time_base or 0) for stream in streams}
        self._first: int | None = None  # when the first frame is shown, in the video's time base
        self._last: int | None = None  # when the last one ends
        self.sizes = dict.fromkeys(self._bases, 0)
        self._last_end = 0.0  # of all packets, in seconds on the container's clock
        self._unstamped = False
        self._complete = False  # read to its end
        if self.video is not None:
            base = self.video.time_base
            self._usual = round(1 / ((self.video.average_rate or FRAME_RATE) * base))  # length of a frame
            # A tick is (stamp * base - zero) * 25, rounded half up, in whole numbers.
            step, shift = base * FRAME_RATE, Fraction(1, 2) - self._zero * FRAME_RATE
            down = lcm(step.denominator, shift.denominator)
            self._grid = int(step * down), int(shift * down), down
        self._held: list[av.Packet] = []
        self._frames: deque[tuple[int, float, av.VideoFrame]] = deque()
        self._samples: deque[np.ndarray] = deque()
        self._views: dict[tuple[int, int], tuple[tuple[int, int], Callable[[np.ndarray], np.ndarray]]] = {}
        self._graph: _Deinterlacer | None = None
        self._rgb = VideoReformatter()
        self._running = self._run()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._running.close()
        self._container.close()

    def frames(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        """Each frame with the tick (1/25 s) from which on it is shown, and its time in ticks before rounding.

        Of frames with one tick the last is shown.

        Raises
        ------
        DataError
            If there is no video, or, at its end, if more than a tenth of its frames do not decode.
        """
        if self.video is None:
            known = any(not stream.disposition & NO_VIDEO for stream in self._container.streams.video)
            raise DataError(f"{self.path}: " + ("its video is of an unknown codec" if known else "has no video stream"))
        while len(self._frames) or next(self._running, False):
            if self._frames:
                yield self._frames.popleft()
        self._check_complete()

    def shown(self, draw: Callable[[np.ndarray, float], np.ndarray]) -> Iterator[np.ndarray]:
        """What is shown 25 times a second: the last frame whose time, rounded to ticks, has come.

        `draw` takes a frame as :meth:`rgb` gives it and its time in ticks; it is called once a frame that is shown.
        """
        due, waiting = 0, None
        for tick, time, frame in self.frames():
            if waiting is not None and tick > due:
                yield from repeat(draw(self.rgb(waiting[0]), waiting[1]), tick - due)
                due = tick
            waiting = frame, time
        yield from repeat(draw(self.rgb(waiting[0]), waiting[1]), self.length - due)

    def chunks(self) -> Iterator[np.ndarray]:
        """The audio, mono at 16 kHz, int16 (n,), from the first frame on; silence where there is none.

        Raises
        ------
        NoAudio
            If there is none.
        DataError
            If none of it decodes.
        """
        streams = self._container.streams.audio
        if not streams:
            raise NoAudio(f"{self.path}: has no audio")
        if not self.audios:
            raise DataError(f"{self.path}: its audio does not decode (FFmpeg does not know its codec)")
        while len(self._samples) or next(self._running, False):
            if self._samples:
                yield self._samples.popleft()
        if self.audio is None:
            raise NoAudio(f"{self.path}: its audio is empty")
        if not self.sound.samples:  # packets, but not one that decodes
            raise DataError(f"{self.path}: its audio does not decode")

    def heard(self) -> list[np.ndarray]:
        """Chunks of audio that have been decoded on the way, and are given away."""
        samples, self._samples = list(self._samples), deque()
        return samples

    def skip_video(self) -> None:
        """Decode no more frames."""
        self._wants_video = False
        self._frames.clear()

    def rgb(self, frame: av.VideoFrame) -> np.ndarray:
        """A frame as it is shown, RGB (H, W, 3) uint8: upright, with square pixels, of the size of the first one."""
        plane = self._rgb.reformat(frame, format="rgb24", interpolation="BICUBIC", threads=1).planes[0]
        width, height = frame.width, frame.height
        drawn: np.ndarray = np.ndarray(
            (height, width, 3), np.uint8, plane, strides=(plane.line_size, 3, 1)
        )  # not copied
        size, turn = self._views[width, height]
        return resize(turn(resize(drawn, size)), self.size)

    def notes(self, audio_seconds: float | None = None) -> tuple[str, ...]:
        """Short sentences on what is unusual in what has been decoded; `audio_seconds` is of audio from elsewhere."""
        notes = [*self._notes, *self._time_notes()]
        if self.sound is not None:
            notes += self.sound.notes()
            audio_seconds = self.sound.seconds
        if self._complete and audio_seconds is not None and abs(apart := audio_seconds - self.seconds) > WORTH_A_NOTE:
            notes.append(f"audio ends {abs(apart):.2f} s {'after' if apart > 0 else 'before'} the video")
        return tuple(notes)

    def is_even(self) -> bool:
        """Whether the frames so far lie less than half a frame from an even grid of their average rate."""
        if len(self.times) < 2:
            return True
        times = np.frombuffer(self.times)
        return bool(np.ptp(times * self.rate - np.arange(len(times))) < 1)

    @property
    def rate(self) -> float | None:
        """Frames a second so far, on average; None without usable time stamps."""
        if self._unstamped or not self.count:
            return None
        last = self.times[-1]
        return (self.count - 1) / last if last > 0 else 1 / self.seconds if self.seconds else float(FRAME_RATE)

    def _run(self) -> Generator[bool, None, None]:
        """Decode packet by packet; yields after each, and at the end."""
        for packet in self._demux():
            if packet.stream is self.video:
                self._see(packet)
            else:
                self._hear(packet)
            yield True
        self._complete = True
        self._see(None)
        self._hear(None)
        yield True

    def _demux(self) -> Iterator[av.Packet]:
        """Packets of the tracks that are of use, on a clock without jumps."""
        tracks = {stream.index for stream in (self.video, *self.audios) if stream is not None}
        try:
            for packet in self._container.demux():
                track, stamp = packet.stream_index, packet.dts
                self.sizes[track] += packet.size
                stamp = packet.pts if stamp is None else stamp
                if stamp is None:
                    if not packet.size:  # marks the end
                        continue
                else:
                    base = self._bases[track]
                    usual = self._usual if self.video is not None and track == self.video.index else 0
                    start, end = stamp * base, (stamp + (packet.duration or usual)) * base
                    self._last_end = max(self._last_end, end)
                    if track in tracks and (shift := self._clock.shift(track, start, end)):
                        packet.dts, packet.pts = (
                            None if value is None else value + round(shift / base) for value in (packet.dts, packet.pts)
                        )
                if track in tracks:
                    yield packet
        except av.FFmpegError as error:
            self._note(f"it does not read to its end ({error.strerror})")

    def _see(self, packet: av.Packet | None) -> None:
        """Decode a packet of the video; None: what the decoder still holds."""
        if self.video is None or not (self._wants_video or self._first is None):
            return
        if packet is not None:
            self.packets += 1
            if not packet.size:  # Theora's way to show the frame before again
                self._reach(packet.pts, packet.duration or 0)
                return
        try:
            frames = self.video.codec_context.decode(packet)
        except av.FFmpegError:
            # A recording may begin between two key frames; what cannot be decoded before the first one is not missed.
            self.errors += self.count > 0
            return
        for frame in frames:
            self._place(frame)
        if packet is None and self._graph is not None:
            self._show(self._graph.push(None))

    def _place(self, frame: av.VideoFrame) -> None:
        """Put a decoded frame on the clock."""
        stamp = frame.dts if frame.pts is None else frame.pts
        if stamp is None or stamp == self._first:  # as those of raw streams, or of a file where all are the same
            self._unstamped = True
            stamp = self._last or 0
        if self._first is None:
            self._first = stamp
        self.count += 1
        self.damaged += frame.is_corrupt
        self.times.append((stamp - self._first) * self._bases[self.video.index])
        self._reach(stamp, frame.duration or self._usual)
        if (frame.width, frame.height) not in self._views:
            self._look(frame)
        if frame.interlaced_frame or self._graph is not None:
            self._note("interlaced: deinterlaced")
            self._graph = self._graph or _Deinterlacer()
            frame.pts, frame.time_base = stamp, self.video.time_base
            self._show(self._graph.push(frame))
        elif self._wants_video:
            self._put(stamp, frame)

    def _show(self, frames: list[av.VideoFrame]) -> None:
        """Let frames come out that have been deinterlaced, in a time base of the filter's own."""
        for frame in frames if self._wants_video else []:
            self._put(round(frame.pts * frame.time_base / self.video.time_base), frame)

    def _put(self, stamp: int, frame: av.VideoFrame) -> None:
        time = (stamp - self._first) * self._bases[self.video.index] * FRAME_RATE
        self._frames.append((self._tick(stamp), time, frame))

    def _reach(self, stamp: int | None, duration: int) -> None:
        """Let the video last until the end of a frame."""
        if stamp is None or self._first is None:
            return
        if self._last is None or stamp + duration > self._last:
            self._last = stamp + duration
            self.seconds = (self._last - self._first) * self._bases[self.video.index]
            self.length = max(1, self._tick(self._last))

    def _tick(self, stamp: int) -> int:
        """Tick of a time, rounded as FFmpeg's fps filter does, from that of the first frame."""
        up, add, down = self._grid
        return (stamp * up + add) // down - (self._first * up + add) // down

    def _look(self, frame: av.VideoFrame) -> None:
        """Learn how frames of a size are shown."""
        width, height = frame.width, frame.height
        ratio = self.video.sample_aspect_ratio or self.video.codec_context.sample_aspect_ratio or Fraction(1)
        size = (max(1, round(width * ratio)), height)
        if size[0] != width:
            self._note(f"pixels are not square ({ratio.numerator}:{ratio.denominator}): shown as {by(*size)}")
        turn, name = _orientation(frame)
        if name:
            self._note(f"stored {name}: shown upright")
        self._views[width, height] = size, turn
        shown = size[::-1] if name and turn(np.empty((1, 2))).shape[0] == 2 else size
        if self.size == (0, 0):
            self.size = shown
        elif shown != self.size:
            self._note(f"its frames change from {by(*self.size)} to {by(*shown)}: shown as the first")
        if frame.color_trc in HDR:
            self._note(f"HDR ({HDR[frame.color_trc]}): shown without tone mapping")

    def _hear(self, packet: av.Packet | None) -> None:
        """Decode a packet of audio as soon as it is clear which track is used and when the video begins."""
        if not self._wants_audio or not self.audios:
            return
        if packet is not None:
            self._held.append(packet)
            if self._first is None and self.video is not None:
                return
        if self.audio is None:
            there = [held.stream.index for held in self._held]
            track = next((stream for stream in self.audios if stream.index in there), None)
            is_first = track is self.audios[0]
            if track is None or not (is_first or packet is None or len(there) > HELD_PACKETS):
                return
            origin = self._zero if self._first is None else self._first * self.video.time_base
            self.audio, self.sound = track, Sound(track, float(origin))
        for held in self._held:
            if held.stream is self.audio:
                self._samples += self.sound.decode(held)
        self._held.clear()
        if packet is None:
            self._samples += self.sound.decode(None)

    def _check_complete(self) -> None:
        """Refuse a clip of which more than a tenth of the frames do not decode, or are not there.

        Raises
        ------
        DataError
            With the reason.
        """
        lost, name = self.errors, self._container.format.name
        entries, reason = self.video.index_entries, ""
        if name.startswith("mov"):  # whose index has all frames; those that an edit list hides never come out
            lost = max(lost, sum(not entry.is_discard for entry in entries) - self.count)
            there, whole = self.path.stat().st_size, max((entry.pos + entry.size for entry in entries), default=0)
            if whole > there:
                reason = f"truncated, only {there} of {whole} bytes are there"
        elif name == "avi":
            lost += max(0, self.video.frames - self.packets)
        elif name.startswith(HAS_LENGTH) and self._container.duration:
            end = self._last_end - min(float(self._zero), 0)
            length = self._container.duration / av.time_base
            if end < min(ENOUGH * length, length - EARLY):
                raise DataError(f"{self.path}: truncated, only {end:.1f} of its {length:.1f} s are there")
            if end < length - EARLY:
                self._note(f"ends {length - end:.1f} s before its header says")
        total = self.count + lost
        if self.count < ENOUGH * total or not self.count:
            frames = f"only {self.count} of its {total} frames decode" if self.count else "has no frame that decodes"
            raise DataError(f"{self.path}: {reason or frames}")
        if lost:
            self._note(f"{lost} of {total} frames do not decode; the rest is used")
        if self.damaged:
            self._note(f"damaged in {self.damaged} frame{'s' * (self.damaged > 1)} or more")

    def _time_notes(self) -> Iterator[str]:
        yield from self._clock.notes()
        for kind, ranked, used in (("video", self.videos, self.video), ("audio", self.audios, self.audio)):
            streams = [s for s in getattr(self._container.streams, kind) if not s.disposition & NO_VIDEO]
            if len(streams) > 1 and used is not None:
                why = "the default one" if used.disposition & Disposition.default else "the best one"
                why = why if used is ranked[0] else "the first one that is not empty"
                yield f"{len(streams)} {kind} tracks: {why} is used (number {streams.index(used) + 1})"
        if self._unstamped:
            yield "no usable time stamps: its frames are taken as evenly spaced"
        elif not self.is_even():
            yield f"variable frame rate: brought to {FRAME_RATE} by time stamps"
        elif self.count > 1 and abs(self.rate - FRAME_RATE) > RATES_APART:
            yield f"{round(self.rate, 2):g} frames a second: brought to {FRAME_RATE} by time stamps"

    def _note(self, text: str) -> None:
        self._notes[text] = None


class _Clock:
    """Time stamps that begin anew or leap within a file, made to go on.

    Each track has its own place in the list of shifts, since at a seam the last packets of one may come behind the
    first ones of another; the shifts are common, so that the tracks stay together. The main track
    goes on without a gap.
    """

    def __init__(self, main: int | None, is_discontinuous: bool) -> None:
        self._main = main
        self._forward, self._backward = (DISCONT_FORWARD, DISCONT_BACKWARD) if is_discontinuous else (FORWARD, BACKWARD)
        self._shifts = [0.0]
        self._places: dict[int, int] = {}
        self._ends: dict[int, float] = {}  # where the next packet of a track should begin

    def shift(self, track: int, start: float, end: float) -> float:
        """Seconds to add to the stamps of the next packet of a track, which lasts from `start` to `end`."""
        place, due = self._places.get(track, 0), self._ends.get(track)
        if due is not None and self._leaps(due, start + self._shifts[place]):
            later = range(place + 1, len(self._shifts))
            place = next((p for p in later if not self._leaps(due, start + self._shifts[p])), len(self._shifts))
            if place == len(self._shifts):
                self._shifts.append(due - start)
            elif track == self._main:
                self._shifts[place] = due - start
            self._places[track] = place
        self._ends[track] = end + self._shifts[place]
        return self._shifts[place]

    def notes(self) -> Iterator[str]:
        """What there is to say."""
        if leaps := len(self._shifts) - 1:
            yield f"its clock leaps {'once' if leaps == 1 else f'{leaps} times'}: played on without a break"

    def _leaps(self, due: float, start: float) -> bool:
        return not -self._backward <= start - due <= self._forward


class _Deinterlacer:
    """FFmpeg's bwdif, made anew when frames change; those that are not interlaced pass."""

    def __init__(self) -> None:
        self._kind: tuple[int, int, str] | None = None
        self._graph: av.filter.Graph | None = None

    def push(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Take a frame, or None at the end, and give those that are ready; most come one later."""
        kind = None if frame is None else (frame.width, frame.height, frame.format.name)
        ready = []
        if kind != self._kind:
            if self._graph is not None:
                self._graph.push(None)
                ready = self._pull()
            self._kind, self._graph = kind, None if frame is None else self._make(frame)
        if frame is not None:
            self._graph.push(frame)
            ready += self._pull()
        return ready

    def _pull(self) -> list[av.VideoFrame]:
        frames = []
        try:
            while True:
                frames.append(self._graph.vpull())
        except (av.BlockingIOError, av.EOFError):
            return frames

    @staticmethod
    def _make(frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
        graph.configure()
        return graph


def open_media(path: str | Path) -> av.container.InputContainer:
    """Open a media file.

    Raises
    ------
    DataError
        If it is none, with the reason.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: is {_KINDS.get(stat.S_IFMT(mode), 'a device')}, not a file")
        if not os.path.getsize(path):
            raise DataError(f"{path}: truncated, the file is empty")
        return av.open(f"file:{path}", metadata_errors="ignore")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except PermissionError as error:
        raise DataError(f"{path}: may not be read (permission denied)") from error
    except av.FFmpegError as error:
        raise DataError(f"{path}: truncated, or not a video ({error.strerror})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a fifo", stat.S_IFSOCK: "a socket"}


def by(width: int, height: int) -> str:
    """A size in words."""
    return f"{width}x{height}"


def resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a picture (H, W, 3) to width and height: by area where it shrinks, which does not alias."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    shrinks = size[0] < width or size[1] < height
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _ranked(streams: tuple, size: Callable[[av.stream.Stream], int]) -> list:
    """Tracks that can be decoded, the one to use first: the default one, as FFmpeg picks it, or else the largest."""
    known = [stream for stream in streams if stream.codec_context is not None and not stream.disposition & NO_VIDEO]
    return sorted(known, key=lambda s: (not s.disposition & Disposition.default, -size(s)))


def _orientation(frame: av.VideoFrame) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """How to show a stored picture upright, by its display matrix (the nearest of eight), and how it lies in a word."""
    data = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if data is None:
        return lambda picture: picture, ""
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    lies = abs(b) > abs(a)  # the rows of what is stored are columns of what is shown
    right, down = (c, b) if lies else (a, d)

    def turn(picture: np.ndarray) -> np.ndarray:
        picture = picture.swapaxes(0, 1) if lies else picture
        return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])

    if not lies and right > 0 and down > 0:
        return turn, ""
    return turn, "mirrored" if (a * d - b * c) < 0 else "turned"
