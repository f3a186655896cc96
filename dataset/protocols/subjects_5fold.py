"""subjects-5fold: five folds by subject over all clips, for corpora that have no split."""

from __future__ import annotations

from dataset.protocols.base import Protocol
from dataset.protocols.mrdf_5fold import folds, sides

PROTOCOL = Protocol(
    definition="Five folds by subject over all clips, balanced over race and gender where they are told.",
    source="this software",
    not_controlled="Disjoint by the column subject only, which in some corpora is no person (see dataset/corpora).",
    folds=folds,
    sides=sides,
)
