"""`main.py audit` from files to verdict, with a detector that is made up: one that uses a planted shortcut, one not."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scripts.audit import command
from scripts.audit.changes import CHANGES, Change
from scripts.audit.command import audit, choose, noted, own_fold, warn_of_training
from tests.audit_tables import scores_of
from tests.media_files import even_times, tone, write_clip
from utils.errors import DataError

SUBJECTS = 14
RATE = 16_000
CONFIG = {"save_name": "made-up", "fold": "train_1", "model_type": "AVDF", "dataset": "csv", "validation": "subjects"}


def corpus(folder: Path, silence: float) -> Path:
    """Clips of random length and loudness, whose fakes begin with so many seconds of silence; half are for testing."""
    rng = np.random.default_rng(2)
    rows = []
    folder.mkdir()
    for k in range(SUBJECTS):
        for category in "ABCD":
            name, frames = f"{k}{category}.mp4", int(rng.integers(12, 20))
            audio = tone(frames / 25, RATE, level=int(rng.integers(3000, 12_000)))
            # Real clips begin at any moment, and some of them late.
            start = rng.uniform(0, 0.02) + (silence if category != "A" else 0)
            audio[: round(start * RATE)] = 0
            write_clip(folder / name, even_times(frames, 25), size=(32, 32), audio=(audio, RATE))
            rows.append((name, f"s{k}", category, "test" if k % 2 else "train"))
    pd.DataFrame(rows, columns=["file", "subject", "category", "split"]).to_csv(folder / "clips.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("planted") / "corpus", 0.12)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("clean") / "corpus", 0.0)


def by_silence(change: Change, clips: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """The more silence at the start, the less real; nothing else counts."""
    silence = 0.0 if change.family == "leading silence" else 0.12 * (clips["category"] != "A")
    return (3 - 60 * silence + rng.normal(size=len(clips))) * np.ones(len(clips))


def by_video_and_audio(change: Change, clips: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """What is fake is seen and heard; silence does not count."""
    cues = [
        3.0 * clips["category"].isin([*fakes]) * (change.name != f"missing {stream}")
        for stream, fakes in (("audio", "BD"), ("video", "CD"))
    ]
    fixed = np.random.default_rng(5).normal(size=len(clips))
    return 1.5 - sum(cues) + 0.7 * fixed + 0.1 * rng.normal(size=len(clips))


def run(
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    outputs: Path,
    detector: Callable[..., np.ndarray],
    config: dict[str, Any] | None = None,
    draw: bool = False,
    **options: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Audit a made-up detector; returns audit.json and what the scoring was asked for."""
    asked: dict[str, Any] = {}
    if not draw:
        monkeypatch.setattr(command, "save_figure", lambda *_: None)

    def score(checkpoint: Path, clips: pd.DataFrame, partners: pd.DataFrame, folder: Path, changes: Any, **how: Any):
        asked.update(clips=clips, partners=partners, folder=folder, changes=changes, **how)
        table = scores_of(clips.assign(label=clips["m_label"]), 1, detector, changes)
        table.attrs["notes"] = ["loudness: 1 of 28 clips: all of its audio is silent"]
        return table

    monkeypatch.setattr(command, "score_changes", score)
    monkeypatch.setattr(command, "read_checkpoint", lambda path: {"config": CONFIG | (config or {})})
    monkeypatch.setattr(command, "detector_of", lambda *_: object())
    checkpoint = outputs.parent / "made-up_train_1.ckpt"
    checkpoint.write_bytes(b"weights")
    audit(checkpoint, root, "csv", outputs=outputs, bootstrap=200, **options)
    folder = outputs / "results" / "made-up" / "train_1" / "audit"
    return json.loads((folder / "audit.json").read_text()), asked


