"""Splits on disk: our CSV (``case,group,part``), and the two JSON files that MIScnn writes."""

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rareseg.datasets import whole
from rareseg.datasets.files import DataError, cause
from rareseg.datasets.listing import some

PARTS = ("train", "validation", "test")


def write_split(path: Path, parts: Mapping[str, Sequence[Any]]) -> None:
    """Write what `split` returned; the file appears whole or not at all."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("case", "group", "part"))
    rows.writerows((case.id, case.group, part) for part in PARTS for case in parts[part])
    whole.write(path, text.getvalue())


def read_split(path: Path) -> dict[str, list[str]]:
    """Return part -> case ids of a CSV that `write_split` made or a person wrote (columns ``case`` and ``part``).

    Raises:
        DataError: The file cannot be read, lacks a column, names an unknown part or a case twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{path}: cannot be read as a split ({cause(fault)}). Give a CSV file.") from fault
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for line, row in rows:
        if not row.get("case") or row.get("part") not in parts:
            raise DataError(
                f"{path}, line {line}: expected columns case and part, part one of {', '.join(PARTS)}. "
                "Correct the line."
            )
        parts[row["part"]].append(row["case"])
    _refuse_twice(parts, str(path))
    return parts


def listed(known: Sequence[str], path: str | None, development: str | None, test: str | None) -> dict[str, str]:
    """Return case id -> part from a CSV at ``path``, or from MIScnn's two files.

    Args:
        known: Ids of all cases, in their order.
        path: Our CSV.
        development: MIScnn's file whose lists train and validate.
        test: MIScnn's file whose ``VALIDATION`` list is the test part.
    """
    if path:
        origin, parts = path, read_split(Path(path))
    elif development and test:
        origin, parts = f"{development} and {test}", _miscnn(Path(development), Path(test), known)
        _refuse_twice(parts, origin)
    else:
        raise ValueError("split: kind file needs path, or development and test")
    part_of = {identity: part for part, members in parts.items() for identity in members}
    strangers = sorted(part_of.keys() - {*known})
    lacking = [identity for identity in known if identity not in part_of]
    if strangers:
        raise DataError(f"{origin}: cases that are not in the data set: {some(strangers)}. Remove them.")
    if lacking:
        raise DataError(f"{origin}: cases without a part: {some(lacking)}. Add them or list them under `exclude`.")
    return part_of


def _miscnn(development: Path, test: Path, known: Sequence[str]) -> dict[str, list[str]]:
    train, validation = _lists(development)
    parts: dict[str, list[str]] = dict(zip(PARTS, (train, validation, _lists(test)[1]), strict=True))
    if {*known}.isdisjoint(itertools.chain(*parts.values())):  # one id among them: strangers stay strangers
        parts = {part: [_at_position(name, known) for name in names] for part, names in parts.items()}
    return parts


def _lists(path: Path) -> tuple[list[str], list[str]]:
    """Return the lists ``TRAINING`` and ``VALIDATION``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [*map(str, content["TRAINING"])], [*map(str, content["VALIDATION"])]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        reason = cause(fault) if isinstance(fault, (OSError, ValueError)) else "one is missing"
        raise DataError(
            f"{path}: expected MIScnn's lists TRAINING and VALIDATION ({reason}). Give a file that MIScnn wrote."
        ) from fault


def _at_position(name: str, known: Sequence[str]) -> str:
    """Return the case at the position that a name counts, from 1 for ``imgname`` (CVC); without one the name."""
    prefix = name.rstrip("0123456789")
    digits = name[len(prefix) :]
    position = int(digits) - (prefix == "imgname") if digits else -1
    return known[position] if 0 <= position < len(known) else name


def _refuse_twice(parts: Mapping[str, Sequence[str]], origin: str) -> None:
    counts = Counter(identity for members in parts.values() for identity in members)
    twice = sorted(identity for identity, count in counts.items() if count > 1)
    if twice:
        raise DataError(f"{origin}: cases listed more than once: {some(twice)}. Keep each once.")
