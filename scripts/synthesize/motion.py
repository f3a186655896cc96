"""How a face moves in a clip: the head sways, the eyes blink, the lips follow a sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from scripts.synthesize.voice import SAMPLES_PER_FRAME, Utterance


@dataclass(frozen=True)
class Motion:
    """One value a frame at 25 frames a second, each of shape (T,).

    Attributes
    ----------
    x, y
        Where the head is, in pixels from its usual place.
    angle
        How far the head leans, in degrees.
    zoom
        How near the head is, 1 = as usual.
    blink
        1 = eyes open, 0 = eyes shut.
    opening, spread
        The lips, as `scripts.synthesize.features.paint_mouth` takes them.
    """

    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    zoom: np.ndarray
    blink: np.ndarray
    opening: np.ndarray
    spread: np.ndarray


def draw_motion(rng: np.random.Generator, utterance: Utterance) -> Motion:
    """Let a head move at random and its lips follow `utterance`."""
    frames = len(utterance.sound) // SAMPLES_PER_FRAME
    opening, spread = follow_lips(utterance)
    return Motion(
        x=rng.uniform(-2, 2) + _sway(rng, frames, 2.2),
        y=rng.uniform(-2, 2) + _sway(rng, frames, 1.6),
        angle=rng.uniform(-1, 1) + _sway(rng, frames, 1.0),
        zoom=rng.uniform(0.985, 1.015) + _sway(rng, frames, 0.008),
        blink=_blink(rng, frames),
        opening=opening,
        spread=spread,
    )


def follow_lips(utterance: Utterance) -> tuple[np.ndarray, np.ndarray]:
    """Opening and spread of the lips (T,) that go with a sound: louder is wider open, and open vowels a bit more."""
    energy = frame_energy(utterance.sound)
    level = np.clip(1 + (energy - energy.max()) / 32.0, 0, 1)  # 0 at 32 dB below the loudest frame
    middle = (np.arange(len(level)) + 0.5) * SAMPLES_PER_FRAME
    at = np.arange(len(utterance.openness)) * (len(utterance.sound) / len(utterance.openness))
    openness = np.interp(middle, at, utterance.openness)
    opening = gaussian_filter1d(level * (0.65 + 0.35 * openness), 0.5)
    return np.clip(opening, 0, 1), gaussian_filter1d(np.interp(middle, at, utterance.spread), 0.7)


def frame_energy(sound: np.ndarray) -> np.ndarray:
    """Energy of a 16 kHz sound in each frame of 40 ms, in dB (T,)."""
    frames = sound[: len(sound) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME].reshape(-1, SAMPLES_PER_FRAME)
    return 10 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-10)


def _sway(rng: np.random.Generator, frames: int, reach: float) -> np.ndarray:
    """A slow random movement (T,) of standard deviation `reach` or so."""
    slow = gaussian_filter1d(rng.standard_normal(frames + 80), 12)[40 : 40 + frames]
    return reach * 6.5 * slow  # smoothing over 12 frames leaves 1 / 6.5 of the deviation


def _blink(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Open eyes (T,), with a blink of about a fifth of a second every three seconds or so."""
    openness = np.full(frames, 1.0)
    time = np.arange(frames)
    for middle in np.flatnonzero(rng.random(frames) < 1 / 75):
        openness = np.minimum(openness, np.clip(np.abs(time - middle) / 2.5 - 0.3, 0, 1))
    return openness
