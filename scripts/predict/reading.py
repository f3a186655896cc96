"""Clips read by threads that work ahead: they decode and find faces while the detector computes."""

import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Semaphore
from typing import NamedTuple

import av
import cv2
import numpy as np

from dataset.faces import ClipFault, Survey, Window, survey, windows
from utils.errors import DataError

# What may go wrong with a file; anything else is an error of this program and stops it.
FAULTS = (OSError, ValueError, ArithmeticError, RuntimeError, MemoryError, av.FFmpegError, cv2.error)
NO_FILE, NO_CLIP, NO_PERMISSION = "no such file", "no clip", "no permission"


class End(NamedTuple):
    """A clip has been read to its end, or as far as it could be."""

    reason: str = ""  # why it could not be read; "" if it could
    message: str = ""
    lasting: bool = True  # the same would come of the same file again


Step = Survey | Window | End


@dataclass
class ClipReader:
    """Reads clips, one after the other. Each thread has one of its own."""

    detector: Callable[[np.ndarray], np.ndarray] | None  # finds faces
    length: int  # of a window, in frames
    hop: int
    framing: str = "auto"  # as `dataset.faces.survey` takes it
    survey: Callable[..., Survey] = survey
    windows: Callable[..., Iterator[Window]] = windows

    def __call__(self, path: Path, stopped: Event) -> Iterator[Step]:
        """Yield the survey of a clip, its windows, and always an `End`; stop soon after `stopped` is set."""

        def look(frame: np.ndarray) -> np.ndarray:
            if stopped.is_set():  # a survey of a long clip takes minutes
                raise CancelledError
            return self.detector(frame)

        try:
            if why := _no_file(path):
                yield End(why[0], f"{path}: {why[1]}", lasting=False)
                return
            surveyed = self.survey(path, look, framing=self.framing)
            yield surveyed
            yield from self.windows(path, surveyed, self.length, self.hop)
            yield End()
        except ClipFault as fault:
            yield End(fault.reason, str(fault))
        except FAULTS as error:
            words = " ".join(str(error).split())[:200] or type(error).__name__
            message = str(error) if isinstance(error, DataError) else f"{path}: cannot be read ({words})"
            yield End(ClipFault.UNREADABLE, message, lasting=isinstance(error, DataError))


def _no_file(path: Path) -> tuple[str, str] | None:
    """Why a path leads to no file that can be read, in short and in words; None if it does."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return (NO_CLIP, "a link that leads nowhere") if os.path.islink(path) else (NO_FILE, NO_FILE)
    except PermissionError:
        return NO_PERMISSION, "in a folder that you have no permission to search"
    except OSError as error:  # a circle of links, a name that is too long
        return NO_CLIP, error.strerror.lower()
    if stat.S_ISDIR(mode):
        return NO_CLIP, "a folder"
    if not stat.S_ISREG(mode):
        return NO_CLIP, "no file, but a pipe, a socket or a device"
    return None if os.access(path, os.R_OK) else (NO_PERMISSION, "you have no permission to read it")


def read_ahead(
    paths: Sequence[Path], readers: Sequence[ClipReader], room: int
) -> Generator[tuple[int, Step], None, None]:
    """Read clips in as many threads as there are readers; they are begun in their order.

    `room` is how many steps may wait to be taken, besides one in each thread's hands: memory does not grow with the
    length of a clip. When the caller closes this, or an error of the program ends it, the threads end too.

    Yields
    ------
    Index of a clip, and its next step: its survey, its windows in order, and always an `End`. The steps of clips that
    are read at the same time come in turns.
    """
    ready: SimpleQueue[tuple[int, Step | Exception]] = SimpleQueue()
    idle: SimpleQueue[ClipReader] = SimpleQueue()
    free, stopped = Semaphore(room), Event()
    for reader in readers:
        idle.put(reader)

    def read(index: int) -> None:
        reader = idle.get()
        try:
            for step in reader(paths[index], stopped):
                free.acquire()
                if stopped.is_set():
                    return
                ready.put((index, step))
        except Exception as error:  # noqa: BLE001 - the main thread raises it
            ready.put((index, error))
        finally:
            idle.put(reader)

    pool = ThreadPoolExecutor(len(readers) or 1)
    try:
        for index in range(len(paths)):
            pool.submit(read, index)
        left = len(paths)
        while left:
            index, step = ready.get()
            if isinstance(step, Exception):
                raise step
            free.release()
            left -= isinstance(step, End)
            yield index, step
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        free.release(len(readers) or 1)  # whoever waits for room
        pool.shutdown()
