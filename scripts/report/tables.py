"""The tables of figures: detectors, folds, categories, methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from scripts.report.markup import NO_FIGURE, Cell, Html, bullets, counted, join, paragraph, table
from scripts.report.runs import RESAMPLES, Run
from scripts.reproduce.table import BY_CATEGORY, COMPARED, FIGURES, Row, describe
from utils.results import AUC_EXPLAINED, CATEGORIES, HEADINGS, PUBLISHED, PUBLISHED_CORPUS, fold_figures, percent

OF_FOLDS = {**HEADINGS, "auc": "AUC"}


def detectors(runs: Sequence[Run]) -> Html:
    """All runs beside the paper's numbers, and by category: mean ± standard deviation over the folds."""
    rows, unread = [], []
    for run in runs:
        row = row_of(run)
        if isinstance(row, Row):
            rows.append(row)
        else:
            unread.append(f"{run.name} is not in the table: {row}.")
    parts = [_main_table(rows), _category_table(rows)] if rows else []
    return join([*parts, bullets([*unread, *_notes(rows)])])


def row_of(run: Run) -> Row | str:
    """Return what `scripts.reproduce.table.describe` says of a run, or why it says nothing."""
    try:
        return describe(run.folder)
    except (ValueError, OSError) as error:
        return str(error)
    except (AttributeError, KeyError, TypeError):
        return "a metrics.json of it does not hold what it should"


def _main_table(rows: Sequence[Row]) -> Html:
    published = _is_published(rows)
    headings = ["detector"]
    for name in COMPARED:
        headings += [FIGURES[name], *(["paper", "Δ"] if published else [])]
    headings += [FIGURES["auc"], "folds", "clips", "hours"]
    body = []
    for row in rows:
        cells: list[object] = [row.run]
        for name in COMPARED:
            cells.append(_spread(row.figures, name))
            if published:
                cells += [_percent(row.figures[f"{name}_paper"]), _points(row.figures, name)]
        hours = row.figures["hours"]
        hours_shown = NO_FIGURE if math.isnan(hours) else f"{hours:.2f}"
        counts = [_count(row.figures[name]) for name in ("folds", "clips")]
        body.append([*cells, _spread(row.figures, "auc"), *counts, Cell(hours_shown, hours)])
    return table("Detectors, in percent", headings, body)


def _is_published(rows: Sequence[Row]) -> bool:
    return any(not math.isnan(row.figures[f"{name}_paper"]) for row in rows for name in COMPARED)


def _category_table(rows: Sequence[Row]) -> Html:
    body = [[row.run, *(_spread(row.figures, name) for name in BY_CATEGORY)] for row in rows]
    return table("Detectors by category, in percent", ["detector", *BY_CATEGORY.values()], body)


def _notes(rows: Sequence[Row]) -> list[str]:
    """What the figures mean and what they were made with."""
    notes = [
        "Mean ± standard deviation of a sample over the folds. 1 = real, 0 = fake.",
        f"{AUC_EXPLAINED}; of a category: of the scores, against the clips of A.",
        "; ".join(f"{name}: {meaning}" for name, meaning in CATEGORIES.items()) + ".",
        f"{NO_FIGURE} stands where there is no figure, or a fold lacks it.",
    ]
    if _is_published(rows):
        notes.append(f"Paper: the published mean of the five folds of {PUBLISHED_CORPUS}. Δ: points above it.")
    for name in ("corpus", "commit", "seed", "versions", "hardware"):
        values = dict.fromkeys(value for row in rows for value in row.record[name])
        if values:
            notes.append(f"{name.capitalize()}: {'; '.join(values)}.")
    return notes


def folds(run: Run) -> Html:
    """The figures of each fold; mean, paper and all clips together below them."""
    if not run.metrics:
        return paragraph("There are no figures: no metrics.json can be read.")
    cells = fold_figures(run.metrics)
    names = [name for name in OF_FOLDS if name in cells and cells[name].notna().any()]
    body = [[fold, _count(row["n"]), *(_percent(row[name]) for name in names)] for fold, row in cells.iterrows()]
    foot: list[list[object]] = [[f"mean of {len(cells)}", "", *(_mean(cells[name]) for name in names)]]
    published = _published(run)
    if published:
        foot.append(["paper", "", *(_percent(published.get(name)) for name in names)])
    note = Html()
    if run.pooled:
        foot.append(["all clips", _count(run.pooled["n"]), *(_percent(run.pooled.get(name)) for name in names)])
        intervals = run.pooled["bootstrap"]["intervals"]
        foot.append(["95 % interval", "", *(_interval(intervals.get(name)) for name in names)])
        note = paragraph(_interval_note(run.pooled))
    headings = ["fold", "n", *(OF_FOLDS[name] for name in names)]
    return join([table(f"{run.name}: folds, in percent", headings, body, foot), note])