@pytest.mark.usefixtures("restore_logging")
def test_a_planted_shortcut_that_the_detector_uses(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found, asked = run(monkeypatch, planted, tmp_path / "out", by_silence, draw=True)
    assert "leading silence" in found["named"]
    verdict = next(said for said in found["sentences"] if said.startswith("SHORTCUT: leading silence"))
    assert "The detector USES it" in verdict
    assert (found["n"], found["subjects"], found["n_shortcuts"], found["fold"]) == (28, 7, 56, "train_1")
    # What is odd about the media files follows, counted.
    assert found["notes"][0] == "loudness: 1 of 28 clips: all of its audio is silent"
    assert all(" of 28 clips: audio ends " in note for note in found["notes"][1:])
    assert {note for notes in found["clip_notes"].values() for note in notes}
    assert len(found["digest"]) == 64
    # Silence takes few bits, so that the bit rate of the audio may give it away too.
    assert [row["category"] in ("all", "B", "C", "D") for row in found["together"]] == [True] * len(found["together"])
    # The detector is scored on the test clips alone; swapped streams come from the same subjects.
    assert len(asked["clips"]) == 28
    assert set(asked["partners"]["subject"]) == set(asked["clips"]["subject"])
    assert asked["changes"] == CHANGES
    folder = asked["folder"].parent
    names = {path.name for path in folder.iterdir()}
    assert names == {"audit.json", "audit.md", "audit.png", "audit.svg", "effects.csv", "shortcuts.csv"}
    page = (folder / "audit.md").read_text()
    assert page.startswith(
        "# Audit of object on corpus, train_1\n\n## What was found\n\n- The detector tells real from fake"
    )
    assert all(f"- {sentence}\n" in page for sentence in found["sentences"])
    assert "![The audit](audit.png)" in page
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.index("Shortcuts of the corpus") < shown.index("What was found")
    assert "The detector USES it" in shown
    table = pd.read_csv(folder / "effects.csv")
    assert len(table) == 4 * (1 + len(CHANGES)) == len(found["effects"])


@pytest.mark.usefixtures("restore_logging")
def test_a_planted_shortcut_that_the_detector_ignores(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = run(monkeypatch, planted, tmp_path / "out", by_video_and_audio, changes="leading silence,missing")
    assert "leading silence" in found["named"]
    verdict = next(said for said in found["sentences"] if said.startswith("SHORTCUT: leading silence"))
    assert "No dependence of the detector could be shown" in verdict
    assert verdict.endswith("; 7 subjects are too few to exclude one.")
    assert found["sentences"][-1] == (
        "Not measured: of the probes start cut, shift, swap, loudness and length; all everyday damage."
    )
    assert any(said.startswith("It uses the audio") for said in found["sentences"])
    assert any(said.startswith("It uses the video") for said in found["sentences"])


@pytest.mark.usefixtures("restore_logging")
def test_a_corpus_without_shortcut_is_cleared(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = run(monkeypatch, clean, tmp_path / "out", by_video_and_audio, changes="probes")
    assert found["named"] == []
    assert not any("SHORTCUT" in said or "USES" in said for said in found["sentences"])
    cleared = next(said for said in found["sentences"] if said.startswith("No shortcut was found, in 56 clips, in "))
    assert "leading silence" in cleared
    assert "length difference" in cleared


@pytest.mark.usefixtures("restore_logging")
@pytest.mark.parametrize(("kept", "counts"), [("A", "7 real and 0 fake"), ("BCD", "0 real and 21 fake")])
def test_test_clips_of_one_kind_are_refused_before_anything_is_looked_at(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str, counts: str
) -> None:
    table, root = pd.read_csv(clean / "clips.csv"), clean / f"{kept}.csv"
    table[(table["split"] == "train") | table["category"].isin([*kept])].to_csv(root, index=False)
    message = f"{root}, fold train_1: has {counts} test clips, but an audit needs both, to see whether they are told"
    with pytest.raises(DataError, match=re.escape(message)):
        run(monkeypatch, root, tmp_path / "out", by_silence)
    assert not (tmp_path / "out" / "audit").exists()
    assert not (tmp_path / "out" / "results").exists()


@pytest.mark.usefixtures("restore_logging")
def test_clips_are_looked_at_once_and_what_is_not_given_is_as_in_training(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"max_frames": 10, "num_val": 5, "seed": 7}
    first, asked = run(monkeypatch, clean, tmp_path / "out", by_silence, config, changes="missing audio")
    assert (first["max_frames"], asked["max_frames"], asked["seed"], first["n"]) == (10, 10, 7, 20)
    assert [change.name for change in asked["changes"]] == ["missing audio"]
    # Only test clips are limited by num_val; the facts of all others are known already.
    monkeypatch.setattr("scripts.audit.shortcuts._look", lambda path: ("looked at again", [np.nan] * 6))
    options = {"changes": "missing audio", "num_val": 6, "seed": 1, "max_frames": 12}
    again, asked = run(monkeypatch, clean, tmp_path / "out", by_silence, config, **options)
    assert (again["max_frames"], asked["max_frames"], asked["seed"], again["n"]) == (12, 12, 1, 24)
    assert (first["n_shortcuts"], again["n_shortcuts"]) == (48, 48)  # four more test clips, which are "bad"


def test_changes_by_name() -> None:
    assert choose("all") == CHANGES
    assert {change.kind for change in choose("probes")} == {"probe"}
    assert {change.kind for change in choose("damage")} == {"damage"}
    assert [change.name for change in choose("missing audio, leading silence")] == ["leading silence", "missing audio"]
    assert len(choose("MP3,H.264")) == 10
    with pytest.raises(ValueError, match=r"--changes MP4: 'MP4' is unknown; known are all, probes, damage, deeper"):
        choose("MP4")


def test_the_fold_is_the_checkpoints_own(caplog: pytest.LogCaptureFixture) -> None:
    assert own_fold(Path("a.ckpt"), {"fold": "train_3"}) == "train_3.txt"
    assert own_fold(Path("a.ckpt"), {"fold": "train_6"}) == "train_6.txt"  # leave-one-out has seven
    assert own_fold(Path("MRDF_CE_train_2.ckpt"), {}) == "train_2.txt"
    with pytest.raises(ValueError, match=r"a\.ckpt does not say which fold it was trained on: give --train_fold"):
        own_fold(Path("a.ckpt"), {})
    for own, fold, part in (
        (
            {"fold": "train_1"},
            "train_2.txt",
            "was trained on train_1: if of this corpus, it knows most test clips of train_2.txt",
        ),
        ({}, "train_2.txt", "does not say what it was trained on"),
        ({"fold": "train_1", "validation": "test"}, "train_1.txt", "was picked on the test clips of train_1"),
    ):
        caplog.clear()
        warn_of_training(Path("a.ckpt"), fold, own)
        assert part in caplog.text
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
    caplog.clear()
    warn_of_training(Path("a.ckpt"), "train_1.txt", {"fold": "train_1", "validation": "subjects"})
    assert caplog.text == ""


@pytest.mark.usefixtures("restore_logging")
def test_a_fold_by_its_number(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = run(monkeypatch, clean, tmp_path / "out", by_silence, changes="missing audio", train_fold="1")
    assert found["fold"] == "train_1"
    with pytest.raises(DataError, match=r"--train_fold one: must be the name of a fold file, such as train_1\.txt"):
        run(monkeypatch, clean, tmp_path / "out", by_silence, train_fold="one")


def test_options_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--bootstrap is 5, but must be 100 or more"):
        audit(tmp_path / "a.ckpt", tmp_path, bootstrap=5)


def test_notes_on_media_files_are_counted() -> None:
    rate, square = "30 frames a second", "its central square is used"
    notes = {"a.mp4": [rate], "b.mp4": [rate, square], "c.mp4": ["another"]}
    files = ["a.mp4", "b.mp4", "d.mp4"]
    assert noted(notes, files) == [f"2 of 3 clips: {rate}", f"1 of 3 clips: {square}"]
