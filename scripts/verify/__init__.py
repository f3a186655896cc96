"""Whether a machine gives the release's numbers, and how fast it is."""
