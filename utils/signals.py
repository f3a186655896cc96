"""Signals that ask a program to stop, and a job of Slurm that is to go on later."""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


class Stopped(SystemExit):
    """A signal has asked the program to stop.

    A SystemExit, as libraries take KeyboardInterrupt for theirs: Lightning ends the program with 1 after it. The exit
    code is 128 + the signal's number, as a shell has it: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)

    def __str__(self) -> str:
        return "Ctrl-C" if self.signal == signal.SIGINT else self.signal.name

    @property
    def to_be_requeued(self) -> bool:
        """Whether Slurm has said that the time of its job is up soon (`#SBATCH --signal=USR1@90`)."""
        return self.signal not in (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(*asked: signal.Signals) -> Iterator[None]:
    """Within, Ctrl-C, SIGTERM and, in a job of Slurm, SIGUSR1 raise `Stopped` in the main thread; or those asked for.

    The first one alone, so that cleaning up is not disturbed; but a second Ctrl-C does as well, for who cannot wait.
    """
    came: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if came and number != signal.SIGINT:
            return
        came.append(number)
        raise Stopped(number)

    asking = asked or (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else []))
    if threading.current_thread() is not threading.main_thread():  # which alone may set a handler
        asking = ()
    before = {number: signal.signal(number, stop) for number in asking}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def requeue() -> None:
    """Ask Slurm to start this job again; it then goes on with the fold and the epoch where it stood."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    job = os.environ["SLURM_JOB_ID"] if task is None else f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        text = "scontrol requeue %s failed (%s): submit the job again with --resume auto"
        log.warning(text, job, str(reason).strip())
    else:
        log.info("Slurm starts job %s again, which goes on from there", job)
