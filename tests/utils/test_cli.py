"""The command line: spellings of flags, help, exit codes, and what becomes one line of an error."""

import os
import re
import signal
import subprocess
import sys
from inspect import Parameter
from pathlib import Path
from typing import Any

import pytest

from main import COMMANDS, main
from scripts.predict.command import PredictOptions
from utils.cli import GROUPS, flags_of, guard, run
from utils.errors import DataError
from utils.files import plain_name, write_atomic
from utils.options import RECIPES, Folds, Gpus, TestOptions, TrainOptions, plain

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


def parsed(arguments: str, options: type = TrainOptions) -> Any:
    seen: list[Any] = []
    assert run(options, seen.append, "train.py", arguments.split()) == 0
    return seen[0]


@pytest.mark.parametrize("spelling", ["--folds 1 3", "--folds=[1,3]", "--folds 1,3", "--folds=1,3", "--fold 1 3"])
def test_folds_in_every_spelling(spelling: str) -> None:
    options = parsed(f"{spelling} --seed 7")
    assert (options.folds, options.fold_names, options.seed) == ("1,3", ["train_1", "train_3"], 7)
    assert type(options.folds) is str  # as checkpoints hold it


@pytest.mark.parametrize(
    ("text", "folds"), [("folds: 1", "1"), ("folds: 2,4", "2,4"), ("folds: [1, 5]", "1,5"), ("folds: '3'", "3")]
)
def test_folds_in_a_configuration_file(text: str, folds: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(f"{text}\ngpus: 2,3\n", encoding="utf-8")
    options = parsed(f"--config {tmp_path / 'run.yaml'}")
    assert (options.folds, options.gpus.indices) == (folds, [2, 3])


@pytest.mark.parametrize(
    ("spelling", "name", "value"),
    [
        ("--learning-rate 3e-4", "learning_rate", 3e-4),
        ("--learning-rate=3e-4", "learning_rate", 3e-4),
        ("--compile", "compile", True),
        ("--compile false", "compile", False),
        ("--compile --skip-bad", "skip_bad", True),
        ("--no-compile", "compile", False),
        ("--no_train_frontend", "train_frontend", False),
        ("--train-frontend", "train_frontend", True),
        ("--precision bf16", "precision", "bf16-mixed"),
        ("--precision 16", "precision", "16"),
        ("--gpus 0", "gpus", 0),
        ("--device cpu", "gpus", 0),
        ("--gpus 2", "gpus", 2),
        ("--gpus 2,3", "gpus", 2),
        ("--gpus 2 3", "gpus", 2),
        ("--gpus=[3]", "gpus", 1),
        ("--resume", "resume", "auto"),
        ("--resume --folds 2", "resume", "auto"),
        ("--folds 2 --resume some.ckpt", "resume", "some.ckpt"),
        ("--train_fold train_2.txt", "folds", "2"),
        ("--model AVDF", "model_type", "AVDF"),
        ("--save_name 1e-4", "save_name", "1e-4"),
        ("--save_name 007", "save_name", "007"),
        ("--save_name a$_$b", "save_name", "a$_$b"),
        ("--save_name true", "save_name", "true"),
        ("--save_name [a]", "save_name", "[a]"),
        ("--save_name null", "save_name", "null"),
        ("--outputs 1e-4", "outputs", Path("1e-4")),
        ("--outputs {a:b}", "outputs", Path("{a:b}")),
        ("--outputs caf\udce9", "outputs", Path("caf\udce9")),  # not UTF-8, as a file's name may be
    ],
)
def test_spellings(spelling: str, name: str, value: object) -> None:
    found = getattr(parsed(spelling), name)
    assert found == value
    assert isinstance(found, type(value))


def test_nothing_in_a_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("pretrained: null\nsave_name: null\noutputs: o\n", encoding="utf-8")
    options = parsed(f"--config {tmp_path / 'run.yaml'}")
    assert (options.pretrained, options.save_name, options.outputs) == (None, "MRDF_CE", Path("o"))


@pytest.mark.parametrize("options", [TrainOptions, TestOptions, PredictOptions])
def test_a_printed_configuration_is_one(options: type, tmp_path: Path, capsys: Capture) -> None:
    required = {flag.name: flag.kind("a name") for flag in flags_of(options) if flag.default is Parameter.empty}
    arguments = [f"--{name}={value}" for name, value in required.items()]
    with pytest.raises(SystemExit) as stop:
        run(options, print, "train.py", [*arguments, "--outputs", "ö", "--gpus", "2,3", "--print_config"])
    assert stop.value.code == 0
    (tmp_path / "run.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert parsed(f"--config {tmp_path / 'run.yaml'}", options) == options(
        **required, outputs=Path("ö"), gpus=Gpus("2,3")
    )


def test_gpus_by_number_and_by_index() -> None:
    assert [str(Gpus(value)) for value in (0, "2", "2,3", [3], "[0, 1]", "3,")] == ["0", "2", "2,3", "3,", "0,1", "3,"]
    assert [Gpus(value).indices for value in (2, "2,3", "3,")] == [None, [2, 3], [3]]
    assert Gpus(str(Gpus("3,"))).indices == [3]  # as it is handed on to another process
    for wrong in ("-1", "x", "", "2,2", "1.5"):
        with pytest.raises(ValueError, match="must be a number of GPUs"):
            Gpus(wrong)
    recorded = plain(TrainOptions(gpus=Gpus("2,3")))["gpus"]
    assert (recorded, type(recorded)) == (2, int)
    assert Folds(["train_2.txt", 3]) == "2,3"


def test_a_fold_to_test_by_its_number() -> None:
    for spelling in ("--train_fold train_2.txt", "--train_fold 2", "--fold train_2", "--folds 2"):
        assert parsed(f"--data_root d --checkpoint c {spelling}", TestOptions).fold_name == "train_2"


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "x" * 201, "ä" * 128])
def test_names_that_cannot_be_those_of_files(name: str) -> None:
    with pytest.raises(DataError, match=r"--save_name .* (must be a plain name|200 at most)") as error:
        plain_name(name, "--save_name")
    assert "\n" not in str(error.value)


