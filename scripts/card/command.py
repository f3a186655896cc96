"""The command `main.py card`: a model card of a checkpoint, as Mitchell et al. ask for (Model Cards, FAT* 2019)."""

from __future__ import annotations

import logging
from pathlib import Path

from scripts.card.facts import read_facts
from scripts.card.page import build
from utils.errors import DataError
from utils.files import write_atomic
from utils.statistics.bootstrap import RESAMPLES, SEED

log = logging.getLogger(__name__)

FILE = "MODEL_CARD.md"


def card(
    checkpoint: Path,
    out: Path | None = None,
    outputs: Path = Path("outputs"),
    bootstrap: int = RESAMPLES,
    seed: int = SEED,
) -> None:
    """Write the model card of a checkpoint: what it is, its data and results, its limits and what it is not for.

    Parameters
    ----------
    checkpoint
        Checkpoint whose fold has been tested by train.py or by test.py, or a folder that main.py export wrote, which
        test.py has tested.
    out
        The file to write; by default MODEL_CARD.md beside the results of the fold.
    outputs
        Folder of the outputs, in which the results are.
    bootstrap
        Resamples of the subjects, from which the intervals come; 0 for none.
    seed
        Of the resamples.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such checkpoint, its fold has not been tested, an option is out of range, a file cannot be read,
        or the results are not those of the checkpoint.
    """
    for flag, value in (("bootstrap", bootstrap), ("seed", seed)):
        if value < 0:
            raise DataError(f"--{flag} is {value}, but must be 0 or more")
    if out is not None and out.is_dir():
        raise IsADirectoryError(f"--out {out}: is a folder, but must be a file, such as {out / FILE}")
    facts = read_facts(checkpoint, outputs, bootstrap, seed)
    out = out or facts.folder / FILE
    write_atomic(out, build(facts))
    log.info("card: %s", out)
    if facts.audit is None:
        log.warning("%s: %s, which the card says; main.py audit makes one", checkpoint, facts.no_audit)
