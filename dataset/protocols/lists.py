"""Protocols by published lists of clips, which the user's clone of their repository has; two of them only test."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.corpora.fakeavceleb import RACE, SPELLINGS
from dataset.corpora.metadata import need
from dataset.protocols.base import Protocol, Setting, Sides, labelled
from utils.errors import DataError
from utils.files import read_csv

KIND = re.compile(r"^.*?(?=(?:Real|Fake)Video-)")  # what comes before the folder that tells it
FACTOR = {"rvfa": "RVFA", "fvra_wl": "FVRA-WL", "fvfa_fs": "FVFA-FS", "fvfa_gan": "FVFA-GAN", "fvfa_wl": "FVFA-WL"}
SPEECHFORENSICS = {"fakeavceleb": "FakeAVCeleb", "kodf": "KoDF"}  # folders


def avh_align(setting: Setting, _fold: str) -> Sides:
    """The clips of the three lists."""
    return Sides(*(_avh_align_side(setting, side) for side in ("train", "val", "test")))


def _avh_align_side(setting: Setting, side: str) -> pd.DataFrame:
    """FakeAVCeleb: `source,category,full_path`. AV-Deepfake1M: `path,label`, 1 = fake, below train or val."""
    if setting.dataset == "fakeavceleb":
        path = find_list(setting, "avh-align", f"favc/{side}_split.csv", f"{side}_split.csv")
        column, label, real, fake, key = "full_path", "category", "A", ["B", "C", "D"], name_key
    else:
        path = find_list(setting, "avh-align", f"{side}_labels.csv")
        column, label, real, fake, key = "path", "label", "0", ["1"], _without_split
    table = need(read_csv(path), path, (column, label))
    wrong = ~table[label].isin([real, *fake])
    if wrong.any():
        raise DataError(f"{path} line {wrong.idxmax()}: {label} is {table.at[wrong.idxmax(), label]!r}")
    labels = dict(zip(table[column].map(key), table[label] == real, strict=True))
    return labelled(pick(setting, labels, path.name, key))


def _without_split(file: str) -> str:
    return file.removeprefix("train/").removeprefix("val/")


def factor_folds(_setting: Setting) -> Mapping[str, str]:
    """One a list of fakes."""
    return {f"train_{number}": f"{name} against RVRA" for number, name in enumerate(FACTOR.values(), start=1)}


def factor(setting: Setting, fold: str) -> Sides:
    """The clips of a list of fakes and of that of the real ones."""
    name = list(FACTOR)[int(fold.removeprefix("train_")) - 1]
    return _tests(setting, pd.concat([_factor_clips(setting, "rvra"), _factor_clips(setting, name)]))


def _factor_clips(setting: Setting, name: str) -> pd.DataFrame:
    path = find_list(setting, "factor", f"{name}.npy")
    try:
        files = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not a plain array of names ({error})") from error
    return pick(setting, dict.fromkeys(map(name_key, map(str, files.ravel()))), path.name, name_key)


def speechforensics(setting: Setting, _fold: str) -> Sides:
    """The clips of a list whose lines are a path, a space and 1 for real; paths hold spaces too."""
    path = find_list(setting, "speechforensics", f"{SPEECHFORENSICS[setting.dataset]}/test_list.txt")
    key = name_key if setting.dataset == "fakeavceleb" else _name  # KoDF's copies differ in their folders
    real: dict[str, bool | None] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        file, _, label = line.strip().rpartition(" ")
        if line.strip() and (label not in ("0", "1") or not file):
            raise DataError(f"{path} line {number}: {line!r} is not a path, a space and 0 or 1")
        if file:
            real[key(file)] = label == "1"
    return _tests(setting, pick(setting, real, path.name, key))


def _name(file: str) -> str:
    return file.rpartition("/")[2]


def _tests(setting: Setting, test: pd.DataFrame) -> Sides:
    """The sides of a protocol that only tests."""
    return Sides(setting.clips.iloc[:0], None, test)


def name_key(file: str) -> str:
    """A clip of FakeAVCeleb in one spelling, whatever folder a list begins with and however it spells races."""
    return RACE.sub(SPELLINGS[0], KIND.sub("", file, count=1))


def find_list(setting: Setting, protocol: str, *names: str) -> Path:
    """A file of the lists, anywhere below their folder: the first of `names` that is there; a DataError if none is."""
    if setting.lists is None:
        raise DataError(f"--protocol {protocol} needs --lists DIR, your clone of the repository that has {names[0]}")
    for name in names:
        found = sorted(setting.lists.rglob(name))
        if found:
            return found[0]
    raise DataError(f"{setting.lists}: no {' or '.join(names)} in it; --lists must be the clone that has it")


def pick(setting: Setting, real: Mapping[str, bool | None], what: str, key: Callable[[str], str]) -> pd.DataFrame:
    """The clips that a list names, in its order; names that the table lacks, and labels that differ, get a note.

    `real` says of each name of the list whether it is a real clip (None: it does not say), `what` is the list in
    messages, and `key` brings the names, as those of `real` are, and files of the table into one spelling. A DataError
    if the list names no clip, or the table has none of them.
    """
    if not real:
        raise DataError(f"{what}: names no clip")
    position = pd.Series(np.arange(len(setting.clips)), index=setting.clips["file"].map(key))
    rows = position[~position.index.duplicated()].reindex(list(real))
    absent = rows.index[rows.isna()]
    if len(absent) == len(real):
        raise DataError(f"{what}: none of its {len(real):,} clips is in the corpus (its first is {absent[0]})")
    if len(absent):
        setting.notes.append(f"{what}: {len(absent):,} of {len(real):,} clips are not in the corpus ({absent[0]}, …)")
    rows = rows.dropna().astype(int)
    clips = setting.clips.iloc[rows]
    listed = pd.Series([real[name] for name in rows.index], clips.index, dtype="boolean").astype("Int64")
    differing = (clips["m_label"] != listed).fillna(False)
    if differing.any():
        setting.notes.append(f"{what}: {differing.sum():,} clips have another label than in the corpus, which counts")
    return clips


PROTOCOLS = {
    "avh-align": Protocol(
        definition="FakeAVCeleb: the lists of 13,380 / 1,497 / 6,667 clips, split by source. AV-Deepfake1M: the lists "
        "of 45,000 / 5,000 / 10,000 clips, the last from val.",
        source="bit-ml/AVH-Align, avh_sup/csv_metadata; AVH-Align itself trains on real clips of AV-Deepfake1M",
        not_controlled="Identities: every one of the 6,667 test clips shows somebody who is in a training clip, as "
        "source or target. 97.7 % of them are fake, so the AP of a random score is 0.977. AV-Deepfake1M's sides share "
        "subjects.",
        sides=avh_align,
        corpora=("fakeavceleb", "avdeepfake1m"),
    ),
    "factor": Protocol(
        definition="Lists of 100 RVFA, 100 FVRA-WL, 100 FVFA-WL, 32 FVFA-FS and 41 FVFA-GAN clips, each against the "
        "same 100 real ones. Nothing is trained: the detector comes from elsewhere.",
        source="talreiss/FACTOR, audio-visual/data",
        not_controlled="Whom the detector was trained on; where that is told, the count of tested subjects among them "
        "is given. FVFA-FS and FVFA-GAN have 10 and 39 subjects: five points of AUC are noise.",
        folds=factor_folds,
        sides=factor,
        corpora=("fakeavceleb",),
    ),
    "speechforensics": Protocol(
        definition="FakeAVCeleb: all 21,544 clips, RVFA counted as fake. KoDF: 1,000 real and 3,832 fake clips, none "
        "of fsgan, which have no audio. Nothing is trained: the detector comes from elsewhere.",
        source="Eleven4AI/SpeechForensics, data/datasets/*/test_list.txt, read at the last space of a line (its own "
        "evaluate.py reads at the first, which breaks 17,455 paths)",
        not_controlled="Whom the detector was trained on; where that is told, the count of tested subjects among them "
        "is given. 97.7 % of FakeAVCeleb's clips are fake, so the AP of a random score is 0.977.",
        sides=speechforensics,
        corpora=("fakeavceleb", "kodf"),
    ),
}
