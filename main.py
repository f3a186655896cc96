"""Everything that is neither training nor testing.

python main.py prepare --data_root data/FakeAVCeleb_v1.2
python main.py reproduce --data_root data/FakeAVCeleb_v1.2
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from utils.cli import Parser, first_line, guard, start_logging

COMMANDS = {
    "prepare": "scripts.prepare.command.prepare",
    "reproduce": "scripts.reproduce.command.reproduce",
    "table": "scripts.reproduce.table.table",
    "evaluate": "scripts.evaluate.command.evaluate_scores",
    "report": "scripts.report.command.report",
    "predict": "scripts.predict.command.predict",
    "audit": "scripts.audit.command.audit",
    "card": "scripts.card.command.card",
    "synthesize": "scripts.synthesize.synthesize",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code."""
    start_logging()
    args = list(sys.argv[1:] if args is None else args)
    parser = Parser(prog="main.py", description="Tools around training and testing.")
    if not args:
        parser.error(f"a command is missing: {', '.join(COMMANDS)}")
    subcommands = parser.add_subcommands(dest="command")
    # Only the command that is asked for is imported: preparing a corpus needs little of what reproducing does.
    functions = {name: load(name) for name in COMMANDS if name in args[:1]} or {name: load(name) for name in COMMANDS}
    for name, function in functions.items():
        command = Parser(description=first_line(function))
        command.add_configuration()
        command.add_options(function)
        subcommands.add_subcommand(name, command, help=command.description)
    values = parser.parse_args(args)
    options = values[values.command].as_dict()
    options.pop("config")
    return guard(lambda: functions[values.command](**options), "main.py")


def load(command: str) -> Callable[..., object]:
    """Import the function behind a command."""
    module, _, function = COMMANDS[command].rpartition(".")
    return getattr(import_module(module), function)


if __name__ == "__main__":
    sys.exit(main())
