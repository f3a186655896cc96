"""Checkpoints that try to run code when they are read: each is refused, and nothing happens."""

import argparse
import copyreg
import functools
import importlib
import operator
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairseq.checkpoint import CheckpointError, plain, read_checkpoint

LEGACY_HEADER = b"".join(
    pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
)
OPCODE = "Unsupported operand"  # that torch.save never writes
EXTENSION = 0xF1  # a code that no package has registered


class Calls:
    """Pickles as a call of `function`, which may be such an object itself."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self.function, self.args = function, args

    def __call__(self) -> None:
        raise AssertionError("only its pickle is ever called")

    def __reduce__(self) -> tuple:
        return self.function, self.args


class RunsOnState:
    """Makes a folder when its state is set."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __setstate__(self, state: dict) -> None:
        os.mkdir(state["path"])


def text(value: object) -> bytes:
    """The opcode that pushes a text."""
    data = str(value).encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def evil(path: Path, protocol: int = 2) -> bytes:
    return pickle.dumps(Calls(os.mkdir, str(path)), protocol)


def torch_bytes(path: Path) -> bytes:
    return LEGACY_HEADER + evil(path) + pickle.dumps([], 2)


# What each attack would call, and a pickle that makes the folder `path` by it.
ATTACKS: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "os.mkdir": ("mkdir", evil),
    "protocol 0": ("mkdir", lambda path: evil(path, 0)),
    "STACK_GLOBAL": (OPCODE, lambda path: evil(path, 4)),
    "os.system": ("system", lambda path: pickle.dumps(Calls(os.system, f"mkdir '{path}'"), 2)),
    "subprocess": ("call", lambda path: pickle.dumps(Calls(subprocess.call, ["mkdir", str(path)]), 2)),
    "eval": ("eval", lambda path: pickle.dumps(Calls(eval, f"__import__('os').mkdir('{path}')"), 2)),
    "exec": ("exec", lambda path: pickle.dumps(Calls(exec, f"__import__('os').mkdir('{path}')"), 2)),
    "open": ("io.open", lambda path: pickle.dumps(Calls(open, str(path), "w"), 2)),
    "getattr": ("getattr", lambda path: pickle.dumps(Calls(Calls(getattr, path, "mkdir")), 2)),
    "partial": ("functools.partial", lambda path: pickle.dumps(Calls(functools.partial(os.mkdir, str(path))), 2)),
    "operator": ("operator.methodcaller", lambda path: pickle.dumps(Calls(operator.methodcaller("mkdir"), path), 2)),
    "nested pickle": ("pickle.loads", lambda path: pickle.dumps(Calls(pickle.loads, evil(path)), 2)),
    "nested torch file": (
        "torch.storage._load_from_bytes",
        lambda path: pickle.dumps(Calls(torch.storage._load_from_bytes, torch_bytes(path)), 2),
    ),
    "a module that a module imports": (
        OPCODE,
        lambda path: b"\x80\x04" + text("torch.serialization") + text("os.mkdir") + b"\x93" + text(path) + b"\x85R.",
    ),
    "the same in any package": (
        "tests.conftest.shutil.os.mkdir",
        lambda path: b"\x80\x04ctests.conftest\nshutil.os.mkdir\n" + text(path) + b"\x85R.",
    ),
    "INST": (OPCODE, lambda path: b"(" + text(path) + f"i{os.name}\nmkdir\n.".encode()),
    "OBJ": ("mkdir", lambda path: f"(c{os.name}\nmkdir\n".encode() + text(path) + b"o."),
    "EXT1": (OPCODE, lambda path: b"\x80\x02\x82" + bytes([EXTENSION]) + text(path) + b"\x85R."),
}


def as_zip(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")


CONTAINERS: dict[str, Callable[[Path, bytes], Any]] = {
    "zip": as_zip,
    "legacy": lambda path, data: path.write_bytes(LEGACY_HEADER + data),
    "bare": lambda path, data: path.write_bytes(data),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks(attack: str, container: str, tmp_path: Path) -> None:
    called, data = ATTACKS[attack]
    copyreg.add_extension(os.name, "mkdir", EXTENSION)
    try:
        pickle.loads(data(tmp_path / "proof"))  # that it is one
    finally:
        copyreg.remove_extension(os.name, "mkdir", EXTENSION)
    assert (tmp_path / "proof").exists()
    CONTAINERS[container](tmp_path / "evil.pt", data(tmp_path / "canary"))
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(tmp_path / "evil.pt")
    refused = "not a PyTorch checkpoint, or damaged (" if called == OPCODE else "refused, reading it would run code "
    assert str(error.value).startswith(f"{tmp_path / 'evil.pt'}: {refused}")
    assert called in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pt", "proof"]


@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (torch.load, ("canary",), "torch.serialization.load"),
        (shutil.rmtree, ("canary",), "shutil.rmtree"),
        (importlib.import_module, ("antigravity",), "importlib.import_module"),
        (np.load, ("canary",), "numpy.load"),
        (torch.hub.load, ("a/b", "c"), "torch.hub.load"),
        (operator.attrgetter("x"), (), "operator.attrgetter"),
        (pickle.Unpickler, (), "pickle.Unpickler"),
    ],
)
def test_what_else_may_not_be_named(function: Callable, args: tuple, name: str, tmp_path: Path) -> None:
    (tmp_path / "canary").mkdir()
    modules = set(sys.modules)
    torch.save({"model": {}, "extra": Calls(function, *args)}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=rf"evil\.pt: refused, .* \(it asks for {name}\); only weights"):
        read_checkpoint(tmp_path / "evil.pt")
    for raw in (b"ccodecs\ndecode\n.", b"cos\nsystem\n.", b"coperator\ngetitem\n.", b"ccopy_reg\n_reconstructor\n."):
        as_zip(tmp_path / "evil.pt", raw)
        with pytest.raises(CheckpointError, match=r"decode|system|getitem|_reconstructor"):
            read_checkpoint(tmp_path / "evil.pt")
    assert set(sys.modules) == modules
    assert (tmp_path / "canary").is_dir()


