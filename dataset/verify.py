"""Whether what a shard holds is what decoding its clips now would give."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dataset.decoding import source_sums
from dataset.media import wav_beside
from dataset.shard import CachedClip, Entry, Index, is_intact, read_index
from utils.errors import DataError

Stamp = tuple[int, ...] | None
Seen = dict[str, tuple[bytes, Stamp, Stamp, Stamp]]  # file → the shard's footer, and stamps of shard, mp4 and wav


class Verified(NamedTuple):
    """What may be used of a shard, and what is wrong with it."""

    clips: dict[str, CachedClip]
    faults: list[str]
    index: Index | None = None  # None: it cannot be read
    stale: int = 0  # clips asked for whose entries are not to be used


def verify(shard: Path, sources: Mapping[str, Path], settings: str, max_frames: int, seen: Seen) -> Verified:
    """Compare a shard's entries of some clips with their sources, and with their own checksums.

    Parameters
    ----------
    shard
        The file.
    sources
        File → mp4 of the clips asked for.
    settings
        What the shard should have been decoded with.
    max_frames
        How many frames will be read.
    seen
        What this process has found right, and what the files looked like then; files that look the same are not read
        once more. Extended here.
    """
    looks = _stamp(shard)  # before reading: a change meanwhile is found the next time
    try:
        index = read_index(shard)
    except DataError as error:
        return Verified({}, [str(error)])
    asked = [entry for entry in index.entries if entry.file in sources]
    if index.settings != settings:
        fault = [f"{shard.name}: was decoded with other settings"] if asked else []
        return Verified({}, fault, index, len(asked))
    usable, faults = {}, []
    for entry in asked:
        path = sources[entry.file]
        now = (index.footer, looks, _stamp(path), _stamp(wav_beside(path)))
        fault = "" if seen.get(entry.file) == now else _why_unusable(shard, entry, path)
        if fault:
            faults.append(fault)
            continue
        seen[entry.file] = now
        if not entry.reason and (entry.whole or max_frames <= index.max_frames):
            usable[entry.file] = CachedClip(str(shard), index.footer, entry.offset, entry.frames, entry.whole)
    return Verified(usable, faults, index, len(faults))


def summary(faults: Sequence[str]) -> str:
    """The first fault, and how many others there are."""
    return f"{faults[0]} and {len(faults) - 1} more" if len(faults) > 1 else "".join(faults)


def _why_unusable(shard: Path, entry: Entry, source: Path) -> str:
    if source_sums(source) != (entry.mp4, entry.wav):
        return f"{shard.name}: {entry.file} was changed since"
    return "" if is_intact(shard, entry) else f"{shard.name}: {entry.file} is damaged"


def _stamp(path: Path) -> Stamp:
    """What changes whenever a file does; its time of modification alone can be set back."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
