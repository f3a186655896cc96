"""Cores that this process may use, and work on many items spread over them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from joblib import cpu_count
from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Count the cores that this process may use, which on a cluster or in a container are fewer than there are."""
    return cpu_count()


def in_threads(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    description: str = "",
    workers: int | None = None,
    progress: bool = True,
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, while threads (by default one a usable core) work ahead.

    Threads do, since decoders and checksums let go of the interpreter lock. When the caller stops, by an error or by
    Ctrl-C, what has not begun is dropped. A progress bar with the description is shown on a terminal.
    """
    console = Console(stderr=True)
    hidden = not (progress and items and console.is_terminal)
    pool = ThreadPoolExecutor(workers or usable_cores())
    try:
        results = pool.map(function, items)
        yield from track(results, description, len(items), disable=hidden, console=console, transient=True)
    finally:
        pool.shutdown(cancel_futures=True)
