"""What a recipe stands for. Each choice is a flag of train.py too, which overrides it."""

from __future__ import annotations

from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    # What the authors' release does when it is run, which is not always what one would guess: see the README.
    "released": {
        "encoder_layers": 0,
        "train_frontend": False,
        "padding": "cut",
        "validation": "test",
        "selection": "released",
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "schedule": "plateau",
        "warmup": 0.0,
        "gradient_clip": 0.0,
    },
    # What a careful lab would run: the paper's transformer, and nothing that looks at the test fold.
    "clean": {
        "encoder_layers": 12,
        "train_frontend": True,
        "padding": "mask",
        "validation": "subjects",
        "selection": "auc",
        "optimizer": "adamw",
        "learning_rate": 1e-4,
        "weight_decay": 1e-2,
        "schedule": "cosine",
        "warmup": 0.1,
        "gradient_clip": 1.0,
    },
}

CORPORA: dict[str, dict[str, Any]] = {
    "fakeavceleb": {"num_train": 400, "num_val": 100},  # as in the paper
    "csv": {"num_train": None, "num_val": None},  # all of them
}
