"""Reads a configuration: YAML file, profile and command line merged and checked.

Every mistake is named with file, line, key and the nearest valid name.

``sections.py`` says what the keys may hold, ``checks.py`` what must hold between them, ``resolve.py`` what holds for
one run. Everything stays plain data; networks, losses and batches are built from it late, in the worker processes.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rareseg.experiments import _yaml, catalogue
from rareseg.experiments._yaml import ConfigError
from rareseg.experiments.checks import check
from rareseg.experiments.place import Source
from rareseg.experiments.resolve import cells, merge, mistake
from rareseg.experiments.sections import Config

__all__ = ["PROFILES", "Config", "ConfigError", "cells", "document", "merge", "read"]

PROFILES = ("paper", "cpu", "demo")


def read(path: Path, profile: str = "paper", settings: Sequence[str] = ()) -> Config:
    """Read and check a configuration.

    Args:
        path: The YAML file.
        profile: ``paper``, ``cpu`` or ``demo``; all three are checked whichever is asked for.
        settings: Changes of the command line, each ``a.b=value``.

    Returns:
        The configuration; its title says "thinned" where it has fewer cells than the file has in profile ``paper``.

    Raises:
        ConfigError: Names file, line, key, what was expected and the nearest valid name.
    """
    if profile not in PROFILES:
        raise ConfigError(f"--profile {profile}: unknown, known are {', '.join(PROFILES)}")
    base, profiles, lines = document(path)
    merged = {name: merge(base, profiles.get(name) or {}) for name in PROFILES}
    written = {name: _validate(values, Source(path, lines, name)) for name, values in merged.items()}
    changed = reduce(_set, map(_setting, settings), merged[profile])
    chosen = _validate(changed, Source(path, lines, profile, tuple(settings))) if settings else written[profile]
    thinned = set(cells(written["paper"])) > set(cells(chosen))
    return chosen.model_copy(update={"title": f"{chosen.title}, thinned"}) if thinned else chosen


def document(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[tuple[str, ...], int]]:
    """Return the file without its profiles, the profiles, and the line of every key."""
    found, lines = _yaml.read(path)
    if not isinstance(found, dict):
        raise ConfigError(
            f"{path}: expected a mapping of keys such as `table` and `grid`, found {type(found).__name__}"
        )
    profiles = found.pop("profiles", None) or {}
    source = Source(path, lines, "paper")
    if not isinstance(profiles, dict):
        raise ConfigError(f"{source.place(('profiles',))}: expected a mapping of profiles, found {profiles!r}")
    for name, changes in profiles.items():
        place = source.place(("profiles", name))
        if name not in PROFILES:
            raise ConfigError(f"{place} is unknown, known are {', '.join(PROFILES)}")
        if not isinstance(changes, dict | None):
            raise ConfigError(f"{place}: expected a mapping of what differs, found {changes!r}")
    return found, profiles, lines


def _set(merged: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Merge in a setting of the command line, which also goes before every override."""
    last = {key: value for key, value in change.items() if key in ("pipeline", "training", "evaluation")}
    changed = merge(merged, change, whole_entries=False)
    return merge(changed, {"overrides": [{"where": {}, **last}]} if last else {})


def _setting(text: str) -> dict[str, Any]:
    """Turn ``a.b=value`` of the command line into a nested mapping."""
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise ConfigError(f"--set {text}: expected key.key=value, for example --set training.epochs=10")
    tree, _ = _yaml.parse(f"value: {value}", f"--set {path}")
    result = tree["value"]
    for key in reversed(path.split(".")):
        result = {key: result}
    return result


def _validate(merged: dict[str, Any], source: Source) -> Config:
    """Check types and ranges, then what must hold between keys."""
    try:
        config = Config.model_validate(_completed(merged, source.path))
    except ValidationError as error:
        raise ConfigError(_sentence(error, source)) from error
    check(config, source)
    return config


def _completed(merged: dict[str, Any], path: Path) -> dict[str, Any]:
    """Fill in what follows from the rest: names of table and networks, the leading network and loss."""
    products = merged.get("grid")
    products = [one for one in (products if isinstance(products, list) else [products]) if isinstance(one, dict)]
    networks, losses = (_words(one.get(kind) for one in products) for kind in ("network", "loss"))
    known = {name: {"name": name} for name in networks if name in catalogue.networks()}
    table = merged.get("table", path.stem)
    leading = {"network": (networks or ["none"])[0], "reference": (losses or ["none"])[0]}
    filled = {"table": table, "title": table, "report": leading, "networks": known}
    return {**filled, **merged, **{key: merge(filled[key], merged.get(key, {})) for key in ("report", "networks")}}


def _words(lists: Iterable[Any]) -> list[str]:
    """Return the names in some lists; what is no list or no name is refused later, with its line."""
    return [name for names in lists if isinstance(names, list) for name in names if isinstance(name, str)]


def _sentence(error: ValidationError, source: Source) -> str:
    """Return one sentence for the first mistake, and the number of the others."""
    first, *others = sorted(
        error.errors(), key=lambda one: one["type"] != "extra_forbidden"
    )  # a misspelt key is also a missing one
    loc = tuple(part for part in first["loc"] if not str(part).startswith("function-"))
    text = f"{source.place(loc)}: {mistake(first, loc)}"
    return f"{text}. {len(others)} more mistakes in this file" if others else text
