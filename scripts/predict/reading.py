"""Clips read by threads that work ahead: they decode and find faces while the detector computes."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import av
import cv2
import numpy as np

from dataset.faces import ClipFault, Survey, Window, survey, windows
from scripts.predict.clips import NO_FILE, why_no_file
from utils.errors import DataError

# What may go wrong with a file; anything else is an error of this program and stops it.
FAULTS = (OSError, ValueError, ArithmeticError, RuntimeError, MemoryError, av.FFmpegError, cv2.error)
UNREADABLE = "unreadable"
WAIT_SECONDS = 0.1


class End(NamedTuple):
    """A clip has been read to its end, or as far as it could be."""

    reason: str = ""  # why it could not be read; "" if it could
    message: str = ""
    lasting: bool = True  # the same would come of the same file again


Step = Survey | Window | End


class Stopped(Exception):
    """Nobody waits for this clip any more."""


@dataclass
class Reader:
    """Reads a clip: first what its survey finds, then its windows. Each thread has one of its own."""

    detector: Callable[[np.ndarray], np.ndarray] | None  # finds faces
    length: int  # of a window, in frames
    hop: int
    framing: str = "auto"  # as `dataset.faces.survey` takes it
    survey: Callable[..., Survey] = survey
    windows: Callable[..., Iterator[Window]] = windows

    def __call__(self, path: Path, stopped: Event) -> Iterator[Survey | Window]:
        """Yield the survey and each window of a clip; raise `Stopped` soon after `stopped` is set."""

        def look(frame: np.ndarray) -> np.ndarray:
            if stopped.is_set():  # a survey of a long clip takes minutes
                raise Stopped
            return self.detector(frame)

        found = self.survey(path, look, framing=self.framing)
        yield found
        yield from self.windows(path, found, self.length, self.hop)


def read_ahead(paths: Sequence[Path], readers: Sequence[Reader], room: int) -> Generator[tuple[int, Step], None, None]:
    """Read clips in as many threads as there are readers.

    Parameters
    ----------
    paths
        The clips; they are begun in this order.
    readers
        One a thread.
    room
        How many windows may wait to be taken, besides one in each thread's hands.

    Yields
    ------
    Index of a clip, and its next step: its survey, its windows in order, and always an `End`. The steps of clips that
    are read at the same time come in turns.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(paths)):
        waiting.put(index)
    ready: queue.Queue[tuple[int, Step | Exception]] = queue.Queue(room)
    stopped = Event()
    threads = [Thread(target=_work, args=(paths, reader, waiting, ready, stopped), daemon=True) for reader in readers]
    try:
        for thread in threads:
            thread.start()
        left = len(paths)
        while left:
            index, step = ready.get()
            if isinstance(step, Exception):
                raise step
            left -= isinstance(step, End)
            yield index, step
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def _work(
    paths: Sequence[Path],
    reader: Reader,
    waiting: queue.SimpleQueue[int],
    ready: queue.Queue[tuple[int, Step | Exception]],
    stopped: Event,
) -> None:
    """Read one clip after another until none is left or nobody wants them."""
    index = 0
    try:
        while not stopped.is_set():
            index = waiting.get_nowait()
            for step in _steps(paths[index], reader, stopped):
                _hand_over(ready, (index, step), stopped)
    except (queue.Empty, Stopped):
        return
    except Exception as error:  # noqa: BLE001 - the main thread raises it
        _hand_over(ready, (index, error), stopped)


def _steps(path: Path, reader: Reader, stopped: Event) -> Iterator[Step]:
    try:
        if why := why_no_file(path):
            reason = NO_FILE if why == NO_FILE else "no permission" if "permission" in why else "no clip"
            yield End(reason, f"{path}: {why}", lasting=False)
            return
        yield from reader(path, stopped)
        yield End()
    except Stopped:
        raise
    except ClipFault as fault:
        yield End(fault.reason, str(fault))
    except FAULTS as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        message = str(error) if isinstance(error, DataError) else f"{path}: cannot be read ({words})"
        yield End(UNREADABLE, message, lasting=isinstance(error, DataError))


def _hand_over(ready: queue.Queue, item: tuple[int, Step | Exception], stopped: Event) -> None:
    """Put an item into the queue as soon as there is room; raise `Stopped` if nobody takes it."""
    while not stopped.is_set():
        try:
            ready.put(item, timeout=WAIT_SECONDS)
        except queue.Full:
            continue
        return
    raise Stopped
