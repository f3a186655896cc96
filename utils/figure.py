"""The figures of a run. Positive class: real, unless a figure says otherwise.

Each `NAME_figure(…, path, title)` writes PNG and SVG; `all_figures` draws all that a run has data for.
"""

from utils.figures.confusion import confusion_figure
from utils.figures.det import det_figure
from utils.figures.embedding import embedding_figure
from utils.figures.histogram import score_histogram_figure
from utils.figures.precision_recall import precision_recall_figure
from utils.figures.reliability import reliability_figure
from utils.figures.roc import roc_figure
from utils.figures.run import all_figures
from utils.figures.style import FOLD_STYLES, SVG_SETTINGS
from utils.figures.training import training_curves_figure
from utils.figures.training_log import read_training_log

__all__ = [
    "FOLD_STYLES",
    "SVG_SETTINGS",
    "all_figures",
    "confusion_figure",
    "det_figure",
    "embedding_figure",
    "precision_recall_figure",
    "read_training_log",
    "reliability_figure",
    "roc_figure",
    "score_histogram_figure",
    "training_curves_figure",
]
