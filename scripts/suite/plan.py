"""The suite file: which detectors, on which corpora, under which protocols."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dataset.corpora import NAMES as CORPORA
from dataset.protocols import NAMES as PROTOCOLS
from scripts.evaluate.others import Others
from utils.errors import DataError
from utils.files import plain_name


@dataclass(frozen=True)
class Detector:
    """A detector by its name in the table: a checkpoint for all tests ("") or one a fold, or another's scores."""

    name: str
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    others: Others | None = None


@dataclass(frozen=True)
class Test:
    """A corpus under a protocol."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    corpus: str
    dataset: str
    data_root: Path
    protocol: str | None
    lists: Path | None = None
    trim_silence: bool = False
    folds: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.corpus}, {self.protocol or 'default'}{', trimmed' if self.trim_silence else ''}"


@dataclass(frozen=True)
class Plan:
    """What a suite file asks for."""

    detectors: list[Detector]
    tests: list[Test]
    groups: dict[str, list[str]]


def read_plan(path: Path) -> Plan:
    """Read a suite file; paths in it are relative to where the command is run.

    `DataError` says so if it is absent, no YAML, or has an entry that is not known; the message names it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
    try:
        return _plan(content)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _plan(content: Any) -> Plan:
    _check("the file", content, {"detectors", "corpora", "groups"}, needed={"detectors", "corpora"})
    detectors = [_detector(*entry) for entry in _mapping("detectors", content["detectors"]).items()]
    corpora = _mapping("corpora", content["corpora"])
    tests = [test for name, entry in corpora.items() for test in _tests(str(name), entry)]
    names = [test.name for test in tests]
    if again := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{again[0]} is there twice")
    return Plan(detectors, tests, _groups(content.get("groups") or {}, tests))


def _detector(name: Any, entry: Any) -> Detector:
    name = plain_name(str(name), "detector")
    where = f"detector {name}"
    if isinstance(entry, str):
        return Detector(name, {"": Path(entry)})
    if isinstance(entry, Mapping) and "scores" in entry:
        _check(where, entry, {"scores", "column", "polarity", "threshold"}, needed={"scores"})
        polarity = entry.get("polarity")
        if polarity not in ("real", "fake", None):
            raise DataError(f"polarity of {where} is {polarity!r}; a high score means real or fake")
        threshold = entry.get("threshold", 0.5)
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
            raise DataError(f"threshold of {where} is {threshold!r}, not a number")
        scores = Path(str(entry["scores"]))
        return Detector(name, others=Others(scores, str(entry.get("column", "score")), polarity, float(threshold)))
    if isinstance(entry, Mapping) and entry and all(str(fold).startswith("train_") for fold in entry):
        return Detector(name, {str(fold): Path(str(file)) for fold, file in entry.items()})
    raise DataError(f"{where} must be a checkpoint, one a fold (train_1: FILE), or scores: FILE, polarity: …")


def _tests(name: str, entry: Any) -> list[Test]:
    where = f"corpus {name}"
    _check(where, entry, {"dataset", "data_root", "protocols"}, needed={"data_root"})
    dataset = entry.get("dataset", "fakeavceleb")
    if dataset not in CORPORA:
        raise DataError(f"dataset of {where} is {dataset!r}; known are {', '.join(CORPORA)}")
    protocols = entry.get("protocols", [None])
    tests = []
    for one in protocols if isinstance(protocols, list) else [protocols]:
        given = one if isinstance(one, Mapping) else {"name": one}
        _check(f"a protocol of {where}", given, {"name", "lists", "trim_silence", "folds"})
        if given.get("name") is not None and given["name"] not in PROTOCOLS:
            raise DataError(f"{where} has protocol {given['name']!r}; known are {', '.join(PROTOCOLS)}")
        lists = None if given.get("lists") is None else Path(str(given["lists"]))
        folds = tuple(f"train_{str(fold).removeprefix('train_')}" for fold in given.get("folds") or ())
        trimmed = bool(given.get("trim_silence", False))
        tests.append(Test(name, dataset, Path(str(entry["data_root"])), given.get("name"), lists, trimmed, folds))
    return tests


def _groups(groups: Any, tests: list[Test]) -> dict[str, list[str]]:
    """Name of each group → its tests; a corpus stands for all of its tests."""
    found = {}
    for name, members in _mapping("groups", groups, empty=True).items():
        listed = [str(member) for member in (members if isinstance(members, list) else [members])]
        known = {test.name for test in tests} | {test.corpus for test in tests}
        unknown = [member for member in listed if member not in known]
        if unknown:
            raise DataError(f"group {name} has {unknown[0]!r}; known are {'; '.join(sorted(known))}")
        found[str(name)] = [test.name for test in tests if test.name in listed or test.corpus in listed]
    return found


def _mapping(where: str, entry: Any, empty: bool = False) -> Mapping[Any, Any]:
    if not isinstance(entry, Mapping) or not (entry or empty):
        raise DataError(f"{where} must name {'them' if empty else 'at least one'}, as NAME: …")
    return entry


def _check(where: str, entry: Any, known: set[str], needed: set[str] | None = None) -> None:
    if not isinstance(entry, Mapping):
        raise DataError(f"{where} must have the entries {', '.join(sorted(known))}")
    unknown = sorted(str(name) for name in entry.keys() - known)
    if unknown:
        raise DataError(f"{where} has the unknown entry {unknown[0]}; known are {', '.join(sorted(known))}")
    missing = sorted((needed or set()) - entry.keys())
    if missing:
        raise DataError(f"{where} lacks the entry {missing[0]}")
