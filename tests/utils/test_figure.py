"""The ROC figure."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import cv2
import matplotlib
import numpy as np
import pandas as pd
import pytest

from utils.errors import DataError
from utils.figures.curves import draw_roc
from utils.figures.style import save_figure


def fold(seed: int, n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    category = np.array(list("ABCD") * (n // 4))
    label = (category == "A").astype(int)
    score = 1 / (1 + np.exp(-rng.normal(size=n) - 2 * label))
    columns = {"category": category, "label": label, "score": score, "decision": (score >= 0.5).astype(int)}
    return pd.DataFrame(columns).assign(video_score=np.nan, audio_score=np.nan)


def roc_figure(folds: dict[str, pd.DataFrame], path: Path, title: str) -> None:
    save_figure(draw_roc(folds, title), path)


def svg_texts(path: Path) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_files_of_the_figure(tmp_path: Path) -> None:
    roc_figure({f"train_{k}": fold(k) for k in (1, 2, 3)}, tmp_path / "figures" / "roc.png", "MRDF_CE on FakeAVCeleb")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["roc.png", "roc.svg"]
    image = cv2.imread(str(tmp_path / "figures" / "roc.png"))
    assert min(image.shape[:2]) >= 800
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50
    assert 0.5 < np.mean(image == 255) < 0.98

    texts = svg_texts(tmp_path / "figures" / "roc.svg")
    assert "MRDF_CE on FakeAVCeleb" in texts
    assert "False positive rate (fake clips taken for real)" in texts
    assert "True positive rate (real clips taken for real)" in texts
    assert any("Positive class: real" in text for text in texts)
    for start in ("train_1: AUC", "train_2: AUC", "train_3: AUC", "mean of 3 folds: AUC", "pooled: AUC", "chance"):
        assert sum(text.startswith(start) for text in texts) == 1
    assert sum(text.endswith("n = 40") for text in texts) == 3
    assert sum(text.endswith("n = 120") for text in texts) == 1


def test_legend_has_the_right_numbers(tmp_path: Path) -> None:
    perfect = fold(0, 8).assign(score=[0.9, 0.1, 0.2, 0.3] * 2)
    # the two real clips at 0.25 lie above four of six fakes: AUC 2/3; pooled: (2 * 12 + 2 * 8) / 48 = 5/6
    partly = fold(0, 8).assign(score=[0.25, 0.1, 0.2, 0.3] * 2)
    roc_figure({"train_1": perfect, "train_2": partly}, tmp_path / "roc.svg", "title")
    texts = svg_texts(tmp_path / "roc.svg")
    assert "train_1: AUC 100.00, n = 8" in texts
    assert "train_2: AUC 66.67, n = 8" in texts
    assert "mean of 2 folds: AUC 83.33 ± 23.57" in texts
    assert "pooled: AUC 83.33, n = 16" in texts


def test_one_fold_has_neither_mean_nor_pooled_curve(tmp_path: Path) -> None:
    roc_figure({"train_2": fold(1)}, tmp_path / "roc.png", "title")
    texts = svg_texts(tmp_path / "roc.svg")
    assert not any(text.startswith(("mean", "pooled")) for text in texts)


def test_same_folds_give_the_same_bytes_and_settings_stay(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for name in ("first", "second"):
        roc_figure({"train_1": fold(1), "train_2": fold(2)}, tmp_path / f"{name}.png", "title")
    for suffix in ("png", "svg"):
        assert (tmp_path / f"first.{suffix}").read_bytes() == (tmp_path / f"second.{suffix}").read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_fold_of_one_class_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fakes = fold(1).query("label == 0")
    roc_figure({"train_1": fakes, "train_2": fold(2)}, tmp_path / "roc.png", "title")
    assert "train_1" in caplog.text
    assert not any(text.startswith("train_1") for text in svg_texts(tmp_path / "roc.svg"))
    with pytest.raises(DataError, match="there is no ROC to draw"):
        roc_figure({"train_1": fakes}, tmp_path / "none.png", "title")
    assert not (tmp_path / "none.png").exists()
