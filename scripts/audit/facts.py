"""Facts of clips that have nothing to do with what is seen and heard in them, and should not tell fake from real."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataset.check import inspect_clip, stamp
from dataset.media import SAMPLE_RATE, audio_chunks
from utils.files import write_atomic
from utils.parallel import in_threads

log = logging.getLogger(__name__)

MOST_CLIPS = 2000  # that are looked at; more would hardly narrow an interval
QUIETEST = -100.0  # dB, of a sound that is nothing but zeros
FULL_SCALE = 32_768


class Facts(NamedTuple):
    """Facts of one clip, rounded to what a detector could notice; NaN where there is none.

    Attributes
    ----------
    leading_silence
        Seconds before the first sample above -60 dB of full scale.
    duration
        Seconds of the picture.
    loudness
        RMS of the sound behind its leading silence, dB of full scale.
    length_difference
        Seconds by which the sound is longer than the picture.
    picture_rate, sound_rate
        kbit/s of either stream inside the clip, without the container.
    """

    leading_silence: float
    duration: float
    loudness: float
    length_difference: float
    picture_rate: float
    sound_rate: float


def read_facts(clips: pd.DataFrame, cache: Path, seed: int = 42) -> pd.DataFrame:
    """Look at clips in threads, and keep what was found in a csv; a clip is looked at again only if its files change.

    Parameters
    ----------
    clips
        Rows of :func:`dataset.corpora.read_corpus`. Of more than ``MOST_CLIPS`` some subjects are drawn.
    cache
        The csv; clips of other corpora may be in it too.
    seed
        Of that draw.

    Returns
    -------
    pandas.DataFrame
        file, subject, category and the fields of :class:`Facts`, a row for each clip that decodes; the log names the
        others.
    """
    clips = _some(clips, seed)
    names = ["stamp", "reason", *Facts._fields]
    known = _read_cache(cache, names)
    paths = {path: (str(Path(path).resolve()), str(stamp(path))) for path in clips["path"]}
    new = [path for path, (place, seen) in paths.items() if known.get(place, [None])[0] != seen]
    if new:
        with _kept(cache, known, names):
            looked = in_threads(_look, new, "Looking at the clips")
            for path, (reason, facts) in zip(new, looked, strict=True):
                place, seen = paths[path]
                known[place] = [seen, reason, *facts]
    found = pd.DataFrame([known[paths[path][0]] for path in clips["path"]], columns=names)
    table = pd.concat([clips[["file", "subject", "category"]].reset_index(drop=True), found], axis=1)
    for row in table[table["reason"] != ""].itertuples():
        log.warning("%s: left out of the shortcuts, %s", row.file, row.reason)
    return table[table["reason"] == ""].drop(columns=["stamp", "reason"]).reset_index(drop=True)


def _some(clips: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Clips of as many subjects as make ``MOST_CLIPS`` at most, in csv order."""
    if len(clips) <= MOST_CLIPS:
        return clips
    rank = {
        name: hashlib.sha256(f"{seed} {name}".encode()).digest() for name in clips["subject"].unique()
    }  # a subject's place does not depend on who else is there
    sizes = clips["subject"].value_counts()
    total = sizes[sorted(sizes.index, key=rank.get)].cumsum()
    drawn = total.index[total <= MOST_CLIPS]
    log.info("shortcuts are looked for in the clips of %d of %d subjects", len(drawn), len(sizes))
    return clips[clips["subject"].isin(set(drawn))]


def _look(path: str) -> tuple[str, Facts]:
    """Why a clip does not decode, or "", and its facts."""
    seen = inspect_clip(path)
    if seen.state != "ok":
        return seen.reason, Facts(*[math.nan] * len(Facts._fields))
    return "", Facts(
        round(seen.leading_silence, 3),
        round(seen.video_seconds, 3),
        round(_loudness(path, round(seen.leading_silence * SAMPLE_RATE)), 1),
        round(seen.audio_seconds - seen.video_seconds, 3),
        _rate(seen.video_bytes, seen.video_seconds),
        _rate(seen.audio_bytes, seen.audio_seconds),
    )


def _rate(count: int | None, seconds: float) -> float:
    """Bytes to kbit/s; NaN where there are none."""
    return math.nan if count is None else round(8 * count / seconds / 1000, 1)


def _loudness(path: str, start: int) -> float:
    """RMS of the samples from `start` on, dB of full scale; the silence before is a fact of its own."""
    samples = np.concatenate(list(audio_chunks(path)))[start:].astype(float)
    power = np.mean(samples**2) / FULL_SCALE**2 if len(samples) else 0.0
    return max(10 * math.log10(power), QUIETEST) if power else QUIETEST


def _read_cache(cache: Path, names: list[str]) -> dict[str, list]:
    """What is known of clips, by their places; nothing if the csv is of another form."""
    if not cache.is_file():
        return {}
    try:
        table = pd.read_csv(cache, converters=dict.fromkeys(("path", "stamp", "reason"), str))
        return dict(zip(table["path"], table[names].values.tolist(), strict=True))
    except (ValueError, KeyError) as error:
        log.warning("%s does not read (%s): the clips are looked at again", cache, error)
        return {}


@contextmanager
def _kept(cache: Path, known: dict[str, list], names: list[str]) -> Iterator[None]:
    """Write what is known in the end, after an error or Ctrl-C too."""
    try:
        yield
    finally:
        table = pd.DataFrame.from_dict(known, orient="index", columns=names).rename_axis("path")
        write_atomic(cache, table.to_csv(lineterminator="\n"))
