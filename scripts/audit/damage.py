"""Damage of clips: codecs, smaller frames, noise, darkness, a telephone's band; and the sets of it that papers report.

Frames are damaged at their full size, before they are scaled for the detector. The sets are DeeperForensics-1.0's
perturbations (Jiang et al., CVPR 2020; the set of LipForensics, RealForensics, SpeechForensics, DiMoDif and AuViRe) and
AuViRe's for the audio, from their definitions. What is random in them depends on the seed and the clip here.
"""

import io
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import torch
from scipy.signal import butter, lfilter, resample, sosfiltfilt
from torchaudio.functional import phase_vocoder

from dataset.audio import SAMPLE_RATE, encode_mp3
from dataset.media import FRAME_RATE
from utils.errors import DataError

GREY = 128
WINDOW = 512  # samples of the phase vocoder
BLOCK = 8  # pixels a side
BLOCKS_FROM = 256  # pixels of the shorter side, for each of which the source draws so many blocks
# Freeverb's delays in samples at 44.1 kHz (public domain).
COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
ALLPASSES = (225, 341, 441, 556)
DAMPING, ALLPASS_GAIN = 0.25, 0.5
LEAST_FEEDBACK, MOST_FEEDBACK = 0.3, 0.98


class Damage(NamedTuple):
    """One kind of damage at five levels."""

    stream: str  # what `function` takes: "frame" (H, W, 3), uint8 RGB; "video", an iterator of them; "audio" (N,)
    function: Callable[[Any, float, np.random.Generator], Any]  # of that, a level's amount and what is random
    amounts: tuple[float, ...]  # of the levels, from mild to severe
    label: str = "level {1}"  # what a level is called, from its amount and its number

    @property
    def levels(self) -> tuple[str, ...]:
        """What the levels are called."""
        return tuple(self.label.format(amount, number) for number, amount in enumerate(self.amounts, 1))

    def __call__(self, stream: Any, level: str, rng: np.random.Generator) -> Any:
        """Damage frames, one after the other, or samples (N,)."""
        amount = self.amounts[self.levels.index(level)]
        if self.stream == "frame":
            return (self.function(frame, amount, rng) for frame in stream)
        return self.function(stream, amount, rng)


class Set(NamedTuple):
    """A set of damage by its name in papers: its types, and what to know before comparing with published numbers."""

    types: dict[str, Damage]
    notes: tuple[str, ...]


