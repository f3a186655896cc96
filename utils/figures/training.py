"""What training has logged: losses and metrics of the validation clips over the epochs."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from utils.errors import DataError
from utils.figures.style import caption, fold_looks, new_figure, say, tidy

# Panels with the names of their column; the first that was logged is drawn.
PANELS = {
    "Training loss": ("train_loss_epoch", "train_loss"),
    "Validation loss": ("val_loss",),
    "Validation ACC": ("val_acc",),
    "Validation AUC of the scores": ("val_auc",),
    "Validation hard AUC": ("val_auc_hard",),
}


def draw_training_curves(logs: Mapping[str, pd.DataFrame], chosen: Mapping[str, int], title: str) -> Figure:
    """Draw losses and validation metrics over the epochs of each fold, which count from 1, the chosen epoch marked.

    Logs are as `read_training_log` has them; `DataError` says so if none has any of what is drawn. The epoch that was
    kept counts from 0, as in the log; a fold without one gets no mark.
    """
    epochs = {name: by_epoch(table) for name, table in logs.items()}
    curves = {panel: _curves(epochs, columns) for panel, columns in PANELS.items()}
    if not any(curves.values()):
        raise DataError("no fold has logged a loss or a figure of an epoch: there is no training curve to draw")
    figure = new_figure(7.4, title)
    panels = figure.subplots(3, 2, sharex=True).flat
    longest = max(table.index.max() for table in epochs.values() if len(table)) + 1
    panels[0].set_xlim(0.5, longest + 0.5 + 0.02 * longest)
    looks = fold_looks(logs)
    for axes, (panel, folds) in zip(panels, curves.items(), strict=False):
        tidy(axes, panel, ylabel="Loss" if "loss" in panel else "Fraction")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("Epoch", fontsize=9)
        for name, curve in folds.items():
            look, epoch = looks[name], chosen.get(name)
            point = look.marker if len(curve) == 1 else None  # a line of one point cannot be seen
            axes.plot(curve.index + 1, curve, **look.line, linewidth=1.4, marker=point, markersize=4)
            if epoch in curve.index:
                mark = {"color": look.colour, "markeredgecolor": "black", "markersize": 6, "zorder": 3}
                axes.plot(epoch + 1, curve[epoch], look.marker, **mark)
        if not folds:
            say(axes, "not logged")
            axes.set_yticks([])
    panels[-1].axis("off")
    handles = []
    for name, table in epochs.items():
        label = f"{name}: {len(table)} epoch{'s' * (len(table) != 1)}"
        label += f", chosen {chosen[name] + 1}" if name in chosen else ""
        handles.append(
            Line2D([], [], markeredgecolor="black", label=label, marker=looks[name].marker, **looks[name].line)
        )
    panels[-1].legend(handles=handles, loc="center", fontsize=8, handlelength=5, frameon=False)
    missing = [  # of single folds; a panel that is empty says so itself
        f"{panel[0].lower()}{panel[1:]} of {name}"
        for panel, folds in curves.items()
        for name in epochs
        if folds and name not in folds
    ]
    caption(
        figure,
        f"n = {len(logs)} fold{'s' * (len(logs) > 1)}.",
        "Marks: the chosen epoch." if chosen else "The chosen epoch is not known.",
        f"Not logged: {', '.join(missing)}." if missing else "",
    )
    return figure


def _curves(epochs: dict[str, pd.DataFrame], columns: tuple[str, ...]) -> dict[str, pd.Series]:
    """Take the first of some columns that each fold has logged; folds without any are left out."""
    curves = {}
    for name, table in epochs.items():
        logged = [table[column].dropna() for column in columns if column in table and table[column].notna().any()]
        if logged:
            curves[name] = logged[0]
    return curves


def chosen_epoch(table: pd.DataFrame, selection: str | None) -> int | None:
    """Return the epoch that training kept: the first with the highest validation figure; None if none was logged."""
    epochs = by_epoch(table)
    column = f"val_{selection}"
    if column not in epochs or epochs[column].isna().all():
        return None
    return int(epochs[column].idxmax())


def read_training_log(folder: Path) -> pd.DataFrame:
    """Read the metrics of a fold, whether it was trained in one go or resumed, from version_0/metrics.csv and so on.

    One row an epoch, sorted by the column epoch, which counts from 0. Each version replaces the earlier ones from its
    first epoch on: what they logged later belongs to a run that was given up. FileNotFoundError says so if nothing has
    been logged, `DataError` if a file is no log of Lightning's CSVLogger.
    """
    logs = {path.parent.name.removeprefix("version_"): path for path in folder.glob("version_*/metrics.csv")}
    paths = [logs[number] for number in sorted(filter(str.isdecimal, logs), key=int) if logs[number].stat().st_size]
    if not paths:
        raise FileNotFoundError(f"{folder} has no version_*/metrics.csv: train the fold first")
    epochs = pd.DataFrame()
    for path in paths:
        try:
            version = by_epoch(pd.read_csv(path, dtype=float))
        except ValueError as error:
            raise DataError(f"{path} does not read as a log of training: {error}") from error
        if len(version):
            epochs = pd.concat([epochs.loc[epochs.index < version.index[0]], version])
    return epochs.rename_axis("epoch").reset_index()


def by_epoch(table: pd.DataFrame) -> pd.DataFrame:
    """Merge the rows of each epoch, which becomes the index; of what was logged more than once, the last stays."""
    if "epoch" not in table:
        raise DataError("a log of training has no column epoch")
    table = table.dropna(subset="epoch")
    return table.astype({"epoch": int}).groupby("epoch", sort=True).last()
