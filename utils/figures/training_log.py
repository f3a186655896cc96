"""What a training run has logged, epoch by epoch."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def read_training_log(folder: Path) -> pd.DataFrame:
    """Read the metrics of a fold, whether it was trained in one go or resumed.

    Parameters
    ----------
    folder
        Folder of a fold, such as outputs/log/MRDF_CE/train_1, with version_0/metrics.csv and so on.

    Returns
    -------
    pandas.DataFrame
        One row an epoch, sorted by the column epoch, which counts from 0. Each version replaces the earlier ones from
        its first epoch on: what they logged later belongs to a run that was given up.

    Raises
    ------
    FileNotFoundError
        If nothing has been logged.
    ValueError
        If a file is no log of Lightning's CSVLogger.
    """
    folder = Path(folder)
    numbered = {
        path.parent.name.removeprefix("version_"): path
        for path in folder.glob("version_*/metrics.csv")
        if path.stat().st_size
    }
    paths = [numbered[number] for number in sorted(filter(str.isdecimal, numbered), key=int)]
    if not paths:
        raise FileNotFoundError(f"{folder} has no version_*/metrics.csv: train the fold first")
    epochs = pd.DataFrame()
    for path in paths:
        version = _read(path)
        if len(version):
            epochs = pd.concat([epochs.loc[epochs.index < version.index[0]], version])
    return epochs.rename_axis("epoch").reset_index()


def by_epoch(table: pd.DataFrame) -> pd.DataFrame:
    """Merge the rows of each epoch; of what was logged more than once, the last stays. The index is the epoch.

    Raises
    ------
    ValueError
        If there is no column epoch.
    """
    if "epoch" not in table:
        raise ValueError("a log of training has no column epoch")
    table = table.dropna(subset="epoch")
    return table.astype({"epoch": int}).groupby("epoch", sort=True).last()


def _read(path: Path) -> pd.DataFrame:
    try:
        return by_epoch(pd.read_csv(path, dtype=float))
    except ValueError as error:
        raise ValueError(f"{path} does not read as a log of training: {error}") from error
