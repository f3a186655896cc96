"""avh-align: the lists of AVH-Align, of FakeAVCeleb and of AV-Deepfake1M."""

from __future__ import annotations

import pandas as pd

from dataset.corpora.table import need_columns
from dataset.protocols.base import (
    Protocol,
    Setting,
    Sides,
    compare_labels,
    find_list,
    labelled,
    name_key,
    one_fold,
    pick,
)
from utils.errors import DataError
from utils.files import read_csv


def sides(setting: Setting, _fold: str) -> Sides:
    """The clips of the three lists.

    Raises
    ------
    DataError
        If a list is not there, or names no clip of the corpus.
    """
    return Sides(*(_side(setting, side) for side in ("train", "val", "test")))


def _side(setting: Setting, side: str) -> pd.DataFrame:
    """FakeAVCeleb: `source,category,full_path`. AV-Deepfake1M: `path,label`, 1 = fake, below train or val."""
    if setting.dataset == "fakeavceleb":
        path = find_list(setting, "avh-align", f"favc/{side}_split.csv", f"{side}_split.csv")
        table, column = read_csv(path), "full_path"
    else:
        path = find_list(setting, "avh-align", f"{side}_labels.csv")
        table, column = read_csv(path), "path"
    told = "category" if setting.dataset == "fakeavceleb" else "label"
    need_columns(table, (column, told), path)
    known = ("A", "B", "C", "D") if told == "category" else ("0", "1")
    wrong = ~table[told].isin(known)
    if wrong.any():
        raise DataError(f"{path} line {wrong.idxmax()}: {told} is {table.at[wrong.idxmax(), told]!r}")
    key = name_key if setting.dataset == "fakeavceleb" else _without_split
    clips = labelled(pick(setting, table[column], path.name, key))
    real = dict(zip(table[column].map(key), table[told].isin(("A", "0")), strict=True))
    compare_labels(setting, clips, (real[key(file)] for file in clips["file"]), path.name)
    return clips


def _without_split(file: str) -> str:
    return file.removeprefix("train/").removeprefix("val/")


PROTOCOL = Protocol(
    definition="FakeAVCeleb: the lists of 13,380 / 1,497 / 6,667 clips, parted by source. AV-Deepfake1M: the lists of "
    "45,000 / 5,000 / 10,000 clips, the last from val.",
    source="bit-ml/AVH-Align, avh_sup/csv_metadata; AVH-Align itself trains on real clips of AV-Deepfake1M",
    not_controlled="Identities: every one of the 6,667 test clips shows somebody who is in a training clip, as source "
    "or target. 97.7 % of them are fake, so the AP of a random score is 0.977. AV-Deepfake1M's sides share subjects.",
    folds=one_fold,
    sides=sides,
    corpora=("fakeavceleb", "avdeepfake1m"),
)
