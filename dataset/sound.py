"""Audio of any kind to mono at 16 kHz, on a clock."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np

SAMPLE_RATE = 16_000
CHUNK = 1 << 14  # samples that are read or resampled at once
# Seconds. Time stamps are rounded and jitter: audio that is less behind or ahead is taken as it comes. A lost packet of
# 20 ms is more.
BEHIND, AHEAD = 0.015, 0.04
WORTH_A_NOTE = 0.1  # seconds


class Sound:
    """Decode the packets of one track, average to mono and resample.

    Where no packet holds anything, by the time stamps, there is silence; what overlaps is cut.

    Parameters
    ----------
    stream
        The track.
    origin
        When the first frame is shown, in seconds on the container's clock.

    Attributes
    ----------
    rate, channels
        Of the track; None until something is decoded.
    samples
        Decoded so far, of each channel, at that rate.
    start
        When the audio begins, in seconds from the first frame; None until then.
    seconds
        Where it ends so far.
    """

    def __init__(self, stream: av.AudioStream, origin: float) -> None:
        self._context, self._base, self._origin = stream.codec_context, float(stream.time_base), origin
        self.rate: int | None = None
        self.channels: int | None = None
        self.samples = self.errors = self.packets = self.holes = 0
        self.start: float | None = None
        self.seconds = 0.0
        self._silence = 0.0
        self._late = 0.0  # seconds by which time stamps are late at the start, too little to matter
        self._kind: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None
        self._waiting = av.AudioFifo()

    def decode(self, packet: av.Packet | None) -> Iterator[np.ndarray]:
        """Samples (n,) int16 that are ready after a packet of the track; None: all that is left."""
        if packet is not None:
            if not packet.size:
                return
            self.packets += 1
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError:
            self.errors += 1
            return
        for frame in frames:
            yield from self._add(frame, None if frame.pts is None else frame.pts * self._base - self._origin)
        if packet is None:
            yield from self._resample(None)

    def notes(self) -> Iterator[str]:
        """What is unusual."""
        if self.start is not None and abs(self.start) >= WORTH_A_NOTE:
            how = "after the video: silence before it" if self.start > 0 else "before the video: its start is left out"
            yield f"audio begins {abs(self.start):.2f} s {how}"
        if self.holes:
            holes = f"{self.holes} hole{'s' * (self.holes > 1)}, {self._silence:.2f} s in all"
            yield f"audio has {holes}: filled with silence"
        if self.errors:
            yield f"{self.errors} of {self.packets} packets of the audio do not decode"

    def _add(self, frame: av.AudioFrame, start: float | None) -> Iterator[np.ndarray]:
        """Put a frame where it belongs."""
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self._kind:
            yield from self._resample(None)
            self._kind, self._resampler = kind, av.AudioResampler("s16", "mono", SAMPLE_RATE)
            self.rate, self.channels = self.rate or frame.sample_rate, self.channels or len(frame.layout.channels)
        self.samples += frame.samples
        drift = 0.0 if start is None else start - self._late - self.seconds
        if self.start is None:
            self.start = start or 0.0
            if abs(drift) <= BEHIND:
                self._late, drift = drift, 0.0
            first = True
        else:
            first = False
        frame.pts = None  # the queue would refuse small gaps, which are closed here
        if drift > BEHIND:
            if not first:
                self.holes += 1
                self._silence += drift
            yield from self._silent(frame, round(drift * frame.sample_rate))
        elif drift < -(BEHIND if first or not self.seconds else AHEAD):
            surplus = round(-drift * frame.sample_rate)
            if surplus >= frame.samples:
                return
            frame = _without(frame, surplus)
        self._waiting.write(frame)
        self.seconds += frame.samples / frame.sample_rate
        if self._waiting.samples >= CHUNK:
            yield from self._resample(self._waiting.read())

    def _silent(self, like: av.AudioFrame, count: int) -> Iterator[np.ndarray]:
        """Add silence, a second at most at once."""
        self.seconds += count / like.sample_rate
        while count > 0:
            silence = av.AudioFrame(like.format.name, like.layout.name, min(count, like.sample_rate))
            silence.sample_rate = like.sample_rate
            for plane in silence.planes:
                plane.update((b"\x80" if like.format.name.startswith("u8") else b"\0") * plane.buffer_size)
            count -= silence.samples
            self._waiting.write(silence)
            if self._waiting.samples >= CHUNK:
                yield from self._resample(self._waiting.read())

    def _resample(self, frame: av.AudioFrame | None) -> Iterator[np.ndarray]:
        """Resample a frame; None: what waits and what the filter holds back."""
        if self._resampler is None:
            return
        frames = [frame]
        if frame is None and self._waiting.samples:
            frames = [self._waiting.read(), None]
        for part in frames:
            for done in self._resampler.resample(part):
                yield done.to_ndarray()[0]
        if frame is None:
            self._resampler, self._waiting = None, av.AudioFifo()


def _without(frame: av.AudioFrame, count: int) -> av.AudioFrame:
    """A frame without its first samples."""
    queue = av.AudioFifo()
    queue.write(frame)
    queue.read(count)
    rest = queue.read()
    rest.pts = None
    return rest
