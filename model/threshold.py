"""From which score on a clip is called real, as a checkpoint's own validation clips have it."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from utils.metrics import equal_error_threshold

DEFAULT = 0.5
VALIDATED_ON = {
    "test": "the clips of the test fold, by which the epoch was picked too",
    "subjects": "the validation subjects, a part of the training fold",
}


class Threshold(NamedTuple):
    """A clip is called real if its score, the probability of real, is at least `value`.

    Attributes
    ----------
    value
        From 0 to 1.
    rule
        "eer": where the validation clips' two error rates meet; "given": by the user; "default": 0.5, for want of
        anything better.
    on
        Which clips it was chosen on, in words; "" if on none.
    clips
        How many these were.
    """

    value: float = DEFAULT
    rule: str = "default"
    on: str = ""
    clips: int = 0


def validation_threshold(table: pd.DataFrame) -> dict[str, Any] | None:
    """What a checkpoint holds under "threshold": its value and the number of clips.

    Parameters
    ----------
    table
        Scores of the validation clips, with the columns label and score.

    Returns
    -------
    dict or None
        None if the clips are all real or all fake, or a score is not a number.
    """
    value = equal_error_threshold(table["label"].to_numpy(), table["score"].to_numpy(float))
    return None if value is None else {"value": value, "rule": "eer", "clips": len(table)}


def threshold_of(checkpoint: dict[str, Any]) -> Threshold:
    """The threshold in what `model.read_checkpoint` returns; 0.5 if the file has none, as the release's have not."""
    found = checkpoint.get("threshold")
    if not found:
        return Threshold()
    config = checkpoint.get("config", {})
    clips = VALIDATED_ON.get(config.get("validation"), "validation clips")
    fold = f" ({config['fold']})" if "fold" in config else ""
    return Threshold(float(found["value"]), str(found["rule"]), clips + fold, int(found["clips"]))
