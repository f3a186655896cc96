"""Reading detectors from checkpoints: this project's, and those that the authors' release writes."""

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

import model
from fairseq.checkpoint import CheckpointError, load_plain
from model.model import Detector

# What main.py export leaves in a folder.
WEIGHTS, CONFIG = "model.safetensors", "config.json"
# The release stores the encoder's modules a second time under these names.
ALIASES = {
    "feature_extractor_audio_hubert.": "model.feature_extractor_audio.",
    "feature_extractor_video_hubert.": "model.feature_extractor_video.",
    "fusion_encoder_hubert.": "model.encoder.",
    "project_hubert.0.": "model.layer_norm.",
    "project_hubert.1.": "model.post_extract_proj.",
    "final_proj_audio.": "model.final_proj.",
    "final_proj_video.": "model.final_proj.",
    "final_proj_hubert.": "model.final_proj.",
}


def read_checkpoint(path: str | Path, mmap: bool = False) -> dict[str, Any]:
    """Read what a checkpoint, or a folder that main.py export has left, contains, without running anything in it.

    `mmap` leaves the weights in the file until they are asked for.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is not a Lightning checkpoint, is damaged, or holds objects that would run code when read.
    """
    path = Path(path)
    if path.is_dir():
        return _read_export(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    checkpoint = load_plain(path, mmap=mmap)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise CheckpointError(f"{path}: holds no state_dict; train.py and the authors' release write one")
    return checkpoint


def weights_file(path: Path) -> Path:
    """The file that holds a checkpoint's weights: itself, or the one in an exported folder."""
    return path / WEIGHTS if path.is_dir() else path


def _read_export(folder: Path) -> dict[str, Any]:
    """An exported folder, as the checkpoint that it was made of."""
    try:
        contents = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder}: is a folder without {CONFIG} and {WEIGHTS}, which main.py export writes"
        ) from error
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: {CONFIG} or {WEIGHTS} is damaged ({error})") from error
    if not isinstance(contents, dict) or contents.get("model_type") not in model.MODELS:
        raise CheckpointError(f"{folder / CONFIG}: names none of {', '.join(model.MODELS)} as its model_type")
    return contents | {"state_dict": weights}


def load_detector(path: str | Path, model_type: str | None = None) -> Detector:
    """Load a detector, with its encoder's shape and, where it can be told, the model type from the file.

    Parameters
    ----------
    path
        A checkpoint of this project, one that the authors' release wrote with Lightning 1.7.7, or a folder that
        main.py export has left.
    model_type
        One of the six names. Needed for the release's AVDF, AVDF_Multilabel and MRDF_Margin, whose weights look alike.

    Returns
    -------
    Detector
        On the CPU, in eval mode.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If there is no such file, or it cannot be used; the message says why.
    """
    return detector_of(read_checkpoint(path), path, model_type)


def detector_of(checkpoint: dict[str, Any], path: str | Path, model_type: str | None = None) -> Detector:
    """The detector of a checkpoint that `read_checkpoint` has read from `path`; otherwise as `load_detector`."""
    weights = _canonical(checkpoint["state_dict"])
    kind = _model_type(path, checkpoint, weights, model_type)
    options = dict(checkpoint.get("hyper_parameters", {})) if "model_type" in checkpoint else {}
    options |= {"encoder_layers": _encoder_layers(weights), "compile_encoder": False}
    try:
        detector = model.MODELS[kind](**options)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: its hyper_parameters do not fit {kind}: {str(error)[:200]}") from error
    _check_fit(path, detector, weights)
    detector.load_state_dict(weights)
    return detector.eval()


def _canonical(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with each tensor once, under its first name."""
    weights = dict(state_dict)
    for alias, owner in ALIASES.items():
        for name in [name for name in weights if name.startswith(alias)]:
            weights.setdefault(owner + name.removeprefix(alias), weights[name])
            del weights[name]
    return weights


def _encoder_layers(weights: dict[str, Tensor]) -> int:
    found = (re.match(r"model\.encoder\.layers\.(\d+)\.", name) for name in weights)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _model_type(path: str | Path, checkpoint: dict, weights: dict[str, Tensor], asked: str | None) -> str:
    """The model type that the file says or its heads show, checked against the one asked for."""
    if asked is not None and asked not in model.MODELS:
        raise CheckpointError(f"model_type '{asked}' is unknown; use one of {', '.join(model.MODELS)}")
    possible = [checkpoint["model_type"]] if checkpoint.get("model_type") in model.MODELS else _types_by_heads(weights)
    if not possible:
        raise CheckpointError(f"{path}: its weights are not those of any of {', '.join(model.MODELS)}")
    if asked is not None and asked not in possible:
        raise CheckpointError(
            f"{path}: holds {' or '.join(possible)}, not {asked}; leave out --model_type or correct it"
        )
    if asked is None and len(possible) > 1:
        raise CheckpointError(f"{path}: {', '.join(possible)} look alike in it; say which one with --model_type")
    return asked or possible[0]


def _types_by_heads(weights: dict[str, Tensor]) -> list[str]:
    head = weights.get("mm_classifier.2.weight")
    within = "audio_classifier.0.weight" in weights
    if head is None:
        return ["AVDF_Ensemble"] if within else []
    if within:
        return ["MRDF_CE"]
    return ["AVDF_Multiclass"] if len(head) == 4 else ["AVDF", "AVDF_Multilabel", "MRDF_Margin"]


def _check_fit(path: str | Path, detector: Detector, weights: dict[str, Tensor]) -> None:
    """Say which weights are missing, unknown or of another shape, before PyTorch does at length."""
    kind, expected = type(detector).__name__, detector.state_dict()
    for name in expected.keys() - weights.keys():
        raise CheckpointError(f"{path}: {name} of {kind} is missing")
    for name in weights.keys() - expected.keys():
        raise CheckpointError(f"{path}: {name} does not belong to {kind}")
    for name, value in expected.items():
        shape, found = tuple(value.shape), tuple(weights[name].shape)
        if found != shape:
            raise CheckpointError(f"{path}: {name} is {found}, but {kind} needs {shape}")
