"""The command `main.py report`: one HTML file for a reviewer, with nothing outside it."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scripts.evaluate.tables import kinds_sections, metrics_section, people_sections
from scripts.report.cautions import cautions, skipped
from scripts.report.clips import CLASSES, COUNT, HEIGHT, Corpus, hardest, kind_of
from scripts.report.figures import figures
from scripts.reproduce.table import describe, notes_of, sections
from utils.errors import DataError
from utils.files import write_atomic
from utils.runs import Run, differing, find_runs, published
from utils.summary import fold_grid
from utils.table import Section, explained

log = logging.getLogger(__name__)

FILE = "report.html"
FOLDER = Path(__file__).parent
LARGE = 10_000_000  # bytes
ABSENT = "(not recorded)"
OF_CLIPS = ["truth", "subject", "category", "method", "fold", "score", "loss"]
NUMERIC = set("0123456789.,+-±%∞†to \u00a0—")  # of which cells of numbers and intervals are made


def report(
    outputs: Path = Path("outputs"),
    runs: str | None = None,
    data_root: Path | None = None,
    out: Path | None = None,
) -> None:
    """Write a report on runs as one HTML file: tables, figures, hardest clips, settings, what to object to.

    Parameters
    ----------
    outputs
        Folder of the outputs: a folder a run in its folder results, training curves in its folder log.
    runs
        Runs to show, such as AVDF,MRDF_CE; by default all.
    data_root
        The corpus, from which the hardest clips are shown; for a csv, that file or the folder of clips.csv.
    out
        The file to write; by default report.html in the folder of the results.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or no such run.
    """
    results = outputs / "results"
    out = out or results / FILE
    if out.is_dir():
        raise IsADirectoryError(f"--out {out}: is a folder, but must be a file, such as {out / FILE}")
    if data_root is not None and not data_root.exists():
        raise FileNotFoundError(f"--data_root {data_root}: no such folder; without it the report shows no clips")
    text = build(find_runs(results, runs), outputs / "log", Corpus(data_root))
    write_atomic(out, text)
    size = out.stat().st_size
    log.info("report: %s, %.1f MB", out, size / 1e6)
    if size > LARGE:
        log.warning("%s is large; --runs makes a report on fewer runs", out)


def build(runs: Sequence[Run], logs: Path, corpus: Corpus) -> str:
    """Build the page.

    Parameters
    ----------
    runs
        What `utils.runs.find_runs` gives.
    logs
        Folder of the logs, a folder a run in it; it need not be there.
    corpus
        Where clips come from.
    """
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["numeric"] = numeric_columns
    page = environment.get_template("page.html").render(
        style=style,
        script=script,
        # Only this very script runs, whatever the data hold.
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        detectors=_detectors(runs),
        cautions=cautions(runs),
        problems=[f"{run.name}: {problem}" for run in runs for problem in run.problems],
        runs=[_run(run, logs, corpus) for run in runs],
    )
    # Bytes of a file name that are no UTF-8 would stop the page from being written.
    return page.lstrip().encode("utf-8", "replace").decode("utf-8")


def numeric_columns(grid: Sequence[Sequence[str]]) -> list[bool]:
    """Tell which columns of a table hold numbers, by which they are sorted; the first is the heading of its row."""
    return [
        k > 0 and all(set(str(row[k])) <= NUMERIC for row in grid[1:]) and any(row[k] for row in grid[1:])
        for k in range(len(grid[0]) if grid else 0)
    ]


def _detectors(runs: Sequence[Run]) -> dict[str, Any]:
    """All runs beside the paper's numbers, and by category: mean ± standard deviation over the folds."""
    rows, unread = [], []
    for run in runs:
        try:
            rows += describe(run)
        except (DataError, OSError) as error:
            unread.append(f"{run.name} is not in the table: {error}.")
    notes = notes_of(rows) if rows else []
    return {"tables": sections(rows), "notes": [*unread, *notes, "— stands where there is no number."]}


def _run(run: Run, logs: Path, corpus: Corpus) -> dict[str, Any]:
    """What the page says of one run."""
    log.info("%s: drawing figures and looking for clips", run.name)
    log_dir = logs / run.name
    drawn, absent = figures(run, log_dir if log_dir.is_dir() else None)
    facts = [
        f"Detector: {run.shared('model_type') or 'not recorded, or not the same in all folds'}",
        f"Corpus: {run.shared('corpus') or 'not recorded, or not the same in all folds'}",
        f"Folds: {', '.join(run.folds) or 'none'}; test clips: {run.n_clips:,}",
    ]
    unreadable = "No scores.csv can be read, so that there is nothing by {}."
    if len(run.parts()) > 1:
        unreadable = "The folds are of several corpora or protocols, so that there is nothing by {}."
    return {
        "name": run.name,
        "facts": facts,
        "problems": run.problems,
        "folds": _folds(run),
        "kinds": explained(kinds_sections(run.pooled)) if run.pooled else [],
        "no_kinds": unreadable.format("category and method"),
        "people": explained(people_sections(run.pooled)) if run.pooled else [],
        "no_people": unreadable.format("race and gender"),
        "figures": drawn,
        "no_figures": absent,
        "hardest": _hardest(run, corpus),
        "configuration": _configuration(run),
    }


