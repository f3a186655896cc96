"""The machine: GPUs that are there and cannot be used stop a program with what to do."""

from pathlib import Path

import pytest
import torch

from utils.environment import check_gpus, device, driver_version
from utils.errors import DataError
from utils.options import Gpus

VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Wed Aug 13 17:02:51 UTC 2025\nGCC version: 12.2.0\n"


@pytest.fixture(autouse=True)
def _no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")


def with_driver(root: Path, version: str) -> Path:
    path = root / "proc/driver/nvidia/version"
    path.parent.mkdir(parents=True)
    path.write_text(VERSION.format(version), encoding="utf-8")
    return root


def test_a_machine_without_a_gpu_goes_on(tmp_path: Path) -> None:
    check_gpus(1, tmp_path)
    assert driver_version(tmp_path) is None
    assert device(0) == torch.device("cpu")


def test_an_old_driver_is_named_with_what_to_do(tmp_path: Path) -> None:
    root = with_driver(tmp_path, "535.104.05")
    assert driver_version(root) == "535.104.05"
    with pytest.raises(DataError) as error:
        check_gpus(1, root)
    assert str(error.value) == (
        "there is an NVIDIA driver (535.104.05), but PyTorch cannot use it: it brings CUDA 13.0, which needs driver "
        "580 or newer; update the driver, or install requirements-cu12.txt in place of requirements.txt, which serves "
        "drivers from 525 on and older GPUs. With --gpus 0 it goes on on the CPU"
    )
    check_gpus(0, root)
    check_gpus(Gpus("cpu"), root)


def test_a_new_driver_that_does_not_work(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="see whether nvidia-smi works"):
        check_gpus(1, with_driver(tmp_path, "580.65.06"))


def test_a_torch_for_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(DataError, match="is built for CPUs; install requirements"):
        check_gpus(1, with_driver(tmp_path, "535.104.05"))


def test_a_device_without_a_driver(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    check_gpus(1, tmp_path)
    (tmp_path / "dev/nvidia0").touch()
    with pytest.raises(DataError, match="there is an NVIDIA GPU"):
        check_gpus(1, tmp_path)


@pytest.mark.parametrize(("said", "stops"), [("GPU 0: NVIDIA A100 (UUID: x)", True), ("No devices were found", False)])
def test_nvidia_smi_alone(said: str, stops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho '{said}'\n", encoding="utf-8")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if stops:
        with pytest.raises(DataError, match="A100"):
            check_gpus(1, tmp_path)
    else:
        check_gpus(1, tmp_path)


def test_gpus_that_are_hidden_on_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_gpus(1, with_driver(tmp_path, "535.104.05"))


def test_gpus_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capability = {0: (7, 0), 1: (9, 0)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90", "compute_90"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability.__getitem__)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Tesla V100")
    with pytest.raises(DataError, match=r"GPU 0 \(Tesla V100\) has compute capability 7.0, .* needs 7.5: install req"):
        check_gpus(2, tmp_path)
    check_gpus(Gpus("1,"), tmp_path)
    assert device(Gpus("1,")) == torch.device("cuda", 1)
    with pytest.raises(DataError, match="--gpus 3: there is no GPU 2; this machine shows 2"):
        check_gpus(3, tmp_path)
