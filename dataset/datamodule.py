"""FakeAVCeleb as Lightning takes it: one fold, checked, in batches."""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import pandas as pd
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from dataset.cache import CachedClip, ClipCache, Reading
from dataset.check import BadClip, ClipChecker
from dataset.clips import COLLATE, ClipDataset, ClipSampler
from dataset.corpora import corpus, corpus_folder, read_corpus
from dataset.corpora.table import MARKER, Layout
from dataset.folds import FOLD_NAMES, hold_out, paper_subset
from dataset.loading import Loading, batch_bytes, default_workers, fit_shared_memory
from dataset.media import MAX_FRAMES
from dataset.prepared import FOLDER, Prepared, find_prepared
from dataset.protocols import Setting, default_protocol
from dataset.protocols import folds as protocol_folds
from dataset.protocols import sides as protocol_sides
from dataset.protocols.leak import find_leak
from dataset.transforms import normalise
from utils.errors import DataError
from utils.options import clips_of_each

log = logging.getLogger(__name__)

SUBJECTS = 500  # of FakeAVCeleb v1.2
BY_SUBSET = ("mrdf-5fold", "subjects-5fold")  # protocols of the clips that main.py prepare chose
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
        Name of the fold, ``train_1.txt`` …; in the protocols by subject that is a file, which lists the training
        subjects, and is made if there is none.
    batch_size
        Clips in a batch of one process.
    num_workers
        Processes that load clips. None: none beside a CPU, and beside a GPU as many as there are cores for, up to 8.
        Fewer are used where shared memory has no room for what they load ahead.
    prefetch
        Batches that each worker loads ahead.
    recipe
        ``released`` or ``clean``: what the next two are if they are not given.
    padding
        ``cut``: clips of a batch are cut to the shortest; ``mask``: padded to the longest, and masked.
    validation
        ``test``: on the test fold; ``subjects``: on a tenth of the training subjects, who are not trained on, or on
        the split ``val`` of a table that has one.
    num_train, num_val
        How many clips of each category to take on either side, the first ones in csv order; None takes all. paper: 400
        and 100 in the paper's folds of FakeAVCeleb, all under any other protocol.
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
        Decoded clips, used as far as they are there; share one among folds to look at each clip once.
    trim_silence
        Leave out the silence at the start of each clip, video and audio: see `dataset.cache.leading_silence`.
    dataset
        Kind of corpus: see :mod:`dataset.corpora`.
    protocol
        Who is trained on and tested: see :mod:`dataset.protocols`. By default the paper's folds, for a corpus with a
        split of its own that one, else folds by subject.
    lists
        The user's clone of the repository whose lists the protocol uses.

    Attributes
    ----------
    clips : pandas.DataFrame
        The clip table: under mrdf-5fold, in the original layout, the paper's subset of it. Set by :meth:`setup`, as
        are the others.
    train_dataset, val_dataset, test_dataset : ClipDataset
    protocol, fold_meaning : str
        The protocol in use, and what is particular to its fold, such as "RVFA left out".
    skipped : list of BadClip
        Clips (file, reason) left out by `skip_bad`.
    notes : dict
        File → what is odd about a clip that is used all the same.
    """

    def __init__(
        self,
        root: str | Path,
        train_fold: str = FOLD_NAMES[0],
        batch_size: int = 64,
        num_workers: int | None = 0,
        prefetch: int = 2,
        recipe: str = "released",
        padding: str | None = None,
        validation: str | None = None,
        num_train: int | Literal["paper"] | None = "paper",
        num_val: int | Literal["paper"] | None = "paper",
        seed: int = 42,
        fold_seed: int | None = None,
        skip_bad: bool = False,
        fold_dir: str | Path | None = None,
        prepare_dir: str | Path | None = None,
        max_frames: int = MAX_FRAMES,
        check: bool = True,
        checker: ClipChecker | None = None,
        cache: ClipCache | None = None,
        trim_silence: bool = False,
        dataset: str = "fakeavceleb",
        protocol: str | None = None,
        lists: str | Path | None = None,
    ) -> None:
        super().__init__()
        if recipe not in RECIPES:
            raise DataError(f"unknown recipe {recipe!r}; known: {', '.join(RECIPES)}")
        self.source = Path(root)
        self.root = corpus_folder(root, dataset)
        self.dataset = dataset
        self.train_fold = train_fold
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.prefetch = prefetch
        self.padding = padding or RECIPES[recipe]["padding"]
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
        self.reading = Reading(trim_silence, corpus(dataset).full_frames)
        self.protocol = protocol
        self.fold_meaning = ""
        self.lists = None if lists is None else Path(lists)
        self.clips: pd.DataFrame | None = None
        self.skipped: list[BadClip] = []
        self.notes: dict[str, list[str]] = {}
        self._cached: dict[str, CachedClip] = {}
        self._frames: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        self._remarks: dict[str, list[str]] = {}
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
        self.sides(with_validation=False)

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
        train, val, test = self.sides("train" in needed)
        used = pd.concat([train, val, test]).drop_duplicates("file") if "train" in needed else test
        if self.cache is not None:
            self._cached = self.cache.entries(used, self.max_frames, self.reading)
            for file, (_, entry) in self._cached.items():
                self._frames[file] = entry.frames
                if entry.faces is not None:
                    self._remarks[file] = [*dict.fromkeys([*self._remarks.get(file, []), *entry.faces.notes])]
        left = used[~used["file"].isin(self._cached.keys())]
        if self.reading.crop_faces:
            self._leave_out(self._without_crop(left, len(used)))
        elif self.checker is not None:
            self._leave_out(self.checker(left))
            for file, notes in self.checker.notes(left).items():
                self._remarks[file] = list(notes)
                log.info("%s: %s", file, "; ".join(notes))
        self.notes = {file: self._remarks[file] for file in used["file"] if self._remarks.get(file)}
        self.train_dataset = self._dataset(train, is_train=True)
        self.val_dataset = self._dataset(val, is_train=False)
        self.test_dataset = self._dataset(test, is_train=False)
        sides = {"training": self.train_dataset, "validation": self.val_dataset} if "train" in needed else {}
        for side, dataset in {"test": self.test_dataset, **sides}.items():
            if len(dataset) == 0:
                raise DataError(f"{self.root}: no {side} clip of {self.train_fold} can be used")
        self._ready = needed

    def sides(self, with_validation: bool = True) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Training, validation and test clips of the fold as the tables say, whether they can be used or not.

        A test needs no validation clips that are parted from those of training. Raises a DataError if the corpus or the
        fold is not usable.
        """
        if self.clips is None:
            self.clips = self._read_clips()
        fold_dir = None if self.fold_dir is None else Path(self.fold_dir)
        setting = Setting(self.clips, self.dataset, self.root, self.seed, fold_dir, self.lists)
        fold = Path(self.train_fold).stem
        given = {"num_train": self.num_train, "num_val": self.num_val}
        counts = clips_of_each(self.dataset, self.protocol)
        counts |= {name: count for name, count in given.items() if count != "paper"}
        train, val, test = protocol_sides(self.protocol, setting, fold, **counts)
        self.fold_meaning = protocol_folds(self.protocol, setting)[fold]
        if not with_validation or self.validation == "test":
            return train, test, test
        if train.empty:
            raise DataError(f"--protocol {self.protocol} only tests: train under another, then test.py --protocol")
        return (train, val, test) if val is not None else (*hold_out(train, self.seed), test)

    @property
    def trained_subjects(self) -> list[str]:
        """Who is trained on; after :meth:`setup` for training."""
        return sorted(set(self.train_dataset.clips["subject"]))

    def protocol_record(self, trained: Collection[str] | None) -> dict[str, Any]:
        """What metrics.json says of the protocol, after :meth:`setup`.

        Parameters
        ----------
        trained
            Subjects that the detector was trained on, if they are known and of this corpus.
        """
        train, test = self.train_dataset.clips, self.test_dataset.clips
        tested = set(test["subject"])
        both = shown = None
        if trained is not None:
            both = len(tested & set(trained))
            if set(trained) == set(train["subject"]):
                shown = find_leak(train, test).at_all
        if both:
            text = "%d of the %d tested subjects were trained on (--protocol %s): these are no figures of unseen people"
            log.warning(text, both, len(tested), self.protocol)
        elif shown:
            text = "%d of the %d test clips show somebody whom training showed, as a subject or as a target of a fake"
            log.info(text, shown, len(test))
        return {
            "protocol": self.protocol,
            "fold_meaning": self.fold_meaning,
            "trained_subjects_tested": both,
            "test_clips_showing_trained": shown,
        }

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
        """Normalise the video where it has arrived: until here it is uint8, a quarter of the bytes.

        It is in the precision of the step, so that no step has to hold it twice.
        """
        half = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
        dtype = half.get(self.trainer.precision, torch.float32) if self.trainer else torch.float32
        return batch | {"video": normalise(batch["video"], dtype)}

    def _read_clips(self) -> pd.DataFrame:
        clips = read_corpus(self.source, self.dataset)
        self.protocol = self.protocol or default_protocol(self.dataset, clips)
        folders = [Path(folder) for folder in (self.root / FOLDER, self.prepare_dir) if folder is not None]
        prepared = find_prepared(clips, folders)
        if prepared is not None:
            self._learn(prepared, clips)
            subset = prepared.subset(clips)
            if subset is not None and self.protocol in BY_SUBSET:
                log.debug("%d clips as main.py prepare chose them: %s", len(subset), prepared.folder)
                return subset
        is_whole = self.protocol == "mrdf-5fold" and clips["layout"].iloc[0] == Layout.ORIGINAL
        return paper_subset(clips, self.seed) if is_whole else clips

    def _learn(self, prepared: Prepared, clips: pd.DataFrame) -> None:
        """Take over what main.py prepare found, so that unchanged clips are not decoded once more."""
        findings = prepared.findings()
        for file, path in zip(clips["file"], clips["path"], strict=True):
            if file in findings:
                seen, facts = findings[file]
                if self.checker is not None:
                    self.checker.learn(path, seen, facts["reason"], facts["notes"])
                if facts["reason"]:
                    self._refused[file] = facts["reason"]
                self._frames[file] = facts["frames_25"] or self.max_frames
                self._remarks[file] = facts["notes"]

    def _without_crop(self, clips: pd.DataFrame, count: int) -> list[BadClip]:
        """Those of `clips`, which the cache does not hold, whose faces main.py prepare could not crop.

        Raises
        ------
        DataError
            If there are others, as full frames are not cropped a second time in another way.
        """
        unknown = [file for file in clips["file"] if file not in self._refused]
        if unknown:
            place = "there is no cache" if self.cache is None else f"they are not in the cache {self.cache.folder}"
            trimmed = " --trim_silence" if self.reading.trim_silence else ""
            raise DataError(
                f"{len(unknown)} of {count} clips are full frames whose faces have to be cropped first, and {place} "
                f"(the first: {unknown[0]}): python main.py prepare --dataset {self.dataset} "
                f"--data_root {self.source}{trimmed}"
            )
        return [BadClip(file, self._refused[file]) for file in clips["file"]]

    def _leave_out(self, bad: list[BadClip]) -> None:
        self.skipped = bad
        listed = "\n".join(f"  {file}: {reason}" for file, reason in bad)
        if bad and not self.skip_bad:
            raise DataError(f"{len(bad)} clips cannot be used (--skip_bad goes on without them):\n{listed}")
        if bad:
            log.warning("going on without %d clips that cannot be used:\n%s", len(bad), listed)

    def _dataset(self, clips: pd.DataFrame, is_train: bool) -> ClipDataset:
        usable = clips[~clips["file"].isin([bad.file for bad in self.skipped])]
        return ClipDataset(usable, is_train, self.fold_seed, self.max_frames, self._cached, self.reading)

    def _loader(self, dataset: ClipDataset, shuffle: bool) -> DataLoader:
        ranks, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        loading = self._loading(dataset)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=ClipSampler(dataset, ranks, rank, shuffle, self.fold_seed, self.batch_size, self.trainer),
            num_workers=loading.workers,
            prefetch_factor=loading.prefetch if loading.workers else None,
            collate_fn=partial(COLLATE[self.padding], max_frames=self.max_frames),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=loading.workers > 0,
            worker_init_fn=_one_thread,
            # Its own, as an iterator draws from it: from the global state, dropout would differ after resuming.
            generator=torch.Generator(),
        )

    def _loading(self, dataset: ClipDataset) -> Loading:
        """Workers and the batches that they load ahead, as far as this machine has room for them."""
        processes = self.trainer.num_devices if self.trainer else 1  # on this machine
        workers = self.num_workers
        if workers is None:
            on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
            workers = default_workers(processes, on_gpu)
        lengths = [min(self.max_frames, self._frames.get(file, self.max_frames)) for file in dataset.clips["file"]]
        size = batch_bytes(lengths, self.batch_size, self.padding)
        return fit_shared_memory(Loading(workers, self.prefetch), size, processes)


def _one_thread(_worker: int) -> None:
    """OpenCV's own threads do not survive the fork that starts a worker."""
    cv2.setNumThreads(0)
