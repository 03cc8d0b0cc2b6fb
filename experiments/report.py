"""Stored runs -> the tables and figures of one published table, beside what the paper printed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console

from rareseg import evaluation
from rareseg.experiments import figures, grid, layout, store, tables
from rareseg.experiments.cases import Cases
from rareseg.experiments.config import Config
from rareseg.experiments.store import Due

BASELINE_CASES = 200
"""Of more test cases, such as 40,000 patches, every n-th is thresholded: a yardstick, not a result."""
QUARTILES = (0.25, 0.5, 0.75)
FOREGROUND = "foreground"


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that the files of one table are made from.

    Attributes:
        config: The configuration.
        protocol: ``paper``, or ``other`` where a stated value was changed.
        points: All points of the table.
        due: The runs of those points whose data is there.
        opened: Data set -> its cases.
        results: The results folder.
    """

    config: Config
    protocol: str
    points: Sequence[grid.Point]
    due: Sequence[Due]
    opened: dict[str, Cases]
    results: Path

    @property
    def folder(self) -> Path:
        """Where the files of the table go."""
        return self.results / self.config.table

    def write(self, console: Console) -> None:
        """Write all files, and print the table."""
        long, pairs = self._tables()
        baselines, heading = self._baselines(), self._heading(long, pairs)
        files = {
            "table_long.csv": evaluation.to_csv(long),
            "table_wide.csv": evaluation.to_csv(tables.wide(long)),
            "pairs.csv": evaluation.to_csv(pairs),
            "baselines.csv": evaluation.to_csv(baselines),
            "table.md": tables.markdown(long, heading, baselines),
            "table.tex": tables.latex(long, heading, baselines),
        }
        for name, text in files.items():
            store.write(self.folder / name, text)
        self._draw(long)
        console.print(tables.console(long, heading, baselines))

    # Tables

    def _tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return ``table_long`` and ``pairs``."""
        metrics = {key: self._evaluation(key)["metrics"] for key in self.config.grid.dataset}
        cells = evaluation.expected_cells(self._points(), metrics, {key: [FOREGROUND] for key in metrics})
        columns = ["dataset", "network", "loss", "arguments", "seed", "run", "state"]
        runs = pd.DataFrame([self._run_row(one) for one in self.due], columns=columns)
        results = pd.concat(
            [_results(one) for one in self.due if one.finished()] or [pd.DataFrame(columns=["run", "case"])]
        )
        settings = self._settings()
        long = evaluation.table_long(cells, runs, results, self._published(), settings)
        values = evaluation.case_values(cells, runs, results, settings)
        return long, evaluation.pairs(values, rows=settings.rows, blocks=settings.blocks)

    def _points(self) -> pd.DataFrame:
        """Return the points of the table, seeds apart, with what kind of data and protocol they have."""
        rows = []
        for cell in dict.fromkeys(point.cell for point in self.points):
            kind = self.opened[cell[0]].kind if cell[0] in self.opened else "real"
            rows.append([*cell, kind, self.protocol])
        return pd.DataFrame(rows, columns=["dataset", "network", "loss", "arguments", "data", "protocol"])

    def _run_row(self, one: Due) -> list[Any]:
        state = "finished" if one.finished() else "failed" if one.run.state() in ("failed", "diverged") else "not_run"
        return [*one.point.cell, one.point.seed, one.run.id, state]

    def _published(self) -> pd.DataFrame:
        """Return the published table: the clone's file, which a user may have completed, or the packaged one."""
        path = resources.files("rareseg.published").joinpath(f"{self.config.table}.csv")
        return evaluation.from_csv(path.read_text(encoding="utf-8"))

    def _settings(self) -> Any:
        section, compare = self.config.evaluation, self.config.compare
        return evaluation.TableSettings(
            name=self.config.table,
            reference=self.config.report.reference,
            aggregation=section.aggregation,
            empty=section.empty,
            rows=tuple(compare.rows),
            blocks=tuple(compare.blocks),
            margin=self.config.report.margin,
        )

    def _evaluation(self, dataset: str) -> dict[str, Any]:
        """Return the section `evaluation` as it holds for a data set."""
        return next(point.settings["evaluation"] for point in self.points if point.dataset == dataset)

    # What stands around the table

    def _heading(self, long: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
        """Return title, verdict, choices and the machines that the numbers come from."""
        records = [one.run.record() for one in self.due if one.finished()]
        machines = [record["machine"] for record in records]
        judged = evaluation.block_verdicts(
            long, pairs, rows=self.config.compare.rows, blocks=self.config.compare.blocks
        )
        verdict = evaluation.table_verdict(long, judged)
        return {
            "title": f"{self.config.title}: ours beside the published values",
            "reference loss": layout.name(self.config.report.reference),
            "verdict": f"Verdict: {verdict.verdict}. {verdict.comparable} of {verdict.cells} cells comparable, "
            f"{verdict.agreeing} agree; winner same or tied in {verdict.won} of {verdict.decided} decided blocks.",
            "hardware": _joined(f"{one['processor']}, {', '.join(one['devices']) or 'no GPU'}" for one in machines),
            "threads": _joined(one["threads"] for one in machines),
            "backend": _joined(f"{one['backend']} {one['versions'].get(one['backend'], '')}" for one in machines),
            "trained": _first_to_last(record["started"][:10] for record in records),
            "hours": f"{sum(record.get('hours', 0) for record in records):.2f}",
            "date": date.today().isoformat(),
            "notes": list(self._notes()),
        }

    def _notes(self) -> Iterator[str]:
        """Yield what a reader must know: leaks of the split, failed runs."""
        for key, cases in self.opened.items():
            pipeline = next(point.settings["pipeline"] for point in self.points if point.dataset == key)
            patches = pipeline["patches"] or {}
            if pipeline["analysis"] == "patches" and patches["split_by"] == "patch":
                yield f"{key}: patches of one image fall on both sides of the split (as the paper says): a leak."
            if cases.kind != "real":
                yield f"{key}: {cases.kind} data; these numbers say nothing about the paper."
        for one in self.due:
            record = one.run.record()
            if not one.finished() and record.get("reason"):
                yield f"{one.run.id}: {record['state']}, {record['reason']}"

    def _baselines(self) -> pd.DataFrame:
        """Return what needs no training, on the test cases of each data set."""
        rows = []
        for key, cases in self.opened.items():
            settings = next(point.settings for point in self.points if point.dataset == key)
            test = cases.parts(settings)["test"]
            test = test[:: -(-len(test) // BASELINE_CASES)]
            truths = [np.asarray(case.read_label()) for case in test]
            masks = [case.read_mask() for case in test] if settings["evaluation"]["mask"] == "fov" else None
            images = [np.asarray(case.read_image()) for case in test]
            best = evaluation.best_threshold(images, truths, masks, self.config.report.metric)
            found = {
                "all background": [np.zeros_like(truth) for truth in truths],
                "best threshold": [best.apply(image) for image in images],
            }
            for baseline, maps in found.items():
                counted = [
                    evaluation.counts(*pair, 2, mask=mask)[1]
                    for *pair, mask in zip(truths, maps, masks or [None] * len(maps), strict=True)
                ]
                values = evaluation.metrics(
                    np.stack(counted), settings["evaluation"]["metrics"], settings["evaluation"]["empty"]
                )
                rows += [
                    [baseline, key, name, FOREGROUND, float(evaluation.mean_of_defined(value)), cases.kind]
                    for name, value in values.items()
                ]
        return pd.DataFrame(rows, columns=["baseline", "dataset", "metric", "class", "ours", "data"])

    # Figures

    def _draw(self, long: pd.DataFrame) -> None:
        """Draw all figures, unless they were drawn from the same runs before."""
        made_from = grid.digest([[one.run.id, one.evaluation.name, one.finished()] for one in self.due])
        stamp = self.folder / "figures" / ".made-from"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == made_from:
            return
        stamp.parent.mkdir(parents=True, exist_ok=True)
        figures.cells(long, f"{self.config.title}: published and ours", stamp.parent / "cells")
        for dataset, network in dict.fromkeys((one.point.dataset, one.point.network) for one in self.due):
            block = {
                one.point.loss: one for one in self.due if (one.point.dataset, one.point.network) == (dataset, network)
            }
            if any(one.finished() for one in block.values()):
                self._draw_block(dataset, network, block, stamp.parent)
        store.write(stamp, made_from)

    def _draw_block(self, dataset: str, network: str, block: dict[str, Due], folder: Path) -> None:
        """Draw learning curves, ROC curves and examples of one data set and network."""
        title = f"{layout.name(dataset)}, {layout.name(network)}"
        cases = self.opened[dataset]
        finished = {loss: one if one.finished() else None for loss, one in block.items()}
        histories = {loss: one and pd.read_csv(one.run.folder / "history.csv") for loss, one in finished.items()}
        figures.learning_curves(histories, title, folder / f"curves-{dataset}-{network}", data=cases.kind)
        if self._evaluation(dataset)["auc"]:
            curves = {loss: one and _curve(one) for loss, one in finished.items()}
            figures.roc(curves, title, folder / f"roc-{dataset}-{network}", data=cases.kind)
        if rows := _examples(cases, finished, self._evaluation(dataset)):
            figures.examples(
                rows,
                title,
                folder / f"examples-{dataset}-{network}",
                data=cases.kind,
                metric=_shown(self.config.report.metric),
            )


def _results(one: Due) -> pd.DataFrame:
    """Return the counts of one run, per case and class."""
    frame = pd.read_csv(one.evaluation / "cases.csv", dtype={"case": str, "group": str})
    return frame.drop(columns="part").assign(run=one.run.id, **{"class": FOREGROUND})


def _curve(one: Due) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the ROC curve of all test pixels of a run, pooled."""
    with np.load(one.evaluation / "scores.npz", allow_pickle=False) as stored:
        histogram = stored["histogram"]
    return *evaluation.roc_points(histogram), evaluation.pooled_auc(histogram)


def _examples(cases: Cases, finished: dict[str, Due | None], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Choose the cases at the quartiles of the mean DSC over losses, and read what is to be shown of them."""
    runs = {loss: one for loss, one in finished.items() if one is not None}
    counted = pd.concat([_results(one) for one in runs.values()])
    dsc = (2 * counted["TP"] / (2 * counted["TP"] + counted["FP"] + counted["FN"])).groupby(counted["case"]).mean()
    order = dsc.sort_values(kind="stable").index
    chosen = [order[round(share * (len(order) - 1))] for share in QUARTILES]
    prepared = {case.id: case for case in cases.prepared}
    if not all(case in prepared for case in chosen):
        return []  # patches keep no label maps
    return [_example(prepared[case], cases, finished, settings) for case in dict.fromkeys(chosen)]


def _example(case: Any, cases: Cases, finished: dict[str, Due | None], settings: dict[str, Any]) -> dict[str, Any]:
    source = cases.originals[case.id] if settings["grid"] == "original" else case
    image = np.asarray(source.read_image())
    if image.dtype != np.uint8:  # scaled for the network
        image = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    predictions = {
        loss: one and np.asarray(Image.open(one.evaluation / "predictions" / f"{case.id}.png"))
        for loss, one in finished.items()
    }
    found = {"id": case.id, "image": image, "truth": np.asarray(source.read_label()), "predictions": predictions}
    return found | ({"mask": source.read_mask()} if settings["mask"] == "fov" else {})


def _shown(metric: str) -> str:
    return metric if metric in ("dsc", "jaccard") else "dsc"


def _first_to_last(dates: Iterable[str]) -> str:
    """Return the earliest and the latest date, one where they are equal."""
    ordered = sorted(dates)
    return " to ".join(dict.fromkeys([*ordered[:1], *ordered[-1:]]))


def _joined(values: Iterable[Any]) -> str:
    """Return different values once each."""
    return ", ".join(dict.fromkeys(map(str, values)))
