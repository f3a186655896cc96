"""KoDF, in either shape: AI-Hub's Korean csv files somewhere in the tree, or an unpacked copy whose names tell all."""

import re
import unicodedata
from pathlib import Path

import pandas as pd

from dataset.corpora.metadata import by_name, media_files, need, place, stems, walk
from dataset.corpora.table import Corpus, Notes, clip_table
from utils.errors import DataError
from utils.files import read_csv

COUNTS = {"real": 62_166, "fake": 175_776}
VIDEO, PERSON, TARGET, SOURCE, MODEL, GENDER = "영상ID", "UUID", "타겟UUID", "소스UUID", "변조모델", "인물성별"
GENDERS = {"남성": "men", "여성": "women"}
MODELS = {"1": "dfl", "2": "dffs", "3": "fsgan", "4": "fo", "5": "audio-driven"}  # the digit in a fake's name
ACTOR = r"(?:[0-9a-f]{20}|\d{6})"
NAME = rf"^(?P<target>{ACTOR})_(?:(?P<source>{ACTOR})_(?P<code>\d)_)?\d+$"
UNKNOWN = "unknown"  # method of a fake whose model is not told, until the streams are labelled
COLUMNS = ("line", "file", "name", "method", "subject", "target1", "gender", "split")


def read(root: Path) -> pd.DataFrame:
    """Match the csv files, if there are any, with the clips by their names; clips that none names by those names.

    All voices are real; ``audio-driven`` lips were made for the speech of another recording.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --data_root must be the folder of KoDF")
    notes = Notes()
    places = by_name(media_files(root, root), notes)
    table = _from_csv(root, places, notes)
    named = set(table["file"])
    others = _from_names([file for file in places.values() if file not in named], notes)
    table = pd.concat([table, others], ignore_index=True)
    if table.empty:
        raise DataError(f"{root}: holds neither clips nor csv files with a column {VIDEO}")
    is_labelled = table["method"] != ""
    table["v_label"] = (table["method"] == "real").astype("Int64").where(is_labelled)
    table["a_label"] = pd.Series(1, table.index, dtype="Int64").where(is_labelled)
    table["method"] = table["method"].replace(UNKNOWN, "")
    return clip_table(table, root, notes, COUNTS)


def _from_csv(root: Path, places: dict[str, str], notes: Notes) -> pd.DataFrame:
    """Rows of the csv files; of a clip that several name, that of the split in whose folder it lies, else the first."""
    paths = [root / file for file in walk(root, root) if file.lower().endswith(".csv")]
    parts = [_read_one(path, root) for path in paths if _is_metadata(path)]
    if not parts:
        return pd.DataFrame(columns=COLUMNS, dtype=object)
    table = pd.concat(parts, ignore_index=True)
    table["file"] = place(table["name"], places, "the csv files", notes)
    in_two = table.groupby("file")["split"].transform("nunique") > 1
    text = "clips are in the csv files of two splits (such as {}); the folder decides, else the first file"
    notes.add(sorted(set(table["file"][in_two])), text)
    table["elsewhere"] = table["file"].map(_split_of) != table["split"]
    first = table.sort_values("elsewhere", kind="stable").drop_duplicates("file").index
    return table[~in_two | table.index.isin(first)]


def _is_metadata(path: Path) -> bool:
    """Whether a csv is one of originals or of fakes."""
    with path.open("rb") as head:
        start = head.read(400)
    return any(VIDEO in unicodedata.normalize("NFC", start.decode(code, "ignore")) for code in ("utf-8", "cp949"))


def _read_one(path: Path, root: Path) -> pd.DataFrame:
    table = read_csv(path, ("utf-8-sig", "cp949"))
    table.columns = [unicodedata.normalize("NFC", name) for name in table.columns]
    need(table, path, (VIDEO,), filled=(VIDEO,))
    is_fake = MODEL in table
    table = table.reindex(columns=[VIDEO, PERSON, TARGET, SOURCE, MODEL, GENDER], fill_value="")
    name = table[VIDEO]
    rows = {
        "name": name.where(name.str.contains(r"\.\w{2,4}$"), name + ".mp4"),
        "method": table[MODEL].str.lower().replace("", UNKNOWN) if is_fake else "real",
        "subject": table[TARGET if is_fake else PERSON],
        "target1": table[SOURCE].where(table[SOURCE] != table[TARGET], "") if is_fake else "",
        "gender": table[GENDER].map(GENDERS),
        "split": _split_of(path.name) or _split_of(str(path.relative_to(root))),
    }
    return pd.DataFrame(rows, index=table.index).rename_axis("line").reset_index()


def _split_of(path: str) -> str:
    """The split that a path tells, by the last of its parts that does."""
    words = re.findall(r"train|valid|test", path.lower())
    return words[-1].removesuffix("id") if words else ""


def _from_names(files: list[str], notes: Notes) -> pd.DataFrame:
    """Rows of clips by their names: an actor and a number, or target, source, a digit for the model, and a number."""
    table = pd.DataFrame({"file": files, "line": range(1, len(files) + 1)}).astype({"file": object})
    names, by_folder = stems(table["file"]).str.extract(NAME), table["file"].map(_by_folder)
    is_known, is_fake = names["target"].notna(), names["source"].notna()
    text = "clips are in no csv and have names of no known form (such as {}): labelled by their folders, if these tell"
    notes.add(~is_known, text, table["file"])
    return table.assign(
        method=names["code"].map(MODELS).fillna(by_folder).where(is_fake, "real").where(is_known, by_folder),
        subject=names["target"],
        target1=names["source"].where(names["source"] != names["target"]),
        split=table["file"].map(_split_of),
    )


def _by_folder(file: str) -> str:
    """The method that the folders of a clip tell, or empty."""
    folders = file.lower().split("/")[:-1]
    if "original_videos" in folders:
        return "real"
    named = next((model for model in MODELS.values() if model in folders), "")
    return named or (UNKNOWN if "synthesized_videos" in folders else "")


CORPUS = Corpus(
    read,
    "people (the target of a fake); whether train and val share any is not known",
    COUNTS,
    full_frames=True,
)
