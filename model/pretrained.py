"""Detectors that start from official AV-HuBERT weights: their encoder's configuration, and its weights for RGB."""

from __future__ import annotations

import logging
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from model.avhubert import AVHubertConfig, read_avhubert
from model.avhubert.load import FRONTEND
from utils.errors import DataError

log = logging.getLogger(__name__)

FIELDS = {field.name for field in fields(AVHubertConfig)}
INPUTS: dict[str, Any] = {"video_channels": 3, "audio_feat_dim": 104}  # what the detectors see and hear


def start_encoder(path: str | Path) -> tuple[AVHubertConfig, dict[str, Tensor]]:
    """Read the encoder of an official checkpoint for RGB input; the log says what was loaded.

    Parameters
    ----------
    path
        As for `model.avhubert.read_avhubert`.

    Returns
    -------
    config
        The file's, with three video channels.
    weights
        Official name → tensor, on the CPU; `final_proj`, which no detector uses, may be missing. Each channel of the
        front end's kernel is a third of a grey one, so that grey video gives the file's own features; a kernel of
        three channels stays as it is.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If the file cannot be used; see `read_avhubert`.
    """
    config, weights = read_avhubert(path)
    grey = config.video_channels == 1
    if grey:
        weights[FRONTEND] = (weights[FRONTEND] / 3).repeat(1, 3, 1, 1, 1)  # (64, 3, 5, 7, 7)
    log.info(
        "%s: starting from its encoder: %d layers, width %d, %s-norm, %d tensors%s",
        path,
        config.encoder_layers,
        config.encoder_embed_dim,
        "pre" if config.layer_norm_first else "post",
        len(weights),
        ", grey kernel spread over RGB" if grey else "",
    )
    return replace(config, video_channels=3), weights


def encoder_options(config: AVHubertConfig) -> dict[str, Any]:
    """A configuration as plain values, for the hyperparameter `encoder`, checkpoints and YAML: tuples become lists.

    A value that is not plain, which only fields without effect can have, is left out and gives way to the default.
    """
    options = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}

    def is_plain(value: Any) -> bool:
        return all(map(is_plain, value)) if isinstance(value, list) else isinstance(value, str | int | float | None)

    return {name: value for name, value in options.items() if is_plain(value)}


def encoder_config(encoder: dict[str, Any] | None = None, encoder_layers: int | None = None) -> AVHubertConfig:
    """The configuration of a detector's encoder.

    Parameters
    ----------
    encoder
        Fields of `AVHubertConfig`, as `encoder_options` gives them; None for the defaults, and no transformer layer.
    encoder_layers
        Number of transformer layers; None for that of `encoder`.

    Raises
    ------
    DataError
        If a field or a value is not known, the encoder does not take the detectors' input, or the two numbers of layers
        differ.
    """
    if encoder is None:
        return AVHubertConfig(encoder_layers=encoder_layers or 0, **INPUTS)
    for name in encoder:
        if name not in FIELDS:
            raise DataError(f"encoder: {name!a} is not a field of AV-HuBERT's configuration")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in encoder.items()}
    config = AVHubertConfig(**INPUTS | values)
    for name, expected in INPUTS.items():
        if getattr(config, name) != expected:
            raise DataError(f"encoder: {name} is {getattr(config, name)!a}, but the detectors need {expected}")
    if encoder_layers not in (None, config.encoder_layers):
        raise DataError(
            f"encoder_layers is {encoder_layers}, but the encoder given has {config.encoder_layers}; leave it out"
        )
    return config
