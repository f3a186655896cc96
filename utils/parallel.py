"""Cores that this process may use, and work on many items spread over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores(proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> int:
    """Count the cores that this process may use, which on a cluster or in a container are fewer than there are.

    Parameters
    ----------
    proc, mount
        Where Linux tells the control groups of a process, and where their limits lie.

    Returns
    -------
    int
        Cores that the process is bound to, or fewer if a control group (version 1 or 2) grants less time than that.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(int(quota) for quota in _quotas(proc, mount))]))


def _quotas(proc: Path, mount: Path) -> Iterator[float]:
    """Cores' worth of time that each control group of this process and the groups around it grant."""
    try:
        lines = proc.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        tops = [mount / controllers, mount / "cpu"] if controllers else [mount]
        # Inside a container the group's own folder may not be visible, but the root then shows its limit.
        groups = [name.lstrip("/"), *(str(parent).lstrip("/") for parent in PurePosixPath(name).parents)]
        for folder in (top / group for top in tops for group in groups):
            try:
                if controllers:
                    quota, period = (
                        (folder / f"cpu.cfs_{part}_us").read_text(encoding="utf-8") for part in ("quota", "period")
                    )
                else:
                    quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
                if quota.strip() not in ("max", "-1"):
                    yield float(quota) / float(period)
            except (OSError, ValueError):
                continue


def in_threads(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    description: str = "",
    workers: int | None = None,
    progress: bool = True,
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, while threads work ahead.

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
        Threads; by default one for each usable core.
    progress
        Show a progress bar on a terminal, if there is anything to do.
    """
    console = Console(stderr=True)
    hidden = not (progress and items and console.is_terminal)
    pool = ThreadPoolExecutor(workers or usable_cores())
    try:
        results = pool.map(function, items)
        yield from track(results, description, len(items), disable=hidden, console=console, transient=True)
    finally:
        pool.shutdown(cancel_futures=True)
