"""main.py reproduce after an accident: files that are missing, damaged, or of another fold; and who holds a lock."""

import json
from pathlib import Path

import pytest

from main import main
from tests.reproduce_tools import CORPUS, patch, started
from utils.outputs import Fold

pytestmark = pytest.mark.usefixtures("restore_logging")


def reproduce(outputs: Path, *arguments: object) -> int:
    """Exit code of the command on fold 2 of AVDF."""
    common = ("--data_root", CORPUS, "--outputs", outputs, "--models", "AVDF", "--folds", 2)
    try:
        return main(["reproduce", *map(str, (*common, *arguments))])
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize("accident", ["another fold's checkpoint", "no scores", "broken figures"])
def test_what_is_not_the_folds_own_is_done_again(
    accident: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch(monkeypatch, lambda fold: "0")
    assert reproduce(tmp_path) == 0
    fold = Fold(tmp_path, "AVDF", "train_2")
    if accident == "no scores":
        (fold.results / "scores.csv").unlink()
    elif accident == "broken figures":
        fold.metrics.write_text("{")
    else:
        fold.metrics.write_text(fold.metrics.read_text().replace("AVDF_train_2.ckpt", "AVDF_train_1.ckpt"))
    assert reproduce(tmp_path) == 0
    assert started(tmp_path) == {"AVDF train_2": 2}
    assert json.loads(fold.metrics.read_text())["config"]["checkpoint"] == "AVDF_train_2.ckpt"
    assert reproduce(tmp_path) == 0
    assert started(tmp_path) == {"AVDF train_2": 2}


def test_a_fold_that_was_not_asked_for_and_cannot_be_read_leaves_the_rest_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    patch(monkeypatch, lambda fold: "0")
    other = Fold(tmp_path, "AVDF", "train_1")
    other.results.mkdir(parents=True)
    other.metrics.write_text("{")
    assert reproduce(tmp_path) == 1
    said = capsys.readouterr().err
    assert "AVDF train_2: done" in said
    assert f"results: {tmp_path / 'results'}" in said
    assert f"the table cannot be made: {other.metrics} is not valid JSON" in said
