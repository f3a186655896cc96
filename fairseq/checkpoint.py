"""Checkpoints as fairseq writes them, read without running anything that they contain.

They are PyTorch files, but hold objects of omegaconf, argparse and fairseq itself, so that `torch.load` either refuses
them or imports and runs what they ask for. Here such objects become inert records.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from fairseq.record import Global, Record
from fairseq.unpickle import CheckpointError, Unpickler

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # how the format before PyTorch 1.6 begins
DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
STORAGES = {f"{module}.{kind}Storage": dtype for module in ("torch", "torch.cuda") for kind, dtype in DTYPES.items()}
# What a file may call beside CALLS below. Such a call gives a record of its name and arguments.
INERT = frozenset(
    {
        "builtins.frozenset",
        "builtins.set",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.dtype",
        "pathlib.PosixPath",
        "pathlib._local.PosixPath",
        "torch.Size",
        "torch.device",
    }
)
# What else it may name, apart from the classes of other packages. All of it stays a name.
NAMES = frozenset(
    {
        "argparse.Namespace",
        "numpy.ndarray",
        *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "long", "object")),
        *(f"builtins.{name}" for name in ("str", "tuple", "unicode")),
        *(f"typing.{name}" for name in ("Any", "Dict", "List", "Optional", "Tuple", "Union")),
        *(str(dtype) for dtype in DTYPES.values()),
        *STORAGES,
    }
)
# What reading a damaged file may end in.
DAMAGE = (
    zipfile.BadZipFile,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,  # RecursionError is one of them
    TypeError,
    ValueError,
    struct.error,
)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a fairseq checkpoint without running anything in it.

    Parameters
    ----------
    path
        A file as `torch.save` writes it, in today's zip format or in the one before PyTorch 1.6.

    Returns
    -------
    dict
        What fairseq saved: `model` (name → tensor, on the CPU), `cfg` or `args`, and so on. Objects of classes come as
        `fairseq.record.Record`.

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
            checkpoint = _read_zip(path, file) if is_zip else _read_legacy(path, file)
        except CheckpointError:
            raise
        except DAMAGE as error:
            reason = str(error)[:200] or type(error).__name__
            raise CheckpointError(f"{path}: not a PyTorch checkpoint, or damaged ({reason})") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path}: holds a {type(checkpoint).__name__}, not the dict that fairseq saves")
    return checkpoint


class _Storages:
    """The storages of a file by their key, each a flat tensor that is made when it is first asked for.

    Parameters
    ----------
    path
        The file.
    fill
        Puts a storage's bytes into the tensor; called with key and tensor.
    """

    def __init__(self, path: Path, fill: Callable[[str, Tensor], None]) -> None:
        self.path = path
        self.fill = fill
        self.tensors: dict[str, Tensor] = {}
        self.bytes_left = path.stat().st_size  # a small file must not ask for much memory

    def unpickler(self) -> Unpickler:
        """An unpickler whose tensors lie in these storages."""
        return Unpickler(self.path, CALLS, INERT, NAMES, self.load)

    def load(self, persistent_id: Any) -> Tensor:
        """The storage of ("storage", type, key, device, count[, None]), whatever its device was."""
        match persistent_id:
            case ("storage", Global() as kind, str(key), str(), int(count), *view) if view in ([], [None]):
                dtype = STORAGES.get(str(kind))
            case _:
                dtype = None
        if dtype is None:
            raise CheckpointError(f"{self.path}: refused, it has a persistent id that is not a storage of weights")
        if key not in self.tensors:
            self.bytes_left -= count * dtype.itemsize
            if count < 0 or self.bytes_left < 0:
                raise ValueError(f"storage {key!a} is said to be larger than the file")
            self.tensors[key] = torch.empty(count, dtype=dtype)
            self.fill(key, self.tensors[key])
        tensor = self.tensors[key]
        if (len(tensor), tensor.dtype) != (count, dtype):
            raise ValueError(f"storage {key!a} has two sizes or types")
        return tensor


def _read_zip(path: Path, file: BinaryIO) -> Any:
    """Read today's format: a zip of uncompressed members, the pickle `data.pkl` and a member for each storage."""
    with zipfile.ZipFile(file) as archive:
        roots = [name[:-8] for name in archive.namelist() if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(roots) != 1:
            raise ValueError("a zip without data.pkl")
        (root,) = roots

        def member(name: str) -> bytes:
            info = archive.getinfo(root + name)
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name!a} is compressed, which PyTorch never does")
            return archive.read(info)

        def fill(key: str, tensor: Tensor) -> None:
            _copy(member(f"data/{key}"), tensor)

        if f"{root}byteorder" in archive.namelist() and member("byteorder") != b"little":
            raise CheckpointError(f"{path}: written on a big-endian machine, which is not supported")
        return _Storages(path, fill).unpickler().load(io.BytesIO(member("data.pkl")))


