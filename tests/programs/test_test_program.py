"""What test.py says of a checkpoint's training before it tests it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import test as test_program
from utils.options import TestOptions


@pytest.mark.parametrize(
    ("checkpoint", "trained", "warned"),
    [
        ("AVDF_train_1.ckpt", {"fold": "train_1", "corpus": "FakeAVCeleb"}, True),
        ("any.ckpt", {"fold": "train_1"}, True),
        ("AVDF_train_1.ckpt", {}, True),  # of the release, which does not say
        ("AVDF_train_2.ckpt", {"fold": "train_2", "corpus": "FakeAVCeleb"}, False),
        ("AVDF_train_1.ckpt", {"fold": "train_1", "corpus": "another"}, False),
        ("any.ckpt", {}, False),
    ],
)
def test_a_checkpoint_that_knows_the_people_is_named(
    checkpoint: str, trained: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    options = TestOptions(data_root=Path("data"), checkpoint=Path(checkpoint), train_fold="train_2.txt")
    test_program.warn_of_training(options, trained, "FakeAVCeleb")
    said = f"{checkpoint} was trained on train_1, so on most people that train_2.txt tests"
    assert (said in caplog.text) is warned
    assert bool(caplog.records) is warned
