"""The command `main.py predict`: clips of any kind scored by a checkpoint, none of which stops the others.

A score is always the probability that a clip is real: 1 = real, 0 = fake.
"""
