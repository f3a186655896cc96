"""Speech-like audio: a glottal source through a moving vocal tract, in the manner of Klatt's formant synthesiser.

D. H. Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67(3), 1980. The tract is applied in the
short-time Fourier domain, which needs no loop over samples.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.signal import ShortTimeFFT
from torchaudio.functional import resample

SAMPLE_RATE = 16_000
FRAME_RATE = 25
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
CONTROL_RATE = 200  # values a second of everything that moves slowly
STFT = ShortTimeFFT(np.hanning(513)[:-1], hop=80, fs=SAMPLE_RATE, phase_shift=None)

_FADE = 160  # samples over which speech sets in and ends
_OVERSAMPLING = 3  # of the glottal pulses, whose edges would alias
_HIGH_FORMANTS = (3500.0, 4500.0, 5500.0, 6500.0, 7500.0)

# First three formants in Hz (Peterson and Barney, 1952, men), openness of the lips 0 to 1, spread of the lips -1 to 1
_VOWELS = {
    "i": (270, 2290, 3010, 0.15, 1.0),
    "I": (390, 1990, 2550, 0.35, 0.6),
    "e": (530, 1840, 2480, 0.55, 0.6),
    "ae": (660, 1720, 2410, 0.85, 0.6),
    "a": (730, 1090, 2440, 1.0, 0.0),
    "o": (570, 840, 2410, 0.7, -0.7),
    "U": (440, 1020, 2240, 0.35, -0.6),
    "u": (300, 870, 2240, 0.15, -1.0),
    "uh": (640, 1190, 2390, 0.7, 0.0),
    "er": (490, 1350, 1690, 0.4, -0.2),
}
# Middle and width of the noise in Hz, and its level
_FRICATIVES = {"s": (6200, 1500, 0.30), "sh": (3700, 1300, 0.34), "f": (6500, 4000, 0.12), "h": (1800, 1800, 0.10)}
_VOICED = ("nasal", "glide", "none")
_CONSONANTS = (*_FRICATIVES, "stop", *_VOICED)
# What moves while somebody speaks: its values at rest, and over how many controls it is smoothed
_TRACKS: dict[str, tuple[Any, float]] = {
    "formants": ((500, 1500, 2500), 5),
    "voicing": (0, 2),
    "noise": (0, 1.5),
    "noise_shape": ((3000, 3000), 0),  # middle and width in Hz
    "openness": (0, 6),
    "spread": (0, 6),
}

Score = dict[str, np.ndarray]  # a track (C,) or (C, K) each, at the control rate


@dataclass(frozen=True)
class Voice:
    """What a subject sounds like."""

    pitch: float  # Hz
    pitch_range: float  # semitones
    formant_scale: float  # shorter vocal tracts have higher formants
    rate: float  # syllables a second
    breath: float  # level of aspiration beside the voice


@dataclass(frozen=True)
class Utterance:
    """Speech and what its speaker did to make it; all but the audio at the control rate of 200 a second (C,)."""

    audio: np.ndarray  # (N,) at 16 kHz, with silence before and after and no room around it
    pitch: np.ndarray  # Hz; 0 where the voice is off
    openness: np.ndarray  # of the lips for the vowels
    spread: np.ndarray


def speak(rng: np.random.Generator, voice: Voice, frames: int) -> Utterance:
    """Utter random syllables for so many video frames of 40 ms."""
    length = frames * SAMPLES_PER_FRAME
    start = int(rng.uniform(0.05, 0.22) * SAMPLE_RATE)
    stop = length - int(rng.uniform(0.02, 0.12) * SAMPLE_RATE)
    controls = length * CONTROL_RATE // SAMPLE_RATE
    first, last = (round(edge * CONTROL_RATE / SAMPLE_RATE) for edge in (start, stop))
    score = _write_score(rng, voice, controls, first, last)
    pitch = _draw_pitch(rng, voice, controls)
    audio = _perform(rng, voice, score, pitch, length)
    time = np.arange(length)
    audio *= np.clip(np.minimum(time - start, stop - time) / _FADE, 0, 1)
    voiced = np.where(score["voicing"] > 0.15, pitch, 0.0)
    return Utterance(audio / np.abs(audio).max(), voiced, score["openness"], score["spread"])


def _write_score(rng: np.random.Generator, voice: Voice, controls: int, first: int, last: int) -> Score:
    score = {name: np.full((controls, *np.shape(rest)), rest, dtype=np.float64) for name, (rest, _) in _TRACKS.items()}
    # Speech starts with voice: a hiss whose high band a vocoder loses would make the silence before it look longer.
    at = _write_syllable(rng, voice, score, first, last, _VOICED)
    while at < last:
        at = _write_syllable(rng, voice, score, at, last, _CONSONANTS)
        if rng.random() < 0.12:
            at += int(rng.uniform(0.08, 0.2) * CONTROL_RATE)  # a pause
    for name, (_, width) in _TRACKS.items():
        if width:
            score[name] = gaussian_filter1d(score[name], width, axis=0)
    return score


def _write_syllable(
    rng: np.random.Generator, voice: Voice, score: Score, at: int, last: int, consonants: tuple[str, ...]
) -> int:
    """Write a consonant and a vowel from control `at` on, not past `last`; return where the syllable ends."""
    span = CONTROL_RATE / voice.rate * rng.uniform(0.75, 1.25)
    turn = min(last, at + round(span * rng.uniform(0.28, 0.42)))
    end = min(last, at + round(span))
    *formants, openness, spread = _VOWELS[str(rng.choice(list(_VOWELS)))]
    score["formants"][at:end] = formants
    score["voicing"][turn:end] = rng.uniform(0.55, 1.0) * np.linspace(1.0, 0.7, end - turn)
    score["openness"][turn:end] = openness
    score["spread"][at:end] = spread
    consonant = str(rng.choice(consonants))
    if consonant in _FRICATIVES:
        *shape, level = _FRICATIVES[consonant]
        score["noise_shape"][at:turn] = shape
        score["noise"][at:turn] = level * rng.uniform(0.7, 1.2)
    elif consonant == "stop":
        burst = max(at, turn - 3)
        score["noise_shape"][burst:turn] = (rng.uniform(1500, 5000), 2500)
        score["noise"][burst:turn] = 0.4
    elif consonant == "nasal":
        score["voicing"][at:turn] = 0.25
        score["formants"][at:turn] = (260, 1200, 2200)
    else:
        score["voicing"][at:turn] = 0.35
        score["openness"][at:turn] = 0.5 * openness
    return end


def _draw_pitch(rng: np.random.Generator, voice: Voice, controls: int) -> np.ndarray:
    """Pitch in Hz (C,): it falls slowly, rises on accents, trembles and is never quite regular."""
    time = np.arange(controls) / CONTROL_RATE
    semitones = voice.pitch_range * (0.35 - 0.5 * time / time[-1])
    for accent in np.arange(rng.uniform(0, 0.3), time[-1], 0.42):
        semitones += rng.uniform(-0.4, 1) * voice.pitch_range * np.exp(-(((time - accent) / 0.1) ** 2))
    semitones += 0.25 * np.sin(2 * np.pi * rng.uniform(4.5, 6) * time + rng.uniform(0, 6))
    jitter = 0.012 * rng.standard_normal(controls)
    return voice.pitch * 2 ** (semitones / 12) * (1 + jitter)


def pulses(pitch: np.ndarray, length: int) -> np.ndarray:
    """Glottal pulses (N,) at the pitch (C,) given in Hz: the derivative of Klatt's KLGLOTT88 flow."""
    fine = length * _OVERSAMPLING
    phase = np.cumsum(_stretch(pitch, fine)) / (SAMPLE_RATE * _OVERSAMPLING) % 1
    part = phase / 0.6  # the glottis is open for six tenths of a cycle
    flow = np.where(part < 1, 2 * part - 3 * part**2, 0.0)
    return resample(torch.from_numpy(flow), SAMPLE_RATE * _OVERSAMPLING, SAMPLE_RATE).numpy()


