"""The paper's subset of FakeAVCeleb and its five folds by subject (section 4.1 of arXiv 2401.05746)."""

import hashlib
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.corpora.table import Layout
from utils.errors import DataError
from utils.files import alone_in, write_atomic

log = logging.getLogger(__name__)

FOLD_NAMES = tuple(f"train_{k}.txt" for k in range(1, 6))
ID_LENGTH = 7  # `idNNNNN`: what follows on a line of a fold file is not part of the id


def read_fold(path: str | Path, id_length: int | None = ID_LENGTH) -> list[str]:
    """Read the training subjects of a fold file: a header line, then an id a line.

    The first `id_length` characters of a line are the id; with None, all of them. A first line that is itself an id
    counts, and the log says that the authors' release would have dropped it. A DataError if the file is absent or names
    no subject.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such fold file")
    header, *lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines() or [""]
    if re.match(r"\s*id\d{5}", header):
        text = (
            "%s has no header line: its first line, %s, counts as a subject here, where the authors' release drops it"
        )
        log.warning(text, path, header.strip()[:id_length])
        lines.insert(0, header)
    subjects = [line.strip()[:id_length] for line in lines if line.strip()]
    if not subjects:
        raise DataError(f"{path}: names no subject")
    return subjects


def paper_subset(clips: pd.DataFrame, seed: int = 42) -> pd.DataFrame:
    """Keep one clip for each (subject, category), in csv order.

    Which one is drawn from the seed and the file names of that subject and category alone, so that it does not
    change with any other row.
    """
    draws = pd.Series([draw(seed, file) for file in clips["file"]], index=clips.index)
    kept = draws.groupby([clips["subject"], clips["category"]]).idxmin()
    return clips.loc[sorted(kept)]


def make_folds(clips: pd.DataFrame, n_folds: int = 5, seed: int = 42) -> dict[str, list[str]]:
    """Deal the subjects to `n_folds` test sets: file name → sorted ids of the training subjects, which are all others.

    The test sets are disjoint, and of equal size give or take one, and so is each race and gender within them.
    """
    dealt = deal_subjects(clips, n_folds, seed)
    return {f"train_{k + 1}.txt": sorted(dealt.index[dealt != k]) for k in range(n_folds)}


def deal_subjects(clips: pd.DataFrame, parts: int, seed: int = 42) -> pd.Series:
    """Subject → one of so many parts (0, 1, …), equal in size give or take one, and balanced over race and gender."""
    subjects = clips.drop_duplicates("subject")
    subjects = subjects.assign(draw=[draw(seed, subject) for subject in subjects["subject"]])
    subjects = subjects.sort_values(["race", "gender", "draw"])
    return pd.Series(np.arange(len(subjects)) % parts, index=subjects["subject"].to_numpy())


def write_folds(folds: Mapping[str, Collection[str]], folder: str | Path) -> None:
    """Write fold files in the authors' format: the line `fold K`, then the training ids one a line.

    Each file appears whole or not at all.
    """
    for number, (name, subjects) in enumerate(folds.items(), start=1):
        write_atomic(Path(folder) / name, "\n".join([f"fold {number}", *sorted(subjects), ""]))


def place_folds(folds: Mapping[str, Collection[str]], folders: Sequence[Path]) -> Path:
    """Write fold files to the first folder that lets us, and return it; a DataError if none does."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_folds(folds, folder)
        except OSError as error:
            log.warning("the folds cannot be written to %s (%s)", folder, error.strerror)
            continue
        log.info("made %d folds by subject and wrote them to %s", len(folds), folder)
        return folder
    raise DataError(f"the folds cannot be written to {' or '.join(map(str, folders))}")


def find_fold(
    name: str, root: str | Path, clips: pd.DataFrame, seed: int = 42, fold_dir: str | Path | None = None
) -> Path:
    """Say where a fold file lies; make all five if there is none yet.

    Folds that lie in `root` (or in `fold_dir`) are never overwritten. New ones are written to `root`, or to `fold_dir`
    if `root` cannot be written to. A DataError if some folds exist but not this one, or its name is not in
    :data:`FOLD_NAMES`.
    """
    folders = [Path(folder) for folder in (root, fold_dir) if folder is not None]

    def existing() -> Path | None:
        return next((folder / name for folder in folders if (folder / name).is_file()), None)

    if path := existing():
        return path
    with _locked(folders):
        if path := existing():  # another process has made them meanwhile
            return path
        for folder in folders:
            if present := [other for other in FOLD_NAMES if (folder / other).exists()]:
                raise DataError(
                    f"{folder / name}: no such fold file, though {', '.join(present)} lie there; "
                    "add it, or move those away to have all five made"
                )
        if name not in FOLD_NAMES:
            raise DataError(f"{Path(root) / name}: no such fold file; folds are made as {', '.join(FOLD_NAMES)}")
        return place_folds(make_folds(clips, len(FOLD_NAMES), seed), folders) / name


@contextmanager
def _locked(folders: Sequence[Path]) -> Iterator[None]:
    """Hold the lock of the first folder that can be written to, which is where folds are made."""
    with ExitStack() as locks:
        for folder in folders:
            with suppress(OSError, DataError):
                locks.enter_context(alone_in(folder, "another process makes the folds in %s: waiting for it"))
                break
        yield


def fold_sides(
    clips: pd.DataFrame, name: str, root: str | Path, seed: int = 42, fold_dir: str | Path | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test clips of a fold, wherever its file lies: see :func:`find_fold` and :func:`split_fold`."""
    path = find_fold(name, root, clips, seed, fold_dir)
    is_table = clips["layout"].iloc[0] == Layout.TABLE  # whose ids may be anything
    subjects = read_fold(path, None if is_table else ID_LENGTH)
    try:
        return split_fold(clips, subjects)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def split_fold(clips: pd.DataFrame, subjects: Collection[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clips of the training subjects and of everyone else, category by category, in csv order within each.

    A DataError if none of the subjects is known, or everyone is.
    """
    is_train = clips["subject"].isin(set(subjects))
    if not is_train.any():
        raise DataError(f"the fold names no known subject (its first is {next(iter(subjects))})")
    if is_train.all():
        raise DataError("the fold names every subject, which leaves no clip to test on")
    return first_of_each(clips[is_train]), first_of_each(clips[~is_train])


def hold_out(clips: pd.DataFrame, seed: int = 42, parts: int = 10) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part training clips from validation clips: those of one subject in `parts`, balanced over race and gender.

    A DataError if there are fewer than two subjects.
    """
    subjects = clips["subject"].nunique()
    if subjects < 2:
        raise DataError("one training subject cannot be split into training and validation")
    kept = make_folds(clips, min(parts, subjects), seed)[FOLD_NAMES[0]]
    is_train = clips["subject"].isin(set(kept))
    return clips[is_train], clips[~is_train]


def first_of_each(clips: pd.DataFrame, count: int | None = None) -> pd.DataFrame:
    """The first `count` clips of each category, category by category; None takes all."""
    if count is not None:
        clips = clips.groupby("category").head(max(count, 0))
    return clips.sort_values("category", kind="stable")


def draw(seed: int, text: str) -> str:
    """A pseudo-random sort key that depends on nothing but its arguments."""
    return hashlib.md5(f"{seed}:{text}".encode(), usedforsecurity=False).hexdigest()
