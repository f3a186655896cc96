"""speechforensics: the test lists of SpeechForensics; it only tests."""

from __future__ import annotations

from functools import partial

from dataset.protocols.base import (
    Protocol,
    Setting,
    Sides,
    compare_labels,
    find_list,
    name_key,
    nothing,
    one_fold,
    pick,
)
from utils.errors import DataError

FOLDERS = {"fakeavceleb": "FakeAVCeleb", "kodf": "KoDF"}


def sides(setting: Setting, _fold: str) -> Sides:
    """The clips of the list of this corpus; a line is a path, a space and 1 for real, and paths hold spaces too.

    Raises
    ------
    DataError
        If the list is not there, has a line of another form, or names no clip of the corpus.
    """
    path = find_list(setting, "speechforensics", f"{FOLDERS[setting.dataset]}/test_list.txt")
    real = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        file, _, label = line.strip().rpartition(" ")
        if line.strip() and (label not in ("0", "1") or not file):
            raise DataError(f"{path} line {number}: {line!r} is not a path, a space and 0 or 1")
        if file:
            real[_key(setting.dataset, file)] = label == "1"
    key = partial(_key, setting.dataset)
    test = pick(setting, real, path.name, key)
    compare_labels(setting, test, (real[key(file)] for file in test["file"]), path.name)
    return Sides(nothing(setting.clips), None, test)


def _key(dataset: str, file: str) -> str:
    """KoDF's copies differ in their folders, but names are unique."""
    return name_key(file) if dataset == "fakeavceleb" else file.rpartition("/")[2]


PROTOCOL = Protocol(
    definition="FakeAVCeleb: all 21,544 clips, RVFA counted as fake. KoDF: 1,000 real and 3,832 fake clips, none of "
    "fsgan, which have no audio. Nothing is trained: the detector comes from elsewhere.",
    source="Eleven4AI/SpeechForensics, data/datasets/*/test_list.txt, read at the last space of a line (its own "
    "evaluate.py reads at the first, which breaks 17,455 paths)",
    not_controlled="Whom the detector was trained on; where that is told, the count of tested subjects among them is "
    "given. 97.7 % of FakeAVCeleb's clips are fake, so the AP of a random score is 0.977.",
    folds=one_fold,
    sides=sides,
    corpora=("fakeavceleb", "kodf"),
)
