"""The resolved configuration of a run, and what its folds do not have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from scripts.report.markup import Html, bullets, counted, element, join, paragraph, table
from scripts.report.runs import Run

# These are of a fold, not of the run.
OF_A_FOLD = {"fold", "train_fold", "checkpoint", "environment.hours", "environment.epochs"}
ABSENT = "(not recorded)"


def configuration(run: Run) -> Html:
    """Show every setting of a run; those in which its folds differ come first."""
    if not run.configs:
        return paragraph("There is no configuration: no metrics.json can be read.")
    configs = {fold: flat(config) for fold, config in run.configs.items()}
    differing = differences(configs)
    parts = []
    if differing:
        parts.append(paragraph(element("strong", f"The folds differ in {', '.join(differing)}.")))
        body = [[name, *values.values()] for name, values in differing.items()]
        parts.append(table(f"{run.name}: settings that differ between folds", ["setting", *configs], body))
    elif len(configs) > 1:
        parts.append(paragraph("All folds have the same settings."))
    names = dict.fromkeys(name for config in configs.values() for name in config if name != "fold")
    body = [[name, _values(name, configs)] for name in names]
    settings = table(f"{run.name}: all settings", ["setting", "value"], body)
    parts.append(element("details", element("summary", f"All {len(names)} settings"), settings))
    return join([*parts, _skipped(run)])


def flat(config: Mapping[str, Any]) -> dict[str, str]:
    """Turn a configuration into text, with names such as environment.versions.torch; skipped clips are counted."""
    settings: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            settings |= {f"{name}.{key}": text for key, text in flat(value).items()}
        elif name == "skipped" and isinstance(value, list):
            settings[name] = counted(len(value), "clip")
        else:
            settings[str(name)] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return settings


def differences(configs: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return the settings, `flat`, in which folds differ that should not: name → fold → value."""
    names = dict.fromkeys(name for config in configs.values() for name in config if name not in OF_A_FOLD)
    found = {name: {fold: config.get(name, ABSENT) for fold, config in configs.items()} for name in names}
    return {name: values for name, values in found.items() if len(set(values.values())) > 1 and name != "skipped"}


def _values(name: str, configs: Mapping[str, Mapping[str, str]]) -> object:
    values = {fold: config.get(name, ABSENT) for fold, config in configs.items()}
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return bullets(f"{fold}: {value}" for fold, value in values.items())


def _skipped(run: Run) -> Html:
    clips = skipped(run)
    if not clips:
        return Html()
    body = [[file, why] for file, why in clips.items()]
    return table(f"{run.name}: clips that were skipped", ["file", "why"], body)


def skipped(run: Run) -> dict[str, str]:
    """Clips that a run went on without, and why."""
    clips: dict[str, str] = {}
    for config in run.configs.values():
        listed = config.get("skipped")
        for entry in listed if isinstance(listed, list) else []:
            file, *why = entry if isinstance(entry, list) and entry else [entry]
            clips[str(file)] = ", ".join(map(str, why))
    return clips
