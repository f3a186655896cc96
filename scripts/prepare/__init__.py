"""`main.py prepare`: a corpus checked, its subset and folds, wav files, and a cache."""
