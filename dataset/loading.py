"""How many workers load clips, and whether shared memory has room for what they load ahead."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dataset.features import FEATURES
from dataset.transforms import CROP
from utils.parallel import usable_cores

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")  # where workers leave batches for the process that trains
BYTES_PER_FRAME = 3 * CROP * CROP + 4 * FEATURES + 1  # video, audio and mask
MOST_WORKERS = 8
RESERVE = 1 << 24  # bytes that are left to others


class Loading(NamedTuple):
    """Workers of a loader, and the batches that each of them loads ahead."""

    workers: int
    prefetch: int


def default_workers(processes: int, on_gpu: bool) -> int:
    """How many workers load clips for each of so many training processes that share the cores of this machine.

    Beside a CPU that is busy, workers would only be in the way.
    """
    return max(1, min(MOST_WORKERS, usable_cores() // processes)) if on_gpu else 0


def batch_bytes(lengths: Sequence[int], batch_size: int, padding: str) -> int:
    """Size of the largest batch that clips of these lengths, in frames, can make."""
    count = min(batch_size, len(lengths))
    longest_first = sorted(lengths, reverse=True)
    # A batch is as long as its longest clip, or as its shortest where it is cut.
    return count * longest_first[count - 1 if padding == "cut" else 0] * BYTES_PER_FRAME


def fit_shared_memory(asked: Loading, size: int, processes: int, memory: Path | None = None) -> Loading:
    """Reduce what is loaded ahead to what shared memory has room for, and say so.

    A worker that finds none left is ended by a bus error, hours into a run. `size` is that of the largest batch in
    bytes, `processes` are those that share the memory, which is mounted at `memory`, by default /dev/shm; a system that
    has no such folder has no such limit.
    """
    memory = memory or SHARED_MEMORY
    if asked.workers == 0 or not memory.is_dir():
        return asked
    free = shutil.disk_usage(memory).free - RESERVE
    room = free // (size * processes) - 1  # batches in flight, beside the one that is trained on
    if asked.workers * asked.prefetch <= room:
        return asked
    workers = max(0, min(asked.workers, room))
    fitting = Loading(workers, max(1, min(asked.prefetch, room // max(1, workers))))
    log.warning(
        "%d workers with %d batches each need up to %.2f GB of shared memory, and %s has %.2f GB free: "
        "%s. More room (docker run --shm-size, --ipc=host), a smaller --batch_size or a smaller --prefetch helps",
        *asked,
        (asked.workers * asked.prefetch + 1) * size * processes / 1e9,
        memory,
        free / 1e9,
        f"{fitting.workers} workers with {fitting.prefetch} load" if workers else "clips are loaded without workers",
    )
    return fitting
