"""What report.html objects to: all that applies, and nothing else."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from scripts.report.cautions import CAUTIONS
from scripts.report.clips import Corpus
from scripts.report.command import build, flat
from tests.report_files import (
    Page,
    config,
    easy_fold,
    five_folds,
    objections,
    write_run,
)
from tests.score_tables import table_of
from utils.metrics import evaluate
from utils.options import TrainOptions
from utils.results import write_fold
from utils.runs import read_run


def test_clean_run_has_only_what_always_applies(tmp_path: Path) -> None:
    assert objections(five_folds(tmp_path / "MRDF_CE")) == {
        "The hard AUC equals the balanced accuracy": {"MRDF_CE": ""}
    }


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"validation": "test"}, "The epoch was picked on the test fold"),
        ({"train_frontend": False}, "The visual front end was not trained"),
        ({"encoder_layers": 0}, "There is no transformer layer"),
        ({"padding": "cut"}, "Scores depend on the batch"),
    ],
)
def test_settings_are_objected_to(tmp_path: Path, changes: dict[str, Any], title: str) -> None:
    folder = five_folds(tmp_path / "MRDF_CE", **changes)
    found = objections(folder)
    assert found.keys() == {title, "The hard AUC equals the balanced accuracy"}
    assert found[title] == {"MRDF_CE": ""}
    scores = easy_fold(2)
    write_fold(folder / "train_2", scores, evaluate(scores), config("train_2"))
    assert objections(folder)[title] == {"MRDF_CE": "train_1, train_3, train_4, train_5"}


def test_other_objections(tmp_path: Path) -> None:
    scores = table_of("AABB", [0.1, 0.2, 0.8, 0.9])
    skipped = [["x.mp4", "truncated"]]
    folder = write_run(tmp_path / "mini", {"train_2": scores}, corpus="miniature", skipped=skipped)
    found = {title: places["mini"] for title, places in objections(folder).items()}
    assert found == {
        "The hard AUC equals the balanced accuracy": "",
        "There are few clips or subjects": "4 clips of 4 subjects, 95 % interval of the AUC 0.00 to 100.00",
        "Folds are missing": "train_1, train_3, train_4, train_5",
        "An AUC of the scores is below 50": "train_2: 0.00, all clips: 0.00",
        "The corpus is not FakeAVCeleb": "miniature",
        "A class or a category is absent": "train_2: no clip of C, D",
        "Clips were skipped": "1 clip",
    }
    # Of which protocol the folds are is not known.
    write_run(folder, {"train_2": scores}, dataset="csv", corpus="own")
    assert "Folds are missing" not in objections(folder)


@pytest.mark.parametrize(
    ("protocol", "folds", "missing"),
    [("random-70-30", 1, None), ("leave-one-out", 7, "train_2, train_3, train_4, train_5, train_6, train_7")],
)
def test_missing_folds_are_those_of_the_protocol(tmp_path: Path, protocol: str, folds: int, missing: str) -> None:
    named = [f"train_{k}" for k in range(1, folds + 1)]
    scores = {"train_1": table_of("AABB", [0.1, 0.2, 0.8, 0.9])}
    folder = write_run(tmp_path / "run", scores, protocol=protocol, folds_of_protocol=named)
    assert objections(folder).get("Folds are missing", {}).get("run") == missing


@pytest.mark.parametrize(("scores", "applies"), [([0.5, 0.5], False), ([0.6, 0.4], False), ([0.4, 0.6], True)])
def test_chance_is_not_below_chance(tmp_path: Path, scores: list[float], applies: bool) -> None:
    folder = write_run(tmp_path / "run", {"train_1": table_of("AB", scores)})
    assert ("An AUC of the scores is below 50" in objections(folder)) is applies


def test_absent_classes(tmp_path: Path) -> None:
    tables = {"train_1": table_of("BCD", [0.1, 0.2, 0.3]), "train_2": table_of("AA", [0.7, 0.8])}
    found = objections(write_run(tmp_path / "run", tables))
    assert found["A class or a category is absent"] == {"run": "train_1: no real clip; train_2: no fake clip"}
    assert "The hard AUC equals the balanced accuracy" not in found


def test_folds_of_different_configurations(tmp_path: Path) -> None:
    folder = five_folds(tmp_path / "results" / "MRDF_CE")
    scores = easy_fold(4)
    changes = {"batch_size": 7, "config_hash": "bb"}
    write_fold(folder / "train_4", scores, evaluate(scores), config("train_4", **changes))
    assert objections(folder)["The folds are of different configurations"] == {"MRDF_CE": "batch_size"}
    page = Page(build([read_run(folder)], tmp_path / "log", Corpus(None))).said()
    assert "The folds differ in batch_size." in page
    assert "batch_size train_1, train_2, train_3, train_5: 64; train_4: 7" in page


def test_fold_tested_with_the_checkpoint_of_another(tmp_path: Path) -> None:
    folder = five_folds(tmp_path / "results" / "MRDF_CE")
    title = "A fold was tested with another fold's checkpoint"
    assert title not in objections(folder)
    scores = easy_fold(4)
    write_fold(folder / "train_4", scores, evaluate(scores), config("train_4", checkpoint="ckpts/MRDF_CE_train_1.ckpt"))
    assert objections(folder)[title] == {"MRDF_CE": "train_4: MRDF_CE_train_1.ckpt"}


def test_unrecorded_training(tmp_path: Path) -> None:
    folder = five_folds(tmp_path / "run")
    metrics = folder / "train_1" / "metrics.json"
    content = json.loads(metrics.read_text())
    for name in ("validation", "padding", "encoder_layers", "train_frontend"):
        del content["config"][name]
    metrics.write_text(json.dumps(content))
    assert objections(folder)["How it was trained is not recorded"] == {"run": "train_1"}


def test_remedies_name_real_flags() -> None:
    known = {field.name for field in fields(TrainOptions)}
    flags = [flag for caution in CAUTIONS for flag in re.findall(r"--(\w+)", caution.remedy)]
    assert flags
    assert set(flags) <= known
    assert all(caution.remedy.count("`") % 2 == 0 for caution in CAUTIONS)


def test_corpora_and_protocols_in_one_run(tmp_path: Path) -> None:
    folder = five_folds(tmp_path / "results" / "MRDF_CE")
    scores = easy_fold(4)
    write_fold(folder / "train_4", scores, evaluate(scores), config("train_4", protocol="leave-one-out"))
    (words,) = objections(folder)["Corpora or protocols are mixed"].values()
    assert words.endswith("; train_4: FakeAVCeleb leave-one-out")
    page = Page(build([read_run(folder)], tmp_path / "log", Corpus(None))).said()
    assert "FakeAVCeleb, leave-one-out, in percent" in page
    assert "The folds are of several corpora or protocols, so that there is nothing by category" in page


def test_configurations_are_flat_text() -> None:
    assert flat({"a": {"b": {"c": 1}}, "skipped": [["x", "y"]], "d": None, "e": "text"}) == {
        "a.b.c": "1",
        "skipped": "1 clips",
        "d": "null",
        "e": "text",
    }
