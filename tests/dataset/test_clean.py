"""Recipe `clean`: batches padded and masked, validation on subjects of the training fold."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from dataset import FakeAVCelebDataModule, read_corpus
from dataset.clips import collate_pad
from dataset.folds import hold_out
from utils.errors import DataError


@pytest.fixture(scope="module")
def clips() -> pd.DataFrame:
    """Fifty subjects, five races and two genders, a clip of each category."""
    rows = [
        (f"id{subject:05d}", category, f"{subject}{category}.mp4", f"race {subject % 5}", f"gender {subject // 5 % 2}")
        for subject in range(50)
        for category in "ABCD"
    ]
    return pd.DataFrame(rows, columns=["subject", "category", "file", "race", "gender"])


def test_collate_pads_to_the_longest() -> None:
    items = [
        {
            "video": torch.randint(1, 255, (3, length, 4, 4), dtype=torch.uint8),
            "audio": torch.randn(length, 104),
            "id": index,
            **dict.fromkeys(("v_label", "a_label", "c_label", "m_label", "mm_label"), index),
            **dict.fromkeys(("file", "subject", "category", "method"), str(index)),
        }
        for index, length in enumerate((5, 9, 7))
    ]
    for max_frames, lengths in ((500, (5, 9, 7)), (6, (5, 6, 6))):
        batch = collate_pad(items, max_frames)
        assert batch["video"].shape == (3, 3, max(lengths), 4, 4)
        assert batch["audio"].shape == (3, 104, max(lengths))
        for row, length in enumerate(lengths):
            assert batch["padding_mask"][row].tolist() == [False] * length + [True] * (max(lengths) - length)
            assert torch.equal(batch["video"][row, :, :length], items[row]["video"][:, :length])
            assert torch.equal(batch["audio"][row, :, :length], items[row]["audio"][:length].T)
            assert not batch["video"][row, :, length:].any()
            assert not batch["audio"][row, :, length:].any()
        assert batch["m_label"].tolist() == [0, 1, 2]
        assert batch["lengths"] == lengths


def test_held_out_subjects(clips: pd.DataFrame) -> None:
    train, val = hold_out(clips, seed=1)
    assert val["subject"].nunique() == 5
    assert not set(train["subject"]) & set(val["subject"])
    assert len(train) + len(val) == len(clips)
    assert val["race"].nunique() == 5
    assert (
        set(hold_out(clips, seed=1)[1]["subject"]) == set(val["subject"]) != set(hold_out(clips, seed=2)[1]["subject"])
    )
    with pytest.raises(DataError, match="one training subject"):
        hold_out(clips[clips["subject"] == "id00001"])


def test_validation_is_apart_from_training_and_test(original_root: Path) -> None:
    (original_root / "train_1.txt").write_text("fold 1\nid00113\nid00150\n")
    module = FakeAVCelebDataModule(original_root, recipe="clean", batch_size=4)
    module.setup("fit")
    sides = [module.train_dataset, module.val_dataset, module.test_dataset]
    subjects = [set(side.clips["subject"]) for side in sides]
    assert set.union(*subjects) == {"id00076", "id00113", "id00150"}
    assert sum(map(len, subjects)) == 3
    assert subjects[2] == {"id00076"}
    assert [len(side) for side in sides] == [4, 4, 4]
    batch = next(iter(module.val_dataloader()))
    lengths = (~batch["padding_mask"]).sum(1).tolist()
    assert batch["video"].shape[2] == max(lengths) > min(lengths)
    assert set(batch["subject"]) == subjects[1]

    cut = FakeAVCelebDataModule(original_root, recipe="clean", padding="cut", validation="test", batch_size=4)
    cut.setup("fit")
    assert not next(iter(cut.train_dataloader()))["padding_mask"].any()
    assert set(cut.val_dataset.clips["subject"]) == {"id00076"}
    assert len(cut.train_dataset) == 8


def test_validation_as_a_table_splits_it(original_root: Path) -> None:
    split = {"id00076": "train", "id00113": "val", "id00150": "test"}
    table = read_corpus(original_root)[["file", "subject", "category"]]
    table.assign(split=table["subject"].map(split)).to_csv(original_root / "clips.csv", index=False)
    module = FakeAVCelebDataModule(original_root, recipe="clean", dataset="csv", check=False)
    module.setup("fit")
    assert set(module.val_dataset.clips["subject"]) == {"id00113"}
    assert len(module.train_dataset) == len(module.test_dataset) == 4
