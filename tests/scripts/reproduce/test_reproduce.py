"""main.py reproduce: who does which fold, what is done, what stops; and killed runs that end with the same numbers."""

import json
import logging
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from main import main
from scripts.reproduce.command import RUNNING, Overview, clips_of, make_job, share_of
from tests.reproduce_tools import CORPUS, patch, started
from utils.cli import run
from utils.options import TrainOptions, plain
from utils.outputs import Fold, config_hash, held, metrics_of
from utils.results import SCORE_COLUMNS

pytestmark = pytest.mark.usefixtures("restore_logging")


def reproduce(*arguments: object) -> int:
    """Exit code of the command."""
    try:
        return main(["reproduce", *map(str, arguments)])
    except SystemExit as ended:
        return ended.code


def config_of(**changed: Any) -> dict[str, Any]:
    return plain(TrainOptions(data_root=CORPUS, **changed))


def test_hash_changes_with_what_decides_the_numbers_alone(tmp_path: Path) -> None:
    clips = {"train": "a", "val": "b", "test": "c"}
    expected = config_hash(config_of(), clips)
    for same in (
        {"outputs": Path("elsewhere"), "num_workers": 3, "cache_dir": Path("cache"), "log_steps": 1},
        {"resume": "auto", "folds": "2", "save_name": "other"},
        {"learning_rate": 1e-3, "recipe": "released", "num_train": 400},  # what the recipe says anyway
        {"data_root": tmp_path},  # the same clips elsewhere
    ):
        assert config_hash(config_of() | plain(TrainOptions(**{"data_root": CORPUS} | same)), clips) == expected, same
    for other in ({"seed": 1}, {"max_epochs": 31}, {"recipe": "clean"}, {"model_type": "AVDF"}, {"gpus": 2},
                  {"learning_rate": 2e-3}, {"skip_bad": True}, {"pretrained": Path("absent.pt")}):  # fmt: skip
        assert config_hash(config_of(**other), clips) != expected, other
    for side in clips:
        assert config_hash(config_of(), clips | {side: "another list"}) != expected, side


def test_the_lists_of_clips_change_with_folds_labels_and_files(prepared_root: Path) -> None:
    def lists() -> dict[str, str]:
        return clips_of(TrainOptions(data_root=prepared_root), "1")

    before = lists()
    assert before == clips_of(TrainOptions(data_root=CORPUS), "1")  # the same corpus elsewhere
    assert before["val"] == before["test"] != before["train"]
    fold = prepared_root / "train_1.txt"
    text = fold.read_text()
    lines = text.splitlines()
    for changed in ("\n".join(lines[:-1]), "\n".join([lines[0], "id00076", *lines[2:]])):
        fold.write_text(changed)
        other = lists()
        assert other["train"] != before["train"]
        assert other["test"] != before["test"]
    fold.write_text(text)
    assert lists() == before
    clip = next(prepared_root.rglob("RealVideo-RealAudio/**/*.mp4"))
    content = clip.read_bytes()
    clip.write_bytes(content + b" ")  # another version of the corpus
    assert lists() != before
    clip.write_bytes(content)
    table = prepared_root / "meta_data.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    assert lists() != before


def test_a_fold_of_another_number_has_lists_of_its_own() -> None:
    first, second = (clips_of(TrainOptions(data_root=CORPUS), number) for number in "12")
    assert all(first[side] != second[side] for side in first)
    fewer = clips_of(TrainOptions(data_root=CORPUS, num_train=1), "1")
    assert fewer["train"] != first["train"]
    assert fewer["test"] == first["test"]


def test_the_command_asks_for_the_configuration_that_is_looked_for(tmp_path: Path) -> None:
    options = {"data_root": CORPUS, "outputs": tmp_path, "learning_rate": 3e-4, "train_frontend": False}
    options |= {"skip_bad": True, "precision": "32", "max_frames": 7, "num_workers": None}
    job = make_job("MRDF_Margin", "3", options, {"test": "a"})
    seen: list[TrainOptions] = []
    assert run(TrainOptions, seen.append, "train.py", job.command[2:]) == 0
    assert config_hash(plain(seen[0]), {"test": "a"}) == job.digest
    assert (seen[0].model_type, seen[0].save_name, seen[0].fold_names) == ("MRDF_Margin", "MRDF_Margin", ["train_3"])
    assert (seen[0].resume, seen[0].outputs) == ("auto", tmp_path)
    assert Path(job.command[1]).is_file()


def test_the_configuration_repeats_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch(monkeypatch, lambda fold: "0")
    flags = ("--models", "AVDF,MRDF_CE", "--folds", "2", "--learning_rate", "2e-3", "--train_frontend")
    assert reproduce("--data_root", CORPUS, "--outputs", tmp_path, *flags) == 0
    assert set(started(tmp_path).values()) == {1}
    assert reproduce("--config", tmp_path / "results/reproduce.yaml") == 0
    assert started(tmp_path) == {"AVDF train_2": 1, "MRDF_CE train_2": 1}  # all of it was done already
    assert reproduce("--config", tmp_path / "results/reproduce.yaml", "--learning_rate", "1e-3") == 0
    assert set(started(tmp_path).values()) == {2}


