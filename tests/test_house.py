"""Imports run one way through the house: the ground floor, dataset and model, the rooms under scripts, the programs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("utils", "fairseq", "dataset", "model", "scripts")
PROGRAMS = ("train", "test", "main")
BELOW = {
    "utils": {"utils"},
    "fairseq": {"fairseq"},
    "dataset": {"dataset", "utils", "fairseq"},
    "model": {"model", "utils", "fairseq"},
    "scripts": {"scripts", "dataset", "model", "utils", "fairseq"},
}


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_one_above_it(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    arrows = [(str(path.relative_to(ROOT)), module) for path in files for module in imported(path)]
    wrong = [arrow for arrow in arrows if arrow[1] in {*ROOMS, *PROGRAMS, "tests"} - BELOW[room]]
    assert files
    assert wrong == []


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere in it, under TYPE_CHECKING too."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    from_ = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in plain | from_}
