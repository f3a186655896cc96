"""MODEL_CARD.md: the files that it is made from belong together, and it says which clips were on which side."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset import FakeAVCelebDataModule
from scripts.card import facts
from scripts.card.command import FILE, PICKED_ON_TEST, card
from tests.card_files import AVDF, FOLD, main_table, part, text_of, write
from tests.conftest import REFERENCE
from tests.score_tables import random_table, table_of
from utils.errors import DataError
from utils.metrics import evaluate
from utils.options import RECIPES
from utils.results import write_fold

SIDES = ("training", "validation", "test")


@pytest.fixture
def small_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "detector_of", lambda *_: AVDF())


@pytest.fixture
def outputs(tmp_path: Path, small_detector: None) -> Path:
    """A run whose one fold was trained and tested."""
    return write(tmp_path / "outputs")


@pytest.mark.usefixtures("small_detector")
def test_another_corpus_was_tested(tmp_path: Path) -> None:
    text = text_of(write(tmp_path, tested={"corpus": "own"}, recipe="released", **RECIPES["released"]))
    assert "- Trained on: `FakeAVCeleb`.\n- Tested on: `own`, fold `train_1`." in text
    assert PICKED_ON_TEST not in part(text, "Limits")  # it was picked on other clips than these


def counts(text: str) -> dict[str, list[str]]:
    return {name: cells for name, cells in main_table(part(text, "Data")).items() if name in SIDES}


def reference_fold(root: Path, validation: str) -> FakeAVCelebDataModule:
    data = FakeAVCelebDataModule(root, "train_1.txt", validation=validation, check=False)
    data.setup("fit")
    return data


@pytest.mark.usefixtures("small_detector")
def test_sides_are_counted_where_the_corpus_lies(tmp_path: Path) -> None:
    root = REFERENCE / "corpus" / "prepared"
    before = sorted(root.rglob("*"))
    data = reference_fold(root, "subjects")
    clips = data.test_dataset.clips
    table = table_of("".join(clips["category"]), np.linspace(0.9, 0.1, len(clips)), list(clips["subject"]))
    table["file"] = clips["file"]
    gone = data.train_dataset.clips["file"].iloc[0]
    changes = {"data_root": str(root), "skipped": [[gone, "<cut>"]]}
    text = text_of(write(tmp_path / "1", table, **changes))
    expected = {name: getattr(data, f"{name}_dataset").clips for name in ("train", "val", "test")}
    expected["train"] = expected["train"][expected["train"]["file"] != gone]
    assert counts(text) == {
        side: [str(n) for n in (len(clips), clips["subject"].nunique(), *clips["category"].value_counts().reindex(
            list("ABCD"), fill_value=0))]
        for side, clips in zip(SIDES, expected.values(), strict=True)
    }  # fmt: skip
    said = part(text, "Data")
    assert "- Split by subject: no test subject is in training." in said
    assert f"- Skipped, as missing or not decoding: 1 clip: `{gone}` (&lt;cut>)." in said
    on_test = text_of(write(tmp_path / "2", table, data_root=str(root), validation="test"))
    assert "- The validation clips are the test clips." in on_test
    assert sorted(root.rglob("*")) == before
    other = text_of(write(tmp_path / "3", table.assign(file=clips["file"] + "x"), data_root=str(root)))
    assert counts(other)["training"] == ["?"] * 6  # it is not the corpus that was tested


@pytest.mark.usefixtures("small_detector")
def test_corpus_without_folds_is_left_alone(tmp_path: Path, original_root: Path) -> None:
    before = sorted(original_root.rglob("*"))
    text = text_of(write(tmp_path / "outputs", data_root=str(original_root)))
    assert counts(text) == {"training": ["?"] * 6, "validation": ["?"] * 6, "test": ["160", "40", *["40"] * 4]}
    assert (
        "- ?: not known, as the corpus of training was not to be read. There were 400 of each category at most." in text
    )
    assert sorted(original_root.rglob("*")) == before


@pytest.mark.usefixtures("small_detector")
@pytest.mark.parametrize(
    ("tested", "message"),
    [
        (
            {"config_hash": "bb"},
            r"metrics\.json: is of another training than .*, config_hash is bb, not aa; test .* again",
        ),
        ({"save_name": "x"}, "save_name is x, not my run"),
        ({"fold": "train_2"}, "fold is train_2, not train_1"),
        ({"checkpoint": "gone/my run_train_1-last.ckpt"}, r"is of gone/my run_train_1-last\.ckpt, which is not"),
        ({"checkpoint": __file__}, r"is of .*test_card_origin\.py, which is not"),
    ],
)
def test_results_of_something_else(tmp_path: Path, tested: dict[str, Any], message: str) -> None:
    write(tmp_path, tested=tested)
    with pytest.raises(DataError, match=message):
        text_of(tmp_path)


def test_moved_outputs_are_still_known(outputs: Path) -> None:
    text_of(outputs)
    moved = outputs.rename(outputs.with_name("moved"))
    assert "Model card" in text_of(moved)


def test_untested_and_unreadable(outputs: Path) -> None:
    metrics, scores = outputs / FOLD / "metrics.json", outputs / FOLD / "scores.csv"
    figures = json.loads(metrics.read_text())
    metrics.write_text(json.dumps(figures | {"acc": 0.123}))
    with pytest.raises(DataError, match=r"acc of metrics\.json are not those of scores\.csv; test it again"):
        text_of(outputs)
    metrics.write_text("{")
    with pytest.raises(DataError, match=f"{metrics} is not valid JSON"):
        text_of(outputs)
    scores.unlink()
    metrics.write_text(json.dumps(figures))
    with pytest.raises(DataError, match=f"{scores}: no such file"):
        text_of(outputs)
    metrics.unlink()
    with pytest.raises(FileNotFoundError, match=r"metrics\.json: no such file; test the checkpoint first"):
        text_of(outputs)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        card(outputs / "none.ckpt", outputs=outputs)


def test_checkpoint_of_the_authors(tmp_path: Path, released_checkpoint: Path) -> None:
    """It says nothing of itself, and neither does its card."""
    table = random_table(1, 40).assign(audio_score=0.5, video_score=0.25)
    folder = tmp_path / "results" / released_checkpoint.stem / "train_2"
    with pytest.raises(FileNotFoundError, match="does not say its fold"):
        card(released_checkpoint, outputs=tmp_path)
    tested = {
        "model_type": "MRDF_CE",
        "checkpoint": str(released_checkpoint),
        "corpus": "FakeAVCeleb",
        "max_frames": 500,
    }
    write_fold(folder, table, evaluate(table), tested | {"fold": "train_2", "skipped": []})
    card(released_checkpoint, outputs=tmp_path, bootstrap=20)
    text = (folder / FILE).read_text(encoding="utf-8")
    said = part(text, "What it is")
    for name in ("Started from", "Recipe", "Training", "Training time", "Commit", "Versions", "Hardware"):
        assert f"- {name}: not recorded." in said
    assert "- Parameters: 19,967,342." in said
    assert "visual front end not recorded" in said
    assert "- Trained on: not recorded." in text
    assert "- How it was picked: not recorded." in text
    assert "It calls the audio, and the video, real from a score of 0.5 on." in text
    assert "**How it was trained is not recorded**" in text
    assert "FakeAVCeleb is under the terms" in text
