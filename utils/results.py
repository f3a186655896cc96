"""Results on disk: a folder a fold with its figures and scores, and a summary of the folds beside the paper."""

from __future__ import annotations

import itertools
import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from dataset.files import markdown_table, write_atomic
from utils.files import to_json
from utils.metrics import evaluate

log = logging.getLogger(__name__)

SCORE_COLUMNS = ["file", "subject", "category", "method", "label", "score", "video_score", "audio_score", "decision"]
TEXT_COLUMNS = ["file", "subject", "category", "method"]
FLOAT_COLUMNS = ["score", "video_score", "audio_score"]
# What a result stands for: results of another checkpoint, data root or configuration are not written over.
IDENTITY_PATHS = ("checkpoint", "data_root")
IDENTITY = ("config_hash", "num_val", "max_frames", "seed")
# What the folds of one run have in common.
RUN_SETTINGS = ("model_type", "recipe", "corpus", "data_root", "seed")
FOLDS = [f"train_{k}" for k in range(1, 6)]
COUNTS = ["n", "n_A", "n_B", "n_C", "n_D"]

# Mean of the five folds of FakeAVCeleb in the paper; its AUC is that of the hard decisions.
PUBLISHED_CORPUS = "FakeAVCeleb"
PUBLISHED = {"MRDF_CE": {"acc": 0.9405, "auc_hard": 0.9243}}

HEADINGS = {
    "acc": "ACC",
    "auc": "AUC",
    "auc_hard": "hard AUC",
    "eer": "EER",
    "ap_real": "AP, real",
    "ap_fake": "AP, fake",
    "audio_auc": "sound AUC",
    "video_auc": "picture AUC",
}
AUC_EXPLAINED = "AUC: of the scores, the probability of real; hard AUC: of the 0/1 decisions, which the paper reports"
CATEGORIES = {
    "A": "real picture, real sound",
    "B": "real picture, fake sound",
    "C": "fake picture, real sound",
    "D": "fake picture, fake sound",
}


def write_fold(folder: Path, table: pd.DataFrame, metrics: dict[str, Any], config: dict[str, Any]) -> None:
    """Write scores.csv and metrics.json of a fold.

    Parameters
    ----------
    folder
        Folder of the fold, such as outputs/results/MRDF_CE/train_2; made if need be.
    table
        One row a clip, with the columns ``SCORE_COLUMNS``.
    metrics
        What ``utils.metrics.evaluate`` returns.
    config
        The resolved configuration, written under "config". If the folder holds results of another checkpoint, data
        root or configuration, these are kept as metrics.1.json and scores.1.csv (or the next free number).
    """
    folder = Path(folder)
    # A float32 column would be shortened on writing; as float64, reading gives back the very same numbers.
    scores = table[SCORE_COLUMNS].astype(dict.fromkeys(FLOAT_COLUMNS, float)).to_csv(index=False, lineterminator="\n")
    figures = to_json({**metrics, "config": config})
    _keep_other_results(folder, config)
    write_atomic(folder / "scores.csv", scores)
    write_atomic(folder / "metrics.json", figures)


def read_scores(path: Path) -> pd.DataFrame:
    """Read a scores.csv, every score exactly as it was written."""
    # Python's float is exact; the parsers of pandas are not in every version.
    floats = dict.fromkeys(FLOAT_COLUMNS, lambda cell: float(cell or "nan"))
    return pd.read_csv(path, converters=dict.fromkeys(TEXT_COLUMNS, str) | floats)


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a metrics.json.

    Raises
    ------
    ValueError
        If the file is not one.
    """
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): delete it and test the fold again") from error
    if not isinstance(metrics, dict) or not {"config", "per_category", "n"} <= metrics.keys():
        raise ValueError(f"{path} does not hold the figures of a fold: delete it and test the fold again")
    return metrics


def _identity(config: dict[str, Any]) -> list[Any]:
    paths = (config.get(name) for name in IDENTITY_PATHS)
    return [*(path and Path(path).resolve() for path in paths), *(config.get(name) for name in IDENTITY)]


def _keep_other_results(folder: Path, config: dict[str, Any]) -> None:
    """Copy results that stand for something else to the next free number, so that they are not lost."""
    earlier = folder / "metrics.json"
    if not earlier.exists():
        return
    try:
        if _identity(read_metrics(earlier)["config"]) == _identity(config):
            return
    except ValueError as error:
        log.warning("%s", error)
    number = next(k for k in itertools.count(1) if not _numbered(folder, k)[0].exists())
    for source, target in zip((earlier, folder / "scores.csv"), _numbered(folder, number), strict=True):
        if source.exists():
            shutil.copy2(source, target)
    text = "%s holds results of another configuration: kept beside as metrics.%d.json and scores.%d.csv"
    log.warning(text, folder, number, number)


def _numbered(folder: Path, number: int) -> tuple[Path, Path]:
    return folder / f"metrics.{number}.json", folder / f"scores.{number}.csv"


def fold_folders(results_dir: Path) -> list[Path]:
    """Folders of a run's folds that have results; not those set aside, such as train_1.1."""
    folders = [path.parent for path in results_dir.glob("train_*/metrics.json") if not path.parent.suffix]
    return sorted(folders, key=lambda folder: (len(folder.name), folder.name))


