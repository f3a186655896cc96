"""The table of a suite: Markdown, csv, LaTeX, and a page with a heat map."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from scripts.suite.numbers import AS_ERRORS, FIGURES
from utils.figures.style import new_figure, save_figure, tidy
from utils.files import to_json, write_atomic
from utils.table import Section, as_latex, as_markdown, ends, percent

HEADINGS = {"auc": "AUC", "ap_fake": "AP, fake", "eer": "EER", "acc": "ACC"}
DIGITS = 12  # of a SHA-256
MANY = 12  # distinct reasons of a row at most
REPORT = Path(__file__).parents[1] / "report"  # whose style the page has
NOTES = [
    "AUC and EER are of the scores. AP: fake is positive; that of a random score is the share of fakes, in the column "
    "fake.",
    "ACC is at the threshold of the checkpoint's own validation clips, where the two error rates met.",
    "Coverage: the share of the labelled clips that could be scored; the others are left out here.",
]

Rows = Sequence[Mapping[str, Any]]


def write_all(found: Mapping[str, Any], title: str, folder: Path) -> list[Section]:
    """Write suite.md, .csv, .tex, .json, heatmap.png, .svg and suite.html; returns the tables.

    Parameters
    ----------
    found
        What `scripts.suite.numbers.numbers` returns.
    title
        Of the table.
    folder
        Where to.
    """
    parts = sections(found)
    write_atomic(folder / "suite.md", as_markdown(title, parts))
    write_atomic(folder / "suite.csv", flat(found["rows"]).to_csv(index=False, lineterminator="\n"))
    write_atomic(folder / "suite.tex", as_latex(parts))
    write_atomic(folder / "suite.json", to_json(found))
    save_figure(heat_map(found["rows"], title), folder / "heatmap.png")
    write_atomic(folder / "suite.html", page(title, parts, folder / "heatmap.png"))
    return parts


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The tables, as far as there is something in them."""
    rows = found["rows"]
    parts = [
        Section("Metrics, in percent", metrics_grid(rows), [*NOTES, *notes_of(rows)]),
        Section("95 % intervals, by resampling subjects, in percent", intervals_grid(rows)),
        Section(
            "Clips that could not be scored counted as errors, in percent",
            errors_grid(rows),
            ["Such a clip is ranked and decided as wrongly as can be. Tests whose clips were all scored are not here."],
        ),
        Section("Means of groups, in percent", groups_grid(found["groups"]), ["Each test counts alike."]),
        Section(
            "Differences of AUC between detectors",
            pairs_grid(found["pairs"]),
            [
                "DeLong's test on the clips that both detectors scored; it takes clips as independent. The last p is "
                "corrected by Holm's method for the pairs of its test.",
            ],
        ),
        Section("What each row was computed from", sources_grid(rows), ["The SHA-256 of the file, in part."]),
    ]
    return [part for part in parts if len(part.grid) > 1]


def metrics_grid(rows: Rows) -> list[list[str]]:
    """One row a test and detector: metrics, n, the share of fakes and coverage."""
    grid = [["test", "detector", *HEADINGS.values(), "n", "fake", "coverage"]]
    for row in rows:
        cells = [percent(row[name]) for name in (*FIGURES, "fake", "coverage")]
        cells.insert(len(FIGURES), f"{row['n']:,}")
        grid.append([row["test"], row["detector"], *cells])
    return grid


def intervals_grid(rows: Rows) -> list[list[str]]:
    """One row a test and detector that has intervals."""
    grid = [["test", "detector", *HEADINGS.values(), "subjects"]]
    for row in rows:
        if any(row["intervals"].values()):
            cells = [ends(row["intervals"][name]) for name in FIGURES]
            grid.append([row["test"], row["detector"], *cells, f"{row['subjects']:,}"])
    return grid


def errors_grid(rows: Rows) -> list[list[str]]:
    """The same metrics with clips that could not be scored counted as errors; only rows that have some."""
    grid = [["test", "detector", *HEADINGS.values(), "not scored", "of"]]
    for row in rows:
        if row["scored"] < row["n"]:
            cells = [percent(row[name + AS_ERRORS]) for name in FIGURES]
            grid.append([row["test"], row["detector"], *cells, f"{row['n'] - row['scored']:,}", f"{row['n']:,}"])
    return grid


def groups_grid(groups: Rows) -> list[list[str]]:
    """Means over the tests of each group."""
    grid = [["group", "detector", *HEADINGS.values(), "tests"]]
    for row in groups:
        grid.append([row["group"], row["detector"], *(percent(row[name]) for name in FIGURES), str(row["tests"])])
    return grid


def pairs_grid(pairs: Rows) -> list[list[str]]:
    """DeLong's test of every two detectors, before and after Holm's correction."""
    grid = [["test", "first", "second", "first less second, %", "p", "p, Holm", "n"]]
    for pair in pairs:
        values = [percent(pair["difference"]), *(_p(pair[name]) for name in ("p", "holm"))]
        grid.append([pair["test"], pair["first"], pair["second"], *values, f"{pair['n']:,}"])
    return grid


def sources_grid(rows: Rows) -> list[list[str]]:
    """The checkpoint of each fold of a row, or the file of another's scores."""
    grid = [["test", "detector", "fold", "checkpoint or scores", "SHA-256"]]
    for row in rows:
        for fold, path in row["sources"].items():
            grid.append([row["test"], row["detector"], fold, path, row["sources_sha256"][fold][:DIGITS]])
    return grid


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
            notes.append(f"{where}: {count:,} clips not scored: {reason}.")
    return notes


def flat(rows: Rows) -> pd.DataFrame:
    """The rows as plain columns, fractions from 0 to 1."""
    names = ["test", "detector", "protocol", "trained_on", "folds", "n", "scored", "coverage", "fake", "subjects"]
    table = pd.DataFrame([{name: row[name] for name in names} for row in rows])
    for name in FIGURES:
        table[name] = [row[name] for row in rows]
        for position, end in enumerate(("low", "high")):
            pairs = [row["intervals"][name] for row in rows]
            table[f"{name}_{end}"] = [None if pair is None else pair[position] for pair in pairs]
        table[name + AS_ERRORS] = [row[name + AS_ERRORS] for row in rows]
    table["trained_subjects_tested"] = [row["trained_subjects_tested"] for row in rows]
    return table.assign(sources=["; ".join(f"{fold}: {path}" for fold, path in row["sources"].items()) for row in rows])


def page(title: str, parts: Sequence[Section], figure: Path) -> str:
    """A page that loads nothing from elsewhere: the heat map and the tables."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("suite.html").render(
        title=title,
        style=(REPORT / "page.css").read_text(encoding="utf-8"),
        parts=parts,
        heat_map=base64.b64encode(figure.read_bytes()).decode("ascii"),
    )


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
