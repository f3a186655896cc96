"""Decoded clips on disk, so that an epoch reads frames rather than decodes them: one safetensors file a clip."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from safetensors.numpy import save

from dataset.check import BadClip
from dataset.decoding import AS_IT_IS, Faces, Reading, decode_clip
from dataset.features import FEATURES
from dataset.media import DECODING, MAX_FRAMES, SIDE, wav_beside
from utils.errors import DataError
from utils.files import alone_in, file_digest, write_atomic
from utils.parallel import in_threads

log = logging.getLogger(__name__)

BYTES_PER_FRAME = 3 * SIDE * SIDE + 4 * FEATURES
HEADER_BYTES = 2048  # of a clip's file at most, roughly
LONGEST_HEAD = 1 << 20  # bytes, beyond which it is damaged


class Source(NamedTuple):
    """A file that a clip is read from; its digest is looked at only where size and time do not tell."""

    size: int
    modified: int  # nanoseconds
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Source | None:
        """Look at a file; None if there is none."""
        with suppress(OSError):
            stat = path.stat()
            return cls(stat.st_size, stat.st_mtime_ns, file_digest(path))

    def is_still(self, path: Path) -> bool:
        """Whether that file holds the same; a copy of it, made at another time, does."""
        with suppress(OSError):
            stat = path.stat()
            same_size, same_time = stat.st_size == self.size, stat.st_mtime_ns == self.modified
            return same_size and (same_time or file_digest(path) == self.sha256)
        return False


class Entry(NamedTuple):
    """What a cached clip says of itself, in the head of its file."""

    file: str  # as the csv spells it
    decoding: int
    reading: Reading
    mp4: Source
    wav: Source | None
    frames: int
    whole: bool  # whether the clip ended before the limit
    crc32: int  # of the frames, then the features
    faces: Faces | None

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """Read what `json.dumps` made of an entry."""
        values = cls(*json.loads(text))
        wav = None if values.wav is None else Source(*values.wav)
        faces = None if values.faces is None else Faces(*values.faces)
        return values._replace(reading=Reading(*values.reading), mp4=Source(*values.mp4), wav=wav, faces=faces)

    def fault(self, path: Path, reading: Reading) -> str:
        """Why this is not what decoding the clip at `path` now would give; "" if it is."""
        if (self.decoding, self.reading) != (DECODING, reading):
            return "was decoded by another version of this program"
        wav = wav_beside(path)
        is_same = self.mp4.is_still(path) and (self.wav.is_still(wav) if self.wav else not wav.is_file())
        return "" if is_same else "has changed since it was cached"


class CachedClip(NamedTuple):
    """A clip in the cache, as it was found when the run began."""

    path: Path
    entry: Entry

    def read(self, max_frames: int = MAX_FRAMES) -> tuple[np.ndarray, np.ndarray]:
        """Read frames (3, T, 112, 112) uint8 and features (T, 104) float32 into memory, both cut at `max_frames`.

        A DataError if the file is gone or damaged, or holds something else than before. It is not mapped: where another
        machine rebuilds the cache on a shared disk, that would end this process by a bus error.
        """
        entry, arrays = _read(self.path)
        if entry != self.entry:
            raise DataError(f"{self.path}: has changed since the run began")
        return arrays["video"][:, :max_frames], arrays["audio"][:max_frames]


class CacheReport(NamedTuple):
    """What `ClipCache.build` did."""

    kept: int
    built: int
    replaced: list[str]  # why some were built again
    bad: list[BadClip]  # clips that cannot be used


class _Outcome(NamedTuple):
    """What `ClipCache.build` did with one clip."""

    status: Literal["kept", "built", "bad"]
    fault: str = ""  # of the entry that lay there before it was built
    bad: BadClip | None = None


class ClipCache:
    """A folder of decoded clips, which `build` makes. Several processes may use one folder at once."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._found: dict[tuple[str, Reading], CachedClip | str] = {}

    def path_of(self, file: str, reading: Reading) -> Path:
        """Where a clip lies: by a digest, as its own name may be of any length."""
        name = hashlib.sha256(json.dumps([file, *reading]).encode()).hexdigest()[:32]
        return self.folder / name[:2] / f"{name}.safetensors"

    @staticmethod
    def needed_bytes(frames: Iterable[int]) -> int:
        """Disk space that clips of so many frames take, each cut at 500; a little more than less."""
        return sum(min(count, MAX_FRAMES) * BYTES_PER_FRAME + HEADER_BYTES for count in frames)

    def build(
        self,
        clips: pd.DataFrame,
        reading: Reading = AS_IT_IS,
        num_workers: int | None = None,
        progress: bool = True,
        every_byte: bool = False,
    ) -> CacheReport:
        """Decode the clips of a table that are not in the cache, or not as they are now.

        With `every_byte`, each byte of what is there is compared with its checksum too. If the disk is full or the
        folder cannot be written to, finished clips stay.
        """
        rows = list(clips.drop_duplicates("file")[["file", "path"]].itertuples(index=False, name=None))
        with self._locked():
            build = partial(self._build, reading=reading, every_byte=every_byte)
            done = list(in_threads(build, rows, "Caching clips", num_workers, progress))
        self._found.clear()
        return CacheReport(
            kept=sum(clip.status == "kept" for clip in done),
            built=sum(clip.status == "built" for clip in done),
            replaced=[clip.fault for clip in done if clip.fault],
            bad=[clip.bad for clip in done if clip.bad is not None],
        )

    def entries(
        self, clips: pd.DataFrame, max_frames: int = MAX_FRAMES, reading: Reading = AS_IT_IS
    ) -> dict[str, CachedClip]:
        """The clips that can be read from here, by file, once compared with the size and time of their files.

        What is missing or stale is not among them, which the log says, nor are clips of which the cache has fewer than
        `max_frames` frames though there are more. What is damaged inside is found by `main.py prepare --verify`.

        Each clip is looked at once in the life of this object: share one among the folds of a run.
        """
        rows = clips.drop_duplicates("file")[["file", "path"]].itertuples(index=False, name=None)
        new = [row for row in rows if (row[0], reading) not in self._found]
        new_clips = in_threads(partial(self._find, reading=reading), new, "Looking at cached clips")
        self._found |= {(file, reading): clip for (file, _), clip in zip(new, new_clips, strict=True)}
        asked = {file: self._found[file, reading] for file in clips["file"]}
        there = {file: clip for file, clip in asked.items() if isinstance(clip, CachedClip)}
        if faults := [f"{file} {clip}" for file, clip in asked.items() if file not in there]:
            text = "%d of %d clips are not in the cache %s as they are now (the first: %s); %s brings it up to date"
            log.warning(text, len(faults), len(asked), self.folder, faults[0], "`main.py prepare --cache`")
        return {file: clip for file, clip in there.items() if clip.entry.whole or max_frames <= MAX_FRAMES}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Have the folder for oneself, without what a killed process may have left in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone_in(self.folder, "waiting for another process that writes to %s"):
            for temporary in self.folder.glob("??/.*.tmp"):
                temporary.unlink()
            yield

    def _find(self, row: tuple[str, str], reading: Reading) -> CachedClip | str:
        """A clip, or why it cannot be used."""
        file, source = row
        path = self.path_of(file, reading)
        if not path.is_file():
            return "is not there"
        try:
            entry, _ = _read(path, head_only=True)
        except DataError as error:
            return f"cannot be read, {error}"
        return entry.fault(Path(source), reading) or CachedClip(path, entry)

    def _build(self, row: tuple[str, str], reading: Reading, every_byte: bool) -> _Outcome:
        """Decode a clip into the folder unless it is there as it should be."""
        file, source = row
        found = self._find(row, reading)
        fault = found if isinstance(found, str) else _damage(found) if every_byte else ""
        if not fault:
            return _Outcome("kept")
        path = self.path_of(file, reading)
        was_there = path.exists()
        try:
            write_atomic(path, encode(file, Path(source), reading))
        except DataError as error:
            reason = str(error).removeprefix(f"{source}: ")
            return _Outcome("bad", bad=BadClip(file, reason.replace(f"{Path(source).parent}{os.sep}", "")))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error  # and not a temporary file
        return _Outcome("built", f"{file} {fault}" if was_there else "")