def read_run(results_dir: Path) -> dict[str, dict[str, Any]]:
    """What metrics.json holds, of each fold of a run that has one."""
    if not (folders := fold_folders(results_dir)):
        raise FileNotFoundError(f"{results_dir} has no train_*/metrics.json: train or test a fold first")
    return {folder.name: read_metrics(folder / "metrics.json") for folder in folders}


def fold_figures(folds: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Figures of folds, one row a fold; ``acc_A`` is ``acc`` of category A, and so on."""
    rows = {}
    for fold, metrics in folds.items():
        rows[fold] = {name: value for name, value in metrics.items() if name not in ("per_category", "config")}
        for category, figures in metrics["per_category"].items():
            rows[fold] |= {f"{name}_{category}": value for name, value in figures.items()}
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("fold")


def read_folds(results_dir: Path) -> pd.DataFrame:
    """Return the figures of the folds that have any, one row a fold; ``acc_A`` is ``acc`` of category A, and so on.

    Raises
    ------
    FileNotFoundError
        If no fold has been tested yet.
    """
    return fold_figures(read_run(Path(results_dir)))


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
    """
    results_dir = Path(results_dir)
    folds = read_run(results_dir)
    configs = {fold: metrics["config"] for fold, metrics in folds.items()}
    corpus, model_type = common(configs, "corpus"), common(configs, "model_type")

    table = fold_figures(folds)
    per_fold = table.drop(columns=COUNTS)
    # skipna=False: a mean over fewer folds than it says would mislead
    table.loc["mean"] = per_fold.mean(skipna=False)
    table.loc["std"] = per_fold.std(ddof=1, skipna=False)
    if published and corpus == PUBLISHED_CORPUS:
        table.loc["paper"] = pd.Series(PUBLISHED.get(model_type, {}), dtype=float)
    clips = pd.concat([read_scores(results_dir / fold / "scores.csv") for fold in folds], ignore_index=True)
    pooled = evaluate(clips)
    table.loc["pooled_auc"] = pd.Series({"auc": pooled["auc"], "n": pooled["n"]}, dtype=float)

    title = _title(model_type, corpus)
    notes = _notes(table, configs)
    _write_summary(results_dir, table, title, notes)
    return table


def percent(value: float | None) -> str:
    """Return a fraction as the paper prints it, in percent with two decimals; empty where there is none."""
    return "" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def fold_table(metrics: dict[str, Any], title: str) -> Group:
    """Return the figures of a fold as tables to print: the whole fold, then its categories."""
    whole = Table(box=box.SIMPLE_HEAD)
    whole.add_column(f"{metrics['n']} clips")
    whole.add_column("%", justify="right")
    for name, heading in HEADINGS.items():
        if metrics.get(name) is not None:
            whole.add_row(heading, percent(metrics[name]))

    by_category = Table(box=box.SIMPLE_HEAD)
    by_category.add_column("Category")
    for heading in ("n", "ACC", "AUC"):
        by_category.add_column(heading, justify="right")
    for name, figures in metrics["per_category"].items():
        by_category.add_row(
            f"{name}  {CATEGORIES[name]}", str(figures["n"]), percent(figures["acc"]), percent(figures.get("auc"))
        )
    notes = f"1 = real, 0 = fake. {AUC_EXPLAINED}; of a category: against the clips of A."
    return Group(Text(title, style="bold"), whole, by_category, Text(notes))


def common(configs: dict[str, dict[str, Any]], name: str) -> Any:
    """Return the value of a setting that all folds share, None if they differ."""
    values = [config.get(name) for config in configs.values()]
    return values[0] if all(value == values[0] for value in values) else None


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
