"""Workers from the cores that may be used, and what they load ahead from the shared memory that is free."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dataset import FakeAVCelebDataModule, loading
from dataset.loading import Loading, batch_bytes, default_workers, fit_shared_memory
from utils import parallel

FRAME = 3 * 100 * 100 + 4 * 104 + 1
SetFree = Callable[[int], None]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SetFree:
    """Say how many bytes of shared memory are free, beside those that are left to others."""

    def set_free(size: int) -> None:
        usage = SimpleNamespace(free=size + loading.RESERVE)
        monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: usage)

    monkeypatch.setattr(loading, "SHARED_MEMORY", tmp_path)
    return set_free


@pytest.mark.parametrize(
    ("cores", "processes", "on_gpu", "expected"),
    [(64, 1, True, 8), (12, 2, True, 6), (12, 4, True, 3), (2, 4, True, 1), (64, 1, False, 0)],
)
def test_default_workers(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, on_gpu: bool, expected: int
) -> None:
    monkeypatch.setattr(loading, "usable_cores", lambda: cores)
    assert default_workers(processes, on_gpu) == expected


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/not/visible\n", {"cpu.max": "400000 100000\n"}, 4),
        (
            "5:memory:/job\n3:cpu,cpuacct:/job\n",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "600000\n", "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"},
            6,
        ),
        ("3:cpu:/job\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        (None, {}, 16),
    ],
)
def test_usable_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, groups: str | None, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    proc = tmp_path / "cgroup"
    if groups is not None:
        proc.write_text(groups)
    for name, text in files.items():
        (tmp_path / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mount" / name).write_text(text)
    assert parallel.usable_cores(proc, tmp_path / "mount") == cores


def test_size_of_the_largest_batch() -> None:
    lengths = [10, 500, 200, 300]
    assert batch_bytes(lengths, 3, "mask") == 3 * 500 * FRAME
    assert batch_bytes(lengths, 3, "cut") == 3 * 200 * FRAME
    assert batch_bytes(lengths, 64, "cut") == 4 * 10 * FRAME


@pytest.mark.parametrize(
    ("batches", "processes", "expected"),
    [
        (17, 1, Loading(8, 2)),
        (16, 1, Loading(8, 1)),
        (9, 1, Loading(8, 1)),
        (5, 1, Loading(4, 1)),
        (17, 2, Loading(7, 1)),
        (1, 1, Loading(0, 1)),
        (0, 1, Loading(0, 1)),
    ],
)
def test_what_shared_memory_has_room_for(
    tmp_path: Path, free: SetFree, caplog: pytest.LogCaptureFixture, batches: int, processes: int, expected: Loading
) -> None:
    free(1000 * batches)
    assert fit_shared_memory(Loading(8, 2), 1000, processes, tmp_path) == expected
    assert bool(caplog.messages) == (expected != Loading(8, 2))
    assert all("8 workers with 2 batches each need" in message for message in caplog.messages)


def test_no_shared_memory_is_needed_without_workers(tmp_path: Path, free: SetFree) -> None:
    free(0)
    assert fit_shared_memory(Loading(0, 2), 1000, 1, tmp_path) == Loading(0, 2)
    assert fit_shared_memory(Loading(8, 2), 1000, 1, tmp_path / "elsewhere") == Loading(8, 2)


def test_the_loader_does_with_what_is_free(prepared_root: Path, free: SetFree) -> None:
    module = FakeAVCelebDataModule(prepared_root, batch_size=4, num_workers=8, prefetch=3, max_frames=20, check=False)
    module.setup()
    for batches, expected in ((25, (8, 3)), (17, (8, 2)), (1, (0, None))):
        free(batches * 4 * 20 * FRAME)
        module_loader = module.train_dataloader()
        assert (module_loader.num_workers, module_loader.prefetch_factor) == expected
