"""The table of the detectors beside the paper's numbers, from the folders of the runs alone.

outputs/results/table.md to read, table.tex for a paper, table.csv and table.json (fractions) to go on with
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console

from utils.errors import DataError
from utils.files import to_json, write_atomic
from utils.results import CATEGORIES
from utils.runs import PUBLISHED_CORPUS, PUBLISHED_FOLDS, Run, find_runs, objections
from utils.summary import with_means
from utils.table import AUC_EXPLAINED, Section, as_latex, as_markdown, percent, points, with_deviation

log = logging.getLogger(__name__)

# Metric: heading; the first two are what the paper reports.
METRICS = {"acc": "ACC", "auc_hard": "hard AUC", "auc": "score AUC"}
BY_CATEGORY = {f"acc_{name}": f"ACC {name}" for name in CATEGORIES} | {f"auc_{name}": f"AUC {name}" for name in "BCD"}
COMPARED = ("acc", "auc_hard")
RECORD = {"corpus": "Data", "commit": "Git commit", "seed": "Seed", "versions": "Versions", "hardware": "Hardware"}
UNKNOWN = "unknown"


class Row(NamedTuple):
    """What is known of the folds of a run on one corpus under one protocol."""

    run: str
    tested_on: tuple[str, str]  # corpus and protocol
    metrics: dict[str, Any]  # fractions
    record: dict[str, list[str]]  # where and with what they were made: all values that occur among the folds
    notes: list[str]  # what is odd about it


def table(outputs: Path = Path("outputs"), runs: str | None = None) -> None:
    """Write the table of all runs, mean and standard deviation over their folds, beside the paper's numbers.

    Parameters
    ----------
    outputs
        Folder of the outputs; its folder results has a folder a run in it, and the table is written there.
    runs
        Runs to show, such as AVDF,MRDF_CE; by default all.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such folder or run, a run has no tested fold, or a metrics.json cannot be read.
    """
    results = outputs / "results"
    rows = [row for run in find_runs(results, runs) for row in describe(run)]
    parts = [*sections(rows), Section("Notes", [], notes_of(rows))]
    listed = [{**row.metrics, "record": row.record, "notes": row.notes} for row in rows]
    write_atomic(results / "table.json", to_json({"rows": listed, "notes": parts[-1].notes}))
    records = [{name: "; ".join(values) for name, values in row.record.items()} for row in rows]
    frame = pd.DataFrame([row.metrics | record for row, record in zip(rows, records, strict=True)])
    write_atomic(results / "table.csv", frame.to_csv(index=False, lineterminator="\n"))
    write_atomic(results / "table.tex", as_latex(parts))
    text = as_markdown("Detectors", parts)
    write_atomic(results / "table.md", text)
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
    log.info("table: %s, and .csv, .tex, .json beside it", results / "table.md")


def describe(run: Run) -> list[Row]:
    """Describe a run: a row for each corpus and protocol that its folds were tested on, mostly one.

    `DataError` says so if a metrics.json cannot be read, FileNotFoundError if no fold has been tested.
    """
    if run.damaged:
        raise DataError(run.damaged[0])
    if not run.metrics:
        raise FileNotFoundError(f"{run.folder} has no train_*/metrics.json: train or test a fold first")
    return [_describe(part, key) for key, part in run.parts().items()]


def _describe(run: Run, tested_on: tuple[str, str]) -> Row:
    configs = list(run.configs.values())
    metrics: dict[str, Any] = {"run": run.name, "model_type": run.shared("model_type"), "protocol": tested_on[1]}
    metrics |= {"folds": len(configs), "clips": int(run.frame["n"].sum())}
    means = with_means(run).reindex(columns=[*METRICS, *BY_CATEGORY])
    for name in means:
        metrics[f"{name}_mean"], metrics[f"{name}_std"] = means.at["mean", name], means.at["std", name]
    for name in COMPARED:
        metrics[f"{name}_paper"] = means.at["paper", name] if "paper" in means.index else math.nan
        metrics[f"{name}_difference"] = metrics[f"{name}_mean"] - metrics[f"{name}_paper"]
    hours = [(config.get("environment") or {}).get("hours") for config in configs]
    metrics["hours"] = math.nan if None in hours else sum(hours)
    return Row(run.name, tested_on, metrics, _record(configs), _notes(run, metrics))


def _notes(run: Run, metrics: Mapping[str, Any]) -> list[str]:
    """Say what the name of a run does not, what to object to, and why cells are empty."""
    model_type, recipe, cells = metrics["model_type"], run.shared("recipe"), run.frame
    notes = []
    if recipe is not None and (recipe != "released" or model_type not in (None, run.name)):
        notes.append(f"{model_type or 'several detectors'}, recipe {recipe}.")
    notes += objections(run.configs)
    for name, heading in (METRICS | BY_CATEGORY).items():
        without = cells.index[cells[name].isna()] if name in cells else []
        if len(without):
            notes.append(f"{heading} is empty, as it is in {', '.join(map(str, without))}.")
    compared = any(not math.isnan(metrics[f"{name}_difference"]) for name in COMPARED)
    if compared and metrics["folds"] != len(PUBLISHED_FOLDS):
        notes.append(f"{metrics['folds']} of {len(PUBLISHED_FOLDS)} folds, so that Δ says little.")
    return [f"{run.name}: {sentence}" for sentence in notes]


def _record(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Corpus, commit, seed, versions and hardware."""
    told = []
    for config in configs:
        made = config.get("environment") or {}
        versions = ", ".join(f"{name} {number}" for name, number in (made.get("versions") or {}).items())
        hardware = ", ".join(made[name] for name in ("gpu", "cpu") if made.get(name))
        told.append((config.get("corpus"), made.get("commit"), config.get("seed"), versions, hardware))
    return {
        name: list(dict.fromkeys(UNKNOWN if value in (None, "") else str(value) for value in values))
        for name, values in zip(RECORD, zip(*told, strict=True), strict=True)
    }


