"""Reads a configuration: YAML file, profile and command line merged and checked.

Every mistake is named with file, line, key and the nearest valid name.

``sections.py`` says what the keys may hold. Everything stays plain data; networks, losses and batches are built from it
late, in the worker processes.
"""

import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from rareseg.experiments import _yaml, catalogue
from rareseg.experiments._yaml import ConfigError
from rareseg.experiments.catalogue import nearest
from rareseg.experiments.sections import Config, Evaluation, Pipeline, Training

__all__ = ["PROFILES", "Config", "ConfigError", "merge", "read", "sections_at"]

PROFILES = ("paper", "cpu", "demo")


def read(path: Path, profile: str = "paper", settings: list[str] | None = None) -> Config:
    """Read and check a configuration.

    Args:
        path: The YAML file.
        profile: ``paper``, ``cpu`` or ``demo``; all three are checked whichever is asked for.
        settings: Changes of the command line, each ``a.b=value``.

    Raises:
        ConfigError: Names file, line, key, what was expected and the nearest valid name.
    """
    document, lines = _yaml.read(path)
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path}: expected a mapping of keys such as `table` and `grid`, found {type(document).__name__}"
        )
    profiles = document.pop("profiles", None) or {}
    if unknown := [name for name in profiles if name not in PROFILES]:
        line = lines[("profiles", unknown[0])]
        raise ConfigError(f"{path}:{line}: profiles.{unknown[0]} is unknown, known are {', '.join(PROFILES)}")
    chosen = None
    for name in PROFILES:
        source = _Source(path, lines, name)
        merged = merge(document, profiles.get(name, {}))
        if name == profile:
            for setting in settings or []:
                merged = _set(merged, _setting(setting))
            source = _Source(path, lines, name, tuple(settings or []))
        checked = _validate(merged, source)
        chosen = checked if name == profile else chosen
    if chosen is None:
        raise ConfigError(f"--profile {profile}: unknown, known are {', '.join(PROFILES)}")
    return chosen


def merge(base: Any, change: Any) -> Any:
    """Return ``base`` with ``change`` merged in key by key; `overrides` are added, every other list is replaced."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    merged = dict(base)
    for key, value in change.items():
        if key == "overrides" and isinstance(value, list):
            merged[key] = [*base.get(key, []), *value]
        elif key in ("networks", "losses"):
            merged[key] = {**base.get(key, {}), **value}  # options of one network mean nothing to another
        else:
            merged[key] = merge(base[key], value) if key in base else value
    return merged


def _set(document: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Merge in a setting of the command line, which also goes before every override."""
    last = {key: value for key, value in change.items() if key in ("pipeline", "training", "evaluation")}
    return merge(merge(document, change), {"overrides": [{"where": {}, **last}]} if last else {})


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


class _Source:
    """Knows where a key of the merged document was written."""

    def __init__(
        self, path: Path, lines: dict[tuple[str, ...], int], profile: str, settings: tuple[str, ...] = ()
    ) -> None:
        self.path, self.lines, self.profile, self.settings = path, lines, profile, settings

    def place(self, loc: tuple[Any, ...]) -> str:
        """Return ``file:line: a.b`` for a key, or the option of the command line that set it."""
        keys = tuple(str(part) for part in loc)
        dotted = ".".join(keys)
        for setting in self.settings:
            if f"{dotted}.".startswith(setting.partition("=")[0] + ".") or setting.startswith(f"{dotted}."):
                return f"--set {dotted}"
        own = sum(len(path) == 2 and path[0] == "overrides" for path in self.lines)
        if keys[0] == "overrides" and len(keys) > 1 and int(keys[1]) >= own:  # the profile's come after the file's
            keys = ("profiles", self.profile, "overrides", str(int(keys[1]) - own), *keys[2:])
        for depth in range(len(keys), 0, -1):
            for path in (("profiles", self.profile, *keys[:depth]), keys[:depth]):
                if path in self.lines:
                    return f"{self.path}:{self.lines[path]}: {dotted}"
        return f"{self.path}: {dotted}"


def _validate(document: dict[str, Any], source: _Source) -> Config:
    """Check types and ranges, then names against each other and against the catalogue."""
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_sentence(error, source)) from error
    _check_names(config, source)
    _check_points(config, source)
    return config


def _sentence(error: ValidationError, source: _Source) -> str:
    """Return one sentence for the first mistake, and the number of the others."""
    first, *others = sorted(
        error.errors(), key=lambda one: one["type"] != "extra_forbidden"
    )  # a misspelt key is also a missing one
    loc = tuple(part for part in first["loc"] if not str(part).startswith("function-"))
    if first["type"] == "extra_forbidden":
        text = f"{source.place(loc)}: unknown key{nearest(str(loc[-1]), _keys_at(loc[:-1]))}"
    elif first["type"] == "missing":
        text = f"{source.place(loc)}: is missing"
    else:
        text = f"{source.place(loc)}: {first['msg'][0].lower()}{first['msg'][1:]}, found {first['input']!r}"
    return f"{text}. {len(others)} more mistakes in this file" if others else text


