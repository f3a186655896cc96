"""Results of a fold that are replaced, missing or damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.utils.test_results import CONFIG, fold, write, write_three_folds
from utils.metrics import evaluate
from utils.results import record_of_training, write_fold
from utils.summary import summarise


def test_a_test_in_another_way_is_kept_with_its_embeddings(tmp_path: Path) -> None:
    table = fold([0.9, 0.1])
    common = CONFIG | {"config_hash": "h", "batch_size": 64, "precision": "16"}
    for number, changed in enumerate(({}, {}, {"batch_size": 4}, {"batch_size": 4, "precision": "32"})):
        write_fold(tmp_path, table, evaluate(table), common | changed, {"video_cross": np.full((2, 3), number)})
    kept = {path.name: np.load(path)["video_cross"][0, 0] for path in tmp_path.glob("*.npz")}
    assert kept == {"embeddings.npz": 3, "embeddings.1.npz": 1, "embeddings.2.npz": 2}
    sizes = [json.loads((tmp_path / f"metrics{k}.json").read_text())["config"]["batch_size"] for k in (".1", ".2", "")]
    assert sizes == [64, 4, 4]


def test_the_hours_of_training_are_those_of_the_same_checkpoint(tmp_path: Path) -> None:
    config = CONFIG | {"config_hash": "h"}
    assert record_of_training(tmp_path, config) == {}
    write(tmp_path, fold([0.9, 0.1]), config_hash="h", environment={"hours": 2.5, "epochs": 30, "commit": "c"})
    assert record_of_training(tmp_path, config) == {"hours": 2.5, "epochs": 30}
    assert record_of_training(tmp_path, config | {"checkpoint": "moved/to/a.ckpt"}) == {"hours": 2.5, "epochs": 30}
    assert record_of_training(tmp_path, config | {"checkpoint": "b.ckpt"}) == {}
    assert record_of_training(tmp_path, config | {"config_hash": "another"}) == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", None),
        ("metrics.json", b"{"),
        ("metrics.json", b'{"config": [], "per_category": {}, "n": 4}'),
        ("metrics.json", b'{"config": {}, "per_category": {"A": 1}, "n": 4}'),
        ("metrics.json", b'{"config": {}, "per_category": {}, "n": 3}'),
        ("scores.csv", None),
        ("scores.csv", b""),
        ("scores.csv", b"\xff\xfe"),
        ("scores.csv", b"file,score\na,0.5\n"),
        ("scores.csv", b"file,score\na,half\n"),
    ],
)
def test_a_fold_that_cannot_be_read_is_left_out(
    name: str, content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_three_folds(tmp_path)
    path = tmp_path / "train_2" / name
    path.unlink() if content is None else path.write_bytes(content)
    table = summarise(tmp_path)
    assert table.index.tolist() == ["train_1", "train_3", "mean", "std", "paper", "pooled_auc"]
    assert table.loc["mean", "acc"] == pytest.approx(0.875)
    assert table.loc["pooled_auc", "n"] == 8
    if not (name == "metrics.json" and content is None):  # such a fold has no results yet
        assert "train_2 is left out of the summary: " in caplog.text
        assert str(path.parent / "scores.csv") in caplog.text or str(path) in caplog.text
