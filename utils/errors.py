"""The errors that a user can mend: each becomes one clear line and a non-zero exit, never a stack trace."""

from __future__ import annotations


class DataError(ValueError):
    """The data are not as they should be."""
