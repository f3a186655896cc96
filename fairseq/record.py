"""What stands for the classes and objects of a file whose classes are not here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SCALARS = (str, bytes, int, float, bool, type(None))
# Packages with enums of their own, members of which official checkpoints hold.
ENUM_PACKAGES = ("fairseq", "avhubert", "omegaconf", "hydra")


@dataclass(frozen=True)
class Global:
    """The name of a class or function, as a pickle gives it."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Record:
    """An object of a class that is not here: the class's name and what the file says of the object, and no behaviour.

    Its values are items, and attributes where no name of this class is in the way. Omegaconf's containers give their
    content, and its nodes the value within (see `plain`).

    Parameters
    ----------
    kind
        Name of the class.
    args
        What the class would have been called with.
    """

    __slots__ = ("args", "elements", "entries", "kind", "state")

    def __init__(self, kind: Global, args: tuple) -> None:
        self.kind = kind
        self.args = args
        self.state: Any = None
        self.elements: list[Any] = []  # of a class derived from list
        self.entries: dict[Any, Any] = {}  # of a class derived from dict

    @property
    def module(self) -> str:
        """Module of the class."""
        return self.kind.module

    @property
    def name(self) -> str:
        """Name of the class."""
        return self.kind.name

    @property
    def content(self) -> dict[Any, Any] | list[Any]:
        """The values within: of a container its content, of any other object its attributes."""
        state = self.state if isinstance(self.state, dict) else {}
        content = state.get("_content", self.entries or self.elements or state)
        return content if isinstance(content, (dict, list)) else {}

    def keys(self) -> list[Any]:
        """Names of the values; none for a list."""
        return list(self.content) if isinstance(self.content, dict) else []

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys() or [plain(value) for value in self.content])

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, key: Any) -> Any:
        return plain(self.content[key])

    def __getattr__(self, name: str) -> Any:
        # A file must not lend an object special methods, which Python, NumPy and PyTorch would call.
        if name.startswith("__") or name not in self.keys():
            raise AttributeError(f"{self!r} has no '{name}'")
        return self[name]

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def is_member(kind: Global, args: tuple) -> bool:
    """Whether a call of `kind` is how a pickle writes a member of an enum: its class, called with the value."""
    known = kind.module.partition(".")[0] in ENUM_PACKAGES and re.fullmatch(r"[A-Z]\w*", kind.name) is not None
    return known and len(args) == 1 and isinstance(args[0], (str, int, float))


def plain(value: Any) -> Any:
    """The value that an omegaconf node or a member of an enum stands for; any other value as it is."""
    if isinstance(value, Record) and isinstance(value.state, dict) and "_val" in value.state:
        value = value.state["_val"]
    if isinstance(value, Record) and value.state is None and is_member(value.kind, value.args):
        return value.args[0]
    return value