def _published(run: Run) -> dict[str, float]:
    if run.shared("corpus") != PUBLISHED_CORPUS or not isinstance(run.shared("model_type"), str):
        return {}
    return PUBLISHED.get(run.shared("model_type"), {})


def _interval_note(pooled: Mapping[str, Any]) -> str:
    why = pooled["bootstrap"]["why"]
    if why:
        return f"There are no intervals: {why}."
    return (
        f"All clips: of all folds together, n = {counted(pooled['n'], 'clip')} of "
        f"{counted(pooled['subjects'], 'subject')}; "
        f"intervals from {RESAMPLES:,} resamples of the subjects."
    )


def categories(run: Run) -> Html:
    """Figures of the four categories, all folds together."""
    if not run.pooled:
        return paragraph("No scores.csv can be read, so that there is nothing by category.")
    body = [
        [f"{name}: {CATEGORIES[name]}", *_group(entry, "auc" in entry)]
        for name, entry in run.pooled["per_category"].items()
    ]
    headings = ["category", "n", "ACC", "AUC", *_note_heading(body)]
    note = paragraph("AUC of a category: against the clips of A.")
    return join([table(f"{run.name}: by category, all folds, in percent", headings, _noted(body)), note])


def methods(run: Run) -> Html:
    """Figures of the fake clips of each method, all folds together."""
    if not run.pooled:
        return paragraph("No scores.csv can be read, so that there is nothing by method.")
    if not run.pooled["per_method"]:
        return paragraph("There is no fake clip, so that there is nothing by method.")
    body = [[name or "(not given)", *_group(entry, True)] for name, entry in run.pooled["per_method"].items()]
    headings = ["method", "n", "ACC", "AUC", *_note_heading(body)]
    note = paragraph("Fake clips; AUC of a method: against all real clips.")
    return join([table(f"{run.name}: by method, all folds, in percent", headings, _noted(body)), note])


def _group(entry: Mapping[str, Any], ranked: bool) -> list[object]:
    auc = _percent(entry["auc"]) if ranked else Cell(NO_FIGURE, math.nan)
    return [_count(entry["n"]), _percent(entry["acc"]), auc, entry["why"] or ""]


def _note_heading(body: Sequence[Sequence[object]]) -> list[str]:
    return ["note"] if any(row[-1] for row in body) else []


def _noted(body: Sequence[Sequence[object]]) -> list[Sequence[object]]:
    """Leave out the notes if there are none."""
    return [row if _note_heading(body) else row[:-1] for row in body]


def _count(number: float) -> Cell:
    return Cell(f"{number:,.0f}", float(number))


def _percent(value: float | None) -> Cell:
    value = math.nan if value is None else float(value)
    return Cell(percent(value) or NO_FIGURE, value)


def _spread(figures: Mapping[str, Any], name: str) -> Cell:
    """Mean ± standard deviation, which one fold does not have."""
    return _with_deviation(figures[f"{name}_mean"], figures[f"{name}_std"])


def _mean(values: pd.Series) -> Cell:
    # skipna=False: a mean over fewer folds than it says would mislead
    return _with_deviation(values.mean(skipna=False), values.std(ddof=1, skipna=False))


def _with_deviation(mean: float, deviation: float) -> Cell:
    spread = percent(deviation)
    return Cell(f"{percent(mean)} ±\u00a0{spread}" if spread else percent(mean) or NO_FIGURE, float(mean))


def _points(figures: Mapping[str, Any], name: str) -> Cell:
    """The difference as it is between the two numbers beside it."""
    difference = figures[f"{name}_difference"]
    if math.isnan(difference):
        return Cell(NO_FIGURE, math.nan)
    points = round(100 * figures[f"{name}_mean"], 2) - round(100 * figures[f"{name}_paper"], 2)
    return Cell(f"{points:+.2f}", difference)


def _interval(interval: Sequence[float] | None) -> Cell:
    if interval is None:
        return Cell(NO_FIGURE, math.nan)
    return Cell(f"{percent(interval[0])} to\u00a0{percent(interval[1])}", interval[0])
