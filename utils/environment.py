"""What a run was made with: commit of the code, versions of what computes, hardware."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
# Name in the record: name of the distribution.
PACKAGES = {
    "torch": "torch",
    "lightning": "pytorch-lightning",
    "numpy": "numpy",
    "opencv": "opencv-python-headless",
    "av": "av",
}


def environment() -> dict[str, Any]:
    """Commit, versions and hardware of this process, for metrics.json and checkpoints."""
    return {
        "commit": commit(),
        "versions": {"python": platform.python_version()} | {name: _version(PACKAGES[name]) for name in PACKAGES},
        "cpu": cpu_model(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


@cache
def commit(root: Path = ROOT) -> str | None:
    """Commit of a working tree, with "-dirty" if tracked files have changed; None if it is not one."""
    known = _git(root, "rev-parse", "--show-toplevel", "HEAD")
    if known is None:
        return None
    top, head = known.splitlines()
    if Path(top).resolve() != root.resolve():  # an unpacked copy inside someone else's repository
        return None
    return f"{head}-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else head


def cpu_model() -> str:
    """Name of the processor, and how many cores it shows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if names:
        return f"{names[0]}, {len(names)} cores"
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
