"""All figures of a run from its folder: what is there is drawn, and the log says what is not."""

from pathlib import Path

import numpy as np
import pytest

from scripts.report import figures
from scripts.report.figures import all_figures
from tests.utils.test_figures_curves import words
from tests.utils.test_figures_layout import embeddings, log, table
from utils.metrics import evaluate
from utils.results import write_fold
from utils.runs import read_run

FIGURES = ["roc", "det", "precision_recall", "confusion", "scores", "reliability", "training_curves"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two folds with scores and logs, and embeddings of the second."""
    for k in (1, 2):
        results, logs = tmp_path / "results" / f"train_{k}", tmp_path / "log" / f"train_{k}" / "version_0"
        logs.mkdir(parents=True)
        scores = table(k, 16).assign(file=[f"{k}/{n}.mp4" for n in range(16)], subject="id00001", method="")
        write_fold(results, scores, evaluate(scores), {"selection": "auc"})
        log(k, 3).to_csv(logs / "metrics.csv", index=False)
    np.savez(results / "embeddings.npz", category=scores["category"].to_numpy(str), **embeddings(16))
    return tmp_path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Nothing is written; this has the words of each figure, by the name of its file."""
    found: dict[str, str] = {}
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: found.update({path.name: words(figure)}))
    return found


def draw(folder: Path, log_dir: Path | None) -> tuple[list[str], dict[str, str]]:
    paths, reasons = all_figures(read_run(folder / "results"), log_dir, folder / "figures", "title")
    return [path.name for path in paths], reasons


def test_everything_is_drawn(run: Path) -> None:
    names, reasons = draw(run, run / "log")
    assert reasons == {}
    assert names == [f"{name}.png" for name in [*FIGURES, "embedding_train_2"]]
    written = {path.name for path in (run / "figures").iterdir()}
    assert written == {*names, *(name.replace(".png", ".svg") for name in names)}
    assert "title, 2 folds pooled" in (run / "figures" / "confusion.svg").read_text(encoding="utf-8")
    best = log(1, 3)["val_auc"].argmax() + 1
    curves = (run / "figures" / "training_curves.svg").read_text(encoding="utf-8")
    assert f"train_1: 3 epochs, chosen {best}" in curves


@pytest.mark.usefixtures("said")
def test_what_is_not_there_has_a_reason(run: Path) -> None:
    (run / "results" / "train_2" / "embeddings.npz").unlink()
    names, reasons = draw(run, None)
    assert names == [f"{name}.png" for name in FIGURES[:-1]]
    assert reasons == {
        "training_curves": "no folder of logs is given",
        "embedding": f"{run / 'results'} has no train_*/embeddings.npz",
    }


def test_empty_run(tmp_path: Path) -> None:
    names, reasons = draw(tmp_path, tmp_path)
    assert names == []
    assert not (tmp_path / "figures").exists()
    assert reasons.keys() == {*FIGURES, "embedding"}
    assert reasons["roc"] == "no fold has a scores.csv"


def test_folds_set_aside_are_left_out(run: Path, said: dict[str, str]) -> None:
    for kind in ("results", "log"):
        (run / kind / "train_1").rename(run / kind / "train_1.1")
    draw(run, run / "log")
    for name in ("roc.png", "training_curves.png"):
        assert "train_2" in said[name]
        assert "train_1" not in said[name]


def test_damaged_files_are_named(run: Path, said: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    (run / "results" / "train_1" / "metrics.json").write_text("{", encoding="utf-8")
    (run / "results" / "train_1" / "embeddings.npz").write_bytes(b"PK\x03\x04 cut")
    np.savez(run / "results" / "train_2" / "embeddings.npz", video_cross=np.ones((16, 2)))
    (run / "log" / "train_2" / "version_0" / "metrics.csv").write_text("step\n1\n", encoding="utf-8")
    names, reasons = draw(run, run / "log")
    assert names == [f"{name}.png" for name in FIGURES]
    assert reasons["embedding_train_1"].endswith("train_1/embeddings.npz does not read: File is not a zip file")
    assert reasons["embedding_train_2"].endswith("train_2/embeddings.npz has no array category")
    assert any(message.endswith("no column epoch") for message in caplog.messages)
    assert "The chosen epoch is not known." in said["training_curves.png"]


@pytest.mark.usefixtures("said")
def test_corpora_are_not_mixed(run: Path) -> None:
    scores = table(2, 16).assign(file=[f"2/{n}.mp4" for n in range(16)], subject="id00001", method="")
    write_fold(run / "results" / "train_2", scores, evaluate(scores), {"protocol": "leave-one-out"})
    names, reasons = draw(run, run / "log")
    assert names == ["training_curves.png", "embedding_train_2.png"]
    assert reasons["roc"] == "its folds are of several corpora or protocols"
