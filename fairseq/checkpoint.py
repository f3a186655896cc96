"""Checkpoints as fairseq writes them, read without running anything that they contain.

They are PyTorch files, but hold objects of omegaconf, argparse and fairseq itself, which PyTorch's own reader of
weights and plain values refuses. Here it is given an inert stand-in for each class that such a file names.
"""

import io
import pickle
import pickletools
import re
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from utils.errors import DataError

# Of these packages a file may name what PyTorch allows by itself, and what is listed here.
GUARDED = sys.stdlib_module_names | {"torch", "numpy"}
NAMES = {
    "argparse.Namespace",
    "numpy.ndarray",
    *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "object", "str", "tuple")),
    *(f"typing.{name}" for name in ("Any", "Dict", "List", "Optional", "Tuple", "Union")),
}
# What a file may call: each call gives a record.
CALLS = {
    "builtins.frozenset",
    "numpy.dtype",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *(f"pathlib.{name}" for name in ("PosixPath", "_local.PosixPath")),
}
# What else it may call, and functions of ours in place of that.
EMPTY: dict[str, Callable[..., Any]] = {
    "builtins.bytes": lambda: b"",  # which is how protocol 2 writes empty ones
    "collections.defaultdict": lambda *factory: {},
}
# A member of these packages' enums is written as a call of its class with the value.
ENUM = re.compile(r"(fairseq|avhubert|omegaconf|hydra)\.(\w+\.)*[A-Z]\w*")


class CheckpointError(DataError):
    """A file is not a checkpoint that can be used; the message names the file and says why."""


class Record:
    """An object of a class that is not here: its state as the file has it, and no behaviour (see `plain`).

    Each class has a subclass of its own, whose `source` is its full name.
    """

    source = ""
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        """Stand for what a call returns. A pickle makes ordinary objects by `__new__` alone."""
        if ENUM.fullmatch(self.source) and len(arguments) == 1 and isinstance(arguments[0], (str, int, float)):
            self.state = {"_val": arguments[0]}
        elif self.source not in CALLS:
            raise _Refused(f"a call of {self.source}")

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<{self.source}>"


class _Refused(Exception):
    """A file asks for something that could run code."""


def plain(value: Any) -> Any:
    """What a record stands for: the value of an enum's member or an omegaconf node, a container's content, attributes.

    Any other value, and a record that says nothing, is returned as it is; what lies within stays as it was.
    """
    if not isinstance(value, Record) or not isinstance(value.state, dict):
        return value
    return value.state.get("_val", value.state.get("_content", value.state))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a fairseq checkpoint, in PyTorch's zip format or in the one before 1.6, without running anything in it.

    Returns
    -------
    dict
        What fairseq saved: `model` (name → tensor, on the CPU), `cfg` or `args`, and so on. Objects of classes come as
        `Record`. Tensors of today's format are views of the file until they are copied.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is not a PyTorch checkpoint, is damaged, or asks for anything that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        try:
            names = _names(_pickles_in_zip(file) if is_zip else [file] * 5)  # five of them before 1.6
        except Exception as error:  # any bytes can come here
            raise _damaged(path, error) from error
    known = NAMES | CALLS | EMPTY.keys()
    stand_ins = {name: _stand_in(name) for name in names if name in known or name.partition(".")[0] not in GUARDED}
    # Views of the file, as PyTorch before 2.10 reads beyond a storage that is said to be larger than it is.
    checkpoint = load_plain(path, stand_ins, mmap=is_zip)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path}: holds a {type(checkpoint).__name__}, not the dict that fairseq saves")
    return checkpoint


def load_plain(path: Path, stand_ins: dict[str, Any] | None = None, mmap: bool = False) -> Any:
    """Load what `torch.save` has written, if it holds nothing but weights and plain values.

    The stand-ins are taken in place of classes and functions, by their full names; `mmap` leaves the weights in the
    file until they are asked for.

    Raises
    ------
    CheckpointError
        If it is not a PyTorch file, is damaged, or asks for anything else.
    """
    try:
        with torch.serialization.safe_globals([(value, name) for name, value in (stand_ins or {}).items()]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except OSError:
        raise
    except Exception as error:  # any bytes can reach the unpickler, which raises whatever they lead it to
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> CheckpointError:
    """What is wrong with a file, in one line."""
    if isinstance(error, pickle.UnpicklingError) and error.__context__ is not None:
        error = error.__context__  # PyTorch wraps it in advice that would run code
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked or isinstance(error, _Refused):
        return CheckpointError(
            f"{path}: refused, reading it would run code from outside (it asks for {asked[1] if asked else error}); "
            "only weights and plain values are read"
        )
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return CheckpointError(f"{path}: not a PyTorch checkpoint, or damaged ({reason[:200]})")


def _pickles_in_zip(file: BinaryIO) -> list[BinaryIO]:
    """The pickles in today's format, of which PyTorch itself does not look at the checksums."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{info.filename!a} is compressed, which PyTorch never does")
        if broken := archive.testzip():
            raise ValueError(f"{broken!a} has another checksum")
        return [io.BytesIO(archive.read(name)) for name in archive.namelist() if name.endswith("/data.pkl")]


def _names(pickles: Iterable[BinaryIO]) -> set[str]:
    """Full names of the classes and functions that pickles name, in Python 3's spelling."""
    names = set()
    with suppress(ValueError):  # what is no pickle PyTorch will refuse
        for file in pickles:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    module, name = argument.split(" ", 1)
                    names.add(".".join(NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))))
    return names


def _stand_in(name: str) -> Any:
    """What stands for the class or function `name`."""
    return EMPTY.get(name) or type(name.rpartition(".")[2], (Record,), {"source": name})
