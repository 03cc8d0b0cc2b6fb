"""What losses, networks and data sets there are, and what they take: known without importing Keras.

``configs/catalogue.json`` is generated from the signatures (``scripts/update_catalogue.py``); a test keeps it
current.
"""

import difflib
import functools
import importlib.resources
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from rareseg import datasets as _datasets

SET_IN_CODE = ("from_logits", "output", "seed")
"""Options that no configuration may give."""
HANDED_DOWN = ("ignore_class", "pool")
"""Arguments that the base of a loss gets from that loss and that it may not have itself."""
_INTERVAL = re.compile(r"^([\[(])\s*(-?inf|-?[\d.e-]+)\s*,\s*(inf|-?[\d.e-]+)\s*([\])])$")


@functools.cache
def _stored() -> dict[str, Any]:
    return json.loads(
        importlib.resources.files("rareseg.configs").joinpath("catalogue.json").read_text(encoding="utf-8")
    )


def losses() -> dict[str, dict[str, Any]]:
    """Return every loss with its arguments: default, range and choices of each."""
    return _stored()["losses"]


def networks() -> dict[str, dict[str, Any]]:
    """Return every network preset with its options: default, range and choices of each."""
    return _stored()["networks"]


def datasets() -> tuple[str, ...]:
    """Return the keys of all data sets."""
    return _datasets.names()


def readers() -> tuple[str, ...]:
    """Return who can read files: the data sets, and ``folder`` for one's own."""
    return (*_datasets.names(), "folder")


def filled(config: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``{"name": ..., **arguments}`` with every argument, so that equal things look equal.

    Args:
        config: A loss or a network, checked.
        known: `losses` or `networks`.
    """
    entries = {name: entry for name, entry in known[config["name"]].items() if name not in SET_IN_CODE}
    found: dict[str, Any] = {"name": config["name"]}
    for name, entry in entries.items():
        value = config.get(name, entry["default"])
        if isinstance(value, Mapping):
            value = {key: inner for key, inner in filled(value, known).items() if key not in HANDED_DOWN}
        if isinstance(entry["default"], float) and type(value) is int:
            value = float(value)
        found[name] = value
    return found


def size_factor(network: Mapping[str, Any]) -> int:
    """Return what each side of the input must be a multiple of."""
    options = filled(network, networks())
    return 2 ** int(options["depth"]) if "depth" in options else _stored()["size_factors"][network["name"]]


class OptionError(ValueError):
    """A wrong name or value; ``option`` is the key that carries it."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def check(config: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> None:
    """Check ``{"name": ..., **arguments}`` of a loss or a network against the catalogue.

    Raises:
        OptionError: If name, argument or value is not in the catalogue; lists what is.
    """
    name = str(config.get("name"))
    if name not in known:
        raise OptionError("name", f"unknown name `{name}`{nearest(name, known)}")
    for option, value in config.items():
        if option == "name":
            continue
        if option in SET_IN_CODE:
            raise OptionError(option, f"`{option}` is set by the program. Remove it")
        if option not in known[name]:
            raise OptionError(option, f"`{name}` does not take `{option}`{nearest(option, known[name])}")
        if option == "base" and value is not None:
            _check_base(value if isinstance(value, Mapping) else {"name": value}, known)
        else:
            _check_value(option, value, known[name][option])


def _check_base(base: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> None:
    """Check the base of a loss as a loss, and that it leaves alone what the loss around it sets."""
    for option in HANDED_DOWN:
        if option in base:
            raise OptionError(option, f"`{option}` of a base is that of the loss around it. Set it there")
    check(base, known)


def _check_value(option: str, value: Any, entry: Mapping[str, Any]) -> None:
    """Check one value against range and choices; none may stand only where it is the default."""
    if value is None:
        if entry["default"] is not None:
            raise OptionError(option, f"expected a value such as {entry['default']!r}, found none")
        return
    if entry.get("choices") and value not in entry["choices"]:
        raise OptionError(option, f"expected one of {', '.join(map(str, entry['choices']))}, found {value!r}")
    if isinstance(entry["default"], bool) and not isinstance(value, bool):
        raise OptionError(option, f"expected true or false, found {value!r}")
    if type(entry["default"]) is int and type(value) is not int:
        raise OptionError(option, f"expected a whole number, found {value!r}")
    interval = entry.get("range")
    if interval:
        values = value if isinstance(value, list) else [value]
        if not all(
            isinstance(one, int | float) and not isinstance(one, bool) and inside(one, interval) for one in values
        ):
            raise OptionError(option, f"expected a number in {interval}, found {value!r}")


def inside(value: float, interval: str) -> bool:
    """Return whether ``value`` lies in an interval such as ``[0, 1)``."""
    match = _INTERVAL.match(interval)
    if match is None:
        raise ValueError(f"not an interval: {interval}")
    left, low, high, right = match.groups()
    above = value >= float(low) if left == "[" else value > float(low)
    below = value <= float(high) if right == "]" else value < float(high)
    return above and below


def nearest(name: str, known: Iterable[Any]) -> str:
    """Return ``; did you mean `x`? Known are ...``, the end of a message about an unknown name."""
    names = [str(key) for key in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return (f"; did you mean `{close[0]}`? Known" if close else "; known") + f" are {', '.join(names)}"


def generate() -> str:
    """Return the text of ``catalogue.json``, from the signatures of losses and networks."""
    from rareseg import losses as loss_library  # imports Keras
    from rareseg import models

    factors = {name: models.size_factor(name) for name in models.presets()}
    found = {"losses": loss_library.signatures(), "networks": models.signatures(), "size_factors": factors}
    return json.dumps(found, indent=1, sort_keys=True) + "\n"
