"""The command line: flags and YAML files, exit codes, one line for an error, the log."""

import io
import json
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from argparse import HelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from inspect import Parameter, signature
from itertools import takewhile
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import ActionConfigFile, ArgumentParser, set_dumper
from jsonargparse.typing import restricted_string_type
from rich.console import Console
from rich.logging import RichHandler

from utils.errors import DataError
from utils.options import RECIPES, Folds, Gpus
from utils.signals import Stopped, stopping

log = logging.getLogger(__name__)

SCREEN = "-"
# Nothing else, so that no clip is written over where a name of a file is left out.
OutputFile = restricted_string_type("OutputFile", r"^(-|.+\.(json|csv|html))$", docstring="a .json, .csv or .html file")
# Names of one thing: whichever of them a command has, it takes the others as well.
SYNONYMS = (
    ("folds", "fold", "train_fold"),
    ("models", "model", "model_type", "runs", "run"),
    ("gpus", "gpu", "devices", "device"),
    ("outputs", "output"),
)
# What a flag means that is given without a value, by its type or its name; others need one.
BARE: dict[Any, str] = {bool: "true", OutputFile: SCREEN, "resume": "auto"}
# What a flag takes, by its type or its name: in words, and how help shows it.
TAKES = {
    "bool": ("true or false", "true|false"),
    "int": ("a whole number", "N"),
    "float": ("a number", "X"),
    "PositiveInt": ("a whole number above 0", "N"),
    "NonNegativeInt": ("a whole number from 0 on", "N"),
    "PositiveFloat": ("a number above 0", "X"),
    "NonNegativeFloat": ("a number from 0 on", "X"),
    "ClosedUnitInterval": ("a number from 0 to 1", "X"),
    "Folds": (Folds.WORDS, "K[,K]"),
    "Gpus": (Gpus.WORDS, "N"),
    "OutputFile": ("a file that ends in .json, .csv or .html, or - for the screen", "FILE"),
    "Path": ("a path", "PATH"),
    "resume": (None, "auto|PATH"),
}
# Under which title help shows a flag, in any program; the others stand under "options".
GROUPS = {
    name: title
    for title, names in {
        "data": "data_root dataset protocol lists folds train_fold num_train num_val max_frames trim_silence cache_dir "
        "skip_bad",
        "training": "recipe pretrained encoder_layers train_frontend freeze_encoder_steps padding validation selection "
        "accumulate max_epochs min_epochs patience resume optimizer learning_rate backbone_learning_rate weight_decay "
        "schedule warmup gradient_clip contrast_weight within_weight margin_audio margin_visual margin_contrast",
        "machine": "batch_size gpus accelerator precision num_workers prefetch checkpoint_activations compile "
        "deterministic",
        "outputs": "outputs save_name log_steps logger",
    }.items()
    for name in names.split()
}
SPELLINGS = "Names may have dashes too (--save-name). Of a true|false flag, --FLAG alone is true and --no-FLAG false."
# The value in what jsonargparse says of one that does not fit.
VALUE = re.compile(
    r"Given value: ?(?P<a>.*)$|Got value: (?P<b>.*)$|Not of type \w+: (?P<c>.*?) does not |: '(?P<d>[^']*)'$", re.DOTALL
)


@dataclass(frozen=True)
class Flag:
    """An option as it is declared."""

    name: str  # such as batch_size
    kind: Any  # its type, without None; of a list that of an item
    default: Any  # `Parameter.empty` where it must be given
    help: str
    positional: bool = False  # given by its place, without its name
    several: bool = False  # takes a list, one argument an item

    @property
    def required(self) -> bool:
        return self.default is Parameter.empty

    @property
    def bare(self) -> str | None:
        """What the flag means where it is given without a value; None if it needs one."""
        return BARE.get(self.kind, BARE.get(self.name))

    @property
    def takes(self) -> tuple[str | None, str]:
        """What it takes, in words and as help shows it."""
        if get_origin(self.kind) is Literal:
            values = get_args(self.kind)
            return "one of " + ", ".join(map(repr, values)), "|".join(map(str, values))
        return TAKES.get(getattr(self.kind, "__name__", ""), TAKES.get(self.name, (None, self.name.upper())))

    @property
    def text(self) -> str:
        """What help says of it, with what it is where it is left out."""

        def typed(value: object) -> str:
            return str(value).lower() if isinstance(value, bool) else str(value)

        default = ""
        if self.default is None:
            given = {recipe: choices[self.name] for recipe, choices in RECIPES.items() if self.name in choices}
            default = ", ".join(f"{typed(value)} with --recipe {recipe}" for recipe, value in given.items())
        elif not self.required and "default" not in self.help:
            default = typed(self.default)
        return self.help + (" (required)" if self.required else f" (default: {default})" if default else "")


