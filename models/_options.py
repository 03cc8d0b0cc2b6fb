"""Options of a network, read from its signature: each default, range and choice is written there and nowhere else."""

import difflib
import inspect
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Option(NamedTuple):
    """One option.

    Args:
        default: Value where the configuration has none.
        types: Types of its values, from the annotation.
        range: Interval of numbers, such as ``[0, 1)``, or None.
        choices: All values there are, or None.
    """

    default: Any
    types: tuple[type, ...]
    range: str | None
    choices: tuple[Any, ...] | None

    def accepts(self, value: Any) -> bool:
        """Return whether the value may be used."""
        if value is None:
            return NoneType in self.types
        if self.choices is not None:
            return any(isinstance(value, type(choice)) and value == choice for choice in self.choices)
        number = Integral if int in self.types else Real
        return isinstance(value, number) and not isinstance(value, bool) and lies_in(value, self.range)

    def expected(self) -> str:
        """Return what the value must be, for messages."""
        if self.choices is not None:
            return "one of " + ", ".join(map(str, self.choices))
        number = "an integer" if int in self.types else "a number"
        within = f" in {self.range}" if self.range else ""
        return number + within + (" or None" if NoneType in self.types else "")


def lies_in(value: Any, interval: str | None) -> bool:
    """Return whether a number lies in an interval such as ``[1, inf)``; None is the whole line.

    >>> lies_in(1, "[0, 1)"), lies_in(0, "[0, 1)"), lies_in(float("nan"), "[0, 1)")
    (False, True, False)
    """
    if interval is None:
        return True
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return bool(above and below)


def read_options(network: Callable[..., Any]) -> dict[str, Option]:
    """Return the keyword-only parameters of a network as options, in their order."""
    hints = get_type_hints(network, include_extras=True)
    parameters = inspect.signature(network).parameters.values()
    return {p.name: _option(hints[p.name], p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}


def _option(hint: Any, default: Any) -> Option:
    interval = None
    if get_origin(hint) is Annotated:
        hint, interval = get_args(hint)
    if get_origin(hint) is Literal:
        return Option(default, (str,), interval, get_args(hint))
    choices = (False, True) if hint is bool else None
    return Option(default, get_args(hint) or (hint,), interval, choices)


def unknown(what: str, given: Any, known: Iterable[str]) -> ValueError:
    """Return the error for a name that nobody has, with the nearest one."""
    known = list(known)
    nearest = difflib.get_close_matches(str(given), known, n=1, cutoff=0)[0]
    return ValueError(f"Unknown {what} {given!r}: the nearest is {nearest!r}, known are {', '.join(known)}.")
