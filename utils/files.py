"""Files that are whole or not there, their digests, a folder to oneself; strict JSON, npz, csv and Markdown tables."""

import hashlib
import io
import json
import logging
import math
import os
import re
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from utils.errors import DataError

log = logging.getLogger(__name__)

# File systems take 255 bytes, and a run's files are named after it, such as RUN_train_1-last.ckpt.
NAME_BYTES = 200


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file to write, which in the end takes the place of `path`; after a failure it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Short, whatever the length of the name, which may be the longest that the file system takes.
    temporary = path.with_name(f".{zlib.crc32(os.fsencode(path.name)):08x}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def plain_name(name: str, flag: str) -> str:
    """A name that `flag` gives to files and folders; a DataError if it is a path, or too long for what they add."""
    if name in ("", ".", "..") or any(char in name for char in "/\\\0\n"):
        raise DataError(f"{flag} {name!r}: must be a plain name, not a path")
    if (size := len(os.fsencode(name))) > NAME_BYTES:
        raise DataError(f"{flag} {name[:20]}…: has {size} bytes; names of runs have {NAME_BYTES} at most")
    return name


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: a failure leaves the earlier file as it was."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def aside(paths: Sequence[Path]) -> list[Path]:
    """Names under which files or folders are set aside together: NAME.1.SUFFIX, or the next number free for all."""
    number, names = 0, list(paths)
    while any(name.exists() for name in names):
        number += 1
        names = [path.with_name(f"{path.stem}.{number}{path.suffix}") for path in paths]
    return names


def lock(path: Path) -> BaseFileLock:
    """A lock, not yet held, on a file whose folder is made.

    The system lets go of it when its process ends, however it does. Where the file system knows no such lock (NFS
    before 4, Lustre without -o flock), a file that is there while it is held does instead: another process takes that
    over only if its holder was on the same machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path) if _has_flock(path.parent) else SoftFileLock(path.with_name(f"{path.name}.held"))


@cache
def _has_flock(folder: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows, which locks in its own way
        return True
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            log.info("the file system of %s knows no locks (%s): files are put there instead", folder, error.strerror)
            return False
    return True


@contextmanager
def alone_in(folder: Path, waiting: str) -> Iterator[None]:
    """Hold the folder's lock; while another process does, wait, and say `waiting` once in the log, with the folder."""
    own = lock(folder / ".lock")
    try:
        own.acquire(timeout=0)
    except Timeout:
        log.info(waiting, folder)
        own.acquire()
    try:
        yield
    finally:
        own.release()


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def markdown_table(grid: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table that also reads well as plain text: of cells row by row, the headings first."""
    widths = [max(2, *map(len, column)) for column in zip(*grid, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    aligned = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in grid]
    return [f"| {' | '.join(row)} |" for row in (aligned[0], rule, *aligned[1:])]


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as npz, whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=True, **arrays)
    write_atomic(path, content.getvalue())


def to_json(value: Any) -> str:
    """Strict JSON: NaN and infinities become null, NumPy scalars numbers, paths strings."""
    return json.dumps(_plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def read_csv(path: Path, encodings: Sequence[str] = ("utf-8-sig",)) -> pd.DataFrame:
    """Read a csv as stripped strings, indexed by line number; any line ends, with or without a byte order mark.

    Cells may be separated by commas, semicolons or tabs, whichever its first line has most of. The encodings are tried
    in turn.

    Raises
    ------
    DataError
        If it is not a csv file, or holds no row.
    """
    with path.open("rb") as file:
        first = re.split(rb"[\r\n]", file.read(10_000).lstrip(b"\r\n"))[0].decode("latin-1")
    separator = max(",;\t", key=first.count)
    for encoding in encodings:
        try:
            # Blank lines are kept at first, so that the index can be turned into line numbers.
            options = {"header": None, "dtype": str, "keep_default_na": False, "skip_blank_lines": False}
            table = pd.read_csv(path, sep=separator, encoding=encoding, **options)
            break
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            if encoding == encodings[-1] or not isinstance(error, UnicodeDecodeError):
                raise DataError(f"{path}: not a csv file that can be read ({str(error).strip()})") from error
    table = table.fillna("").apply(lambda column: column.str.strip()).replace(["nan", "NaN"], "")
    table.index += 1
    table.columns = table.iloc[0].rename(None)
    table = table.loc[:, ~table.columns.duplicated()].iloc[1:]
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise DataError(f"{path}: holds no row")
    return table
