"""The command `main.py report`: one HTML file for a reviewer, with nothing outside it."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scripts.evaluate.tables import kinds_sections, metrics_section, people_sections
from scripts.report.cautions import cautions, skipped
from scripts.report.clips import CLASSES, COUNT, HEIGHT, Corpus, hardest, kind_of
from scripts.report.figures import figures
from scripts.report.page import FOLDER, embedded, render
from scripts.suite.table import sections as suite_sections
from scripts.table.command import describe, notes_of, sections
from utils.errors import DataError
from utils.files import write_atomic
from utils.runs import Run, by_value, differing, find_runs
from utils.summary import fold_grid, with_means
from utils.table import Section

log = logging.getLogger(__name__)

FILE = "report.html"
LARGE = 10_000_000  # bytes
ABSENT = "(not recorded)"
OF_CLIPS = ["truth", "subject", "category", "method", "fold", "score", "loss"]


def report(
    outputs: Path = Path("outputs"),
    runs: str | None = None,
    data_root: Path | None = None,
    out: Path | None = None,
    suite: list[Path] | None = None,
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
    suite
        Folders that main.py suite wrote, such as outputs/suite/NAME, whose tables and heat maps are shown too.

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
    found = [] if suite and runs is None and not results.is_dir() else find_runs(results, runs)
    text = build(found, outputs / "log", Corpus(data_root), suite or ())
    write_atomic(out, text)
    size = out.stat().st_size
    log.info("report: %s, %.1f MB", out, size / 1e6)
    if size > LARGE:
        log.warning("%s is large; --runs makes a report on fewer runs", out)


def build(runs: Sequence[Run], logs: Path, corpus: Corpus, suites: Sequence[Path] = ()) -> str:
    """Build the page on runs, with training curves where `logs` has a folder of a run, and on folders of suites."""
    return render(
        FOLDER / "page.html",
        title="Deepfake detectors: report",
        detectors=_detectors(runs),
        cautions=cautions(runs),
        problems=[f"{run.name}: {problem}" for run in runs for problem in run.problems],
        runs=[_run(run, logs, corpus) for run in runs],
        suites=[_suite(folder) for folder in suites],
    )


def _suite(folder: Path) -> dict[str, Any]:
    """The tables of a suite, and its heat map."""
    path = folder / "suite.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"name": folder.name, "parts": suite_sections(found), "heat_map": embedded(folder / "heatmap.png")}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: does not hold a suite ({error}); run main.py suite again") from error


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
    return {
        "name": run.name,
        "detector": run.shared("model_type"),
        "corpus": run.shared("corpus"),
        "fold_names": run.folds,
        "n": run.n_clips,
        "mixed": bool(run.mixture),
        "problems": run.problems,
        "folds": _folds(run),
        "kinds": kinds_sections(run.pooled) if run.pooled else [],
        "people": people_sections(run.pooled) if run.pooled else [],
        "figures": drawn,
        "no_figures": absent,
        "hardest": _hardest(run, corpus),
        "configuration": _configuration(run),
    }


def _folds(run: Run) -> list[tuple[Section, int]]:
    """The metrics of each fold with the mean and the paper's numbers below, of which there are so many; all clips."""
    if not run.metrics:
        return []
    table = run.frame if run.mixture else with_means(run)
    feet = ("mean" in table.index) + ("paper" in table.index)
    parts = [(Section(f"{run.name}: folds, in percent", fold_grid(table)), feet)]
    if run.pooled:
        pooled = metrics_section(run.pooled, {"resamples": run.resamples, "seed": run.seed})
        parts.append((pooled._replace(title=f"{run.name}: all folds together. {pooled.title}"), 0))
    return parts


def _hardest(run: Run, corpus: Corpus) -> dict[str, Any] | None:
    """The hardest clips with their frames and audio, or why these are not shown; None without scores."""
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
    names = dict.fromkeys(name for config in configs.values() for name in config if name != "fold")
    settings = {name: by_value({fold: config.get(name, ABSENT) for fold, config in configs.items()}) for name in names}
    off = differing(run.configs)
    left_out = [[file, why] for file, why in skipped(run).items()]
    head = ["setting", "value"]

    def told(values: Mapping[str, list[str]]) -> str:
        return "; ".join(f"{', '.join(folds)}: {value}" for value, folds in values.items())

    return {
        "several": len(configs) > 1,
        "differing": list(off),
        "off": Section(
            f"{run.name}: settings that differ between folds", [head, *([k, told(v)] for k, v in off.items())]
        ),
        "all": Section(
            f"{run.name}: all settings",
            [head, *([k, next(iter(v)) if len(v) == 1 else told(v)] for k, v in settings.items())],
        ),
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
