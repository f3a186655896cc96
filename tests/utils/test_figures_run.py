"""All figures of a run from its folder: what is there is drawn, and the log says what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.utils.test_figures_layout import embeddings, log, table
from utils import figure
from utils.files import to_json
from utils.results import SCORE_COLUMNS

FIGURES = ["roc", "det", "precision_recall", "confusion", "scores", "reliability", "training_curves"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two folds with scores and logs, and embeddings of the second."""
    for k in (1, 2):
        results, logs = tmp_path / "results" / f"train_{k}", tmp_path / "log" / f"train_{k}" / "version_0"
        results.mkdir(parents=True)
        logs.mkdir(parents=True)
        scores = table(k, 16).assign(file="a.mp4", subject="id00001", method="")
        scores[SCORE_COLUMNS].to_csv(results / "scores.csv", index=False)
        (results / "metrics.json").write_text(to_json({"n": 16, "per_category": {}, "config": {"selection": "auc"}}))
        log(k, 3).to_csv(logs / "metrics.csv", index=False)
    np.savez(results / "embeddings.npz", category=scores["category"].to_numpy(str), **embeddings(16))
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_everything_is_drawn(run: Path) -> None:
    paths = figure.all_figures(run / "results", run / "log", run / "figures", "title")
    expected = [f"{name}{suffix}" for name in [*FIGURES, "embedding_train_2"] for suffix in (".png", ".svg")]
    assert names(paths) == expected
    assert sorted(path.name for path in (run / "figures").iterdir()) == sorted(expected)
    assert "title, 2 folds pooled" in (run / "figures" / "confusion.svg").read_text()
    best = log(1, 3)["val_auc"].argmax() + 1
    assert f"train_1: 3 epochs, chosen {best}" in (run / "figures" / "training_curves.svg").read_text()


def test_what_is_not_there_is_logged(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (run / "results" / "train_2" / "embeddings.npz").unlink()
    paths = figure.all_figures(run / "results", None, run / "figures", "title")
    assert names(paths)[::2] == [f"{name}.png" for name in FIGURES[:-1]]
    assert "training_curves: not drawn, no folder of logs is given" in caplog.messages
    assert f"embedding: not drawn, {run / 'results'} has no train_*/embeddings.npz" in caplog.messages


def test_empty_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert figure.all_figures(tmp_path, tmp_path, tmp_path / "figures", "title") == []
    assert not (tmp_path / "figures").exists()
    for name in FIGURES:
        assert sum(message.startswith(f"{name}: not drawn, ") for message in caplog.messages) == 1


def test_folds_set_aside_are_left_out(run: Path) -> None:
    for kind in ("results", "log"):
        (run / kind / "train_1").rename(run / kind / "train_1.1")
    figure.all_figures(run / "results", run / "log", run / "figures", "title")
    for name in ("roc", "training_curves"):
        assert "train_1" not in (run / "figures" / f"{name}.svg").read_text()


def test_damaged_files_are_named(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "results" / "train_1" / "scores.csv").write_text("file,label\na,1\n")
    (run / "results" / "train_1" / "metrics.json").write_text("{")
    (run / "results" / "train_1" / "embeddings.npz").write_bytes(b"PK\x03\x04 cut")
    np.savez(run / "results" / "train_2" / "embeddings.npz", video_cross=np.ones((16, 2)))
    (run / "log" / "train_2" / "version_0" / "metrics.csv").write_text("step\n1\n")
    paths = figure.all_figures(run / "results", run / "log", run / "figures", "title")
    assert names(paths)[::2] == [f"{name}.png" for name in FIGURES]
    for start, end in (
        ("", "train_1/scores.csv is left out, it lacks the column subject"),
        ("embedding_train_1: not drawn, ", "train_1/embeddings.npz does not read: File is not a zip file"),
        ("embedding_train_2: not drawn, ", "train_2/embeddings.npz has no array category"),
        ("left out of the training curves: ", "no column epoch"),
    ):
        assert any(message.startswith(start) and message.endswith(end) for message in caplog.messages), end
    assert any("train_1/metrics.json is not valid JSON" in message for message in caplog.messages)
    assert "The chosen epoch is not known." in (run / "figures" / "training_curves.svg").read_text()


def test_public_names() -> None:
    assert all(callable(getattr(figure, name)) for name in figure.__all__ if name.islower())
    assert {"roc_figure", "det_figure", "read_training_log", "FOLD_STYLES"} <= set(figure.__all__)
