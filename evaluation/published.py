"""Printed cells of a paper: text to fractions, and which of them belongs to one of our cells.

A published table has the columns ``paper, table, dataset, network, loss, metric, class, value, uncertainty, unit,
note``, all text, because 82.40 and 82.4 are known to different digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

import pandas as pd

from rareseg.evaluation.overlap import canonical

PUBLISHED_COLUMNS = ("dataset", "network", "loss", "metric", "class", "value", "uncertainty", "unit", "note")
_NOT_ARGUMENTS = {"flag", "against", "expected"}


def as_fraction(text: str, unit: str) -> float:
    """Return a printed number as a fraction: percent divided by 100, other units as they are, empty text as NaN."""
    return float(_decimal(text) / _scale(unit)) if text.strip() else math.nan


def half_unit(text: str, unit: str) -> float:
    """Return half a unit of the last printed digit, as a fraction: 0.00005 for ``82.84`` percent."""
    if not text.strip():
        return math.nan
    exponent = _decimal(text).as_tuple().exponent
    return float(Decimal(1).scaleb(int(exponent)) / 2 / _scale(unit))


def arguments(text: str) -> dict[str, float | str]:
    """Read loss arguments from text such as ``epsilon=0.5;omega=10``; tokens of other kinds are passed over."""
    pairs = (token.split("=", 1) for token in text.split(";") if "=" in token)
    return {name.strip(): _number(value) for name, value in pairs if name.strip() not in _NOT_ARGUMENTS}


def published_rows(published: pd.DataFrame) -> list[dict[str, str]]:
    """Return the printed cells as dictionaries of text.

    Raises:
        ValueError: A column is missing, values are numbers instead of text, or a text is no number.
    """
    missing = [column for column in PUBLISHED_COLUMNS if column not in published]
    if missing:
        raise ValueError(
            f"the published table lacks the column {missing[0]!r}; expected {', '.join(PUBLISHED_COLUMNS)}"
        )
    if pd.api.types.is_numeric_dtype(published["value"]) and len(published):
        raise ValueError("published values must be text, else printed digits are lost; read the file with from_csv")
    rows: list[dict[str, str]] = published.fillna("").astype(str).to_dict("records")  # pyright: ignore[reportAssignmentType]
    for row in rows:
        for column in ("value", "uncertainty"):
            try:
                as_fraction(row[column], row["unit"])
            except ValueError as error:
                where = "/".join(row[key] for key in ("dataset", "network", "loss", "metric", "class") if row[key])
                raise ValueError(f"{where}: {error}") from None
    return rows


def match(cell: Mapping[str, str], printed: Sequence[Mapping[str, str]]) -> int | None:
    """Return the position of the printed cell that belongs to one of ours, None where the paper has none.

    Loss, metric (``f1`` is ``dsc``) and class are equal; an empty published data set or network matches any; every loss
    argument in the published note has the same value in ours.

    Args:
        cell: dataset, network, loss, arguments, metric and class of our cell.
        printed: Rows as ``published_rows`` returns them.

    Raises:
        ValueError: Several printed cells belong to ours.
    """
    found = [i for i, row in enumerate(printed) if _belongs(cell, row)]
    if len(found) > 1:
        names = "/".join(str(cell[key]) for key in ("dataset", "network", "loss", "arguments", "metric", "class"))
        raise ValueError(f"{len(found)} published cells match {names}; state the loss arguments in their notes")
    return found[0] if found else None


def _belongs(cell: Mapping[str, str], row: Mapping[str, str]) -> bool:
    """Decide whether a printed cell is the counterpart of ours."""
    printed = {name: value for name, value in arguments(row["note"]).items() if isinstance(value, float)}
    ours = arguments(cell["arguments"])
    return (
        all(row[key] in ("", cell[key]) for key in ("dataset", "network"))
        and all(row[key] == cell[key] for key in ("loss", "class"))
        and canonical(row["metric"]) == canonical(cell["metric"])
        and all(ours.get(name) == value for name, value in printed.items())
    )


def _number(text: str) -> float | str:
    """Return a float where the text is one, so that 0.1 equals 0.10."""
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _decimal(text: str) -> Decimal:
    """Read a printed number without binary rounding."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise ValueError(f"published value {text!r} is not a number; write it with a decimal point, as 82.84")
    return number


def _scale(unit: str) -> int:
    return 100 if unit == "percent" else 1
