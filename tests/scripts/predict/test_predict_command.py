"""`main.py predict` as a user runs it, on real clips."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import main
from dataset import ClipDataset, read_corpus
from dataset.transforms import normalise
from model import load_detector
from scripts.predict import command, predict_clip
from utils.files import to_json

pytestmark = pytest.mark.usefixtures("restore_logging")


def predict(*arguments: object) -> int:
    """Exit code of the command."""
    try:
        return main.main(["predict", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


@pytest.fixture
def folder(original_root: Path, tmp_path: Path) -> Path:
    """Three real clips, of 39, 38 and 36 frames."""
    place = tmp_path / "clips"
    place.mkdir()
    for number, clip in enumerate(sorted(original_root.glob("RealVideo-RealAudio/*/*/*/*.mp4"))):
        shutil.copyfile(clip, place / f"{number}.mp4")
    return place


@pytest.mark.usefixtures("small_detectors")
def test_a_clip_of_the_corpus_scores_as_in_a_test(original_root: Path, small_checkpoint: Path, tmp_path: Path) -> None:
    """That is, as test.py with --batch_size 1 scores it, whatever the batch is here."""
    clips = read_corpus(original_root)
    clips = clips[clips["category"] == "A"].reset_index(drop=True)
    dataset, detector, expected = ClipDataset(clips, train=False), load_detector(small_checkpoint), {}
    for path, item in zip(clips["path"], dataset, strict=True):
        with torch.inference_mode():
            verdict = detector.decide(detector(normalise(item["video"][None]), item["audio"].T[None]))
        expected[str(path)] = [score.item() for score in (verdict.score, verdict.audio_score, verdict.video_score)]
    folder, out = original_root / "RealVideo-RealAudio", tmp_path / "out.json"
    for batch_size in (1, 3):
        options = ("--batch_size", batch_size, "--json", out, "--outputs", tmp_path, "--fresh")
        assert predict(folder, "--checkpoint", small_checkpoint, *options) == 0
        content = json.loads(out.read_text())
        assert [clip["file"] for clip in content["clips"]] == [str(path) for path in sorted(folder.rglob("*.mp4"))]
        for clip in content["clips"]:
            values = [clip[name] for name in ("score", "audio_score", "video_score")]
            np.testing.assert_allclose(values, expected[clip["file"]], rtol=0, atol=1e-6 if batch_size == 1 else 1e-5)
            (window,) = clip["windows"]
            assert (window["start"], window["end"], clip["crop"]) == (0, clip["seconds"], True)
            assert clip["verdict"] == ("real" if clip["score"] >= 0.5 else "fake")
    assert content["settings"]["window"] == 20
    assert content["threshold"]["rule"] == "default"


@pytest.mark.usefixtures("small_detectors")
def test_what_is_printed_and_written(
    folder: Path, small_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.mp4").write_bytes(b"no media")
    table, figures = tmp_path / "out.csv", tmp_path / "figures"
    arguments = (folder, tmp_path / "gone.mp4", "--checkpoint", small_checkpoint, "--csv", table, "--plot", figures)
    more = ("--outputs", tmp_path, "--threshold", "0.9", "--window", "1", "--hop", "0.4")
    assert predict(*arguments, *more) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("score = probability of real: 1 = real, 0 = fake")
    assert lines[2].startswith("threshold: real from 0.9 on (as --threshold says); audio and video alone")
    assert [Path(line.split("   ")[0].strip()).name for line in lines[3:-1]] == [
        "0.mp4", "1.mp4", "2.mp4", "broken.mp4", "gone.mp4"
    ]  # fmt: skip
    assert "NOT SCORED   unreadable: " in lines[6]
    assert lines[7].endswith("NOT SCORED   no such file")
    assert lines[8].startswith("3 scored: ")
    assert lines[8].endswith("2 not scored (unreadable 1, no such file 1)")
    rows = pd.read_csv(table)
    assert rows["status"].tolist() == ["scored"] * 3 + ["not scored"] * 2
    assert rows["windows"].tolist() == [3, 3, 3, 0, 0]
    assert ((rows["p_real"] >= 0.9).map({True: "real", False: "fake"}) == rows["verdict"]).iloc[:3].all()
    assert sorted(path.name for path in figures.iterdir()) == ["0.mp4.png", "1.mp4.png", "2.mp4.png"]


@pytest.mark.usefixtures("small_detectors")
def test_a_stopped_run_goes_on_where_it_was(
    folder: Path,
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = (folder, "--checkpoint", small_checkpoint, "--outputs", tmp_path, "--batch_size", 1)
    scored: list[int | None] = []

    def counted(*given: object) -> object:
        for item in real(*given):
            scored.append(item[0])
            if len(scored) == 2:
                raise KeyboardInterrupt
            yield item

    real = command.score_clips
    monkeypatch.setattr(command, "score_clips", counted)
    assert predict(*arguments) == 130
    (journal,) = (tmp_path / "predict").iterdir()
    assert f"{journal}: the same command goes on from there\nmain.py: stopped\n" in capsys.readouterr().err
    assert len([line for line in journal.read_bytes().splitlines() if line]) == 1
    with journal.open("ab") as file:
        file.write(b'{"file": "')  # a process killed in the middle of a line
    shutil.copyfile(folder / "0.mp4", folder / "3.mp4")
    parts, whole = tmp_path / "parts.json", tmp_path / "whole.json"
    scored = [None, None]
    assert predict(*arguments, "--json", parts) == 0
    assert scored == [None, None, 0, 1, 2]
    assert "1 of 4 clips were scored before" in capsys.readouterr().err
    assert predict(*arguments, "--json", parts) == 0
    assert scored == [None, None, 0, 1, 2]
    assert predict(*arguments, "--fresh", "--json", whole) == 0
    assert scored == [None, None, 0, 1, 2, 0, 1, 2, 3]
    assert json.loads(parts.read_text()) == json.loads(whole.read_text())
    clips = json.loads(whole.read_text())["clips"]
    assert clips[3] == clips[0] | {"file": str(folder / "3.mp4")}


@pytest.mark.usefixtures("small_detectors")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{folder}",), "--checkpoint is missing"),
        (("{empty}", "--checkpoint", "{checkpoint}"), "no clip in it; looked for"),
        (("@{empty}/list.txt", "--checkpoint", "{checkpoint}"), "list.txt: the list cannot be read"),
        (("{folder}", "--checkpoint", "{empty}/a.ckpt"), "a.ckpt: no such checkpoint"),
        (("{folder}", "--checkpoint", "{checkpoint}", "--window", "1", "--hop", "2"), "leaves gaps"),
        (("{folder}", "--checkpoint", "{checkpoint}", "--threshold", "1.5"), "--threshold"),
        (("{folder}", "--checkpoint", "{checkpoint}", "--plot", "a.png"), "but there are 3 clips"),
    ],
)
def test_arguments_that_are_wrong(
    folder: Path,
    small_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    places = {"folder": folder, "empty": empty, "checkpoint": small_checkpoint}
    assert predict(*(argument.format(**places) for argument in arguments), "--outputs", tmp_path / "out") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "error: " in error
    assert message in error


@pytest.mark.usefixtures("small_detectors")
def test_lines_are_in_the_order_of_the_clips(
    folder: Path, small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = command.score_clips
    monkeypatch.setattr(command, "score_clips", lambda *given: reversed(list(real(*given))))
    assert predict(folder, "--checkpoint", small_checkpoint, "--outputs", folder / "out") == 0
    lines = capsys.readouterr().out.splitlines()[3:-1]
    assert [Path(line.split("   ")[0].strip()).name for line in lines] == ["0.mp4", "1.mp4", "2.mp4"]


@pytest.mark.usefixtures("small_detectors")
@pytest.mark.parametrize("flag", ["--json", "--csv"])
def test_the_machine_gets_the_standard_output_and_people_the_other(
    flag: str, folder: Path, small_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert predict(folder / "0.mp4", "--checkpoint", small_checkpoint, "--outputs", tmp_path, flag) == 0
    printed = capsys.readouterr()
    if flag == "--json":
        assert [clip["status"] for clip in json.loads(printed.out)["clips"]] == ["scored"]
    else:
        assert pd.read_csv(io.StringIO(printed.out))["status"].tolist() == ["scored"]
    assert "1 scored: " in printed.err


def test_the_readme_runs(
    folder: Path, released_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    text = (Path(main.__file__).parent / "scripts" / "predict" / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (folder / "0.mp4").rename(folder / "clip.mp4")
    monkeypatch.chdir(folder)
    (folder / "detector.ckpt").symlink_to(released_checkpoint)
    exec(code, {})
    printed = capsys.readouterr().out
    assert printed.split()[0] in ("real", "fake")
    assert "looks most like a fake from " in printed


@pytest.mark.usefixtures("small_detectors")
def test_one_clip_as_a_library(folder: Path, small_checkpoint: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out.json", tmp_path / "page.html"
    options = ("--outputs", tmp_path, "--json", out, "--html", page)
    assert predict(folder, "--checkpoint", small_checkpoint, *options) == 0
    assert page.read_text(encoding="utf-8").count("<audio") == 3
    for entry in json.loads(out.read_text())["clips"]:
        said = predict_clip(entry["file"], small_checkpoint)
        assert json.loads(to_json(said.plain())) == entry
    page.unlink()
    assert predict(folder, "--checkpoint", small_checkpoint, *options) == 0  # from what is remembered
    assert page.read_text(encoding="utf-8").count("<audio") == 3
    gone = predict_clip(folder / "gone.mp4", small_checkpoint)
    assert (gone.score, gone.verdict, gone.reason) == (None, None, "no such file")
    with pytest.raises(ValueError, match="--prior 0: must lie between 0 and 1"):
        predict_clip(folder / "0.mp4", small_checkpoint, prior=0)


@pytest.mark.usefixtures("small_detectors")
def test_a_clip_is_not_taken_for_the_file_to_write(
    folder: Path, small_checkpoint: Path, capsys: pytest.CaptureFixture
) -> None:
    before = (folder / "1.mp4").read_bytes()
    assert predict(folder / "0.mp4", "--checkpoint", small_checkpoint, "--json", folder / "1.mp4") == 2
    assert "--json" in capsys.readouterr().err
    assert (folder / "1.mp4").read_bytes() == before
