"""Why a clip cannot be scored."""

from __future__ import annotations

from pathlib import Path

from utils.errors import DataError

NO_FACE = "no face"
NO_SOUND = "no sound"
TOO_SHORT = "too short"
UNREADABLE = "unreadable"


class ClipFault(DataError):
    """A clip that no detector can score.

    Parameters
    ----------
    reason
        One of "no face", "no sound", "too short" and "unreadable".
    message
        A sentence that names the file and says what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # all that unpickling in another process needs
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


def unreadable(path: str | Path, why: str) -> ClipFault:
    """A fault of a file that is broken, or no clip at all."""
    advice = ". Check that it plays to its end, or export it again" if Path(path).is_file() else ""
    return ClipFault(UNREADABLE, f"{path}: {why}{advice}")
