"""The figures of a run: `all_figures` in `run` draws all for which there is data."""
