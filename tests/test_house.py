"""The house: imports run one way, folders stay small, text is UTF-8, errors are our own, lists of packages agree."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from main import COMMANDS

ROOT = Path(__file__).parents[1]
ROOMS = ("utils", "fairseq", "dataset", "model", "scripts")
PROGRAMS = ("train", "test", "main")
BELOW = {
    "utils": {"utils"},
    "fairseq": {"fairseq", "utils"},
    "dataset": {"dataset", "utils", "fairseq"},
    "model": {"model", "utils", "fairseq"},
    "scripts": {"scripts", "dataset", "model", "utils", "fairseq"},
}
MOST_FILES = 15
# Methods that open a text file, by the number of arguments that come before its encoding.
TEXT = {"read_text": 0, "write_text": 1}
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
SOURCES += [ROOT / f"{name}.py" for name in PROGRAMS]
# What belongs to somebody's machine, and to no other.
PRIVATE = re.compile(r"/(?:root|home/\w+|work|Users/\w+)/|\bpypi\.org|file:///", re.IGNORECASE)


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_one_above_it(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    arrows = [(str(path.relative_to(ROOT)), module) for path in files for module in imported(path)]
    wrong = [arrow for arrow in arrows if arrow[1] in {*ROOMS, *PROGRAMS, "tests"} - BELOW[room]]
    assert files
    assert wrong == []


def test_no_folder_has_many_files() -> None:
    files = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    crowded = {str(folder.relative_to(ROOT)): n for folder, n in files.items() if n > MOST_FILES}
    assert crowded == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_files_are_utf_8(path: Path) -> None:
    assert [f"line {call.lineno}" for call in calls(path) if opens_text(call) and not names_encoding(call)] == []


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.parent.name != "fairseq"], ids=lambda path: path.stem
)
def test_errors_that_a_user_can_mend_are_our_own(path: Path) -> None:
    raised = [node.exc for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Raise)]
    made = [error for error in raised if isinstance(error, ast.Call) and isinstance(error.func, ast.Name)]
    assert [f"line {error.lineno}" for error in made if ast.unparse(error.func) in ("ValueError", "Exception")] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_function(name: str) -> None:
    module, _, function = COMMANDS[name][0].rpartition(".")
    path = ROOT / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    named |= {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert function in named


def test_nothing_of_one_machine_is_in_the_code() -> None:
    texts = [path for path in tracked() if path.suffix in (".py", ".sh", ".md", ".txt", ".toml", ".lock", ".cff")]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in texts
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PRIVATE.search(line)
    ]
    assert found == []


def test_lists_of_packages_agree() -> None:
    main, older, lock = (pins(ROOT / f"requirements{kind}") for kind in (".txt", "-cu12.txt", ".lock"))
    torch = {"torch", "torchvision", "torchaudio"}
    assert main.keys() == older.keys()
    assert {name for name in main if main[name] != older[name]} == torch
    assert {name: lock.get(name) for name in main} == main


def test_every_package_that_is_imported_is_pinned() -> None:
    names = {"cv2": "opencv-python-headless", "sklearn": "scikit-learn", "yaml": "pyyaml"}
    ours = {*ROOMS, *PROGRAMS, "tests", *sys.stdlib_module_names}
    used = {module for path in SOURCES for module in imported(path)} - ours
    pinned = pins(ROOT / "requirements.txt").keys()
    # wandb is for who has it: --logger wandb says so where it is not installed.
    missing = {names.get(module, module).replace("_", "-").lower() for module in used} - pinned - {"wandb"}
    assert missing == set()


def test_files_that_are_read_about_exist() -> None:
    pages = [path for path in tracked() if path.suffix == ".md"]
    missing = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages
        for code, link in re.findall(
            r"`([\w./-]+/[\w.-]+\.(?:py|sh))`|\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")
        )
        for name in [code or link]
        if "/my_" not in name and not (page.parent / name).exists() and not (code and (ROOT / name).exists())
    ]
    assert pages
    assert missing == []


def tracked() -> list[Path]:
    """Files of the project, without those that it makes."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode == 0:
        paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    else:  # an unpacked copy
        paths = [path for path in ROOT.rglob("*") if ".venv" not in path.parts]
    return [path for path in paths if path.is_file()]


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere in it, under TYPE_CHECKING too."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    from_ = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in plain | from_}


def calls(path: Path) -> Iterator[ast.Call]:
    """Calls in a file."""
    return (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))


def opens_text(call: ast.Call) -> bool:
    """Whether a call opens a file as text: read_text, write_text, and open without a "b" in its mode."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in TEXT:
        return len(call.args) <= TEXT[name]
    if name != "open" or (isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("av", "wave")):
        return False
    # Only calls that name a mode, or the builtin: a cache and a state have an open() as well.
    modes = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    mode = [node.value for node in modes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return not any("b" in text for text in mode) and (bool(mode) or isinstance(call.func, ast.Name))


def names_encoding(call: ast.Call) -> bool:
    return any(keyword.arg in ("encoding", None) for keyword in call.keywords)


def pins(path: Path) -> dict[str, str]:
    """Versions by package."""
    lines = (line.split(";")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {re.sub(r"\[.*\]|[-_.]+", lambda m: "" if m[0][0] == "[" else "-", name).lower(): v for name, v in pairs}
