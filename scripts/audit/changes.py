"""The changes that an audit makes to clips: probes, of which each takes one cue away, and damage.

Every change keeps the labels of a clip. What is chosen at random depends on the seed, the clip's file and the change
alone, so that a changed clip is the same every time.
"""

import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.signal import correlate

from dataset.check import SILENCE
from dataset.media import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME, draw_frame, full_frames, read_audio, read_video
from dataset.transforms import MEAN
from scripts.audit.damage import DAMAGE, EVERYDAY, SETS
from utils.errors import DataError

MIN_FRAMES = 10  # of what is left of a clip: 0.4 s
FEW_SAMPLES = 80  # 5 ms: as much silence lies between two loud samples of speech
MOST_CUT = 250  # frames of silence that are cut at most: 10 s
GREY = round(255 * MEAN)  # normalised, nearly 0
LABEL = {"audio": "a_label", "video": "v_label"}
OTHERS = 3  # candidates from other subjects
ALIKE = 0.85  # correlation; measured: 0.94 and more after H.264 at CRF 35, 0.62 at most between other recordings
REACH = SAMPLE_RATE // 10  # delay of two recordings at most
BLOCK = 4  # pixels a side

# Kind of change → family → levels, mild to severe; "" where a family has one.
LEVELS: dict[str, dict[str, tuple[str, ...]]] = {
    "probe": {
        "leading silence": ("",),
        "start cut": ("0.2 s", "0.4 s"),
        "shift": ("-200 ms", "-80 ms", "-40 ms", "+40 ms", "+80 ms", "+200 ms"),  # + is audio later than video
        "missing": ("audio", "video"),
        "swap": ("audio", "video"),
        "loudness": ("",),
        "length": ("equalised", "difference removed"),
    },
    "damage": {family: damage.levels for family, damage in EVERYDAY.items()},
} | {name: {family: damage.levels for family, damage in one.types.items()} for name, one in SETS.items()}


class Change(NamedTuple):
    """One change, of those in `LEVELS`, or `ORIGINAL`."""

    family: str
    level: str
    kind: str

    @property
    def name(self) -> str:
        """What a table calls it, such as "shift +40 ms"."""
        return f"{self.family} {self.level}".strip()

    @property
    def amount(self) -> float:
        """The number in its level, such as -40; NaN where there is none."""
        number = re.search(r"[+-]?\d+(\.\d+)?", self.level)
        return float(number[0]) if number else float("nan")


ORIGINAL = Change("original", "", "original")
_ALL = [
    Change(family, level, kind)
    for kind, families in LEVELS.items()
    for family, levels in families.items()
    for level in levels
]
CHANGES = tuple(change for change in _ALL if change.kind not in SETS)
ROBUSTNESS = tuple(change for change in _ALL if change.kind in SETS)


def left_out(made: Collection[str], kind: str) -> list[str]:
    """What is not among changes of these names: a family where nothing of it is, else its single changes."""
    names: list[str] = []
    for family, levels in LEVELS[kind].items():
        absent = [name for level in levels if (name := Change(family, level, kind).name) not in made]
        names += [family] if len(absent) == len(levels) else absent
    return names