def takes(options: type, without: Sequence[str] = ()) -> Callable[[Callable], Callable]:
    """Say that the `**options` of a command are the fields of a dataclass, less those that it sets itself."""

    def mark(command: Callable) -> Callable:
        command.__dict__["options"] = [flag for flag in flags_of(options) if flag.name not in without]
        return command

    return mark


def flags_of(source: Callable) -> list[Flag]:
    """The options of a dataclass, or of a function and of what `takes` adds to it, as the docstrings describe them.

    A function with a bare `*` takes its required parameters by position.
    """
    parameters = signature(source).parameters
    hints = get_type_hints(source.__init__ if is_dataclass(source) else source)
    described = {part.arg_name: part.description or "" for part in parse_docstring(source.__doc__ or "").params}
    by_place = any(parameter.kind is Parameter.KEYWORD_ONLY for parameter in parameters.values())
    own = {}
    for name, parameter in parameters.items():
        if parameter.kind is Parameter.VAR_KEYWORD:
            continue
        kind = _without_none(hints[name])
        several = get_origin(kind) is list
        positional = by_place and parameter.default is Parameter.empty
        text = " ".join(described.get(name, "").split())
        own[name] = Flag(name, get_args(kind)[0] if several else kind, parameter.default, text, positional, several)
    return [*own.values(), *(flag for flag in getattr(source, "options", []) if flag.name not in own)]


def _without_none(hint: Any) -> Any:
    """The type behind `T | None`."""
    if get_origin(hint) in (Union, UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return kinds[0] if len(kinds) == 1 else hint
    return hint


def _path(value: str) -> Path:
    return Path(value)


def _text(value: object) -> str:
    return str(value)


# Taken as they are: what looks like YAML (1e-4, [a], null) is a name too, and one need not be Unicode.
VERBATIM = {Path: _path, str: _text}


def _as_yaml(options: dict[str, Any]) -> str:
    """Options as `--config` reads them, for `--print_config`: paths, which YAML does not know, are text."""
    return yaml.safe_dump(json.loads(json.dumps(options, default=str)), allow_unicode=True, sort_keys=False)


set_dumper("yaml", _as_yaml)


class Parser(ArgumentParser):
    """The parser of a program with the flags of a source; it says in one line what does not fit."""

    def __init__(self, program: str, source: Callable) -> None:
        self.flags = {flag.name: flag for flag in flags_of(source)}
        description = (source.__doc__ or "").strip().partition("\n\n")[0]
        required = [flag for flag in self.flags.values() if flag.required]
        usage = " ".join([program, *(_in_usage(flag) for flag in required), "[--flag value ...]"])
        super().__init__(
            prog=program, description=description, usage=usage, epilog=SPELLINGS, formatter_class=HelpFormatter
        )
        self.add_argument(
            "--config", action=ActionConfigFile, metavar="FILE", help="YAML file with options; flags override it."
        )
        self.add_argument(
            "--debug", type=bool, default=False, metavar="true|false", help="Show the traceback of every error."
        )
        groups: dict[str | None, Any] = {None: self}
        for flag in self.flags.values():
            kind = VERBATIM.get(flag.kind, flag.kind)
            if flag.default is None and flag.kind not in VERBATIM:
                kind = kind | None
            given: dict[str, Any] = {"type": kind, "help": flag.text.replace("%", "%%"), "metavar": flag.takes[1]}
            given |= {"nargs": "+"} if flag.several else {}
            title = GROUPS.get(flag.name)
            if flag.positional:
                self.add_argument(flag.name, **given | {"metavar": flag.name.upper()})
                continue
            if title not in groups:
                groups[title] = self.add_argument_group(title)
            must = {"required": True} if flag.required else {"default": flag.default}
            groups[title].add_argument(f"--{flag.name}", **must, **given)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        missing = re.search(r"arguments are required: ([\w, ]+)$", message)
        if missing:
            flags = [self.flags[name] for name in missing[1].split(", ")]
            names = ", ".join(flag.name.upper() if flag.positional else f"--{flag.name}" for flag in flags)
            message = message[: missing.start(1)] + names
        key = re.match(r'Parser key "([\w.]+)"(?: element \d+)?:?\s*', message)
        flag = self.flags.get(key[1]) if key else None
        if key and flag and flag.takes[0]:
            value = VALUE.search(message.rstrip())
            shown = f" {value[value.lastgroup] or repr('')}" if value and value.lastgroup else ""
            message = f"--{flag.name}{shown}: must be {flag.takes[0]}"
        elif key:
            message = f"--{key[1]}: {message[key.end() :]}"
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see --help)\n")


def _in_usage(flag: Flag) -> str:
    """How the first line of help shows what must be given."""
    if not flag.positional:
        return f"--{flag.name} {flag.takes[1]}"
    return f"{flag.name.upper()} [...]" if flag.several else flag.name.upper()


