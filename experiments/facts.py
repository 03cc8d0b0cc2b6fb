"""What UFL's Table 1 says of the data sets, computed from the files: counts, sizes, share of the foreground."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from rareseg import datasets, evaluation
from rareseg.datasets import whole
from rareseg.experiments import page, tables
from rareseg.experiments.cases import kind_of, open_dataset


def facts(key: str, folder: Path, settings: Mapping[str, Any], workers: int = 1) -> list[dict[str, Any]]:
    """Return the cells of one data set.

    Args:
        key: Name of the data set.
        folder: Its root.
        settings: Values of the sections `dataset` and `pipeline`.
        workers: Threads that read files.

    Returns:
        One mapping per cell with dataset, metric, class, ours, cases and data. Metrics are ``images``;
        ``original_size_1`` ..., means over the cases (2D rows and columns, 3D rows, columns, slices); ``input_size_1``
        ..., what a network sees, as configured; ``train``, ``validation``, ``test``; ``foreground``, the fraction of
        each image, averaged.

    Raises:
        DataError: A file cannot be used.
    """
    dataset = open_dataset(key, folder, settings["dataset"])
    report = dataset.report(workers=workers)
    if report.faults:
        raise datasets.DataError(report.faults[0])
    parts = datasets.split(dataset.cases, settings["dataset"]["split"])
    found = [
        ("images", "", float(len(dataset.cases))),
        *_sizes(report, settings),
        *((part, "", float(len(cases))) for part, cases in parts.items()),
        *_foreground(dataset, report),
    ]
    same = {"dataset": key, "cases": len(dataset.cases), "data": kind_of(dataset)}
    return [{**same, "metric": metric, "class": name, "ours": value} for metric, name, value in found]


def _sizes(report: Any, settings: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield the mean size of the files, and the size that a network sees."""
    mean = np.mean([check.shape[:-1] for check in report.checks], axis=0)
    original = [*mean[1:], mean[0]] if len(mean) == 3 else [*mean]
    seen = settings["pipeline"]["patch"] or settings["dataset"]["size"] or ()
    for metric, lengths in (("original_size", original), ("input_size", seen)):
        for number, length in enumerate(lengths, start=1):
            yield f"{metric}_{number}", "", float(length)


def _foreground(dataset: Any, report: Any) -> Iterator[tuple[str, str, float]]:
    names = [""] if len(dataset.classes) == 2 else dataset.classes[1:]
    for label, name in enumerate(names, start=1):
        yield "foreground", name, report.mean_share(label)


def table(cells: list[dict[str, Any]], name: str, published: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Return ``table_long`` of such cells beside the published ones; equality after rounding decides.

    Args:
        cells: What `facts` returned, of all data sets.
        name: Name of the table.
        published: The published table (``stored.published``).
        protocol: ``paper`` or ``other``.
    """
    empty = {"network": "", "loss": "", "arguments": "", "marker": "", "seed": "", "run": "facts"}
    ours = pd.DataFrame(cells).assign(table=name, protocol=protocol, **empty)
    ours = ours.assign(low=ours["ours"], high=ours["ours"]).astype({"cases": "Int64"})
    ours = ours.assign(**dict.fromkeys(("seed_sd", "p_raw", "p_adjusted"), float("nan")))
    blocks, rows = ["dataset", "metric", "class"], ["loss"]
    long = evaluation.compare(ours, published, rows=rows, blocks=blocks)
    return long[list(evaluation.TABLE_COLUMNS)]


def write(long: pd.DataFrame, folder: Path, *, title: str, source: str, again: str, console: Console) -> None:
    """Write all files of such a table, and print it.

    Args:
        long: What `table` returned.
        folder: Where the files go.
        title: Heading of the table.
        source: The configuration, as it is written.
        again: The call that makes it again.
        console: Where to print.
    """
    heading = {"title": title, "notes": []}
    files = tables.files(long, heading) | {"report.html": page.of_facts(long, heading, source, again)}
    for name, text in files.items():
        whole.write(folder / name, text)
    console.print(tables.console(long, heading))
