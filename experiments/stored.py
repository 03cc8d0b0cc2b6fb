"""What runs left behind, as frames: counts per case, histories, ROC curves, label maps; and tables made earlier."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rareseg import datasets, evaluation
from rareseg.experiments import options
from rareseg.experiments.cases import Cases
from rareseg.experiments.config import ConfigError
from rareseg.experiments.store import Due

TABLES = ("table_long.csv", "pairs.csv", "sweep.csv")
_RUNS = ("dataset", "network", "loss", "arguments", "seed", "run", "state")
_KEYS = ("dataset", "network", "loss", "arguments", "seed")


class Frames(NamedTuple):
    """What ``evaluation.table_long`` wants.

    Attributes:
        runs: One row per run.
        test: What finished runs measured on test cases.
        validation: The same on validation cases, where they were predicted.
    """

    runs: pd.DataFrame
    test: pd.DataFrame
    validation: pd.DataFrame


def frames(due: Sequence[Due], opened: Mapping[str, Cases], aggregation: str) -> Frames:
    """Read all runs.

    Args:
        due: The runs of a table.
        opened: Data set -> its cases.
        aggregation: With ``keras_batch`` batches are read in place of cases.
    """
    runs = pd.DataFrame([_run_row(one) for one in due], columns=list(_RUNS))
    empty = pd.DataFrame(columns=["run", "case", "part"])
    unique = {one.run.id: one for one in due if one.finished()}.values()  # two points of a sweep may be one run
    counted = [_results(one, opened[one.point.dataset].classes, aggregation) for one in unique]
    both = pd.concat(counted or [empty], ignore_index=True)
    parts = [both[both["part"] == part].drop(columns="part") for part in ("test", "validation")]
    return Frames(runs, *parts)


def _run_row(one: Due) -> list[Any]:
    state = "finished" if one.finished() else "failed" if one.run.state() in ("failed", "diverged") else "not_run"
    return [*one.point.cell, one.point.seed, one.run.id, state]


def _results(one: Due, classes: Sequence[str], aggregation: str) -> pd.DataFrame:
    """Return the counts of one run, per case and class, with classes by name."""
    file = "batches.csv" if aggregation == "keras_batch" else "cases.csv"
    frame = pd.read_csv(one.evaluation / file, dtype={"case": str, "group": str, "class": str})
    names = {str(label): name for label, name in enumerate(classes)}
    return frame.assign(run=one.run.id, **{"class": frame["class"].replace(names)})


def shown_classes(dataset: str, opened: Mapping[str, Cases], settings: Mapping[str, Any], *, mean: bool) -> list[str]:
    """Return the classes that are columns of a table: foreground, or each of several.

    Args:
        dataset: Key of a data set.
        opened: Data set -> its cases.
        settings: Its section `evaluation`; with ``hec`` all foreground classes as one are a column too.
        mean: Whether the mean of several classes is a column.
    """
    known: Sequence[str] = opened[dataset].classes if dataset in opened else ()
    if not known and dataset in datasets.names():
        known = datasets.about(dataset).classes
    if len(known) < 3:
        return [evaluation.FOREGROUND]
    return [*known[1:], *([evaluation.MEAN] if mean else []), *([evaluation.HEC] if settings["hec"] else [])]


def groups_on_both_sides(cases: Cases, settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return how many groups of several cases are in training and in test, and how many there are; None without any."""
    parts = cases.division(settings)
    train, test = ({case.group for case in parts[part]} for part in ("train", "test"))
    shared = train & test
    return (len(shared), len(train | test)) if shared else None


def histories(due: Sequence[Due]) -> pd.DataFrame:
    """Return ``history.csv`` of all finished runs with the names of their points."""
    found = [history(one).assign(**{key: getattr(one.point, key) for key in _KEYS}) for one in due if one.finished()]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def history(one: Due) -> pd.DataFrame:
    """Return ``history.csv`` of one run."""
    return pd.read_csv(one.run.folder / "history.csv")


def curves(one: Due) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray, float, float]]]:
    """Yield the label of each class with the ROC curve of all test pixels, pooled, its area, and the area's error."""
    path = one.evaluation / "scores.npz"
    if not path.is_file():
        return
    with np.load(path, allow_pickle=False) as kept:
        for key in kept.files:
            histogram = kept[key]
            label = key.removeprefix("histogram").removeprefix("_") or "1"
            area, error = evaluation.pooled_auc(histogram), evaluation.pooled_auc_error(histogram)
            yield label, (*evaluation.roc_points(histogram), area, error)


def label_map(one: Due, case: str) -> Path | None:
    """Return the file of a predicted label map, None where none was kept, as of patches."""
    for suffix in (".png", ".nii.gz"):
        path = one.evaluation / "predictions" / f"{case}{suffix}"
        if path.is_file():
            return path
    return None


def published(table: str) -> pd.DataFrame:
    """Return a published table; no row where nothing was published.

    Raises:
        ConfigError: The file, which users may fill in, has other columns or a value that is no number.
    """
    path = options.published(table)
    if not path.is_file():
        return published("table3").iloc[:0]  # a table of one's own has its columns
    try:
        found = evaluation.from_csv(path.read_text(encoding="utf-8"))
        evaluation.published_rows(found)
    except ValueError as error:
        raise ConfigError(f"{path}: {str(error).strip()}") from None
    return found


def claims(table: str) -> list[Any]:
    """Return the claims of the papers that a table bears on."""
    return [claim for claim in evaluation.CLAIMS if table in claim.tables]


def related(table: str) -> list[str]:
    """Return the tables whose published values a report needs: the table and those that its claims also bear on."""
    return list(dict.fromkeys([table, *(other for claim in claims(table) for other in claim.tables)]))


def read_tables(folder: Path) -> tuple[pd.DataFrame, ...]:
    """Return the frames that an earlier call wrote for another table, empty where it wrote none."""
    paths = [folder / file for file in TABLES]
    return tuple(evaluation.from_csv(p.read_text(encoding="utf-8")) if p.is_file() else pd.DataFrame() for p in paths)
