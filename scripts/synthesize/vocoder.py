"""Speech re-synthesised as a real-time voice cloner leaves it: flat pitch, new phase, no high band."""

from __future__ import annotations

import numpy as np
from torchaudio.functional import melscale_fbanks

from scripts.synthesize.voice import SAMPLE_RATE, STFT, pulses

_BANDS = 40
_MONOTONE = 0.15  # how much of the pitch's movement is left


def revoice(rng: np.random.Generator, sound: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Speak a recording again through a channel vocoder.

    The spectral envelope is kept in mel bands up to 4 or 5 kHz; a new excitation takes the place of the voice.

    Parameters
    ----------
    rng
        Draws the upper limit of the band and the new excitation.
    sound
        What was said, and the room around it (N,), at 16 kHz.
    pitch
        Of the voice (C,), as in `scripts.synthesize.voice.Utterance`.

    Returns
    -------
    numpy.ndarray
        Sound (N,).
    """
    smooth = _smoother(rng.uniform(4200, 5000))
    envelope = np.sqrt(smooth @ np.abs(STFT.stft(sound)) ** 2)  # (F, S)
    excitation = STFT.stft(_excite(rng, pitch, len(sound)))
    level = np.sqrt(smooth @ np.abs(excitation) ** 2) + 1e-9
    return STFT.istft(envelope / level * excitation, k1=len(sound))


def _smoother(limit: float) -> np.ndarray:
    """Matrix (F, F) that averages power within mel bands and drops all above `limit` Hz."""
    banks = melscale_fbanks(len(STFT.f), 0.0, limit, _BANDS, SAMPLE_RATE).numpy().T  # (bands, F)
    into = banks / np.maximum(banks.sum(axis=1, keepdims=True), 1e-9)
    back = banks / np.maximum(banks.sum(axis=0, keepdims=True), 1e-9)
    return back.T @ into


def _excite(rng: np.random.Generator, pitch: np.ndarray, length: int) -> np.ndarray:
    """Pulses at a nearly level pitch where there was voice, noise elsewhere (N,)."""
    voiced = pitch > 0
    usual = pitch[voiced].mean()
    flat = np.where(voiced, usual + _MONOTONE * (pitch - usual), usual)
    gate = np.interp(np.linspace(0, len(pitch), length, endpoint=False), np.arange(len(pitch)), voiced.astype(float))
    return gate * pulses(flat, length) + (1.05 - gate) * 0.3 * rng.standard_normal(length)
