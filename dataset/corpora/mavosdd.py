"""MAVOS-DD: a Hugging Face data set on disk, an Arrow stream beside the clips."""

from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa

from dataset.corpora.metadata import is_name, need, need_folder, read_json, with_slashes
from dataset.corpora.table import Corpus, Notes, clip_table, methods
from utils.errors import DataError

COUNTS = {"train": 19_770, "val": 3_295, "test": 37_299}
COLUMNS = ("video_path", "label", "split", "generative_method", "audio_generative_method")
OPEN_SET = {"open_set_language": "language", "open_set_model": "model"}
# In the root, or in the folders of a data set that was saved split by split.
PLACES = ("[!.]*.arrow", *(f"{split}/[!.]*.arrow" for split in ("train", "validation", "test")))
# With which the name of a clip ends: the video of YouTube that drives it.
YOUTUBE = r"([\w-]{11})(?:_\d+p)?_\d+_\d+(?:_\d+fps)?(?:\.\w+)*$"


def read(root: Path) -> pd.DataFrame:
    """Read the Arrow files that ``state.json`` names, or all in the root."""
    notes = Notes()
    place = root / "data-*.arrow"
    table = need(_read_all(root, notes), place, COLUMNS)
    nameless = ~is_name(table["video_path"])
    if nameless.any():
        raise DataError(f"{place}: row {nameless.idxmax() + 1} has no video_path")
    label = table["label"].astype(str).str.lower().map({"real": 1, "fake": 0}).astype("Int64")
    generator, voice = (table[name].fillna("real").astype(str) for name in COLUMNS[3:])
    video, audio = ((made_by.str.lower() == "real").astype("Int64") for made_by in (generator, voice))
    for name, of_method in (("video_fake", video), ("audio_fake", audio)):  # told in newer releases only
        if name in table:
            labels = table[name].map({True: 0, False: 1}).astype("Int64")
            notes.add(labels != of_method, f"clips have {name} against their method; {name} counts")
            of_method.update(labels)
    odd = ((video & audio) != label).fillna(False)
    notes.add(odd, "clips have a label against their methods: their streams are not labelled")
    file = with_slashes(table["video_path"])
    clips = pd.DataFrame(
        {
            "file": file,
            "subject": file.str.extract(YOUTUBE)[0],
            "v_label": video.mask(odd),
            "a_label": audio.mask(odd),
            "m_label": label,
            "method": methods(_unless_real(generator), _unless_real(voice)).fillna("real"),
            "split": table["split"],
        }
    )
    return clip_table(clips, root, notes, COUNTS)


def _unless_real(made_by: pd.Series) -> pd.Series:
    return made_by.mask(made_by.str.lower() == "real", "")


def open_set(root: Path) -> pd.DataFrame | None:
    """Whether language and method of each clip are in the test alone, as the owners say: `language`, `model` a file.

    None where the Arrow files, or these columns of theirs, are not there.
    """
    table = _read_all(root, Notes()) if _arrow_files(root) else pd.DataFrame()
    if not {"video_path", *OPEN_SET} <= set(table):
        return None
    flags = table[[*OPEN_SET]].fillna(False).astype(bool).rename(columns=OPEN_SET)
    flags = flags.set_index(with_slashes(table["video_path"].astype(str)))
    return flags[~flags.index.duplicated()]


def _read_all(root: Path, notes: Notes) -> pd.DataFrame:
    """The rows of all Arrow files: those that ``state.json`` names, as far as they are there, else all."""
    need_folder(root, "data-*.arrow", *PLACES)
    try:
        named = [root / entry["filename"] for entry in read_json(root / "state.json")["_data_files"]]
    except (FileNotFoundError, KeyError, TypeError):
        named = []
    files = [path for path in named if path.is_file()]
    if len(files) < len(named):
        notes.append(f"{len(named) - len(files)} of the {len(named)} Arrow files that state.json names are not there")
    files = files or _arrow_files(root)
    table = pd.concat([_read_arrow(path) for path in files], ignore_index=True)
    if table.empty:
        raise DataError(f"{files[0]}: holds no row")
    return table


def _arrow_files(root: Path) -> list[Path]:
    """All in the root, else those in the folders of its splits."""
    return sorted(root.glob(PLACES[0])) or sorted(chain.from_iterable(map(root.glob, PLACES[1:])))


def _read_arrow(path: Path) -> pd.DataFrame:
    try:
        with pa.memory_map(str(path)) as source:
            try:
                return pa.ipc.open_stream(source).read_all().to_pandas()
            except pa.ArrowInvalid:  # `datasets` writes streams; other tools write files
                return pa.ipc.open_file(source).read_all().to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not an Arrow file that can be read ({str(error).splitlines()[0]})") from error


CORPUS = Corpus(
    read,
    "the driving video of each clip where its name tells one, else the clip itself; people are not named, so one may "
    "be on both sides of the split",
    COUNTS,
)
