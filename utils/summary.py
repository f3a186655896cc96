"""The summary of a run: its folds, their mean and standard deviation, and the paper's numbers beside them."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group

from utils.files import markdown_table, to_json, write_atomic
from utils.metrics import evaluate
from utils.results import CATEGORIES, SCORES_FILE
from utils.runs import Run, objections, published, read_run
from utils.table import AUC_EXPLAINED, HEADINGS, SHORT, Section, as_tables, counted, percent, with_deviation

log = logging.getLogger(__name__)

COUNTS = ["n", "n_A", "n_B", "n_C", "n_D"]


def summarise(results_dir: Path, not_controlled: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Summarise the folds of a run, in a folder such as outputs/results/MRDF_CE, in summary.json, .csv and .md there.

    What is returned are fractions from 0 to 1: what `with_means` returns, and the row "pooled_auc", the AUC of the
    scores of all test clips of the folds together, which those of several corpora or protocols have not. A fold whose
    files cannot be read is left out, and the log says so; FileNotFoundError if none is left.

    `not_controlled` says of protocols by their names what they do not control; the files say it of those of the folds.
    """
    run = read_run(results_dir)
    whole = []
    for fold in run.folds:
        if fold in run.metrics and len(run.scores.get(fold, ())) == run.metrics[fold]["n"]:
            whole.append(fold)
            continue
        why = [problem for problem in run.problems if f"{run.folder / fold}/" in problem]
        other = f"{run.folder / fold / SCORES_FILE} has not the clips that metrics.json counts: test the fold again"
        log.warning("%s is left out of the summary: %s", fold, "; ".join(why) or other)
    if not whole:
        raise FileNotFoundError("; ".join(run.problems) or f"{run.folder} has no fold to read")
    run = run.of(whole)
    table = with_means(run)
    pooled = evaluate(run.clips) if not run.mixture else {"auc": None, "n": len(run.clips)}
    table.loc["pooled_auc"] = pd.Series({"auc": pooled["auc"], "n": pooled["n"]}, dtype=float)
    _write_summary(run, table, not_controlled or {})
    return table


def with_means(run: Run) -> pd.DataFrame:
    """Return the metrics of the folds, and as rows below "mean", "std" (of a sample) and, where it is known, "paper".

    Folds of several corpora or protocols have an empty mean.
    """
    table = run.frame.reindex(columns=[*run.frame, *(name for name in COUNTS if name not in run.frame)])
    per_fold = table.drop(columns=COUNTS) * (np.nan if run.mixture else 1)
    # skipna=False: a mean over fewer folds than it says would mislead
    table.loc["mean"], table.loc["std"] = per_fold.mean(skipna=False), per_fold.std(ddof=1, skipna=False)
    if not run.mixture and run.shared("model_type") and (paper := published(next(iter(run.configs.values())))):
        table.loc["paper"] = pd.Series(paper, dtype=float)
    return table


def _notes(table: pd.DataFrame, run: Run, not_controlled: Mapping[str, str]) -> list[str]:
    """Sentences that belong under the table."""
    pooled = table.loc["pooled_auc"]
    notes = ["Percent; mean ± standard deviation over the folds. 1 = real, 0 = fake.", f"{AUC_EXPLAINED}."]
    if run.mixture:
        notes.append(f"There is no mean, as the folds are of several corpora or protocols ({run.mixture}).")
    else:
        notes.append(
            "pooled_auc, AUC of the scores over the pooled test clips of the folds: "
            f"{percent(pooled['auc']) or 'not defined'} (n = {pooled['n']:.0f})."
        )
    if "paper" in table.index:
        notes.append("paper: the published mean of the five folds; empty where no number is known.")
    if run.missing:
        notes.append(f"Folds without results: {', '.join(run.missing)}.")
    protocols = dict.fromkeys(config.get("protocol") for config in run.configs.values())
    notes += [f"Not controlled by {name}: {not_controlled[name]}" for name in protocols if name in not_controlled]
    return [*notes, *objections(run.configs)]


