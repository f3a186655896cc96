"""Audio of any kind to mono at 16 kHz, on the clock of the video."""

import io
from collections.abc import Iterator

import av
import numpy as np

SAMPLE_RATE = 16_000
CHUNK = 1 << 14  # samples that are read or resampled at once
# Seconds. Time stamps are rounded and jitter: audio that is less behind or ahead is taken as it comes. A lost packet of
# 20 ms is more.
BEHIND, AHEAD = 0.015, 0.04
WORTH_A_NOTE = 0.1  # seconds


class AudioTrack:
    """A track while it is decoded, averaged to mono and resampled.

    Where no packet holds anything, by the time stamps, there is silence; what overlaps is cut. FFmpeg's `aresample`
    with `async=1` does the same from holes of 0.1 s on. `origin` is when the first frame is shown, in seconds on the
    container's clock.
    """

    def __init__(self, stream: av.AudioStream, origin: float) -> None:
        stream.codec_context.thread_count = 1
        self.stream = stream
        self.rate: int | None = None
        self.channels: int | None = None
        self.samples = 0  # decoded so far, of each channel, at that rate
        self.start: float | None = None  # when the audio begins, in seconds from the first frame
        self.seconds = 0.0  # where it ends so far
        self._base, self._origin = float(stream.time_base), origin
        self._packets = self._errors = self._holes = 0
        self._silence = 0.0  # in holes
        self._late = 0.0  # seconds by which time stamps are late at the start, too little to matter
        self._kind: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None
        self._waiting = av.AudioFifo()  # resampling little by little would be slow
        self._ready: list[np.ndarray] = []

    def decode(self, packet: av.Packet | None) -> list[np.ndarray]:
        """Samples (n,) int16 that are ready after a packet of the track; None: all that is left."""
        if packet is not None:
            if not packet.size:
                return []
            self._packets += 1
        try:
            frames = self.stream.codec_context.decode(packet)
        except av.FFmpegError:
            self._errors += 1
            return []
        for frame in frames:
            self._place(frame, None if frame.pts is None else frame.pts * self._base - self._origin)
        if packet is None:
            self._flush()
        ready, self._ready = self._ready, []
        return ready

    def notes(self) -> Iterator[str]:
        """Sentences on what is unusual about the audio."""
        if self.start is not None and abs(self.start) >= WORTH_A_NOTE:
            how = "after the video: silence before it" if self.start > 0 else "before the video: its start is left out"
            yield f"audio begins {abs(self.start):.2f} s {how}"
        if self._holes:
            holes = f"{self._holes} hole{'s' * (self._holes > 1)}, {self._silence:.2f} s in all"
            yield f"audio has {holes}: filled with silence"
        if self._errors:
            yield f"{self._errors} of {self._packets} packets of the audio do not decode"

    def _place(self, frame: av.AudioFrame, start: float | None) -> None:
        """Put a frame where it belongs."""
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self._kind:
            self._flush()
            self._kind, self._resampler = kind, av.AudioResampler("s16", "mono", SAMPLE_RATE)
            self.rate, self.channels = self.rate or frame.sample_rate, self.channels or len(frame.layout.channels)
        self.samples += frame.samples
        drift = 0.0 if start is None else start - self._late - self.seconds
        is_first = self.start is None
        if is_first:
            self.start = start or 0.0
            if abs(drift) <= BEHIND:
                self._late, drift = drift, 0.0
        frame.pts = None  # the queue would refuse small gaps, which are closed here
        if drift > BEHIND:
            if not is_first:
                self._holes += 1
                self._silence += drift
            for silence in _silence(frame, round(drift * frame.sample_rate)):
                self._write(silence)
        elif drift < -(AHEAD if self.seconds else BEHIND):
            surplus = round(-drift * frame.sample_rate)
            if surplus >= frame.samples:
                return
            frame = _without(frame, surplus)
        self._write(frame)

    def _write(self, frame: av.AudioFrame) -> None:
        self._waiting.write(frame)
        self.seconds += frame.samples / frame.sample_rate
        if self._waiting.samples >= CHUNK:
            self._resample(self._waiting.read())

    def _flush(self) -> None:
        """Resample what waits, and all that the resampler holds back."""
        if self._resampler is None:
            return
        if self._waiting.samples:
            self._resample(self._waiting.read())
        self._resample(None)
        self._resampler, self._waiting = None, av.AudioFifo()

    def _resample(self, frame: av.AudioFrame | None) -> None:
        self._ready += [done.to_ndarray()[0] for done in self._resampler.resample(frame)]


def _silence(like: av.AudioFrame, count: int) -> Iterator[av.AudioFrame]:
    """So many samples of silence, a second at most in a frame."""
    for start in range(0, count, like.sample_rate):
        frame = av.AudioFrame(like.format.name, like.layout.name, min(count - start, like.sample_rate))
        frame.sample_rate = like.sample_rate
        for plane in frame.planes:
            plane.update((b"\x80" if like.format.name.startswith("u8") else b"\0") * plane.buffer_size)
        yield frame


def _without(frame: av.AudioFrame, count: int) -> av.AudioFrame:
    """A frame without its first samples."""
    queue = av.AudioFifo()
    queue.write(frame)
    queue.read(count)
    rest = queue.read()
    rest.pts = None
    return rest


def encode_mp3(samples: np.ndarray, kilobits: float) -> bytes:
    """Encode samples (N,) at 16 kHz with LAME at a constant bit rate.

    The file says by how much encoder and decoder delay the audio, and players make up for it.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = round(1000 * kilobits)
        context = stream.codec_context
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        cut = av.AudioResampler(context.format.name, "mono", SAMPLE_RATE, frame_size=context.frame_size)
        for part in (*cut.resample(frame), *cut.resample(None), None):
            container.mux(stream.encode(part))
    return file.getvalue()
