"""The table of a suite: Markdown, csv, LaTeX, and a page with a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from scripts.report.page import embedded, render
from scripts.suite.numbers import AS_ERRORS, METRICS
from utils.figures.style import new_figure, save_figure, tidy
from utils.files import to_json, write_atomic
from utils.table import HEADINGS, Section, as_latex, as_markdown, counted, ends, explained, percent

DIGITS = 12  # of a SHA-256
MANY = 12  # distinct reasons of a row at most
NOTES = [
    "AUC and EER are of the scores. AP: fake is positive; that of a random score is the share of fakes, in the column "
    "fake.",
    "ACC is at the threshold of the checkpoint's own validation clips, where the two error rates met.",
    "Coverage: the share of the labelled clips that could be scored; the others are left out here.",
]

Rows = Sequence[Mapping[str, Any]]


def write_all(found: Mapping[str, Any], title: str, folder: Path) -> list[Section]:
    """Write suite.md, .csv, .tex, .json, .html and heatmap.png, .svg of what `numbers` found; return the tables."""
    parts = sections(found)
    write_atomic(folder / "suite.md", as_markdown(title, parts))
    write_atomic(folder / "suite.csv", flat(found["rows"]).to_csv(index=False, lineterminator="\n"))
    write_atomic(folder / "suite.tex", as_latex(parts))
    write_atomic(folder / "suite.json", to_json(found))
    save_figure(heat_map(found["rows"], title), folder / "heatmap.png")
    shown = {"title": title, "parts": parts, "heat_map": embedded(folder / "heatmap.png")}
    write_atomic(folder / "suite.html", render(Path(__file__).parent / "suite.html", **shown))
    return parts


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The tables, as far as there is something in them."""
    rows = found["rows"]
    where, head = ["test", "detector"], [HEADINGS[name] for name in METRICS]
    metrics = [[*where, *head, "n", "fake", "coverage"]]
    intervals, errors = [[*where, *head, "subjects"]], [[*where, *head, "not scored", "of"]]
    sources = [[*where, "fold", "checkpoint or scores", "SHA-256"]]
    for row in rows:
        here = [row["test"], row["detector"]]
        metrics.append([*here, *_percents(row), f"{row['n']:,}", percent(row["fake"]), percent(row["coverage"])])
        if any(row["intervals"].values()):
            spans = [ends(row["intervals"][name], name in row["rule_of_three"]) for name in METRICS]
            intervals.append([*here, *spans, f"{row['subjects']:,}"])
        if row["scored"] < row["n"]:
            errors.append([*here, *_percents(row, AS_ERRORS), f"{row['n'] - row['scored']:,}", f"{row['n']:,}"])
        for fold, path in row["sources"].items():
            sources.append([*here, fold, path, row["sources_sha256"][fold][:DIGITS]])
    groups = [["group", "detector", *head, "tests"]]
    groups += [[row["group"], row["detector"], *_percents(row), str(row["tests"])] for row in found["groups"]]
    pairs = [["test", "first", "second", "first less second, %", "p", "p, Holm", "n"]]
    for pair in found["pairs"]:
        names = [pair[name] for name in ("test", "first", "second")]
        pairs.append([*names, percent(pair["difference"]), _p(pair["p"]), _p(pair["holm"]), f"{pair['n']:,}"])
    missed = "Such a clip is ranked and decided as wrongly as can be. Tests whose clips were all scored are not here."
    delong = (
        "DeLong's test on the clips that both detectors scored; it takes clips as independent. The last p is corrected "
        "by Holm's method for the pairs of its test."
    )
    parts = [
        Section("Metrics, in percent", metrics, [*NOTES, *notes_of(rows)]),
        Section("95 % intervals, by resampling subjects, in percent", intervals),
        Section("Clips that could not be scored counted as errors, in percent", errors, [missed]),
        Section("Means of groups, in percent", groups, ["Each test counts alike."]),
        Section("Differences of AUC between detectors", pairs, [delong]),
        Section("What each row was computed from", sources, ["The SHA-256 of the file, in part."]),
    ]
    return explained([part for part in parts if len(part.grid) > 1])


def _percents(row: Mapping[str, Any], suffix: str = "") -> list[str]:
    return [percent(row[name + suffix]) for name in METRICS]


def notes_of(rows: Rows) -> list[str]:
    """What a reader has to know of single rows."""
    notes = []
    for row in rows:
        where = f"{row['detector']} on {row['test']}"
        if row["trained_subjects_tested"]:
            notes.append(
                f"{where}: {row['trained_subjects_tested']:,} of {row['subjects']:,} tested subjects were trained on: "
                "these are no metrics of unseen people."
            )
        if any(told.startswith("0.5") for told in row["threshold_of"]):
            notes.append(f"{where}: the checkpoint has no threshold, so ACC is at 0.5.")
        if "as given" in row["threshold_of"]:
            notes.append(f"{where}: scores of another; ACC is at the threshold that the suite file gives, or 0.5.")
        if row["folds"] > 1:
            notes.append(f"{where}: the clips of {row['folds']} folds together.")
        for reason, count in list(row["unscored"].items())[:MANY]:
            notes.append(f"{where}: {counted(count, 'clip')} not scored: {reason}.")
    return notes


def flat(rows: Rows) -> pd.DataFrame:
    """The rows as plain columns, fractions from 0 to 1."""
    names = ["test", "detector", "protocol", "trained_on", "folds", "n", "scored", "coverage", "fake", "subjects"]
    lines = []
    for row in rows:
        line = {name: row[name] for name in names}
        for name in METRICS:
            low, high = row["intervals"][name] or (None, None)
            line |= {name: row[name], f"{name}_low": low, f"{name}_high": high}
            line[name + AS_ERRORS] = row[name + AS_ERRORS]
        line["trained_subjects_tested"] = row["trained_subjects_tested"]
        line["sources"] = "; ".join(f"{fold}: {path}" for fold, path in row["sources"].items())
        lines.append(line)
    return pd.DataFrame(lines)


def heat_map(rows: Rows, title: str) -> Figure:
    """AUC of each detector (across) on each test (down)."""
    detectors = list(dict.fromkeys(row["detector"] for row in rows))
    tests = list(dict.fromkeys(row["test"] for row in rows))
    values = pd.DataFrame(index=tests, columns=detectors, dtype=float)
    for row in rows:
        values.at[row["test"], row["detector"]] = row["auc"]
    figure = new_figure(1.6 + 0.35 * len(tests), title)
    axes = figure.add_subplot()
    tidy(axes)
    image = axes.imshow(values.to_numpy(float), vmin=0, vmax=1, cmap="RdYlBu", aspect="auto")
    axes.set_xticks(range(len(detectors)), detectors, rotation=20, ha="right", parse_math=False)
    axes.set_yticks(range(len(tests)), tests, parse_math=False)
    axes.grid(False)
    for down, test in enumerate(tests):
        for across, detector in enumerate(detectors):
            value = values.at[test, detector]
            colour = "white" if abs(value - 0.5) > 0.4 else "black"  # the map is dark at both ends
            axes.text(across, down, percent(value) or "none", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, label="AUC")
    return figure


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
