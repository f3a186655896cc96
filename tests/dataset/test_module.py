"""From a folder to batches: determinism, bad clips, and what Lightning sees."""

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from dataset import ClipDataset, FakeAVCelebDataModule, read_corpus
from dataset import check as check_module
from dataset.check import ClipChecker
from dataset.clips import ClipKey, ClipSampler, collate_cut, collate_pad
from dataset.media import Clip
from dataset.transforms import centre_crop, normalise, random_crop
from utils.errors import DataError


def training_batches(module: FakeAVCelebDataModule, epochs: int = 2) -> list[dict[str, Any]]:
    module.setup()
    loader = module.train_dataloader()
    batches = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)  # as Lightning does
        batches += list(loader)
    return batches


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one["file"] == other["file"] and torch.equal(one["video"], other["video"])


def test_workers_and_global_seed_change_nothing(prepared_root: Path) -> None:
    runs = []
    for num_workers, global_seed in ((0, 1), (2, 2)):
        torch.manual_seed(global_seed)
        module = FakeAVCelebDataModule(prepared_root, batch_size=4, num_workers=num_workers, check=False)
        module.setup()
        state = torch.get_rng_state()
        module.train_dataset[0]
        assert torch.equal(state, torch.get_rng_state())
        runs.append(training_batches(module))
    assert len(runs[0]) == 4
    for one, other in zip(*runs, strict=True):
        assert same(one, other)
        assert torch.equal(one["audio"], other["audio"])


def test_epochs_and_seeds_differ(prepared_root: Path) -> None:
    dataset = ClipDataset(read_corpus(prepared_root), train=True)
    videos = []
    for seed, epoch in ((42, 0), (42, 1), (42, 2), (7, 0)):
        dataset.seed = seed
        videos.append(dataset[ClipKey(0, epoch)]["video"])
    assert not any(torch.equal(one, other) for one, other in pairwise(videos))
    dataset.seed = 42
    assert torch.equal(dataset[0]["video"], videos[0])

    orders = [list(ClipSampler(dataset)) for _ in range(2)]
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == [ClipKey(index) for index in range(12)]
    sampler = ClipSampler(dataset)
    sampler.set_epoch(1)
    assert [key.index for key in sampler] != [key.index for key in orders[0]]
    assert {key.epoch for key in sampler} == {1}


def test_one_crop_and_one_flip_a_clip() -> None:
    ramp = torch.arange(112).expand(3, 5, 112, 112) + torch.arange(112)[:, None]  # value = row + column
    seen = set()
    state = torch.get_rng_state()
    for seed in range(60):
        crop = random_crop(ramp, seed)
        assert crop.shape == (3, 5, 100, 100)
        assert (crop == crop[:1, :1]).all()  # the same in every frame and channel
        seen.add((int(crop[0, 0, 0].diff()[0]), int(crop.min())))
        assert torch.equal(crop, random_crop(ramp, seed))
    assert torch.equal(state, torch.get_rng_state())
    assert {step for step, _ in seen} == {1, -1}
    assert len({offset for _, offset in seen}) > 10
    assert torch.equal(centre_crop(ramp), ramp[..., 6:106, 6:106])


