"""Who is on both sides of a fold, and folds in which nobody is."""

import numpy as np
import pandas as pd
import pytest

from dataset.folds import make_folds, paper_subset, split_fold
from dataset.protocols.leak import Leak, find_leak
from scripts.prepare.identities import strict_subset


def corpus(subjects: int, clips: int, seed: int = 0, in_group: bool = True) -> pd.DataFrame:
    """Real clips, and `clips` fakes of each kind whose targets are drawn among the subjects."""
    rng = np.random.default_rng(seed)
    rows = []
    for subject in range(subjects):
        race, gender = 5 * subject // subjects, subject % 2
        others = [
            n
            for n in range(subjects)
            if n != subject and (not in_group or (5 * n // subjects, n % 2) == (race, gender))
        ]
        for category in "ABCD":
            for take in range(clips if category in "CD" else 1):
                target = f"id{rng.choice(others):05d}" if category in "CD" else ""
                file = f"{category}/{subject}_{take}.mp4"
                rows.append((file, f"id{subject:05d}", target, "", category, f"race {race}", f"gender {gender}"))
    return pd.DataFrame(rows, columns=["file", "subject", "target1", "target2", "category", "race", "gender"])


def is_strict(clips: pd.DataFrame, folds: dict[str, list[str]]) -> bool:
    """Whether nobody is on both sides of any fold."""
    return not any(find_leak(*split_fold(clips, subjects)).at_all for subjects in folds.values())


def clip(subject: str, target1: str = "", target2: str = "") -> tuple[str, str, str]:
    return subject, target1, target2


def test_leaks_are_counted() -> None:
    columns = ["subject", "target1", "target2"]
    train = pd.DataFrame([clip("a"), clip("a", "t"), clip("b", "c", "u")], columns=columns)
    test = pd.DataFrame(
        [clip("x"), clip("c"), clip("x", "t"), clip("x", "y", "u"), clip("x", "b"), clip("y", "x")], columns=columns
    )
    # c, t and u were targets; b was a subject
    assert find_leak(train, test) == Leak(tested=6, as_target=3, at_all=4)
    assert find_leak(train[:1], test) == Leak(tested=6, as_target=0, at_all=0)


@pytest.mark.parametrize(
    ("subjects", "clips", "in_group"), [(100, 12, True), (100, 12, False), (50, 1, True), (23, 2, False)]
)
def test_strict_folds(subjects: int, clips: int, in_group: bool) -> None:
    table = corpus(subjects, clips, in_group=in_group)
    subset, folds, lost = strict_subset(table)
    assert is_strict(subset, folds)
    tested = [set(table["subject"]) - set(train) for train in folds.values()]
    assert sorted(subject for side in tested for subject in side) == sorted(set(table["subject"]))
    assert max(map(len, tested)) - min(map(len, tested)) <= 1
    for _, people in table.drop_duplicates("subject").groupby(["race", "gender"]):
        sizes = [len(side & set(people["subject"])) for side in tested]
        assert max(sizes) - min(sizes) <= 1
    assert not subset.duplicated(["subject", "category"]).any()
    assert len(subset) + len(lost) == 4 * subjects
    assert not set(lost) & set(zip(subset["subject"], subset["category"], strict=True))
    if clips == 12 and not in_group:
        assert not lost  # there is enough to choose from


def test_ordinary_folds_are_not_strict() -> None:
    table = corpus(100, 4)
    subset = paper_subset(table)
    folds = make_folds(subset)
    assert not is_strict(subset, folds)
    assert find_leak(*split_fold(subset, folds["train_1.txt"])).as_target > 10


def test_targets_who_are_no_subjects() -> None:
    table = corpus(20, 1).assign(target1="", target2="")
    table.loc[table["category"] == "C", "target1"] = "id90000"  # one stranger in all of them
    subset, folds, lost = strict_subset(table)
    assert is_strict(subset, folds)
    assert len(lost) == 16  # only one fold can keep the stranger
    table.loc[table["category"] == "C", "target1"] = [f"id9{n:04d}" for n in range(20)]
    assert strict_subset(table)[2] == []


def test_the_seed_decides() -> None:
    table = corpus(60, 6)
    one, other, again = strict_subset(table, seed=1), strict_subset(table, seed=2), strict_subset(table, seed=1)
    assert one[1] == again[1]
    assert one[0].equals(again[0])
    assert one[1] != other[1]


def test_every_clip_of_other_corpora_is_kept() -> None:
    table = corpus(20, 3).assign(target1="")
    subset, _, lost = strict_subset(table, one_each=False)
    assert len(subset) == len(table)
    assert not lost
