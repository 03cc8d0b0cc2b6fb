"""What data sets hold and how tables prepare them, as rows: for the console, as CSV and as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Column, Table

from rareseg.datasets import whole
from rareseg.experiments import config, grid, store
from rareseg.experiments.cases import divides_patches
from rareseg.experiments.markdown import escaped, table_line
from rareseg.experiments.sections import DatasetSection

COLUMNS = (
    "dataset", "part", "class", "tables", "data", "cases", "cases_in_paper", "left_out", "groups", "size", "input",
    "train", "validation", "test", "mean_percent", "pooled_percent", "least_percent", "most_percent",
    "inside_fov_percent", "objects", "faults", "warnings",
)  # fmt: skip
_HEADS = (
    "data set", "class", "tables", "data", "cases", "size", "input", "train / val / test", "mean %", "from - to %",
)  # fmt: skip

_WIDE = {"class": None, "tables": 14, "size": None, "input": None}  # columns that may take several lines, least width


@dataclass(frozen=True)
class Plan:
    """How some tables read, prepare and split a data set.

    Attributes:
        section: The data set's section of their configurations.
        tables: Their names.
        patches: Whether the split divides patches of all images, not the images.
    """

    section: dict[str, Any]
    tables: list[str]
    patches: bool = False

    @property
    def name(self) -> str:
        """Name of its split file."""
        return self.tables[0] if self.tables else "split"


def planned(plans: Mapping[str, list[Plan]], key: str) -> list[Plan]:
    """Return the plans of a data set; one that no table uses keeps its size."""
    return plans.get(key) or [Plan(DatasetSection.model_validate({}).model_dump(mode="json"), [])]


def plans(paths: Iterable[Path], profile: str) -> dict[str, list[Plan]]:
    """Return data set -> its plans, in the order of the configurations; those that agree share one."""
    found: dict[str, list[Plan]] = {}
    for path in paths:
        read = config.read(path, profile)
        for key, section in read.datasets.items():
            new = Plan(section.model_dump(mode="json"), [], divides_patches(grid.settings_of(read, key)))
            known = found.setdefault(key, [])
            plan = next((one for one in known if (one.section, one.patches) == (new.section, new.patches)), new)
            if not plan.tables:
                known.append(plan)
            plan.tables.append(read.table)
    return found


def write(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``table.csv``, and ``table.md`` with the rows of whole data sets."""
    store.write_rows(folder / "table.csv", COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    head = ["Some of these data are phantoms, drawn by a program.", ""] if _phantom(rows) else []
    lines = [_HEADS, ["---"] * len(_HEADS), *(map(escaped, line) for line in _short_rows(rows))]
    whole.write(folder / "table.md", "\n".join([*head, *map(table_line, lines)]) + "\n")


def console(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows of whole data sets for the console, without the last column, which reports have."""
    columns = (Column(head, no_wrap=head not in _WIDE, min_width=_WIDE.get(head)) for head in _HEADS[:-1])
    table = Table(*columns, box=SIMPLE, padding=(0, 1, 0, 0))
    for line in _short_rows(rows):
        table.add_row(*line[:-1])
    return table


def _phantom(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row["data"] == "phantom" for row in rows)


def _short_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [_short_row(row) for row in rows if row["part"] == "all"]


def rows_of(
    key: str, report: Any, plan: Plan, parts: Mapping[str, Sequence[Any]] | None, shape: str
) -> list[dict[str, Any]]:
    """Return a row per official part and class."""
    official = sorted({check.case.part for check in report.checks} - {""})
    shared = {"dataset": key, "tables": ", ".join(plan.tables), "input": shape} | _division(parts)
    rows = []
    for part in ("all", *(official if len(official) > 1 else ())):
        checks = [check for check in report.checks if part in ("all", check.case.part)]
        for number, name in enumerate(report.dataset.classes[1:], start=1):
            rows.append(_row(report, checks, part, number, name) | shared)
    return rows


def _division(parts: Mapping[str, Sequence[Any]] | None) -> dict[str, int | None]:
    return {name: None if parts is None else len(parts[name]) for name in ("train", "validation", "test")}


def _row(report: Any, checks: Sequence[Any], part: str, number: int, name: str) -> dict[str, Any]:
    """Return what the table says of one class; percentages of the pixels, mean over cases."""
    dataset = report.dataset
    shares = np.array([check.share(number) for check in checks])
    pixels = [int(check.counts.sum()) for check in checks]
    inside = [check.inside for check in checks if check.inside is not None]
    objects = [check.case.info["objects"] for check in checks if "objects" in check.case.info]
    return {
        "part": part,
        "class": name,
        "data": dataset.state,
        "cases": len(checks),
        "cases_in_paper": dataset.full_size or None,
        "left_out": len(dataset.left_out),
        "groups": len({check.case.group for check in checks}),
        "size": sizes([check.shape[:-1] for check in checks]),
        "mean_percent": round(100 * float(shares.mean()), 4),
        "pooled_percent": round(100 * float(np.average(shares, weights=pixels)), 4),
        "least_percent": round(100 * float(shares.min()), 4),
        "most_percent": round(100 * float(shares.max()), 4),
        "inside_fov_percent": round(100 * float(np.mean(inside)), 4) if inside else None,
        "objects": sum(objects) if objects else None,
        "faults": len(report.faults),
        "warnings": len(report.warnings),
    }


def sizes(shapes: Sequence[tuple[int, ...]]) -> str:
    """Return the size that all share, or the mean of several: ``288 x 384``, ``mean 570 x 760``."""
    mean = " x ".join(f"{length:.0f}" for length in np.mean(shapes, axis=0))
    return mean if len({*shapes}) == 1 else f"mean {mean}"


def _short_row(row: Mapping[str, Any]) -> list[str]:
    """Return a line of the console's and Markdown's table, by `_HEADS`."""
    cases = f"{row['cases']} of {row['cases_in_paper']}" if row["cases_in_paper"] else f"{row['cases']}"
    parts = "" if row["train"] is None else f"{row['train']} / {row['validation']} / {row['test']}"
    return [
        row["dataset"], row["class"], row["tables"], row["data"], cases, row["size"], row["input"], parts,
        f"{row['mean_percent']:.4f}", f"{row['least_percent']:.2f} - {row['most_percent']:.2f}",
    ]  # fmt: skip