def test_classes_of_other_packages_are_inert(tmp_path: Path) -> None:
    """Their `__setstate__` is not run, though it can be imported."""
    torch.save({"state": RunsOnState(tmp_path / "canary")}, tmp_path / "odd.pt")
    state = read_checkpoint(tmp_path / "odd.pt")["state"]
    assert (state.source, plain(state)) == (f"{__name__}.RunsOnState", {"path": str(tmp_path / "canary")})
    assert not callable(state)
    assert [path.name for path in tmp_path.iterdir()] == ["odd.pt"]


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("elsewhere.run", (1,)),
        ("pandas.read_pickle", ("/etc/passwd",)),
        ("elsewhere.Choice", ("static",)),  # a class, but of no package whose enums are read
        ("fairseq.checkpoint_utils.load_checkpoint", ("a.pt",)),
        ("fairseq.dataclass.constants.Choice", ("a", "b")),
        ("fairseq.dataclass.constants.Choice", ([],)),
        ("fairseq.dataclass.constants.Choice", ()),
        ("argparse.Namespace", (1,)),
        ("builtins.list", (1,)),
    ],
)
def test_calls_of_what_is_not_listed_are_refused(kind: str, args: tuple, tmp_path: Path) -> None:
    module, _, name = kind.rpartition(".")
    arguments = pickle.dumps(args, 2)[2:-1]
    as_zip(tmp_path / "odd.pt", b"\x80\x02}" + text("extra") + f"c{module}\n{name}\n".encode() + arguments + b"Rs.")
    with pytest.raises(CheckpointError, match=rf"odd\.pt: refused, .* \(it asks for a call of {kind}\); only weights"):
        read_checkpoint(tmp_path / "odd.pt")


def test_members_of_known_enums_are_their_values(tmp_path: Path) -> None:
    """In a configuration no other record counts as a value, whatever it was made with."""
    member = b"cfairseq.dataclass.constants\nChoice\n" + text("static") + b"\x85R"
    other = b"celsewhere\nrun\n" + text("static") + b"\x85\x81"  # as a new object, not a call
    as_zip(tmp_path / "odd.pt", b"\x80\x02}(" + text("member") + member + text("other") + other + b"u.")
    checkpoint = read_checkpoint(tmp_path / "odd.pt")
    assert repr(checkpoint["member"]) == "<fairseq.dataclass.constants.Choice>"
    assert plain(checkpoint["member"]) == "static"
    assert plain(checkpoint["other"]) is checkpoint["other"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x02cargparse\nNamespace\n}X\x01\x00\x00\x00aK\x01sb.",  # state for the class itself
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}" + text("__kwdefaults__") + b"}s\x86b.",  # for a function
        b"\x80\x02cfairseq.a\nB\n)\x81)R.",  # an object is called
        b"\x80\x02cfairseq.a\nB\n)\x81)\x81.",
        b"\x80\x02" + text("posix.system") + b")R.",
        b"\x80\x02}K\x01a.",  # dict.append
        b"\x80\x02" + text("a pid of text") + b"Q.",
        b"Pa pid of protocol 0\n.",
        b"\x80\x02(" + text("module") + b"cfairseq.a\nB\n" + text("a.py") + text("import os") + b"tQ.",
        b"\x80\x02(" + text("storage") + b"cfairseq.a\nB\n" + text("0") + text("cpu") + b"K\x01tQ.",
        b"\x80\x02cfairseq.a b\nC d\n.",
    ],
)
def test_odd_opcodes_are_refused(raw: bytes, tmp_path: Path) -> None:
    as_zip(tmp_path / "odd.pt", raw)
    with pytest.raises(CheckpointError, match=r"odd\.pt: (refused|not a PyTorch checkpoint, or damaged)"):
        read_checkpoint(tmp_path / "odd.pt")
    assert not hasattr(argparse.Namespace, "a")
    assert torch._utils._rebuild_tensor_v2.__kwdefaults__ is None
