"""Writing files that are either whole or not there, and tables that are text and Markdown alike."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: a failure leaves the earlier file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def markdown_table(grid: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table that also reads well as plain text.

    Parameters
    ----------
    grid
        Cells row by row, the headings first. The first column goes to the left, the others to the right.
    """
    widths = [max(2, *map(len, column)) for column in zip(*grid, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    aligned = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in grid]
    return [f"| {' | '.join(row)} |" for row in (aligned[0], rule, *aligned[1:])]
