"""Races and genders, all folds of a run together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scripts.evaluate.tables import PEOPLE_NOTES
from scripts.report.markup import NO_FIGURE, Cell, Html, bullets, join, paragraph, table
from scripts.report.runs import Run
from utils.results import percent
from utils.statistics.groups import GROUPINGS, remarks

FIGURES = {"acc": "ACC", "auc": "AUC", "false_rejection": "rejected", "false_acceptance": "accepted"}


def people(run: Run) -> Html:
    """Figures of each race and gender with their intervals, or a word why there are none."""
    if not run.pooled:
        return paragraph("No scores.csv can be read, so that there is nothing by race and gender.")
    groups = run.pooled["per_group"]
    parts = [_table(f"{run.name}: by {GROUPINGS[name][1]}, all folds, in percent", groups[name]) for name in groups]
    return join([*parts, bullets([*(PEOPLE_NOTES if parts else ()), *remarks(groups)])])


def _table(caption: str, entries: Mapping[str, Mapping[str, Any]]) -> Html:
    headings = ["group", "subjects", "real", "fake"]
    headings += [heading for name in FIGURES.values() for heading in (name, "95 %")]
    body = [
        [
            label,
            *(Cell(f"{entry[count]:,}", float(entry[count])) for count in headings[1:4]),
            *(cell for name in FIGURES for cell in _with_interval(entry, name)),
        ]
        for label, entry in entries.items()
    ]
    return table(caption, headings, body)


def _with_interval(entry: Mapping[str, Any], name: str) -> tuple[Cell, Cell]:
    value, ends = entry[name], entry["intervals"][name]
    figure = Cell(percent(value) or NO_FIGURE, math.nan if value is None else value)
    if ends is None:
        return figure, Cell(NO_FIGURE, math.nan)
    return figure, Cell(f"{percent(ends[0])} to\u00a0{percent(ends[1])}", ends[0])
