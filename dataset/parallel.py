"""Work on many clips at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    description: str = "",
    workers: int | None = None,
    progress: bool = True,
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order, while threads work ahead; with one worker, no thread does.

    Threads do, since decoders and checksums let go of the interpreter lock. When the caller stops, by an error or by
    Ctrl-C, what has not begun is dropped.

    Parameters
    ----------
    function
        What to do with an item.
    items
        What to work on.
    description
        Stands beside the progress bar.
    workers
        Threads; by default one a core.
    progress
        Show a progress bar, if there is anything to do.
    """
    if workers == 1 and not progress:
        yield from map(function, items)
        return
    console = Console(stderr=True)
    pool = ThreadPoolExecutor(workers or os.cpu_count())
    try:
        results = pool.map(function, items)
        yield from track(
            results,
            description,
            total=len(items),
            disable=not (progress and items and console.is_terminal),
            console=console,
            transient=True,
            refresh_per_second=2,
        )
    finally:
        pool.shutdown(cancel_futures=True)