def _folds(run: Run) -> list[tuple[Section, int]]:
    """The metrics of each fold with the mean and the paper's numbers below, of which there are so many; all clips."""
    if not run.metrics:
        return []
    table = run.frame
    averaged = len(run.parts()) == 1
    if averaged:
        table.loc["mean"], table.loc["std"] = run.frame.mean(skipna=False), run.frame.std(ddof=1, skipna=False)
        paper = published(next(iter(run.configs.values()))) if run.shared("model_type") else {}
        if paper:
            table.loc["paper"] = pd.Series(paper, dtype=float)
    feet = averaged + ("paper" in table.index)
    parts = [(Section(f"{run.name}: folds, in percent", fold_grid(table)), feet)]
    if run.pooled:
        pooled = metrics_section(run.pooled, {"resamples": run.resamples, "seed": run.seed})
        whole = pooled._replace(title=f"{run.name}: all folds together. {pooled.title}")
        parts += [(part, 0) for part in explained([whole])]
    return parts


def _hardest(run: Run, corpus: Corpus) -> dict[str, Any] | None:
    """The hardest clips with their frames and audio, or a word why these are not shown; None without scores."""
    if run.clips.empty:
        return None
    chosen = pd.concat([hardest(run.clips, label) for label in CLASSES])
    rows = []
    for clip in chosen.itertuples():
        loss = f"{clip.loss:.3f}" if math.isfinite(clip.loss) else "∞"
        rows.append([clip.file, CLASSES[clip.label], clip.subject, clip.category, clip.method, clip.fold,
                     f"{clip.score:.4f}", loss])  # fmt: skip
    known = next(iter(run.configs.values()), {})  # of another fold, where that of a clip is missing
    configs = [run.configs.get(fold, known) for fold in chosen["fold"]]
    shown, why = [], "--data_root says where the corpus lies"
    if corpus.root is not None:
        shown = [corpus.show(file, config) for file, config in zip(chosen["file"], configs, strict=True)]
        problems = [corpus.problems[kind] for kind in sorted(set(map(kind_of, configs))) if kind in corpus.problems]
        why = "" if any(shown) else "; ".join(problems) or f"{corpus.root} has none of these clips"
    return {
        "count": COUNT,
        "n": len(run.clips),
        "height": HEIGHT,
        "table": Section(f"{run.name}: hardest clips", [["file", *OF_CLIPS], *rows]),
        "absent": [name for label, name in CLASSES.items() if not (chosen["label"] == label).any()],
        "cards": list(zip(rows, shown, strict=True)) if any(shown) else [],
        "why": why,
    }


def _configuration(run: Run) -> dict[str, Any] | None:
    """Every setting of a run; those in which its folds differ come first."""
    if not run.configs:
        return None
    configs = {fold: flat(config) for fold, config in run.configs.items()}
    body = []
    for name in dict.fromkeys(name for config in configs.values() for name in config if name != "fold"):
        values: dict[str, list[str]] = {}
        for fold, config in configs.items():
            values.setdefault(config.get(name, ABSENT), []).append(fold)
        parts = [f"{', '.join(folds)}: {value}" for value, folds in values.items()]
        body.append([name, next(iter(values)) if len(values) == 1 else "; ".join(parts)])
    off = differing(run.configs)
    grid = [[name, "; ".join(f"{', '.join(f)}: {v}" for v, f in values.items())] for name, values in off.items()]
    left_out = [[file, why] for file, why in skipped(run).items()]
    head = ["setting", "value"]
    return {
        "several": len(configs) > 1,
        "differing": list(off),
        "off": Section(f"{run.name}: settings that differ between folds", [head, *grid]),
        "all": Section(f"{run.name}: all settings", [head, *body]),
        "skipped": Section(f"{run.name}: clips that were skipped", [["file", "why"], *left_out]),
    }


def flat(config: Mapping[str, Any]) -> dict[str, str]:
    """Turn a configuration into text, with names such as environment.versions.torch; skipped clips are counted."""
    settings: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            settings |= {f"{name}.{key}": text for key, text in flat(value).items()}
        elif name == "skipped" and isinstance(value, list):
            settings[name] = f"{len(value):,} clips"
        else:
            settings[str(name)] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return settings
