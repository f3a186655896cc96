"""Tables of scores, as scores.csv has them."""

import numpy as np
import pandas as pd
from scipy.stats import norm


def table_of(category: str, score: list[float] | np.ndarray, subject: list[str] | None = None) -> pd.DataFrame:
    """Clips of the given categories, each of a subject of its own if none are given; decided at 0.5."""
    score = np.asarray(score, dtype=float)
    return pd.DataFrame(
        {
            "file": [f"{k}.mp4" for k in range(len(score))],
            "subject": subject or [f"id{k:05d}" for k in range(len(score))],
            "category": list(category),
            "method": ["real" if name == "A" else f"fake-{name}" for name in category],
            "label": [int(name == "A") for name in category],
            "score": score,
            "video_score": np.nan,
            "audio_score": np.nan,
            "decision": (score >= 0.5).astype(int),
        }
    )


def random_table(seed: int, subjects: int = 15, levels: int | None = None, shift: float = 1.0) -> pd.DataFrame:
    """A clip of each category for every subject, whose clips have an offset in common; few levels make ties."""
    rng = np.random.default_rng(seed)
    offset = np.repeat(rng.normal(size=subjects), 4)
    real = np.tile([1, 0, 0, 0], subjects)
    score = norm.cdf(shift * (real - 0.5) + offset / 2 + rng.normal(size=4 * subjects))
    if levels:
        score = np.round(score * levels) / levels
    return table_of("ABCD" * subjects, score, [f"id{k // 4:05d}" for k in range(4 * subjects)])


def with_heads(table: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """The table with scores of the audio and of the video alone, which tell something of each."""
    rng = np.random.default_rng(seed)
    real = {"audio_score": [*"AC"], "video_score": [*"AB"]}
    scores = {
        name: 0.3 * table["category"].isin(categories) + 0.6 * rng.random(len(table))
        for name, categories in real.items()
    }
    return table.assign(**scores)
