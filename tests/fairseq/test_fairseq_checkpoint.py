"""Reading fairseq's pickles: what comes through, in both of PyTorch's formats, and files that are damaged."""

import argparse
import pickle
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq.checkpoint import CheckpointError, Record, plain, read_checkpoint

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


@pytest.fixture
def saved_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint with objects of a package that can no longer be imported."""
    module, enums = types.ModuleType("elsewhere"), types.ModuleType("hydra")
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    monkeypatch.setitem(sys.modules, "hydra", enums)

    @dataclass
    class Config:
        layers: int = 3

    module.Config = Config
    Config.__module__, Config.__qualname__ = "elsewhere", "Config"
    enums.Choice = Enum("Choice", {"STATIC": "static"}, module="hydra")
    history = defaultdict(dict, loss=np.float64(0.25), steps=np.int64(7), flag=np.bool_(True), name=np.str_("best"))
    torch.save(
        {
            "args": argparse.Namespace(arch="av_hubert", path=Path("/tmp"), choice=enums.Choice.STATIC),
            "config": Config(),
            "no factory": defaultdict(None, a=1),
            "history": history,
            "array": np.arange(3),
            "raw": b"\x00\xff",
            "empty": b"",
            "sets": ({1, 2}, {("b", 1)}, frozenset([3])),
            "types": (torch.float16, torch.Size([1]), torch.device("cpu"), dict),
        },
        tmp_path / "objects.pt",
    )
    monkeypatch.delitem(sys.modules, "elsewhere")
    monkeypatch.delitem(sys.modules, "hydra")
    return tmp_path / "objects.pt"


def test_objects_become_plain_or_inert(saved_objects: Path) -> None:
    checkpoint = read_checkpoint(saved_objects)
    args, config = checkpoint["args"], checkpoint["config"]
    assert (args.source, plain(args)["arch"]) == ("argparse.Namespace", "av_hubert")
    assert plain(plain(args)["choice"]) == "static"
    assert isinstance(plain(args)["path"], Record)
    assert (repr(config), plain(config)) == ("<elsewhere.Config>", {"layers": 3})
    assert all(isinstance(value, Record) for value in (*checkpoint["history"].values(), checkpoint["array"]))
    assert checkpoint["no factory"] == {"a": 1}
    assert (checkpoint["raw"], checkpoint["empty"]) == (b"\x00\xff", b"")
    assert checkpoint["sets"][:2] == ({1, 2}, {("b", 1)})
    assert isinstance(checkpoint["sets"][2], Record)
    assert checkpoint["types"][:3] == (torch.float16, torch.Size([1]), torch.device("cpu"))
    assert not {"elsewhere", "hydra"} & set(sys.modules)


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors(zipped: bool, tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32).view(4, 6)
    kinds = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
    )
    model = OrderedDict(
        {"base": base, "view": base[1:, ::2].t(), "scalar": torch.tensor(3.5), "none": torch.empty(0, 3)},
        parameter=torch.nn.Parameter(torch.randn(3)),
        mask=torch.tensor([True, False]),
        **{str(kind): torch.arange(3).to(kind) for kind in kinds},
    )
    model._metadata = OrderedDict(version=1)
    torch.save({"model": model}, tmp_path / "tensors.pt", _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(tmp_path / "tensors.pt")["model"]
    assert list(read) == list(model)
    for name, value in model.items():
        assert read[name].dtype == value.dtype
        assert torch.equal(read[name], value.detach()), name


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A checkpoint with nothing odd."""
    path = tmp_path / "sound.pt"
    torch.save({"model": {"weight": torch.arange(1000.0)}, "args": None}, path)
    return path


def test_what_is_no_checkpoint(tmp_path: Path, sound: Path) -> None:
    torch.save({"model": {"weight": torch.arange(1000.0)}}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    old, new = (tmp_path / "old.pt").read_bytes(), sound.read_bytes()
    path = tmp_path / "odd.pt"
    flipped = bytearray(new)
    flipped[new.index(torch.arange(1000.0).numpy().tobytes()) + 50] ^= 1
    cut = (new[:-1], new[:2000], old[:-1], old[:90])
    for content in (b"", b"hello world\n" * 9, b"PK\x03\x04", b"\x80\x02N.", flipped, *cut):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"odd\.pt: not a PyTorch checkpoint, or damaged \(.+\)"):
            read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match=r"odd\.pt: holds a list, not the dict that fairseq saves"):
        read_checkpoint(path)
    for absent in (tmp_path, tmp_path / "absent.pt"):
        with pytest.raises(FileNotFoundError, match="no such checkpoint"):
            read_checkpoint(absent)


