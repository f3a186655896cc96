"""Two processes on the CPU give what one gives: losses, gradients, and a whole run of train.py."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from pytorch_lightning import seed_everything
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from dataset import FakeAVCelebDataModule, read_corpus
from dataset.transforms import normalise
from model import MODELS, Detector, load_detector, read_checkpoint
from model.training.scoring import score_fold
from model.training.trainer import make_trainer
from tests.reference import recipe
from utils.results import read_metrics, read_scores

REFERENCE = Path(__file__).parents[1] / "reference"
ROOT = Path(__file__).parents[2]
TINY = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 4, "encoder_layers": 1}
TINY |= {"conv_pos": 8, "conv_pos_groups": 2, "attention_dropout": 0.0}
# Detector, and the frames of its four clips, each process padding its own to the longest.
CASES = {
    "margin": ("MRDF_Margin", (3, 3, 3, 3)),
    "ce": ("MRDF_CE", (3, 3, 3, 3)),
    "ce, masked": ("MRDF_CE", (5, 2, 3, 4)),
}
SHARES = (slice(0, 2), slice(2, 4))  # clips of each process


class Loss(nn.Module):
    """The total loss of a batch as a forward pass, for DDP to wrap."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, batch: dict[str, Any]) -> Tensor:
        outputs = self.detector(batch["video"], batch["audio"], batch["padding_mask"])
        return self.detector.losses(outputs, batch)["loss"]


def detector_without_dropout(name: str) -> Detector:
    """In train mode, but for BatchNorm: on a CPU each process would normalise by its own clips."""
    torch.manual_seed(0)
    detector = MODELS[name](encoder=TINY, train_frontend=True, margin_audio=0.1, margin_visual=0.2)
    for module in detector.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    detector.train()
    for module in detector.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return detector


def batch_of(lengths: tuple[int, ...], share: slice) -> dict[str, Tensor]:
    """Some of the clips, padded to the longest of them."""
    batch = {key: torch.as_tensor(value) for key, value in recipe.detector_batch(7, 4, max(lengths), size=32).items()}
    labels = {"v_label": [1, 0, 1, 0], "a_label": [1, 1, 0, 0], "m_label": [1, 0, 0, 0], "c_label": [1, 0, 0, 0]}
    batch |= {name: torch.tensor(values) for name, values in labels.items()}
    batch["padding_mask"] = torch.tensor(lengths)[:, None] <= torch.arange(max(lengths))  # (B, T)
    frames = max(lengths[share])
    batch |= {"video": batch["video"][:, :, :frames], "audio": batch["audio"][:, :, :frames]}
    batch["padding_mask"] = batch["padding_mask"][:, :frames]
    return {name: value[share] for name, value in batch.items()}


def results_of(loss: nn.Module, detector: Detector, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Loss of a batch in training and in evaluation, and gradients."""
    results = {"loss": loss(batch)}
    results["loss"].backward()
    gradients = {f"grad of {name}": value.grad for name, value in detector.named_parameters() if value.grad is not None}
    results |= gradients
    with torch.no_grad():
        results["loss in evaluation"] = Loss(detector.eval())(batch)
    return {name: value.detach() for name, value in results.items()}


def share_of(rank: int, folder: Path) -> dict[str, dict[str, Tensor]]:
    """One of two processes: its share of each case."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2, timeout=timedelta(minutes=2)
    )
    results = {}
    for case, (name, lengths) in CASES.items():
        detector = detector_without_dropout(name)
        loss = DistributedDataParallel(Loss(detector), find_unused_parameters=True)
        results[case] = results_of(loss, detector, batch_of(lengths, SHARES[rank]))
    dist.destroy_process_group()
    return results


def second_process(_: int, folder: Path) -> None:
    """Keeps its results in `folder`."""
    torch.set_num_threads(1)
    torch.save(share_of(1, folder), folder / "second.pt")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("processes")
    other = torch.multiprocessing.spawn(second_process, (folder,), nprocs=1, join=False)
    first = share_of(0, folder)
    while not other.join():
        pass
    return [first, torch.load(folder / "second.pt")]


def relative_error(actual: Tensor, expected: Tensor, floor: float = 0.0) -> float:
    """Largest difference, relative to the largest value expected or to `floor`."""
    return float((actual - expected).abs().max()) / max(float(expected.abs().max()), floor, 1e-12)


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_of_two_processes_are_those_of_the_whole_batch(case: str, two_processes: list[dict]) -> None:
    first, second = (results[case] for results in two_processes)
    name, lengths = CASES[case]
    detector = detector_without_dropout(name)
    whole = results_of(Loss(detector), detector, batch_of(lengths, slice(None)))
    assert first.keys() == second.keys() == whole.keys()
    assert abs(float(first["loss"] + second["loss"]) / 2 - float(whole["loss"])) < 1e-5
    gradients = [key for key in whole if key.startswith("grad of")]
    assert any("trunk" in key for key in gradients)
    largest = max(float(whole[key].abs().max()) for key in gradients)
    for key in gradients:
        assert torch.equal(first[key], second[key]), key  # after DDP's reduction
        # A bias before a norm or a softmax has no gradient but rounding.
        assert relative_error(first[key], whole[key], floor=1e-3 * largest) < 1e-4, key


