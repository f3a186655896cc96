"""FakeAVCeleb, or any other corpus, as Lightning takes it: one fold, checked, in batches."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import pandas as pd
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from dataset.cache import CachedClip, ClipCache
from dataset.check import BadClip, ClipChecker
from dataset.clips import COLLATE, ClipDataset, ClipSampler
from dataset.corpora import corpus, corpus_folder, read_corpus
from dataset.corpora.table import MARKER, Layout
from dataset.decoding import Reading
from dataset.folds import FOLD_NAMES, hold_out, paper_subset
from dataset.loading import Loading, batch_bytes, default_workers, fit_shared_memory
from dataset.media import MAX_FRAMES
from dataset.prepared import FOLDER, find_prepared
from dataset.protocols import Setting, Sides, default_protocol
from dataset.protocols import folds as protocol_folds
from dataset.protocols import sides as protocol_sides
from dataset.protocols.leak import find_leak
from dataset.transforms import normalise
from utils.errors import DataError
from utils.options import RECIPES, clips_of_each

log = logging.getLogger(__name__)

SUBJECTS = 500  # of FakeAVCeleb v1.2
BY_SUBSET = ("mrdf-5fold", "subjects-5fold")  # protocols of the clips that main.py prepare chose


@dataclass(eq=False, repr=False)
class FakeAVCelebDataModule(LightningDataModule):
    """One fold of FakeAVCeleb v1.2, in either layout, or of another corpus.

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

    root: Path  # folder of meta_data.csv, or the top folder of another corpus; of "csv", the table or its folder
    # Which fold: in the protocols by subject a file, which lists the training subjects, and is made if there is none.
    train_fold: str = FOLD_NAMES[0]
    batch_size: int = 64  # clips in a batch of one process
    # Processes that load clips. None: none beside a CPU, and beside a GPU as many as there are cores for, up to 8.
    # Fewer are used where shared memory has no room for what they load ahead.
    num_workers: int | None = 0
    prefetch: int = 2  # batches that each worker loads ahead
    recipe: str = "released"  # or "clean": what the next two are if they are not given
    padding: str | None = None  # cut: clips of a batch are cut to the shortest; mask: padded to the longest, and masked
    # test: on the test fold; subjects: on a tenth of the training subjects, who are not trained on, or on the split
    # `val` of a table that has one.
    validation: str | None = None
    # How many clips of each category to take on either side, the first ones in csv order; None takes all. paper: 400
    # and 100 in the paper's folds of FakeAVCeleb, all under any other protocol.
    num_train: int | Literal["paper"] | None = "paper"
    num_val: int | Literal["paper"] | None = "paper"
    seed: int = 42  # of the subset and the folds, held-out validation subjects included
    fold_seed: int | None = None  # of the order of clips, crops and flips; by default `seed`
    skip_bad: bool = False  # go on without clips that are missing or do not decode, instead of stopping
    fold_dir: Path | None = None  # where to keep folds that are made here, if the root cannot be written to
    # Where main.py prepare has written, if not to "prepare" in the root. Its subset is used, and what it found to be
    # good is not decoded once more.
    prepare_dir: Path | None = None
    max_frames: int = MAX_FRAMES  # where decoding stops
    check: bool = True  # read every clip once in `setup`
    checker: ClipChecker | None = None  # what to check with; share one among folds to read each clip once
    cache: ClipCache | None = None  # decoded clips, used as far as they are there; to be shared likewise
    trim_silence: bool = False  # leave out the silence at the start of each clip: see `decoding.leading_silence`
    dataset: str = "fakeavceleb"  # kind of corpus: see `dataset.corpora`
    # Who is trained on and tested: see `dataset.protocols`. By default the paper's folds, for a corpus with a split of
    # its own that one, else folds by subject.
    protocol: str | None = None
    lists: Path | None = None  # the user's clone of the repository whose lists the protocol uses

    def __post_init__(self) -> None:
        super().__init__()
        if self.recipe not in RECIPES:
            raise DataError(f"unknown recipe {self.recipe!r}; known: {', '.join(RECIPES)}")
        self.source = Path(self.root)
        self.root = corpus_folder(self.source, self.dataset)
        self.padding = self.padding or RECIPES[self.recipe]["padding"]
        self.validation = self.validation or RECIPES[self.recipe]["validation"]
        self.fold_seed = self.seed if self.fold_seed is None else self.fold_seed
        self.fold_dir, self.prepare_dir, self.lists = (
            None if path is None else Path(path) for path in (self.fold_dir, self.prepare_dir, self.lists)
        )
        self.checker = (self.checker or ClipChecker()) if self.check else None
        self.reading = Reading(self.trim_silence, corpus(self.dataset).full_frames)
        self.folds_of_protocol: list[str] = []
        self.fold_meaning = ""
        self.clips: pd.DataFrame | None = None
        self.skipped: list[BadClip] = []
        self.notes: dict[str, list[str]] = {}
        self._cached: dict[str, CachedClip] = {}
        self._facts: dict[str, dict[str, Any]] = {}  # file → what main.py prepare found
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

        All datasets are there after any stage; a stage that is set up already costs nothing. A DataError if the corpus
        or the fold is not usable, or clips are bad and `skip_bad` is not set: it then names every one of them.
        """
        needed = {"train", "test"} if stage in (None, "fit") else {"test"}
        if needed <= self._ready:
            return
        train, val, test = self.sides("train" in needed)
        used = pd.concat([train, val, test]).drop_duplicates("file") if "train" in needed else test
        notes = {file: facts["notes"] for file, facts in self._facts.items()}
        if self.cache is not None:
            self._cached = self.cache.entries(used, self.max_frames, self.reading)
            for file, (_, entry) in self._cached.items():
                if entry.faces is not None:
                    notes[file] = [*dict.fromkeys([*notes.get(file, []), *entry.faces.notes])]
        left = used[~used["file"].isin(self._cached.keys())]
        if self.reading.crop_faces:
            self._leave_out(self._without_crop(left, len(used)))
        elif self.checker is not None:
            self._leave_out(self.checker(left))
            for file, of_clip in self.checker.notes(left).items():
                notes[file] = list(of_clip)
                log.info("%s: %s", file, "; ".join(of_clip))
        self.notes = {file: notes[file] for file in used["file"] if notes.get(file)}
        self.train_dataset = self._dataset(train, is_train=True)
        self.val_dataset = self._dataset(val, is_train=False)
        self.test_dataset = self._dataset(test, is_train=False)
        sides = {"training": self.train_dataset, "validation": self.val_dataset} if "train" in needed else {}
        for side, dataset in {"test": self.test_dataset, **sides}.items():
            if len(dataset) == 0:
                raise DataError(f"{self.root}: no {side} clip of {self.train_fold} can be used")
        self._ready = needed

    def sides(self, with_validation: bool = True) -> Sides:
        """Training, validation and test clips of the fold as the tables say, whether they can be used or not.

        Where only a test is wanted (`with_validation` is False), no clips are held out from those of training, and
        `val` is the test side. A DataError if the corpus or the fold is not usable.
        """
        if self.clips is None:
            self.clips = self._read_clips()
        setting = Setting(self.clips, self.dataset, self.root, self.seed, self.fold_dir, self.lists)
        fold = Path(self.train_fold).stem
        given = {"num_train": self.num_train, "num_val": self.num_val}
        counts = clips_of_each(self.dataset, self.protocol)
        counts |= {name: count for name, count in given.items() if count != "paper"}
        train, val, test = protocol_sides(self.protocol, setting, fold, **counts)
        folds = protocol_folds(self.protocol, setting)
        self.folds_of_protocol, self.fold_meaning = list(folds), folds[fold]
        if not with_validation or self.validation == "test":
            return Sides(train, test, test)
        if train.empty:
            raise DataError(f"--protocol {self.protocol} only tests: train under another, then test.py --protocol")
        if val is None:
            train, val = hold_out(train, self.seed)
        return Sides(train, val, test)

    def test_clips(self) -> pd.DataFrame:
        """Test clips of the fold as the tables say, whether they can be used or not."""
        return self.sides(with_validation=False).test

    @property
    def trained_subjects(self) -> list[str]:
        """Who is trained on; after :meth:`setup` for training."""
        return sorted(set(self.train_dataset.clips["subject"]))

    def protocol_record(self, trained: Collection[str] | None) -> dict[str, Any]:
        """What metrics.json says of the protocol, after :meth:`setup`.

        `trained` are the subjects that the detector was trained on, if they are known and of this corpus.
        """
        train, test = self.train_dataset.clips, self.test_dataset.clips
        tested = set(test["subject"])
        both = showing_trained = None
        if trained is not None:
            both = len(tested & set(trained))
            if set(trained) == set(train["subject"]):
                showing_trained = find_leak(train, test).at_all
        if both:
            text = "%d of the %d tested subjects were trained on (--protocol %s): these are no metrics of unseen people"
            log.warning(text, both, len(tested), self.protocol)
        elif showing_trained:
            text = "%d of the %d test clips show somebody whom training showed, as a subject or as a target of a fake"
            log.info(text, showing_trained, len(test))
        return {
            "protocol": self.protocol,
            "folds_of_protocol": self.folds_of_protocol,
            "fold_meaning": self.fold_meaning,
            "trained_subjects_tested": both,
            "test_clips_showing_trained": showing_trained,
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
        prepared = find_prepared(clips, [folder for folder in (self.root / FOLDER, self.prepare_dir) if folder])
        if prepared is not None:
            findings = prepared.findings()
            self._facts = {file: facts for file, (_, facts) in findings.items()}
            if self.checker is not None:  # so that unchanged clips are not decoded once more
                self.checker.learn(clips, findings)
            subset = prepared.subset(clips)
            if subset is not None and self.protocol in BY_SUBSET:
                log.debug("%d clips as main.py prepare chose them: %s", len(subset), prepared.folder)
                return subset
        is_whole = self.protocol == "mrdf-5fold" and clips["layout"].iloc[0] == Layout.ORIGINAL
        return paper_subset(clips, self.seed) if is_whole else clips

    def _without_crop(self, clips: pd.DataFrame, count: int) -> list[BadClip]:
        """Those of `clips`, which the cache does not hold, whose faces main.py prepare could not crop.

        A DataError if there are others, as full frames are not cropped a second time in another way.
        """
        refused = {file: facts["reason"] for file, facts in self._facts.items() if facts["reason"]}
        unknown = [file for file in clips["file"] if file not in refused]
        if unknown:
            place = "there is no cache" if self.cache is None else f"they are not in the cache {self.cache.folder}"
            trimmed = " --trim_silence" if self.reading.trim_silence else ""
            raise DataError(
                f"{len(unknown)} of {count} clips are full frames whose faces have to be cropped first, and {place} "
                f"(the first: {unknown[0]}): python main.py prepare --dataset {self.dataset} "
                f"--data_root {self.source}{trimmed}"
            )
        return [BadClip(file, refused[file]) for file in clips["file"]]

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
        size = batch_bytes(list(map(self._length, dataset.clips["file"])), self.batch_size, self.padding)
        return fit_shared_memory(Loading(workers, self.prefetch), size, processes)

    def _length(self, file: str) -> int:
        """Frames of a clip, as far as they are known."""
        cached = self._cached.get(file)
        frames = cached.entry.frames if cached else self._facts.get(file, {}).get("frames_25")
        return min(frames or self.max_frames, self.max_frames)


def _one_thread(_worker: int) -> None:
    """OpenCV's own threads do not survive the fork that starts a worker."""
    cv2.setNumThreads(0)
