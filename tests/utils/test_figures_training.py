"""Logs of training as Lightning writes them, of resumed runs too, and their curves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pytorch_lightning.loggers import CSVLogger

from tests.utils.test_figures_curves import words
from tests.utils.test_figures_layout import assert_readable, log
from utils.errors import DataError
from utils.figures.training import chosen_epoch, draw_training_curves, read_training_log


def write_version(folder: Path, version: int, epochs: range, value: float) -> None:
    """Write a log in the order of train.py: steps, validation, then the means of the epoch."""
    logger = CSVLogger(folder.parent, name=folder.name, version=version)
    for epoch in epochs:
        logger.log_metrics({"epoch": epoch, "train_loss_step": 9.0}, step=2 * epoch)
        logger.log_metrics({"epoch": epoch, "val_loss": value + epoch, "val_acc": 0.5}, step=2 * epoch + 1)
        logger.log_metrics({"epoch": epoch, "train_loss_epoch": 2 * value + epoch, "lr": 1e-3}, step=2 * epoch + 1)
        logger.save()


def test_rows_of_an_epoch_are_merged(tmp_path: Path) -> None:
    write_version(tmp_path / "train_1", 0, range(3), 1.0)
    table = read_training_log(tmp_path / "train_1")
    assert table["epoch"].tolist() == [0, 1, 2]
    assert table["val_loss"].tolist() == [1, 2, 3]
    assert table["train_loss_epoch"].tolist() == [2, 3, 4]
    assert table["val_acc"].tolist() == [0.5] * 3


def test_resumed_run_takes_over_from_its_first_epoch(tmp_path: Path) -> None:
    folder = tmp_path / "train_1"
    write_version(folder, 0, range(5), 10.0)
    write_version(folder, 2, range(3, 4), 20.0)
    write_version(folder, 10, range(4, 6), 30.0)  # after 2, though not by its letters
    (folder / "version_11").mkdir()  # started, and wrote nothing
    (folder / "version_11" / "metrics.csv").touch()
    table = read_training_log(folder)
    assert table["epoch"].tolist() == [0, 1, 2, 3, 4, 5]
    assert table["val_loss"].tolist() == [10, 11, 12, 23, 34, 35]


def test_run_started_anew_replaces_the_earlier_one(tmp_path: Path) -> None:
    write_version(tmp_path / "train_1", 0, range(9), 10.0)
    write_version(tmp_path / "train_1", 1, range(2), 20.0)
    assert read_training_log(tmp_path / "train_1")["val_loss"].tolist() == [20, 21]


def test_logs_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train_1 has no version_\*/metrics.csv: train the fold first"):
        read_training_log(tmp_path / "train_1")
    path = tmp_path / "train_1" / "version_0" / "metrics.csv"
    path.parent.mkdir(parents=True)
    for content, reason in (("step,lr\n1,2\n", "no column epoch"), ("epoch,lr\n0,high\n", "could not convert")):
        path.write_text(content)
        with pytest.raises(ValueError, match=rf"metrics.csv does not read as a log of training: .*{reason}"):
            read_training_log(tmp_path / "train_1")


def test_curves_and_marks() -> None:
    logs = {"train_1": log(1, 6), "train_2": log(2, 4)}
    figure = draw_training_curves(logs, {"train_1": 3, "train_2": 0}, "title")
    columns = ("train_loss_epoch", "val_loss", "val_acc", "val_auc", "val_auc_hard")
    for axes, column in zip(figure.axes, columns, strict=False):
        first, first_mark, second, second_mark = axes.lines
        assert_allclose(first.get_data(), [range(1, 7), logs["train_1"][column]])
        assert_allclose(second.get_data(), [range(1, 5), logs["train_2"][column]])
        assert_allclose(np.ravel(first_mark.get_data()), [4, logs["train_1"][column][3]])
        assert_allclose(np.ravel(second_mark.get_data()), [1, logs["train_2"][column][0]])
        assert first.get_linestyle() != "None"
        assert first_mark.get_marker() != second_mark.get_marker()
    labels = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert labels == ["train_1: 6 epochs, chosen 4", "train_2: 4 epochs, chosen 1"]
    assert "n = 2 folds." in words(figure)


def test_metrics_file_as_it_is_on_disk(tmp_path: Path) -> None:
    write_version(tmp_path / "train_1", 0, range(2), 1.0)
    table = pd.read_csv(tmp_path / "train_1" / "version_0" / "metrics.csv")
    axes = draw_training_curves({"train_1": table}, {}, "title").axes[0]
    assert_allclose(axes.lines[0].get_data(), [[1, 2], [2, 3]])


def test_missing_columns_are_said_in_words() -> None:
    without = log(1, 3).drop(columns=["val_auc", "val_auc_hard"])
    figure = draw_training_curves({"train_1": without, "train_2": log(2, 3).drop(columns="val_auc")}, {}, "title")
    assert words(figure).count("not logged") == 1  # the panel of the AUC
    assert "Not logged: validation hard AUC of train_1." in words(figure)
    assert "The chosen epoch is not known." in words(figure)
    assert_readable(figure)


def test_single_epoch_is_a_point() -> None:
    figure = draw_training_curves({"train_1": log(1, 1)}, {"train_1": 0}, "title")
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert "train_1: 1 epoch, chosen 1" in words(figure)
    assert [tick for tick in figure.axes[0].get_xticks() if 0.5 < tick < 1.5] == [1]


def test_nothing_logged() -> None:
    with pytest.raises(DataError, match=r"no fold has logged .*: there is no training curve to draw"):
        draw_training_curves({"train_1": pd.DataFrame({"epoch": [0], "lr": [0.1]})}, {}, "title")
    with pytest.raises(DataError, match=r"no fold has logged"):
        draw_training_curves({}, {}, "title")


def test_chosen_epoch_is_the_first_of_the_best() -> None:
    table = pd.DataFrame({"epoch": [0, 1, 2, 3], "val_auc": [0.5, np.nan, 0.9, 0.9], "val_acc_auc": np.nan})
    assert chosen_epoch(table, "auc") == 2
    assert chosen_epoch(table, "acc_auc") is None
    assert chosen_epoch(table, None) is None
