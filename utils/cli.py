"""The command line: options from flags and YAML, one line for an error, a log on the screen and in a file."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from argparse import Action
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

import cv2
from jsonargparse import ActionConfigFile, ArgumentParser
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    restricted_string_type,
)
from rich.console import Console
from rich.logging import RichHandler

log = logging.getLogger(__name__)

SCREEN = "-"
# Nothing else, so that no clip is written over where a name of a file is left out.
OutputFile = restricted_string_type("OutputFile", r"^(-|.+\.(json|csv))$", docstring="a .json or .csv file, or -")
# What a flag takes, in words.
TAKES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    PositiveInt: "a whole number above 0",
    NonNegativeInt: "a whole number from 0 on",
    PositiveFloat: "a number above 0",
    NonNegativeFloat: "a number from 0 on",
    ClosedUnitInterval: "a number from 0 to 1",
}
# The value in what jsonargparse says of one that does not fit.
VALUE = re.compile(
    r"Given value: ?(?P<a>.*)$|Got value: (?P<b>.*)$|Not of type \w+: (?P<c>.*?) does not |: '(?P<d>[^']*)'$", re.DOTALL
)


class Parser(ArgumentParser):
    """An argument parser that takes a bare `--flag` for true and says what is wrong in one line."""

    def add_configuration(self) -> None:
        """Add `--config`, a file that stands for the flags in it."""
        self.add_argument("--config", action=ActionConfigFile, help="YAML file with options; flags override it.")

    def add_options(self, source: Callable) -> None:
        """Add the fields of a dataclass, or the parameters of a function, as options.

        A function whose options come after a bare `*` takes its required parameters by position, without a flag.
        One of type `list[Path]` takes one path or several, and one of type `OutputFile` none too, for the screen.
        """
        add = self.add_class_arguments if isinstance(source, type) else self.add_function_arguments
        kinds = {parameter.kind for parameter in signature(source).parameters.values()}
        add(source, as_positional=Parameter.KEYWORD_ONLY in kinds)
        for action in self._actions:
            kind = getattr(action, "_typehint", None)
            if kind in (bool, bool | None):
                action.nargs, action.const = "?", True
            elif kind == OutputFile | None:
                action.nargs, action.const = "?", SCREEN
            elif kind in (list[Path], list[Path] | None):
                # The type is that of each path; jsonargparse's own form of a list, `--flag+`, is not needed then.
                action.nargs, action._typehint, action.metavar = "+", Path, action.dest.upper()
                action.option_strings = [flag for flag in action.option_strings if not flag.endswith("+")]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        flag = re.match(r'Parser key "([\w.]+)":?\s*', message)
        kind = next((_kind(action) for action in self._actions if flag and action.dest == flag[1]), None)
        value = VALUE.search(message.rstrip())
        if _words(kind):
            shown = f" {value[value.lastgroup] or repr('')}" if value else ""
            message = f"--{flag[1]}{shown}: must be {_words(kind)}"
        elif flag:
            message = f"--{flag[1]}: {message[flag.end() :]}"
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see --help)\n")


def _kind(action: Action) -> Any:
    """The type of what a flag takes, if it is given at all."""
    kinds = get_args(hint) if get_origin(hint := getattr(action, "_typehint", None)) in (Union, UnionType) else [hint]
    return next((kind for kind in kinds if kind is not NoneType), None)


def _words(kind: Any) -> str | None:
    """What a type takes, in words; None for one of which nothing is known."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, get_args(kind)))
    restricted = isinstance(kind, type) and hasattr(kind, "_regex")
    return kind.__doc__ if restricted else TAKES.get(kind)


def run(options_class: type, main: Callable[[Any], None], program: str, args: Sequence[str] | None = None) -> int:
    """Parse the options of a program and run it.

    Parameters
    ----------
    options_class
        Dataclass of the options; its docstring is the help.
    main
        Called with the options.
    program
        Name of the program, for help and errors.
    args
        Command line, by default this process's own.

    Returns
    -------
    int
        Exit code: 0, 2 after an error in the input (one line on stderr), 130 after Ctrl-C.
    """
    start_logging()
    parser = Parser(prog=program, description=first_line(options_class))
    parser.add_configuration()
    parser.add_options(options_class)
    values = parser.parse_args(args).as_dict()
    values.pop("config")
    return guard(lambda: main(options_class(**values)), program)


def first_line(source: Callable) -> str:
    """First line of a docstring."""
    return source.__doc__.strip().splitlines()[0]


def guard(action: Callable[[], None], program: str) -> int:
    """Run `action`; turn an error in the input into one line on stderr and exit code 2."""
    try:
        action()
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: stopped\n")
        return 130
    except (ValueError, OSError) as error:
        log.debug("stopped by an error", exc_info=True)  # the whole story is in the log file
        sys.stderr.write(f"{program}: error: {error}\n")
        return 2
    return 0


def start_logging() -> None:
    """Log to the screen, and keep the libraries to what a user can act on."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a clip that does not decode is reported by name
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    if sys.stderr.isatty():  # beside a progress bar
        handler = RichHandler(console=Console(stderr=True), show_path=False, show_level=False, log_time_format="[%X]")
    else:
        handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=True)
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*directory .* exists and is not empty.*",
        ".*number of training batches .* is smaller than the logging interval.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*when logging on epoch level in distributed.*",  # said of figures that all processes have alike
    ):
        warnings.filterwarnings("ignore", message)


def log_to_file(path: Path) -> None:
    """Write the log to a file as well, after what an earlier run wrote there.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("utils.cli").setLevel(logging.DEBUG)
