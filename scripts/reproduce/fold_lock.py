"""Who works on a fold: a lock that the system lets go of when the processes that hold it end, however they do."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from scripts.reproduce.fold_state import Fold
from utils.files import write_atomic


class _InheritedLock(FileLock):
    """A lock whose file a child process can hold too."""

    def fileno(self) -> int:
        return self._context.lock_file_fd


@contextmanager
def held(fold: Fold) -> Iterator[int | None]:
    """Hold the lock of a fold.

    Yields
    ------
    int or None
        Descriptor to hand on to the process that does the work (``pass_fds``), so that the fold stays locked for as
        long as that lives, even if this one is killed; None if someone else holds the lock.
    """
    fold.lock.parent.mkdir(parents=True, exist_ok=True)
    lock = _InheritedLock(fold.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield None
        return
    try:
        name_holder(fold)
        yield lock.fileno()
    finally:
        fold.holder.unlink(missing_ok=True)
        lock.release()


def name_holder(fold: Fold, child: int | None = None) -> None:
    """Write down who holds the lock: this process, and the one that it has started, which may outlive it.

    What a killed process left there is replaced.
    """
    own = f"process {os.getpid()}"
    write_atomic(fold.holder, f"{socket.gethostname()}, {own if child is None else f'process {child} of {own}'}")


def holder_of(fold: Fold) -> str:
    """Who holds the lock of a fold, as far as it is known."""
    try:
        return fold.holder.read_text(encoding="utf-8")
    except OSError:
        return "another process"
