"""The whole table of the paper: six detectors on five folds, each fold a process of its own that may die and go on."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from filelock import Timeout
from tqdm import tqdm

from dataset import FakeAVCelebDataModule
from dataset.corpora import clip_lists
from dataset.protocols import folds_of_corpus
from scripts.report.command import report
from scripts.table.command import table
from utils.cli import takes
from utils.errors import DataError
from utils.files import lock, write_atomic
from utils.options import ALL_FOLDS, Folds, ModelType, TrainOptions, plain, taken_by
from utils.outputs import Fold, config_hash, holder_of, is_held, metrics_of, progress_of
from utils.runs import fold_folders
from utils.signals import Stopped, requeue, stopping
from utils.table import percent

log = logging.getLogger(__name__)

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
POLL_SECONDS = 1.0
# How long a process that is asked to stop may take: it finishes its step first.
PATIENCE_SECONDS = 30
RUNNING, LOCKED = "running", "locked elsewhere"


class Job(NamedTuple):
    """A fold that is to be trained and tested, and the command that does it."""

    fold: Fold
    digest: str  # of the configuration that is asked for
    command: list[str]  # that does it


@takes(TrainOptions, without=("model_type", "folds", "save_name", "resume"))
def reproduce(
    models: str = ",".join(get_args(ModelType)),
    folds: Folds = ALL_FOLDS,
    shard: str | None = None,
    **options: Any,
) -> None:
    """Train and test every detector on every fold, as far as that is not done yet; write the table and the report.

    It can be stopped at any moment and started again, and several can work on the same outputs at the same time.

    Parameters
    ----------
    models
        Detectors, such as AVDF,MRDF_CE; all six by default.
    folds
        Folds, such as 2 or 1,3; all five by default.
    shard
        Part of the work: 2/4 does every fourth fold from the second on.
    options
        Flags of train.py.

    Raises
    ------
    DataError
        If a detector or a shard is unknown, or the corpus cannot be read.
    SystemExit
        With code 1, if a fold failed.
    """
    given = TrainOptions(model_type="AVDF", folds=folds, save_name=None, resume="auto", **options)
    jobs = share_of(make_jobs(models, given, options), shard)
    # What was asked for, which --config takes back.
    asked = {name: value for name, value in plain(given).items() if name not in ("model_type", "save_name", "resume")}
    path = given.outputs / "results" / "reproduce.yaml"
    write_atomic(path, yaml.safe_dump({"models": models} | asked, sort_keys=False))
    overview = Overview({job.fold: job.digest for job in jobs}, given.max_epochs)
    try:
        with stopping(), closing(overview):
            run_all(jobs, overview)
            finish(jobs, overview, given)
    except Stopped as stop:
        log.warning("stopped by %s; the same command goes on from there", stop)
        if stop.to_be_requeued:
            requeue()
        raise


def make_jobs(models: str, given: TrainOptions, options: dict[str, Any]) -> list[Job]:
    """Every fold of every detector; `DataError` if a detector is unknown, or the corpus has none of the folds."""
    known = get_args(ModelType)
    names = list(dict.fromkeys(name for name in models.split(",") if name))
    if not names:
        raise DataError(f"--models {models}: names no detector; known are {', '.join(known)}")
    if unknown := [name for name in names if name not in known]:
        raise DataError(f"--models {models}: {', '.join(unknown)} unknown; known are {', '.join(known)}")
    there = folds_of_corpus(given.data_root, given.dataset, given.protocol, given.lists)
    numbers = [name.removeprefix("train_") for name in given.fold_names if name in there]
    if not numbers:
        raise DataError(f"--folds {given.folds}: {given.data_root} has {', '.join(there)} only")
    clips = {number: clips_of(given, number) for number in numbers}
    return [make_job(name, number, options, clips[number]) for name in names for number in numbers]


def clips_of(given: TrainOptions, number: str) -> dict[str, str]:
    """Digests of the lists of clips of a fold; none if it cannot be made up, which train.py then says."""
    data = FakeAVCelebDataModule(
        given.data_root,
        train_fold=f"train_{number}.txt",
        fold_dir=given.outputs / "folds",
        prepare_dir=given.outputs / "prepare",
        check=False,
        **taken_by(FakeAVCelebDataModule.__init__, given),
    )
    try:
        return clip_lists(data.sides())
    except DataError:
        return {}


def make_job(model: str, number: str, options: dict[str, Any], clips: dict[str, str]) -> Job:
    """One fold of one detector, with the options that were given for all."""
    own: dict[str, Any] = {"model_type": model, "save_name": model, "folds": number, "resume": "auto"}
    resolved = TrainOptions(**own, **options)
    defaults = {field.name: field.default for field in fields(TrainOptions)}
    flags = own | {name: value for name, value in options.items() if value != defaults[name]}
    command = [sys.executable, str(TRAIN)]
    command += [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in flags.items()]
    fold = Fold(resolved.outputs, model, resolved.fold_names[0])
    return Job(fold, config_hash(plain(resolved), clips), command)


def share_of(jobs: list[Job], shard: str | None) -> list[Job]:
    """Every n-th job, from the i-th on, for a shard i/n; `DataError` if there is no such shard."""
    if shard is None:
        return jobs
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise DataError(f"--shard {shard}: must be such as 2/4, the second of four")
    return jobs[int(match[1]) - 1 :: int(match[2])]


def run_all(jobs: list[Job], overview: Overview) -> None:
    """Do all jobs; those that someone else is at come last."""
    left, told = list(jobs), set()
    while left:
        waiting = [job for job in left if not attempt(job, overview)]
        if len(waiting) == len(left):
            for line in (f"{job.fold}: waiting for {holder_of(job.fold)}" for job in waiting):
                if line not in told:
                    log.info("%s", line)
                told.add(line)
            time.sleep(POLL_SECONDS)
            overview.refresh()
        left = waiting


def attempt(job: Job, overview: Overview) -> bool:
    """Do a job unless it is done or someone else is at it; returns whether it is settled."""
    fold = job.fold
    if metrics := metrics_of(fold, job.digest):
        overview.done(fold, metrics)
        return True
    # train.py has the lock of the fold only when it has started.
    claim = lock(fold.lock.with_suffix(".claim"))
    try:
        with claim.acquire(timeout=0):
            if is_held(fold):
                overview.working(fold, LOCKED, holder_of(fold))
                return False
            overview.working(fold, RUNNING)
            code = run_fold(job, overview)
            metrics = metrics_of(fold, job.digest)
    except Timeout:
        overview.working(fold, LOCKED, holder_of(fold))
        return False
    if code == 0 and metrics:
        overview.done(fold, metrics)
    else:
        ending = f"exit code {code}" if code else "train.py left no results of this configuration"
        ending = f"killed by {signal.Signals(-code).name}" if code < 0 else ending
        overview.fail(fold, f"{ending}, see {fold.log}")
    return True


def run_fold(job: Job, overview: Overview) -> int:
    """Train and test a fold in a process of its own, and return its exit code."""
    job.fold.log.parent.mkdir(parents=True, exist_ok=True)
    with job.fold.log.open("ab") as output:
        process = subprocess.Popen(job.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                overview.refresh()
        finally:
            stop(process)
    return process.returncode


def stop(process: subprocess.Popen) -> None:
    """End a process that still runs; at once if it does not end when asked."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except (subprocess.TimeoutExpired, Stopped):
        process.kill()
        process.wait()