def test_pairs_within_each_process_alone_are_not_those_of_the_whole_batch(two_processes: list[dict]) -> None:
    name, lengths = CASES["margin"]
    losses = []
    for share, results in zip(SHARES, two_processes, strict=True):
        detector = detector_without_dropout(name)
        detector.load_state_dict(
            {key: results["margin"].get(key, value) for key, value in detector.state_dict().items()}
        )
        with torch.no_grad():
            losses.append(float(Loss(detector.eval())(batch_of(lengths, share))))
        # What a process logs in evaluation is the loss of its own batch.
        assert float(results["margin"]["loss in evaluation"]) == pytest.approx(losses[-1], rel=1e-5)
    with torch.no_grad():
        assert float(Loss(detector)(batch_of(lengths, slice(None)))) != pytest.approx(sum(losses) / 2, abs=1e-3)


def test_processes_of_a_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr("model.training.trainer.Trainer", lambda **options: seen.update(options))
    monkeypatch.setattr("model.training.trainer.check_gpus", lambda gpus: None)  # of a machine's GPUs: its own tests
    for gpus, there, accelerator, expected in (
        (2, False, "auto", ("cpu", 1, "auto", "32-true", False)),
        (2, False, "cpu", ("cpu", 2, "ddp_find_unused_parameters_true", "32-true", False)),
        (2, True, "cpu", ("cpu", 2, "ddp_find_unused_parameters_true", "32-true", False)),
        (1, True, "cpu", ("cpu", 1, "auto", "32-true", False)),
        (2, True, "auto", ("gpu", 2, "ddp_find_unused_parameters_true", "16-mixed", True)),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        make_trainer(gpus, "16", accelerator=accelerator)
        options = [seen[name] for name in ("accelerator", "devices", "strategy", "precision")]
        assert (*options, seen["sync_batchnorm"]) == expected
    with pytest.raises(ValueError, match="accelerator 'tpu' is unknown; use one of auto, cpu"):
        make_trainer(1, "16", accelerator="tpu")
    with pytest.raises(ValueError, match="precision bf16-mixed: several processes on the CPU compute in float32"):
        make_trainer(2, "bf16-mixed", accelerator="cpu")


# train.py on the CPU, each process of which notes what it opens to write.
PROGRAM = """
import atexit
import os
import sys
from pathlib import Path

import train
from utils.cli import run
from utils.options import TrainOptions

opened = []


def note(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        opened.append(arguments[0])


sys.addaudithook(note)
notes = Path(__file__).parent / f"{os.getpid()}.txt"
atexit.register(lambda: notes.write_text("\\n".join([os.environ["LOCAL_RANK"], *opened])))
sys.exit(run(TrainOptions, train.train, "train.py"))
"""
FRAMES = 3
FOLDS = ("train_1", "train_2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An epoch of MRDF_Margin on two folds, the test clips of each three: a folder with data, outputs and notes."""
    folder = tmp_path_factory.mktemp("trained")
    data = folder / "data"
    data.mkdir()
    (data / "corpus").symlink_to(REFERENCE / "corpus" / "original")
    clips = read_corpus(REFERENCE / "corpus" / "original")
    clips = clips[(clips["category"] != "D") | (clips["subject"] == "id00150")]
    fold = clips["subject"].map({"id00076": 1, "id00113": 2, "id00150": 3})
    table = clips[["subject", "category"]].assign(file="corpus/" + clips["file"], split=fold)
    table.to_csv(data / "clips.csv", index=False)
    (folder / "program.py").write_text(PROGRAM)
    arguments = f"--data_root {data} --dataset csv --outputs {folder / 'outputs'} --save_name two --folds 1,2 "
    arguments += "--gpus 2 --accelerator cpu --model_type MRDF_Margin --recipe clean --encoder_layers 1 "
    arguments += "--max_epochs 1 --min_epochs 1 "
    arguments += f"--batch_size 2 --max_frames {FRAMES}"
    # What a trainer of an earlier test left in the environment would be taken for a launcher's.
    inherited = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    temporary = folder / "temporary"
    temporary.mkdir()
    subprocess.run(
        [sys.executable, folder / "program.py", *arguments.split()],
        env=inherited | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REFERENCE.parents[1]), "TMPDIR": str(temporary)},
        check=True,
        timeout=170,
    )
    return folder


