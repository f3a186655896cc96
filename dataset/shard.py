"""One file of decoded clips: how it is written, checked and read.

A shard is, byte by byte: for each clip its frames (3, T, 112, 112) uint8, then its audio features (T, 104) float32,
filled up with zeros to a multiple of 64; an index as JSON; and a footer: the index's length, its sha256 and a magic.
Nothing in it depends on when, where or by how many threads it was written.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from dataset.features import FEATURES
from dataset.media import MAX_FRAMES, SIDE
from utils.errors import DataError

FORMAT = 1  # raise it whenever the same clips would give other bytes
MAGIC = b"MRDFclip"
FRAME_BYTES = 3 * SIDE * SIDE  # a multiple of the alignment
FEATURE_BYTES = FEATURES * 4
ALIGNMENT = 64
INDEX_BYTES = 1024  # more than a clip takes in the index, its name included
FOOTER = struct.Struct("<Q32s8s")
CHUNK = 1 << 20  # bytes that are checked at a time


class Entry(NamedTuple):
    """What the index knows of a clip: its file as the csv spells it, and the sha256 of its sources (None: absent)."""

    file: str
    mp4: str | None
    wav: str | None
    frames: int = 0
    offset: int = 0
    crc32: int = 0
    whole: bool = False  # whether the clip ended before the limit
    reason: str = ""  # why it has no data

    @property
    def size(self) -> int:
        """Bytes of its data, with the zeros at the end."""
        return entry_bytes(self.frames)


class Index(NamedTuple):
    """What a shard says of itself."""

    number: int
    max_frames: int
    settings: str  # digest of all that decoding depends on
    entries: tuple[Entry, ...]
    footer: bytes = b""


class CachedClip(NamedTuple):
    """Where the frames and features of a verified clip lie."""

    shard: str
    footer: bytes
    offset: int
    frames: int
    whole: bool

    def read(self, max_frames: int = MAX_FRAMES) -> tuple[np.ndarray, np.ndarray]:
        """Map the clip into memory; it stays mapped as long as either array lives.

        Returns
        -------
        Frames (3, T, 112, 112) uint8 and features (T, 104) float32, both cut at `max_frames`. What is written to them
        reaches no disk.

        Raises
        ------
        DataError
            If the shard is gone, or another than the one that was verified.
        """
        start = self.offset - self.offset % mmap.ALLOCATIONGRANULARITY
        length = self.offset - start + entry_bytes(self.frames)
        try:
            with open(self.shard, "rb", buffering=0) as file:
                file.seek(-FOOTER.size, os.SEEK_END)
                if file.read(FOOTER.size) != self.footer:
                    raise DataError(f"{self.shard}: was changed since it was verified")
                mapped = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_COPY, offset=start)
        except OSError as error:
            raise DataError(f"{self.shard}: cannot be read ({error.strerror})") from error
        video = np.frombuffer(mapped, np.uint8, self.frames * FRAME_BYTES, self.offset - start)
        audio = np.frombuffer(mapped, "<f4", self.frames * FEATURES, self.offset - start + video.nbytes)
        video = video.reshape(3, self.frames, SIDE, SIDE)
        return video[:, :max_frames], audio.reshape(self.frames, FEATURES)[:max_frames]


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:04d}.bin"


def entry_bytes(frames: int) -> int:
    """Bytes that a clip of so many frames takes on disk, beside the index."""
    size = frames * (FRAME_BYTES + FEATURE_BYTES)
    return size + -size % ALIGNMENT


def write_shard(path: Path, index: Index, parts: Iterable[tuple[Entry, Sequence[np.ndarray]]]) -> Index:
    """Write a shard whole or not at all.

    Parameters
    ----------
    path
        The shard.
    index
        What stands at the head of the index; its entries come from `parts`.
    parts
        Each clip, and the arrays that make up its data one after the other.

    Returns
    -------
    The index as written.

    Raises
    ------
    OSError
        If the disk is full or cannot be written to: the message names the shard.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            index = index._replace(entries=tuple(_write_entry(file, entry, arrays) for entry, arrays in parts))
            listed = _encode(index)
            index = index._replace(footer=FOOTER.pack(len(listed), hashlib.sha256(listed).digest(), MAGIC))
            file.write(listed + index.footer)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return index


