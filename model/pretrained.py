"""Detectors that start from official AV-HuBERT weights: their encoder's configuration, and its weights for RGB."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.avhubert import AVHubertConfig, read_avhubert
from model.avhubert.load import FRONTEND, HEAD
from model.avhubert.stated import RATES
from utils.errors import DataError

log = logging.getLogger(__name__)

FIELDS = tuple(field.name for field in fields(AVHubertConfig))
PLAIN = (str, int, float, bool, type(None))
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
        Official name → tensor, on the CPU. Each channel of the front end's kernel is a third of a grey one, so that
        grey video gives the file's own features; a kernel of three channels stays as it is.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If the file cannot be used; see `read_avhubert`.
    """
    config, weights, left_aside = read_avhubert(path)
    grey = config.video_channels == 1
    if grey:
        weights[FRONTEND] = (weights[FRONTEND] / 3).repeat(1, 3, 1, 1, 1)  # (64, 3, 5, 7, 7)
    parts = dict.fromkeys(name.partition(".")[0] for name in left_aside)
    log.info(
        "%s: starting from its encoder: %d layers, width %d, %s-norm, %d tensors%s; left aside: %s",
        path,
        config.encoder_layers,
        config.encoder_embed_dim,
        "pre" if config.layer_norm_first else "post",
        len(weights),
        ", grey kernel spread over RGB" if grey else "",
        ", ".join(part if part.isprintable() else ascii(part) for part in parts) or "nothing",
    )
    return replace(config, video_channels=3), weights


def encoder_options(config: AVHubertConfig) -> dict[str, Any]:
    """A configuration as plain values, for the hyperparameter `encoder`, checkpoints and YAML: tuples become lists.

    A value that is not plain, which only fields without effect can have, is left out and gives way to the default.
    """
    options = {}
    for name in FIELDS:
        value = getattr(config, name)
        value = list(value) if isinstance(value, tuple) else value
        if all(isinstance(item, PLAIN) for item in (value if isinstance(value, list) else [value])):
            options[name] = value
    return options


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
        If a field is not known, a rate is none, the encoder does not take the detectors' input, or the two numbers
        of layers differ.
    """
    if encoder is None:
        return AVHubertConfig(encoder_layers=encoder_layers or 0, **INPUTS)
    for name in encoder:
        if name not in FIELDS:
            raise DataError(f"encoder: {name!a} is not a field of AV-HuBERT's configuration")
    config = AVHubertConfig(
        **INPUTS | {name: tuple(value) if isinstance(value, list) else value for name, value in encoder.items()}
    )
    for name, expected in INPUTS.items():
        if getattr(config, name) != expected:
            raise DataError(f"encoder: {name} is {getattr(config, name)!a}, but the detectors need {expected}")
    for name in RATES:
        rate = getattr(config, name)
        if not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise DataError(f"encoder: {name} is {rate!a}, which is not a number from 0 to 1")
    if encoder_layers not in (None, config.encoder_layers):
        raise DataError(
            f"encoder_layers is {encoder_layers}, but the encoder given has {config.encoder_layers}; leave it out"
        )
    return config


def load_encoder(detector: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give a detector's encoder the weights that `start_encoder` has read.

    Parameters
    ----------
    detector
        Made with `encoder=encoder_options(config)`.
    weights
        Official name → tensor. A `final_proj` that is missing or of another shape stays as it is, since no detector
        uses it; anything else has to fit.

    Raises
    ------
    DataError
        If a weight is missing, not known or of another shape.
    """
    encoder: Any = detector.model
    expected = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    heads = {name for name in expected.keys() | found.keys() if name.startswith(HEAD)}
    for name in sorted(expected.keys() - found.keys() - heads):
        raise DataError(f"{name} of the encoder is missing from the weights")
    for name in sorted(found.keys() - expected.keys() - heads):
        raise DataError(f"{name} does not belong to the encoder")
    for name in sorted(expected.keys() - heads):
        if found[name] != expected[name]:
            raise DataError(f"{name} is {found[name]}, but the encoder needs {expected[name]}")
    # All of the head or nothing of it.
    unfit = heads if any(found.get(name) != expected.get(name) for name in heads) else set()
    encoder.load_state_dict({name: value for name, value in weights.items() if name not in unfit}, strict=False)
