"""The machine: what a run is made with, for its record, and whether its GPUs can be used."""

import os
import platform
import re
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from utils.errors import DataError

ROOT = Path(__file__).resolve().parents[1]
# Name in the record, and of the distribution
PACKAGES = (
    ("torch", "torch"), ("lightning", "pytorch-lightning"), ("numpy", "numpy"),
    ("opencv", "opencv-python-headless"), ("av", "av"),
)  # fmt: skip
# Oldest driver that a major version of CUDA works with.
DRIVERS = {"12": 525, "13": 580}
OLDER = "install requirements-cu12.txt in place of requirements.txt, which serves drivers from 525 on and older GPUs"
CPU_INSTEAD = "With --gpus 0 it goes on on the CPU"


def environment() -> dict[str, Any]:
    """Commit, versions and hardware of this process, for metrics.json and checkpoints."""
    return {
        "commit": commit(),
        "versions": {"python": platform.python_version()} | {name: _version(package) for name, package in PACKAGES},
        "cpu": cpu_model(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def check_gpus(gpus: int, root: Path = Path("/")) -> None:
    """Stop where a GPU is there and cannot be used, which would make training take days on the CPU.

    `gpus` is their number, a `utils.options.Gpus` where they are named; 0 asks for the CPU. The system's files lie in
    `root`.

    Raises
    ------
    DataError
        If there is NVIDIA hardware and PyTorch cannot use it, or there are fewer GPUs than asked for.
    """
    if gpus == 0 or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return
    if not torch.cuda.is_available():
        if seen := _nvidia(root):
            raise DataError(f"{seen}, but PyTorch cannot use it: {_why_no_cuda(root)}. {CPU_INSTEAD}")
        return
    count = torch.cuda.device_count()
    wanted = getattr(gpus, "indices", None) or range(gpus)
    if missing := [index for index in wanted if index >= count]:
        raise DataError(f"--gpus {gpus}: there is no GPU {missing[0]}; this machine shows {count}, counted from 0")
    needed = min((int(name[3:]) for name in torch.cuda.get_arch_list() if re.fullmatch(r"sm_\d+", name)), default=0)
    for index in wanted:
        major, minor = torch.cuda.get_device_capability(index)
        if 10 * major + minor < needed:
            raise DataError(
                f"GPU {index} ({torch.cuda.get_device_name(index)}) has compute capability {major}.{minor}, but "
                f"PyTorch {torch.__version__} needs {needed // 10}.{needed % 10}: {OLDER}. {CPU_INSTEAD}"
            )


def device(gpus: int) -> torch.device:
    """The device to compute on, once `check_gpus` is passed: the first GPU asked for, or else the CPU."""
    check_gpus(gpus)
    if gpus == 0 or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", (getattr(gpus, "indices", None) or [0])[0])


def driver_version(root: Path = Path("/")) -> str | None:
    """Version of the NVIDIA driver, such as 580.65.06; None if none is loaded."""
    found = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", _text(root / "proc/driver/nvidia/version"))
    return found[1] if found else None


def _nvidia(root: Path) -> str | None:
    """What shows that there is NVIDIA hardware; None if nothing does."""
    if driver := driver_version(root):
        return f"there is an NVIDIA driver ({driver})"
    if any((root / "dev").glob("nvidia[0-9]*")):
        return "there is an NVIDIA GPU (/dev/nvidia0)"
    listed = _output("nvidia-smi", "-L") or ""
    return f"there is an NVIDIA GPU ({listed.splitlines()[0]})" if listed.startswith("GPU") else None


def _why_no_cuda(root: Path) -> str:
    """What is probably wrong, and what to do."""
    built = torch.version.cuda
    if built is None:
        return f"PyTorch {torch.__version__} is built for CPUs; install requirements.txt as it is"
    driver = driver_version(root)
    needed = DRIVERS.get(built.partition(".")[0])
    if driver and needed and int(driver.partition(".")[0]) < needed:
        return f"it brings CUDA {built}, which needs driver {needed} or newer; update the driver, or {OLDER}"
    return (
        f"it brings CUDA {built}; see whether nvidia-smi works, and in a container or a batch job whether it was given "
        "the GPU"
    )


@cache
def commit(root: Path = ROOT) -> str | None:
    """Commit of a working tree, with "-dirty" if tracked files have changed; None if it is not one."""
    known = _output("git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD")
    if known is None:
        return None
    top, head = known.splitlines()
    if Path(top).resolve() != root.resolve():  # an unpacked copy inside someone else's repository
        return None
    changed = _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if changed else head


def cpu_model() -> str:
    """Name of the processor, and how many cores it shows."""
    names = re.findall(r"^model name\s*:\s*(.*?)\s*$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()


def _text(path: Path) -> str:
    """A file of the system; nothing where it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*command: str) -> str | None:
    """What a command prints; None if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
