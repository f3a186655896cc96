"""The paper's subset and its folds, on a table as large as FakeAVCeleb's."""

import logging
import multiprocessing
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset import FOLD_NAMES, read_corpus
from dataset.folds import (
    find_fold,
    first_of_each,
    hold_out,
    make_folds,
    paper_subset,
    read_fold,
    split_fold,
    write_folds,
)
from utils.errors import DataError

RACES = ("African", "Asian (East)", "Asian (South)", "Caucasian (American)", "Caucasian (European)")


@pytest.fixture(scope="module")
def clips() -> pd.DataFrame:
    """500 subjects, 50 of each race and gender, and 21,500 clips in an order of their own."""
    groups = list(product(RACES, ("men", "women")))
    rows = [
        (f"{category}/id{s:05d}/{n}.mp4", f"id{s:05d}", category, *groups[s % len(groups)])
        for category, count in (("A", 1), ("B", 1), ("C", 20), ("D", 21))
        for s in np.random.default_rng(0).permutation(500)
        for n in range(count)
    ]
    return pd.DataFrame(rows, columns=["file", "subject", "category", "race", "gender"])


def test_subset_has_one_clip_of_each_subject_and_category(clips: pd.DataFrame) -> None:
    subset = paper_subset(clips)
    assert len(clips) == 21_500
    assert len(subset) == 2_000
    assert not subset.duplicated(["subject", "category"]).any()
    assert subset.index.is_monotonic_increasing
    assert subset.equals(paper_subset(clips))
    assert not subset["file"].equals(paper_subset(clips, seed=7)["file"])
    assert subset.loc[subset["category"] == "D", "file"].str.endswith("/0.mp4").mean() < 0.1  # not just the first


def test_subset_does_not_depend_on_other_rows(clips: pd.DataFrame) -> None:
    half = clips[clips["subject"] < "id00250"]
    subset = paper_subset(clips)
    assert list(paper_subset(half)["file"]) == list(subset.loc[subset["subject"] < "id00250", "file"])


def test_folds_are_disjoint_equal_and_balanced(clips: pd.DataFrame) -> None:
    folds = make_folds(clips)
    everyone = set(clips["subject"])
    tests = [everyone - set(subjects) for subjects in folds.values()]
    assert tuple(folds) == FOLD_NAMES
    assert [len(test) for test in tests] == [100] * 5
    assert set.union(*tests) == everyone
    assert not any(a & b for a, b in combinations(tests, 2))
    people = clips.drop_duplicates("subject").set_index("subject")
    for test in tests:
        assert (people.loc[list(test)].groupby(["race", "gender"]).size() == 10).all()
    assert folds == make_folds(clips.sample(frac=1, random_state=1))
    assert folds != make_folds(clips, seed=7)


def test_folds_of_uneven_groups(clips: pd.DataFrame) -> None:
    folds = make_folds(clips[clips["subject"] < "id00043"])
    assert sorted(43 - len(subjects) for subjects in folds.values()) == [8, 8, 9, 9, 9]


def test_format_round_trip(tmp_path: Path) -> None:
    write_folds({"train_1.txt": ["id00003", "id00001"], "train_2.txt": ["id00002"]}, tmp_path)
    assert (tmp_path / "train_1.txt").read_text() == "fold 1\nid00001\nid00003\n"
    assert (tmp_path / "train_2.txt").read_text() == "fold 2\nid00002\n"
    assert read_fold(tmp_path / "train_1.txt") == ["id00001", "id00003"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["train_1.txt", "train_2.txt"]


def test_first_line_that_is_an_id_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "train_1.txt"
    file.write_text("id00076 men\n\nid00113/00101.mp4\n  \n")
    with caplog.at_level(logging.WARNING):
        assert read_fold(file) == ["id00076", "id00113"]
    assert len(caplog.records) == 1
    assert "id00076" in caplog.text
    assert "release drops it" in caplog.text


@pytest.mark.parametrize("text", ["", "fold 1\n", "fold 1\n\n \n"])
def test_fold_that_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "train_1.txt").write_text(text)
    with pytest.raises(DataError, match=r"train_1\.txt: names no subject"):
        read_fold(tmp_path / "train_1.txt")


