"""FakeAVCeleb as Lightning takes it: one fold, checked, in batches."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from dataset.cache import CachedClip, ClipCache
from dataset.check import BadClip, ClipChecker
from dataset.clips import ClipDataset, ClipSampler
from dataset.collate import COLLATE
from dataset.corpora import corpus_folder, read_corpus
from dataset.corpora.table import MARKER, Layout
from dataset.folds import FOLD_NAMES, find_fold, fold_sides, hold_out, paper_subset
from dataset.media import MAX_FRAMES
from dataset.prepared import FOLDER, find_prepared
from dataset.transforms import normalise
from utils.errors import DataError

log = logging.getLogger(__name__)

SUBJECTS = 500  # of FakeAVCeleb v1.2
# What a recipe means for the data; each choice can be made by itself too.
RECIPES = {
    "released": {"padding": "cut", "validation": "test"},
    "clean": {"padding": "mask", "validation": "subjects"},
}


class FakeAVCelebDataModule(LightningDataModule):
    """One fold of FakeAVCeleb v1.2, in either layout, or of another corpus.

    Parameters
    ----------
    root
        Folder that holds ``meta_data.csv``; for dataset ``csv``, a table or its folder (:mod:`dataset.corpora.table`).
    train_fold
        Name of the fold file, which lists the training subjects; everyone else is tested. The folds are made if the
        root holds none.
    batch_size, num_workers
        As in :class:`torch.utils.data.DataLoader`.
    recipe
        ``released`` or ``clean``: what the next two are if they are not given.
    padding
        ``cut``: clips of a batch are cut to the shortest; ``mask``: padded to the longest, and masked.
    validation
        ``test``: on the test fold; ``subjects``: on a tenth of the training subjects, who are not trained on, or on
        the split ``val`` of a table that has one.
    num_train, num_val
        How many clips of each category to take on either side, the first ones in csv order; None takes all.
    seed
        Of the subset and the folds, held-out validation subjects included.
    fold_seed
        Of the order of clips, crops and flips; by default `seed`.
    skip_bad
        Go on without clips that are missing or do not decode, instead of stopping.
    fold_dir
        Where to keep folds that are made here, if the root cannot be written to.
    prepare_dir
        Where ``main.py prepare`` has written, if not to "prepare" in the root. Its subset is used, and what it found
        to be good is not decoded once more.
    max_frames
        Where decoding stops.
    check
        Read every clip once in :meth:`setup`.
    checker
        What to check with; share one among folds to read each clip once.
    cache
        Decoded clips, used for all that they hold intact; share one among folds to verify each clip once.
    dataset
        ``fakeavceleb`` or ``csv``.

    Attributes
    ----------
    clips : pandas.DataFrame
        The clip table: in the original layout the paper's subset of it. Set by :meth:`setup`, as are the others.
    train_dataset, val_dataset, test_dataset : ClipDataset
    skipped : list of BadClip
        Clips (file, reason) left out by `skip_bad`.
    """

    def __init__(
        self,
        root: str | Path,
        train_fold: str = FOLD_NAMES[0],
        batch_size: int = 64,
        num_workers: int = 0,
        recipe: str = "released",
        padding: str | None = None,
        validation: str | None = None,
        num_train: int | None = 400,
        num_val: int | None = 100,
        seed: int = 42,
        fold_seed: int | None = None,
        skip_bad: bool = False,
        fold_dir: str | Path | None = None,
        prepare_dir: str | Path | None = None,
        max_frames: int = MAX_FRAMES,
        check: bool = True,
        checker: ClipChecker | None = None,
        cache: ClipCache | None = None,
        dataset: str = "fakeavceleb",
    ) -> None:
        super().__init__()
        if recipe not in RECIPES:
            raise ValueError(f"unknown recipe {recipe!r}; known: {', '.join(RECIPES)}")
        self.source = Path(root)
        self.root = corpus_folder(root, dataset)
        self.dataset = dataset
        self.train_fold = train_fold
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.collate = partial(COLLATE[padding or RECIPES[recipe]["padding"]], max_frames=max_frames)
        self.validation = validation or RECIPES[recipe]["validation"]
        self.num_train = num_train
        self.num_val = num_val
        self.seed = seed
        self.fold_seed = seed if fold_seed is None else fold_seed
        self.skip_bad = skip_bad
        self.fold_dir = fold_dir
        self.prepare_dir = prepare_dir
        self.max_frames = max_frames
        self.checker = (checker or ClipChecker()) if check else None
        self.cache = cache
        self.clips: pd.DataFrame | None = None
        self.skipped: list[BadClip] = []
        self._cached: dict[str, CachedClip] = {}
        self._ready: set[str] = set()

    @property
    def corpus(self) -> str:
        """What the clips are: "FakeAVCeleb", "miniature" (see :mod:`scripts.synthesize`), or the name of the folder.

        FakeAVCeleb v1.2 is told by its 500 subjects, so that its published numbers are not put beside others' results.
        """
        if (self.root / MARKER).exists():
            return "miniature"
        is_whole = self.dataset == "fakeavceleb" and self.clips["subject"].nunique() == SUBJECTS
        return "FakeAVCeleb" if is_whole else self.root.resolve().name

    def prepare_data(self) -> None:
        """Make the folds if there are none; Lightning has one process do it before any other looks."""
        clips = self._read_clips() if self.clips is None else self.clips
        if not clips["split"].any():
            find_fold(self.train_fold, self.root, clips, self.seed, self.fold_dir)

    def setup(self, stage: str | None = None) -> None:
        """Read the clip table and the fold, and check the clips that the stage will read.

        All datasets are there after any stage; a stage that is set up already costs nothing.

        Raises
        ------
        DataError
            If the corpus or the fold is not usable, or clips are bad and `skip_bad` is not set: the message then
            names every one of them.
        """
        needed = {"train", "test"} if stage in (None, "fit") else {"test"}
        if needed <= self._ready:
            return
        self.clips = self._read_clips()
        train, test = fold_sides(
            self.clips, self.train_fold, self.root, self.seed, self.fold_dir, self.num_train, self.num_val
        )
        val = test
        if self.validation == "subjects" and "train" in needed:
            train, val = self._hold_out(train)
        used = pd.concat([train, val, test]).drop_duplicates("file") if "train" in needed else test
        if self.cache is not None:
            self._cached = self.cache.entries(used, self.max_frames)
        if self.checker is not None:
            self._find_bad(used[~used["file"].isin(self._cached.keys())])
        self.train_dataset = self._dataset(train, is_train=True)
        self.val_dataset = self._dataset(val, is_train=False)
        self.test_dataset = self._dataset(test, is_train=False)
        self._require(self.test_dataset, "test")
        if "train" in needed:
            self._require(self.train_dataset, "training")
            self._require(self.val_dataset, "validation")
        self._ready = needed

    def train_dataloader(self) -> DataLoader:
        """Training clips, shuffled anew each epoch."""
        return self._loader(self.train_dataset, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """Validation clips in the order of the table; the test fold's if `validation` is ``test``."""
        return self._loader(self.val_dataset, shuffle=False)

    def test_dataloader(self) -> DataLoader:
        """Test clips in the order of the table."""
        return self._loader(self.test_dataset, shuffle=False)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Normalise the video where it has arrived: until here it is uint8, a quarter of the bytes."""
        return batch | {"video": normalise(batch["video"])}

    def _read_clips(self) -> pd.DataFrame:
        clips = read_corpus(self.source, self.dataset)
        folders = [Path(folder) for folder in (self.root / FOLDER, self.prepare_dir) if folder is not None]
        prepared = find_prepared(self.source, self.dataset, folders)
        if prepared is not None:
            if self.checker is not None:
                prepared.teach(self.checker, clips)
            subset = prepared.subset(clips)
            if subset is not None:
                log.debug("%d clips as main.py prepare chose them: %s", len(subset), prepared.folder)
                return subset
        return paper_subset(clips, self.seed) if clips["layout"].iloc[0] == Layout.ORIGINAL else clips

    def _hold_out(self, train: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Training and validation clips: as the table splits them, else by subject."""
        val = self.clips[self.clips["split"] == "val"]
        return (train, val) if len(val) else hold_out(train, self.seed)

    def _find_bad(self, clips: pd.DataFrame) -> None:
        self.skipped = self.checker(clips)
        if not self.skipped:
            return
        listed = "\n".join(f"  {file}: {reason}" for file, reason in self.skipped)
        if not self.skip_bad:
            raise DataError(f"{len(self.skipped)} clips cannot be used (--skip_bad goes on without them):\n{listed}")
        log.warning("going on without %d clips that cannot be used:\n%s", len(self.skipped), listed)

    def _dataset(self, clips: pd.DataFrame, is_train: bool) -> ClipDataset:
        usable = clips[~clips["file"].isin([bad.file for bad in self.skipped])]
        return ClipDataset(usable, is_train, self.fold_seed, self.max_frames, self._cached)

    def _require(self, dataset: ClipDataset, side: str) -> None:
        if len(dataset) == 0:
            raise DataError(f"{self.root}: no {side} clip of {self.train_fold} can be used")

    def _loader(self, dataset: ClipDataset, shuffle: bool) -> DataLoader:
        ranks, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=ClipSampler(dataset, ranks, rank, shuffle=shuffle, seed=self.fold_seed),
            num_workers=self.num_workers,
            collate_fn=self.collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            worker_init_fn=_one_thread,
            # Its own, as an iterator draws from it: from the global state, dropout would differ after resuming.
            generator=torch.Generator(),
        )


def _one_thread(_worker: int) -> None:
    """OpenCV's own threads do not survive the fork that starts a worker."""
    cv2.setNumThreads(0)
