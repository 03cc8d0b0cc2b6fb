"""From a configuration to the plain values that hold for one point of its grid."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from rareseg.experiments import catalogue
from rareseg.experiments._yaml import ConfigError
from rareseg.experiments.place import Source
from rareseg.experiments.sections import Config, Evaluation, Pipeline, Training

_SECTIONS: dict[str, type[BaseModel]] = {"pipeline": Pipeline, "training": Training, "evaluation": Evaluation}


def merge(base: Any, change: Any, *, whole_entries: bool = True) -> Any:
    """Return ``base`` with ``change`` merged in key by key; `overrides` are added, every other list is replaced.

    Args:
        base: Plain data.
        change: What differs.
        whole_entries: Whether every entry of `networks` and `losses` is replaced; if not, those that give their `name`.
    """
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    merged = dict(base)
    for key, value in change.items():
        known = base.get(key)
        if key == "overrides" and isinstance(known, list) and isinstance(value, list):
            merged[key] = [*known, *value]
        elif key in ("networks", "losses") and isinstance(known, dict) and isinstance(value, dict):
            merged[key] = {**known, **value} if whole_entries else _changed(known, value)
        else:
            merged[key] = merge(known, value, whole_entries=whole_entries)
    return merged


def _changed(known: Any, given: Any) -> Any:
    """Return options with some changed; a `name` begins anew, as options of one network mean nothing to another."""
    if not (isinstance(known, dict) and isinstance(given, dict)) or "name" in given:
        return given
    return {**known, **{option: _changed(known.get(option), value) for option, value in given.items()}}


def triples(config: Config) -> Iterator[dict[str, str]]:
    """Yield data set, network and loss of every point, in the order of the grid; none twice."""
    seen: set[tuple[str, str, str]] = set()
    for product in config.grid.root:
        for dataset in product.dataset:
            for network in product.network:
                for loss in product.loss:
                    if (dataset, network, loss) not in seen:
                        seen.add((dataset, network, loss))
                        yield {"dataset": dataset, "network": network, "loss": loss}


def cells(config: Config) -> list[tuple[str, str, str, str]]:
    """Return every point of the grid without its seed: data set, network, loss, swept arguments."""
    return [
        (point["dataset"], point["network"], point["loss"], arguments_text(swept))
        for point in triples(config)
        for swept in swept_at(config, point["loss"])
    ]


def swept_at(config: Config, loss: str) -> list[dict[str, float]]:
    """Return the swept arguments of a loss, one mapping per point of its sweep; without one, a single empty mapping."""
    if loss not in config.sweep:
        return [{}]
    found = []
    for product in config.sweep[loss].root:
        found += [dict(zip(product, values, strict=True)) for values in itertools.product(*product.values())]
    return found


def arguments_text(swept: dict[str, float]) -> str:
    """Return ``epsilon=0.5;omega=10``."""
    return ";".join(f"{argument}={value:g}" for argument, value in swept.items())


def sections_at(config: Config, point: Mapping[str, str], source: Source | None = None) -> dict[str, Any]:
    """Return `pipeline`, `training` and `evaluation` for one point of the grid, overrides applied in order.

    Args:
        config: The configuration.
        point: ``dataset``, ``network`` and ``loss``, as far as there are any.
        source: Where keys were written, for messages.

    Raises:
        ConfigError: An override holds a key or a value that cannot be.
    """
    plain = {name: getattr(config, name).model_dump() for name in _SECTIONS}
    changes: dict[str, list[tuple[int, Any]]] = {name: [] for name in plain}
    for index, override in enumerate(config.overrides):
        if all(point.get(kind) in _names(names) for kind, names in override.where.items()):
            for name, applied in changes.items():
                plain[name] = merge(plain[name], getattr(override, name))
                applied.append((index, getattr(override, name)))
    built = {}
    for name, kind in _SECTIONS.items():
        try:
            built[name] = kind.model_validate(plain[name])
        except ValidationError as error:
            raise ConfigError(_blamed(error, name, changes[name], source)) from error
    return built


def _names(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


def _blamed(error: ValidationError, section: str, changes: list[tuple[int, Any]], source: Source | None) -> str:
    """Return one sentence for what is wrong with an override: of several, the last that holds the key."""
    first = error.errors()[0]
    index, _ = max(changes, key=lambda one: (_depth(one[1], first["loc"]), one[0]))
    loc = ("overrides", index, section, *first["loc"])
    place = source.place(loc) if source else ".".join(map(str, loc))
    return f"{place}: {mistake(first, (section, *first['loc']))}"


def _depth(values: Any, loc: tuple[Any, ...]) -> int:
    """Return how many parts of ``loc`` lead to something in nested values."""
    if not (loc and isinstance(values, dict) and loc[0] in values):
        return 0
    return 1 + _depth(values[loc[0]], loc[1:])


def mistake(error: Mapping[str, Any], loc: tuple[Any, ...]) -> str:
    """Return what is wrong with a key, by what pydantic says of it.

    Args:
        error: One of ``ValidationError.errors()``.
        loc: Where the key stands in a configuration.
    """
    if error["type"] == "extra_forbidden":
        return f"unknown key{catalogue.nearest(str(loc[-1]), keys_at(loc[:-1]))}"
    if error["type"] == "missing":
        return "is missing"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}, found {error['input']!r}"


def keys_at(loc: tuple[Any, ...]) -> list[str]:
    """Return the keys that the section at ``loc`` knows."""
    schema = Config.model_json_schema()
    node: Any = schema
    for part in loc:
        node = _subschema(node, schema, str(part))
    return list(_followed(node, schema).get("properties", {}))


def _subschema(node: Any, schema: Mapping[str, Any], part: str) -> Any:
    node = _followed(node, schema)
    if part in node.get("properties", {}):
        return node["properties"][part]
    return node.get("items") or node.get("additionalProperties") or {}


def _followed(node: Any, schema: Mapping[str, Any]) -> Any:
    """Follow references, and of alternatives take the first that is a mapping or a list."""
    while isinstance(node, dict) and ("$ref" in node or "anyOf" in node):
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        else:
            node = next((one for one in node["anyOf"] if "$ref" in one or one.get("type") != "null"), {})
    return node if isinstance(node, dict) else {}


def loss_at(config: Config, loss: str, swept: Mapping[str, float]) -> dict[str, Any]:
    """Return the loss of a point with all arguments."""
    given = {"name": loss, **config.losses.get(loss, {}), **swept}
    return catalogue.filled(renamed(config, given), catalogue.losses())


def renamed(config: Config, loss: Mapping[str, Any]) -> dict[str, Any]:
    """Return a loss with its arguments, those of adaptive_log under the names that `symbols` gives."""
    names = config.symbols.renamed if loss["name"] == "adaptive_log" else {}
    return {names.get(key, key): value for key, value in loss.items()}


def network_at(config: Config, network: str) -> dict[str, Any]:
    """Return the network of a point with all options."""
    return catalogue.filled(config.networks[network], catalogue.networks())


def settings_at(config: Config, point: Mapping[str, str], swept: Mapping[str, float]) -> dict[str, Any]:
    """Return the plain values of the sections `dataset`, `pipeline`, `network`, `loss`, `training`, `evaluation`."""
    settings = {name: section.model_dump(mode="json") for name, section in sections_at(config, point).items()}
    settings["dataset"] = config.datasets[point["dataset"]].model_dump(mode="json")
    settings["network"] = network_at(config, point["network"]) if "network" in point else None
    settings["loss"] = loss_at(config, point["loss"], swept) if "loss" in point else None
    return settings
