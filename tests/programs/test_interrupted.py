"""train.py itself, stopped in all ways and started again: it ends with the numbers of an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from model import read_checkpoint
from utils.outputs import Fold

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests/reference/corpus/prepared"
# Several steps an epoch, so that their order counts.
RUN = ("--model_type", "AVDF", "--batch_size", 2, "--num_train", 2, "--num_val", 1, "--max_frames", 3)
RUN += ("--learning_rate", 1e-3, "--logger", "none")
EPOCHS = 3
# What Slurm sets for srun python train.py.
SLURM = {
    "SLURM_JOB_ID": "4711", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NAME": "mrdf", "SLURM_NODELIST": "localhost",
}  # fmt: skip


def start(folder: Path, *arguments: object, **variables: str) -> subprocess.Popen:
    """train.py in `folder`, where its outputs and its log (train.txt) lie."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, ROOT / "train.py", "--data_root", CORPUS, *RUN, "--max_epochs", EPOCHS, *arguments]
    # What a trainer of an earlier test left in the environment would be taken for a launcher's.
    inherited = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    with (folder / "train.txt").open("ab") as log:
        return subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=inherited | {"OMP_NUM_THREADS": "1"} | variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def stop_after(process: subprocess.Popen, fold: Fold, epoch: int, number: signal.Signals) -> int:
    """Send a signal when `epoch` is saved; returns the exit code."""
    deadline = time.monotonic() + 300
    while not fold.last.exists() or read_checkpoint(fold.last, mmap=True)["epoch"] + 1 < epoch:
        assert process.poll() is None, "it ended before the signal"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    return process.wait(120)


def outcome(folder: Path, fold: str) -> tuple[str, dict[str, torch.Tensor]]:
    """Scores, and the weights after the last epoch."""
    there = Fold(folder / "outputs", "AVDF", fold)
    return (there.results / "scores.csv").read_text(), read_checkpoint(there.last)["state_dict"]


def assert_same(folder: Path, expected: Path, fold: str = "train_1") -> None:
    (scores, weights), (theirs, their_weights) = outcome(folder, fold), outcome(expected, fold)
    assert scores == theirs
    for name, value in their_weights.items():
        assert torch.equal(weights[name], value), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(folder, "--folds", "1,2", "--num_workers", 0).wait(500) == 0
    return folder


@pytest.mark.parametrize(
    ("workers", "number", "code", "said"),
    [
        (
            0,
            signal.SIGTERM,
            143,
            "stopped by SIGTERM; the same command with --resume auto goes on after the last whole",
        ),
        (2, signal.SIGKILL, -9, ""),
        (8, signal.SIGINT, 130, "stopped by Ctrl-C; the same command with --resume auto goes on after the last whole"),
    ],
)
def test_a_stopped_run_goes_on(
    workers: int, number: signal.Signals, code: int, said: str, undisturbed: Path, tmp_path: Path
) -> None:
    fold = Fold(tmp_path / "outputs", "AVDF", "train_1")
    arguments = ("--folds", 1, "--num_workers", workers, "--resume", "auto")
    assert stop_after(start(tmp_path, *arguments), fold, 1, number) == code
    log = (tmp_path / "train.txt").read_text()
    assert said in log
    # A worker whose parent is killed may print a traceback of its own: it finds nobody to send its batch to.
    assert number == signal.SIGKILL or "Traceback" not in log
    assert start(tmp_path, *arguments).wait(500) == 0
    assert "going on with epoch 2, from " in (tmp_path / "train.txt").read_text()
    assert_same(tmp_path, undisturbed)
    assert {path.name for path in fold.best.parent.iterdir()} == {fold.best.name, fold.last.name}


def test_a_job_of_slurm_goes_on_where_it_stood(undisturbed: Path, tmp_path: Path) -> None:
    """With a checkpoint of another fold where Lightning looks for Slurm's, which nobody asked for."""
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin/scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/scontrol.txt"\n')
    scontrol.chmod(0o755)
    slurm = SLURM | {"PATH": f"{scontrol.parent}:{os.environ['PATH']}"}
    other = Fold(undisturbed / "outputs", "AVDF", "train_1").last.read_bytes()
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(other)
    arguments = ("--folds", "1,2", "--num_workers", 0)
    process = start(tmp_path, *arguments, **slurm)
    fold = Fold(tmp_path / "outputs", "AVDF", "train_2")
    assert stop_after(process, fold, 2, signal.SIGUSR1) == 128 + signal.SIGUSR1
    assert (tmp_path / "scontrol.txt").read_text() == "requeue 4711\n"
    assert read_checkpoint(fold.last)["epoch"] == 1
    before = Fold(tmp_path / "outputs", "AVDF", "train_1").last.stat().st_mtime_ns

    assert start(tmp_path, *arguments, **slurm, SLURM_RESTART_COUNT="1").wait(500) == 0
    assert "going on with epoch 3, from " in (tmp_path / "train.txt").read_text()
    assert Fold(tmp_path / "outputs", "AVDF", "train_1").last.stat().st_mtime_ns == before  # its training was done
    for name in ("train_1", "train_2"):
        assert_same(tmp_path, undisturbed, name)
    assert [path.name for path in tmp_path.glob("**/hpc_ckpt*")] == ["hpc_ckpt_1.ckpt"]

    checkpoint = fold.best
    command = [sys.executable, ROOT / "test.py", "--data_root", CORPUS, "--checkpoint", checkpoint]
    command += ["--outputs", tmp_path / "tested"]
    subprocess.run(list(map(str, command)), cwd=tmp_path, env=os.environ | slurm, check=True, timeout=300)
    scores = "results/AVDF/train_2/scores.csv"
    assert (tmp_path / "tested" / scores).read_text() == (tmp_path / "outputs" / scores).read_text()


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """The first checkpoint does not fit; and neither does what a stand-in for a disk of 20 MB would leave of it."""
    limited = f"ulimit -f 20000; exec {sys.executable} {ROOT / 'train.py'} --data_root {CORPUS} --folds 1 "
    limited += " ".join(map(str, RUN)) + f" --max_epochs 1 --outputs {tmp_path / 'outputs'}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=300, env=os.environ)
    checkpoint = Fold(tmp_path / "outputs", "AVDF", "train_1").best
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line == f"train.py: error: {checkpoint}: the checkpoint cannot be written (File too large)"
    assert "Traceback" not in done.stderr
    assert not list(checkpoint.parent.iterdir())


def test_two_processes_do_not_train_one_fold(tmp_path: Path) -> None:
    first = start(tmp_path, "--folds", 1, "--num_workers", 0, "--max_epochs", 300)  # until it is killed
    fold = Fold(tmp_path / "outputs", "AVDF", "train_1")
    deadline = time.monotonic() + 300
    while not fold.lock.with_suffix(".holder").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = start(tmp_path / "second", "--folds", 1, "--outputs", tmp_path / "outputs")
    assert second.wait(300) == 2
    said = (tmp_path / "second/train.txt").read_text().splitlines()[-1]
    assert "AVDF train_1 is being trained by " in said
    assert f"process {first.pid}" in said
    first.kill()
    first.wait()
