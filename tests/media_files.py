"""Small media files whose right answer is known: frames that say which they are, tones, silence."""

import shutil
import wave
from collections.abc import Sequence
from fractions import Fraction
from itertools import count, islice
from pathlib import Path

import av
import numpy as np
import pytest

from dataset.video import Shown, VideoTrack

BASE = Fraction(1, 90_000)  # seconds a time stamp


def copy_clip(reference: Path, folder: Path) -> Path:
    """A reference clip of 39 frames with its audio inside, copied to a place with an odd name."""
    target = folder / "Ünï çode (1)" / "clip (2).mp4"
    target.parent.mkdir()
    source = reference / "corpus" / "original" / "RealVideo-RealAudio" / "African" / "men" / "id00076" / "00100.mp4"
    return Path(shutil.copyfile(source, target))


def write_clip(
    path: Path,
    times: Sequence[float | Fraction],
    *,
    size: tuple[int, int] = (64, 64),
    last: float | Fraction = Fraction(1, 25),
    b_frames: int = 2,
    audio: tuple[np.ndarray, int] | None = None,
    audio_codec: str = "aac",
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip whose frames are grey, each three levels brighter than the one before, beginning at 20.

    Parameters
    ----------
    path
        The file, whose extension says which container it gets.
    times
        When each frame begins, in seconds.
    size
        Width and height.
    last
        How long the last frame lasts, in seconds.
    b_frames
        How many frames may be stored out of order in a row.
    audio
        Samples (N, channels) int16, and their rate.
    audio_codec
        Of the audio.
    options
        Of the container.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        rate = (1 / Fraction(last)).limit_denominator(100_000)  # which gives the last frame its length
        stream = container.add_stream("libx264", rate=rate, options={"bf": str(b_frames), "qp": "4"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv444p" if any(side % 2 for side in size) else "yuv420p"
        stream.codec_context.time_base = BASE
        track = audio and add_audio(container, audio_codec, *audio)
        stamps = [round(time / BASE) for time in (*times, times[-1] + last)]
        for index, stamp in enumerate(stamps[:-1]):
            grey = np.full((size[1], size[0], 3), 20 + 3 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base, frame.duration = stamp, BASE, stamps[index + 1] - stamp
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            mux_audio(container, track, *audio)
    return path


def add_audio(container: av.container.OutputContainer, codec: str, samples: np.ndarray, rate: int) -> av.AudioStream:
    """Add a stream for samples (N, channels)."""
    return container.add_stream(codec, rate=rate, layout={1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]])


def mux_audio(
    container: av.container.OutputContainer,
    stream: av.AudioStream,
    samples: np.ndarray,
    rate: int,
    start: float | None = None,
) -> None:
    """Write samples (N, channels) into a stream, which begins `start` seconds after the video, or where it begins."""
    context, layout = stream.codec_context, stream.layout.name
    frame = av.AudioFrame.from_ndarray(samples.astype(np.int16).reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate = rate
    if start is not None:
        frame.pts, frame.time_base = round(start * rate), Fraction(1, rate)
    size = context.frame_size or 1024
    cut = av.AudioResampler(context.format.name, layout, context.sample_rate, frame_size=size)
    for part in (*cut.resample(frame), *cut.resample(None), None):
        container.mux(stream.encode(part))


def even_times(count: int, rate: Fraction | int, start: float | Fraction = 0) -> list[Fraction]:
    """When the frames of a constant rate begin."""
    return [start + Fraction(index) / rate for index in range(count)]


def frame_numbers(frames: np.ndarray) -> list[int]:
    """Which frames of :func:`write_clip` these (T, H, W, 3) are."""
    return [round((float(frame.mean()) - 20) / 3) for frame in frames]


def tone(seconds: float, rate: int, channels: int = 1, level: int = 8000) -> np.ndarray:
    """440 Hz, the same in all channels (N, channels)."""
    wave_form = level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave_form] * channels, axis=1)


def remux(
    source: Path,
    name: str,
    kinds: tuple[str, ...] = ("video", "audio"),
    instead: dict[int, bytes] | None = None,
    gap: tuple[float, float] = (0, 0),
    **options: str,
) -> Path:
    """Copy some streams of a clip into another file beside it, without decoding.

    `instead` has other data for some packets of the video, by their numbers; packets of the audio that begin within
    `gap`, in seconds, are left out.
    """
    target = source.with_name(name)
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams if s.type in kinds}
        number = count()
        for packet in old.demux(*(old.streams[index] for index in streams)):
            if packet.dts is None or (
                packet.stream.type == "audio" and gap[0] <= packet.pts * packet.time_base < gap[1]
            ):
                continue
            kind, stream = packet.stream.type, streams[packet.stream.index]
            if kind == "video" and (data := (instead or {}).get(next(number))) is not None:
                packet = _with_data(packet, data)
            packet.stream = stream
            new.mux(packet)
    return target


def _with_data(packet: av.Packet, data: bytes) -> av.Packet:
    other = av.Packet(data)
    for name in ("pts", "dts", "time_base", "duration"):
        setattr(other, name, getattr(packet, name))
    return other


def repeat(source: Path, name: str, times: int) -> Path:
    """Write a clip without B-frames end to end many times over into another file beside it, without coding it again."""
    target = source.with_name(name)
    with av.open(str(target), "w") as new:
        streams = {}
        shifts = {}
        for _ in range(times):
            with av.open(str(source)) as old:
                streams = streams or {s.index: new.add_stream_from_template(s) for s in old.streams}
                for packet in old.demux():
                    if packet.dts is None:
                        continue
                    index = packet.stream.index
                    packet.stream = streams[index]
                    # Each packet begins where the one before it ended.
                    packet.pts = packet.dts = shifts.get(index, 0)
                    shifts[index] = packet.dts + packet.duration
                    new.mux(packet)
    return target


def cut_clip(path: Path, frames: int) -> None:
    """Keep the first frames of a clip at 25 frames a second, and as much of the wav beside it."""
    with av.open(str(path)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in islice(container.decode(video=0), frames)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "4"})
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in shown:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    with wave.open(str(path.with_suffix(".wav"))) as audio:
        rate = audio.getframerate()
        samples = np.frombuffer(audio.readframes(frames * rate // 25), "<i2")
    write_wav(path.with_suffix(".wav"), samples, rate)


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write int16 samples (N,) or (N, channels)."""
    with wave.open(str(path), "wb") as out:
        out.setparams((1 if samples.ndim == 1 else samples.shape[1], 2, rate, 0, "NONE", ""))
        out.writeframes(samples.astype("<i2").tobytes())


def count_frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tell of each frame that is decoded from now on: the list grows by one."""
    place, frames = VideoTrack._place, []

    def counting(track: VideoTrack, frame: av.VideoFrame) -> list[Shown]:
        frames.append(1)
        return place(track, frame)

    monkeypatch.setattr(VideoTrack, "_place", counting)
    return frames
