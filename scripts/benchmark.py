"""Measure this machine: training steps, inference, peak memory, the two losses and the loading of clips.

    python scripts/benchmark.py --data_root data/mini

Without --data_root the loading of clips is left out. Times are the best of several runs.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dataset import FakeAVCelebDataModule
from model import MODELS, Detector
from utils.loss import cross_modality_loss, within_modality_loss


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_type", choices=MODELS, default="MRDF_CE", help="detector to measure (MRDF_CE)")
    parser.add_argument("--batch_size", type=int, default=8, help="clips in a batch (8)")
    parser.add_argument("--frames", type=int, default=40, help="frames in a clip (40)")
    parser.add_argument("--runs", type=int, default=3, help="runs to take the best of (3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of PyTorch (all cores)")
    parser.add_argument("--data_root", type=Path, help="a corpus whose clips to load, such as data/mini")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    table = Table(
        "", "time", "per second", title=f"{options.model_type} on {device}, {options.threads} threads, float32"
    )
    shape = f"{options.batch_size} clips × {options.frames} frames"
    frames = options.batch_size * options.frames
    detector = MODELS[options.model_type]().to(device)
    batch = random_batch(options.batch_size, options.frames, device)
    seconds = best_of(training_step(detector, batch), options.runs, device)
    table.add_row(f"training step, {shape}", f"{seconds:.2f} s", f"{frames / seconds:.0f} frames")
    memory = peak_memory(device)
    seconds = best_of(inference(detector, batch), options.runs, device)
    table.add_row(f"inference, {shape}", f"{seconds:.2f} s", f"{frames / seconds:.0f} frames")
    table.add_row("peak memory of training", f"{memory / 1e9:.2f} GB", "")
    for name, loss in losses(64, device).items():
        seconds = best_of(loss, 50, device)
        table.add_row(f"{name}, 64 clips, with gradient", f"{1000 * seconds:.2f} ms", f"{1 / seconds:.0f}")
    if options.data_root is not None:
        for workers in (0, 1, 2):
            clips, frames, seconds = loading(options.data_root, workers)
            table.add_row(
                f"loading, {workers} workers",
                f"{1000 * seconds / clips:.1f} ms a clip",
                f"{frames / seconds:.0f} frames",
            )
    Console().print(table)


def random_batch(size: int, frames: int, device: torch.device) -> dict[str, Tensor]:
    """Noise in the shape of a batch, half of the clips real."""
    torch.manual_seed(0)
    label = torch.arange(size) % 2
    batch = {
        "video": torch.randn(size, 3, frames, 100, 100),
        "audio": torch.randn(size, 104, frames),
        "padding_mask": torch.zeros(size, frames, dtype=torch.bool),
        "mm_label": 1 - label,
        **dict.fromkeys(("v_label", "a_label", "c_label", "m_label"), label),
    }
    return {name: value.to(device) for name, value in batch.items()}


def training_step(detector: Detector, batch: dict[str, Tensor]) -> Callable[[], None]:
    """Forward, backward and a step of the optimiser."""
    optimizer = detector.configure_optimizers()

    def step() -> None:
        detector.train()
        optimizer.zero_grad()
        outputs = detector(batch["video"], batch["audio"], batch["padding_mask"])
        detector.losses(outputs, batch)["loss"].backward()
        optimizer.step()

    return step


def inference(detector: Detector, batch: dict[str, Tensor]) -> Callable[[], None]:
    """Forward and decision."""

    @torch.no_grad()
    def step() -> None:
        detector.eval()
        detector.decide(detector(batch["video"], batch["audio"], batch["padding_mask"]))

    return step


def losses(size: int, device: torch.device) -> dict[str, Callable[[], None]]:
    """The two regularisation terms with their gradients."""
    video, audio = (torch.randn(size, 768, device=device, requires_grad=True) for _ in range(2))
    label = torch.arange(size, device=device) % 2
    return {
        "within-modality loss": lambda: within_modality_loss(video, label).backward(),
        "cross-modality loss": lambda: cross_modality_loss(video, audio, label).backward(),
    }


def loading(root: Path, workers: int) -> tuple[int, int, float]:
    """Clips, frames and seconds of the second epoch of a training fold, the first having warmed everything up."""
    data = FakeAVCelebDataModule(root, batch_size=8, num_workers=workers, check=False)
    data.setup("fit")
    loader = data.train_dataloader()
    for _ in range(2):
        start = time.perf_counter()
        shapes = [batch["video"].shape for batch in loader]
    clips = sum(shape[0] for shape in shapes)
    return clips, sum(shape[0] * shape[2] for shape in shapes), time.perf_counter() - start


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


def peak_memory(device: torch.device) -> int:
    """Bytes: of the device, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