def test_the_longest_name_of_a_file_is_written(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("x" * 255), "ä")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ["ä".encode()]


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        (TrainOptions, "--warmup 1.5", "--warmup 1.5: must be a number from 0 to 1"),
        (TrainOptions, "--backbone_learning_rate 0", "--backbone_learning_rate 0: must be a number above 0"),
        (TrainOptions, "--encoder_layers x", "--encoder_layers x: must be a whole number from 0 on"),
        (TrainOptions, "--train_frontend maybe", "--train_frontend maybe: must be true or false"),
        (TrainOptions, "--optimizer sgd", "--optimizer sgd: must be one of 'adam', 'adamw'"),
        (
            TrainOptions,
            "--precision fp16",
            "--precision fp16: must be one of '16', '16-mixed', 'bf16', 'bf16-mixed', '32', ",
        ),
        (TrainOptions, "--accumulate 0", "--accumulate 0: must be a whole number above 0"),
        (TrainOptions, "--margin_audio x", "--margin_audio x: must be a number (see"),
        (TrainOptions, "--folds 10", "--folds 10: must be fold numbers from 1 to 9, such as 2 or 1,3"),
        (PredictOptions, "--threshold 1.5", "--threshold 1.5: must be a number from 0 to 1"),
        (PredictOptions, "--csv x.txt", "--csv x.txt: must be a file that ends in .json, .csv or .html, or -"),
        (PredictOptions, "--csv ", "--csv '': must be a file that ends in .json, .csv or .html, or -"),
        (TrainOptions, "--config lists.yaml", "--batch_size: must be a whole number above 0"),
    ],
)
def test_a_value_that_does_not_fit_is_one_plain_sentence(
    options: type, arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "lists.yaml").write_text("batch_size: [1, 2]\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run(options, print, "train.py", arguments.split(" "))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"train.py: error: {message}")
    assert line.endswith(" (see --help)")


def test_help_says_what_a_recipe_gives(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        run(TrainOptions, print, "train.py", ["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: 0.001 with --recipe released, 0.0001 with --recipe clean)" in text
    assert "(default: false with --recipe released, true with --recipe clean)" in text
    assert "--skip_bad true|false Leave out clips" in text
    assert "(default: 64)" in text
    assert "null" not in text


def help_of(capsys: Capture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_help_says_what_must_be_given(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        run(TestOptions, print, "test.py", ["--help"])
    text = capsys.readouterr().out
    assert text.startswith("usage: test.py --data_root PATH --checkpoint PATH [--flag value ...]\n")
    assert "written by train.py or by the authors' release. (required)" in " ".join(text.split())
    assert text.count("(required)") == 2
    assert help_of(capsys, "export", "--help").startswith("usage: main.py export CHECKPOINT [--flag value ...]\n")
    assert help_of(capsys, "predict", "--help").startswith("usage: main.py predict CLIPS [...] ")


def test_help_shows_flags_in_groups(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        run(TrainOptions, print, "train.py", ["--help"])
    text = capsys.readouterr().out
    titles = ["\noptions:\n", "\ndata:\n", "\ntraining:\n", "\nmachine:\n", "\noutputs:\n"]
    assert sorted(titles, key=text.index) == titles
    options = text[text.index("\noptions:") : text.index("\ndata:")]
    of_any_program = {"--config", "--print_config", "--debug", "--model_type", "--seed"}
    assert set(re.findall(r"^  (--\w+)", options, re.MULTILINE)) == of_any_program
    assert "--resume auto|PATH" in text
    assert "--config FILE" in text
    assert "--no-FLAG false." in " ".join(text.split())
    assert GROUPS.keys() <= {flag.name for source in (TrainOptions, TestOptions) for flag in flags_of(source)}


@pytest.mark.parametrize(
    ("arguments", "named"), [([], "--data_root, --checkpoint"), (["--checkpoint", "c"], "--data_root")]
)
def test_what_is_missing_is_named_as_it_is_typed(arguments: list[str], named: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        run(TestOptions, print, "test.py", arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"test.py: error: the following arguments are required: {named} (see --help)\n"


@pytest.mark.parametrize("options", [TrainOptions, TestOptions, PredictOptions])
def test_every_flag_has_a_sentence(options: type) -> None:
    for flag in flags_of(options):
        assert len(flag.help.split()) > 3, flag.name
        assert flag.help.endswith("."), flag.name


def test_recipes_fill_in_flags() -> None:
    names = {flag.name for flag in flags_of(TrainOptions) if flag.default is None}
    assert RECIPES["released"].keys() <= names


def test_help_of_main_is_fast() -> None:
    code = "import sys, main\ntry: main.main(['--help'])\nexcept SystemExit: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in COMMANDS)
    assert not [name for name in ("torch", "numpy", "cv2", "jsonargparse", "scripts") if f"'{name}'" in done.stdout]


@pytest.mark.parametrize(
    ("error", "code"),
    [(DataError("meta_data.csv, row 3: no path"), 2), (FileNotFoundError(2, "No such file", "a.csv"), 2)],
)
def test_what_a_user_can_mend_is_one_line(error: Exception, code: int, capsys: Capture) -> None:
    def fail() -> None:
        raise error

    assert guard(fail, "test.py") == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"test.py: error: {error}"
    assert guard(fail, "test.py", debug=True) == code
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [TypeError, KeyError, IndexError, ValueError, RuntimeError, UnicodeDecodeError])
def test_a_fault_of_the_program_keeps_its_traceback(error: type[Exception]) -> None:
    def fail() -> None:
        raise UnicodeDecodeError("utf-8", b"", 0, 1, "bad") if error is UnicodeDecodeError else error("a fault")

    with pytest.raises(error):
        guard(fail, "test.py")


def test_sigterm_is_143_and_cleans_up(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from utils.cli import guard; from utils.files import replacing\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "def work():\n"
        "    with replacing(folder / 'result') as temporary:\n"
        "        temporary.write_bytes(b'half')\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "sys.exit(guard(work, 'train.py'))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (143, "train.py: stopped by SIGTERM\n")
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # and no handler stays in a process that goes on


def test_a_program_in_a_locale_of_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import sys\nfrom utils.cli import run\n\n"
        "def read(file: str) -> None:\n    open(file)\n\nsys.exit(run(read, read, 'program.py'))\n"
    )
    locale = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, tmp_path / "program.py", "--file", f"{tmp_path}/né.csv"]
    done = subprocess.run(command, env=locale, capture_output=True, check=False)
    (line,) = done.stderr.decode().splitlines()
    assert (done.returncode, "né.csv" in line) == (2, True)


def test_a_locale_without_unicode(tmp_path: Path) -> None:
    code = (
        "import sys, logging; from pathlib import Path; from utils.cli import start_logging, log_to_file\n"
        f"start_logging(); log_to_file(Path({str(tmp_path)!r}) / 'run.log'); logging.info('mean \\u2713')\n"
        "print('\\u2713')"
    )
    locale = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=locale, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"\\u2713\n"
    assert "mean ✓" in (tmp_path / "run.log").read_text(encoding="utf-8")
