"""What the cache keeps of a clip, and all that it depends on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import ModuleType

import av
import cv2
import numpy as np
import torch

from dataset import features, media, resample, timing
from dataset.features import audio_features
from dataset.media import probe, read_audio, read_video, wav_beside
from utils.errors import DataError
from utils.files import file_digest


def decode_clip(path: Path, max_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode a clip as training does.

    Returns
    -------
    Frames (3, T, 112, 112) uint8, channel first, so that a crop copies whole rows; and features (T, 104) float32.

    Raises
    ------
    DataError
        If it does not decode; the message names no folder, as a cache may be moved.
    """
    try:
        probe(path)
        video = read_video(path, max_frames)  # (T, 112, 112, 3)
        audio = audio_features(read_audio(path, max_frames), len(video))  # (T, 104)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise DataError(reason.replace(f"{path.parent}{os.sep}", "")) from error
    return np.ascontiguousarray(video.transpose(3, 0, 1, 2)), audio.numpy().astype("<f4", copy=False)


def source_sums(path: Path) -> tuple[str | None, str | None]:
    """Sha256 of an mp4 and of the wav beside it, which comes before its own sound; None where there is no such file."""
    return _sha256(path), _sha256(wav_beside(path))


def decoding_settings() -> str:
    """Digest of everything but the clips themselves that decoded frames and features depend on."""
    constants = [_constants(module) for module in (media, resample, timing, features)]
    # The suffix of a version (+cpu, +cu130) names a build for other devices; this is all done on the CPU.
    versions = [module.__version__.partition("+")[0] for module in (cv2, av, np, torch)]
    return hashlib.sha256(json.dumps([constants, versions], sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str | None:
    try:
        return file_digest(path)
    except OSError:
        return None


def _constants(module: ModuleType) -> dict[str, float | str]:
    """Numbers and texts that a module names in capitals."""
    return {
        name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, int | float | str)
    }
