"""Pickles read as data: whatever a file asks for, nothing is imported, looked up or called."""

from __future__ import annotations

import pickletools
import sys
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable, Collection, Mapping
from typing import Any, BinaryIO, NoReturn

from fairseq.record import SCALARS, Global, Record, is_member
from utils.errors import DataError

# Of these packages only what is listed is read; IMPORT_MAPPING holds their modules' names in Python 2.
GUARDED = sys.stdlib_module_names | IMPORT_MAPPING.keys() | {"torch", "numpy"}

LITERALS = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
    ]
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
FRAMING = frozenset({"PROTO", "FRAME", "STOP"})


class CheckpointError(DataError):
    """A file is not a checkpoint that can be used; the message names the file and says why."""


class Unpickler:
    """Reads pickles opcode by opcode; what it builds holds plain values, `Global`, `Record` and what `calls` return.

    Nothing on its stack can be called: a class or function is only ever a name, which `calls` may translate.

    Parameters
    ----------
    path
        The file, for messages.
    calls
        Functions of ours that stand in for those that a file may call, by full name.
    inert
        What else a file may call, which gives a record; and an enum's class, called for a member of it.
    names
        What else a file may name of the standard library, PyTorch and NumPy. Of other packages it may name anything.
    load_storage
        Gives the value of a persistent id.
    """

    def __init__(
        self,
        path: object,
        calls: Mapping[str, Callable[..., Any]],
        inert: Collection[str],
        names: Collection[str],
        load_storage: Callable[[Any], Any],
    ) -> None:
        self.path = path
        self.calls = calls
        self.inert = inert
        self.names = names
        self.load_storage = load_storage
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.operations = self._container_operations() | self._object_operations()

    def load(self, stream: BinaryIO) -> Any:
        """Read one pickle, up to its end.

        Raises
        ------
        CheckpointError
            If it asks for something that is not read.
        ValueError, LookupError, TypeError
            If it is damaged, or no pickle.
        """
        for state in (self.stack, self.marks, self.memo):
            state.clear()
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in LITERALS:
                self.stack.append(argument)
            elif opcode.name in CONSTANTS:
                self.stack.append(CONSTANTS[opcode.name])
            elif opcode.name in self.operations:
                self.operations[opcode.name](argument)
            elif opcode.name not in FRAMING:
                self.refuse(f"{opcode.name} {argument!a}")
        return self.stack.pop()

    def refuse(self, what: str) -> NoReturn:
        """Say that the file asks for `what`, which is not read."""
        raise CheckpointError(
            f"{self.path}: refused, it asks for {what[:200]}; only weights and plain values are read, no code is run"
        )

    def _container_operations(self) -> dict[str, Callable[[Any], Any]]:
        """Opcodes of lists, tuples, dicts and sets, and of the stack and the memo."""
        push, take, marked, memo = self.stack.append, self._take, self._marked, self.memo
        operations: dict[str, Callable[[Any], Any]] = {
            "MARK": lambda _: self.marks.append(len(self.stack)),
            "POP": lambda _: take(1),
            "POP_MARK": lambda _: marked(),
            "DUP": lambda _: push(self.stack[-1]),
            "EMPTY_LIST": lambda _: push([]),
            "EMPTY_DICT": lambda _: push({}),
            "EMPTY_SET": lambda _: push(set()),
            "LIST": lambda _: push(marked()),
            "TUPLE": lambda _: push(tuple(marked())),
            "TUPLE1": lambda _: push(tuple(take(1))),
            "TUPLE2": lambda _: push(tuple(take(2))),
            "TUPLE3": lambda _: push(tuple(take(3))),
            "FROZENSET": lambda _: push(frozenset(map(_key, marked()))),
            "DICT": lambda _: push(_pairs(marked())),
            "APPEND": lambda _: self._extend(take(1)),
            "APPENDS": lambda _: self._extend(marked()),
            "SETITEM": lambda _: self._update(take(2)),
            "SETITEMS": lambda _: self._update(marked()),
            "ADDITEMS": lambda _: self._add(marked()),
            "MEMOIZE": lambda _: memo.__setitem__(len(memo), self.stack[-1]),
        }
        for name in ("PUT", "BINPUT", "LONG_BINPUT"):
            operations[name] = lambda index: memo.__setitem__(index, self.stack[-1])
        for name in ("GET", "BINGET", "LONG_BINGET"):
            operations[name] = lambda index: push(memo[index])
        return operations

    def _object_operations(self) -> dict[str, Callable[[Any], None]]:
        """Opcodes of classes and their objects. Those of protocol 0 and of the extension registry are left out."""
        push, take = self.stack.append, self._take
        return {
            "GLOBAL": lambda names: push(self._global(*names.split(" ", 1))),
            "STACK_GLOBAL": lambda _: push(self._global(*take(2))),
            "REDUCE": lambda _: push(self._call(*take(2))),
            "NEWOBJ": lambda _: push(self._make(*take(2))),
            "NEWOBJ_EX": lambda _: push(self._make(*take(3))),
            "BUILD": lambda _: self._build(*take(1)),
            "BINPERSID": lambda _: push(self.load_storage(*take(1))),
        }

    def _take(self, count: int) -> list[Any]:
        """Take the last `count` values from the stack."""
        if len(self.stack) < count:
            raise ValueError("a pickle takes more values than it has")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _marked(self) -> list[Any]:
        """Take the values since the last mark from the stack."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, (list, Record)):
            self.refuse(f"append on a {type(target).__name__}")
        (target if isinstance(target, list) else target.elements).extend(values)

    def _update(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, (dict, Record)):
            self.refuse(f"items of a {type(target).__name__}")
        (target if isinstance(target, dict) else target.entries).update(_pairs(values))

    def _add(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, set):
            self.refuse(f"add on a {type(target).__name__}")
        target.update(map(_key, values))

    def _global(self, module: Any, name: Any) -> Global:
        """The name of a class or function, unless it is one of a guarded package that is not listed."""
        if not isinstance(module, str) or not isinstance(name, str):
            self.refuse(f"a name that is a {type(module).__name__} and a {type(name).__name__}")
        found = Global(IMPORT_MAPPING.get(module, module), name)
        parts = found.module.split(".")
        if not all(part.isidentifier() for part in [*parts, name]):
            self.refuse(ascii(str(found)))
        listed = any(str(found) in names for names in (self.calls, self.inert, self.names))
        if parts[0] in GUARDED and not listed:
            self.refuse(str(found))
        return found

    def _call(self, kind: Any, args: Any) -> Any:
        """What a call of `kind` stands for, which may be a function: our stand-in's result or, if listed, a record."""
        if isinstance(kind, Global) and isinstance(args, tuple):
            listed = str(kind) in self.calls or str(kind) in self.inert
            if not listed and not is_member(kind, args):
                self.refuse(f"a call of {kind}")
        return self._make(kind, args)

    def _make(self, kind: Any, args: Any, keywords: Any = None) -> Any:
        """A new object of the class `kind`: what our stand-in returns, or a record."""
        if not isinstance(kind, Global) or not isinstance(args, tuple):
            self.refuse(f"a call of a {type(kind).__name__}")
        call = self.calls.get(str(kind))
        if keywords:
            args = (*args, keywords)
        return Record(kind, args) if call is None else call(*args)

    def _build(self, state: Any) -> None:
        """Store an object's state. That of a dict, the `_metadata` of a state dict, is of no use here."""
        target = self.stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict):
            self.refuse(f"a state for a {type(target).__name__}")


def _key(value: Any) -> Any:
    """A key of a dict or set. Nested tuples are left out: Python may overflow its stack when it hashes deep ones."""
    allowed = (*SCALARS, Global, Record)
    if isinstance(value, allowed) or (isinstance(value, tuple) and all(isinstance(part, allowed) for part in value)):
        return value
    raise ValueError(f"a {type(value).__name__} as a key")


def _pairs(values: list[Any]) -> dict[Any, Any]:
    """Keys and values in turn as a dict."""
    return {_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}
