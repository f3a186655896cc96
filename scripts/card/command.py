"""The command `main.py card`: a model card of a checkpoint, as Mitchell et al. ask for (Model Cards, FAT* 2019)."""

from __future__ import annotations

import logging
from pathlib import Path

from scripts.card.details import data, protocol, quoted, what_it_is
from scripts.card.facts import Facts, read_facts
from scripts.card.figures import audit, figures
from scripts.card.words import licences, limits, uses
from utils.files import write_atomic

log = logging.getLogger(__name__)

FILE = "MODEL_CARD.md"
MINIATURE = (
    "**Trained or tested on the synthetic miniature, drawn faces with synthetic voices: no figure here says anything "
    "about real clips.**"
)
INTRODUCTION = (
    "Every figure here is read from the checkpoint, its metrics.json and scores.csv, its audit and, where it lies "
    "there, the corpus. What these do not say is called not recorded."
)


def card(
    checkpoint: Path,
    out: Path | None = None,
    outputs: Path = Path("outputs"),
    bootstrap: int = 2000,
    seed: int = 42,
) -> None:
    """Write the model card of a checkpoint: what it is, its data and results, its limits and what it is not for.

    Parameters
    ----------
    checkpoint
        A checkpoint whose fold has been tested, by train.py or by test.py.
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
    FileNotFoundError
        If there is no such checkpoint, or its fold has not been tested.
    ValueError
        If an option is out of range, a file cannot be read, or the results are not those of the checkpoint.
    """
    for flag, value in (("bootstrap", bootstrap), ("seed", seed)):
        if value < 0:
            raise ValueError(f"--{flag} is {value}, but must be 0 or more")
    if out is not None and out.is_dir():
        raise IsADirectoryError(f"--out {out}: is a folder, but must be a file, such as {out / FILE}")
    facts = read_facts(checkpoint, outputs, bootstrap, seed)
    out = out or facts.folder / FILE
    write_atomic(out, build(facts))
    log.info("card: %s", out)
    if facts.audit is None:
        log.warning("%s: %s, which the card says; main.py audit makes one", checkpoint, facts.no_audit)


def build(facts: Facts) -> str:
    """Put the card together.

    Parameters
    ----------
    facts
        What `scripts.card.facts.read_facts` returns.
    """
    parts = {
        "What it is": what_it_is(facts),
        "Data": data(facts),
        "Protocol": protocol(facts),
        **figures(facts),
        "What the audit found": audit(facts),
        "Limits": limits(facts),
        **uses(),
        "Licences and citation": licences(facts),
    }
    is_miniature = "miniature" in (facts.trained.get("corpus"), facts.config.get("corpus"))
    lines = [f"# Model card: {quoted(facts.run.name)}, fold {quoted(facts.fold)}", ""]
    lines += [*([MINIATURE, ""] if is_miniature else []), INTRODUCTION, ""]
    for title, part in parts.items():
        lines += [f"## {title}", "", *part, ""]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"
