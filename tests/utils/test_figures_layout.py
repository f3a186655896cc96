"""Every figure: its files, and that no text is cut off or lies on another."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import cv2
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from utils.figures.clips import draw_confusion, draw_reliability, draw_score_histogram
from utils.figures.curves import draw_det, draw_precision_recall, draw_roc
from utils.figures.embedding import draw_embedding
from utils.figures.style import DPI, WIDTH, save_figure
from utils.figures.training import draw_training_curves

TITLE = "MRDF_CE on FakeAVCeleb"
LONG = "MRDF_CE on the synthetic miniature (not FakeAVCeleb: not comparable with published numbers)"
NAMES = ("video_cross", "audio_cross", "video_within", "audio_within")


def fold(seed: int, n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    category = np.array(list("ABCD") * (n // 4))
    label = (category == "A").astype(int)
    score = 1 / (1 + np.exp(-rng.normal(size=n) - 2 * label))
    columns = {"category": category, "label": label, "score": score, "decision": (score >= 0.5).astype(int)}
    return pd.DataFrame(columns).assign(video_score=np.nan, audio_score=np.nan)


def svg_texts(path: Path) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def table(seed: int, n: int) -> pd.DataFrame:
    scores = np.random.default_rng(seed).uniform(size=(2, n))
    return fold(seed, n).assign(video_score=scores[0], audio_score=scores[1])


def log(seed: int, epochs: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    names = ("train_loss_epoch", "val_loss", "val_acc", "val_auc", "val_auc_hard")
    return pd.DataFrame({"epoch": range(epochs)} | {name: rng.uniform(0.5, 1, epochs) for name in names})


def folds(count: int, n: int) -> dict[str, pd.DataFrame]:
    return {f"train_{k}": table(k, n) for k in range(1, count + 1)}


def embeddings(n: int) -> dict[str, np.ndarray]:
    return {name: np.random.default_rng(k).normal(size=(n, 5)) for k, name in enumerate(NAMES)}


def draw_logs(title: str, epochs: int) -> Figure:
    return draw_training_curves({f"train_{k}": log(k, epochs) for k in range(5)}, {"train_1": epochs - 1}, title)


DRAWN: dict[str, Callable[[str, int], Figure]] = {
    "roc": lambda title, n: draw_roc(folds(5, n), title),
    "det": lambda title, n: draw_det(folds(5, n), title),
    "precision_recall": lambda title, n: draw_precision_recall(folds(5, n), title),
    "confusion": lambda title, n: draw_confusion(table(1, n), title),
    "scores": lambda title, n: draw_score_histogram(table(1, n), title),
    "reliability": lambda title, n: draw_reliability(table(1, n), title),
    "training": lambda title, n: draw_logs(title, n // 8),
    "embedding": lambda title, n: draw_embedding(embeddings(n), fold(1, n)["category"].to_numpy(), title),
}


def shown_texts(figure: Figure) -> list[Text]:
    """Texts that can be seen; matplotlib keeps tick labels outside the axes, which it does not draw."""
    hidden = set()
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        outside = [tick for tick in ticks if not axis.axes.axison or not low - 1e-9 <= tick.get_loc() <= high + 1e-9]
        hidden |= {label for tick in outside for label in (tick.label1, tick.label2)}
        if not axis.axes.axison:
            hidden |= {axis.label, axis.offsetText}
    return [
        text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and text not in hidden
    ]


def assert_readable(figure: Figure) -> None:
    FigureCanvasAgg(figure).draw()
    boxes = {text: text.get_window_extent() for text in shown_texts(figure)}
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in boxes.items():
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width + 0.5, text
        assert box.y1 <= height + 0.5, text
    for (one, first), (other, second) in combinations(boxes.items(), 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        down = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(across, down) < 1, (one, other)  # less than a pixel is the air around letters


@pytest.mark.parametrize("name", DRAWN)
def test_files_and_what_is_on_them(tmp_path: Path, name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure = DRAWN[name](TITLE, 40)
    save_figure(figure, tmp_path / "figure.png")
    image = cv2.imread(str(tmp_path / "figure.png"))
    assert image.shape == (round(figure.get_figheight() * DPI), round(WIDTH * DPI), 3)
    assert 0.3 < np.mean(image == 255) < 0.98
    assert any(text.startswith(TITLE) for text in svg_texts(tmp_path / "figure.svg"))
    assert dict(matplotlib.rcParams) == before
    assert name == "training" or "n = 40" in " ".join(text.get_text() for text in shown_texts(figure))


def test_the_same_bars_have_the_same_bytes(tmp_path: Path) -> None:
    for number in ("1", "2"):
        save_figure(DRAWN["scores"](TITLE, 40), tmp_path / f"{number}.png")
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"1{suffix}").read_bytes() == (tmp_path / f"2{suffix}").read_bytes()


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize(("title", "n"), [(TITLE, 400), (LONG, 8)])
def test_no_text_is_cut_off_or_lies_on_another(name: str, title: str, n: int) -> None:
    if name == "embedding" and n == 400:
        n = 60  # t-SNE takes its time
    assert_readable(DRAWN[name](title, n))