def rewrite(path: Path, changes: dict[str, bytes | None], compression: int = zipfile.ZIP_STORED) -> None:
    """Change, add or (None) drop members of a zipped checkpoint."""
    with zipfile.ZipFile(path) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()} | changes
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(f"archive/{name}", data)


@pytest.mark.parametrize("changes", [{"data/0": None, "data/9": bytes(4000)}, {"data/0": b""}, {"data.pkl": None}])
def test_members_that_are_odd(changes: dict[str, bytes | None], sound: Path) -> None:
    rewrite(sound, changes)
    with pytest.raises(CheckpointError, match=r"sound\.pt: not a PyTorch checkpoint, or damaged \(.+\)"):
        read_checkpoint(sound)


def test_compressed_members_are_refused(sound: Path) -> None:
    rewrite(sound, {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"sound\.pt: .* is compressed, which PyTorch never does"):
        read_checkpoint(sound)


def tensor_pickle(count: int, offset: int, size: tuple, stride: tuple, keys: str = "0") -> bytes:
    """{"model": tensors on the storages `keys`, each of `count` float32}."""

    def push(value: object) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    tensors = b"".join(
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        + push(key)
        + push("cpu")
        + push(count)
        + b"tQ"
        + b"".join(map(push, (offset, size, stride, False, {})))
        + b"tR"
        for key in keys
    )
    return b"\x80\x02}X\x05\x00\x00\x00model](" + tensors + b"es."


@pytest.mark.parametrize(
    "data",
    [
        tensor_pickle(1000, 1, (1000,), (1,)),
        tensor_pickle(1000, 0, (2, 2), (998, 2)),
        tensor_pickle(1000, -1, (2,), (1,)),
        tensor_pickle(1000, 0, (2,), (1, 1)),
        tensor_pickle(1000, 0, ("a",), (1,)),
        tensor_pickle(2**20, 0, (2**20,), (1,)),
        tensor_pickle(2**40, 0, (2**40,), (1,)),
    ],
)
def test_tensors_that_do_not_fit_the_file(data: bytes, sound: Path) -> None:
    """Memory that lies beyond the file must not be read."""
    rewrite(sound, {"data.pkl": data})
    with pytest.raises(CheckpointError, match="not a PyTorch checkpoint, or damaged"):
        read_checkpoint(sound)
    rewrite(sound, {"data.pkl": tensor_pickle(1000, 997, (3,), (1,))})
    assert read_checkpoint(sound)["model"][0].tolist() == [997, 998, 999]


NESTS = {
    "lists": b"]" * 100_000 + b"a" * 99_999,
    "tuples": b")" + b"\x85" * 100_000,
    "objects": b"ca\nB\n)\x81" * 9_999 + b"b" * 9_998,
}


@pytest.mark.parametrize("nest", NESTS)
def test_deep_nesting_does_no_harm(nest: str, sound: Path) -> None:
    rewrite(sound, {"data.pkl": b"\x80\x02}N" + NESTS[nest] + b"s."})
    assert list(read_checkpoint(sound)) == [None]
    rewrite(sound, {"data.pkl": b"\x80\x02" + NESTS[nest] + b"."})
    with pytest.raises(CheckpointError, match="not the dict that fairseq saves"):
        read_checkpoint(sound)


def legacy(*pickles: object) -> bytes:
    return b"".join(value if isinstance(value, bytes) else pickle.dumps(value, 2) for value in pickles)


def test_legacy_files_that_are_odd(tmp_path: Path) -> None:
    path = tmp_path / "odd.pt"
    for magic, version in ((1, VERSION), (MAGIC, 1)):
        path.write_bytes(legacy(magic, version, {"little_endian": True}, {}, []))
        with pytest.raises(CheckpointError, match="not a PyTorch checkpoint, or damaged"):
            read_checkpoint(path)
