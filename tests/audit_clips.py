"""Clips and contexts for the tests of an audit's changes."""

from pathlib import Path

import numpy as np

from dataset.media import read_audio, read_video
from scripts.audit.changes import CHANGES, Change, ClipFile, Context, Media, change_clip
from tests.media_files import write_wav

FRAMES = 39  # of the clip of `tests.media_files.copy_clip`


def named(name: str) -> Change:
    """The change of this name."""
    return next(change for change in CHANGES if change.name == name)


def changed(name: str, path: Path, context: Context | None = None, max_frames: int = 500) -> Media:
    """A clip after a change."""
    return change_clip(named(name), ClipFile(path.name, path, max_frames), context or Context())


def untouched(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Frames and samples of a clip as training reads them."""
    return read_video(path), read_audio(path)


def give_audio(path: Path, samples: np.ndarray) -> np.ndarray:
    """Put a wav beside a clip, which then is its audio; returns the int16 samples."""
    samples = np.rint(samples).astype(np.int16)
    write_wav(path.with_suffix(".wav"), samples, 16_000)
    return samples


def speech(count: int, seed: int = 0, level: float = 4000) -> np.ndarray:
    """Noise with a loud first sample, whose loudness changes as that of speech does (N,)."""
    samples = np.random.default_rng(seed).normal(0, level, count) * (1.2 + np.sin(np.arange(count) / 900))
    samples[0] = level
    return np.clip(samples, -32_000, 32_000)
