"""Whose sound or picture a clip takes when streams are swapped."""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import correlate

from dataset.media import SAMPLE_RATE
from scripts.audit.clip import Candidate, Clip, Context
from utils.errors import DataError

LABEL = {"sound": "a_label", "picture": "v_label"}
ALIKE = 0.85  # correlation; measured: 0.94 and more after H.264 at CRF 35, 0.62 at most between other recordings
REACH = SAMPLE_RATE // 10  # delay of two recordings at most
BLOCK = 4  # pixels a side
OTHERS = 3  # candidates from other subjects


def candidates_of(clips: pd.DataFrame, pool: pd.DataFrame, stream: str, seed: int) -> dict[str, tuple[Candidate, ...]]:
    """Clips from which each clip may take a stream: those whose own is as real or as fake, so that labels stay.

    Clips of the same subject come first, in an order that depends on the seed and the clip; then a few of others, of
    the same race and gender if there are any.

    Parameters
    ----------
    clips
        For which candidates are looked for, with the columns of :func:`dataset.corpora.read_corpus`.
    pool
        Where they are looked for.
    stream
        "sound" or "picture".
    seed
        Of the order.
    """
    found = {}
    for clip in clips.itertuples():
        near = pool[(pool[LABEL[stream]] == getattr(clip, LABEL[stream])) & (pool["file"] != clip.file)]
        near = near.assign(far=(near["race"] != clip.race) | (near["gender"] != clip.gender))
        rng = np.random.default_rng((seed, zlib.crc32(f"{clip.file}|{stream}".encode())))
        near = near.iloc[rng.permutation(len(near))].sort_values("far", kind="stable")
        is_same = near["subject"] == clip.subject
        found[clip.file] = (
            *(Candidate(Path(path), True) for path in near.loc[is_same, "path"]),
            *(Candidate(Path(path), False) for path in near.loc[~is_same, "path"][:OTHERS]),
        )
    return found


def borrow(clip: Clip, stream: str, context: Context) -> tuple[np.ndarray, str]:
    """The stream of the first candidate that decodes and is another recording than the clip's own.

    In FakeAVCeleb the clips of one subject are often made from one recording: a faked picture keeps its sound, a faked
    sound its picture. Taking the same stream from another file would change nothing.

    Returns
    -------
    Pictures (T, 112, 112, 3) or samples (N,), and a remark if they are of another subject.

    Raises
    ------
    DataError
        If the clip itself does not decode, or there is no such candidate.
    """
    read, is_alike = (Clip.sound, alike_sound) if stream == "sound" else (Clip.picture, alike_picture)
    own = read(clip)
    for candidate in context.candidates[stream][clip.file]:
        with suppress(DataError):
            other = read(Clip(str(candidate.path), candidate.path, clip.max_frames))
            if not candidate.is_same_subject:
                return other, f"{stream} of another subject"
            if not is_alike(own, other):
                return other, ""
    raise DataError(f"no other clip has another {stream} that is as real or as fake")


def alike_sound(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two sounds (N,), (M,) are one recording, whatever their codec and loudness and up to 0.1 s of delay."""
    length = min(len(one), len(two))
    one, two = one[:length].astype(np.float64), two[:length].astype(np.float64)
    scale = np.sqrt(np.sum(one**2) * np.sum(two**2))
    if scale == 0:
        return not one.any() and not two.any()
    products = correlate(one, two, method="fft")  # (2N - 1,), without a delay in the middle
    near = products[max(0, length - 1 - REACH) : length + REACH]
    return bool(near.max() > ALIKE * scale)


def alike_picture(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two pictures (T, H, W, 3), (U, H, W, 3) move alike: one recording, but for small parts and the codec."""
    length = min(len(one), len(two))
    one, two = _movement(one[:length]), _movement(two[:length])
    scale = np.sqrt(np.sum(one**2) * np.sum(two**2))
    if scale == 0:
        return not one.any() and not two.any()
    return bool(np.sum(one * two) > ALIKE * scale)


def _movement(frames: np.ndarray) -> np.ndarray:
    """Frames (T, H, W, 3) in blocks without their mean over time: what stands still says nothing."""
    count, height, width, _ = frames.shape
    blocks = frames.reshape(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).mean((2, 4), dtype=np.float32)
    return blocks - blocks.mean(0)
