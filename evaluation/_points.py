"""What the finished runs of one grid point measured, as arrays over seeds, cases and classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rareseg.evaluation.confusion import COUNTS, HEC, MEAN
from rareseg.evaluation.overlap import METRICS, Empty, canonical, metrics

POINT = ("dataset", "network", "loss", "arguments")
STATES = ("finished", "failed", "not_run")
_KEYS = {"run", "case", "group", "class", "part", *POINT, "seed"}


@dataclass(frozen=True)
class Point:
    """One grid point.

    Attributes:
        seeds: Seeds of the finished runs, rising.
        runs: Ids of the finished runs in that order, or of the failed ones where none finished.
        cases: Case ids, sorted, shape (N,).
        groups: Group of each case, shape (N,); the case itself where it has none.
        classes: Class names, sorted.
        measured: Per column (TP, FP, FN, TN, auc, ...) an array (seeds, N, classes); empty where nothing finished.
    """

    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    cases: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...]
    measured: Mapping[str, np.ndarray]

    @property
    def finished(self) -> bool:
        """Whether there is anything to evaluate."""
        return bool(self.measured)

    def seed(self, index: int) -> Point:
        """Return the point as if the run at ``index`` were its only one."""
        one = slice(index, index + 1)
        measured = {name: array[one] for name, array in self.measured.items()}
        return replace(self, seeds=self.seeds[one], runs=self.runs[one], measured=measured)

    def counts(self, name: str) -> np.ndarray:
        """Return the counts of a class, or of all foreground classes for ``mean``: (seeds, N, chosen, 4)."""
        return np.stack([self.measured[column] for column in COUNTS], axis=-1)[:, :, self._chosen(name)]

    def values(self, metric: str, name: str, empty: Empty) -> np.ndarray:
        """Return a metric of a class, or of all foreground classes for ``mean``: (seeds, N, chosen).

        A column of the metric's name (auc, distances, batch-wise values; ``dsc`` for ``f1``) goes before the counts.
        """
        if canonical(metric) in self.measured:
            return self.measured[canonical(metric)][:, :, self._chosen(name)]
        if canonical(metric) not in METRICS:
            raise ValueError(
                f"{metric!r} is neither a column of the results nor a metric of counts: {', '.join(METRICS)}"
            )
        return metrics(self.counts(name), (metric,), empty)[metric]

    def _chosen(self, name: str) -> list[int]:
        wanted = {*self.classes} - {HEC} if name == MEAN else {name}
        chosen = [place for place, known in enumerate(self.classes) if known in wanted]
        if not chosen:
            raise ValueError(f"the results have no class {name!r}, only {', '.join(self.classes)}")
        return chosen


def collect(grid: pd.DataFrame, runs: pd.DataFrame, results: pd.DataFrame) -> dict[tuple[str, ...], Point]:
    """Gather what the runs of every grid point measured; what all tables are made of.

    Args:
        grid: Expected cells: dataset, network, loss, arguments (text, empty for none), metric, class, data (``real``,
            ``subset``, ``phantom``), protocol (``paper``, ``other``). See ``expected_cells``.
        runs: One row per run: dataset, network, loss, arguments (as in ``grid``), seed (integer), run (its id), state
            (``finished``, ``failed``, ``not_run``). Grid points without a row have not been run.
        results: One row per finished run, test case and class: run, case, group (empty for none), class, TP, FP, FN, TN
            and further measured columns such as auc, which serve as metrics of their own name. All finished runs of a
            data set and network have the same cases and classes. Any empty table where nothing has finished.

    Returns:
        The points by (dataset, network, loss, arguments), whatever the order of rows in ``runs`` and ``results``.

    Raises:
        ValueError: A column is missing, a state is unknown, a finished run has no results or not one row for each case
            and class, or runs of one data set and network were evaluated on different cases.
    """
    _check(grid, runs, results)
    by_run = {str(name): rows for name, rows in results.groupby("run", sort=False)} if len(results) else {}
    by_point = dict(list(runs.groupby(list(POINT), sort=False)))
    points, cases = {}, {}
    for key in grid[list(POINT)].drop_duplicates().itertuples(index=False, name=None):
        points[key] = point = _point(by_point.get(key, runs.iloc[:0]), by_run)
        if point.finished:
            _check_same_cases(cases.setdefault(key[:2], point), point)
    return points


def _point(runs: pd.DataFrame, by_run: Mapping[str, pd.DataFrame]) -> Point:
    """Collect the runs of one grid point."""
    runs = runs.sort_values("seed", kind="stable").astype({"run": str})
    finished = runs[runs["state"] == "finished"]
    nothing = np.array([], dtype=str)
    if finished.empty:
        return Point((), tuple(runs.loc[runs["state"] == "failed", "run"]), nothing, nothing, (), {})
    lost = [name for name in finished["run"] if name not in by_run]
    if lost:
        raise ValueError(f"run {lost[0]} is finished but has no rows in the results; evaluate it or call it not_run")
    alone = [_run(name, by_run[name]) for name in finished["run"]]
    for point in alone:
        _check_same_cases(alone[0], point)
    measured = {
        name: np.concatenate([point.measured[name] for point in alone])
        for name in alone[0].measured
        if all(name in point.measured for point in alone)
    }
    return replace(alone[0], seeds=tuple(finished["seed"]), runs=tuple(finished["run"]), measured=measured)


def _run(name: str, rows: pd.DataFrame) -> Point:
    """Bring the rows of one run into arrays with a seed axis of 1."""
    rows = rows.astype({"case": str, "class": str}).sort_values(["case", "class"], kind="stable")
    cases, classes = rows["case"].unique(), tuple(rows["class"].unique())
    if len(rows) != len(cases) * len(classes) or rows.duplicated(["case", "class"]).any():
        expected = f"one for each of {len(cases)} cases and {len(classes)} classes"
        raise ValueError(f"run {name} has {len(rows)} rows in the results, expected {expected}; evaluate it again")
    columns = [column for column in rows if column not in _KEYS and pd.api.types.is_numeric_dtype(rows[column])]
    shape = 1, len(cases), len(classes)
    measured = {str(column): rows[column].to_numpy(dtype=np.float64).reshape(shape) for column in columns}
    groups = rows["group"].where(rows["group"].notna() & (rows["group"] != ""), rows["case"]).astype(str)
    return Point((), (name,), cases.astype(str), groups.to_numpy(dtype=str)[:: len(classes)], classes, measured)


def _check_same_cases(first: Point, second: Point) -> None:
    """Refuse to compare runs that were evaluated on different cases."""
    if first.classes == second.classes and np.array_equal(first.cases, second.cases):
        return
    odd = sorted(set(first.cases) ^ set(second.cases)) or sorted(set(first.classes) ^ set(second.classes))
    raise ValueError(
        f"runs {first.runs[0]} and {second.runs[0]} differ in {odd[0]!r}; evaluate all runs of a data set and network "
        "on the same test cases and classes"
    )


def _check(grid: pd.DataFrame, runs: pd.DataFrame, results: pd.DataFrame) -> None:
    """Check columns and states."""
    needed = {
        "grid": (grid, (*POINT, "metric", "class", "data", "protocol")),
        "runs": (runs, (*POINT, "seed", "run", "state")),
    }
    if len(results):
        needed["results"] = results, ("run", "case", "group", "class")
    for name, (frame, columns) in needed.items():
        missing = [column for column in columns if column not in frame]
        if missing:
            raise ValueError(f"{name} lacks the column {missing[0]!r}; expected {', '.join(columns)}")
    strange = set(runs["state"]) - set(STATES)
    if strange:
        raise ValueError(f"unknown state {strange.pop()!r} of a run; expected one of {', '.join(STATES)}")
