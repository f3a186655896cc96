"""From which score on a clip is called real, and how probable that makes it, by a checkpoint's validation clips."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from utils.metrics import UNKNOWN, equal_error_threshold, stream_labels
from utils.statistics.calibration import Platt, calibration, fit_platt

VALIDATED_ON = {
    "test": "the clips of the test fold, by which the epoch was picked too",
    "subjects": "the validation clips, neither trained on nor tested",
}


class Threshold(NamedTuple):
    """A clip is called real if its score, the probability of real, is at least `value`.

    The rule is "eer", where the validation clips' two error rates meet, "given" by the user, or "default", where
    there is neither.
    """

    value: float = 0.5
    rule: str = "default"
    on: str = ""  # which clips it was chosen on, in words
    clips: int = 0  # how many these were


def validation_threshold(table: pd.DataFrame) -> dict[str, Any] | None:
    """What a checkpoint holds under "threshold", from the label and score of the validation clips.

    None if they are all real or all fake, or a score is not a number.
    """
    table = table[table["label"] != UNKNOWN]
    value = equal_error_threshold(table["label"].to_numpy(), table["score"].to_numpy(float))
    return None if value is None else {"value": value, "rule": "eer", "clips": len(table)}


def validation_calibration(table: pd.DataFrame) -> dict[str, dict[str, Any] | None]:
    """What a checkpoint holds under "calibration", "audio_calibration" and "video_calibration".

    Fields of `utils.statistics.calibration.Platt`, fitted to the scores of the validation clips, or None where nothing
    can be fitted.
    """
    known = table[table["label"] != UNKNOWN]
    sides = {"calibration": (known["label"].to_numpy(int), known["score"].to_numpy(float))}
    sides |= {f"{stream}_calibration": stream_labels(known, f"{stream}_score") for stream in ("audio", "video")}
    fitted = {name: fit_platt(label, score) for name, (label, score) in sides.items()}
    return {name: None if platt is None else platt._asdict() for name, platt in fitted.items()}


def calibration_of(checkpoint: Mapping[str, Any], stream: str = "") -> Platt | None:
    """The calibration in what `model.read_checkpoint` returns, None if the file has none.

    `stream` is "audio" or "video" for that of a head; by default it is that of the clip's score.
    """
    found = checkpoint.get(f"{stream}_calibration" if stream else "calibration")
    return Platt(**found) if found else None


def with_calibration(
    checkpoint: Mapping[str, Any], table: pd.DataFrame, metrics: dict[str, Any], config: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Add calibrated probabilities to the scores of a test, and how well calibrated they are to its metrics.

    Parameters
    ----------
    checkpoint
        What `model.read_checkpoint` returns.
    table, metrics
        Scores of the test clips, and what `utils.metrics.evaluate` gives of them.
    config
        What was tested: its "corpus", "fold" and "protocol".

    Returns
    -------
    tuple
        The table with the column probability, which is 1/2 at the threshold, and the metrics with "calibration": the
        fitted map, on which clips, the share of fakes for which that column holds, ECE and Brier score `before` and
        `after` (for as many fakes as among the clips of the fit), and `on_test_clips`, whether these were the very
        clips of this test. Both as they were, with "calibration" None, where the checkpoint holds no calibration.
    """
    platt, threshold = calibration_of(checkpoint), threshold_of(dict(checkpoint))
    known = table[table["label"] != UNKNOWN]
    if platt is None or known.empty:
        return table, metrics | {"calibration": None}
    prior = platt.prior_at(threshold.value)
    trained = checkpoint.get("config") or {}
    same = all(trained.get(name) == config.get(name) for name in ("corpus", "fold", "protocol"))
    label, score = known["label"].to_numpy(int), known["score"].to_numpy(float)
    errors = {
        when: {name: value for name, value in calibration(label, values).items() if not name.startswith("bins")}
        for when, values in (("before", score), ("after", platt.probability(score)))
    }
    record = {
        **platt._asdict(),
        "on": threshold.on,
        "on_test_clips": trained.get("validation") == "test" and same,
        "shown_prior": prior,
        "threshold": threshold.value,
        **errors,
        **{stream: checkpoint.get(f"{stream}_calibration") for stream in ("audio", "video")},
    }
    probability = platt.probability(table["score"].to_numpy(float), prior)
    return table.assign(probability=probability), metrics | {"calibration": record}


def threshold_of(checkpoint: dict[str, Any]) -> Threshold:
    """The threshold in what `model.read_checkpoint` returns; 0.5 if the file has none, as the release's have not."""
    found = checkpoint.get("threshold")
    if not found:
        return Threshold()
    config = checkpoint.get("config", {})
    clips = VALIDATED_ON.get(config.get("validation"), "validation clips")
    fold = f" ({config['fold']})" if "fold" in config else ""
    return Threshold(float(found["value"]), str(found["rule"]), clips + fold, int(found["clips"]))
