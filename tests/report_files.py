"""Runs made by hand, a report on one, and a reader of it."""

import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scripts.report.cautions import cautions
from scripts.report.clips import Corpus
from scripts.report.command import build, report
from tests.conftest import REFERENCE
from tests.score_tables import random_table, table_of
from utils.metrics import evaluate
from utils.options import TrainOptions, plain
from utils.results import write_fold
from utils.runs import find_runs, read_run

HOSTILE = "<script>alert(1)</script>.mp4"
QUOTED = "ä\"'<b onload=x>&amp;.mp4"
VOID = {"img", "meta"}


class Page(HTMLParser):
    """Tags and their attributes; fails where an element is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "an attribute is given twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


def config(fold: str, **changes: Any) -> dict[str, Any]:
    options = plain(TrainOptions(recipe="clean")) | {"corpus": "FakeAVCeleb", "skipped": [], "config_hash": "aa"}
    return options | {"fold": fold, "environment": {"commit": "c0ffee", "hours": 0.5}} | changes


def easy_fold(k: int) -> pd.DataFrame:
    """A fold that is easy; five are just as large as not to be called few."""
    scores = random_table(k, subjects=20, shift=6.0)
    return scores.assign(file=f"{k}/" + scores["file"], subject=f"{k}-" + scores["subject"])


def write_run(folder: Path, tables: dict[str, pd.DataFrame], **changes: Any) -> Path:
    for fold, scores in tables.items():
        write_fold(folder / fold, scores, evaluate(scores), config(fold, **changes))
    return folder


def five_folds(folder: Path, **changes: Any) -> Path:
    return write_run(folder, {f"train_{k}": easy_fold(k) for k in range(1, 6)}, **changes)


def report_corpus(root: Path) -> Path:
    """Make a corpus with a clip of a hostile name and one that is cut short."""
    root.mkdir()
    clip = next((REFERENCE / "corpus" / "original").rglob("*.mp4"))
    (root / "cut.mp4").write_bytes(clip.read_bytes()[:2000])
    for name in ("fine.mp4", QUOTED):
        shutil.copyfile(clip, root / name)
    rows = [(name, "s1", "A") for name in ("cut.mp4", "fine.mp4", QUOTED)]
    pd.DataFrame(rows, columns=["file", "subject", "category"]).to_csv(root / "clips.csv", index=False)
    return root


def everything(folder: Path) -> Path:
    """Write a report on a run of two folds with scores, logs and clips, and return where it lies."""
    first = table_of("AAABCD" * 4, np.linspace(0.02, 0.98, 24), [f"id{k // 6:05d}" for k in range(24)])
    first.loc[:3, "file"] = ["cut.mp4", "fine.mp4", QUOTED, HOSTILE]
    first.loc[3, ["subject", "method"]] = "<i>&"
    first.loc[3, ["score", "decision"]] = 0.99, 1
    second = random_table(5).assign(file=[f"2/{k}.mp4" for k in range(60)])
    write_run(folder / "results" / "MRDF_CE", {"train_1": first, "train_2": second}, dataset="csv")
    logs = folder / "log" / "MRDF_CE" / "train_1" / "version_0"
    logs.mkdir(parents=True)
    pd.DataFrame({"epoch": [0, 1], "val_acc": [0.5, 0.7], "val_loss": [1.0, 0.8]}).to_csv(logs / "metrics.csv")
    report(folder, data_root=report_corpus(folder / "corpus"))
    return folder / "results" / "report.html"


def build_page(results: Path, data_root: Path | None = None) -> Page:
    return Page(build(find_runs(results), results.parent / "log", Corpus(data_root)))


def objections(*folders: Path) -> dict[str, dict[str, str]]:
    return {caution.title: places for caution, places in cautions([read_run(folder) for folder in folders])}