def notes_of(rows: Sequence[Row]) -> list[str]:
    """Return the sentences that belong under the tables."""
    notes = [
        "Percent; mean ± standard deviation of a sample over the folds; Δ: points above the paper. 1 = real, 0 = fake.",
        f"{AUC_EXPLAINED}; of a category: of the scores, against the clips of A.",
        "; ".join(f"{name}: {meaning}" for name, meaning in CATEGORIES.items()) + ".",
        f"paper: the published mean of the five folds of {PUBLISHED_CORPUS}; empty where no number is known.",
        *(note for row in rows for note in row.notes),
    ]
    for name, heading in RECORD.items():
        values = list(dict.fromkeys(value for row in rows for value in row.record[name]))
        notes.append(f"{heading}: {'; '.join(values)}.")
    hours = [row.metrics["hours"] for row in rows if not math.isnan(row.metrics["hours"])]
    return [*notes, f"Training: {sum(hours):.2f} hours."] if hours else notes


def sections(rows: Sequence[Row]) -> list[Section]:
    """Return two tables for each corpus and protocol, which are never mixed: all clips, and by category."""
    parts = []
    for tested_on in dict.fromkeys(row.tested_on for row in rows):
        corpus, protocol = tested_on
        where = f"{corpus or 'corpus not recorded'}, {protocol}"
        chosen = [row for row in rows if row.tested_on == tested_on]
        parts.append(Section(f"{where}, in percent", _main_grid(chosen)))
        body = [[row.run, *(_mean(row, name) for name in BY_CATEGORY)] for row in chosen]
        parts.append(Section(f"{where}, by category", [["detector", *BY_CATEGORY.values()], *body]))
    return parts


def _main_grid(rows: Sequence[Row]) -> list[list[str]]:
    """Headings and cells: what the paper reports beside its numbers, the score AUC, and what it rests on."""
    is_published = any(not math.isnan(row.metrics[f"{name}_paper"]) for row in rows for name in COMPARED)
    beside = ["paper", "Δ"] if is_published else []
    compared = [cell for name in COMPARED for cell in (METRICS[name], *beside)]
    grid = [["detector", *compared, METRICS["auc"], "folds", "clips", "hours"]]
    for row in rows:
        cells = [row.run]
        for name in COMPARED:
            mean, paper = row.metrics[f"{name}_mean"], row.metrics[f"{name}_paper"]
            cells += [_mean(row, name), *([percent(paper), points(mean, paper)] if is_published else [])]
        hours = "" if math.isnan(row.metrics["hours"]) else f"{row.metrics['hours']:.2f}"
        grid.append([*cells, _mean(row, "auc"), str(row.metrics["folds"]), str(row.metrics["clips"]), hours])
    return grid


def _mean(row: Row, name: str) -> str:
    return with_deviation(row.metrics[f"{name}_mean"], row.metrics[f"{name}_std"])
