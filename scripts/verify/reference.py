"""The detectors and the decoding against the numbers that the authors' release gave."""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dataset.media import read_audio, read_video
from model import MODELS, Detector
from model.fast import autocast_dtype
from utils.errors import DataError

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "reference"  # a part of the repository
OUTPUTS = {
    "AVDF": ["logits"],
    "AVDF_Ensemble": ["video_logits", "audio_logits"],
    "AVDF_Multilabel": ["logits"],
    "AVDF_Multiclass": ["logits"],
    "MRDF_Margin": ["logits", "video_cross", "audio_cross", "video_within", "audio_within"],
    "MRDF_CE": ["logits", "video_cross", "audio_cross", "video_logits", "audio_logits"],
}  # in the order in which the release returns them
# Largest error allowed, relative to the largest value of an array. Gradients are compared in float32 alone.
TOLERANCES = {
    ("cpu", "32"): {"outputs": 2e-5, "losses": 2e-5, "gradients": 2e-3},
    ("cuda", "32"): {"outputs": 1e-4, "losses": 1e-4, "gradients": 1e-2},
    ("cpu", "bf16"): {"outputs": 0.05, "losses": 0.05},
    ("cuda", "16"): {"outputs": 0.01, "losses": 0.01},
    ("cuda", "bf16"): {"outputs": 0.05, "losses": 0.05},
}


class Check(NamedTuple):
    """A comparison: what was compared, its largest error, what is allowed, and what there is to say besides."""

    name: str
    error: float | None
    tolerance: float
    remark: str = ""

    @property
    def ok(self) -> bool:
        """Whether the error is a number and within the tolerance."""
        return self.error is not None and self.error <= self.tolerance


def planned(device: torch.device) -> list[tuple[str, torch.device, str]]:
    """What to compare on a device, of the detectors of the release.

    A CPU computes bfloat16 slowly: there one detector stands for all.
    """
    return [
        (name, device, precision)
        for kind, precision in TOLERANCES
        for name in OUTPUTS
        if kind == device.type and (kind != "cpu" or precision == "32" or name == "MRDF_CE")
    ]


def check_detector(name: str, device: torch.device, precision: str) -> list[Check]:
    """Outputs, losses and, in float32, gradients of one detector with the reference's weights and batch."""
    tolerances = TOLERANCES[device.type, precision]
    expected, arrays = _numbers()
    batch = {
        key: torch.as_tensor(value).to(device) for key, value in recipe().detector_batch(**expected["batch"]).items()
    }
    detector = filled(name).to(device)
    half = autocast_dtype(precision)
    with full_float32(), torch.autocast(device.type, half, enabled=half is not None):
        with torch.no_grad():
            outputs = detector.eval()(batch["video"], batch["audio"], batch["padding_mask"])
            losses = detector.losses(outputs, batch)
        loss = detector.train().losses(detector(batch["video"], batch["audio"], batch["padding_mask"]), batch)["loss"]
        if "gradients" in tolerances:
            loss.backward()
    errors = {
        "outputs": [
            _error(getattr(outputs, field), arrays[f"{name}/eval/{k}"]) for k, field in enumerate(OUTPUTS[name])
        ],
        "losses": [
            _error(loss, arrays[f"{name}/train/loss"]),
            *(_error(value, arrays[f"{name}/eval/{key}"]) for key, value in losses.items()
              if f"{name}/eval/{key}" in arrays),
        ],
        "gradients": list(_gradient_errors(detector, expected["models"][name]["grad_norms"])),
    }  # fmt: skip
    where = f"{device.type}, {precision}, {name}"
    return [Check(f"{where}, {part}", _worst(errors[part]), tolerance) for part, tolerance in tolerances.items()]


def check_clips() -> list[Check]:
    """The twelve clips of the reference: that there are frames, how many samples, and the first of these."""
    root = FOLDER / "corpus" / "original"
    expected = np.load(FOLDER / "data_open_original.npz")
    errors, remarks = [], []
    paths = sorted(root.rglob("*.mp4"))
    for path in paths:
        file = path.relative_to(root).as_posix()
        video, audio = read_video(path), read_audio(path)
        samples = int(expected[f"{file}|samples"])
        if len(audio) != samples or len(video) == 0:
            remarks.append(f"{file}: {len(video)} frames, {len(audio)} samples in place of {samples}")
        head = expected[f"{file}|wav_head"].astype(int)
        errors.append(float(np.abs(audio[: len(head)].astype(int) - head).max()) if len(audio) >= len(head) else np.inf)
    return [Check(f"audio of {len(paths)} clips, in levels of 16 bits", _worst(errors), 1.0, "; ".join(remarks))]


def filled(name: str) -> Detector:
    """A detector with the reference's weights and no dropout."""
    expected, _ = _numbers()
    detector = MODELS[name](**{f"margin_{key}": value for key, value in expected["margins"].items()})
    for key, value in detector.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.as_tensor(recipe().weight(key, tuple(value.shape), expected["fill_seed"])))
    for module in detector.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return detector


@contextmanager
def full_float32() -> Iterator[None]:
    """Within, a GPU computes float32 in full, not in TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@cache
def recipe() -> ModuleType:
    """How the weights and inputs of the reference were filled from seeds."""
    path = FOLDER / "recipe.py"
    if not path.is_file():
        raise DataError(f"{path}: the reference numbers are missing; run verify in a whole clone of the repository")
    spec = importlib.util.spec_from_file_location("reference_recipe", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _numbers() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    recipe()
    with np.load(FOLDER / "released_open.npz") as arrays:
        return json.loads((FOLDER / "released_open.json").read_text(encoding="utf-8")), dict(arrays)


def _error(actual: Tensor, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest value expected."""
    return float(np.abs(actual.detach().float().cpu().numpy() - expected).max() / np.abs(expected).max())


def _gradient_errors(detector: Detector, expected: dict[str, float | None]) -> Iterator[float]:
    """Error of each parameter's gradient norm; infinite where one has a gradient and the other has none."""
    floor = 1e-4 * max(norm for norm in expected.values() if norm is not None)  # rounding has no relative error
    for name, parameter in detector.named_parameters():
        norm = expected[name]
        if (norm is None) != (parameter.grad is None):
            yield float("inf")
        elif norm is not None:
            yield abs(float(parameter.grad.float().norm()) - norm) / max(norm, floor)


def _worst(errors: list[float]) -> float | None:
    """The largest error; None if one is not a number."""
    return None if not np.isfinite(errors).all() else max(errors, default=0.0)
