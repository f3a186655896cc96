"""Fixtures shared by all tests: the reference numbers, and writable copies of the twelve reference clips."""

import logging
import lzma
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.media_files import cut_clip

REFERENCE = Path(__file__).parent / "reference"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Names that are no UTF-8 may stand in a test's log, which pytest-xdist could not send on."""
    report = yield
    report.sections = [(title, text.encode(errors="replace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the numbers that the authors' release gave."""
    return REFERENCE


@pytest.fixture
def original_root(tmp_path: Path) -> Path:
    """The reference corpus as its owner receives it: no wav, no folds."""
    return _copy("original", tmp_path)


@pytest.fixture
def prepared_root(tmp_path: Path) -> Path:
    """The reference corpus as the authors' scripts prepare it."""
    return _copy("prepared", tmp_path)


@pytest.fixture(scope="session")
def short_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared corpus, each clip cut to its first four to seven frames: an epoch takes no time."""
    root = _copy("prepared", tmp_path_factory.mktemp("short"))
    for index, path in enumerate(sorted(root.rglob("*.mp4"))):
        cut_clip(path, 4 + index % 4)
    return root


@pytest.fixture
def small_detectors() -> Iterator[None]:
    """Detectors are small (see `tests.small_detectors`)."""
    from tests.small_detectors import making_them_small

    with making_them_small():
        yield


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small MRDF_CE, which only a test with `small_detectors` can read."""
    from tests.small_detectors import save_small

    return save_small(tmp_path_factory.mktemp("small") / "small.ckpt")


@pytest.fixture(scope="session")
def released_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as the authors' release writes it, with Lightning 1.7.7."""
    path = tmp_path_factory.mktemp("released") / "MRDF_CE_train_2.ckpt"
    path.write_bytes(lzma.decompress((REFERENCE / "released_mrdf_ce.ckpt.xz").read_bytes()))
    return path


@pytest.fixture
def restore_logging() -> Iterator[None]:
    """Handlers of the programs do not outlive a test."""
    root = logging.getLogger()
    before = root.handlers[:]
    yield
    for handler in set(root.handlers) - set(before):
        handler.close()
    root.handlers[:] = before


def _copy(layout: str, folder: Path) -> Path:
    return shutil.copytree(REFERENCE / "corpus" / layout, folder / layout, copy_function=shutil.copyfile)
