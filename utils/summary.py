"""The summary of a run: its folds, their mean and standard deviation, and the paper's numbers beside them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from utils.files import markdown_table, to_json, write_atomic
from utils.metrics import evaluate
from utils.results import (
    AUC_EXPLAINED,
    CATEGORIES,
    FOLDS,
    HEADINGS,
    PUBLISHED,
    PUBLISHED_CORPUS,
    common,
    fold_figures,
    percent,
    read_whole_folds,
)

# What the folds of one run have in common.
RUN_SETTINGS = ("model_type", "recipe", "corpus", "data_root", "seed")
COUNTS = ["n", "n_A", "n_B", "n_C", "n_D"]


def summarise(results_dir: Path, published: bool = True) -> pd.DataFrame:
    """Summarise the folds of a run and write summary.json, summary.csv and summary.md beside them.

    Parameters
    ----------
    results_dir
        Folder of a run, such as outputs/results/MRDF_CE.
    published
        Whether to show the paper's numbers. They are shown for FakeAVCeleb only, whatever this says.

    Returns
    -------
    pandas.DataFrame
        Fractions from 0 to 1. A row a fold, then "mean", "std" (of a sample; empty with one fold), "paper" where it
        is shown, and "pooled_auc": the AUC of the scores of all test clips of the folds together.

    Raises
    ------
    FileNotFoundError
        If there is no fold whose files can be read. One whose files cannot be is left out, and the log says so.
    """
    results_dir = Path(results_dir)
    folds = read_whole_folds(results_dir)
    configs = {fold: metrics["config"] for fold, (metrics, _) in folds.items()}
    corpus, model_type = common(configs, "corpus"), common(configs, "model_type")

    table = fold_figures({fold: metrics for fold, (metrics, _) in folds.items()})
    per_fold = table.drop(columns=COUNTS)
    # skipna=False: a mean over fewer folds than it says would mislead
    table.loc["mean"] = per_fold.mean(skipna=False)
    table.loc["std"] = per_fold.std(ddof=1, skipna=False)
    if published and corpus == PUBLISHED_CORPUS:
        table.loc["paper"] = pd.Series(PUBLISHED.get(model_type, {}), dtype=float)
    clips = pd.concat([scores for _, scores in folds.values()], ignore_index=True)
    pooled = evaluate(clips)
    table.loc["pooled_auc"] = pd.Series({"auc": pooled["auc"], "n": pooled["n"]}, dtype=float)

    title = _title(model_type, corpus)
    notes = _notes(table, configs)
    _write_summary(results_dir, table, title, notes)
    return table


def _title(model_type: str | None, corpus: str | None) -> str:
    model = model_type or "Detector"
    if corpus == "miniature":
        return f"{model} on the synthetic miniature (not FakeAVCeleb: not comparable with published numbers)"
    return f"{model} on {corpus}" if corpus else model


def _notes(table: pd.DataFrame, configs: dict[str, dict[str, Any]]) -> list[str]:
    """Sentences that belong under the table."""
    pooled = table.loc["pooled_auc"]
    notes = [
        "Percent; mean ± standard deviation over the folds. 1 = real, 0 = fake.",
        f"{AUC_EXPLAINED}.",
        "pooled_auc, AUC of the scores over the pooled test clips of the folds: "
        f"{percent(pooled['auc']) or 'not defined'} (n = {pooled['n']:.0f}).",
    ]
    if "paper" in table.index:
        notes.append("paper: the published mean of the five folds; empty where no number is known.")
    # A table of another corpus may have fewer folds.
    is_table = any(config.get("dataset") == "csv" for config in configs.values())
    missing = [fold for fold in FOLDS if fold not in configs and not is_table]
    if missing:
        notes.append(f"Folds without results: {', '.join(missing)}.")
    differing = [name for name in RUN_SETTINGS if len({str(config.get(name)) for config in configs.values()}) > 1]
    if differing:
        notes.append(f"The folds are not of one run, their {', '.join(differing)} differ: the mean says little.")
    return notes


def _write_summary(results_dir: Path, table: pd.DataFrame, title: str, notes: list[str]) -> None:
    """Write the three forms of one table: json and csv as fractions, md in percent."""
    cells = table.astype(dict.fromkeys(COUNTS, "Int64"))
    rows = cells.astype(object).where(cells.notna(), None).to_dict("index")
    pooled = rows.pop("pooled_auc")
    summary = {
        "title": title,
        "folds": {row: figures for row, figures in rows.items() if row not in ("mean", "std", "paper")},
        "mean": rows["mean"],
        "std": rows["std"],
        "paper": rows.get("paper"),
        "pooled_auc": pooled["auc"],
        "pooled_n": pooled["n"],
        "notes": notes,
    }
    write_atomic(results_dir / "summary.json", to_json(summary))
    write_atomic(results_dir / "summary.csv", cells.to_csv(lineterminator="\n"))
    lines = [f"# {title}", "", *_markdown_table(table), "", *(f"- {note}" for note in notes)]
    write_atomic(results_dir / "summary.md", "\n".join(lines) + "\n")


def _markdown_table(table: pd.DataFrame) -> list[str]:
    """Return the lines of a Markdown table that also reads well as plain text."""
    headings = {name: heading for name, heading in HEADINGS.items() if table[name].notna().any()}
    headings |= {f"acc_{category}": f"ACC {category}" for category in CATEGORIES}
    grid = [["fold", "n", *headings.values()]]
    for fold, row in table.drop(index=["mean", "std", "pooled_auc"]).iterrows():
        count = "" if math.isnan(row["n"]) else f"{row['n']:.0f}"
        grid.append([str(fold), count, *(percent(row[name]) for name in headings)])
    spread = {name: percent(table.at["std", name]) for name in headings}
    means = [percent(table.at["mean", name]) + (f" ± {spread[name]}" if spread[name] else "") for name in headings]
    grid.insert(len(grid) - ("paper" in table.index), ["mean", "", *means])
    return markdown_table(grid)
