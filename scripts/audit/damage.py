"""Damage of clips: codecs, smaller frames, noise, darkness, a telephone's band; and the sets of it that papers report.

Frames are damaged at their full size, before they are scaled for the detector. The sets are DeeperForensics-1.0's
perturbations (Jiang et al., CVPR 2020; the set of LipForensics, RealForensics, SpeechForensics, DiMoDif and AuViRe) and
AuViRe's for the audio, from their definitions. What is random in them depends on the seed and the clip here.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import pandas as pd
import torch
from scipy.signal import butter, lfilter, resample, sosfiltfilt
from torchaudio.functional import phase_vocoder

from dataset.media import FRAME_RATE, SAMPLE_RATE
from scripts.predict.page import encode_mp3
from utils.errors import DataError

GREY = 128
WINDOW = 512  # samples of the phase vocoder
BLOCK = 8  # pixels a side
BLOCKS_FROM = 256  # pixels of the shorter side, for each of which the source draws so many blocks
MOST_KILOBITS = 160  # that MP3 has at 16 kHz
# Freeverb's delays in samples at 44.1 kHz (public domain).
COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
ALLPASSES = (225, 341, 441, 556)
DAMPING, ALLPASS_GAIN = 0.25, 0.5
LEAST_FEEDBACK, MOST_FEEDBACK = 0.3, 0.98


VideoDamage = Callable[[Iterable[np.ndarray], float, np.random.Generator], Iterator[np.ndarray]]
AudioDamage = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _each(function: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]) -> VideoDamage:
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
            yield from (_to_rgb(decoded)[:height, :width] for decoded in decoder.decode(packet))
    for packet in (*(encoder.encode() if encoder else ()), None):
        yield from (_to_rgb(decoded)[:height, :width] for decoded in decoder.decode(packet))


def _h264_encoder(height: int, width: int, crf: float) -> av.CodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuv420p"
    encoder.framerate = FRAME_RATE
    encoder.options = {"crf": f"{crf:g}"}
    encoder.thread_count = 1  # the result depends on it
    return encoder


def _to_rgb(frame: av.VideoFrame) -> np.ndarray:
    return cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420)


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
    """Encode samples (N,) with LAME at a constant bit rate, and decode them again, in memory."""
    with av.open(io.BytesIO(encode_mp3(samples, kilobits))) as container:
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
        parts = [part for heard in (*container.decode(audio=0), None) for part in resampler.resample(heard)]
    heard = np.concatenate([part.to_ndarray()[0] for part in parts])[: len(samples)]
    return np.pad(heard, (0, len(samples) - len(heard)))


def audio_noise(samples: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """White noise at a ratio of signal to noise, of the whole of the samples (N,).

    Raises
    ------
    DataError
        If the audio is all zeros.
    """
    power = np.mean(np.square(samples, dtype=np.float64))
    if power == 0:
        raise DataError("all of its audio is silent")
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


VIDEO_DAMAGE: dict[str, VideoDamage] = {
    "H.264": h264,
    "resize": resize,
    "blur": blur,
    "noise": noise,
    "brightness": brightness,
}
AUDIO_DAMAGE: dict[str, AudioDamage] = {"MP3": mp3, "audio noise": audio_noise, "band limit": band_limit}


class Type(NamedTuple):
    """One type of a set.

    Attributes
    ----------
    function
        Damages a frame (H, W, 3), uint8, or the samples (N,), given a level's parameter and a random generator.
    levels
        Parameters from mild to severe.
    stream
        "frame", "video" (all frames in one stroke) or "audio".
    """

    function: Callable
    levels: tuple[float, ...]
    stream: str = "frame"


class Set(NamedTuple):
    """A set of damage by its name in papers: its types, and what to know before comparing with published numbers."""

    types: dict[str, Type]
    notes: tuple[str, ...]


def saturation(frame: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """Bring both chroma channels of YCbCr nearer to grey."""
    luma_chroma = _ycrcb(frame)
    luma_chroma[..., 1:] = 0.5 + factor * (luma_chroma[..., 1:] - 0.5)
    return _back(luma_chroma)


def contrast(frame: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """Scale all values towards 0, which darkens."""
    return _as_uint8(factor * frame.astype(np.float32))


def blocks(frame: np.ndarray, number: float, rng: np.random.Generator) -> np.ndarray:
    """Put grey blocks at random places, `number` for each 256 pixels of the shorter side."""
    height, width = frame.shape[:2]
    share = min(height, width) / BLOCKS_FROM
    frame = frame.copy()
    for _ in range(round(number * (int(share) if share >= 1 else share))):
        top, left = rng.integers(max(1, height - BLOCK + 1)), rng.integers(max(1, width - BLOCK + 1))
        frame[top : top + BLOCK, left : left + BLOCK] = GREY
    return frame


def gaussian_noise(frame: np.ndarray, variance: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise of that variance to each channel of YCbCr, from 0 to 1."""
    return _back(_ycrcb(frame) + math.sqrt(variance) * rng.standard_normal(frame.shape, dtype=np.float32))


