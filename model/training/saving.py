"""Checkpoints that are whole or not there, however the process ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO


def unfinished(path: Path) -> Path:
    """Where a checkpoint is written before it is put in its place; a killed process leaves that behind."""
    # Always the same name, so that it leaves one file at most, which the next process overwrites.
    return path.with_name(f".{path.name}.tmp")


class WholeCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside its place and then put it there.

    Lightning's own writes it in the system's temporary folder; if that is on another disk, moving it is copying, and
    a process killed meanwhile leaves a part of a file where the last checkpoint was.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(path).open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished(path), path)