def test_split_takes_the_first_of_each_category(clips: pd.DataFrame) -> None:
    shuffled = clips.sample(frac=1, random_state=1).reset_index(drop=True)
    known = make_folds(clips)["train_1.txt"]
    for whole, is_train, count in zip(split_fold(shuffled, known), (True, False), (7, 3), strict=True):
        side = first_of_each(whole, count)
        assert list(side["category"]) == [c for c in "ABCD" for _ in range(count)]
        pool = shuffled[shuffled["subject"].isin(known) == is_train]
        for category in "ABCD":
            first = pool[pool["category"] == category].head(count)
            assert list(side.loc[side["category"] == category, "file"]) == list(first["file"])


def test_split_that_leaves_a_side_empty(clips: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no known subject"):
        split_fold(clips, ["id99999"])
    with pytest.raises(DataError, match="no clip to test on"):
        split_fold(clips, set(clips["subject"]))


def test_held_out_subjects(clips: pd.DataFrame) -> None:
    train, val = hold_out(clips, seed=1)
    assert val["subject"].nunique() == 50
    assert not set(train["subject"]) & set(val["subject"])
    assert len(train) + len(val) == len(clips)
    assert (val.drop_duplicates("subject").groupby(["race", "gender"]).size() == 5).all()
    assert (
        set(hold_out(clips, seed=1)[1]["subject"]) == set(val["subject"]) != set(hold_out(clips, seed=2)[1]["subject"])
    )
    with pytest.raises(DataError, match="one training subject"):
        hold_out(clips[clips["subject"] == "id00001"])


def test_folds_are_made_once(clips: pd.DataFrame, tmp_path: Path) -> None:
    assert find_fold("train_2.txt", tmp_path, clips) == tmp_path / "train_2.txt"
    assert read_fold(tmp_path / "train_2.txt") == make_folds(clips)["train_2.txt"]
    (tmp_path / "train_2.txt").write_text("mine\nid00001\n")
    find_fold("train_2.txt", tmp_path, clips)
    assert read_fold(tmp_path / "train_2.txt") == ["id00001"]


def test_folds_of_which_some_exist(clips: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "train_1.txt").write_text("fold 1\nid00001\n")
    with pytest.raises(DataError, match=r"train_2\.txt: no such fold file, though train_1\.txt"):
        find_fold("train_2.txt", tmp_path, clips)
    assert [file.name for file in tmp_path.glob("*.txt")] == ["train_1.txt"]
    assert find_fold("train_1.txt", tmp_path, clips) == tmp_path / "train_1.txt"


def test_unknown_fold_name(clips: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train_9\.txt: no such fold file"):
        find_fold("train_9.txt", tmp_path, clips)
    assert not list(tmp_path.glob("*.txt"))


def test_root_that_cannot_be_written(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root, fold_dir = tmp_path / "root", tmp_path / "outputs" / "folds"
    root.mkdir()
    write_bytes = Path.write_bytes

    def refuse(path: Path, *args: object, **kwargs: object) -> int:
        if root in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return write_bytes(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(DataError, match="folds cannot be written"):
        find_fold("train_1.txt", root, clips)
    assert find_fold("train_1.txt", root, clips, fold_dir=fold_dir) == fold_dir / "train_1.txt"
    assert "Permission denied" in caplog.text
    assert find_fold("train_5.txt", root, clips, fold_dir=fold_dir) == fold_dir / "train_5.txt"  # already there


def test_folds_are_made_once_by_array_tasks_that_start_together(original_root: Path) -> None:
    """Each asks for another fold, in processes of their own."""
    for fold in original_root.glob("train_*.txt"):
        fold.unlink()
    context = multiprocessing.get_context("spawn")
    with context.Pool(5) as pool:
        found = pool.starmap(_found, [(name, original_root) for name in FOLD_NAMES])
    assert found == [original_root / name for name in FOLD_NAMES]
    assert not list(original_root.glob(".train_*.tmp"))


def _found(name: str, root: Path) -> Path:
    clips = read_corpus(root)
    return find_fold(name, root, clips)