def test_metrics_of_something_else_are_not_those_of_the_fold(tmp_path: Path) -> None:
    fold = Fold(tmp_path, "AVDF", "train_1")
    fold.results.mkdir(parents=True)
    scores = fold.results / "scores.csv"
    scores.write_text(f"{','.join(SCORE_COLUMNS)}\na.mp4,id1,A,real,1,0.5,,,1\n")

    def written(**found: Any) -> bool:
        found = {"config_hash": "h", "checkpoint": "moved/since/AVDF_train_1.ckpt"} | found
        fold.metrics.write_text(json.dumps({"config": found, "per_category": {}, "n": 1}))
        return metrics_of(fold, "h") is not None

    assert metrics_of(fold, "h") is None
    assert written()
    assert not written(config_hash="another")
    assert not written(checkpoint="moved/since/AVDF_train_2.ckpt")
    assert not written(checkpoint=None)
    assert written()
    scores.write_text(f"{','.join(SCORE_COLUMNS)}\n")
    assert not written()
    scores.unlink()
    assert not written()


def test_one_failure_does_not_stop_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    common = ("--data_root", CORPUS, "--outputs", tmp_path, "--models", "AVDF,MRDF_CE", "--folds", "1,2")
    behaviours = {"AVDF train_1": "fail", "AVDF train_2": "die", "MRDF_CE train_1": "nothing"}
    patch(monkeypatch, lambda fold: behaviours.get(fold, "0"))
    assert reproduce(*common) == 1
    said = capsys.readouterr().err
    assert "3 of 4 folds failed" in said
    assert f"AVDF train_1: exit code 1, see {tmp_path / 'log/AVDF/train_1.log'}" in said
    assert "train.py: error: a flag is broken" in (tmp_path / "log/AVDF/train_1.log").read_text()
    assert "AVDF train_2: killed by SIGKILL, see " in said
    assert "MRDF_CE train_1: train.py left no results of this configuration, see " in said
    assert "MRDF_CE train_2: done 75.00/50.00" in said
    assert "| MRDF_CE" in (tmp_path / "results/table.md").read_text()

    patch(monkeypatch, lambda fold: "0")
    assert reproduce(*common) == 0
    assert started(tmp_path) == {"AVDF train_1": 2, "AVDF train_2": 2, "MRDF_CE train_1": 2, "MRDF_CE train_2": 1}
    assert reproduce(*common, "--seed", 7) == 0
    assert started(tmp_path)["MRDF_CE train_2"] == 2  # another configuration is done anew
    table = json.loads((tmp_path / "results/table.json").read_text())
    assert [row["run"] for row in table["rows"]] == ["AVDF", "MRDF_CE"]


def test_shards_have_every_fold_once() -> None:
    jobs = list(range(30))
    shares = [share_of(jobs, f"{k}/4") for k in range(1, 5)]
    assert sorted(job for share in shares for job in share) == jobs
    assert shares[1][:2] == [1, 5]
    assert share_of(jobs, None) == jobs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--models", "AVDF,MRDF"), "--models AVDF,MRDF: MRDF unknown; known are AVDF, AVDF_Ensemble"),
        (("--models", ","), "--models ,: names no detector; known are AVDF, AVDF_Ensemble"),
        (("--shard", "5/4"), "--shard 5/4: must be such as 2/4"),
        (("--shard", "2"), "--shard 2: must be such as 2/4"),
        (("--folds", "0"), "--folds 0: must be fold numbers from 1 to 9"),
        (("--data_root", "absent"), "absent"),
        (("--resume", "auto"), "--resume"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], message: str, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    assert reproduce("--data_root", CORPUS, "--outputs", tmp_path, *arguments) == 2
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_locked_fold_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    patch(monkeypatch, lambda fold: "0")
    fold = Fold(tmp_path, "AVDF", "train_1")
    keeper = held(fold)
    keeper.__enter__()
    said = ""

    def let_go(_: float) -> None:
        nonlocal said, keeper
        said += capsys.readouterr().err
        if "waiting for" in said and keeper is not None:
            keeper.__exit__(None, None, None)
            keeper = None

    monkeypatch.setattr("scripts.reproduce.command.time.sleep", let_go)
    assert reproduce("--data_root", CORPUS, "--outputs", tmp_path, "--models", "AVDF", "--folds", "1,2") == 0
    lines = (said + capsys.readouterr().err).splitlines()
    parts = ("train_1: locked elsewhere", "train_2: done", "train_1: waiting for", "train_1: done")
    places = [next(k for k, line in enumerate(lines) if part in line) for part in parts]
    assert places == sorted(places)
    assert f"process {os.getpid()}" in lines[places[2]]
    assert started(tmp_path) == {"AVDF train_1": 1, "AVDF train_2": 1}


def test_overview(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, second, third = folds = [Fold(tmp_path, "AVDF", f"train_{k}") for k in (1, 2, 3)]
    with closing(Overview(dict.fromkeys(folds, "h"), max_epochs=10)) as overview:
        overview.working(first, RUNNING)
        first.results.mkdir(parents=True)
        progress = {"epoch": 4, "max_epochs": 10, "seconds": 240.0, "config_hash": "h"}
        first.progress.write_text(json.dumps(progress))
        overview.refresh()
        overview.working(second, RUNNING)
        second.results.mkdir(parents=True)
        second.progress.write_text(json.dumps(progress | {"config_hash": "of another configuration"}))
        overview.refresh()
        overview.done(first, {"acc": 0.9405, "auc": 0.91})
        overview.fail(third, "exit code 2")
    assert [record.getMessage() for record in caplog.records] == [
        "AVDF train_1: running, epoch 0/10",
        "AVDF train_1: running, epoch 4/10",
        "AVDF train_2: running, epoch 0/10",
        "AVDF train_1: done 94.05/91.00",
        "AVDF train_3: failed exit code 2",
    ]
    assert overview.failed == ["AVDF train_3: exit code 2"]