def encode(file: str, source: Path, reading: Reading) -> bytes:
    """Decode a clip and lay it out as the cache keeps it."""
    mp4, wav = Source.of(source), Source.of(wav_beside(source))  # before decoding: a change meanwhile is found later
    video, audio, faces = decode_clip(source, MAX_FRAMES, reading)
    crc32 = zlib.crc32(audio, zlib.crc32(video))
    entry = Entry(file, DECODING, reading, mp4, wav, len(audio), len(audio) < MAX_FRAMES, crc32, faces)
    return save({"video": video, "audio": audio}, metadata={"clip": json.dumps(entry)})


def _damage(clip: CachedClip) -> str:
    try:
        video, audio = clip.read()
    except DataError as error:
        return f"is damaged, {error}"
    crc32 = zlib.crc32(audio, zlib.crc32(np.ascontiguousarray(video)))
    return "" if crc32 == clip.entry.crc32 else "is damaged"


def _read(path: Path, head_only: bool = False) -> tuple[Entry, dict[str, np.ndarray]]:
    """What a clip's file says of itself, and its arrays; a DataError if not all of it is there, or it is another's."""
    arrays = {}
    try:
        with open(path, "rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(start - 8, LONGEST_HEAD)))
            size = os.fstat(file.fileno()).st_size
            data = None if head_only else np.fromfile(file, np.uint8)
        entry = Entry.from_json(header["__metadata__"]["clip"])
        is_whole = size == start + max(header[name]["data_offsets"][1] for name in ("video", "audio"))
        for name, dtype, shape in (
            ("video", np.uint8, [3, entry.frames, SIDE, SIDE]),
            ("audio", np.dtype("<f4"), [entry.frames, FEATURES]),
        ):
            is_whole &= header[name]["shape"] == shape
            if data is not None:
                arrays[name] = data[slice(*header[name]["data_offsets"])].view(dtype).reshape(shape)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is truncated, damaged, or of another version") from error
    if not is_whole:
        raise DataError(f"{path}: is truncated, or its head contradicts itself")
    return entry, arrays
