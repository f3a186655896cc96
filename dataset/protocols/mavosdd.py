"""mavosdd-…: MAVOS-DD's official split, with known or unknown methods and languages among its test clips."""

from __future__ import annotations

import pandas as pd

from dataset.corpora.mavosdd import open_set
from dataset.protocols import official
from dataset.protocols.base import Protocol, Setting, Sides, one_fold


def _protocol(open_model: bool, open_language: bool, definition: str) -> Protocol:
    def sides(setting: Setting, fold: str) -> Sides:
        parted = official.sides(setting, fold)
        told = open_set(setting.root)
        if told is None:
            language, method = _unseen(parted, 0), _unseen(parted, 1)
        else:
            of_test = told.reindex(parted.test["file"], fill_value=False).set_axis(parted.test.index)
            language, method = of_test["language"], of_test["model"]
        # A clip with both unknown is in the open set alone.
        kept = ~language & ~method | (language & ~method & open_language) | (method & ~language & open_model)
        both = kept | (language & method & open_model & open_language)
        return parted._replace(test=parted.test[both])

    return Protocol(
        definition=definition,
        source="CroitoruAlin/MAVOS-DD",
        not_controlled="People, whom the corpus does not name.",
        folds=one_fold,
        sides=sides,
        corpora=("mavosdd",),
    )


def _unseen(sides: Sides, position: int) -> pd.Series:
    """Whether the language (0) or the method (1) of each test clip, by its path, is in no training clip.

    For tables that do not say it: see `open_set`.
    """
    told = [clips["file"].str.split("/").str[position] for clips in (sides.train, sides.test)]
    return ~told[1].isin(set(told[0]))


PROTOCOLS = {
    "mavosdd-closed": _protocol(False, False, "Test clips whose method and language the owners call known."),
    "mavosdd-open-model": _protocol(True, False, "mavosdd-closed, and test clips of other methods in known languages."),
    "mavosdd-open-language": _protocol(False, True, "mavosdd-closed, and test clips of known methods in others."),
    "mavosdd-open-set": _protocol(True, True, "All test clips."),
}
