"""The changes that an audit makes to clips: probes, of which each takes one cue away, and everyday damage.

Every change keeps the labels of a clip. What is chosen at random depends on the seed, the clip's file and the change
alone, so that a changed clip is the same every time.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np

from dataset.media import SAMPLE_RATE, SAMPLES_PER_FRAME
from dataset.transforms import MEAN
from scripts.audit.clip import Clip, Context, Media, borrow, leading_silence, loudness, scaled
from scripts.audit.damage import EVERYDAY, OF_AUDIO, SETS, damaged
from utils.errors import DataError

MIN_FRAMES = 10  # of what is left of a clip: 0.4 s
FEW_SAMPLES = 80  # 5 ms: as much silence lies between two loud samples of speech
MOST_CUT = 250  # frames of silence that are cut at most: 10 s
GREY = round(255 * MEAN)  # normalised, nearly 0

LEVELS: dict[str, dict[str, tuple[str, ...]]] = {
    "probe": {
        "leading silence": ("",),
        "start cut": ("0.2 s", "0.4 s"),
        "shift": ("-200 ms", "-80 ms", "-40 ms", "+40 ms", "+80 ms", "+200 ms"),
        "missing": ("audio", "video"),
        "swap": ("audio", "video"),
        "loudness": ("",),
        "length": ("equalised", "difference removed"),
    },
    "damage": {family: damage.levels for family, damage in EVERYDAY.items()},
} | {name: {family: damage.levels for family, damage in one.types.items()} for name, one in SETS.items()}


class Change(NamedTuple):
    """One change.

    Attributes
    ----------
    family
        What is done, such as "shift"; see ``LEVELS``.
    level
        How much, or of what; "" where a family has one. A shift of "+40 ms" makes the audio come 40 ms later than the
        video.
    kind
        "probe", "damage", the name of one of `SETS`, or "original".
    """

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


def change_clip(change: Change, clip: Clip, context: Context) -> Media:
    """Make a change of `CHANGES` or `ROBUSTNESS`, or `ORIGINAL`, of the clip's first frames; the file is left alone.

    Raises
    ------
    DataError
        If the clip does not decode, or the change cannot be made of it; the message says why.
    """
    if change.family in PROBES:
        return PROBES[change.family](change, clip, context)
    level = LEVELS[change.kind][change.family].index(change.level) + 1
    rng = np.random.default_rng((context.seed, zlib.crc32(f"{clip.file}|{change.name}".encode())))
    if change.family in OF_AUDIO:
        return Media(clip.video(), damaged(change.family, level, clip.audio(), rng))
    return Media(scaled(damaged(change.family, level, clip.full_frames(), rng)), clip.audio())


def _untouched(_change: Change, clip: Clip, _context: Context) -> Media:
    return Media(clip.video(), clip.audio())


def _trimmed(_change: Change, clip: Clip, _context: Context) -> Media:
    """Cut whole frames of both streams until the audio begins with less than 5 ms of silence."""
    samples = clip.audio(more=MOST_CUT)
    first = 0
    while (quiet := leading_silence(samples[first * SAMPLES_PER_FRAME :])) >= FEW_SAMPLES:
        first += -(-quiet // SAMPLES_PER_FRAME)  # rounded up: 30 ms are a shortcut too
    if first * SAMPLES_PER_FRAME >= len(samples):
        raise DataError("all of its audio is silent")
    return _from(clip, first, "" if first else "there was none")


def _started_later(change: Change, clip: Clip, _context: Context) -> Media:
    return _from(clip, round(change.amount * SAMPLE_RATE / SAMPLES_PER_FRAME))


def _from(clip: Clip, first: int, remark: str = "") -> Media:
    """Both streams from a frame on."""
    frames, samples = clip.video(more=first), clip.audio(more=first)
    return Media(_enough(frames[first:]), samples[first * SAMPLES_PER_FRAME :], remark)


def _shifted(change: Change, clip: Clip, _context: Context) -> Media:
    """The video moved against the audio, which stays as it is.

    Zeros before audio that is late would be leading silence, and audio that is early would lose its own: either would
    be judged as that. So the video begins with a later frame instead, or with its first one held.
    """
    by = round(abs(change.amount) / 1000 * SAMPLE_RATE / SAMPLES_PER_FRAME)  # frames
    if change.amount > 0:
        return Media(_enough(clip.video(more=by)[by:]), clip.audio())
    frames = clip.video()
    held = np.repeat(frames[:1], by, axis=0)
    return Media(np.concatenate([held, frames])[: len(frames)], clip.audio())


def _missing(change: Change, clip: Clip, _context: Context) -> Media:
    frames, samples = clip.video(), clip.audio()
    if change.level == "audio":
        return Media(frames, np.zeros_like(samples))
    return Media(np.full_like(frames, GREY), samples)


def _swapped(change: Change, clip: Clip, context: Context) -> Media:
    """One stream of another clip, both cut to the shorter of the two."""
    other, remark = borrow(clip, change.level, context)
    if change.level == "audio":
        return _together(clip.video(), other, remark)
    return _together(other, clip.audio(), remark)


def _equally_loud(_change: Change, clip: Clip, context: Context) -> Media:
    """Audio of the same loudness, not rounded, so that quiet clips lose nothing and loud ones do not clip."""
    samples = clip.audio()
    rms = loudness(samples)
    if rms == 0:
        raise DataError("all of its audio is silent")
    decibels = 20 * np.log10(context.rms / 32_768)
    return Media(clip.video(), samples * (context.rms / rms), f"brought to {decibels:.1f} dB of full scale")


def _cut(change: Change, clip: Clip, context: Context) -> Media:
    frames, samples = clip.video(), clip.audio()
    if change.level == "difference removed":
        return _together(frames, samples)
    length = max(MIN_FRAMES, context.frames)
    return Media(_enough(frames[:length]), samples[: length * SAMPLES_PER_FRAME], f"cut to {length} frames")


def _together(frames: np.ndarray, samples: np.ndarray, remark: str = "") -> Media:
    """Both streams cut to the whole frames that they share."""
    length = min(len(frames), len(samples) // SAMPLES_PER_FRAME)
    return Media(_enough(frames[:length]), samples[: length * SAMPLES_PER_FRAME], remark)


def _enough(frames: np.ndarray) -> np.ndarray:
    """The frames (T, …) themselves.

    Raises
    ------
    DataError
        If they are too few to judge a clip by.
    """
    if len(frames) < MIN_FRAMES:
        raise DataError(f"fewer than {MIN_FRAMES} frames are left")
    return frames


PROBES: dict[str, Callable[[Change, Clip, Context], Media]] = {
    "original": _untouched,
    "leading silence": _trimmed,
    "start cut": _started_later,
    "shift": _shifted,
    "missing": _missing,
    "swap": _swapped,
    "loudness": _equally_loud,
    "length": _cut,
}
