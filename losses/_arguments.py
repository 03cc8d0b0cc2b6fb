"""Arguments of the losses: read from the constructors' signatures, so that ranges and defaults stand once."""

import inspect
import numbers
import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import keras
import numpy as np


@dataclass(frozen=True)
class Argument:
    """One constructor argument.

    Attributes:
        default: Value where the user gives none.
        kinds: Types that are accepted, without None.
        optional: Whether None is accepted.
        depth: How deep lists of numbers are nested; 0 if the argument is no list.
        interval: Range of a number in interval notation, e.g. ``"[0, 1)"``; None if any will do.
        choices: Words that are accepted; None if the argument is no word out of a list.
    """

    default: Any
    kinds: tuple[Any, ...]
    optional: bool
    depth: int
    interval: str | None
    choices: tuple[str, ...] | None

    @classmethod
    def of(cls, default: Any, hint: Any) -> "Argument":
        """Read an argument from its type hint, e.g. ``Annotated[float | None, "[0, 1]"]``."""
        interval = None
        if get_origin(hint) is Annotated:
            hint, interval = get_args(hint)
        if get_origin(hint) is Literal:
            return cls(default, (), False, 0, None, get_args(hint))
        union = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        kinds = tuple(get_origin(kind) or kind for kind in union if kind is not type(None))
        return cls(default, kinds, type(None) in union, max(map(_depth, union)), interval, None)

    def checked(self, name: str, value: Any) -> Any:
        """Return ``value`` in plain JSON types, or raise a ValueError that says what ``name`` must be."""
        if value is None and self.optional:
            return None
        if self.choices is not None:
            if isinstance(value, str) and value in self.choices:
                return value
            raise ValueError(f"{name} must be one of {', '.join(map(repr, self.choices))}, got {value!r}")
        if self.kinds == (bool,):
            if isinstance(value, bool):
                return value
            raise ValueError(f"{name} must be True or False, got {value!r}")
        if self.kinds == (int,):
            if isinstance(value, bool) or not isinstance(value, numbers.Integral):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
            self._one(name, value)
            return int(value)
        if float in self.kinds or self.depth:
            return self._numbers(name, value, self.depth)
        if value is None:
            raise ValueError(f"{name} must be given, got None")
        return value

    def _numbers(self, name: str, value: Any, depth: int) -> float | list[Any]:
        if isinstance(value, np.generic | np.ndarray):
            value = value.tolist()
        if depth and isinstance(value, list | tuple):
            return [self._numbers(f"each entry of {name}", entry, depth - 1) for entry in value]
        if depth and float not in self.kinds:
            lists = "a list of numbers" if depth == 1 else "a list of lists of numbers"
            raise ValueError(f"{name} must be {lists}, one per class, got {value!r}")
        return self._one(name, value)

    def _one(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ValueError(f"{name} must be a number, got {value!r}")
        if self.interval is not None and not lies_in(float(value), self.interval):
            raise ValueError(f"{name} must lie in {self.interval}, got {value}")
        return float(value)


def _depth(kind: Any) -> int:
    """Return how deep lists are nested: 2 for ``Sequence[Sequence[float]]``."""
    return 1 + _depth(get_args(kind)[0]) if get_origin(kind) is Sequence else 0


def lies_in(value: float, interval: str) -> bool:
    """Say whether ``value`` lies in ``interval``, e.g. ``"[0, 1)"`` or ``"(0, inf)"``; NaN lies in none."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = low <= value if interval[0] == "[" else low < value
    below = value <= high if interval[-1] == "]" else value < high
    return above and below


@cache
def arguments(loss: type[keras.losses.Loss]) -> dict[str, Argument]:
    """Return every argument that a loss class takes, its own first, then those of the classes it builds on."""
    found: dict[str, Argument] = {}
    for base in loss.__mro__[: loss.__mro__.index(keras.losses.Loss)]:
        if "__init__" not in vars(base):
            continue
        hints = get_type_hints(base.__init__, include_extras=True)
        for name, parameter in inspect.signature(base.__init__).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                found.setdefault(name, Argument.of(parameter.default, hints[name]))
    return found
