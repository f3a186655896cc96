"""Workers from the cores that may be used, and what they load ahead from the shared memory that is free."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dataset import FakeAVCelebDataModule, loading
from dataset.loading import Loading, batch_bytes, default_workers, fit_shared_memory

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
