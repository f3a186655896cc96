"""Losses, metrics, statistics, figures, results on disk, options and the command line."""
