"""Scores of a fold whose batches are cut to their shortest clip are the same with 1, 2 and 4 processes."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dataset import read_corpus

CORPUS = Path(__file__).parents[1] / "reference" / "corpus"
PROGRAM = """
import sys
import pytorch_lightning as pl
from dataset import FakeAVCelebDataModule
from model import MODELS
from model.training.scoring import score_fold
from model.training.trainer import make_trainer

processes, out = int(sys.argv[1]), sys.argv[2]
pl.seed_everything(1)
encoder = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 4, "encoder_layers": 1}
detector = MODELS["MRDF_CE"](encoder=encoder | {"conv_pos": 8, "conv_pos_groups": 2})
data = FakeAVCelebDataModule("data", dataset="csv", batch_size=3, check=False, num_train=None, num_val=None)
data.setup("test")
trainer = make_trainer(processes, "32", accelerator="cpu")
found = score_fold(trainer, detector, data)
if trainer.is_global_zero:
    found.table.assign(embedding=found.embeddings["video_cross"].sum(1)).to_csv(out)
    print(float(trainer.callback_metrics["test_loss"]))
"""


@pytest.mark.slow
def test_cut_batches_are_the_same_in_any_number_of_processes(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "corpus").symlink_to(CORPUS / "original")
    clips = read_corpus(CORPUS / "original")
    split = ["train"] * 4 + ["test"] * 8  # three batches, the last of which is smaller
    table = clips[["subject", "category"]].assign(file="corpus/" + clips["file"], split=split)
    table.to_csv(tmp_path / "data" / "clips.csv", index=False)
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    root = str(Path(__file__).parents[2])
    tables, losses = [], []
    for processes in (1, 2, 4):
        out = tmp_path / f"{processes}.csv"
        done = subprocess.run(
            [sys.executable, "program.py", str(processes), str(out)],
            cwd=tmp_path,
            env=inherited | {"OMP_NUM_THREADS": "1", "PYTHONPATH": root},
            check=True,
            capture_output=True,
            text=True,
        )
        tables.append(pd.read_csv(out))
        losses.append(float(done.stdout.split()[-1]))
    assert len(tables[0]) == 8
    for other in tables[1:]:
        pd.testing.assert_frame_equal(other, tables[0], check_exact=True)
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-6)
