"""Every key of a configuration for readers (``--explain``) and for editors (``configs/schema.json``).

Both are read from the sections and the catalogue, so nothing is written twice.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from rareseg.experiments import catalogue, config, place
from rareseg.experiments.catalogue import nearest
from rareseg.experiments.config import Config, ConfigError
from rareseg.experiments.sections import Section

_SCHEMA = "https://json-schema.org/draft/2020-12/schema"


def explain(path: Path, profile: str, settings: list[str], key: str) -> Iterator[str]:
    """Yield one line per key: what it means, its default, its value in the profile, and the origin of that.

    Args:
        path: The configuration.
        profile: Name of the profile.
        settings: Changes of the command line.
        key: ``training``, ``training.optimiser.name``, ...; empty: all keys.

    Raises:
        ConfigError: If there is no such key; names the nearest.
    """
    chosen = config.read(path, profile, settings)
    _, _, lines = config.document(path)
    source = place.Source(path, lines, profile, tuple(settings))
    rows = list(_rows(chosen, source))
    wanted = [row for row in rows if not key or row[0] == key or row[0].startswith(f"{key}.")]
    if not wanted:
        raise ConfigError(f"--explain {key}: unknown key{nearest(key, [row[0] for row in rows])}")
    for name, meaning, default, value, origin in wanted:
        yield f"{name}: {meaning}"
        yield f"    default {default}; here {value}, from {origin}"


Row = tuple[str, str, str, str, str]


def _rows(chosen: Config, source: place.Source) -> Iterator[Row]:
    """Yield key, meaning, default, value and origin of every key of a configuration."""
    yield from _section(chosen, (), source)
    for kind, known in (("losses", catalogue.losses()), ("networks", catalogue.networks())):
        for key, given in getattr(chosen, kind).items():
            name = given.get("name", key)
            for option, entry in known[name].items():
                if option not in catalogue.SET_IN_CODE:
                    bounds = entry["range"] or ", ".join(map(str, entry["choices"] or [])) or "see the documentation"
                    value = given.get(option, entry["default"])
                    origin = source.place((kind, key, option)) if option in given else "default"
                    meaning = f"argument of {name}: {bounds}"
                    yield f"{kind}.{key}.{option}", meaning, _text(entry["default"]), _text(value), _place(origin)


def _section(section: Section, path: tuple[Any, ...], source: place.Source) -> Iterator[Row]:
    for name, field in type(section).model_fields.items():
        value, here = getattr(section, name), (*path, name)
        if path == () and name in ("losses", "networks"):
            continue  # explained by the catalogue
        if isinstance(value, Section):
            yield from _section(value, here, source)
        elif isinstance(value, dict) and value and all(isinstance(one, Section) for one in value.values()):
            for key, one in value.items():
                yield from _section(one, (*here, key), source)
        else:
            given = source.wrote(here) or value != field.get_default(call_default_factory=True)
            origin = _place(source.place(here)) if given else "default"
            yield _row(here, field, value, origin)
            for kind in get_args(field.annotation) if value is None else ():
                for inner, of_kind in getattr(kind, "model_fields", {}).items():
                    yield _row((*here, inner), of_kind, None, origin)


def _row(path: tuple[Any, ...], field: FieldInfo, value: Any, origin: str) -> Row:
    default = "none: it must be given" if field.is_required() else _text(field.get_default())
    return ".".join(map(str, path)), field.description or "", default, _text(value), origin


def _place(origin: str) -> str:
    """Return ``table3.yaml:12`` of ``/somewhere/table3.yaml:12: training.epochs``."""
    where = origin.split(": ")[0]
    return where if where.startswith("--set") else Path(where).name


def _text(value: Any) -> str:
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    return json.dumps(
        value, default=lambda one: one.model_dump(mode="json") if hasattr(one, "model_dump") else str(one)
    )


def schema() -> str:
    """Return the text of ``configs/schema.json``: what editors complete and check."""
    found = Config.model_json_schema()
    properties = found["properties"]
    named = {"losses": catalogue.losses(), "networks": catalogue.networks()}
    for kind, known in named.items():
        properties[kind]["additionalProperties"] = {"anyOf": [_of(name, entries) for name, entries in known.items()]}
    sections = found["$defs"]
    sections["Report"].pop("required")  # what is not given follows from the grid, see config.read
    for name in ("Grid", "Sweep"):
        sections[name] = {"anyOf": [sections[name]["items"], sections[name]]}  # a single one needs no list
    for name in ("Pipeline", "Training", "Evaluation"):
        sections["Override"]["properties"][name.lower()] = {"$ref": f"#/$defs/{name}"}
    partial = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    profiles = {"type": "object", "properties": dict.fromkeys(config.PROFILES, partial), "additionalProperties": False}
    properties["profiles"] = {**profiles, "description": "what differs in each profile, merged key by key"}
    found |= {"$schema": _SCHEMA, "title": "Configuration of rareseg", "required": ["grid", "datasets"]}
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def _of(name: str, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the schema of one loss or network."""
    options = {option: _option(entry) for option, entry in entries.items() if option not in catalogue.SET_IN_CODE}
    return {
        "title": name,
        "type": "object",
        "properties": {"name": {"const": name}, **options},
        "additionalProperties": False,
    }


def _option(entry: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"default": entry["default"]}
    if entry["choices"]:
        found["enum"] = entry["choices"]
    if entry["range"]:
        found["description"] = f"within {entry['range']}"
    return found
