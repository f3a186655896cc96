"""lavdf-full, lavdf-visual and lavdf-audio: LAV-DF's official split, with all or two kinds of its test clips."""

from __future__ import annotations

from dataset.protocols import official
from dataset.protocols.base import Protocol, Setting, Sides, one_fold


def _protocol(dropped: str, definition: str) -> Protocol:
    def sides(setting: Setting, fold: str) -> Sides:
        parted = official.sides(setting, fold)
        return parted._replace(test=parted.test[parted.test["category"] != dropped])

    return Protocol(
        definition=definition,
        source="ControlNet/LAV-DF, evaluate.py",
        not_controlled="People, whom the corpus does not name.",
        folds=one_fold,
        sides=sides,
        corpora=("lavdf",),
    )


PROTOCOLS = {
    "lavdf-full": _protocol("none", "LAV-DF's train, dev and test (26,100 clips)."),
    "lavdf-visual": _protocol("B", "As lavdf-full, without test clips of which only the audio is fake."),
    "lavdf-audio": _protocol("C", "As lavdf-full, without test clips of which only the video is fake."),
}