def _keys_at(loc: tuple[Any, ...]) -> list[str]:
    """Return the keys that the section at ``loc`` knows."""
    kind: Any = Config
    for part in loc:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        elif get_origin(kind) in (dict, list):
            kind = get_args(kind)[-1]
        if get_origin(kind) in (Union, types.UnionType):
            kind = next(one for one in get_args(kind) if one is not type(None))
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _check_names(config: Config, source: _Source) -> None:
    """Check that grid, networks and losses name what exists."""
    for kind, known in (("dataset", config.datasets), ("network", config.networks)):
        for index, name in enumerate(getattr(config.grid, kind)):
            if name not in known:
                raise ConfigError(
                    f"{source.place(('grid', kind, index))}: "
                    f"`{name}` does not stand under `{kind}s`{nearest(name, known)}"
                )
    for key in config.datasets:
        if key not in catalogue.datasets():
            raise ConfigError(
                f"{source.place(('datasets', key))}: unknown data set{nearest(key, catalogue.datasets())}"
            )
    for index, name in enumerate(config.grid.loss):
        if name not in config.losses and name not in catalogue.losses():
            raise ConfigError(
                f"{source.place(('grid', 'loss', index))}: unknown loss `{name}`{nearest(name, catalogue.losses())}"
            )
    for kind, known in (("losses", catalogue.losses()), ("networks", catalogue.networks())):
        for key, options in getattr(config, kind).items():
            try:
                catalogue.check({"name": key, **options} if kind == "losses" else options, known)
            except ValueError as error:
                option = str(getattr(error, "option", "name"))
                raise ConfigError(f"{source.place((kind, key, option))}: {error}") from error


def _check_points(config: Config, source: _Source) -> None:
    """Check every combination that overrides make, and what must hold between keys."""
    for index, override in enumerate(config.overrides):
        for kind, names in override.where.items():
            for name in [names] if isinstance(names, str) else names:
                if name not in getattr(config.grid, kind) and name not in getattr(
                    config, f"{kind}s" if kind != "loss" else "losses"
                ):
                    known = getattr(config.grid, kind)
                    raise ConfigError(
                        f"{source.place(('overrides', index, 'where', kind))}: "
                        f"`{name}` is not in the grid{nearest(name, known)}"
                    )
    for key, section in config.datasets.items():
        if abs(sum(section.split.fractions) - 1) > 1e-9 or min(section.split.fractions) < 0:
            raise ConfigError(
                f"{source.place(('datasets', key, 'split', 'fractions'))}: expected three shares that add up to 1"
            )
        if section.split.fractions[1]:
            raise ConfigError(
                f"{source.place(('datasets', key, 'split', 'fractions'))}: `selection: last` uses no validation cases. "
                "Make the second share 0"
            )
    for dataset in config.grid.dataset:
        for network in config.grid.network:
            for loss in config.grid.loss:
                _check_point(config, {"dataset": dataset, "network": network, "loss": loss}, source)


def _check_point(config: Config, point: dict[str, str], source: _Source) -> None:
    """Check the sections that hold for one point of the grid."""
    sections = sections_at(config, point, source)
    pipeline = sections["pipeline"]
    if pipeline.analysis == "patches" and pipeline.patch is None:
        raise ConfigError(
            f"{source.place(('pipeline', 'patch'))}: is needed with `analysis: patches`, for example [48, 48]"
        )
    factor = catalogue.size_factor(config.networks[point["network"]])
    size = pipeline.patch if pipeline.analysis == "patches" else config.datasets[point["dataset"]].size
    if size and any(side % factor for side in size):
        raise ConfigError(
            f"{source.path}: {point['dataset']} reaches the network {point['network']} as {size[0]} x {size[1]}, "
            f"which must be multiples of {factor}. Change `size` or `patch`"
        )


def sections_at(config: Config, point: dict[str, str], source: _Source | None = None) -> dict[str, Any]:
    """Return `pipeline`, `training` and `evaluation` for one point of the grid, overrides applied in order."""
    plain = {name: getattr(config, name).model_dump() for name in ("pipeline", "training", "evaluation")}
    blame: dict[str, int] = {}
    for index, override in enumerate(config.overrides):
        if all(point[kind] in ([names] if isinstance(names, str) else names) for kind, names in override.where.items()):
            for name in plain:
                if change := getattr(override, name):
                    plain[name] = merge(plain[name], change)
                    blame[name] = index
    built = {}
    for name, kind in (("pipeline", Pipeline), ("training", Training), ("evaluation", Evaluation)):
        try:
            built[name] = kind.model_validate(plain[name])
        except ValidationError as error:
            first = error.errors()[0]
            loc = ("overrides", blame.get(name, 0), name, *first["loc"])
            hint = (
                nearest(str(first["loc"][-1]), _keys_at((name, *first["loc"][:-1])))
                if first["type"] == "extra_forbidden"
                else ""
            )
            place = source.place(loc) if source else ".".join(map(str, loc))
            raise ConfigError(f"{place}: {'unknown key' if hint else first['msg'].lower()}{hint}") from error
    return built
