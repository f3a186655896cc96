"""Damage as clips meet it on their way: other codecs, smaller frames, noise, darkness, a telephone's band.

Pictures are damaged at their full size, before they are scaled for the detector.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from functools import wraps

import av
import cv2
import numpy as np
from scipy.signal import butter, sosfiltfilt

from dataset.media import FRAME_RATE, SAMPLE_RATE
from utils.errors import DataError

PictureDamage = Callable[[Iterable[np.ndarray], float, np.random.Generator], Iterator[np.ndarray]]
SoundDamage = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _each(function: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]) -> PictureDamage:
    """Damage of a clip from that of a frame."""

    @wraps(function)
    def damage(frames: Iterable[np.ndarray], amount: float, rng: np.random.Generator) -> Iterator[np.ndarray]:
        return (function(frame, amount, rng) for frame in frames)

    return damage


def h264(frames: Iterable[np.ndarray], crf: float, _rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Encode frames (H, W, 3) RGB with libx264 at a constant rate factor, and decode them again, in memory."""
    encoder, decoder = None, av.CodecContext.create("h264", "r")
    for frame in frames:
        if encoder is None:
            height, width = frame.shape[:2]
            encoder = _h264_encoder(height + height % 2, width + width % 2, crf)
        # OpenCV's colours come back as they were; FFmpeg's own conversion makes each frame a few levels darker.
        even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        yuv = cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420)  # (1.5 H, W)
        for packet in encoder.encode(av.VideoFrame.from_ndarray(yuv, format="yuv420p")):
            yield from (_to_rgb(picture)[:height, :width] for picture in decoder.decode(packet))
    for packet in (*(encoder.encode() if encoder else ()), None):
        yield from (_to_rgb(picture)[:height, :width] for picture in decoder.decode(packet))


def _h264_encoder(height: int, width: int, crf: float) -> av.CodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuv420p"
    encoder.framerate = FRAME_RATE
    encoder.options = {"crf": f"{crf:g}"}
    encoder.thread_count = 1  # the result depends on it
    return encoder


def _to_rgb(picture: av.VideoFrame) -> np.ndarray:
    return cv2.cvtColor(picture.to_ndarray(), cv2.COLOR_YUV2RGB_I420)


@_each
def resize(frame: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """Scale a frame down, and up to its size again."""
    height, width = frame.shape[:2]
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(cv2.resize(frame, small, interpolation=cv2.INTER_AREA), (width, height))


@_each
def blur(frame: np.ndarray, sigma: float, _rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur, in pixels of the frame."""
    return cv2.GaussianBlur(frame, (0, 0), sigma)


@_each
def noise(frame: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise on each value, in levels of 255."""
    return _as_uint8(frame + sigma * rng.standard_normal(frame.shape, dtype=np.float32))


@_each
def brightness(frame: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """A darker frame."""
    return _as_uint8(factor * frame)


def mp3(samples: np.ndarray, kilobits: float, _rng: np.random.Generator) -> np.ndarray:
    """Encode samples (N,) with LAME at a constant bit rate, and decode them again, in memory.

    The file says by how much encoder and decoder delay the sound, and FFmpeg makes up for it.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = round(1000 * kilobits)
        context = stream.codec_context
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        cut = av.AudioResampler(context.format.name, "mono", SAMPLE_RATE, frame_size=context.frame_size)
        for part in (*cut.resample(frame), *cut.resample(None), None):
            container.mux(stream.encode(part))
    file.seek(0)
    with av.open(file) as container:
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
        parts = [part for heard in (*container.decode(audio=0), None) for part in resampler.resample(heard)]
    heard = np.concatenate([part.to_ndarray()[0] for part in parts])[: len(samples)]
    return np.pad(heard, (0, len(samples) - len(heard)))


def sound_noise(samples: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """White noise at a ratio of signal to noise, of the whole of the samples (N,).

    Raises
    ------
    DataError
        If the sound is all zeros.
    """
    power = np.mean(np.square(samples, dtype=np.float64))
    if power == 0:
        raise DataError("all of its sound is silent")
    sigma = np.sqrt(power / 10 ** (decibels / 10))
    return _as_int16(samples + sigma * rng.standard_normal(len(samples)))


def band_limit(samples: np.ndarray, kilohertz: float, _rng: np.random.Generator) -> np.ndarray:
    """Low pass of the samples (N,), Butterworth forwards and backwards, so that nothing is delayed."""
    low_pass = butter(8, 1000 * kilohertz, fs=SAMPLE_RATE, output="sos")
    return _as_int16(sosfiltfilt(low_pass, samples, padlen=min(100, len(samples) - 1)))


def _as_uint8(frame: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8)


def _as_int16(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(samples), -32_768, 32_767).astype(np.int16)


PICTURE: dict[str, PictureDamage] = {
    "H.264": h264,
    "resize": resize,
    "blur": blur,
    "noise": noise,
    "brightness": brightness,
}
SOUND: dict[str, SoundDamage] = {"MP3": mp3, "sound noise": sound_noise, "band limit": band_limit}