def finish(jobs: list[Job], overview: Overview, given: TrainOptions) -> None:
    """Write the table and the report of the detectors that have results; end with 1 if a fold or these failed."""
    outputs, problem = given.outputs, None
    runs = dict.fromkeys(job.fold.run for job in jobs)
    there = ",".join(run for run in runs if fold_folders(outputs / "results" / run))
    try:
        if there:
            report(outputs, there, given.data_root)
            table(outputs, there)
    except (ValueError, OSError) as error:  # a fold of an earlier run that cannot be read, say
        problem = f"the table cannot be made: {error}"
    log.info("results: %s, checkpoints: %s, logs: %s", *(outputs / name for name in ("results", "ckpts", "log")))
    if overview.failed:
        log.error("%d of %d folds failed:\n%s", len(overview.failed), len(jobs), "\n".join(overview.failed))
    if problem:
        log.error("%s", problem)
    if overview.failed or problem:
        raise SystemExit(1)


class Overview:
    """Shows how far folds are, of which it takes the hashes of their configurations, until it is closed."""

    def __init__(self, digests: Mapping[Fold, str], max_epochs: int) -> None:
        self.failed: list[str] = []
        self._digests, self._max_epochs = digests, max_epochs
        self._epochs = dict.fromkeys(digests, 0)
        self._working: dict[Fold, tuple[str, str]] = {}
        self._shown: dict[Fold, str] = {}
        # Without a terminal there is no bar, and the log alone tells.
        total = max_epochs * len(digests)
        self._bar = tqdm(total=total, desc="epochs", unit="epoch", disable=None, leave=False, dynamic_ncols=True)

    def close(self) -> None:
        self._bar.close()

    def working(self, fold: Fold, state: str, detail: str = "") -> None:
        """Say that a fold is trained, here or elsewhere."""
        self._working[fold] = state, detail
        self.refresh()

    def done(self, fold: Fold, metrics: Mapping[str, Any]) -> None:
        self._settle(fold, f"done {percent(metrics.get('acc'))}/{percent(metrics.get('auc'))}")

    def fail(self, fold: Fold, why: str) -> None:
        self.failed.append(f"{fold}: {why}")
        self._settle(fold, f"failed {why}")

    def refresh(self) -> None:
        """Look how far the folds are, and say what has changed."""
        for fold, (state, detail) in self._working.items():
            if progress := progress_of(fold, self._digests[fold]):
                self._epochs[fold] = progress["epoch"]
            shown = f"{state}, epoch {self._epochs[fold]}/{self._max_epochs}"
            self._say(fold, f"{shown}: {detail}" if detail else shown)
        self._bar.n = sum(self._epochs.values())
        self._bar.refresh()

    def _settle(self, fold: Fold, text: str) -> None:
        self._working.pop(fold, None)
        self._epochs[fold] = self._max_epochs
        self._say(fold, text)
        self.refresh()

    def _say(self, fold: Fold, text: str) -> None:
        if self._shown.get(fold) != text:
            log.info("%s: %s", fold, text)
            self._shown[fold] = text
