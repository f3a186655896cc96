"""Protocols by the split that a corpus comes with, and what the owners of LAV-DF and MAVOS-DD test of it."""

from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd

from dataset.corpora import fold_numbers
from dataset.protocols.base import Protocol, Setting, Sides, labelled
from utils.errors import DataError

WORDS = {"train", "val", "test", ""}


def folds(setting: Setting) -> Mapping[str, str]:
    """One, or those that the table numbers."""
    return {f"train_{number}": "" for number in fold_numbers(setting.clips)}


def sides(setting: Setting, fold: str) -> Sides:
    """Clips by their column split; where the labels of the test are withheld, or there is none, val is tested.

    A DataError if the corpus has no split, or no clip to test on.
    """
    clips = setting.clips
    if not (clips["split"] != "").any():
        raise DataError("--protocol official: this corpus comes without a split; subjects-5fold makes one")
    if not set(clips["split"]) <= WORDS:
        is_test = clips["split"] == fold.removeprefix("train_")
        return Sides(clips[~is_test], None, clips[is_test])
    train, val, test = (clips[clips["split"] == side] for side in ("train", "val", "test"))
    unknown = sum(side["m_label"].isna().sum() for side in (train, val))
    if unknown:
        setting.notes.append(f"{unknown:,} clips of train and val have no label and are left out")
    train, val = labelled(train), labelled(val)
    if labelled(test).empty and len(val):
        setting.notes.append("the test has no labels: val is tested, as papers do; no other clips are validated on")
        return Sides(train, None, val)
    if test.empty:
        raise DataError("--protocol official: the split has no clip to test on")
    return Sides(train, val if len(val) else None, test)


def lavdf(setting: Setting, fold: str, dropped: str) -> Sides:
    """The official sides, without test clips of one category."""
    official = sides(setting, fold)
    return official._replace(test=official.test[official.test["category"] != dropped])


def mavosdd(setting: Setting, fold: str, open_model: bool, open_language: bool) -> Sides:
    """The official sides, with test clips of unknown methods or languages or without."""
    from dataset.corpora.mavosdd import open_set

    official = sides(setting, fold)
    flags = open_set(setting.root)
    if flags is None:
        language, method = _unseen(official, 0), _unseen(official, 1)
    else:
        of_test = flags.reindex(official.test["file"], fill_value=False).set_axis(official.test.index)
        language, method = of_test["language"], of_test["model"]
    # A clip with both unknown is in the open set alone.
    kept = ~language & ~method | (language & ~method & open_language) | (method & ~language & open_model)
    both = kept | (language & method & open_model & open_language)
    return official._replace(test=official.test[both])


def _unseen(official: Sides, position: int) -> pd.Series:
    """Whether the language (0) or the method (1) of each test clip, by its path, is in no training clip.

    For tables that do not say it: see `open_set`.
    """
    trained, tested = (clips["file"].str.split("/").str[position] for clips in (official.train, official.test))
    return ~tested.isin(set(trained))


def _of(corpus: str, definition: str, sides: Callable[[Setting, str], Sides]) -> Protocol:
    source = {"lavdf": "ControlNet/LAV-DF, evaluate.py", "mavosdd": "CroitoruAlin/MAVOS-DD"}[corpus]
    return Protocol(definition, source, "People, whom the corpus does not name.", sides, corpora=(corpus,))


PROTOCOLS = {
    "official": Protocol(
        definition="The split that the corpus comes with. Where the labels of its test are withheld (AV-Deepfake1M), "
        "or it has none (KoDF's download), val is tested. No other clips are validated on: recipe released picks the "
        "epoch on these.",
        source="the owners of the corpus",
        not_controlled="Whatever the owners do not: AV-Deepfake1M's train and val share most subjects; DFDC, LAV-DF "
        "and MAVOS-DD do not name people.",
        folds=folds,
        sides=sides,
    ),
    "lavdf-full": _of("lavdf", "LAV-DF's train, dev and test (26,100 clips).", sides),
    "lavdf-visual": _of(
        "lavdf",
        "As lavdf-full, without test clips of which only the audio is fake.",
        partial(lavdf, dropped="B"),
    ),
    "lavdf-audio": _of(
        "lavdf",
        "As lavdf-full, without test clips of which only the video is fake.",
        partial(lavdf, dropped="C"),
    ),
    "mavosdd-closed": _of(
        "mavosdd",
        "Test clips whose method and language the owners call known.",
        partial(mavosdd, open_model=False, open_language=False),
    ),
    "mavosdd-open-model": _of(
        "mavosdd",
        "mavosdd-closed, and test clips of other methods in known languages.",
        partial(mavosdd, open_model=True, open_language=False),
    ),
    "mavosdd-open-language": _of(
        "mavosdd",
        "mavosdd-closed, and test clips of known methods in others.",
        partial(mavosdd, open_model=False, open_language=True),
    ),
    "mavosdd-open-set": _of("mavosdd", "All test clips.", partial(mavosdd, open_model=True, open_language=True)),
}
