"""The ways in which a program ends before its work is done: errors that a user can mend, and signals."""

from __future__ import annotations


class DataError(ValueError):
    """What the user gave is not as it should be: a file, a row of a table, a flag.

    Its text is the one line that the user sees, so it names what is wrong and says what to do. Everything else that is
    raised is a fault of the program, and keeps its traceback.
    """


class Terminated(SystemExit):
    """The process was asked to end (SIGTERM), as a batch system or a parent process does."""

    def __init__(self) -> None:
        super().__init__(143)
