"""`main.py prepare` killed, twice at once, on a full disk and on a read-only one."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import main
from scripts.prepare import command

PROJECT = Path(main.__file__).parent
NOBODY = 65534


def start(*args: str | Path, limit: int | None = None) -> subprocess.Popen[str]:
    """Start a prepare in a process of its own; `limit` is how many bytes a file that it writes may have.

    It fails if it imports Lightning, which alone would take a quarter of the memory that a prepare may take.
    """
    code = "import sys, main; code = main.main(sys.argv[1:]); sys.exit(code or 'pytorch_lightning' in sys.modules)"
    if limit is not None:
        code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); {code}"
    return subprocess.Popen(
        [sys.executable, "-c", code, "prepare", *map(str, args)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def prepare(*args: str | Path) -> None:
    assert main.main(["prepare", *map(str, args)]) == 0


def content(*folders: Path) -> dict[str, bytes]:
    """Every file in some folders but locks and the clips themselves."""
    return {
        f"{folder.name}/{path.relative_to(folder)}": path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and path.suffix != ".mp4"
    }


@pytest.fixture(scope="module")
def many_root(tmp_path_factory: pytest.TempPathFactory, reference: Path) -> Path:
    """The reference corpus four times over, each with subjects of its own: 48 clips, which take a while."""
    root = tmp_path_factory.mktemp("many") / "original"
    shutil.copytree(reference / "corpus" / "original", root, copy_function=shutil.copyfile)
    lines = (root / "meta_data.csv").read_text().splitlines()
    rows = [lines[0]]
    for take in range(4):
        for line in lines[1:]:
            subject = line[:7]
            renamed = f"{subject[:2]}{take}{subject[3:]}"
            rows.append(line.replace(subject, renamed))
            cells = line.split(",")
            source = root / cells[9].removeprefix("FakeAVCeleb/") / cells[8]
            target = Path(str(source).replace(subject, renamed))
            if take:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
    (root / "meta_data.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def undisturbed(many_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one prepare leaves that nothing happens to."""
    outputs = tmp_path_factory.mktemp("undisturbed")
    prepare("--data_root", many_root, "--cache", "--outputs", outputs)
    found = content(outputs / "prepare", outputs / "cache")
    assert len([name for name in found if name.endswith(".safetensors")]) == 48
    return found


def kill_and_finish(root: Path, outputs: Path, undisturbed: dict[str, bytes], moments: list[float]) -> None:
    """Kill a prepare at each of the moments (seconds after its first file), going on each time; compare the end."""
    for moment in moments:
        process = start("--data_root", root, "--cache", "--outputs", outputs)
        while process.poll() is None and not (outputs / "prepare" / ".lock").exists():
            time.sleep(0.01)
        time.sleep(moment)
        process.kill()
        process.communicate()
    prepare("--data_root", root, "--cache", "--outputs", outputs)
    assert content(outputs / "prepare", outputs / "cache") == undisturbed


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_killed(many_root: Path, undisturbed: dict[str, bytes], tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    kill_and_finish(many_root, tmp_path / "killed", undisturbed, [draw.uniform(0, 1.2) for _ in range(2)])


@pytest.mark.slow
def test_killed_at_twenty_moments(many_root: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    draw = random.Random(42)
    for moment in range(20):
        kill_and_finish(many_root, tmp_path / f"killed {moment}", undisturbed, [draw.uniform(0, 2.5)])


def test_two_at_once(many_root: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    both = [start("--data_root", many_root, "--cache", "--outputs", tmp_path) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert any("another prepare is at work" in text for text in said)
    assert content(tmp_path / "prepare", tmp_path / "cache") == undisturbed


def test_no_room(original_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    assert main.main(["prepare", "--data_root", str(original_root), "--cache"]) == 2
    assert "cache needs 0.02 GB more, but 0.00 GB are free; --cache_dir puts it elsewhere" in capsys.readouterr().err
    assert not list((original_root / "cache").rglob("*.safetensors"))
    assert (original_root / "prepare" / "report.csv").exists()


def test_disk_fills_up(many_root: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    process = start("--data_root", many_root, "--cache", "--outputs", outputs, limit=1_000_000)
    said = process.communicate()[0]
    assert process.returncode == 2
    last = said.strip().splitlines()[-1]
    assert last.startswith("main.py: error: ")
    assert ".safetensors" in last
    assert "Traceback" not in said
    assert not [path for path in outputs.rglob("*") if path.suffix == ".tmp"]
    prepare("--data_root", many_root, "--cache", "--outputs", outputs)
    assert content(outputs / "prepare", outputs / "cache") == undisturbed


@contextmanager
def without_rights() -> Iterator[None]:
    """Be nobody for a while, if this is root, who may write to everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_read_only_corpus(original_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare("--data_root", original_root, "--cache", "--outputs", tmp_path / "warm up")  # loads all that it imports
    (original_root / "train_1.txt").unlink()
    for fold in original_root.glob("train_*.txt"):
        fold.unlink()
    before = {path: path.stat().st_mtime_ns for path in original_root.rglob("*")}
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    outputs.chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    for folder in (original_root, *(path for path in original_root.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    with without_rights():
        for _ in range(2):
            prepare("--data_root", original_root, "--cache", "--write_wav", "--outputs", outputs)
    assert {path: path.stat().st_mtime_ns for path in original_root.rglob("*")} == before
    assert len(list((outputs / "folds").glob("train_*.txt"))) == 5
    assert (outputs / "prepare" / "report.csv").exists()
    assert len(list((outputs / "prepare" / "wav").rglob("*.wav"))) == 12
    assert len(list((outputs / "cache").rglob("*.safetensors"))) == 12
    for folder in (original_root, *(path for path in original_root.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
