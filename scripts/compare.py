"""A table of several runs side by side, from their summaries: Markdown to read, csv to go on with.

python scripts/compare.py --out outputs/demo/comparison outputs/results/AVDF outputs/results/MRDF_CE
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd

from utils.files import markdown_table, write_atomic
from utils.runs import read_run
from utils.summary import with_means
from utils.table import with_deviation

SHOWN = {"auc": "score AUC", "auc_hard": "hard AUC", "acc": "ACC", "eer": "EER"}
TOLD = ("model_type", "recipe", "contrast_weight", "within_weight", "encoder_layers", "seed")


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs, such as outputs/results/MRDF_CE")
    parser.add_argument("--out", type=Path, required=True, help="path of the table, without .md and .csv")
    options = parser.parse_args()
    rows = pd.DataFrame([describe(run) for run in options.runs])
    write_atomic(options.out.with_suffix(".csv"), rows.to_csv(index=False, lineterminator="\n"))
    grid = [["run", "folds", "n", *SHOWN.values()]]
    for row in rows.to_dict("records"):
        figures = [with_deviation(row[f"{name}_mean"], row[f"{name}_std"]) for name in SHOWN]
        grid.append([row["run"], str(row["folds"]), str(row["n"]), *figures])
    text = "\n".join([*markdown_table(grid), "", "Percent, mean ± standard deviation over the folds.", ""])
    write_atomic(options.out.with_suffix(".md"), text)
    sys.stdout.write(text)


def describe(run: Path) -> dict[str, object]:
    """Settings of a run, and mean and standard deviation of its folds, as fractions."""
    found = read_run(run)
    folds, means, config = found.frame, with_means(found), next(iter(found.configs.values()))
    row: dict[str, object] = {"run": run.name.removeprefix("compare-")}
    row |= {name: config.get(name) for name in TOLD}
    row |= {"folds": len(folds), "n": int(folds["n"].sum())}
    for name in SHOWN:
        row |= {f"{name}_mean": means.at["mean", name], f"{name}_std": means.at["std", name]}
    return row


if __name__ == "__main__":
    main()
