"""Rows of an audit's effects, and how their figures are put into words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

import pandas as pd

from scripts.audit.changes import LEVELS, left_out
from scripts.audit.effects import LOSS

FAKES = {"all": "", "B": " with fake sound (B)", "C": " with fake picture (C)", "D": " with both streams fake (D)"}
KINDS = {"probe": "probes", "damage": "everyday damage"}


class Effect(NamedTuple):
    """A row of the effects: what a change did to the fakes of a category."""

    change: str
    level: str
    category: str
    n: int
    subjects: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    gap_before: float
    gap_after: float
    matters: bool
    weaker: bool


class Effects:
    """Looks up rows of what :func:`scripts.audit.effects.find_effects` returns."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    def of(self, change: str, categories: Iterable[str] | None = None) -> Effect | None:
        """What a change did: to all fakes together if it matters there or nowhere, else where it did most.

        None if the change was not made, or of no clips of both classes.
        """
        table = self.table[(self.table["change"] == change) & self.table["difference"].notna()]
        if categories is not None:
            table = table[table["category"].isin([*categories])]
        if table.empty:
            return None
        rows = [Effect(*row) for row in table[list(Effect._fields)].itertuples(index=False)]
        for shown in ("matters", "weaker"):
            found = [row for row in rows if getattr(row, shown)]
            if found:
                return next((row for row in found if row.category == "all"), min(found, key=lambda row: row.difference))
        return rows[0]

    def family(self, family: str) -> list[Effect]:
        """Effects of a family's changes, in the order of the table."""
        names = self.table.loc[self.table["family"] == family, "change"].unique()
        return [effect for name in names if (effect := self.of(name)) is not None]


def excludes_loss(effect: Effect) -> bool:
    """Whether a loss of ``LOSS`` lies outside the interval of a change.

    Where no resample shows a fall, or all agree, resampling says nothing of subjects other than these n: what touches
    fewer than 3 / n of all subjects may be seen in none of n (the rule of three, at 95 %). The lower end then counts as
    -3 / n at best, so that fewer than 60 subjects exclude nothing.
    """
    unseen = effect.low >= 0 or effect.low == effect.high
    return (min(effect.low, -3 / effect.subjects) if unseen else effect.low) > -LOSS


def doubt(effect: Effect, what: str) -> str:
    """Why what could not be shown is not excluded either, if it is not."""
    return "" if excludes_loss(effect) else f"; {effect.subjects} subjects are too few to exclude {what}"


def not_measured(made: Collection[str]) -> list[str]:
    """Which changes are not among those of these names, kind by kind."""
    absent = {kind: left_out(made, kind) for kind in KINDS}
    return [
        f"all {word}" if absent[kind] == [*LEVELS[kind]] else f"of the {word} {listed(absent[kind])}"
        for kind, word in KINDS.items()
        if absent[kind]
    ]


def signed(value: float) -> str:
    """A difference with its sign, which a nought has not."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def of_which(effect: Effect) -> str:
    """Of which fakes an AUC is, if not of all."""
    return f" for fakes{FAKES[effect.category]}" if FAKES[effect.category] else ""


def fall(effect: Effect) -> str:
    return f" (change {signed(effect.difference)}, {interval(effect)})"


def interval(effect: Effect) -> str:
    return f"95 % {signed(effect.low)} to {signed(effect.high)}" if effect.low == effect.low else "no interval"


def span(low: float, high: float) -> str:
    return f"95 % {low:.2f} to {high:.2f}" if low == low else "no interval"


def listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
