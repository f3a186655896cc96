"""The table of the detectors beside the paper's numbers, from the folders of the runs alone.

outputs/results/table.md to read, table.tex for a paper, table.csv and table.json (fractions) to go on with
"""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pandas as pd
from rich.console import Console

from scripts.reproduce.folds import DECIDING, FILES
from utils.files import markdown_table, to_json, write_atomic
from utils.options import ModelType
from utils.results import (
    AUC_EXPLAINED,
    CATEGORIES,
    PUBLISHED,
    PUBLISHED_CORPUS,
    common,
    fold_figures,
    fold_folders,
    percent,
    read_run,
)

log = logging.getLogger(__name__)

# Figure: heading; the first two are what the paper reports.
FIGURES = {"acc": "ACC", "auc_hard": "hard AUC", "auc": "score AUC"}
BY_CATEGORY = {f"acc_{name}": f"ACC {name}" for name in CATEGORIES} | {f"auc_{name}": f"AUC {name}" for name in "BCD"}
COMPARED = ("acc", "auc_hard")
PUBLISHED_FOLDS = 5
UNKNOWN = "unknown"
LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
} | {character: f"\\{character}" for character in "&%$#_{}"}


class Row(NamedTuple):
    """What is known of a run: figures as fractions, where and with what it was made, and what is odd about it."""

    run: str
    figures: dict[str, Any]
    record: dict[str, list[str]]
    notes: list[str]


def table(results: Path = Path("outputs/results"), runs: str | None = None) -> None:
    """Write the table of all runs, mean and standard deviation over their folds, beside the paper's numbers.

    Parameters
    ----------
    results
        Folder of the results, a folder a run in it; the table is written there.
    runs
        Runs to show, such as AVDF,MRDF_CE; by default all.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or no such run, or a run has no tested fold.
    ValueError
        If a metrics.json cannot be read.
    """
    names = list(dict.fromkeys(runs.split(","))) if runs else _runs_in(results)
    order = get_args(ModelType)
    names.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
    rows = [describe(results / name) for name in names]
    notes = _notes(rows)
    write_atomic(results / "table.json", to_json(_as_json(rows, notes)))
    write_atomic(results / "table.csv", _as_frame(rows).to_csv(index=False, lineterminator="\n"))
    write_atomic(results / "table.tex", _as_latex(rows, notes))
    text = _as_markdown(rows, notes)
    write_atomic(results / "table.md", text)
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
    log.info("table: %s, and .csv, .tex, .json beside it", results / "table.md")


def _runs_in(results: Path) -> list[str]:
    if not results.is_dir():
        raise FileNotFoundError(f"{results}: no such folder; --results is the folder that holds a folder for each run")
    names = [folder.name for folder in results.iterdir() if folder.is_dir() and fold_folders(folder)]
    if not names:
        raise FileNotFoundError(f"{results} has no run with a tested fold: train one first, or give --results")
    return names