def gaussian_blur(frame: np.ndarray, side: float, _rng: np.random.Generator) -> np.ndarray:
    """Blur with a kernel of that side, whose sigma is a sixth of it."""
    return cv2.GaussianBlur(frame, (int(side), int(side)), side / 6)


def pixelation(frame: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """Scale down by a factor and up again, bilinear."""
    height, width = frame.shape[:2]
    small = max(1, int(width // factor)), max(1, int(height // factor))
    return cv2.resize(cv2.resize(frame, small), (width, height))


def white_noise(samples: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Add white noise of which the power is that of the audio divided by `ratio`, which is not in dB."""
    return audio_noise(samples, 10 * math.log10(ratio), rng)


def pitch(samples: np.ndarray, semitones: float, rng: np.random.Generator) -> np.ndarray:
    """Shift the pitch up or down by chance; the length stays."""
    factor = 2 ** (int(semitones) * int(rng.choice((-1, 1))) / 12)
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(
        torch.from_numpy(samples.astype(np.float32)), WINDOW, WINDOW // 4, window=window, return_complex=True
    )
    advance = torch.linspace(0, np.pi * WINDOW / 4, WINDOW // 2 + 1)[:, None]
    slower = torch.istft(phase_vocoder(spectrum, 1 / factor, advance), WINDOW, WINDOW // 4, window=window)
    return _as_int16(resample(slower.numpy(), len(samples)))


def reverberation(samples: np.ndarray, reverberance: float, _rng: np.random.Generator) -> np.ndarray:
    """Add the tail of a room, 0 to 100 % of reverberance, by Schroeder's combs and allpasses; the loudness stays."""
    # The tail's decay rises towards its largest as in SoX's reverb, whose scale papers give.
    share = 1 - (1 - reverberance / 100) ** 2
    feedback = LEAST_FEEDBACK + share * (MOST_FEEDBACK - LEAST_FEEDBACK)
    dry = samples.astype(np.float64)
    wet = np.sum([_comb(dry, round(delay * SAMPLE_RATE / 44_100), feedback) for delay in COMBS], axis=0) / len(COMBS)
    for delay in ALLPASSES:
        wet = _allpass(wet, round(delay * SAMPLE_RATE / 44_100))
    mixed = dry + wet
    power = np.mean(mixed**2)
    return _as_int16(mixed * np.sqrt(np.mean(dry**2) / power) if power else mixed)


def compressed(samples: np.ndarray, kilobits: float, rng: np.random.Generator) -> np.ndarray:
    """Encode as MP3, at most at what MP3 has at 16 kHz, and decode again."""
    return mp3(samples, min(kilobits, MOST_KILOBITS), rng)


def _comb(samples: np.ndarray, delay: int, feedback: float) -> np.ndarray:
    """An echo after each `delay` samples, each duller than the one before."""
    top = np.zeros(delay + 2)
    top[delay], top[delay + 1] = 1, -DAMPING
    bottom = np.zeros(delay + 1)
    bottom[0], bottom[1] = 1, -DAMPING
    bottom[delay] -= feedback * (1 - DAMPING)
    return lfilter(top, bottom, samples)


def _allpass(samples: np.ndarray, delay: int) -> np.ndarray:
    top, bottom = np.zeros(delay + 1), np.zeros(delay + 1)
    top[0], top[delay] = -ALLPASS_GAIN, 1
    bottom[0], bottom[delay] = 1, -ALLPASS_GAIN
    return lfilter(top, bottom, samples)


def _ycrcb(frame: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) as luma and chroma, float32, from 0 to 1."""
    return cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2YCrCb)


def _back(luma_chroma: np.ndarray) -> np.ndarray:
    return _as_uint8(255 * cv2.cvtColor(luma_chroma, cv2.COLOR_YCrCb2RGB))


SETS = {
    "deeperforensics": Set(
        {
            "CS saturation": Type(saturation, (0.4, 0.3, 0.2, 0.1, 0.0)),
            "CC contrast": Type(contrast, (0.85, 0.725, 0.6, 0.475, 0.35)),
            "BW blocks": Type(blocks, (16, 32, 48, 64, 80)),
            "GNC noise": Type(gaussian_noise, (0.001, 0.002, 0.005, 0.01, 0.05)),
            "GB blur": Type(gaussian_blur, (7, 9, 13, 17, 21)),
            "JPEG pixelation": Type(pixelation, (2, 3, 4, 5, 6)),
            "VC H.264": Type(h264, (30, 32, 35, 38, 40), "video"),
        },
        (
            "As in the papers, the mean over five levels, then over seven types; these train without the like "
            "augmentations.",
            "They damage full frames; here the stored frames are damaged, in FakeAVCeleb 224x224 crops of a face, "
            "where the same pixels of blur or blocks cover more of it.",
            "BW: below 256 pixels the source draws no block at all, so that its five levels are the clean clips; here "
            "their number is scaled with the frame (14 instead of 16 at level 1 of 224x224).",
            "JPEG is the source's name for pixelation. CS is clipped here, where the source may wrap around.",
            "VC encodes what was encoded before; the clean clips are not encoded again.",
        ),
    ),
    "auvire-audio": Set(
        {
            "GN noise": Type(white_noise, (40, 30, 20, 15, 10), "audio"),
            "PS pitch": Type(pitch, (2, 4, 6, 8, 10), "audio"),
            "RV reverberation": Type(reverberation, (20, 40, 60, 80, 100), "audio"),
            "AC MP3": Type(compressed, (320, 256, 192, 128, 64), "audio"),
        },
        (
            "GN: the source's levels are ratios of power, not dB: 40 is 16 dB.",
            "RV: a reverberation of this project's own on SoX's scale; the source scores files without any, so that "
            "its five levels are the clean clips.",
            "AC: at 16 kHz MP3 ends at 160 kbit/s, so that the first three levels are one.",
        ),
    ),
}
TYPES = {name: found for one in SETS.values() for name, found in one.types.items()}
AUDIO_TYPES = tuple(name for name, found in TYPES.items() if found.stream == "audio")


def damaged(name: str, level: int, stream: Any, rng: np.random.Generator) -> Any:
    """Damage frames, one after the other, or samples (N,), by a type at a level from 1 to 5."""
    function, levels, kind = TYPES[name]
    amount = levels[level - 1]
    return (function(frame, amount, rng) for frame in stream) if kind == "frame" else function(stream, amount, rng)


def means(effects: pd.DataFrame, name: str) -> pd.DataFrame:
    """AUCs of a set as papers report them, for all fakes against the real clips.

    Parameters
    ----------
    effects
        What `scripts.audit.effects.find_effects` returns.
    name
        Of the set.

    Returns
    -------
    pandas.DataFrame
        A row a type, by its name: columns 1 to 5, the levels, NaN for one that was not made; mean, over the levels that
        were made; and drop, by how much the mean lies below the AUC of the untouched clips, where these are the same.
        The last row, "mean", is over the types. Empty if nothing of the set was made.
    """
    rows = effects[(effects["kind"] == name) & (effects["category"] == "all")]
    if rows.empty:
        return pd.DataFrame()
    rows = rows.assign(number=rows["level"].str.extract(r"(\d)", expand=False).astype(int))
    table = rows.pivot_table(index="family", columns="number", values="after", sort=False).reindex(columns=range(1, 6))
    by_type = rows.groupby("family", sort=False)[["before", "after"]].mean()
    table = table.assign(mean=by_type["after"], drop=by_type["before"] - by_type["after"])
    return pd.concat([table, table.mean().to_frame("mean").T])
