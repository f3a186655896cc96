"""How metrics are printed: one form of a table, and its renderings on the screen, in Markdown and in LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from utils.files import markdown_table

# What metrics are called, in the order of a long table, and those of a short one.
HEADINGS = {
    "acc": "ACC",
    "balanced_acc": "balanced ACC",
    "auc": "AUC",
    "auc_hard": "hard AUC",
    "ap_real": "AP, real",
    "ap_fake": "AP, fake",
    "eer": "EER",
    "f1_real": "F1, real",
    "precision_real": "precision, real",
    "recall_real": "recall, real",
    "f1_fake": "F1, fake",
    "precision_fake": "precision, fake",
    "recall_fake": "recall, fake",
    "audio_auc": "audio AUC",
    "video_auc": "video AUC",
}
SHORT = ("acc", "auc", "auc_hard", "eer", "ap_real", "ap_fake", "audio_auc", "video_auc")
AUC_EXPLAINED = "AUC: of the scores, the probability of real; hard AUC: of the 0/1 decisions, which the paper reports"
INTERVAL = "95 %"
NOTE = "note"
UNSEEN_MARK = "†"
UNSEEN = (
    f"{UNSEEN_MARK} The subjects are all alike here, so that resampling cannot see how others would differ: the ends "
    "are by the rule of three, 3 / subjects off."
)


class Section(NamedTuple):
    """A table under a title: its cells row by row, headings first (or none), and sentences that belong under it."""

    title: str
    grid: list[list[str]]
    notes: list[str] = []  # noqa: RUF012 (never changed in place)

    @classmethod
    def of(cls, title: str, grid: list[list[str]], notes: Sequence[str] = ()) -> Section:
        """Make one without its column of notes, where that is empty, and with what the mark means, where it has it."""
        if grid and grid[0][-1] == NOTE and not any(row[-1] for row in grid[1:]):
            grid = [row[:-1] for row in grid]
        has_mark = any(UNSEEN_MARK in cell for row in grid for cell in row)
        return cls(title, grid, [*notes, UNSEEN] if has_mark else [*notes])


def percent(value: float | None) -> str:
    """Return a fraction as the paper prints it, in percent with two decimals; empty where there is none."""
    return "" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def with_deviation(mean: float | None, deviation: float | None) -> str:
    """Return mean ± standard deviation in percent; one fold has no deviation."""
    spread = percent(deviation)
    return f"{percent(mean)} ± {spread}" if spread else percent(mean)


def points(value: float, other: float) -> str:
    """Return the difference of two fractions as it is between their printed numbers; empty without both."""
    if math.isnan(value) or math.isnan(other):
        return ""
    return f"{round(100 * value, 2) - round(100 * other, 2):+.2f}"


def ends(interval: Sequence[float] | None, unseen: bool = False) -> str:
    """Return an interval in percent, with a mark if its ends are by the rule of three."""
    if interval is None:
        return ""
    return f"{percent(interval[0])} to {percent(interval[1])}{f' {UNSEEN_MARK}' if unseen else ''}"


def p_value(value: float | None) -> str:
    """Return a p with three digits; empty where there was no test."""
    return "" if value is None else f"{value:.3g}"


def counted(number: int, noun: str) -> str:
    """Say how many of something there are."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def as_markdown(title: str, parts: Sequence[Section]) -> str:
    """Return the tables as a Markdown page."""
    lines = [f"# {title}", ""]
    for part in parts:
        lines += section_lines(part)
    return "\n".join(lines).rstrip() + "\n"


def section_lines(part: Section, level: int = 2) -> list[str]:
    """Return a table as lines of Markdown under a heading of a level, with an empty line at the end."""
    grid = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in part.grid]
    lines = [f"{'#' * level} {part.title}", "", *([*markdown_table(grid), ""] if grid else [])]
    return [*lines, *(f"- {note}" for note in part.notes), *([""] if part.notes else [])]


def as_tables(title: str, parts: Sequence[Section]) -> Group:
    """Return the tables for the screen."""
    shown: list[RenderableType] = [Text(title, style="bold")]
    for part in parts:
        table = [_on_screen(part.grid)] if part.grid else []
        shown += [Text(), Text(part.title, style="bold"), *table, *(Text(note) for note in part.notes)]
    return Group(*shown)


def _on_screen(grid: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for k, heading in enumerate(grid[0]):
        is_text = k == 0 or heading == NOTE  # which may take several lines; a number must not
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for row in grid[1:]:
        table.add_row(*(Text(cell) for cell in row))
    return table


def as_latex(parts: Sequence[Section]) -> str:
    """Return the tables for a document that loads booktabs, the notes as comments."""
    lines = [r"% needs \usepackage{booktabs}"]
    for part in parts:
        lines.append(f"% {part.title}")
        if part.grid:
            head, *body = [[_latex(cell) for cell in row] for row in part.grid]
            frame = pd.DataFrame(body, columns=head)
            lines.append(frame.to_latex(index=False, column_format="l" + "r" * (len(head) - 1)))
        lines += [f"% {note}" for note in part.notes]
    return "\n".join(lines) + "\n"


LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    UNSEEN_MARK: r"\dag{}",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def _latex(text: str) -> str:
    """Text for LaTeX, which has signs of its own."""
    text = "".join(LATEX_SIGNS.get(character, character) for character in text)
    return f"$-${text[1:]}" if text[:1] == "-" and text[1:2].isdigit() else text  # a minus, not a hyphen