def spelled(args: Sequence[str], flags: dict[str, Flag]) -> list[str]:
    """Arguments as the parser takes them: `--name=value`, with the name as it is declared.

    `--learning-rate` is `--learning_rate`, `--no-compile` is `--compile=false`, a flag that needs no value may stand
    alone, `--folds 1 3` is `--folds=1,3`, and a synonym stands for the flag that the command has.
    """
    known = flags | {"debug": Flag("debug", bool, False, "")}
    some_by_place = any(flag.positional for flag in flags.values())
    done: list[str] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            return [*done, arg, *rest]
        typed, equals, value = arg.removeprefix("--").partition("=")
        name = typed.replace("-", "_")
        if name not in known:
            group = next((group for group in SYNONYMS if name in group), ())
            name = next((other for other in group if other in known), name)
        flag, negated = known.get(name), known.get(name.removeprefix("no_"))
        if not arg.startswith("--"):
            done.append(arg)
        elif flag is None and negated is not None and negated.kind is bool and not equals:
            done.append(f"--{negated.name}=false")
        elif flag is None:  # --config, --help, or an unknown one, which the parser names
            done.append(arg)
        elif equals:
            done.append(f"--{name}={value}")
        elif flag.several:
            done.append(f"--{name}")
        elif flag.kind in (Folds, Gpus):
            values = list(takewhile(lambda arg: not arg.startswith("--"), rest))
            rest = rest[len(values) :]
            done.append(f"--{name}={','.join(values)}" if values else f"--{name}")
        elif flag.bare is not None and not (rest and _is_value(rest[0], flag, some_by_place)):
            done.append(f"--{name}={flag.bare}")
        else:
            done += [f"--{name}={rest.pop(0)}"] if rest else [f"--{name}"]
    return done


def _is_value(arg: str, flag: Flag, some_by_place: bool) -> bool:
    """Whether an argument is the value of the flag before it, which needs none; a clip to score is not."""
    if flag.kind is bool and some_by_place:
        return arg.lower() in ("true", "false")
    return not arg.startswith("--")


def run(source: Callable, main: Callable[..., Any], program: str, args: Sequence[str] | None = None) -> int:
    """Parse the options of a program, by default from this process's command line, and call `main` with them.

    `source` is the dataclass of the options, which `main` takes, or `main` itself, which takes them by their names; its
    docstring is the help. The result is the exit code: 0, 2 after an error in the input (one line on stderr), 130 after
    Ctrl-C, 143 after SIGTERM.
    """
    _speak_utf_8(program)
    start_logging()
    parser = Parser(program, source)
    values = parser.parse_args(spelled(sys.argv[1:] if args is None else args, parser.flags)).as_dict()
    values.pop("config")
    debug = values.pop("debug")
    action = (lambda: main(source(**values))) if is_dataclass(source) else (lambda: main(**values))
    return guard(action, program.split(maxsplit=1)[0], debug)


def _speak_utf_8(program: str) -> None:
    """Start this process again in Python's UTF-8 mode, if its locale has another encoding.

    Names of files are UTF-8 in every corpus, and OpenCV and FFmpeg take them for that whatever the locale says.
    """
    started_here = Path(sys.argv[0]).name == program.split(maxsplit=1)[0]
    if started_here and sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def guard(action: Callable[[], Any], program: str, debug: bool = False) -> int:
    """Run `action`, and turn what ends it early into an exit code and one line on stderr.

    Only what a user can mend becomes a line, with exit code 2: `DataError`, and an `OSError`, which names its file. A
    fault of the program keeps its traceback. `debug` shows that of everything.
    """
    try:
        with stopping(signal.SIGTERM):
            action()
    except Stopped as stop:
        sys.stderr.write(f"{program}: stopped by {stop}\n")
        return int(stop.code or 0)
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: stopped\n")
        return 130
    except (DataError, OSError) as error:
        log.debug("stopped by an error", exc_info=True)  # the whole story is in the log file
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"{program}: error: {error}\n")
        return 2
    except Exception:
        log.debug("stopped by a fault", exc_info=True)
        raise
    return 0


def start_logging() -> None:
    """Log to the screen, and keep the libraries to what a user can act on."""
    import cv2  # here, so that help need not wait for it

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a clip that does not decode is reported by name
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    for stream in (sys.stdout, sys.stderr):  # a character that the locale has not is no reason to stop
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    handler: logging.Handler
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
        ".*when logging on epoch level in distributed.*",  # said of metrics that all processes have alike
    ):
        warnings.filterwarnings("ignore", message)


def log_to_file(path: Path) -> None:
    """Write the log to a file as well, after what an earlier run wrote there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    log.setLevel(logging.DEBUG)  # for the story of an error
