"""Scores of another detector, put onto the clips of a fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.score_tables import random_table
from tests.scripts.evaluate.test_evaluate_command import command, result_in, write
from utils.errors import DataError
from utils.metrics import evaluate
from utils.results import read_foreign

pytestmark = pytest.mark.usefixtures("restore_logging")


def foreign(path: Path, clips: pd.DataFrame, score: np.ndarray, **columns: str) -> Path:
    clips[["file"]].assign(score=score, **columns).sample(frac=1, random_state=0).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("polarity", ["real", "fake"])
def test_either_polarity_and_any_scale_keep_every_rank(tmp_path: Path, polarity: str) -> None:
    clips = random_table(0, levels=20)
    sign = 1 if polarity == "real" else -1
    path = foreign(tmp_path / "other.csv", clips, sign * 37 * (clips["score"] - 0.5), polarity=polarity)
    table = read_foreign(path, clips, threshold=0.0)
    theirs, ours = evaluate(table), evaluate(clips)
    for name in ("auc", "eer", "ap_real", "ap_fake", "per_category"):
        if name != "per_category":
            assert theirs[name] == pytest.approx(ours[name], abs=1e-12), name
    # A score on the threshold belongs to the class of the polarity.
    at = clips["score"] == 0.5
    assert (table["decision"] == clips["decision"])[~at].all()
    assert (table["decision"][at] == (polarity == "real")).all()
    assert table["score"].between(0, 1).all()
    assert list(table["file"]) == list(clips["file"])


def test_the_command(tmp_path: Path) -> None:
    clips = random_table(0)
    ours = write(tmp_path / "scores.csv", clips)
    other = foreign(tmp_path / "other.csv", clips, 1 - clips["score"].to_numpy() ** 2)
    arguments = (other, "--clips", ours, "--against", ours, "--bootstrap", 20, "--out", tmp_path / "out")
    assert command(*arguments, "--polarity", "fake") == 0
    result = result_in(tmp_path / "out")
    assert result["clips"] == [str(ours)]
    assert result["comparison"]["delong"]["difference"] == pytest.approx(0, abs=1e-12)
    assert command(*arguments) == 2
    assert command(ours, "--polarity", "fake") == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,score\n0.mp4,1\n", "it has no column polarity; say which class"),
        ("file,score,polarity\n0.mp4,1,real\n1.mp4,1,fake\n", "polarity holds 'fake', 'real'"),
        ("file,score,polarity\n0.mp4,x,real\n", "line 2: score of 0.mp4 is 'x', no number"),
        ("file,score,polarity\n0.mp4,1,real\n0.mp4,1,real\n", "line 3: file '0.mp4' has a row already"),
        ("file,score,polarity\n0.mp4,1,real\n", "has no score of 1.mp4, 10.mp4, 11.mp4, 12.mp4, 13.mp4 and 54 more"),
        ("name,score\n0.mp4,1\n", "column file is missing"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_foreign(path, random_table(0))