@pytest.mark.slow
def test_two_processes_train_and_the_first_alone_writes(trained: Path) -> None:
    notes = [path.read_text().splitlines() for path in trained.glob("*.txt")]
    assert sorted(rank for rank, *_ in notes) == ["0", "1"]  # and no process more, after two folds
    written = {
        rank: [Path(name).relative_to(trained).parts for name in opened if name.startswith(str(trained))]
        for rank, *opened in notes
    }
    assert {parts[:2] for parts in written["0"]} >= {("outputs", name) for name in ("results", "log", "ckpts")}
    assert not written["1"]
    outputs = trained / "outputs"
    names = {f"two_{fold}{suffix}.ckpt" for fold in FOLDS for suffix in ("", "-last")}
    assert {path.name for path in (outputs / "ckpts/two").iterdir()} == names
    written = {path.name for path in (outputs / "results/two").glob("train_*/*")}
    assert written == {"embeddings.npz", "metrics.json", "scores.csv"}
    assert (outputs / "results/two/summary.json").is_file()


@pytest.mark.slow
def test_the_first_of_two_processes_has_the_crops_and_the_statistics_of_its_clips(trained: Path) -> None:
    seed_everything(42, verbose=False)
    detector = MODELS["MRDF_Margin"](encoder_layers=1, train_frontend=True).train()
    data = FakeAVCelebDataModule(
        trained / "data", "train_1.txt", batch_size=4, recipe="clean", max_frames=FRAMES, dataset="csv"
    )
    data.setup("fit")
    (batch,) = data.train_dataloader()
    own = slice(None, None, 2)  # the sampler deals the clips out in turn, and on a CPU BatchNorm is each process's own
    with torch.no_grad():
        detector(normalise(batch["video"][own]), batch["audio"][own], batch["padding_mask"][own])
    weights = read_checkpoint(trained / "outputs/ckpts/two/two_train_1-last.ckpt")["state_dict"]
    buffers = dict(detector.named_buffers())
    assert any("trunk" in name for name in buffers)
    for name, expected in buffers.items():
        assert relative_error(weights[name].double(), expected.double()) < 1e-4, name


@pytest.mark.slow
@pytest.mark.parametrize("fold", FOLDS)
def test_every_test_clip_is_scored_once_and_as_by_one_process(fold: str, trained: Path) -> None:
    results = trained / "outputs/results/two" / fold
    scores, metrics = read_scores(results / "scores.csv"), read_metrics(results / "metrics.json")
    table = pd.read_csv(trained / "data/clips.csv")
    expected = table.loc[table["split"] == int(fold[-1]), "file"].tolist()
    assert scores["file"].tolist() == expected
    assert metrics["n"] == len(expected) == 3

    data = FakeAVCelebDataModule(
        trained / "data", f"{fold}.txt", batch_size=3, padding="mask", max_frames=FRAMES, dataset="csv"
    )
    detector = load_detector(trained / f"outputs/ckpts/two/two_{fold}.ckpt")
    alone = score_fold(make_trainer(1, "32", accelerator="cpu"), detector, data).table
    for column in ("file", "subject", "category", "method", "label", "decision"):
        assert scores[column].tolist() == alone[column].tolist(), column
    np.testing.assert_allclose(scores["score"], alone["score"], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_scores_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    """With batches cut to their shortest clip, 11 clips in batches of two: some processes have a batch fewer."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "corpus").symlink_to(REFERENCE / "corpus" / "original")
    clips = read_corpus(REFERENCE / "corpus" / "original").iloc[:11]
    clips[["subject", "category"]].assign(file="corpus/" + clips["file"], split="test").to_csv(
        data / "clips.csv", index=False
    )
    torch.manual_seed(0)
    detector = MODELS["MRDF_CE"]()
    contents = {
        "state_dict": detector.state_dict(),
        "model_type": "MRDF_CE",
        "hyper_parameters": dict(detector.hparams),
    }
    torch.save(contents, tmp_path / "any.ckpt")
    inherited = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    results = []
    for processes in (1, 2, 4):
        outputs = tmp_path / str(processes)
        command = [sys.executable, ROOT / "test.py", "--data_root", data, "--dataset", "csv", "--outputs", outputs]
        command += ["--checkpoint", tmp_path / "any.ckpt", "--gpus", processes, "--accelerator", "cpu"]
        command += ["--batch_size", 2, "--max_frames", 12]
        subprocess.run(list(map(str, command)), env=inherited | {"OMP_NUM_THREADS": "1"}, check=True, timeout=280)
        (folder,) = (outputs / "results/any").iterdir()
        with np.load(folder / "embeddings.npz") as arrays:
            embeddings = {name: arrays[name] for name in arrays}
        metrics = json.loads((folder / "metrics.json").read_text())
        results.append(((folder / "scores.csv").read_text(), metrics | {"config": None}, embeddings))
    for scores, metrics, embeddings in results[1:]:
        assert scores == results[0][0]
        assert metrics == results[0][1]
        assert all(np.array_equal(embeddings[name], value) for name, value in results[0][2].items())
