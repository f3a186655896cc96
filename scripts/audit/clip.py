"""One clip of an audit: its video and audio as training reads them, full frames, and whose streams it may take."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.signal import correlate

from dataset.check import SILENCE
from dataset.media import SAMPLE_RATE, draw_frame, full_frames, read_audio, read_video
from utils.errors import DataError

LABEL = {"audio": "a_label", "video": "v_label"}
ALIKE = 0.85  # correlation; measured: 0.94 and more after H.264 at CRF 35, 0.62 at most between other recordings
REACH = SAMPLE_RATE // 10  # delay of two recordings at most
BLOCK = 4  # pixels a side
OTHERS = 3  # candidates from other subjects


class Media(NamedTuple):
    """What a detector sees and hears of a clip."""

    frames: np.ndarray  # (T, 112, 112, 3) RGB, uint8, 25 a second
    samples: np.ndarray  # (N,) at 16 kHz, of any numeric type, in levels of int16
    remark: str = ""  # what there is to say about this clip in few words


class Candidate(NamedTuple):
    """A clip that another may take a stream from."""

    path: Path
    is_same_subject: bool


class Context(NamedTuple):
    """What changes depend on besides the clip."""

    seed: int = 42
    rms: float = 0.0  # loudness that all clips are brought to, in levels of int16
    frames: int = 0  # length of the shortest clip
    # Of each stream, "audio" and "video": clips that a file may take it from, the best first.
    candidates: Mapping[str, Mapping[str, tuple[Candidate, ...]]] = {}


class Clip(NamedTuple):
    """Where a clip lies, and how much of it is read."""

    file: str  # its name in the table
    path: Path
    max_frames: int

    def video(self, more: int = 0) -> np.ndarray:
        """Frames (T, 112, 112, 3) RGB, as training reads them; `more` than max_frames if something is cut off."""
        return read_video(self.path, self.max_frames + more)

    def audio(self, more: int = 0) -> np.ndarray:
        """Samples (N,) int16, as training reads them, for `more` frames than max_frames."""
        return read_audio(self.path, self.max_frames + more)

    def full_frames(self) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) RGB uint8 as they are shown, 25 a second, one after the other."""
        return full_frames(self.path, self.max_frames)


def scaled(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Scale frames (H, W, 3) to (T, 112, 112, 3), as training does."""
    return np.stack([draw_frame(frame) for frame in frames])


def leading_silence(samples: np.ndarray) -> int:
    """Samples before the first one above -60 dB of full scale; all of them (N,) if none is."""
    loud = np.flatnonzero((samples > SILENCE) | (samples < -SILENCE))
    return int(loud[0]) if len(loud) else len(samples)


def loudness(samples: np.ndarray) -> float:
    """Root of the mean square of the samples (N,)."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def candidates_of(clips: pd.DataFrame, pool: pd.DataFrame, stream: str, seed: int) -> dict[str, tuple[Candidate, ...]]:
    """Clips of a pool from which each clip may take a stream: its own is as real or as fake, so that labels stay.

    Clips of the same subject come first, in an order that depends on the seed and the clip; then a few of others, of
    the same race and gender if there are any.
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

    In FakeAVCeleb the clips of one subject are often made from one recording: faked video keeps its audio, faked audio
    its video. Taking the same stream from another file would change nothing.

    Returns
    -------
    Frames (T, 112, 112, 3) or samples (N,), and a remark if they are of another subject.

    Raises
    ------
    DataError
        If the clip itself does not decode, or there is no such candidate.
    """
    read, is_alike = (Clip.audio, alike_audio) if stream == "audio" else (Clip.video, alike_video)
    own = read(clip)
    for candidate in context.candidates[stream][clip.file]:
        with suppress(DataError):
            other = read(Clip(str(candidate.path), candidate.path, clip.max_frames))
            if not candidate.is_same_subject:
                return other, f"{stream} of another subject"
            if not is_alike(own, other):
                return other, ""
    raise DataError(f"no other clip has {stream} of another recording that is as real or as fake")


def alike_audio(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether samples (N,), (M,) are one recording, whatever their codec and loudness and up to 0.1 s of delay."""
    length = min(len(one), len(two))
    one, two = one[:length].astype(np.float64), two[:length].astype(np.float64)
    scale = np.sqrt(np.sum(one**2) * np.sum(two**2))
    if scale == 0:
        return not one.any() and not two.any()
    products = correlate(one, two, method="fft")  # (2N - 1,), without a delay in the middle
    near = products[max(0, length - 1 - REACH) : length + REACH]
    return bool(near.max() > ALIKE * scale)


def alike_video(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two videos (T, H, W, 3), (U, H, W, 3) move alike: one recording, but for small parts and the codec."""
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
