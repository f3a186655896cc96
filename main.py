"""Everything that is neither training nor testing.

python main.py prepare --data_root data/FakeAVCeleb_v1.2
python main.py synthesize --out data/mini
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dataset.miniature import synthesize
from dataset.prepare.command import prepare
from utils.cli import Parser, first_line, guard, start_logging

COMMANDS = {"prepare": prepare, "synthesize": synthesize}


def main(args: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code."""
    start_logging()
    parser = Parser(prog="main.py", description="Tools around training and testing.")
    subcommands = parser.add_subcommands(dest="command")
    for name, function in COMMANDS.items():
        command = Parser(description=first_line(function))
        command.add_options(function)
        subcommands.add_subcommand(name, command, help=command.description)
    values = parser.parse_args(args)
    return guard(lambda: COMMANDS[values.command](**values[values.command].as_dict()), "main.py")


if __name__ == "__main__":
    sys.exit(main())
