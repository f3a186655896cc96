"""Measure this machine: the loading of clips, training steps, inference, peak memory and the two losses.

    python scripts/benchmark.py --data_root data/mini
    python scripts/benchmark.py --data_root data/mini --only loading --workers 8
    python scripts/benchmark.py --beside --compile

Without --data_root the loading of clips is left out; --only loading leaves out the rest. Times are the best of several
runs; --beside measures again while another process convolves with as many threads. The figure of the authors' loader
was measured by running their release, on two such cores: 22 clips of 45 frames a second, which is 981 frames.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd
import torch
import torch.multiprocessing
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from dataset import ClipDataset, FakeAVCelebDataModule
from dataset.cache import CachedClip, ClipCache
from dataset.clips import ClipSampler, collate_cut
from dataset.loading import Loading, batch_bytes, fit_shared_memory
from model import MODELS
from model.fast import compile_trunk
from scripts.verify.machine import best_of, scoring, training_step
from utils.loss import cross_modality_loss, within_modality_loss
from utils.parallel import usable_cores

RELEASE = 981  # frames a second of the authors' loader
EPOCH = 256  # clips, however many there are


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_type", choices=MODELS, default="MRDF_CE", help="detector to measure (MRDF_CE)")
    parser.add_argument("--batch_size", type=int, default=8, help="clips in a batch (8)")
    parser.add_argument("--frames", type=int, default=40, help="frames in a clip (40)")
    parser.add_argument("--runs", type=int, default=3, help="runs to take the best of (3)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="threads of PyTorch (all usable cores)")
    parser.add_argument("--data_root", type=Path, help="a corpus whose clips to load, such as data/mini")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="numbers of workers (0 1 2)")
    parser.add_argument("--prefetch", type=int, default=2, help="batches that each worker loads ahead (2)")
    parser.add_argument("--only", choices=("loading", "model"), help="leave out the other half")
    parser.add_argument("--compile", action="store_true", help="compile the image trunk, as train.py --compile does")
    parser.add_argument("--beside", action="store_true", help="measure again beside another torch process")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.data_root is not None and options.only != "model":
        Console().print(loading_table(options))
    if options.only != "loading":
        Console().print(model_table(options))


def loading_table(options: argparse.Namespace) -> Table:
    """Frames a second from the files and from the cache, by the number of workers."""
    data = FakeAVCelebDataModule(options.data_root, check=False)
    data.setup("fit")
    clips = data.train_dataset.clips
    table = Table("from", "workers", "a clip", "frames a second", f"the release: {RELEASE}", "peak memory",
                  title=f"Loading, {len(clips)} clips of {options.data_root}, {usable_cores()} cores")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        ClipCache(folder).build(clips, progress=False)
        entries = ClipCache(folder).entries(clips)
        lengths = [entry.entry.frames for entry in entries.values()]
        size = batch_bytes(lengths, options.batch_size, "cut")
        for source, cache in (("mp4", {}), ("cache", entries)):
            for workers in options.workers:
                loading = fit_shared_memory(Loading(workers, options.prefetch), size, 1)
                count, seconds = load(clips, cache, options.batch_size, loading)
                speed = count / seconds * sum(lengths) / len(lengths)
                memory = f"{peak_memory(torch.device('cpu')) / 1e6:.0f} MB"
                shown = f"{1000 * seconds / count:.2f} ms", f"{speed:,.0f}", f"× {speed / RELEASE:.1f}", memory
                table.add_row(source, str(loading.workers), *shown)
    return table


def load(clips: pd.DataFrame, cache: dict[str, CachedClip], batch_size: int, loading: Loading) -> tuple[int, float]:
    """Clips in an epoch, and seconds of the fastest of three."""
    repeated = pd.concat([clips] * (1 + EPOCH // len(clips)))[:EPOCH]
    dataset = ClipDataset(repeated, train=True, cache=cache)
    sampler = ClipSampler(dataset)
    workers: dict[str, Any] = {"num_workers": loading.workers, "persistent_workers": loading.workers > 0}
    workers |= {"prefetch_factor": loading.prefetch} if loading.workers else {}
    loader = DataLoader(dataset, batch_size, sampler=sampler, collate_fn=collate_cut, **workers)
    times = []
    for number in range(4):  # the first warms everything up
        sampler.set_epoch(number)
        start = time.perf_counter()
        for _ in loader:
            pass
        times.append(time.perf_counter() - start)
    return len(dataset), min(times[1:])


def model_table(options: argparse.Namespace) -> Table:
    """Steps, inference, memory and losses."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = "compiled" if options.compile else "eager"
    title = f"{options.model_type} on {device}, {options.threads} threads, float32, {kind}"
    table = Table("", "time", "per second", title=title)

    def measure(name: str, action: Callable[[], None]) -> None:
        seconds = best_of(action, options.runs, device)
        frames = options.batch_size * options.frames
        table.add_row(name, f"{seconds:.2f} s", f"{frames / seconds:.0f} frames")

    detector = MODELS[options.model_type]().to(device)
    if options.compile:
        compile_trunk(detector)
    batch = random_batch(options.batch_size, options.frames, device)
    train, score = training_step(detector, batch), scoring(detector, batch, compiled=options.compile)
    shape = f"{options.batch_size} clips × {options.frames} frames"
    measure(f"training step, {shape}", train)
    table.add_row("peak memory of training", f"{peak_memory(device) / 1e9:.2f} GB", "")
    measure(f"inference, {shape}", score)
    if options.beside:
        with neighbour(options.threads):
            measure("training step, beside another process", train)
            measure("inference, beside another process", score)
    for name, loss in losses(64, device).items():
        seconds = best_of(loss, 50, device)
        table.add_row(f"{name}, 64 clips, with gradient", f"{1000 * seconds:.2f} ms", f"{1 / seconds:.0f}")
    return table


@contextmanager
def neighbour(threads: int) -> Iterator[None]:
    """Another process that convolves all the time."""
    process = torch.multiprocessing.get_context("spawn").Process(target=convolve, args=(threads,), daemon=True)
    process.start()
    time.sleep(5)  # until it has imported torch
    try:
        yield
    finally:
        process.terminate()
        process.join()


def convolve(threads: int) -> None:
    """Convolve for ever."""
    torch.set_num_threads(threads)
    image, kernel = torch.randn(32, 64, 56, 56), torch.randn(64, 64, 3, 3)
    while True:
        torch.nn.functional.conv2d(image, kernel, padding=1)


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


def losses(size: int, device: torch.device) -> dict[str, Callable[[], None]]:
    """The two regularisation terms with their gradients."""
    video, audio = (torch.randn(size, 768, device=device, requires_grad=True) for _ in range(2))
    label = torch.arange(size, device=device) % 2
    return {
        "within-modality loss": lambda: within_modality_loss(video, label).backward(),
        "cross-modality loss": lambda: cross_modality_loss(video, audio, label).backward(),
    }


def peak_memory(device: torch.device) -> int:
    """Bytes: of the device, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
