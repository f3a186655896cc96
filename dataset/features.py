"""Audio features: stacked log mel filterbank energies, 25 frames of 104 values a second, as AV-HuBERT takes them."""

import numpy as np
import torch
from python_speech_features import logfbank
from torch import Tensor
from torch.nn import functional as F

from dataset.media import SAMPLE_RATE

BANDS = 26
STACK = 4  # filterbank frames (100 a second) to a video frame (25 a second)
FEATURES = BANDS * STACK


def audio_features(samples: np.ndarray, n_frames: int) -> Tensor:
    """Turn mono audio at 16 kHz (N,), int16, into features that go frame by frame with `n_frames` T of video.

    They are (T, 104), float32, each frame normalised over its 104 values. Up to the rounding of float32 a frame's
    values depend on its own four windows alone, not on how much of the clip was read.
    """
    features = fit_length(stack_frames(log_filterbank(samples)), n_frames)
    return F.layer_norm(torch.from_numpy(features), (FEATURES,))


def log_filterbank(samples: np.ndarray) -> np.ndarray:
    """Log mel filterbank energies (N, 26), float32, 100 a second."""
    return logfbank(samples, SAMPLE_RATE).astype(np.float32)


def stack_frames(features: np.ndarray) -> np.ndarray:
    """Zero-pad (N, 26) to a multiple of four and stack by four: (⌈N/4⌉, 104)."""
    padded = np.pad(features, ((0, -len(features) % STACK), (0, 0)))
    return padded.reshape(-1, FEATURES)


def fit_length(features: np.ndarray, n_frames: int) -> np.ndarray:
    """Cut or zero-pad (N, 104) to (n_frames, 104)."""
    features = features[:n_frames]
    return np.pad(features, ((0, n_frames - len(features)), (0, 0)))
