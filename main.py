"""Everything that is neither training nor testing.

python main.py prepare --data_root data/FakeAVCeleb_v1.2
python main.py reproduce --data_root data/FakeAVCeleb_v1.2
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

# Function behind a command, and what help says of it: here, so that help need not import what the commands do.
COMMANDS = {
    "prepare": (
        "scripts.prepare.command.prepare",
        "Check a corpus, make its subset and folds, cache its clips.",
    ),
    "reproduce": (
        "scripts.reproduce.command.reproduce",
        "Train and test all detectors on all folds; write the table.",
    ),
    "table": ("scripts.table.command.table", "Write the table of all runs beside the paper's numbers."),
    "evaluate": ("scripts.evaluate.command.evaluate_scores", "Evaluate a scores.csv: every metric with its interval."),
    "report": ("scripts.report.command.report", "Write a report on runs as one HTML page."),
    "predict": ("scripts.predict.command.predict", "Score clips of any kind with a trained detector."),
    "audit": ("scripts.audit.command.audit", "Find a corpus's shortcuts, and what a detector depends on."),
    "card": ("scripts.card.command.card", "Write the model card of a checkpoint."),
    "export": ("scripts.export.command.export", "Make a folder of weights, settings and card to publish."),
    "suite": ("scripts.suite.command.suite", "Test detectors on corpora under named protocols, in one table."),
    "verify": ("scripts.verify.command.verify", "See whether this machine gives the release's numbers."),
    "synthesize": ("scripts.synthesize.synthesize", "Write a small synthetic corpus in FakeAVCeleb's layout."),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    args = list(sys.argv[1:] if args is None else args)
    if args and args[0] in COMMANDS:
        from utils.cli import run

        module, _, name = COMMANDS[args[0]][0].rpartition(".")
        command = getattr(import_module(module), name)
        return run(command, command, f"main.py {args[0]}", args[1:])
    parser = argparse.ArgumentParser("main.py", description="Tools around training and testing.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (_, description) in COMMANDS.items():
        commands.add_parser(name, help=description)
    parser.epilog = "main.py COMMAND --help shows the options of a command."
    parser.parse_args(args[:1])  # ends here, unless nothing was asked for
    parser.print_help(sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