def _read_legacy(path: Path, file: BinaryIO) -> Any:
    """Read the format before PyTorch 1.6: pickles of header, object and storage keys, then the storages' bytes."""
    storages = _Storages(path, lambda key, tensor: None)
    unpickler = storages.unpickler()
    if unpickler.load(file) != MAGIC or unpickler.load(file) != VERSION:
        raise ValueError("neither of PyTorch's formats")
    if unpickler.load(file).get("little_endian") is not True:
        raise CheckpointError(f"{path}: written on a big-endian machine, which is not supported")
    value = unpickler.load(file)
    keys = unpickler.load(file)
    if not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages.tensors):
        raise ValueError("its list of storages does not match its tensors")
    for key in keys:
        tensor = storages.tensors[key]
        if int.from_bytes(file.read(8), "little") != len(tensor):
            raise ValueError(f"storage {key!a} has another size than its tensors say")
        _copy(file.read(tensor.nbytes), tensor)
    return value


def _copy(data: bytes, tensor: Tensor) -> None:
    """Put the bytes of a storage into a flat tensor."""
    if len(data) != tensor.nbytes:
        raise ValueError(f"a storage has {len(data)} bytes in place of {tensor.nbytes}")
    tensor.view(torch.uint8).numpy()[:] = np.frombuffer(data, np.uint8)


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    """A view of a storage, if it lies within and has each value once, so that copying it takes no more room."""
    if len(size) != len(stride) or not all(isinstance(n, int) and n >= 0 for n in (offset, *size, *stride)):
        raise ValueError("a tensor whose size or stride makes no sense")
    end = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    if 0 not in size and end > storage.numel():
        raise ValueError(f"a tensor of size {size} does not fit its storage of {storage.numel()} values")
    reach = 1  # values up to which the dimensions seen so far lie
    for step, n in sorted((step, n) for n, step in zip(size, stride, strict=True) if n > 1):
        if step < reach:
            raise ValueError(f"a tensor of size {size} repeats values of its storage")
        reach += (n - 1) * step
    return storage.as_strided(size, stride, offset)


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    return data


def _encode(text: str, encoding: str) -> bytes:
    """Bytes, which protocol 2 writes as text."""
    if encoding != "latin1":
        raise ValueError("bytes that are not written as latin1")
    return text.encode("latin1")


def _numpy_scalar(dtype: Record, data: bytes) -> Any:
    """A number as Python's own; a scalar of any other type as a record."""
    code, order = dtype.args[0], dtype.state[1]
    if not isinstance(code, str) or not re.fullmatch("[iu][1248]|b1|f[248]", code) or order not in ("<", ">", "|"):
        return Record(Global("numpy", "generic"), (dtype, data))
    (value,) = np.frombuffer(data, order + code)
    return value.item()


# What a file may call, and what is called in its place.
CALLS: dict[str, Callable[..., Any]] = {
    "builtins.bytes": lambda: b"",  # which is how protocol 2 writes empty ones
    "collections.OrderedDict": dict,
    "collections.defaultdict": lambda *factory: {},
    "_codecs.encode": _encode,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}