def test_sides_of_two_processes_are_disjoint(prepared_root: Path) -> None:
    dataset = ClipDataset(read_corpus(prepared_root), train=True)
    sides = [set(ClipSampler(dataset, 2, rank)) for rank in range(2)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {ClipKey(index) for index in range(12)}


@pytest.mark.parametrize("batch_size", [2, 5, 12, 99])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_evaluation_deals_out_whole_batches(prepared_root: Path, ranks: int, batch_size: int) -> None:
    dataset = ClipDataset(read_corpus(prepared_root), train=False)
    alone = [list(range(12))[start : start + batch_size] for start in range(0, 12, batch_size)]
    dealt: dict[int, list[int]] = {}
    rounds = set()
    for rank in range(ranks):
        sampler = ClipSampler(dataset, ranks, rank, shuffle=False, batch_size=batch_size)
        loader = DataLoader(range(12), batch_size, sampler=sampler, collate_fn=list)
        batches = [list(keys) for keys in loader.batch_sampler]
        assert len(batches) == len(loader)
        assert sum(map(len, batches)) == len(sampler)
        rounds.add(len(batches))
        for number, keys in enumerate(batches):
            if keys[0].repeated:
                assert [key.index for key in keys] == alone[0]
                assert all(key.repeated for key in keys)
            else:
                dealt[number * ranks + rank] = [key.index for key in keys]
    assert [dealt[number] for number in sorted(dealt)] == alone
    assert len(rounds) == 1  # no process waits for another


def test_a_repeated_batch_is_marked(prepared_root: Path) -> None:
    dataset = ClipDataset(read_corpus(prepared_root), train=False)
    for ranks, repeated in ((2, True), (1, False)):
        sampler = ClipSampler(dataset, ranks, ranks - 1, shuffle=False, batch_size=12)
        (batch,) = DataLoader(dataset, 12, sampler=sampler, collate_fn=collate_cut)
        assert batch["repeated"] is repeated
        assert batch["lengths"] == (batch["video"].shape[2],) * 12
        assert batch["id"].tolist() == list(range(12))


def items_of(*lengths: int) -> list[dict[str, Any]]:
    return [
        {
            "video": torch.randint(1, 255, (3, length, 4, 4), dtype=torch.uint8),
            "audio": torch.randn(length, 104),
            "id": index,
            **dict.fromkeys(("v_label", "a_label", "c_label", "m_label", "mm_label"), index),
            **dict.fromkeys(("file", "subject", "category", "method"), str(index)),
        }
        for index, length in enumerate(lengths)
    ]


def test_collate_cuts_to_the_shortest() -> None:
    items = items_of(9, 7)
    for max_frames, length in ((500, 7), (5, 5)):
        batch = collate_cut(items, max_frames)
        assert batch["video"].shape == (2, 3, length, 4, 4)
        assert torch.equal(batch["audio"][0].T, items[0]["audio"][:length])
        assert batch["padding_mask"].shape == (2, length)
        assert not batch["padding_mask"].any()
    assert collate_cut(items[:1])["video"].shape == (1, 3, 9, 4, 4)


def test_collate_pads_to_the_longest() -> None:
    items = items_of(5, 9, 7)
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


def test_normalise() -> None:
    video = torch.arange(256, dtype=torch.uint8)
    torch.testing.assert_close(normalise(video), (video / 255 - 0.421) / 0.165)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_normalise_in_the_precision_of_a_step(dtype: torch.dtype) -> None:
    video = torch.randint(0, 256, (2, 3, 4, 5, 5), dtype=torch.uint8)
    assert torch.equal(normalise(video, dtype), normalise(video).to(dtype))


def break_clips(root: Path) -> list[str]:
    """Remove one training clip, cut one short, and remove one test clip."""
    clips = {category: root / f"{category}-FakeAudio" for category in ("RealVideo", "FakeVideo")}
    missing = clips["RealVideo"] / "Asian (East)/men/id00113/00101_fake.mp4"
    short = clips["FakeVideo"] / "Asian (South)/men/id00150/00102_2_wavtolip.mp4"
    tested = clips["FakeVideo"] / "African/men/id00076/00100_0_wavtolip.mp4"
    missing.unlink()
    tested.unlink()
    short.write_bytes(short.read_bytes()[:50_000])
    (root / "train_1.txt").write_text("fold 1\nid00113\nid00150\n")
    return [str(path.relative_to(root)) for path in (missing, short, tested)]


def test_every_bad_clip_is_named(original_root: Path) -> None:
    missing, short, tested = break_clips(original_root)
    with pytest.raises(DataError) as error:
        FakeAVCelebDataModule(original_root).setup()
    lines = str(error.value).splitlines()
    assert lines[0] == "3 clips cannot be used (--skip_bad goes on without them):"
    assert lines[1] == f"  {missing}: no such file"
    assert lines[2].startswith(f"  {short}: truncated")
    assert lines[3] == f"  {tested}: no such file"
    assert len(lines) == 4


def test_skip_bad(original_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = break_clips(original_root)
    module = FakeAVCelebDataModule(original_root, skip_bad=True)
    with caplog.at_level(logging.WARNING):
        module.setup()
    assert [clip.file for clip in module.skipped] == bad
    assert all(file in caplog.text for file in bad)
    assert len(module.train_dataset) == 6
    assert len(module.test_dataset) == 3
    assert not set(bad) & {*module.train_dataset.clips["file"], *module.test_dataset.clips["file"]}


def test_no_clip_left(original_root: Path) -> None:
    (original_root / "train_1.txt").write_text("fold 1\nid00113\nid00150\n")
    for clip in original_root.glob("*/African/**/*.mp4"):
        clip.unlink()
    with pytest.raises(DataError, match="no test clip of train_1"):
        FakeAVCelebDataModule(original_root, skip_bad=True).setup()


def test_a_test_run_checks_test_clips_only(original_root: Path) -> None:
    *_, tested = break_clips(original_root)
    module = FakeAVCelebDataModule(original_root, skip_bad=True)
    module.setup("test")
    assert [clip.file for clip in module.skipped] == [tested]
    module.setup("fit")
    assert len(module.skipped) == 3


def test_a_clip_is_checked_once(prepared_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(check_module, "read_clip", lambda path: read.append(path) or Clip(None, None, ("odd",)))
    checker = ClipChecker(progress=False)
    for fold in ("train_1.txt", "train_2.txt"):
        module = FakeAVCelebDataModule(prepared_root, train_fold=fold, checker=checker)
        for stage in ("fit", "validate", "test", None):
            module.setup(stage)
        assert list(module.notes.values()) == [["odd"]] * 12
    assert len(read) == len(set(read)) == 12


def test_original_layout_makes_its_folds(original_root: Path) -> None:
    module = FakeAVCelebDataModule(original_root, train_fold="train_2.txt", check=False)
    module.prepare_data()
    assert sorted(file.name for file in original_root.glob("*.txt")) == [f"train_{k}.txt" for k in range(1, 6)]
    module.setup()
    assert len(module.train_dataset) == 8
    assert len(module.test_dataset) == 4
    with pytest.raises(DataError, match=r"train_5\.txt: the fold names every subject"):
        FakeAVCelebDataModule(original_root, train_fold="train_5.txt", check=False).setup()


def test_fold_that_names_no_known_subject(prepared_root: Path) -> None:
    (prepared_root / "train_1.txt").write_text("fold 1\nid99999\n")
    with pytest.raises(DataError, match=r"train_1\.txt: the fold names no known subject"):
        FakeAVCelebDataModule(prepared_root).setup()


def test_num_train_and_num_val(prepared_root: Path) -> None:
    module = FakeAVCelebDataModule(prepared_root, num_train=1, num_val=1, check=False)
    module.setup()
    assert list(module.train_dataset.clips["category"]) == list("ABCD")
    assert set(module.train_dataset.clips["subject"]) == {"id00113"}


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


def test_unknown_recipe(prepared_root: Path) -> None:
    with pytest.raises(ValueError, match="unknown recipe 'careful'; known: released, clean"):
        FakeAVCelebDataModule(prepared_root, recipe="careful")


class Recorder(LightningModule):
    """Trains nothing, and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[dict[str, Any]] = []

    def training_step(self, batch: dict[str, Any]) -> Tensor:
        self.seen.append(batch)
        return self.weight * batch["video"].mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.parametrize("num_workers", [0, 2, 8])
def test_a_resumed_run_has_the_order_and_the_crops_of_its_epoch(
    prepared_root: Path, tmp_path: Path, num_workers: int
) -> None:
    expected = training_batches(FakeAVCelebDataModule(prepared_root, batch_size=4, check=False), 4)

    def fit(epochs: int, resumed: Path | None) -> None:
        module = FakeAVCelebDataModule(prepared_root, batch_size=4, num_workers=num_workers, check=False)
        saving = ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True, enable_version_counter=False)
        trainer = Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, callbacks=[saving], enable_progress_bar=False
        )
        trainer.fit(recorder, module, ckpt_path=resumed)

    recorder = Recorder()
    fit(2, None)
    fit(4, tmp_path / "last.ckpt")
    for batch, other in zip(recorder.seen, expected, strict=True):
        assert batch["file"] == other["file"]
        assert torch.equal(batch["video"], normalise(other["video"]))
