"""train.py and test.py as a user runs them, on short clips and with small detectors."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

import test as test_program
import train as train_program
from model import fast, read_checkpoint, threshold_of
from tests.small_detectors import making_them_small
from utils.cli import run
from utils.metrics import equal_error_threshold, evaluate
from utils.options import TestOptions, TrainOptions, plain
from utils.results import read_scores

# One clip of each category on either side, so that an epoch takes a second.
TINY = ("--batch_size", "4", "--num_train", "1", "--num_val", "1", "--folds", "1", "--learning_rate", "5e-4")


pytestmark = pytest.mark.usefixtures("restore_logging", "small_detectors")


def train(*arguments: object) -> int:
    return run(TrainOptions, train_program.train, "train.py", [str(argument) for argument in arguments])


def test(*arguments: object) -> int:
    return run(TestOptions, test_program.test, "test.py", [str(argument) for argument in arguments])


test.__test__ = False


def epochs(number: int) -> tuple[str, ...]:
    return "--max_epochs", str(number), "--min_epochs", str(number)


@pytest.fixture(scope="module")
def trained(short_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three epochs of MRDF_CE on the reference corpus without interruption: data and outputs."""
    outputs = tmp_path_factory.mktemp("trained") / "outputs"
    with making_them_small():
        assert train("--data_root", short_corpus, "--outputs", outputs, *TINY, *epochs(3)) == 0
    return short_corpus, outputs


def test_training_leaves_what_it_promises(trained: tuple[Path, Path]) -> None:
    _, outputs = trained
    for name in (
        "ckpts/MRDF_CE/MRDF_CE_train_1.ckpt",
        "ckpts/MRDF_CE/MRDF_CE_train_1-last.ckpt",
        "results/MRDF_CE/train_1/metrics.json",
        "results/MRDF_CE/train_1/scores.csv",
        "results/MRDF_CE/summary.json",
        "results/MRDF_CE/summary.csv",
        "results/MRDF_CE/summary.md",
        "results/MRDF_CE/config.yaml",
        "results/MRDF_CE/roc.png",
        "log/MRDF_CE/train.log",
        "log/MRDF_CE/train_1/version_0/metrics.csv",
    ):
        assert (outputs / name).is_file(), name
    assert "- Not controlled by mrdf-5fold: Faces and voices" in (outputs / "results/MRDF_CE/summary.md").read_text()
    assert list((outputs / "log/MRDF_CE/train_1/version_0").glob("events.out.tfevents.*"))
    metrics = json.loads((outputs / "results/MRDF_CE/train_1/metrics.json").read_text())
    assert metrics["config"]["learning_rate"] == 5e-4
    assert metrics["config"]["encoder_layers"] == 0
    assert metrics["config"]["recipe"] == "released"
    scores = read_scores(outputs / "results/MRDF_CE/train_1/scores.csv")
    assert scores["category"].tolist() == list("ABCD")
    assert set(scores["subject"]) == {"id00076"}
    recomputed = evaluate(scores)
    assert {name: metrics[name] for name in recomputed} == json.loads(json.dumps(recomputed))
    log = pd.read_csv(outputs / "log/MRDF_CE/train_1/version_0/metrics.csv")
    assert {"val_loss", "val_acc", "val_acc_auc", "val_released", "train_loss_epoch", "lr"} <= set(log.columns)


def test_the_configuration_of_a_run_gives_the_same_options_again(trained: tuple[Path, Path]) -> None:
    _, outputs = trained
    seen = []
    configuration = outputs / "results/MRDF_CE/config.yaml"
    assert run(TrainOptions, seen.append, "train.py", ["--config", str(configuration)]) == 0
    config = json.loads((outputs / "results/MRDF_CE/train_1/metrics.json").read_text())["config"]
    # No protocol asks for that of the corpus, by the name of which the results are recorded.
    assert (plain(seen[0]) | {"protocol": "mrdf-5fold"}).items() <= config.items()


def test_the_best_checkpoint_is_that_of_the_best_epoch(trained: tuple[Path, Path]) -> None:
    _, outputs = trained
    log = pd.read_csv(outputs / "log/MRDF_CE/train_1/version_0/metrics.csv")
    selected = log.dropna(subset="val_released").set_index("epoch")["val_released"]
    assert read_checkpoint(outputs / "ckpts/MRDF_CE/MRDF_CE_train_1.ckpt")["epoch"] == selected.idxmax()
    assert read_checkpoint(outputs / "ckpts/MRDF_CE/MRDF_CE_train_1-last.ckpt")["epoch"] == 2