def describe(folder: Path) -> Row:
    """Read a run.

    Raises
    ------
    FileNotFoundError
        If no fold of it has been tested.
    ValueError
        If a metrics.json cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run")
    folds = read_run(folder)
    configs = {fold: metrics["config"] for fold, metrics in folds.items()}
    cells = fold_figures(folds)
    figures: dict[str, Any] = {"run": folder.name, "model_type": common(configs, "model_type")}
    figures |= {"folds": len(folds), "clips": int(cells["n"].sum())}
    for name in [*FIGURES, *BY_CATEGORY]:
        values = cells[name] if name in cells else pd.Series([math.nan])
        # skipna=False: a mean over fewer folds than it says would mislead
        figures[f"{name}_mean"] = values.mean(skipna=False)
        figures[f"{name}_std"] = values.std(ddof=1, skipna=False)
    is_published = common(configs, "corpus") == PUBLISHED_CORPUS
    published = PUBLISHED.get(figures["model_type"], {}) if is_published else {}
    for name in COMPARED:
        figures[f"{name}_paper"] = published.get(name, math.nan)
        figures[f"{name}_difference"] = figures[f"{name}_mean"] - figures[f"{name}_paper"]
    record = _record(list(configs.values()))
    hours = [config.get("environment", {}).get("hours") for config in configs.values()]
    figures["hours"] = math.nan if None in hours else sum(hours)
    notes = [*_what_it_is(folder.name, configs), *_oddities(folder.name, configs), *_gaps(figures, cells)]
    return Row(folder.name, figures, record, notes)


def _record(configs: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Corpus, commit, seed, versions and hardware, each with all values that occur among the folds."""
    values: dict[str, list[str]] = {"corpus": [], "commit": [], "seed": [], "versions": [], "hardware": []}
    for config in configs:
        made = config.get("environment") or {}
        versions = ", ".join(f"{name} {number}" for name, number in (made.get("versions") or {}).items())
        hardware = ", ".join(made[name] for name in ("gpu", "cpu") if made.get(name))
        found = (config.get("corpus"), made.get("commit"), config.get("seed"), versions, hardware)
        for several, value in zip(values.values(), found, strict=True):
            text = UNKNOWN if value in (None, "") else str(value)
            if text not in several:
                several.append(text)
    return values


def _oddities(run: str, configs: dict[str, dict[str, Any]]) -> list[str]:
    """Say whether the folds of a run are of different configurations, or one was tested with another's checkpoint."""
    notes = [
        f"{run}: {fold} was tested with {name}, which may have been trained on its subjects."
        for fold, name in of_other_folds(configs).items()
    ]
    if which := differing(configs):
        notes.append(f"{run}: its folds are of different configurations ({which}): the mean says little.")
    return notes


