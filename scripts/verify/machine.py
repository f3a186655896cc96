"""What a machine is, and how fast it trains, scores and decodes."""

import os
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dataset.decoding import decode_clip
from model import MODELS, Detector, for_inference
from model.fast import autocast_dtype
from model.training.optimizer import make_optimizer
from scripts.verify.reference import FOLDER, recipe
from utils.environment import driver_version, environment
from utils.parallel import usable_cores

# A batch to time, clips × frames: small on a CPU, and on a GPU a quarter of the release's.
SHAPES = {"cpu": (2, 20), "cuda": (16, 50)}
# A fold of the paper's subset, for the estimate: clips to train on and to test, and frames of one as it is used.
TRAIN, TEST, FRAMES = 1600, 400, 100


def machine() -> dict[str, Any]:
    """Processor, memory, GPUs, driver and versions, as a bug report needs them."""
    shm = Path("/dev/shm")
    posix = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    gpus = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        **environment(),
        "cores_allowed": usable_cores(),
        "memory_gb": _gigabytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if posix else None,
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
    detector, half = MODELS["MRDF_CE"]().to(device), autocast_dtype(precision)
    return {
        "training_frames_per_second": clips * frames / best_of(training_step(detector, batch, half), 2, device),
        "scoring_frames_per_second": clips * frames / best_of(scoring(detector, batch, half), 2, device),
    }


def training_step(detector: Detector, batch: dict[str, Tensor], half: torch.dtype | None = None) -> Callable[[], None]:
    """Forward, backward and a step of the optimiser, in half precision where that is given."""
    optimizer = make_optimizer(detector)

    def step() -> None:
        detector.train()
        optimizer.zero_grad()
        with torch.autocast(batch["video"].device.type, half, enabled=half is not None):
            outputs = detector(batch["video"], batch["audio"], batch["padding_mask"])
            loss = detector.losses(outputs, batch)["loss"]
        loss.backward()
        optimizer.step()

    return step


def scoring(
    detector: Detector, batch: dict[str, Tensor], half: torch.dtype | None = None, compiled: bool = False
) -> Callable[[], None]:
    """Forward and decision, with BatchNorm folded as in test.py and predict."""
    folded = for_inference(detector, compiled)

    @torch.no_grad()
    def step() -> None:
        with torch.autocast(batch["video"].device.type, half, enabled=half is not None):
            folded.decide(folded(batch["video"], batch["audio"], batch["padding_mask"]))

    return step


def best_of(action: Callable[[], None], runs: int, device: torch.device) -> float:
    """Seconds of the fastest of several runs, after one that does not count."""
    action()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


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


def _gigabytes(count: int) -> float:
    return round(count / 1e9, 1)
