"""Runs of one fold with a checkpoint of next to no weights, and a reader of the cards on them."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from scripts.card.command import FILE, card
from tests import report_files
from tests.score_tables import random_table
from utils.metrics import evaluate
from utils.results import write_fold

RUN = "my run"
CKPT = f"ckpts/{RUN}/{RUN}_train_1.ckpt"
FOLD = Path(f"results/{RUN}/train_1")
TITLES = [
    "What it is", "Data", "Protocol", "Results", "Race and gender", "Calibration", "What the audit found", "Limits",
    "Intended use", "It must not be used for", "Licences and citation",
]  # fmt: skip


class AVDF(torch.nn.Linear):
    """In place of the detector, whose twenty million weights take long to write and to read."""

    def __init__(self) -> None:
        super().__init__(10, 20)
        self.hparams = {"encoder_layers": 0, "train_frontend": False}


def config(**changes: Any) -> dict[str, Any]:
    return report_files.config("train_1", model_type="AVDF", save_name=RUN, data_root="nowhere") | changes


def write(
    outputs: Path,
    table: pd.DataFrame | None = None,
    tested: dict[str, Any] | None = None,
    threshold: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write a checkpoint and its results; `tested` is what the test was configured otherwise."""
    trained, path = config(**changes), outputs / CKPT
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {
        "state_dict": {"weight": torch.zeros(1)},
        "model_type": "AVDF",
        "epoch": 6,
        "config": trained,
        "threshold": threshold,
    }
    torch.save(contents, path)
    table = random_table(1, 40) if table is None else table
    write_fold(outputs / FOLD, table, evaluate(table), trained | {"checkpoint": str(path)} | (tested or {}))
    return outputs


def text_of(outputs: Path, **options: Any) -> str:
    card(outputs / CKPT, outputs=outputs, **{"bootstrap": 40} | options)
    return (outputs / FOLD / FILE).read_text(encoding="utf-8")


def part(text: str, title: str) -> str:
    return re.split(r"^## ", text, flags=re.MULTILINE)[1 + TITLES.index(title)].partition("\n")[2]


def main_table(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in reversed(rows)}  # of rows of one name the first