class ClipFile(NamedTuple):
    """Where a clip lies, and how much of it is read; `more` frames than that if something is cut off."""

    file: str  # its name in the table
    path: Path
    max_frames: int

    def video(self, more: int = 0) -> np.ndarray:
        """Frames (T, 112, 112, 3) RGB, as training reads them."""
        return read_video(self.path, self.max_frames + more)

    def audio(self, more: int = 0) -> np.ndarray:
        """Samples (N,) int16, as training reads them."""
        return read_audio(self.path, self.max_frames + more)

    def full_frames(self) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) RGB uint8 as they are shown, 25 a second, one after the other."""
        return full_frames(self.path, self.max_frames)


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


class Media(NamedTuple):
    """What a detector sees and hears of a clip."""

    frames: np.ndarray  # (T, 112, 112, 3) RGB, uint8, 25 a second
    samples: np.ndarray  # (N,) at 16 kHz, of any numeric type, in levels of int16
    remark: str = ""  # what there is to say about this clip in few words


def change_clip(change: Change, clip: ClipFile, context: Context) -> Media:
    """Make a change of the clip's first frames; the file is left alone.

    Raises
    ------
    DataError
        If the clip does not decode, or the change cannot be made of it; the message says why.
    """
    if change.kind in ("probe", ORIGINAL.kind):
        return _probed(change, clip, context)
    damage = DAMAGE[change.family]
    rng = np.random.default_rng((context.seed, zlib.crc32(f"{clip.file}|{change.name}".encode())))
    if damage.stream == "audio":
        return Media(clip.video(), damage(clip.audio(), change.level, rng))
    frames = damage(clip.full_frames(), change.level, rng)
    return Media(np.stack([draw_frame(frame) for frame in frames]), clip.audio())  # scaled as for training


def _probed(change: Change, clip: ClipFile, context: Context) -> Media:
    match change.family, change.level:
        case "leading silence", _:
            return _trimmed(clip)
        case "start cut", _:
            return _from(clip, round(change.amount * FRAME_RATE))
        case "shift", _:
            return _shifted(clip, round(change.amount / 1000 * FRAME_RATE))
        case "missing", "audio":
            return Media(clip.video(), np.zeros_like(clip.audio()))
        case "missing", "video":
            return Media(np.full_like(clip.video(), GREY), clip.audio())
        case "swap", "audio":
            audio, remark = borrow(clip, "audio", context)
            return _together(clip.video(), audio, remark)
        case "swap", "video":
            video, remark = borrow(clip, "video", context)
            return _together(video, clip.audio(), remark)
        case "loudness", _:
            return _equally_loud(clip, context.rms)
        case "length", "equalised":
            length = max(MIN_FRAMES, context.frames)
            frames = _enough(clip.video()[:length])
            return Media(frames, clip.audio()[: length * SAMPLES_PER_FRAME], f"cut to {length} frames")
        case "length", "difference removed":
            return _together(clip.video(), clip.audio())
    return Media(clip.video(), clip.audio())


def _trimmed(clip: ClipFile) -> Media:
    """Cut whole frames of both streams until the audio begins with less than 5 ms of silence."""
    samples = clip.audio(more=MOST_CUT)
    first = 0
    while (quiet := _leading_silence(samples[first * SAMPLES_PER_FRAME :])) >= FEW_SAMPLES:
        first += -(-quiet // SAMPLES_PER_FRAME)  # rounded up: 30 ms are a shortcut too
    if first * SAMPLES_PER_FRAME >= len(samples):
        raise DataError("all of its audio is silent")
    return _from(clip, first, "" if first else "there was none")


def _leading_silence(samples: np.ndarray) -> int:
    """Samples before the first one above -60 dB of full scale; all of them (N,) if none is."""
    loud = np.flatnonzero((samples > SILENCE) | (samples < -SILENCE))
    return int(loud[0]) if len(loud) else len(samples)


def _from(clip: ClipFile, first: int, remark: str = "") -> Media:
    """Both streams from a frame on."""
    frames, samples = clip.video(more=first), clip.audio(more=first)
    return Media(_enough(frames[first:]), samples[first * SAMPLES_PER_FRAME :], remark)


def _shifted(clip: ClipFile, by: int) -> Media:
    """The video moved against the audio by so many frames.

    Zeros before audio that is late would be leading silence, and audio that is early would lose its own: either would
    be judged as that. So the video begins with a later frame instead, or with its first one held.
    """
    if by > 0:
        return Media(_enough(clip.video(more=by)[by:]), clip.audio())
    frames = clip.video()
    held = np.repeat(frames[:1], -by, axis=0)
    return Media(np.concatenate([held, frames])[: len(frames)], clip.audio())


def _equally_loud(clip: ClipFile, rms: float) -> Media:
    """Audio of that loudness, not rounded, so that quiet clips lose nothing and loud ones do not clip."""
    samples = clip.audio()
    own = loudness(samples)
    if own == 0:
        raise DataError("all of its audio is silent")
    decibels = 20 * np.log10(rms / 32_768)
    return Media(clip.video(), samples * (rms / own), f"brought to {decibels:.1f} dB of full scale")


def loudness(samples: np.ndarray) -> float:
    """Root of the mean square of the samples (N,)."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _together(frames: np.ndarray, samples: np.ndarray, remark: str = "") -> Media:
    """Both streams cut to the whole frames that they share."""
    length = min(len(frames), len(samples) // SAMPLES_PER_FRAME)
    return Media(_enough(frames[:length]), samples[: length * SAMPLES_PER_FRAME], remark)


def _enough(frames: np.ndarray) -> np.ndarray:
    """The frames (T, …) themselves, unless they are too few to judge a clip by."""
    if len(frames) < MIN_FRAMES:
        raise DataError(f"fewer than {MIN_FRAMES} frames are left")
    return frames


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


def borrow(clip: ClipFile, stream: str, context: Context) -> tuple[np.ndarray, str]:
    """The stream of the first candidate that decodes and is another recording than the clip's own.

    In FakeAVCeleb the clips of one subject are often made from one recording: faked video keeps its audio, faked audio
    its video. Taking the same stream from another file would change nothing.

    Returns
    -------
    Frames (T, 112, 112, 3) or samples (N,), and a remark if they are of another subject.
    """
    read, is_alike = (ClipFile.audio, alike_audio) if stream == "audio" else (ClipFile.video, alike_video)
    own = read(clip)
    for candidate in context.candidates[stream][clip.file]:
        with suppress(DataError):
            other = read(ClipFile(str(candidate.path), candidate.path, clip.max_frames))
            if not candidate.is_same_subject:
                return other, f"{stream} of another subject"
            if not is_alike(own, other):
                return other, ""
    raise DataError(f"no other clip has {stream} of another recording that is as real or as fake")


def alike_audio(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether samples (N,), (M,) are one recording, whatever their codec and loudness and up to 0.1 s of delay."""
    length = min(len(one), len(two))
    one, two = one[:length].astype(np.float64), two[:length].astype(np.float64)
    products = correlate(one, two, method="fft")  # (2N - 1,), without a delay in the middle
    return _correlates(products[max(0, length - 1 - REACH) : length + REACH].max(), one, two)


def alike_video(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two videos (T, H, W, 3), (U, H, W, 3) move alike: one recording, but for small parts and the codec."""
    length = min(len(one), len(two))
    one, two = _movement(one[:length]), _movement(two[:length])
    return _correlates(np.sum(one * two), one, two)


def _correlates(product: float, one: np.ndarray, two: np.ndarray) -> bool:
    scale = np.sqrt(np.sum(one**2) * np.sum(two**2))
    return bool(product > ALIKE * scale) if scale else not one.any() and not two.any()


def _movement(frames: np.ndarray) -> np.ndarray:
    """Frames (T, H, W, 3) in blocks without their mean over time: what stands still says nothing."""
    count, height, width, _ = frames.shape
    blocks = frames.reshape(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).mean((2, 4), dtype=np.float32)
    return blocks - blocks.mean(0)
