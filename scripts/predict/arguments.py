"""Which clips are meant by the arguments of a command: files, folders and lists of either."""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from utils.errors import DataError

log = logging.getLogger(__name__)

# What is looked for in folders. A file that is named itself may be called anything.
MEDIA = (
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov", ".mp4",
    ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogv", ".qt", ".rm", ".ts", ".vob", ".webm", ".wmv", ".y4m",
)  # fmt: skip
LONGEST_NAME = 200  # bytes; file systems allow 255 of a name, and that of a figure has more to it


class FoundClip(NamedTuple):
    """A clip that is asked for, whether it exists or not."""

    path: Path
    name: Path  # of this clip alone: relative to the folder that was named, or else the file's name
    figure: Path | None = None  # where its figure goes, if there is to be one


def find_clips(arguments: Iterable[Path]) -> list[FoundClip]:
    """List the clips behind the arguments, each once, in the order of the arguments; folders in that of their names.

    An argument is a file; a folder, in which all files with an extension of `MEDIA` are taken however deep they lie,
    behind links too; or `@list.txt`, a text file with a file or folder on each line, of which empty lines and those
    that begin with # count for nothing. `DataError` says so if there is no clip at all, or a list cannot be read.
    """
    found: dict[str, FoundClip] = {}
    names: set[Path] = set()
    for argument in _unfold(arguments):
        for clip in _look(argument):
            key = os.path.abspath(clip.path)
            if key not in found:
                found[key] = clip._replace(name=_unused(clip.name, names))
                names.add(found[key].name)
    if not found:
        raise DataError(
            f"{', '.join(map(str, arguments)) or 'the list'}: no clip in it; "
            f"looked for {' '.join(MEDIA)}, and a file of another kind can be named itself"
        )
    return list(found.values())


def _unfold(arguments: Iterable[Path]) -> Iterator[Path]:
    """The arguments with lists replaced by what they name."""
    for argument in arguments:
        if not str(argument).startswith("@") or os.path.exists(argument):
            yield argument
            continue
        path = Path(str(argument)[1:])
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: the list cannot be read ({error.strerror})") from error
        if b"\0" in content:
            raise DataError(f"{path}: is no list, which is a text with a path on each line; name a clip without @")
        lines = map(str.strip, content.decode("utf-8-sig", errors="surrogateescape").splitlines())
        yield from (Path(line) for line in lines if line and not line.startswith("#"))


def _look(path: Path) -> Iterator[FoundClip]:
    if not os.path.isdir(path):
        yield FoundClip(path, Path(path.name))
        return
    empty, seen = True, set()

    def unreadable(error: OSError) -> None:
        log.warning("%s: cannot be searched (%s)", error.filename, error.strerror)

    for folder, folders, files in os.walk(path, onerror=unreadable, followlinks=True):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:  # links may lead in a circle, or twice to one place
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders.sort()
        for file in (Path(folder) / name for name in sorted(files)):
            # Hidden files are none of the user's clips; some systems leave one beside each, of the same extension.
            if file.suffix.lower() in MEDIA and not file.name.startswith("."):
                empty = False
                yield FoundClip(file, file.relative_to(path))
    if empty:
        log.warning("%s: no clip in it", path)


def _unused(name: Path, names: set[Path]) -> Path:
    """The name, cut if it is too long for a figure's, and with a number if another clip has it."""
    number, short = 1, name.name
    while len(os.fsencode(short)) > LONGEST_NAME:
        short = short[:-1]
    free = name = name.with_name(short)
    while free in names:
        number += 1
        free = name.with_name(f"{name.stem} ({number}){name.suffix}")
    return free
