"""The command `main.py verify`: the first thing to run on a machine."""

import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from scripts.verify.machine import FRAMES, TEST, TRAIN, epoch, loading_speed, machine, speed
from scripts.verify.reference import Check, check_clips, check_detector, planned
from utils.cli import SCREEN, OutputFile
from utils.environment import check_gpus
from utils.errors import DataError
from utils.files import to_json, write_atomic
from utils.options import ONE_GPU, Gpus

YES = "this machine gives the release's numbers"


def verify(gpus: Gpus = ONE_GPU, json: OutputFile | None = None) -> None:
    """See whether this machine gives the numbers of the authors' release, and how fast it is.

    Six detectors on the CPU and on the first GPU: outputs, losses and gradients in float32 without TF32, outputs and
    losses in half precision, all against numbers that the release gave; then the decoding of twelve clips, and times.
    Ends with one line, and with exit code 1 if a number is off.

    Parameters
    ----------
    gpus
        0 leaves a GPU out.
    json
        File .json for everything that was found, to send with a bug report; without a name the standard output.
    """
    if json not in (None, SCREEN) and not json.endswith(".json"):
        raise DataError(f"--json {json}: give a file that ends in .json")
    check_gpus(gpus)
    console = Console(stderr=json == SCREEN)
    devices = [torch.device("cpu"), *([torch.device("cuda", 0)] if gpus and torch.cuda.is_available() else [])]
    found = machine()
    show_machine(console, found)
    checks = check_clips()
    plan = [step for device in devices for step in planned(device)]
    for step in track(plan, "Comparing", console=console, transient=True):
        checks += check_detector(*step)
    show_checks(console, checks)
    times: dict[str, Any] = {"loading_frames_per_second": loading_speed()}
    for device in devices:
        speeds = speed(device, "16" if device.type == "cuda" else "32")
        cores = found["cores_allowed"]
        times[device.type] = speeds | epoch(speeds, times["loading_frames_per_second"], cores)
    show_times(console, times)
    wrong = [check.name for check in checks if not check.ok or check.remark]
    verdict = f"this machine does not give the release's numbers: {'; '.join(wrong)}" if wrong else YES
    if json is not None:
        listed = [check._asdict() | {"ok": check.ok} for check in checks]
        text = to_json({"machine": found, "checks": listed, "times": times, "verdict": verdict})
        sys.stdout.write(text) if json == SCREEN else write_atomic(Path(json), text)
    console.print(verdict, soft_wrap=True, markup=False)
    if wrong:
        raise SystemExit(1)


def show_machine(console: Console, found: dict[str, Any]) -> None:
    """What the machine is, a line for each thing."""
    gpus = ", ".join(f"{gpu['name']}, {gpu['memory_gb']} GB, capability {gpu['capability']}" for gpu in found["gpus"])
    rows = {
        "system": found["system"],
        "processor": f"{found['cpu']}; {found['cores_allowed']} may be used",
        "memory": f"{found['memory_gb']} GB, /dev/shm {found['shared_memory_gb']} GB",
        "GPU": gpus or "none that PyTorch can use",
        "driver": f"{found['driver'] or 'none'}; PyTorch brings CUDA {found['cuda'] or '(none)'}",
        "versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        "commit": found["commit"] or "not known",
    }
    for name, value in rows.items():
        console.print(f"{name:>10}: {value}", markup=False, highlight=False, soft_wrap=True)


def show_checks(console: Console, checks: list[Check]) -> None:
    """A row for each device, precision and part, with the worst of the six detectors; what is off has its own row."""
    table = Table("compared with the release", "largest error", "allowed", "")
    groups: dict[str, list[Check]] = {}
    for check in checks:
        parts = check.name.split(", ")
        name = ", ".join((parts[0], parts[1], parts[3])) if len(parts) == 4 else check.name
        groups.setdefault(name if check.ok and not check.remark else check.name, []).append(check)
    for name, group in groups.items():
        worst = max(group, key=lambda check: float("inf") if check.error is None else check.error)
        shown = "not a number" if worst.error is None else f"{worst.error:.1e}"
        fine = worst.ok and not worst.remark
        table.add_row(name, shown, f"{worst.tolerance:.0e}", "" if fine else worst.remark or "OFF")
    console.print(table)


def show_times(console: Console, times: dict[str, Any]) -> None:
    """Speeds, and what an epoch would take."""
    console.print(f"decoding: {times['loading_frames_per_second']:,.0f} frames a second in one process")
    for device in ("cpu", "cuda"):
        if device in times:
            made = times[device]
            text = (
                f"MRDF_CE on {device}: {made['training_frames_per_second']:,.0f} frames a second in training, "
                f"{made['scoring_frames_per_second']:,.0f} in scoring. An epoch of a FakeAVCeleb fold ({TRAIN:,} + "
                f"{TEST} clips, taken as {FRAMES} frames each) would take about {made['computing_minutes']:,.1f} "
                f"minutes of computing, and without a cache {made['decoding_minutes']:,.1f} of decoding beside it. "
                "An estimate."
            )
            console.print(text, soft_wrap=True)
