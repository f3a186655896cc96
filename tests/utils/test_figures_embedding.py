"""Embeddings in the plane: groups stay groups, few clips, absent categories, shapes that do not fit."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_array_equal

from tests.utils.test_figures_curves import words
from tests.utils.test_figures_layout import NAMES, assert_readable, embeddings
from utils.figures.embedding import draw_embedding, perplexity, project

CATEGORIES = np.array(list("ABCD") * 10)


def points(figure: Figure, panel: int) -> list[np.ndarray]:
    """Points of each category in a panel."""
    return [np.asarray(scatter.get_offsets()) for scatter in figure.axes[panel].collections]


def test_groups_stay_groups() -> None:
    rng = np.random.default_rng(0)
    video = np.isin(CATEGORIES, ["A", "B"])[:, None] * 20 + rng.normal(size=(40, 6))
    figure = draw_embedding({"video_within": video}, CATEGORIES, "title")
    plane = points(figure, 0)
    assert [len(group) for group in plane] == [10] * 4
    real, fake = np.concatenate(plane[:2]), np.concatenate(plane[2:])
    to_own = np.linalg.norm(real - real.mean(0), axis=1).max()
    assert to_own < np.linalg.norm(real - fake.mean(0), axis=1).min()
    assert "t-SNE, perplexity 13, n = 40 clips; the axes have no unit." in words(figure)
    assert "A: real video, real audio, n = 10" in words(figure)


def test_panels_and_looks() -> None:
    figure = draw_embedding(embeddings(40) | {"category": CATEGORIES}, CATEGORIES, "title")
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert [title.split(":")[0] for title in titles] == list(NAMES)
    scatters = figure.axes[0].collections
    assert len({tuple(scatter.get_facecolor()[0]) for scatter in scatters}) == 4
    assert len({scatter.get_paths()[0].vertices.tobytes() for scatter in scatters}) == 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_embeddings(count: int) -> None:
    some = dict(list(embeddings(16).items())[:count])
    figure = draw_embedding(some, CATEGORIES[:16], "title")
    assert len(figure.axes) == count + 1  # and the legend
    assert_readable(figure)


def test_same_seed_gives_the_same_plane() -> None:
    embedding = embeddings(20)["video_cross"]
    state = np.random.get_state()[1].copy()
    assert_array_equal(project(embedding, 1), project(embedding, 1))
    assert_array_equal(np.random.get_state()[1], state)  # nothing else is drawn from


def test_few_clips() -> None:
    figure = draw_embedding(embeddings(8), CATEGORIES[:8], "title")
    assert "perplexity 2, n = 8 clips" in words(figure)
    assert "With so few clips, groups may be chance." in words(figure)
    with pytest.raises(ValueError, match="7 clips are too few for t-SNE, which needs 8"):
        draw_embedding({"video_cross": np.ones((7, 3))}, CATEGORIES[:7], "title")
    assert [perplexity(n) for n in (8, 31, 91, 2000)] == [2, 10, 30, 30]


def test_one_dimension() -> None:
    figure = draw_embedding({"video_cross": np.arange(12.0)[:, None]}, CATEGORIES[:12], "title")
    assert sum(map(len, points(figure, 0))) == 12


def test_absent_category_and_useless_embeddings() -> None:
    categories = np.where(CATEGORIES == "D", "A", CATEGORIES)[:16]
    given = embeddings(16) | {"audio_cross": np.ones((16, 4)), "audio_within": np.full((16, 4), np.nan)}
    figure = draw_embedding(given, categories, "title")
    assert "No clip of D." in words(figure)
    assert "D: fake video, fake audio, n = 0" in words(figure)
    assert "all embeddings are the same" in words(figure)
    assert "an embedding is not finite" in words(figure)
    assert_readable(figure)


def test_clips_of_an_unknown_category_are_left_out() -> None:
    figure = draw_embedding(embeddings(20), np.where(np.arange(20) < 4, "", CATEGORIES[:20]), "title")
    assert "n = 16 clips" in words(figure)
    assert sum(map(len, points(figure, 0))) == 16


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"none of the embeddings video_cross, .* is there"):
        draw_embedding({"other": np.ones((8, 2))}, CATEGORIES[:8], "title")
    for shape in ((9, 2), (8,)):
        with pytest.raises(ValueError, match=r"video_cross has the shape .*, where 8 clips need \(8, D\)"):
            draw_embedding({"video_cross": np.ones(shape)}, CATEGORIES[:8], "title")
    with pytest.raises(ValueError, match="category 'E' is unknown"):
        draw_embedding({"video_cross": np.ones((8, 2))}, np.array(list("ABCDEABC")), "title")
