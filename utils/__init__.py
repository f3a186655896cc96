"""Losses, metrics, results, figures, callbacks and options."""
