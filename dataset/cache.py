"""A folder of decoded clips, so that an epoch reads frames rather than decodes them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataset.check import BadClip
from dataset.decoding import decode_clip, decoding_settings, source_sums
from dataset.media import MAX_FRAMES
from dataset.parallel import in_threads
from dataset.shard import (
    INDEX_BYTES,
    CachedClip,
    Entry,
    Index,
    entry_bytes,
    read_data,
    read_index,
    shard_name,
    write_shard,
)
from dataset.verify import Seen, Verified, summary, verify
from utils.errors import DataError
from utils.files import alone_in

log = logging.getLogger(__name__)

CLIPS_PER_SHARD = 16
LOST = "lost"  # stands for the checksum of an entry that was damaged while its source was out of sight


class CacheReport(NamedTuple):
    """What :meth:`ClipCache.build` did: clips in shards kept and written, why some were rewritten, clips unusable."""

    kept: int
    built: int
    damaged: list[str]
    bad: list[BadClip]


class Built(NamedTuple):
    """A shard after a build."""

    index: Index
    is_new: bool
    fault: str


class ClipCache:
    """Decoded clips in a folder, 16 to a file (a shard), in the order of the clip table.

    Whatever is not exactly what decoding now would give is found and rebuilt: other sources, other settings of the
    decoding, damage. Several processes may use one folder at once.

    Parameters
    ----------
    folder
        Where the shards lie; :meth:`build` makes it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._seen: Seen = {}

    @staticmethod
    def needed_bytes(frames: Iterable[int]) -> int:
        """Disk space that clips with so many frames take, each cut at 500; a little more than less."""
        return sum(entry_bytes(min(count, MAX_FRAMES)) + INDEX_BYTES for count in frames)

    def build(self, clips: pd.DataFrame, num_workers: int | None = None, progress: bool = True) -> CacheReport:
        """Make the cache of a clip table: keep the shards that are right, write the others, remove those beyond.

        Parameters
        ----------
        clips
            Rows of :func:`dataset.corpora.read_corpus`.
        num_workers
            Threads; by default one a core. The bytes written do not depend on it.
        progress
            Show a progress bar.

        Raises
        ------
        OSError
            If the disk is full or the folder cannot be written to; finished shards stay.
        """
        sources = dict(zip(clips["file"], map(Path, clips["path"]), strict=True))
        files = list(sources)
        parts = [files[start : start + CLIPS_PER_SHARD] for start in range(0, len(files), CLIPS_PER_SHARD)]
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            names = {shard_name(number) for number in range(len(parts))}
            for shard in self._shards():
                if shard.name not in names:
                    shard.unlink()
            build = partial(self._build_shard, sources=sources)
            built = list(in_threads(build, list(enumerate(parts)), "Caching clips", num_workers, progress))
        return CacheReport(
            kept=sum(len(shard.index.entries) for shard in built if not shard.is_new),
            built=sum(len(shard.index.entries) for shard in built if shard.is_new),
            damaged=[shard.fault for shard in built if shard.fault],
            bad=[BadClip(e.file, e.reason) for shard in built for e in shard.index.entries if e.reason],
        )

    def entries(
        self, clips: pd.DataFrame, max_frames: int = MAX_FRAMES, progress: bool = True, repair: bool = True
    ) -> dict[str, CachedClip]:
        """Verify the entries of some clips, sources and data alike, and return those that training may use.

        Nothing is trusted from an earlier run. This object itself reads a file anew only if it has changed.

        Parameters
        ----------
        clips
            Rows of the table that the cache was built of, or some of them.
        max_frames
            How many frames will be read; a clip that the cache has cut before is left out.
        progress
            Show a progress bar.
        repair
            Rebuild what is stale or damaged, if the folder can be written to; otherwise it is left out, which the
            log says.

        Returns
        -------
        File → entry. Clips that are not cached or do not decode are not in it.
        """
        sources = dict(zip(clips["file"], map(Path, clips["path"]), strict=True))
        check = partial(verify, sources=sources, settings=decoding_settings(), max_frames=max_frames, seen=self._seen)
        shards = self._shards()
        found = dict(zip(shards, in_threads(check, shards, "Verifying cached clips", progress=progress), strict=True))
        broken = [shard for shard, verified in found.items() if verified.stale]
        if broken and repair:
            found |= self._repair(broken, sources, check, progress)
        usable: dict[str, CachedClip] = {}
        for verified in found.values():
            usable |= {file: clip for file, clip in verified.clips.items() if file not in usable}
        self._tell_left_out(list(found.values()), len(sources.keys() - usable.keys()))
        return usable

    def _shards(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("shard-*.bin") if re.fullmatch(r"shard-\d{4,}\.bin", path.name))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Have the folder for oneself, without what a killed process may have left in it."""
        with alone_in(self.folder, "waiting for another process that writes to %s"):
            for temporary in self.folder.glob(".shard-*.tmp"):
                temporary.unlink()
            yield

    def _build_shard(self, part: tuple[int, list[str]], sources: Mapping[str, Path]) -> Built:
        number, files = part
        path = self.folder / shard_name(number)
        old, fault = None, ""
        if path.exists():
            old, fault = _why_rebuild(path, files, sources)
            if old is not None and not fault:
                return Built(old, False, "")
        return Built(_write(path, number, files, sources, old), True, fault)

    def _repair(
        self,
        shards: Sequence[Path],
        sources: Mapping[str, Path],
        check: Callable[[Path], Verified],
        progress: bool,
    ) -> dict[Path, Verified]:
        """Rebuild shards in place, each with the clips that it had; nothing if the folder does not let us."""

        def rebuild(shard: Path) -> Verified:
            now = check(shard)  # another process may have been faster
            if not now.stale:
                return now
            _write(shard, now.index.number, [entry.file for entry in now.index.entries], sources, now.index)
            return check(shard)

        repaired = {}
        try:
            with self._locked():
                for shard, verified in zip(
                    shards, in_threads(rebuild, shards, "Repairing cached clips", progress=progress), strict=False
                ):
                    repaired[shard] = verified
        except OSError as error:
            log.warning("the cache cannot be repaired (%s)", error)
        return repaired

    def _tell_left_out(self, found: Sequence[Verified], absent: int) -> None:
        """Say in one line how many clips are decoded although they should be in the cache."""
        faults = list(chain.from_iterable(verified.faults for verified in found))
        if not faults:
            return
        unreadable = any(verified.index is None for verified in found)
        count = absent if unreadable else sum(verified.stale for verified in found)
        log.warning(
            "%d clips are decoded from their mp4, as they are stale or damaged in the cache %s (%s); "
            "`main.py prepare --cache` rebuilds them",
            count,
            self.folder,
            summary(faults),
        )


def _why_rebuild(path: Path, files: Sequence[str], sources: Mapping[str, Path]) -> tuple[Index | None, str]:
    """The index of a shard if it can be read, and why it has to be rebuilt if it has."""
    try:
        index = read_index(path)
    except DataError as error:
        return None, str(error)
    if [entry.file for entry in index.entries] != list(files):
        return index, f"{path.name}: it held other clips"
    return index, summary(verify(path, sources, decoding_settings(), index.max_frames, {}).faults)


def _write(path: Path, number: int, files: Sequence[str], sources: Mapping[str, Path], old: Index | None) -> Index:
    """Write a shard, taking from its earlier self what is still right."""
    index = Index(number, MAX_FRAMES, decoding_settings(), ())
    reusable = {entry.file: entry for entry in old.entries} if old and old.settings == index.settings else {}
    return write_shard(path, index, (_part(path, file, sources.get(file), reusable.get(file)) for file in files))


def _part(shard: Path, file: str, source: Path | None, old: Entry | None) -> tuple[Entry, Sequence[np.ndarray]]:
    """An entry and its data: as they were if they are right and of the same source, decoded otherwise."""
    sums = None if source is None else source_sums(source)  # before decoding: a change meanwhile is found later
    if old is not None and sums in (None, (old.mp4, old.wav)):
        data = read_data(shard, old)
        if data is not None:
            return old, [data]
    if source is None:
        return Entry(file, LOST, None, reason="was damaged in the cache"), ()
    try:
        video, audio = decode_clip(source, MAX_FRAMES)
    except DataError as error:
        return Entry(file, *sums, reason=str(error)), ()
    return Entry(file, *sums, frames=len(audio), whole=len(audio) < MAX_FRAMES), [video, audio]