def read_index(path: Path) -> Index:
    """Read and check the index of a shard; its data is not looked at.

    Raises
    ------
    DataError
        If the file is truncated, is no shard or not the one that its name says, or its index is damaged.
    """
    try:
        with open(path, "rb") as file:
            return _read_index(file, path)
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror})") from error


def is_intact(path: Path, entry: Entry) -> bool:
    """Whether the data of an entry is what was written, as its checksum tells."""
    crc = 0
    left = entry.size
    try:
        with open(path, "rb") as file:
            file.seek(entry.offset)
            while left and (chunk := file.read(min(left, CHUNK))):
                crc = zlib.crc32(chunk, crc)
                left -= len(chunk)
    except OSError:
        return False
    return left == 0 and crc == entry.crc32


def read_data(path: Path, entry: Entry) -> np.ndarray | None:
    """Read the bytes (N,) of an entry; None if they are not what was written."""
    try:
        data = np.fromfile(path, np.uint8, entry.size, offset=entry.offset)
    except OSError:
        return None
    return data if len(data) == entry.size and zlib.crc32(data) == entry.crc32 else None


def _write_entry(file: BinaryIO, entry: Entry, arrays: Sequence[np.ndarray]) -> Entry:
    if entry.frames == 0:
        return entry._replace(offset=0, crc32=0)
    offset = file.tell()
    padding = np.zeros(entry.size - sum(array.nbytes for array in arrays), np.uint8)
    crc = 0
    for array in (*arrays, padding):
        data = memoryview(np.ascontiguousarray(array)).cast("B")
        file.write(data)
        crc = zlib.crc32(data, crc)
    return entry._replace(offset=offset, crc32=crc)


def _encode(index: Index) -> bytes:
    content = index._asdict() | {"format": FORMAT, "entries": [entry._asdict() for entry in index.entries]}
    del content["footer"]
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _read_index(file: BinaryIO, path: Path) -> Index:
    end = file.seek(0, os.SEEK_END) - FOOTER.size
    if end < 0:
        raise DataError(f"{path.name}: is truncated or no shard, with {end + FOOTER.size} bytes")
    file.seek(end)
    footer = file.read(FOOTER.size)
    length, checksum, magic = FOOTER.unpack(footer)
    if magic != MAGIC:
        raise DataError(f"{path.name}: is truncated or no shard, as its last bytes show")
    if length > end:
        raise DataError(f"{path.name}: its footer is damaged")
    file.seek(end - length)
    listed = file.read(length)
    if hashlib.sha256(listed).digest() != checksum:
        raise DataError(f"{path.name}: its index is damaged")
    index = _decode(listed, path.name)._replace(footer=footer)
    if path.name != shard_name(index.number):
        raise DataError(f"{path.name}: is in truth {shard_name(index.number)}")
    # Bytes before the first clip or between two would be nobody's, and so would go unchecked.
    starts = accumulate((entry.size for entry in index.entries), initial=0)
    laid_out = all(
        entry.offset == start or not entry.frames for entry, start in zip(index.entries, starts, strict=False)
    )
    if not laid_out or sum(entry.size for entry in index.entries) != end - length:
        raise DataError(f"{path.name}: its size does not agree with its index")
    return index


def _decode(listed: bytes, name: str) -> Index:
    try:
        content = json.loads(listed)
        if content.pop("format") == FORMAT:
            return Index(**content | {"entries": tuple(Entry(**entry) for entry in content["entries"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        pass  # another release's idea of an index
    raise DataError(f"{name}: is of another format than {FORMAT}")
