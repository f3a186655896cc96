"""The command `main.py suite`: detectors on corpora under protocols, from one file, in one table."""

import logging
from pathlib import Path

from rich.console import Console

from scripts.suite.plan import read_plan
from scripts.suite.scoring import Bench, Machine
from scripts.suite.table import numbers, write_all
from utils.errors import DataError
from utils.files import alone_in
from utils.options import ONE_GPU, Accelerator, Gpus, Precision
from utils.statistics.bootstrap import RESAMPLES, SEED, require_not_negative
from utils.table import as_tables

log = logging.getLogger(__name__)


def suite(
    plan: Path,
    *,
    outputs: Path = Path("outputs"),
    gpus: Gpus = ONE_GPU,
    accelerator: Accelerator = "auto",
    precision: Precision = "32",
    num_workers: int | None = None,
    bootstrap: int = RESAMPLES,
    seed: int = SEED,
) -> None:
    """Test detectors on corpora under named protocols, as far as that is not done yet, and write one table.

    It can be stopped at any moment and started again: what has been scored is kept.

    Parameters
    ----------
    plan
        YAML file that names the detectors, the corpora with their protocols, and groups of tests (see
        scripts/suite/README.md).
    outputs
        Folder of all outputs; the table is written to suite/NAME in it, by the name of the file.
    gpus
        Number of GPUs, 0 for the CPU, or the indices of those to use.
    accelerator
        auto: GPUs if there are any; cpu: the CPU.
    precision
        Numbers that the networks compute with.
    num_workers
        Number of processes that load clips.
    bootstrap
        Number of resamples of the subjects, from which intervals come; 0 for none.
    seed
        Random seed of protocols that draw, and of the resamples.

    Raises
    ------
    DataError
        If the file, a checkpoint, a corpus or a list cannot be used; what was scored before is kept.
    """
    require_not_negative(bootstrap=bootstrap, seed=seed)
    asked = read_plan(plan)
    folder = outputs / "suite" / plan.stem
    bench = Bench(folder, Machine(outputs, gpus, precision, accelerator, num_workers, seed))
    with alone_in(folder, "another suite is at work in %s: waiting for it"):
        for left_over in folder.rglob(".*.tmp"):  # of a run that was killed while it wrote
            left_over.unlink()
        # Whatever is asked for wrongly is said before hours of scoring.
        cells = [cell for test in asked.tests for one in asked.detectors for cell in bench.cells(one, test)]
        scored, failed = [], []
        for cell in cells:
            try:
                scored.append((cell, bench.scored(cell)))
            except (DataError, OSError) as error:  # the others can be tested all the same
                failed.append(f"{cell.name}: {error}")
                log.error("%s", failed[-1])
        if not scored:
            raise DataError(f"{plan}: leaves nothing that can be tested")
        found = numbers(scored, asked.groups, bootstrap, seed)
        Console().print(as_tables(plan.stem, write_all(found, plan.stem, folder)))
    log.info("results: %s (suite.md, suite.csv, suite.tex, suite.json, suite.html, heatmap.png)", folder)
    if failed:
        raise DataError(f"{len(failed)} of {len(cells)} could not be tested:\n" + "\n".join(failed))
