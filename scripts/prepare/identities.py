"""Who is to be seen and heard in a clip, and folds in which nobody is on both sides.

Folds by subject (``source`` of the csv) still let a face into both sides: fake video shows its target's face too,
and that target may be a subject of the other side, or the target of a clip there.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations

import pandas as pd

from dataset.folds import draw, paper_subset
from dataset.protocols.leak import targets_of

PASSES = 10  # of exchanging subjects; it converges in two or three


def strict_subset(
    clips: pd.DataFrame, n_folds: int = 5, seed: int = 42, one_each: bool = True
) -> tuple[pd.DataFrame, dict[str, list[str]], list[tuple[str, str]]]:
    """Choose clips and folds together, so that nobody seen in a test clip is seen in its fold's training clips.

    Every identity is put into one fold, balanced over race and gender as in :func:`dataset.folds.make_folds`. Subjects
    that share clips are put together greedily, then subjects of one race and gender are exchanged as long as that saves
    a clip. A clip can be used if everybody in it is of one fold.

    `clips` are all clips that can be used, not a subset: the more there are to choose from, the fewer are lost. With
    `one_each`, one such clip is kept for each (subject, category), as in the paper; otherwise all of them.

    Returns the clips kept, in csv order; the folds (file name → sorted ids of the training subjects); and each
    (subject, category) for which no clip can be kept.
    """
    cells = _cells(clips)
    groups = dict(zip(clips["subject"], zip(clips["race"], clips["gender"], strict=True), strict=True))
    fold_of = _exchange(cells, groups, _deal(cells, groups, n_folds, seed))
    whole = fold_of | _place_outsiders(cells, fold_of)
    usable = [
        all(whole[other] == whole[subject] for other in others)
        for subject, others in zip(clips["subject"], targets_of(clips), strict=True)
    ]
    kept = paper_subset(clips[usable], seed) if one_each else clips[usable]
    folds = {f"train_{k + 1}.txt": sorted(s for s, fold in fold_of.items() if fold != k) for k in range(n_folds)}
    return kept, folds, sorted(set(cells) - set(zip(kept["subject"], kept["category"], strict=True)))


Cells = dict[tuple[str, str], list[frozenset[str]]]  # (subject, category) → the targets of each of its clips
Groups = Mapping[str, tuple[str, str]]  # subject → race and gender


def _cells(clips: pd.DataFrame) -> Cells:
    cells: Cells = {}
    for subject, category, others in zip(clips["subject"], clips["category"], targets_of(clips), strict=True):
        cells.setdefault((subject, category), []).append(others - {subject})
    return cells


def _deal(cells: Cells, groups: Groups, n_folds: int, seed: int) -> dict[str, int]:
    """Put each subject into the fold with which it shares most, as far as that has room for its race and gender."""
    links: dict[str, dict[str, float]] = {subject: defaultdict(float) for subject in groups}
    for (subject, _), clips in cells.items():
        for other in frozenset().union(*clips) & groups.keys():
            share = sum(other in others for others in clips) / len(clips)
            links[subject][other] += share
            links[other][subject] += share
    room = _room(groups, n_folds)
    fold_of: dict[str, int] = {}
    waiting = sorted(groups, key=lambda subject: draw(seed, subject))
    while waiting:
        # Next comes whoever shares most with those that have a place.
        subject = max(waiting, key=lambda s: sum(n for other, n in links[s].items() if other in fold_of))
        waiting.remove(subject)
        shared: dict[int, float] = defaultdict(float)
        for other, amount in links[subject].items():
            if other in fold_of:
                shared[fold_of[other]] += amount
        open_folds = [k for k in range(n_folds) if room[k][groups[subject]]]
        best = max(open_folds, key=lambda k: (shared[k], sum(room[k].values()), -k))
        fold_of[subject] = best
        room[best][groups[subject]] -= 1
    return fold_of


def _room(groups: Groups, n_folds: int) -> list[Counter[tuple[str, str]]]:
    """How many subjects of each race and gender a fold takes; also in all, the folds differ by one at most."""
    room: list[Counter[tuple[str, str]]] = [Counter() for _ in range(n_folds)]
    for position, group in enumerate(sorted(groups.values())):
        room[position % n_folds][group] += 1
    return room


def _place_outsiders(cells: Cells, fold_of: Mapping[str, int]) -> dict[str, int]:
    """Put identities that are nobody's subject where most of their clips are."""
    votes: dict[str, Counter[int]] = {}
    for (subject, _), clips in cells.items():
        for others in clips:
            for other in others - fold_of.keys():
                votes.setdefault(other, Counter())[fold_of[subject]] += 1
    return {other: max(count, key=lambda k: (count[k], -k)) for other, count in votes.items()}


def _exchange(cells: Cells, groups: Groups, fold_of: dict[str, int]) -> dict[str, int]:
    """Exchange two subjects of one race and gender as long as more cells have a clip whose people are in one fold."""
    involved: dict[str, set[tuple[str, str]]] = {subject: set() for subject in groups}
    for cell, clips in cells.items():
        for person in {cell[0]}.union(*clips) & groups.keys():
            involved[person].add(cell)
    members: dict[tuple[str, str], list[str]] = {}
    for subject in sorted(groups):
        members.setdefault(groups[subject], []).append(subject)

    def saved(touched: Iterable[tuple[str, str]]) -> int:
        return sum(
            any(all(fold_of.get(other, fold_of[cell[0]]) == fold_of[cell[0]] for other in clip) for clip in cells[cell])
            for cell in touched
        )

    for _ in range(PASSES):
        improved = False
        for one, other in (pair for group in members.values() for pair in combinations(group, 2)):
            if fold_of[one] == fold_of[other]:
                continue
            touched = involved[one] | involved[other]
            before = saved(touched)
            fold_of[one], fold_of[other] = fold_of[other], fold_of[one]
            if saved(touched) > before:
                improved = True
            else:
                fold_of[one], fold_of[other] = fold_of[other], fold_of[one]
        if not improved:
            break
    return fold_of
