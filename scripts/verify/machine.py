"""What a machine is, and how fast it trains, scores and decodes."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dataset.cache import decode_clip
from model import MODELS, for_inference
from scripts.verify.reference import AUTOCAST, FOLDER, recipe
from utils.environment import driver_version, environment
from utils.parallel import usable_cores

# A batch to time, clips × frames: small on a CPU, and on a GPU a quarter of the release's.
SHAPES = {"cpu": (2, 20), "cuda": (16, 50)}
# A fold of the paper's subset, for the estimate: clips to train on and to test, and frames of one as it is used.
TRAIN, TEST, FRAMES = 1600, 400, 100


def machine() -> dict[str, Any]:
    """Processor, memory, GPUs, driver and versions, as a bug report needs them."""
    shm = Path("/dev/shm")
    gpus = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        **environment(),
        "cores_allowed": usable_cores(),
        "memory_gb": _gigabytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if _posix() else None,
        "shared_memory_gb": _gigabytes(shutil.disk_usage(shm).total) if shm.is_dir() else None,
        "driver": driver_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "gpus": [
            {"name": gpu.name, "memory_gb": _gigabytes(gpu.total_memory), "capability": f"{gpu.major}.{gpu.minor}"}
            for gpu in gpus
        ],
    }


def speed(device: torch.device, precision: str) -> dict[str, float]:
    """Frames a second of MRDF_CE in training steps and in scoring."""
    clips, frames = SHAPES[device.type]
    batch = {key: torch.as_tensor(value).to(device) for key, value in recipe().detector_batch(0, clips, frames).items()}
    detector = MODELS["MRDF_CE"]().to(device).train()
    optimizer, half = detector.configure_optimizers(), AUTOCAST[precision]
    scorer = for_inference(detector)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, half, enabled=half is not None):
            loss = detector.losses(detector(batch["video"], batch["audio"]), batch)["loss"]
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def score() -> None:
        with torch.autocast(device.type, half, enabled=half is not None):
            scorer.decide(scorer(batch["video"], batch["audio"]))

    return {
        "training_frames_per_second": clips * frames / _best(step, device),
        "scoring_frames_per_second": clips * frames / _best(score, device),
    }


def loading_speed() -> float:
    """Frames a second that one process decodes, of the reference's clips."""
    paths = sorted((FOLDER / "corpus" / "original").rglob("*.mp4"))
    start = time.perf_counter()
    frames = sum(len(decode_clip(path).audio) for path in paths)
    return frames / (time.perf_counter() - start)


def epoch(speeds: dict[str, float], loading: float, cores: int) -> dict[str, float]:
    """Minutes of an epoch on the paper's subset: of computing, and of decoding without a cache."""
    computing = TRAIN / speeds["training_frames_per_second"] + TEST / speeds["scoring_frames_per_second"]
    decoding = (TRAIN + TEST) / (loading * max(1, min(8, cores)))
    return {"computing_minutes": FRAMES * computing / 60, "decoding_minutes": FRAMES * decoding / 60}


def _best(action: Callable[[], None], device: torch.device) -> float:
    """Seconds of the faster of two runs, after one that does not count."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _gigabytes(count: int) -> float:
    return round(count / 1e9, 1)


def _posix() -> bool:
    return hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
