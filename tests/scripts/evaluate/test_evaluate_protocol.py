"""Another detector's csv on the clips that a protocol tests."""

import json
from pathlib import Path

import pytest

from dataset import read_corpus
from dataset.protocols import Setting, sides
from main import main
from scripts.evaluate.others import Others, folds_of_others
from utils.errors import DataError


@pytest.fixture
def tested(original_root: Path) -> list[str]:
    """What random-70-30 tests, four clips."""
    return list(sides("random-70-30", Setting(read_corpus(original_root))).test["file"])


@pytest.fixture
def theirs(original_root: Path, tested: list[str], tmp_path: Path) -> Path:
    """Log odds of fake, right but for the second tested clip; the first has none."""
    clips = read_corpus(original_root).set_index("file")["m_label"]
    odds = {file: 3.0 if label == 0 else -1.0 for file, label in clips.items() if file != tested[0]}
    odds[tested[1]] *= -1
    path = tmp_path / "theirs.csv"
    rows = [f"/elsewhere/{file},{value},fake" for file, value in odds.items()]
    path.write_text("\n".join(["file,score,polarity", *rows]))
    return path


def test_polarity_threshold_and_coverage(
    theirs: Path, tested: list[str], original_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = folds_of_others(Others(theirs, threshold=0.0), original_root, "fakeavceleb", "random-70-30", None, None, 42)
    assert list(found) == ["train_1"]
    table = found["train_1"]
    assert list(table["file"]) == tested[1:]
    assert list(table["decision"] == table["label"]) == [False, True, True]
    assert table["score"].between(0, 1).all()
    assert f"1 of 4 clips of train_1 have no score and are left out (such as {tested[0]})" in caplog.text


def test_folds_that_are_different_tests(theirs: Path, original_root: Path) -> None:
    with pytest.raises(DataError, match=r"are different tests: choose one with --fold: train_1 \(RVFA left out\)"):
        folds_of_others(Others(theirs, threshold=0.0), original_root, "fakeavceleb", "leave-one-out", None, None, 42)
    with pytest.raises(DataError, match="--fold train_9: there is train_1"):
        folds_of_others(Others(theirs, threshold=0.0), original_root, "fakeavceleb", None, None, "train_9", 42)


def test_the_command(theirs: Path, original_root: Path, tmp_path: Path, restore_logging: None) -> None:
    given = [f"--data_root={original_root}", "--protocol=random-70-30", "--bootstrap=0", f"--out={tmp_path / 'out'}"]
    assert main(["evaluate", str(theirs), *given, "--threshold=0"]) == 0
    pooled = json.loads((tmp_path / "out" / "evaluation.json").read_text())["pooled"]
    assert (pooled["n"], pooled["acc"]) == (3, pytest.approx(2 / 3))
    assert main(["evaluate", str(theirs), str(theirs), *given]) != 0
