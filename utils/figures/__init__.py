"""The figures of a run and of its folds, and what they have in common."""