def of_other_folds(configs: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Names of the checkpoints that are those of another fold than was tested with them, by the fold."""
    names = {fold: Path(str(config.get("checkpoint") or "")) for fold, config in configs.items()}
    return {
        fold: name.name
        for fold, name in names.items()
        if re.search(r"train_\d$", name.stem) and not name.stem.endswith(fold)
    }


def differing(configs: dict[str, dict[str, Any]]) -> str:
    """Name what differs between folds that should be of one configuration; "" if they are."""
    same_hash = len({config.get("config_hash") for config in configs.values()}) == 1
    names = [
        name
        for name in [*DECIDING, "corpus"]
        if not (same_hash and name in FILES) and len({str(config.get(name)) for config in configs.values()}) > 1
    ]
    return ", ".join(names) or ("" if same_hash else "data or weights")


def _what_it_is(run: str, configs: dict[str, dict[str, Any]]) -> list[str]:
    """Say what the name of a run does not: its detector and its recipe."""
    model_type, recipe = common(configs, "model_type"), common(configs, "recipe")
    if recipe is None or (model_type in (None, run) and recipe == "released"):
        return []
    return [f"{run}: {model_type or 'several detectors'}, recipe {recipe}."]


def _gaps(figures: dict[str, Any], cells: pd.DataFrame) -> list[str]:
    """Say why a cell is empty, and where a difference to the paper is that of fewer folds."""
    run = figures["run"]
    notes = []
    for name, heading in (FIGURES | BY_CATEGORY).items():
        without = cells.index[cells[name].isna()] if name in cells else []
        if len(without):
            notes.append(f"{run}: {heading} is empty, as it is in {', '.join(map(str, without))}.")
    compared = any(not math.isnan(figures[f"{name}_difference"]) for name in COMPARED)
    if compared and figures["folds"] != PUBLISHED_FOLDS:
        notes.append(f"{run}: {figures['folds']} of {PUBLISHED_FOLDS} folds, so that Δ says little.")
    return notes


def _notes(rows: list[Row]) -> list[str]:
    """Sentences that belong under the table."""
    notes = [
        "Percent; mean ± standard deviation of a sample over the folds; Δ: points above the paper. 1 = real, 0 = fake.",
        f"{AUC_EXPLAINED}; of a category: of the scores, against the clips of A.",
        "; ".join(f"{name}: {meaning}" for name, meaning in CATEGORIES.items()) + ".",
        f"paper: the published mean of the five folds of {PUBLISHED_CORPUS}; empty where no number is known.",
        *(note for row in rows for note in row.notes),
    ]
    for name, heading in (("corpus", "Data"), ("commit", "Git commit"), ("seed", "Seed"), ("versions", "Versions"),
                          ("hardware", "Hardware")):  # fmt: skip
        values = list(dict.fromkeys(value for row in rows for value in row.record[name]))
        notes.append(f"{heading}: {'; '.join(values)}.")
    hours = [row.figures["hours"] for row in rows if not math.isnan(row.figures["hours"])]
    if hours:
        notes.append(f"Training: {sum(hours):.2f} hours.")
    return notes


def _as_json(rows: list[Row], notes: list[str]) -> dict[str, Any]:
    return {"rows": [row.figures | {"record": row.record, "notes": row.notes} for row in rows], "notes": notes}


def _as_frame(rows: list[Row]) -> pd.DataFrame:
    records = [{name: "; ".join(values) for name, values in row.record.items()} for row in rows]
    return pd.DataFrame([row.figures | record for row, record in zip(rows, records, strict=True)])


def _main_grid(rows: list[Row]) -> list[list[str]]:
    """Headings and cells: what the paper reports beside its numbers, the score AUC, and what it rests on."""
    compared = [cell for name in COMPARED for cell in (FIGURES[name], "paper", "Δ")]
    grid = [["detector", *compared, FIGURES["auc"], "folds", "clips", "hours"]]
    for run, figures, *_ in rows:
        cells = [
            cell
            for name in COMPARED
            for cell in (_spread(figures, name), percent(figures[f"{name}_paper"]), _points(figures, name))
        ]
        hours = "" if math.isnan(figures["hours"]) else f"{figures['hours']:.2f}"
        grid.append([run, *cells, _spread(figures, "auc"), str(figures["folds"]), str(figures["clips"]), hours])
    return grid


def _category_grid(rows: list[Row]) -> list[list[str]]:
    body = [[run, *(_spread(figures, name) for name in BY_CATEGORY)] for run, figures, *_ in rows]
    return [["detector", *BY_CATEGORY.values()], *body]


def _spread(figures: dict[str, Any], name: str) -> str:
    """Mean ± standard deviation, which one fold does not have."""
    mean, deviation = percent(figures[f"{name}_mean"]), percent(figures[f"{name}_std"])
    return f"{mean} ± {deviation}" if deviation else mean


def _points(figures: dict[str, Any], name: str) -> str:
    """The difference as it is between the two numbers beside it."""
    if not percent(figures[f"{name}_difference"]):
        return ""
    points = round(100 * figures[f"{name}_mean"], 2) - round(100 * figures[f"{name}_paper"], 2)
    return f"{points:+.2f}"


def _as_markdown(rows: list[Row], notes: list[str]) -> str:
    grids = [*markdown_table(_main_grid(rows)), "", *markdown_table(_category_grid(rows))]
    return "\n".join(["# Detectors", "", *grids, "", *(f"- {note}" for note in notes)]) + "\n"


def _as_latex(rows: list[Row], notes: list[str]) -> str:
    """Two tabulars for a document that loads booktabs."""
    lines = [r"% needs \usepackage{booktabs}"]
    for grid in (_main_grid(rows), _category_grid(rows)):
        head, *body = [f"{' & '.join(map(_escape, line))} \\\\" for line in grid]
        columns = "l" + "r" * (len(grid[0]) - 1)
        lines += [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
        lines += [r"\end{tabular}", ""]
    return "\n".join([*lines, *(f"% {note}" for note in notes)]) + "\n"


def _escape(text: str) -> str:
    """Text for LaTeX, which has signs of its own."""
    text = re.sub(r"[\\~^±Δ&%$#_{}]", lambda match: LATEX_SPECIAL[match[0]], text)
    return re.sub(r"^-(?=\d)", "$-$", text)  # a minus, not a hyphen
