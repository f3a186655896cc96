"""The errors that a user can mend: each becomes one clear line and a non-zero exit, never a traceback."""


class DataError(ValueError):
    """What the user gave is not as it should be: a file, a row of a table, a flag.

    Its text is the one line that the user sees, so it names what is wrong and says what to do. Everything else that is
    raised is a fault of the program, and keeps its traceback.
    """
