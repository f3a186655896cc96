"""The shell scripts, with a stand-in for python."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(folder: Path, stand_in: str) -> tuple[subprocess.CompletedProcess, list[str]]:
    """train.sh with a python that notes how it was called, and then does as `stand_in` says."""
    python = folder / "python"
    python.write_text(f'#!/bin/bash\necho "$@" >> "{folder}/calls.txt"\n{stand_in}\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", ROOT / "scripts/train.sh", "data", "--resume", "auto"],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, (folder / "calls.txt").read_text().splitlines()


def test_all_folds_of_all_detectors_are_trained_one_by_one(tmp_path: Path) -> None:
    done, calls = run(tmp_path, "exit 0")
    assert (done.returncode, len(calls)) == (0, 30)
    common = "train.py --model_type AVDF_Ensemble --save_name AVDF_Ensemble --data_root data --dataset fakeavceleb"
    assert calls[6] == f"{common} --folds 2 --resume auto"


def test_a_fold_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    done, calls = run(
        tmp_path, '[[ "$*" == *"MRDF_CE --data"*"folds 3"* || "$*" == *"AVDF --data"*"folds 1"* ]] && exit 2; exit 0'
    )
    assert (done.returncode, len(calls)) == (1, 30)
    assert done.stderr.splitlines() == [
        "2 folds failed:",
        "  AVDF train_1: exit code 2",
        "  MRDF_CE train_3: exit code 2",
    ]


@pytest.mark.parametrize("code", [130, 143])
def test_a_signal_stops_them_all(code: int, tmp_path: Path) -> None:
    done, calls = run(tmp_path, f"exit {code}")
    assert (done.returncode, len(calls)) == (code, 1)


@pytest.mark.parametrize(
    ("requirements", "folder"), [("requirements.txt", ".venv"), ("requirements-cu12.txt", ".venv-cu12")]
)
def test_scripts_reuse_an_environment_that_is_there(tmp_path: Path, requirements: str, folder: str) -> None:
    """A script that sources venv.sh under `set -e` goes on, and finds the environment's programs first."""
    (tmp_path / folder / "bin").mkdir(parents=True)
    for place in (tmp_path / requirements, tmp_path / folder / "requirements.txt"):
        place.write_text("torch\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "VENV"} | {"REQUIREMENTS": requirements}
    script = f"set -euo pipefail; source '{ROOT / 'scripts/venv.sh'}'; echo $PATH"
    ran = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(str(tmp_path / folder / "bin"))
