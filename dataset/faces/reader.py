"""The pictures of a clip in any container and codec that PyAV reads, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np

from dataset.faces.fault import unreadable
from dataset.media import MISSING, probe
from dataset.timing import FRAME_RATE
from utils.errors import DataError

# Containers whose header says how long the clip is meant to be, whatever is there of it.
HONEST = ("matroska", "avi", "flv", "asf")


class Reader:
    """Decode a clip on one thread; used as a ``cv2.VideoCapture``, and so by :class:`dataset.timing.FrameClock`.

    Unlike OpenCV's it knows every codec that PyAV does, turns BT.709 to RGB by its own matrix, and says what breaks.
    Frames that are stored lying on their side are turned.

    Parameters
    ----------
    path
        The clip.

    Attributes
    ----------
    start
        When the first frame is shown on the container's own clock, in seconds; None before it is decoded.
    count
        Frames decoded so far.
    picture_end, sound_end
        Where the packets read so far end on that clock, in seconds.
    sound_tracks
        How many there are.
    damaged
        Frames of those decoded so far that FFmpeg calls corrupt.
    has_repeats
        Some packets were empty: the frame before is shown again, as Theora in Ogg stores what does not change.

    Raises
    ------
    ClipFault
        If the file is no clip, or breaks.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.promised = probe(self.path)
            self._container = av.open(str(path), metadata_errors="ignore")
        except DataError as error:
            why = str(error).removeprefix(f"{path}: ").replace("not an mp4", "not a video")
            raise unreadable(path, why) from error
        except (av.FFmpegError, OSError) as error:
            raise unreadable(path, f"it does not open ({error.strerror})") from error
        self._video = next((s for s in self._container.streams.video if not _is_cover(s)), None)
        if self._video is None or self._video.codec_context is None:
            self.release()
            why = "has no video stream" if self._video is None else "its picture is of an unknown codec"
            raise unreadable(path, why)
        self._video.codec_context.thread_count = 1
        self.start: float | None = None
        self.count = 0
        self.picture_end = self.sound_end = 0.0
        self.has_repeats = False
        self.damaged = 0
        self.sound_tracks = len(self._container.streams.audio)
        self._time = 0.0
        self._end = 0.0
        self._frame: av.VideoFrame | None = None
        self._frames = self._decode()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def grab(self) -> bool:
        """Decode the next frame, and say whether there was one."""
        frame = next(self._frames, None)
        if frame is None:
            return False
        self._frame = frame  # the last one stays for whoever needs it
        self.damaged += frame.is_corrupt
        usual = 1 / float(self._video.average_rate or FRAME_RATE)
        stamp = self._frame.time
        self._time = stamp if stamp is not None else self._time + usual * (self.count > 0)
        self.start = self._time if self.start is None else self.start
        self.count += 1
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        """Give the frame that was decoded last as BGR (H, W, 3), uint8."""
        picture = self._frame.to_ndarray(format="bgr24")
        return True, np.rot90(picture, self._frame.rotation // 90 % 4)

    def get(self, name: int) -> float:
        """Give the time of the frame that was decoded last in milliseconds, the one thing that is asked for."""
        if name != cv2.CAP_PROP_POS_MSEC:
            raise ValueError(f"a reader knows no property {name}")
        return 1000 * self._time

    @property
    def ticks(self) -> float:
        """When the frame that was decoded last is shown, in ticks (1/25 s) from the first one."""
        return (self._time - self.start) * FRAME_RATE

    def release(self) -> None:
        """Close the file."""
        self._container.close()

    def check_complete(self) -> None:
        """Refuse a clip that ends before it should, once all of it was decoded.

        Raises
        ------
        ClipFault
            With what is missing.
        """
        if self.count == 0:
            raise unreadable(self.path, "has no frame that decodes")
        # Not every container has an index of all its frames; MP4 has, and ends in the middle if one is missing.
        if self._container.format.name.startswith("mov") and self.count < self.promised:
            raise unreadable(self.path, f"only {self.count} of its {self.promised} frames decode")
        if self._container.format.name.startswith(HONEST):
            there, whole = self._end - (self._container.start_time or 0) / av.time_base, self._length()
            if there < whole - MISSING:
                raise unreadable(self.path, f"truncated, only {there:.1f} of its {whole:.1f} s are there")

    def _length(self) -> float:
        """How many seconds the container's header says it lasts; 0 if it does not."""
        # Of an AVI that is cut short, FFmpeg shortens the duration by its size, but not the number of frames.
        counted = self._video.frames / float(self._video.average_rate or FRAME_RATE)
        return max((self._container.duration or 0) / av.time_base, counted)

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Decode one picture at a time, and see where all streams end."""
        try:
            for packet in self._container.demux():
                self._note_end(packet)
                if packet.stream.index == self._video.index:
                    yield from self._frames_of(packet)
        except av.FFmpegError as error:
            raise unreadable(self.path, f"its picture does not decode ({error.strerror})") from error

    def _frames_of(self, packet: av.Packet) -> list[av.VideoFrame]:
        if not packet.size and packet.dts is not None:  # the end of the stream has no time
            self.has_repeats = True
            return []
        try:
            return packet.decode()
        except av.FFmpegError:
            if self.count:
                raise
            return []  # a recording that begins between two key frames

    def _note_end(self, packet: av.Packet) -> None:
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None:
            return
        end = float((stamp + (packet.duration or 0)) * packet.time_base)
        self._end = max(self._end, end)
        if packet.stream.index == self._video.index:
            self.picture_end = max(self.picture_end, end)
        elif packet.stream.type == "audio":
            self.sound_end = max(self.sound_end, end)


def _is_cover(stream: av.VideoStream) -> bool:
    """Whether this is the picture on the cover of a song rather than a video."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def sound_start(path: str | Path) -> float | None:
    """When the first sample of a clip's own sound track is heard on the container's clock, in seconds.

    None if there is no such track, or it does not say.

    Raises
    ------
    av.FFmpegError
        If it does not decode.
    """
    with av.open(str(path), metadata_errors="ignore") as container:
        if not container.streams.audio or container.streams.audio[0].codec_context is None:
            return None
        frame = next(container.decode(container.streams.audio[0]), None)
        return None if frame is None else frame.time