def test_a_checkpoint_holds_the_threshold_of_its_validation_clips(trained: tuple[Path, Path]) -> None:
    _, outputs = trained
    scores = read_scores(outputs / "results/MRDF_CE/train_1/scores.csv")  # under released they are the test clips
    threshold = threshold_of(read_checkpoint(outputs / "ckpts/MRDF_CE/MRDF_CE_train_1.ckpt"))
    expected = equal_error_threshold(scores["label"].to_numpy(), scores["score"].to_numpy())
    assert threshold.value == pytest.approx(expected, abs=1e-5)  # BatchNorm is folded in the test alone
    assert (threshold.rule, threshold.clips) == ("eer", 4)
    assert threshold.on == "the clips of the test fold, by which the epoch was picked too (train_1)"


def test_scores_tell_race_and_gender_where_the_corpus_does(trained: tuple[Path, Path]) -> None:
    data, outputs = trained
    corpus = pd.read_csv(data / "meta_data.csv", dtype=str).set_index("source")
    scores = read_scores(outputs / "results/MRDF_CE/train_1/scores.csv")
    for name in ("race", "gender"):
        assert set(scores[name]) == set(corpus.loc["id00076", name])


def test_testing_a_checkpoint_gives_the_figures_of_its_training(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", no_compiler)
    fast._can_compile.cache_clear()
    data, outputs = trained
    checkpoint = outputs / "ckpts/MRDF_CE/MRDF_CE_train_1.ckpt"
    assert test("--data_root", data, "--checkpoint", checkpoint, "--outputs", tmp_path, "--compile") == 0
    fast._can_compile.cache_clear()
    assert "going on without it: no compiler" in (tmp_path / "log/MRDF_CE/test.log").read_text()
    for name in ("metrics.json", "scores.csv"):
        ours, theirs = (folder / "results/MRDF_CE/train_1" / name for folder in (tmp_path, outputs))
        if name == "scores.csv":
            assert ours.read_text() == theirs.read_text()
        else:
            ours, theirs = json.loads(ours.read_text()), json.loads(theirs.read_text())
            ours.pop("config"), theirs.pop("config")
            assert ours == theirs


def test_another_batch_size_is_warned_of_where_it_matters(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data, outputs = trained
    checkpoint = outputs / "ckpts/MRDF_CE/MRDF_CE_train_1.ckpt"
    assert test("--data_root", data, "--checkpoint", checkpoint, "--batch_size", 1, "--outputs", tmp_path) == 0
    assert "--batch_size 1: training had 4. Batches are cut to their shortest clip" in capsys.readouterr().err
    config = json.loads((tmp_path / "results/MRDF_CE/train_1@batch-1/metrics.json").read_text())["config"]
    assert (config["batch_size"], config["precision"], config["deterministic"]) == (1, "16", False)


def test_the_same_command_gives_the_same_scores(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """On a CPU, with and without --deterministic, and with other loggers."""
    data, outputs = trained
    same = ("--outputs", tmp_path, "--deterministic", "--logger", "none")
    assert train("--data_root", data, *TINY, *epochs(3), *same) == 0
    scores = "results/MRDF_CE/train_1/scores.csv"
    assert (tmp_path / scores).read_bytes() == (outputs / scores).read_bytes()
    weights, expected = (
        read_checkpoint(folder / "ckpts/MRDF_CE/MRDF_CE_train_1.ckpt")["state_dict"] for folder in (tmp_path, outputs)
    )
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert {path.name for path in (tmp_path / "log/MRDF_CE").iterdir()} == {"train.log"}


@pytest.mark.parametrize(
    "num_workers", [2, pytest.param(0, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow)]
)
def test_a_resumed_run_ends_with_the_numbers_of_an_uninterrupted_one(
    trained: tuple[Path, Path], tmp_path: Path, num_workers: int
) -> None:
    data, uninterrupted = trained  # without workers
    common = ("--data_root", data, "--outputs", tmp_path, *TINY, "--num_workers", num_workers)
    assert train(*common, *epochs(1)) == 0
    assert train(*common, *epochs(2), "--resume", "auto") == 0
    last = tmp_path / "ckpts/MRDF_CE/MRDF_CE_train_1-last.ckpt"
    assert train(*common, *epochs(3), "--resume", last) == 0
    for name in ("MRDF_CE_train_1.ckpt", "MRDF_CE_train_1-last.ckpt"):
        ours, theirs = (read_checkpoint(folder / "ckpts/MRDF_CE" / name) for folder in (tmp_path, uninterrupted))
        assert ours["epoch"] == theirs["epoch"]
        for key, value in theirs["state_dict"].items():
            assert torch.equal(ours["state_dict"][key], value), key
        assert ours["callbacks"]["PlateauSchedule"] == theirs["callbacks"]["PlateauSchedule"]
    scores = "results/MRDF_CE/train_1/scores.csv"
    assert (tmp_path / scores).read_text() == (uninterrupted / scores).read_text()


def test_resuming_what_cannot_be_resumed(
    trained: tuple[Path, Path], released_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data, outputs = trained
    common = ("--data_root", data, "--outputs", tmp_path, "--num_train", "1", "--num_val", "1")
    last = outputs / "ckpts/MRDF_CE/MRDF_CE_train_1-last.ckpt"
    for arguments, message in (
        (("--folds", "1,2", "--resume", last), "a file resumes one fold; add --folds"),
        (("--folds", "2", "--resume", last), "its fold is train_1, not train_2"),
        (("--folds", "1", "--model_type", "AVDF", "--resume", last), "its model_type is MRDF_CE, not AVDF"),
        (("--folds", "1", "--resume", released_checkpoint), "not written by train.py of this project"),
    ):
        assert train(*common, *arguments) == 2
        assert message in one_line(capsys)


def test_a_test_in_another_way_displaces_nothing(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = trained
    outputs = shutil.copytree(trained[1], tmp_path / "outputs")
    checkpoint, results = outputs / "ckpts/MRDF_CE/MRDF_CE_train_1.ckpt", outputs / "results/MRDF_CE"
    before = {path: path.read_bytes() for path in (results / "train_1").iterdir()}
    common = ("--data_root", data, "--checkpoint", checkpoint, "--outputs", outputs)
    log = outputs / "log/MRDF_CE/test.log"
    assert test(*common, "--batch_size", "2") == 0
    assert "trained on" not in log.read_text()
    assert test(*common, "--train_fold", "train_2.txt", "--precision", "bf16") == 0
    assert "1 of the 1 tested subjects were trained on (--protocol mrdf-5fold)" in log.read_text()
    assert {path: path.read_bytes() for path in (results / "train_1").iterdir()} == before
    config = json.loads((results / "train_1@batch-2/metrics.json").read_text())["config"]
    assert (config["fold"], config["batch_size"]) == ("train_1", 2)
    assert config["environment"].keys() == config["test_environment"].keys()
    other = results / "train_2@checkpoint-of-train_1+precision-bf16-mixed"
    assert json.loads((other / "metrics.json").read_text())["config"]["fold"] == "train_2"
    assert {path.name for path in results.glob("train_*")} == {"train_1", "train_1@batch-2", other.name}


def one_line(capsys: pytest.CaptureFixture) -> str:
    """The error that a program printed, which is one line."""
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def corpus(short_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the short corpus."""
    return Path(shutil.copytree(short_corpus, tmp_path / "corpus"))


def test_bad_data(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    common = ("--outputs", tmp_path / "outputs", *TINY)
    assert train("--data_root", tmp_path / "absent", *common) == 2
    assert "absent" in one_line(capsys)
    (corpus / "train_1.txt").write_text("fold 1\nid99999\n")
    assert train("--data_root", corpus, *common) == 2
    assert "train_1.txt" in one_line(capsys)
    (corpus / "meta_data.csv").write_text("source,method,type,race,gender,vid,path\na,b,c,d,e,f,g\n")
    assert train("--data_root", corpus, *common) == 2
    assert "category" in one_line(capsys)
    (corpus / "meta_data.csv").unlink()
    assert train("--data_root", corpus, *common) == 2
    assert "meta_data.csv" in one_line(capsys)
    assert not (tmp_path / "outputs/ckpts").exists()


def test_bad_clips_stop_the_run_before_training_or_are_skipped(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (corpus / "RealVideo-FakeAudio/Asian-East/men/id00113/00101_fake.mp4").write_bytes(b"not a video")
    (corpus / "FakeVideo-RealAudio/African/men/id00076/00100_0_id00900_wavtolip.mp4").unlink()
    common = ("--data_root", corpus, "--outputs", tmp_path / "outputs", "--batch_size", "4", "--folds", "1")
    assert train(*common, *epochs(1)) == 2
    error = capsys.readouterr().err
    assert "2 clips cannot be used (--skip_bad goes on without them)" in error
    assert "id00113/00101_fake.mp4" in error
    assert "00100_0_id00900_wavtolip.mp4: no such file" in error
    assert not (tmp_path / "outputs/ckpts").exists()

    assert train(*common, *epochs(1), "--skip_bad") == 0
    config = json.loads((tmp_path / "outputs/results/MRDF_CE/train_1/metrics.json").read_text())["config"]
    assert [Path(file).name for file, _ in config["skipped"]] == [
        "00101_fake.mp4",
        "00100_0_id00900_wavtolip.mp4",
    ]


def test_outputs_that_cannot_be_written(prepared_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    assert train("--data_root", prepared_root, "--outputs", tmp_path / "outputs", *TINY) == 2
    assert "outputs" in one_line(capsys)


def test_bad_checkpoints(prepared_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "odd.ckpt").write_bytes(b"hello")
    assert test("--data_root", prepared_root, "--checkpoint", tmp_path / "odd.ckpt", "--outputs", tmp_path) == 2
    assert "odd.ckpt: not a PyTorch checkpoint" in one_line(capsys)
    assert test("--data_root", prepared_root, "--checkpoint", tmp_path / "no.ckpt", "--outputs", tmp_path) == 2
    assert "no.ckpt: no such checkpoint" in one_line(capsys)
