"""A validation whose loss or scores are no numbers ends the run before its epoch is saved."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from model.training.bad_loss import BadLoss, StopOnBadLoss
from tests.model.test_callbacks import Scale


class Judged(Scale):
    """A module whose validation gives what each epoch is said to give."""

    def __init__(self, outputs: list[dict[str, float]]) -> None:
        super().__init__()
        self.outputs = outputs

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        outputs = self.outputs[self.current_epoch] if batch_idx == 1 else {"loss": 1.0, "score": 0.5}
        self.log("val_acc", torch.tensor(float(self.current_epoch)), batch_size=1)
        return {name: torch.tensor([value]) for name, value in outputs.items()}


def fit(folder: Path, outputs: list[dict[str, float]], **more: Any) -> str:
    """Train for an epoch on each of `outputs`; returns the message of the stop."""
    batches = [{"factor": torch.tensor(0.25), "steep": False, "file": [f"A/{i}.mp4", f"B/{i}.mp4"]} for i in range(3)]
    best = ModelCheckpoint(folder, "best", monitor="val_acc", mode="max", save_on_train_epoch_end=True)
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[StopOnBadLoss(), best, last],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": len(outputs), "num_sanity_val_steps": 0} | more,
    )
    loaders = [DataLoader(batches, batch_size=None) for _ in range(2)]
    with pytest.raises(BadLoss) as error:
        trainer.fit(Judged(outputs), *loaders)
    return str(error.value)


GOOD = {"loss": 1.0, "score": 0.5, "decision": 1.0}
BAD = [
    GOOD | {"loss": math.nan},
    GOOD | {"loss": math.inf},
    GOOD | {"score": math.nan},
    GOOD | {"video_score": math.inf},
]


@pytest.mark.parametrize("bad", BAD)
def test_the_checkpoints_of_the_last_good_epoch_stay(bad: dict[str, float], tmp_path: Path) -> None:
    message = fit(tmp_path, [GOOD, bad, GOOD])
    assert message == (
        "epoch 2, validation: the loss or a score is NaN or infinite, so this epoch is not saved; go on from the last "
        f"good epoch with --resume {tmp_path / 'last.ckpt'}, and a lower --learning_rate or --precision 32. "
        "Clips of the batch: A/1.mp4, B/1.mp4"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
    for path in tmp_path.iterdir():
        assert torch.load(path, weights_only=True)["epoch"] == 0


@pytest.mark.parametrize("sanity", [0, 2])
def test_without_a_checkpoint_there_is_no_word_of_one(sanity: int, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_text("of another run")
    message = fit(tmp_path, [BAD[0]], num_sanity_val_steps=sanity)
    assert message.startswith("epoch 1, validation: ")
    assert "train with a lower learning rate or in full precision" in message
    assert "resume" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_file_that_a_run_goes_on_from_can_be_resumed_again(tmp_path: Path) -> None:
    fit(tmp_path / "first", [GOOD, BAD[0]])
    start = tmp_path / "start.ckpt"
    (tmp_path / "first" / "last.ckpt").rename(start)
    with pytest.MonkeyPatch.context() as patch:
        resumed = Trainer.fit
        patch.setattr(Trainer, "fit", lambda *given: resumed(*given, ckpt_path=start, weights_only=True))
        message = fit(tmp_path / "second", [GOOD, BAD[0]])
    assert f"with --resume {start}, and a lower" in message


def test_every_process_stops(tmp_path: Path) -> None:
    """The one whose own batches are fine, too, for the other will not wait for it."""
    stop = StopOnBadLoss()
    asked = []
    strategy = SimpleNamespace(reduce_boolean_decision=lambda bad, all: asked.append((bad, all)) or True)
    trainer = SimpleNamespace(
        strategy=strategy, current_epoch=4, global_step=9, checkpoint_callbacks=[], ckpt_path=None
    )
    stop.on_validation_epoch_start(trainer, None)
    stop.on_validation_batch_end(trainer, None, {"loss": torch.tensor(1.0)}, {"file": ["a.mp4"]}, 0)
    with pytest.raises(BadLoss, match="epoch 5, validation: a loss or a score of another process is not finite"):
        stop.on_validation_epoch_end(trainer, None)
    stop.on_validation_batch_end(trainer, None, {"loss": torch.tensor(math.nan)}, {"file": ["b.mp4"]}, 1)
    with pytest.raises(BadLoss, match=r"Clips of the batch: b\.mp4"):
        stop.on_validation_epoch_end(trainer, None)
    assert asked == [(False, False), (True, False)]