def _perform(rng: np.random.Generator, voice: Voice, score: Score, pitch: np.ndarray, length: int) -> np.ndarray:
    """Turn control tracks into audio (N,)."""
    shimmer = 1 + 0.06 * rng.standard_normal(len(pitch))
    voicing = _stretch(score["voicing"] * shimmer, length)
    hiss = rng.standard_normal(length)
    source = voicing * (pulses(pitch, length) + 0.03 * voice.breath * hiss)
    tract = STFT.stft(source) * _tract(voice, _at_slices(score["formants"], length))
    middle, width = _at_slices(score["noise_shape"], length).T
    band = np.exp(-(((STFT.f[:, None] - middle) / width) ** 2))  # (F, S)
    friction = STFT.stft(_stretch(score["noise"], length) * rng.standard_normal(length)) * band
    return STFT.istft(tract + friction, k1=length)


def _tract(voice: Voice, formants: np.ndarray) -> np.ndarray:
    """Response (F, S) of a vocal tract whose first three formants move (S, 3) and whose higher ones stay."""
    high = np.tile(_HIGH_FORMANTS, (len(formants), 1))
    response = np.ones((len(STFT.f), len(formants)), dtype=np.complex128)
    for formant in voice.formant_scale * np.hstack([formants, high]).T:
        half = 0.5 * (50 + 0.045 * formant)  # half the bandwidth
        response *= (formant**2 + half**2) / ((half + 1j * STFT.f[:, None]) ** 2 + formant**2)
    return response


def _at_slices(track: np.ndarray, length: int) -> np.ndarray:
    """A control track (C, K) at the slices of the short-time transform (S, K)."""
    at = STFT.t(length) * CONTROL_RATE
    return np.stack([np.interp(at, np.arange(len(track)), column) for column in track.T], axis=1)


def _stretch(track: np.ndarray, length: int) -> np.ndarray:
    """A control track (C,) at `length` evenly spaced samples."""
    return np.interp(np.linspace(0, len(track), length, endpoint=False), np.arange(len(track)), track)


def draw_voice(rng: np.random.Generator, gender: str) -> Voice:
    woman = gender == "women"
    return Voice(
        pitch=rng.uniform(175, 230) if woman else rng.uniform(95, 140),
        pitch_range=rng.uniform(3.5, 6),
        formant_scale=rng.uniform(1.10, 1.20) if woman else rng.uniform(0.95, 1.05),
        rate=rng.uniform(4.2, 5.6),
        breath=rng.uniform(0.6, 1.4),
    )