def h264(frames: Iterable[np.ndarray], crf: float, _rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Encode frames (H, W, 3) RGB with libx264 at a constant rate factor, and decode them again, in memory."""
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    encoder, decoder = av.CodecContext.create("libx264", "w"), av.CodecContext.create("h264", "r")
    encoder.height, encoder.width, encoder.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
    encoder.framerate = FRAME_RATE
    encoder.options = {"crf": f"{crf:g}"}
    encoder.thread_count = 1  # the result depends on it

    def as_yuv(frame: np.ndarray) -> av.VideoFrame:
        # OpenCV's colours come back as they were; FFmpeg's own conversion makes each frame a few levels darker.
        even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        return av.VideoFrame.from_ndarray(cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420), format="yuv420p")

    raw = chain(map(as_yuv, chain([first], frames)), [None])
    packets = chain.from_iterable(map(encoder.encode, raw))
    for decoded in chain.from_iterable(map(decoder.decode, chain(packets, [None]))):
        yield cv2.cvtColor(decoded.to_ndarray(), cv2.COLOR_YUV2RGB_I420)[:height, :width]


def resize(frame: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """Scale a frame down, and up to its size again."""
    height, width = frame.shape[:2]
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(cv2.resize(frame, small, interpolation=cv2.INTER_AREA), (width, height))


def blur(frame: np.ndarray, sigma: float, _rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur, in pixels of the frame."""
    return cv2.GaussianBlur(frame, (0, 0), sigma)


def noise(frame: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise on each value, in levels of 255."""
    return _as_uint8(frame + sigma * rng.standard_normal(frame.shape, dtype=np.float32))


def brightness(frame: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """Scale all values towards 0."""
    return _as_uint8(factor * frame)


def saturation(frame: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """Bring both chroma channels of YCbCr nearer to grey."""
    luma_chroma = _ycrcb(frame)
    luma_chroma[..., 1:] = 0.5 + factor * (luma_chroma[..., 1:] - 0.5)
    return _to_rgb(luma_chroma)


def contrast(frame: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """Scale all values towards 0 in float32, which rounds a few of them otherwise than `brightness`."""
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
    return _to_rgb(_ycrcb(frame) + math.sqrt(variance) * rng.standard_normal(frame.shape, dtype=np.float32))


def gaussian_blur(frame: np.ndarray, side: float, _rng: np.random.Generator) -> np.ndarray:
    """Blur with a kernel of that side, whose sigma is a sixth of it."""
    return cv2.GaussianBlur(frame, (int(side), int(side)), side / 6)


def pixelation(frame: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    """Scale down by a factor and up again, bilinear."""
    height, width = frame.shape[:2]
    small = max(1, int(width // factor)), max(1, int(height // factor))
    return cv2.resize(cv2.resize(frame, small), (width, height))


def _ycrcb(frame: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) as luma and chroma, float32, from 0 to 1."""
    return cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2YCrCb)


def _to_rgb(luma_chroma: np.ndarray) -> np.ndarray:
    return _as_uint8(255 * cv2.cvtColor(luma_chroma, cv2.COLOR_YCrCb2RGB))


def _as_uint8(frame: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8)


def mp3(samples: np.ndarray, kilobits: float, _rng: np.random.Generator) -> np.ndarray:
    """Encode samples (N,) with LAME at a constant bit rate, and decode them again, in memory."""
    with av.open(io.BytesIO(encode_mp3(samples, kilobits))) as container:
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
        parts = [part for heard in (*container.decode(audio=0), None) for part in resampler.resample(heard)]
    heard = np.concatenate([part.to_ndarray()[0] for part in parts])[: len(samples)]
    return np.pad(heard, (0, len(samples) - len(heard)))


def audio_noise(samples: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """White noise at a ratio of signal to noise, of the whole of the samples (N,), which silence has not."""
    power = np.mean(np.square(samples, dtype=np.float64))
    if power == 0:
        raise DataError("all of its audio is silent")
    sigma = np.sqrt(power / 10 ** (decibels / 10))
    return _as_int16(samples + sigma * rng.standard_normal(len(samples)))


def band_limit(samples: np.ndarray, kilohertz: float, _rng: np.random.Generator) -> np.ndarray:
    """Low pass of the samples (N,), Butterworth forwards and backwards, so that nothing is delayed."""
    low_pass = butter(8, 1000 * kilohertz, fs=SAMPLE_RATE, output="sos")
    return _as_int16(sosfiltfilt(low_pass, samples, padlen=min(100, len(samples) - 1)))


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


def _as_int16(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(samples), -32_768, 32_767).astype(np.int16)


EVERYDAY = {
    "H.264": Damage("video", h264, (18, 23, 28, 35, 45), "CRF {0}"),
    "resize": Damage("frame", resize, (0.75, 0.5, 0.35, 0.25, 0.15), "×{0}"),
    "blur": Damage("frame", blur, (0.5, 1, 2, 3, 5), "sigma {0} px"),
    "noise": Damage("frame", noise, (5, 10, 20, 30, 50), "sigma {0}"),
    "brightness": Damage("frame", brightness, (0.8, 0.6, 0.4, 0.25, 0.15), "×{0}"),
    "MP3": Damage("audio", mp3, (128, 64, 48, 32, 16), "{0} kbit/s"),
    "audio noise": Damage("audio", audio_noise, (30, 20, 10, 5, 0), "{0} dB"),
    "band limit": Damage("audio", band_limit, (6, 4, 3, 2, 1), "{0} kHz"),
}
SETS = {
    "deeperforensics": Set(
        {
            "CS saturation": Damage("frame", saturation, (0.4, 0.3, 0.2, 0.1, 0.0)),
            "CC contrast": Damage("frame", contrast, (0.85, 0.725, 0.6, 0.475, 0.35)),
            "BW blocks": Damage("frame", blocks, (16, 32, 48, 64, 80)),
            "GNC noise": Damage("frame", gaussian_noise, (0.001, 0.002, 0.005, 0.01, 0.05)),
            "GB blur": Damage("frame", gaussian_blur, (7, 9, 13, 17, 21)),
            "JPEG pixelation": Damage("frame", pixelation, (2, 3, 4, 5, 6)),
            "VC H.264": Damage("video", h264, (30, 32, 35, 38, 40)),
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
            "GN noise": Damage("audio", audio_noise, tuple(10 * math.log10(ratio) for ratio in (40, 30, 20, 15, 10))),
            "PS pitch": Damage("audio", pitch, (2, 4, 6, 8, 10)),
            "RV reverberation": Damage("audio", reverberation, (20, 40, 60, 80, 100)),
            "AC MP3": Damage("audio", mp3, (160, 160, 160, 128, 64)),
        },
        (
            "GN: the source's levels are ratios of power, not dB: 40 is 16 dB.",
            "RV: a reverberation of this project's own on SoX's scale; the source scores files without any, so that "
            "its five levels are the clean clips.",
            "AC: at 16 kHz MP3 ends at 160 kbit/s, so that the first three levels are one.",
        ),
    ),
}
DAMAGE = EVERYDAY | {name: damage for one in SETS.values() for name, damage in one.types.items()}
OF_AUDIO = tuple(name for name, damage in DAMAGE.items() if damage.stream == "audio")
