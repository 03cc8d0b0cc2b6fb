"""Reads a YAML file that a stranger may have written: plain data, and the line on which each key stands.

PyYAML's own loader reads ``1e-3`` as text, ``no`` as false, ``010`` as eight and lets the last of two equal keys
win. Here numbers and booleans are those of YAML 1.2, and a tag, a key that stands twice, a large, a deep or a
many-aliased document is refused.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1_000_000
MOST_LEVELS = 50
MOST_ALIASES = 20


class ConfigError(ValueError):
    """A mistake in a configuration or on the command line: one sentence, shown without a traceback, exit code 2."""


class _Loader(yaml.SafeLoader):
    """Safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own form)


_SCALARS = [
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
]
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: _number(str(node.value)))


def _number(text: str) -> float:
    """Return the float that YAML 1.2 means, ``.inf`` and ``.nan`` included."""
    return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))


def read(path: Path) -> tuple[Any, dict[tuple[str, ...], int]]:
    """Read one document.

    Args:
        path: A YAML file of at most 1 MB.

    Returns:
        The plain data, and the line (from 1) of every key, by its path from the root.

    Raises:
        ConfigError: If the file cannot be read or breaks a rule of the module; names file and line.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: larger than {MOST_BYTES} bytes. A configuration holds settings only")
        text = path.read_text(encoding="utf-8")
        return parse(text, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Give the path of a YAML file in UTF-8") from error


def parse(text: str, name: str) -> tuple[Any, dict[tuple[str, ...], int]]:
    """Parse ``text`` as :func:`read` does; ``name`` is what errors call it."""
    try:
        _check_shape(text, name)
        node = yaml.compose(text, _Loader)
        if node is None:
            return {}, {}
        lines = dict(_lines(node, (), name))
        loader = _Loader("")
        return loader.construct_document(node), lines
    except ConfigError:
        raise
    except RecursionError as error:
        raise ConfigError(f"{name}: an alias refers to itself. Write the values out") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError(f"{where}: not YAML: {getattr(error, 'problem', None) or error}") from error


def _check_shape(text: str, name: str) -> None:
    """Refuse tags, deep nesting and many aliases, before anything recursive runs over the document."""
    level = aliases = 0
    for event in yaml.parse(text, _Loader):
        if tag := getattr(event, "tag", None):
            where = f"{name}:{event.start_mark.line + 1}"
            raise ConfigError(f"{where}: expected plain data, found the tag {tag}. Take it out")
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if level > MOST_LEVELS or aliases > MOST_ALIASES:
            what = f"deeper than {MOST_LEVELS} levels" if level > MOST_LEVELS else f"more than {MOST_ALIASES} aliases"
            raise ConfigError(f"{name}:{event.start_mark.line + 1}: {what}. Write the values out")


def _lines(node: yaml.Node, path: tuple[str, ...], name: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the line of every key below ``node``; refuse a key that is no word, or stands twice."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, str(index)), item.start_mark.line + 1
            yield from _lines(item, (*path, str(index)), name)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{name}:{line}: expected a word as a key, found a {key.id}")
            if key.value in seen:
                raise ConfigError(
                    f"{name}:{line}: `{key.value}` stands twice, first on line {seen[key.value]}. Keep one"
                )
            seen[key.value] = line
            yield (*path, key.value), line
            yield from _lines(value, (*path, key.value), name)
