"""A stand-in for train.py that takes no time, for tests of what runs it, and main.py with it in its own process."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.reproduce import command as reproduce
from utils.options import TrainOptions, plain

CORPUS = Path(__file__).parent / "reference" / "corpus" / "prepared"

# Takes the folder of the fold, its lock, its configuration and what to do: fail, die, or for how many seconds to train.
STAND_IN = """
import json, os, signal, sys, time
from pathlib import Path

from filelock import FileLock

folder, config, behaviour = Path(sys.argv[1]), json.loads(sys.argv[3]), sys.argv[4]
lock = FileLock(sys.argv[2])
lock.acquire(timeout=0)
folder.mkdir(parents=True, exist_ok=True)
with (folder.parent / "started.txt").open("a") as file:
    file.write(f"{folder.name} {os.getpid()}\\n")
if behaviour == "fail":
    sys.exit("train.py: error: a flag is broken\\nmore about it")
if behaviour == "die":
    print("so far so good", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if behaviour != "nothing":
    time.sleep(float(behaviour))
    config |= {"corpus": "FakeAVCeleb", "checkpoint": f"{config['save_name']}_{folder.name}.ckpt"}
    figures = {"config": config, "per_category": {}, "n": 4, "acc": 0.75, "auc": 0.5}
    columns = "file,subject,category,method,label,score,video_score,audio_score,decision"
    rows = "".join(f"{clip}.mp4,id1,A,real,1,0.5,,,1\\n" for clip in range(4))
    (folder / "scores.csv").write_text(columns + "\\n" + rows)
    (folder / "metrics.json").write_text(json.dumps(figures | {"auc_hard": 0.5}))
"""

PROGRAM = """
import sys

import main
from tests.reproduce_tools import stand_in
from scripts.reproduce import command as reproduce

behaviour = sys.argv.pop(1)
reproduce.make_job = stand_in(lambda fold: behaviour)
sys.exit(main.main())
"""


def stand_in(behaviour: Callable[[str], str]) -> Callable[..., reproduce.Job]:
    """A `make_job` whose jobs run the stand-in; `behaviour` tells what to do from the fold, such as "AVDF train_1"."""
    real = reproduce.make_job

    def make_job(model: str, number: str, options: dict[str, Any], clips: dict[str, str]) -> reproduce.Job:
        job = real(model, number, options, clips)
        config = plain(TrainOptions(model_type=model, save_name=model, folds=number, **options))
        config |= {"config_hash": job.digest}
        told = (str(job.fold.results), str(job.fold.lock), json.dumps(config), behaviour(str(job.fold)))
        return job._replace(command=[sys.executable, "-c", STAND_IN, *told])

    return make_job


def start(folder: Path, behaviour: str, *arguments: object) -> subprocess.Popen:
    """`main.py reproduce` with the stand-in, in a process group of its own; it logs to reproduce.log in `folder`."""
    (folder / "program.py").write_text(PROGRAM)
    return spawn(folder, [folder / "program.py", behaviour], arguments)


def spawn(folder: Path, program: list[object], arguments: tuple[object, ...]) -> subprocess.Popen:
    """A program's `reproduce`, in a process group of its own; it logs to reproduce.log in `folder`."""
    command = [sys.executable, *program, "reproduce", "--data_root", CORPUS, "--outputs", folder / "outputs"]
    # What a trainer of an earlier test left in the environment would be taken for a launcher's.
    inherited = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    with (folder / "reproduce.log").open("ab") as log:
        return subprocess.Popen(
            [str(word) for word in (*command, *arguments)],
            env=inherited | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
            start_new_session=True,
            stdout=log,
            stderr=log,
        )


def patch(monkeypatch: pytest.MonkeyPatch, behaviour: Callable[[str], str]) -> None:
    """Let this process's jobs run the stand-in, and wait for it without delay; the report has no figures."""
    monkeypatch.setattr(reproduce, "make_job", stand_in(behaviour))
    monkeypatch.setattr(reproduce, "POLL_SECONDS", 0.02)
    monkeypatch.setattr("scripts.report.figures.all_figures", lambda *_: ([], {}))


def started(outputs: Path) -> Counter[str]:
    """How often the stand-in was started for each fold."""
    paths = outputs.glob("results/*/started.txt")
    return Counter(f"{path.parent.name} {line.split()[0]}" for path in paths for line in path.read_text().splitlines())
