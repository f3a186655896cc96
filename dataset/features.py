"""Audio features: stacked log mel filterbank energies, 25 frames of 104 values a second, as AV-HuBERT takes them."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from python_speech_features import get_filterbanks
from torch import Tensor
from torch.nn import functional as F

from dataset.media import SAMPLE_RATE

BANDS = 26
WINDOW = 400  # samples, 25 ms
STEP = 160  # samples, 10 ms
FFT_SIZE = 512
PREEMPHASIS = 0.97
STACK = 4  # filterbank frames (100 a second) to a video frame (25 a second)
BLOCK = 32  # windows that are transformed together
FEATURES = BANDS * STACK


def audio_features(samples: np.ndarray, n_frames: int) -> Tensor:
    """Turn sound into features that go frame by frame with `n_frames` of video.

    Parameters
    ----------
    samples
        Mono sound at 16 kHz (N,), int16.
    n_frames
        Length T of the clip's video.

    Returns
    -------
    Features (T, 104), float32, each frame normalised over its 104 values. Bit by bit, a frame's values depend on
    nothing but its own four windows and its position: not on how much of the clip was read.
    """
    features = fit_length(stack_frames(log_filterbank(samples)), n_frames)
    return F.layer_norm(torch.from_numpy(features), (FEATURES,))


def log_filterbank(samples: np.ndarray) -> np.ndarray:
    """Log mel filterbank energies (N, 26), float32.

    The same numbers as ``python_speech_features.logfbank(samples)``, in a quarter of its time: windows are a view
    rather than a copy, and the filterbank is computed once. Windows are filled up with silence to whole blocks, as
    matrix products and transforms take another path, with other rounding, for another number of rows.
    """
    emphasised = samples.astype(np.float64)
    emphasised[1:] -= PREEMPHASIS * samples[:-1]
    count = 1 + max(0, -(-(len(samples) - WINDOW) // STEP))
    whole = count + -count % BLOCK
    padded = np.pad(emphasised, (0, (whole - 1) * STEP + WINDOW - len(samples)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP]  # (whole, 400)
    energies = np.concatenate([_energies(windows[start : start + BLOCK]) for start in range(0, whole, BLOCK)])
    return energies[:count]


def stack_frames(features: np.ndarray) -> np.ndarray:
    """Zero-pad (N, 26) to a multiple of four and stack by four: (⌈N/4⌉, 104)."""
    padded = np.pad(features, ((0, -len(features) % STACK), (0, 0)))
    return padded.reshape(-1, FEATURES)


def fit_length(features: np.ndarray, n_frames: int) -> np.ndarray:
    """Cut or zero-pad (N, 104) to (n_frames, 104)."""
    features = features[:n_frames]
    return np.pad(features, ((0, n_frames - len(features)), (0, 0)))


def _energies(windows: np.ndarray) -> np.ndarray:
    """Log energies (BLOCK, 26) of one block of windows (BLOCK, 400)."""
    spectrum = np.fft.rfft(windows, FFT_SIZE)  # (BLOCK, 257)
    energies = (spectrum.real**2 + spectrum.imag**2) @ _mel_filters()  # (BLOCK, 26)
    return np.log(np.where(energies == 0, np.finfo(np.float64).eps, energies)).astype(np.float32)


@cache
def _mel_filters() -> np.ndarray:
    """Filters (257, 26) for powers that are not yet divided by the FFT's length, a power of two: the same bits."""
    return get_filterbanks(BANDS, FFT_SIZE, SAMPLE_RATE).T / FFT_SIZE
