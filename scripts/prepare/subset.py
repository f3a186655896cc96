"""The clips that training uses, and their folds."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dataset.corpora.table import Layout
from dataset.folds import FOLD_NAMES, paper_subset, place_folds, read_fold
from dataset.protocols import Setting, default_protocol, folds, sides
from scripts.prepare.identities import strict_subset
from utils.errors import DataError
from utils.files import write_atomic

COLUMNS = ["file", "subject", "target1", "target2", "category", "method", "race", "gender", "split"]

Sides = tuple[pd.DataFrame, pd.DataFrame]  # training and test clips


class Subset(NamedTuple):
    """The clips in use and where each fold puts them."""

    clips: pd.DataFrame
    sides: dict[str, Sides]  # of each fold
    notes: list[str]


def choose(
    clips: pd.DataFrame, usable: pd.Series, dataset: str, root: Path, fold_dir: Path, seed: int, strict: bool
) -> Subset:
    """Choose the subset from clips that can be used, and make the folds or take those that are there.

    In the original layout one clip is kept for each (subject, category): the paper's, or the next in the draw where
    that one is missing or broken. In the other layouts every clip that can be used is kept. Where folds lie or are
    written (`root`, `fold_dir`) :func:`dataset.folds.find_fold` says; `strict` ones come from
    :mod:`scripts.prepare.identities`.

    A DataError if no clip can be used, or other folds lie where strict ones should go.
    """
    if not usable.any():
        raise DataError(f"{root}: none of its {len(clips)} clips can be used; report.csv says why")
    kept, notes = clips[usable].drop_duplicates("path"), []
    is_original = clips["layout"].iloc[0] == Layout.ORIGINAL
    if strict:
        if (clips["split"] != "").any():
            raise DataError("--strict_identities makes folds of its own, but the table has a split: leave one out")
        kept, strict_folds, lost = strict_subset(kept, len(FOLD_NAMES), seed, one_each=is_original)
        _place_strict(strict_folds, [root, fold_dir])
        if lost:
            listed = ", ".join(f"{subject} {category}" for subject, category in lost)
            said = f"{len(lost)} subjects have no clip of a category any more: {listed}."
            notes.append(f"So that nobody is on both sides, {said}")
    elif is_original:
        kept = paper_subset(kept, seed)
        notes += _compare(paper_subset(clips, seed), kept)
    setting = Setting(kept, dataset, root, seed, fold_dir)
    protocol = default_protocol(dataset, kept)
    of_folds: dict[str, Sides] = {}
    faults = []
    for name in folds(protocol, setting):
        try:
            fold = sides(protocol, setting, name)
        except DataError as error:
            faults.append(f"{name} cannot be used: {str(error).rpartition(': ')[2]}.")
        else:
            of_folds[name] = (fold.train, fold.test)
    return Subset(kept, of_folds, [*notes, *dict.fromkeys(setting.notes), *faults])


def write_subset(subset: Subset, path: Path) -> None:
    """Write ``subset.csv``: a row a clip, with the fold that tests it."""
    table = subset.clips[COLUMNS].copy()
    table["test_fold"] = ""
    for name, (_, test) in subset.sides.items():
        table.loc[test.index, "test_fold"] = name
    write_atomic(path, table.to_csv(index=False, lineterminator="\n"))


def _compare(intended: pd.DataFrame, kept: pd.DataFrame) -> list[str]:
    """Say which clips stand in for others, and which have nobody to stand in for them."""
    instead = dict(zip(zip(kept["subject"], kept["category"], strict=True), kept["file"], strict=True))
    notes = []
    for subject, category, file in intended[["subject", "category", "file"]].itertuples(index=False):
        other = instead.get((subject, category))
        if other is None:
            notes.append(f"{subject} has no clip of category {category} that can be used ({file}).")
        elif other != file:
            notes.append(f"{other} stands in for {file}, which cannot be used.")
    return notes


def _place_strict(folds: dict[str, list[str]], folders: list[Path]) -> None:
    """Write strict folds, unless the very same lie there."""
    for folder in folders:
        present = [name for name in folds if (folder / name).is_file()]
        if present and (len(present) < len(folds) or any(read_fold(folder / n, None) != folds[n] for n in present)):
            raise DataError(
                f"{folder}: {', '.join(present)} lie there already, and are not the strict folds of these clips; "
                "move them away to have strict ones made"
            )
        if present:
            return
    place_folds(folds, folders)