def _write_summary(run: Run, table: pd.DataFrame, not_controlled: Mapping[str, str]) -> None:
    """Write the three forms of one table: json and csv as fractions, md in percent."""
    model, corpus = run.shared("model_type") or "Detector", run.shared("corpus")
    title, notes = f"{model} on {corpus}" if corpus else model, _notes(table, run, not_controlled)
    if corpus == "miniature":
        title = f"{model} on the synthetic miniature (not FakeAVCeleb: not comparable with published numbers)"
    cells = table.astype(dict.fromkeys(COUNTS, "Int64"))
    rows = cells.astype(object).where(cells.notna(), None).to_dict("index")
    pooled = rows.pop("pooled_auc")
    summary = {
        "title": title,
        "folds": {row: values for row, values in rows.items() if row not in ("mean", "std", "paper")},
        "mean": rows["mean"],
        "std": rows["std"],
        "paper": rows.get("paper"),
        "pooled_auc": pooled["auc"],
        "pooled_n": pooled["n"],
        "notes": notes,
    }
    write_atomic(run.folder / "summary.json", to_json(summary))
    write_atomic(run.folder / "summary.csv", cells.to_csv(lineterminator="\n"))
    lines = [f"# {title}", "", *markdown_table(fold_grid(table)), "", *(f"- {note}" for note in notes), ""]
    write_atomic(run.folder / "summary.md", "\n".join(lines))


def fold_grid(table: pd.DataFrame) -> list[list[str]]:
    """Return headings and cells of a table of folds, in percent; "mean" and "paper" last, where it has them."""
    headings = {name: HEADINGS[name] for name in SHORT if name in table and table[name].notna().any()}
    headings |= {f"acc_{key}": f"ACC {key}" for key in CATEGORIES if f"acc_{key}" in table}
    grid = [["fold", "n", *headings.values()]]
    for fold, row in table.drop(index=["mean", "std", "paper", "pooled_auc"], errors="ignore").iterrows():
        grid.append([str(fold), f"{row['n']:.0f}", *(percent(row[name]) for name in headings)])
    if "mean" in table.index:
        means = [with_deviation(table.at["mean", name], table.at["std", name]) for name in headings]
        grid.append(["mean", "", *means])
    if "paper" in table.index:
        grid.append(["paper", "", *(percent(table.at["paper", name]) for name in headings)])
    return grid


def fold_table(metrics: Mapping[str, Any], title: str) -> Group:
    """Return the metrics of a fold as tables to print: the whole fold, then its categories."""
    known = [[HEADINGS[name], percent(metrics[name])] for name in SHORT if metrics.get(name) is not None]
    whole = [[f"{metrics['n']} clips", "%"], *known]
    by_category = [["category", "n", "ACC", "AUC"]]
    for name, values in metrics["per_category"].items():
        if values["n"]:
            cells = [str(values["n"]), percent(values["acc"]), percent(values.get("auc"))]
            by_category.append([f"{name}  {CATEGORIES[name]}", *cells])
    notes = [f"1 = real, 0 = fake. {AUC_EXPLAINED}; of a category: against the clips of A."]
    notes += calibration_notes(metrics.get("calibration"))
    return as_tables(title, [Section("The fold", whole), Section("By category", by_category, notes)])


def calibration_notes(record: Mapping[str, Any] | None) -> list[str]:
    """Say what `model.threshold.with_calibration` has found: on which clips, what prior, and what it helps."""
    if not record:
        return []
    before, after = record["before"], record["after"]
    changed = "; ".join(
        f"{name} {before[key]:.4f} before, {after[key]:.4f} after"
        for key, name in (("ece", "ECE"), ("brier", "Brier score"))
    )
    sentences = [
        f"Calibrated (Platt) on {counted(record['clips'], 'clip')}, {record['on']}, of which "
        f"{percent(record['prior'])} % are fake. On the test clips: {changed}.",
        f"The column probability of scores.csv assumes that {percent(record['shown_prior'])} % of the clips are fake: "
        f"then a clip on the threshold of {record['threshold']:.4f} has 50 %.",
    ]
    if record["on_test_clips"]:
        sentences.append("It was fitted on the very clips of this test, which makes it look better than it is.")
    return sentences
