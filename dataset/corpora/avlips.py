"""AVLips: two folders, and nothing else is told."""

from pathlib import Path

import pandas as pd

from dataset.corpora.metadata import media_files, need_folder
from dataset.corpora.table import Corpus, clip_table

COUNTS = {"real": 3_396, "fake": 4_206}  # of one user; the owners count images
FOLDERS = {"0_real": 1, "1_fake": 0}


def read(root: Path) -> pd.DataFrame:
    """Read the clips in ``0_real`` and ``1_fake``, whose audio is in the mp4; fakes are lips made for real speech."""
    need_folder(root, "0_real and 1_fake", *FOLDERS)
    files = {folder: media_files(root / folder, root) for folder in FOLDERS}
    rows = [(file, FOLDERS[folder], 1) for folder, names in files.items() for file in names]
    notes = [f"{folder} holds no clip" for folder, names in files.items() if not names]
    return clip_table(pd.DataFrame(rows, columns=["file", "v_label", "a_label"]), root, notes, COUNTS)


CORPUS = Corpus(
    read,
    "each clip by itself; neither people nor sources are told, so both may be on both sides of folds by it",
    COUNTS,
    full_frames=True,
)
