"""DeepSpeak v1.1 and v2: three csv files; the clips are found by their names."""

from collections import Counter
from pathlib import Path

import pandas as pd

from dataset.corpora.metadata import by_name, media_files, need, need_folder, place, real_by_folder
from dataset.corpora.table import Corpus, Notes, clip_table, methods
from utils.files import read_csv

FAKE, REAL, SPLIT = "annotations-fake.csv", "annotations-real.csv", "annotations-split-def.csv"
# The column of the fakes that tells a version, and how many real and fake clips were published with it.
VERSIONS = {
    "recording-target-ai-generated": {"real": 6_667, "fake": 6_796},
    "audio-config": {"real": 9_376, "fake": 7_209},
}


def read(root: Path) -> pd.DataFrame:
    """Read a version, or all those in folders of the root."""
    need_folder(root, FAKE, FAKE, REAL, f"*/{FAKE}", f"*/{REAL}")
    here = [root] if (root / FAKE).is_file() or (root / REAL).is_file() else []
    versions = here or sorted({path.parent for name in (FAKE, REAL) for path in root.glob(f"*/{name}")})
    notes, published = Notes(), Counter[str]()
    parts = [_read_version(folder, root, notes, published) for folder in versions]
    return clip_table(pd.concat(parts, ignore_index=True), root, notes, published)


def _read_version(folder: Path, root: Path, notes: Notes, published: Counter[str]) -> pd.DataFrame:
    places = by_name(media_files(folder, root), notes)
    parts = []
    if (folder / FAKE).is_file():
        parts.append(_fakes(folder / FAKE, notes, published))
    if (folder / REAL).is_file():
        parts.append(_reals(folder / REAL))
    table = pd.concat(parts, ignore_index=True)
    prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    table["file"] = place(table["name"], places, "the annotations", notes, prefix)
    unnamed = _unnamed(pd.Series(sorted(set(places.values()) - set(table["file"])), dtype=object), notes)
    table = pd.concat([table, unnamed], ignore_index=True).fillna({"target1": "", "subject": ""})
    table["split"] = _splits(table, folder, notes)
    for people in ("subject", "target1"):  # numbered anew in each version
        table[people] = (prefix + table[people]).where(table[people] != "", "")
    return table


def _reals(path: Path) -> pd.DataFrame:
    columns = ("video-file", "identity")
    reals = need(read_csv(path), path, columns, filled=columns)
    rows = {"name": reals["video-file"], "subject": reals["identity"], "target1": "", "v_label": 1, "a_label": 1}
    return pd.DataFrame(rows).rename_axis("line").reset_index()


def _fakes(path: Path, notes: Notes, published: Counter[str]) -> pd.DataFrame:
    fakes = read_csv(path)
    version = next((column for column in VERSIONS if column in fakes), "audio-config")
    columns = ("video-file", "engine", "identity-source", "identity-target", version)
    need(fakes, path, columns, filled=("video-file", "identity-target"))
    published.update(VERSIONS[version])
    name, engine, source, target, audio = (fakes[column] for column in columns)
    if version == "audio-config":
        is_real = audio.str.lower() == "real"
        voice = audio.mask(is_real, "")
        # The csv calls the voice of every hellomeme clip real; the names of 826 say otherwise.
        spoken = name.str.extract(r"-([A-Za-z]+)\.\w+$")[0].fillna("")
        doubtful = (engine == "hellomeme") & is_real & ~spoken.isin(["", "real"])
        text = "hellomeme clips have a real voice by the csv and a made one by their names: their audio is not labelled"
        notes.add(doubtful, text)
    else:
        is_real = audio.str.lower() != "true"
        voice, doubtful = pd.Series("", fakes.index), False
    rows = pd.DataFrame(
        {
            "name": name,
            "subject": target,
            "target1": source.where(source != target, ""),
            "v_label": 0,
            "a_label": is_real.astype("Int64").mask(doubtful | (audio == "")),
            "method": methods(engine, voice),
        }
    )
    return rows.rename_axis("line").reset_index()


def _unnamed(files: pd.Series, notes: Notes) -> pd.DataFrame:
    """Clips that no annotation names: real or fake by their folder; names of real ones begin with their identity."""
    notes.add(list(files), "clips are in no annotation (such as {}); their folder labels them")
    real = real_by_folder(files)
    subject = files.str.extract(r"(?:^|/)(\d+)-\d+\.\w+$")[0]
    return pd.DataFrame({"file": files, "subject": subject, "v_label": real, "a_label": real.where(real == 1)})


def _splits(table: pd.DataFrame, folder: Path, notes: Notes) -> pd.Series:
    """By identity, as the owners say; where they do not, by folder."""
    by_folder = table["file"].str.extract(r"(?:^|/)(train|test)/")[0].fillna("")
    path = folder / SPLIT
    if not path.is_file():
        notes.append(f"{SPLIT} is missing: clips are split by their folders")
        return by_folder
    given = need(read_csv(path), path, ("identity", "split"))
    of = dict(zip(given["identity"], given["split"].str.lower(), strict=True))
    split = table["subject"].map(of)
    across = (table["target1"].map(of).fillna(split) != split) & split.notna()
    notes.add(across, "fakes have their source on the other side of the split")
    return split.fillna(by_folder)


CORPUS = Corpus(read, "people (the one on screen)", full_frames=True)
