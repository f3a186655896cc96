"""One media file, decoded once from its start, as a player shows and plays it: frames and audio on one clock."""

import os
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.format import Flags
from av.stream import Disposition

from dataset.audio import WORTH_A_NOTE, AudioTrack
from dataset.video import Shown, VideoTrack
from utils.errors import DataError

ENOUGH = 0.9  # of the frames that a file promises; with fewer, a clip is broken
EARLY = 0.5  # seconds that a file may end before its header says without a note
# A clock that leaps further was set anew. Some containers (such as MPEG-TS, after a cut) do so as a rule.
FORWARD, BACKWARD = 3600.0, 1.0  # seconds
DISCONT_FORWARD, DISCONT_BACKWARD = 10.0, 0.1  # of those containers, as in FFmpeg
HELD_PACKETS = 500  # of other audio tracks, about 10 s, after which the first choice counts as empty
NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
HAS_LENGTH = ("matroska", "flv", "asf")  # their header says how long the file is meant to be
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a fifo", stat.S_IFSOCK: "a socket"}


class NoAudio(DataError):
    """A clip without audio."""


class Reader(AbstractContextManager["Reader"]):
    """A media file while it is decoded, on one thread; a DataError if it is none.

    Frames and audio come from one pass: whichever is asked for, what is decoded of the other on the way waits. Both
    lie on the clock of the video, whose zero is its first frame. Where `audio` is not wanted, its packets are read all
    the same, as they tell of the clock; without `video`, its first frame is decoded, at which the audio begins.
    """

    def __init__(self, path: str | Path, video: bool = True, audio: bool = True) -> None:
        self.path = Path(path)
        self._container = open_media(path)
        streams = self._container.streams
        self._videos = _ranked(streams.video, lambda stream: stream.width * stream.height)
        self.audios = _ranked(streams.audio, lambda stream: stream.channels)  # that can be decoded, the best one first
        self._zero = Fraction(self._container.start_time or 0, av.time_base)
        self.video = VideoTrack(self._videos[0], self._zero) if self._videos else None  # the track in use
        self.audio: AudioTrack | None = None  # likewise, but None until it has a packet
        self.sizes = {stream.index: 0 for stream in streams}  # bytes of the packets of each so far
        self._wants_video, self._wants_audio = video, audio
        main = self._videos[0].index if self._videos else None
        self._clock = _Clock(main, bool(self._container.format.flags & Flags.ts_discont.value))
        self._end = 0.0  # of all packets, in seconds on the container's clock
        self._is_complete = False  # read to its end
        self._notes: list[str] = []
        self._held: list[av.Packet] = []  # of audio, until it is clear when the video begins
        self._frames: deque[Shown] = deque()
        self._samples: deque[np.ndarray] = deque()
        self._running = self._run()

    def __exit__(self, *error: object) -> None:
        self._running.close()
        self._container.close()

    def frames(self) -> Iterator[Shown]:
        """Each frame as it is stored; of frames with one tick the last is shown.

        A DataError if there is no video, or, at its end, if more than a tenth of its frames do not decode.
        """
        if self.video is None:
            has_video = any(not stream.disposition & NO_VIDEO for stream in self._container.streams.video)
            reason = "its video is of an unknown codec" if has_video else "has no video stream"
            raise DataError(f"{self.path}: {reason}")
        yield from self._coming(self._frames)
        self._check_complete()

    def shown(self, draw: Callable[[np.ndarray, float], np.ndarray]) -> Iterator[np.ndarray]:
        """What is shown 25 times a second: the last frame whose time, rounded to ticks, has come.

        `draw` takes a frame, RGB as shown, and its time in ticks; it is called once a frame that is shown.
        """
        due, waiting = 0, None
        for stored in self.frames():
            if waiting is not None and stored.tick > due:
                yield from repeat(draw(self.video.rgb(waiting.frame), waiting.time), stored.tick - due)
                due = stored.tick
            waiting = stored
        yield from repeat(draw(self.video.rgb(waiting.frame), waiting.time), self.video.length - due)

    def chunks(self) -> Iterator[np.ndarray]:
        """The audio, mono at 16 kHz, int16 (n,), from the first frame on, with silence in its holes.

        NoAudio if there is none, another DataError if none of it decodes.
        """
        if not self._container.streams.audio:
            raise NoAudio(f"{self.path}: has no audio")
        if not self.audios:
            raise DataError(f"{self.path}: its audio does not decode (FFmpeg does not know its codec)")
        yield from self._coming(self._samples)
        if self.audio is None:
            raise NoAudio(f"{self.path}: its audio is empty")
        if not self.audio.samples:  # packets, but not one that decodes
            raise DataError(f"{self.path}: its audio does not decode")

    def heard(self) -> list[np.ndarray]:
        """Chunks of audio that have been decoded on the way, and are given away."""
        samples = list(self._samples)
        self._samples.clear()
        return samples

    def skip_video(self) -> None:
        """Decode no more frames."""
        self._wants_video = False
        self._frames.clear()

    def notes(self, audio_seconds: float | None = None) -> tuple[str, ...]:
        """Short sentences on what is unusual in what has been decoded; `audio_seconds` is of audio from elsewhere."""
        notes = [*(self.video.look_notes if self.video else ()), *self._notes, *self._clock.notes()]
        notes += self._track_notes("video", self._videos, self.video)
        notes += self._track_notes("audio", self.audios, self.audio)
        notes += self.video.time_notes() if self.video else ()
        if self.audio is not None:
            notes += self.audio.notes()
            audio_seconds = self.audio.seconds
        apart = 0.0 if audio_seconds is None or self.video is None else audio_seconds - self.video.seconds
        if self._is_complete and abs(apart) > WORTH_A_NOTE:
            notes.append(f"audio ends {abs(apart):.2f} s {'after' if apart > 0 else 'before'} the video")
        return tuple(notes)

    def _track_notes(self, kind: str, ranked: list, used: VideoTrack | AudioTrack | None) -> Iterator[str]:
        streams = [s for s in getattr(self._container.streams, kind) if not s.disposition & NO_VIDEO]
        if len(streams) > 1 and used is not None:
            why = "the default one" if used.stream.disposition & Disposition.default else "the best one"
            why = why if used.stream is ranked[0] else "the first one that is not empty"
            yield f"{len(streams)} {kind} tracks: {why} is used (number {streams.index(used.stream) + 1})"

    def _coming(self, queue: deque) -> Iterator[Any]:
        """What is in a queue, and what decoding puts there."""
        while len(queue) or next(self._running, False):
            if queue:
                yield queue.popleft()

    def _run(self) -> Generator[bool, None, None]:
        """Decode packet by packet; yields after each, and at the end."""
        for packet in self._demux():
            if self.video is not None and packet.stream is self.video.stream:
                self._see(packet)
            else:
                self._hear(packet)
            yield True
        self._is_complete = True
        self._see(None)
        self._hear(None)
        yield True

    def _demux(self) -> Iterator[av.Packet]:
        """Packets of the tracks that are of use, on a clock without jumps."""
        bases = {stream.index: float(stream.time_base or 0) for stream in self._container.streams}
        usual = {self.video.stream.index: self.video.usual} if self.video is not None else {}
        tracks = {*usual, *(stream.index for stream in self.audios)}
        try:
            for packet in self._container.demux():
                track = packet.stream_index
                self.sizes[track] += packet.size
                stamp = packet.pts if packet.dts is None else packet.dts
                if stamp is not None:
                    start = stamp * bases[track]
                    end = (stamp + (packet.duration or usual.get(track, 0))) * bases[track]
                    self._end = max(self._end, end)
                    if track in tracks and (shift := self._clock.shift(track, start, end)):
                        packet.dts, packet.pts = (
                            None if value is None else value + round(shift / bases[track])
                            for value in (packet.dts, packet.pts)
                        )
                elif not packet.size:  # marks the end
                    continue
                if track in tracks:
                    yield packet
        except av.FFmpegError as error:
            self._notes.append(f"it does not read to its end ({error.strerror})")

    def _see(self, packet: av.Packet | None) -> None:
        """Decode a packet of the video; None: what the decoder still holds."""
        if self.video is not None and (self._wants_video or self.video.first is None):
            frames = self.video.decode(packet)
            self._frames += frames if self._wants_video else []

    def _hear(self, packet: av.Packet | None) -> None:
        """Decode a packet of audio as soon as it is clear which track is used and when the video begins."""
        if not self._wants_audio or not self.audios:
            return
        first = None if self.video is None else self.video.first
        if packet is not None:
            self._held.append(packet)
            if self.video is not None and first is None:
                return
        if self.audio is None:
            stream = self._best_of_held()
            if stream is None:
                return
            no_better_comes = stream is self.audios[0] or packet is None or len(self._held) > HELD_PACKETS
            if not no_better_comes:
                return
            origin = self._zero if first is None else first * self.video.stream.time_base
            self.audio = AudioTrack(stream, float(origin))
        for held in self._held:
            if held.stream is self.audio.stream:
                self._samples += self.audio.decode(held)
        self._held.clear()
        if packet is None:
            self._samples += self.audio.decode(None)

    def _best_of_held(self) -> av.AudioStream | None:
        """The best audio track of which there is a packet so far."""
        there = {held.stream.index for held in self._held}
        return next((stream for stream in self.audios if stream.index in there), None)

    def _check_complete(self) -> None:
        """Refuse a clip of which more than a tenth of the frames do not decode, or are not there."""
        video, name = self.video, self._container.format.name
        lost, reason = video.errors, ""
        if name.startswith("mov"):  # whose index has all frames; those that an edit list hides never come out
            entries = video.stream.index_entries
            lost = max(lost, sum(not entry.is_discard for entry in entries) - video.count)
            there, whole = self.path.stat().st_size, max((entry.pos + entry.size for entry in entries), default=0)
            if whole > there:
                reason = f"truncated, only {there} of {whole} bytes are there"
        elif name == "avi":
            lost += max(0, video.stream.frames - video.packets)
        elif name.startswith(HAS_LENGTH) and self._container.duration:
            end = self._end - min(float(self._zero), 0)
            length = self._container.duration / av.time_base
            if end < min(ENOUGH * length, length - EARLY):
                raise DataError(f"{self.path}: truncated, only {end:.1f} of its {length:.1f} s are there")
            if end < length - EARLY:
                self._notes.append(f"ends {length - end:.1f} s before its header says")
        total = video.count + lost
        if video.count < ENOUGH * total or not video.count:
            frames = f"only {video.count} of its {total} frames decode" if video.count else "has no frame that decodes"
            raise DataError(f"{self.path}: {reason or frames}")
        if lost:
            self._notes.append(f"{lost} of {total} frames do not decode; the rest is used")
        if video.damaged:
            self._notes.append(f"damaged in {video.damaged} frame{'s' * (video.damaged > 1)} or more")


class _Clock:
    """Time stamps that begin anew or leap within a file, made to go on.

    Each track has its own place in the list of shifts, since at a seam the last packets of one may come behind the
    first ones of another; the shifts are common, so that the tracks stay together. The main track goes on without a
    gap.
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
        """A sentence on the leaps of the clock, if there were any."""
        if leaps := len(self._shifts) - 1:
            yield f"its clock leaps {'once' if leaps == 1 else f'{leaps} times'}: played on without a break"

    def _leaps(self, due: float, start: float) -> bool:
        return not -self._backward <= start - due <= self._forward


def open_media(path: str | Path) -> av.container.InputContainer:
    """Open a media file; a DataError with the reason if it is none."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: is {KINDS.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")
        if not status.st_size:
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


def _ranked(streams: tuple, size: Callable[[av.stream.Stream], int]) -> list:
    """Tracks that can be decoded, the one to use first: the default one, as FFmpeg picks it, or else the largest."""
    usable = [stream for stream in streams if stream.codec_context is not None and not stream.disposition & NO_VIDEO]
    return sorted(usable, key=lambda s: (not s.disposition & Disposition.default, -size(s)))
