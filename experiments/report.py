"""Stored runs -> the tables, figures and report of one published table, beside what the paper printed.

``stored.py`` reads what runs left behind, ``pictures.py`` draws it, ``tables.py`` and ``page.py`` print it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
from rich.console import Console

from rareseg import evaluation, pipeline
from rareseg.datasets import whole
from rareseg.evaluation.overlap import canonical
from rareseg.experiments import grid, layout, page, scoring, stored, tables
from rareseg.experiments.cases import Cases, divides_patches, pipeline_settings
from rareseg.experiments.choices import choices
from rareseg.experiments.config import Config
from rareseg.experiments.pictures import Pictures
from rareseg.experiments.store import Due
from rareseg.experiments.stored import Frames

BASELINE_CASES = 200
"""Of more test cases, such as 40,000 patches, every n-th is thresholded: a yardstick, not a result."""
CERTAIN = 100.0
"""Logit of what a rule says, of which softmax makes 0 and 1."""
WORST = 5
SELECTION = {"validation": "the point with the best validation DSC", "best_test": "the point with the best test DSC"}


class Tables(NamedTuple):
    """The frames behind the CSV files of a table, and what is said about them.

    Attributes:
        long: ``table_long.csv``.
        pairs: ``pairs.csv``.
        sweep: ``sweep.csv``.
        values: Per-case values of all cells, see ``evaluation.case_values``.
        judged: Winner and order of each block.
        verdict: Verdict of the table, and the numbers behind it.
        claims: The papers' claims that this table bears on.
    """

    long: pd.DataFrame
    pairs: pd.DataFrame
    sweep: pd.DataFrame
    values: pd.DataFrame
    judged: pd.DataFrame
    verdict: Any
    claims: pd.DataFrame


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
        source: The YAML file; its comments say what was chosen.
        profile: The profile that was asked for.
        again: The call that makes it again.
        case: The case shown in figures; empty for the one that a rule chooses.
    """

    config: Config
    protocol: str
    points: Sequence[grid.Point]
    due: Sequence[Due]
    opened: dict[str, Cases]
    results: Path
    source: Path | None = None
    profile: str = "paper"
    again: str = ""
    case: str = ""

    @cached_property
    def _runs(self) -> list[Due]:
        """The runs, each once though several points of a sweep may share it."""
        return list({one.run.id: one for one in self.due}.values())

    @property
    def folder(self) -> Path:
        """Where the files of the table go."""
        return self.results / self.config.table

    def write(self, console: Console) -> None:
        """Write all files, and print the table."""
        made = self.tables()
        baselines, heading = self._baselines(), self._heading(made)
        files = tables.files(made.long, heading, baselines) | {
            "pairs.csv": evaluation.to_csv(made.pairs),
            "sweep.csv": evaluation.to_csv(made.sweep),
            "baselines.csv": evaluation.to_csv(baselines),
        }
        for file, text in files.items():
            whole.write(self.folder / file, text)
        drawn = self.pictures(made)
        drawn.draw()
        whole.write(self.folder / "report.html", page.render(self._page(made, heading, baselines, drawn)))
        console.print(tables.console(made.long, heading, baselines))

    def pictures(self, made: Tables) -> Pictures:
        """Return the figures."""
        frames = {"long": made.long, "sweep": made.sweep, "values": made.values}
        return Pictures(self.config, self.due, self.opened, self.folder / "figures", self.case, **frames)

    # Tables

    def tables(self) -> Tables:
        """Return all frames."""
        settings, frames = self._settings(), stored.frames(self.due, self.opened, self._aggregation())
        cells = self._cells(self._points())
        measured = evaluation.collect(cells, frames.runs, frames.test)
        sweep = evaluation.sweep(cells, measured, settings)
        cells = self._cells(self._chosen(cells, frames, settings))
        long = evaluation.table_long(cells, measured, stored.published(self.config.table), settings)
        values = evaluation.case_values(cells, measured, settings)
        pairs = evaluation.pairs(values, rows=settings.rows, blocks=settings.blocks)
        judged = evaluation.block_verdicts(long, pairs, rows=settings.rows, blocks=settings.blocks)
        verdict = evaluation.table_verdict(long, judged)
        return Tables(long, pairs, sweep, values, judged, verdict, self._claims(long, pairs, sweep))

    def _cells(self, points: pd.DataFrame) -> pd.DataFrame:
        datasets = list(dict.fromkeys(points["dataset"]))
        metrics = {key: self._evaluation(key)["metrics"] for key in datasets}
        classes = {
            key: stored.shown_classes(key, self.opened, self._evaluation(key), mean=self._own) for key in datasets
        }
        return evaluation.expected_cells(points, metrics, classes)

    def _points(self) -> pd.DataFrame:
        """Return the points of the table, seeds apart, with what kind of data and protocol they have."""
        rows = []
        for cell in dict.fromkeys(point.cell for point in self.points):
            kind = self.opened[cell[0]].kind if cell[0] in self.opened else "real"
            rows.append([*cell, kind, self.protocol])
        return pd.DataFrame(rows, columns=["dataset", "network", "loss", "arguments", "data", "protocol"])

    def _chosen(self, cells: pd.DataFrame, frames: Frames, settings: Any) -> pd.DataFrame:
        """Return the points that are rows of the table: all, or of each sweep the one that `gamma_selection` picks."""
        points, how = self._points(), self.config.report.gamma_selection
        if how is None:
            return points
        found = frames.test if how == "best_test" else frames.validation
        one = cells.drop_duplicates(["dataset", "network", "loss", "arguments"]).assign(metric="dsc")
        known = frames.runs.assign(state=frames.runs["state"].where(frames.runs["run"].isin(found["run"]), "not_run"))
        values = evaluation.case_values(one, evaluation.collect(one, known, found), settings)
        return evaluation.choose(points, values, how if isinstance(how, float) else None)

    def _claims(self, long: pd.DataFrame, pairs: pd.DataFrame, sweep: pd.DataFrame) -> pd.DataFrame:
        """Judge the claims that this table bears on, with the other tables that lie in the results folder."""
        related = stored.related(self.config.table)
        others = [stored.read_tables(self.results / table) for table in related if table != self.config.table]
        together = zip((long, pairs, sweep), *others, strict=True)
        frames = [pd.concat([part for part in parts if len(part)] or [parts[0]]) for parts in together]
        seen = evaluation.Evidence(*frames, stored.histories(self.due), layout.name)
        printed = evaluation.printed({table: stored.published(table) for table in related}, layout.name)
        return evaluation.judge(stored.claims(self.config.table), seen, printed)

    @cached_property
    def _own(self) -> bool:
        """Whether this is a comparison of one's own, beside which nothing was published."""
        return not len(stored.published(self.config.table))

    def _settings(self) -> Any:
        section, compare = self.config.evaluation, self.config.compare
        aggregation = self._aggregation()
        return evaluation.TableSettings(
            name=self.config.table,
            reference=self.config.report.reference,
            aggregation="case" if aggregation == "keras_batch" else aggregation,  # batches enter as cases
            empty=section.empty,
            rows=tuple(compare.rows),
            blocks=tuple(compare.blocks),
            margin=self.config.report.margin,
        )

    def _aggregation(self) -> Any:
        return self.config.evaluation.aggregation

    def _evaluation(self, dataset: str) -> dict[str, Any]:
        """Return the section `evaluation` as it holds for a data set."""
        return next(point.settings["evaluation"] for point in self.points if point.dataset == dataset)

    # What stands around the table

    def _heading(self, made: Tables) -> dict[str, Any]:
        """Return title, verdict, choices and the machines that the numbers come from."""
        finished = [one for one in self._runs if one.finished()]
        records = [one.run.record() for one in finished]
        machines = [record["machine"] for record in records]
        selection: Any = self.config.report.gamma_selection
        return {
            "title": layout.beside(self.config.title, not self._own),
            "profile": self.profile,
            "reference loss": layout.name(self.config.report.reference),
            "verdict": "" if self._own else f"Verdict: {made.verdict.verdict}. {_counts(made.verdict)}",
            "row of a sweep": SELECTION.get(selection, f"the point with {selection}") if selection else "",
            "hardware": _joined(f"{one['processor']}, {', '.join(one['devices']) or 'no GPU'}" for one in machines),
            "threads": _joined(one["threads"] for one in machines),
            "arithmetic": _joined(one.point.settings["training"]["mixed_precision"] or "float32" for one in finished),
            "backend": _joined(f"{one['backend']} {one['versions'].get(one['backend'], '')}" for one in machines),
            "trained": _first_to_last(record["started"][:10] for record in records),
            "hours": f"{sum(record.get('hours', 0) for record in records):.2f}",
            "notes": [*self._leaks(), *self._failed()],
        }

    def _leaks(self) -> Iterator[str]:
        """Yield what a reader must know of data, split and selection."""
        if self.config.report.gamma_selection == "best_test":
            yield "Of each sweep the row is the point with the best test DSC: an upper bound, and no fair comparison."
        for key, cases in self.opened.items():
            settings = next(point.settings for point in self.points if point.dataset == key)
            if divides_patches(settings):
                said = "" if self._own else " (as the paper says)"
                yield f"{key}: patches of one image fall on both sides of the split{said}: a leak."
            elif shared := stored.groups_on_both_sides(cases, settings):
                yield (
                    f"{key}: {shared[0]} of {shared[1]} groups (frames of one sequence, images of one patient) have "
                    "cases in training and in test: a leak. `group_by` keeps them together."
                )
            if cases.kind != "real" and any(one.finished() for one in self.due if one.point.dataset == key):
                yield f"{key}: {cases.kind} data; these numbers say nothing about {layout.subject(not self._own)}."

    def _failed(self) -> Iterator[str]:
        for one in self._runs:
            record = one.run.record()
            if not one.finished() and record.get("reason"):
                yield f"{one.run.id}: {record['state']}, {record['reason']}"

    def _baselines(self) -> pd.DataFrame:
        """Return what needs no training, on the test cases of each data set of images with two classes."""
        rows, metric = [], self.config.report.metric
        if canonical(metric) not in evaluation.METRICS:
            metric = "dsc"  # of a threshold there are counts alone
        for key, cases in self.opened.items():
            settings = next(point.settings for point in self.points if point.dataset == key)
            if len(cases.classes) == 2 and len(cases.prepared[0].shape) == 2:
                rows += _baseline_rows(key, cases, settings, metric)
        return pd.DataFrame(rows, columns=["baseline", "dataset", "metric", "class", "ours", "data"])

    # The page

    def _page(self, made: Tables, heading: dict[str, Any], baselines: pd.DataFrame, drawn: Pictures) -> dict[str, Any]:
        """Return what ``page.html.jinja`` names."""
        data, decimals = layout.data_of(made.long), layout.decimals_of(made.long)
        arranged = layout.with_baselines(layout.grid(made.long), baselines if len(baselines) else None)
        source = self.source.read_text(encoding="utf-8") if self.source else ""
        return {
            "title": layout.titled(heading["title"], data),
            "data": data,
            "compared": arranged.compared,
            "verdict": "" if self._own else f"Verdict: {made.verdict.verdict}",
            "counted": tables.counted(made.long)
            if self._own
            else f"{_counts(made.verdict)} {tables.counted(made.long)}",
            "claims": made.claims.to_dict("records"),
            "table": page.table_of(arranged, decimals),
            "legend": tables.legend(made.long),
            "overview": drawn.overview,
            "conclusions": self._conclusions(made),
            "blocks": list(self._blocks(made)),
            "comparison": drawn.comparison,
            "facts": tables.facts(made.long, heading),
            "leaks": list(self._leaks()),
            "choices": choices(source),
            "failed": list(self._failed()),
            "sections": [{**section, "worst": self._worst(section)} for section in drawn.sections],
            "runs": [_run_row(one) for one in self._runs],
            "again": [
                self.again,
                f"{self.again} --report-only    # tables and report alone, from what is stored",
            ],
            "configuration": source,
        }

    def _blocks(self, made: Tables) -> Iterator[dict[str, str]]:
        """Yield winner and order of each block, and Kendall's tau with its interval."""
        intervals = evaluation.order_intervals(made.values, made.long, **self._compared())
        for row in made.judged.to_dict("records"):
            yield _block_row(row, intervals.get(row["block"], (math.nan, math.nan)))

    def _compared(self) -> dict[str, Sequence[str]]:
        """Return the columns that tell rows and blocks apart."""
        return {"rows": self.config.compare.rows, "blocks": self.config.compare.blocks}

    def _conclusions(self, made: Tables) -> list[str]:
        metric, names = self.config.report.metric, self._compared()
        within = evaluation.within_blocks(made.long, made.pairs, metric, layout.name, **names)
        return [*within, evaluation.across_blocks(made.long, metric, **names)[2]] if within else []

    def _worst(self, section: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the cases with the worst mean over losses, with links to what was predicted."""
        lowest_first = self.config.report.metric not in evaluation.DISTANCES
        means = section["values"].mean(axis=1).dropna().sort_values(kind="stable", ascending=lowest_first)[:WORST]
        runs = [(layout.name(row), one) for row, one in section["runs"].items() if one is not None]
        rows = []
        for case, value in means.items():
            maps = [(label, stored.label_map(one, str(case))) for label, one in runs]
            links = [(label, f"../{quote(path.relative_to(self.results).as_posix())}") for label, path in maps if path]
            rows.append({"id": str(case), "value": f"{value:.3f}", "links": links})
        return rows


def _baseline_rows(key: str, cases: Cases, settings: Any, metric: str) -> list[list[Any]]:
    """Return one row per baseline and metric."""
    test = cases.parts(settings)["test"]
    test = test[:: -(-len(test) // BASELINE_CASES)]
    masks = [case.read_mask() for case in test] if settings["evaluation"]["mask"] == "fov" else None
    images, truths = [np.asarray(case.read_image()) for case in test], [np.asarray(case.read_label()) for case in test]
    best = evaluation.best_threshold(images, truths, masks, metric)  # as a network sees them: files may be far larger
    rules = {"all background": lambda image: np.zeros(image.shape[:-1], np.uint8), "best threshold": best.apply}
    return [
        [baseline, key, name, evaluation.FOREGROUND, value, cases.kind]
        for baseline, rule in rules.items()
        for name, value in _measured(rule, cases, test, settings).items()
    ]


def _measured(
    rule: Callable[[np.ndarray], np.ndarray], cases: Cases, test: Sequence[Any], settings: Any
) -> dict[str, float]:
    """Return the metrics of a rule, image -> label map, counted and averaged as those of the networks beside it."""
    section, drawing = settings["evaluation"], pipeline_settings(settings)

    def forward(images: np.ndarray) -> np.ndarray:
        maps = np.stack([rule(image) for image in images]).astype(np.float32)
        return CERTAIN * np.stack([1 - maps, maps], axis=-1)

    batches = scoring.Batchwise(drawing.batch_size, 2) if section["aggregation"] == "keras_batch" else None
    output = "probabilities" if batches else "label"
    maps = pipeline.predict_many(forward, test, drawing, grid=section["grid"], output=output)
    counted = []
    for (_, truth, mask, _), found in zip(scoring.truths(cases, test, section), maps, strict=True):
        if batches:
            batches.add("test", found, truth)
        else:
            counted.append(evaluation.counts(truth, found, 2, mask=mask)[1])
    known = [name for name in section["metrics"] if name not in ("auc", *evaluation.DISTANCES)]
    if batches:
        means = pd.DataFrame(batches.rows(), columns=list(batches.columns)).mean(numeric_only=True)
        return {name: float(means[canonical(name)]) for name in known}
    counts, how = np.stack(counted)[None, :, None], section["aggregation"]
    return {name: evaluation.aggregate(counts, name, how, section["empty"])[0] for name in known}


def _counts(verdict: Any) -> str:
    without = verdict.cells - verdict.references
    return (
        f"{verdict.comparable} of {verdict.cells} cells comparable, {verdict.agreeing} agree; "
        + (f"{without} have no published value; " if without else "")
        + f"winner same or tied in {verdict.won} of {verdict.decided} decided blocks."
    )


def _block_row(row: dict[Any, Any], interval: tuple[float, float]) -> dict[str, str]:
    shown = {key: "; ".join(map(layout.name, row[key].split(";"))) for key in ("best", "published_best")}
    between = f" [{interval[0]:.2f}, {interval[1]:.2f}]"
    found = f"{row['tau']:.2f}{between} (one-sided p {row['p_agrees']:.2g}); Spearman {row['spearman']:.2f}"
    tau = "" if pd.isna(row["tau"]) else found
    block = row["block"].removesuffix(f"/{evaluation.FOREGROUND}")
    return {"name": layout.name(block), "winner": row["winner"], "order": row["order"], "tau": tau, **shown}


def _run_row(one: Due) -> dict[str, str]:
    record = one.run.record()
    hours, memory = record.get("hours"), record.get("peak_memory_mib")
    return {
        "id": one.run.id,
        "state": "finished" if one.finished() else record.get("state", "not run"),  # a kill may precede its last record
        "hours": "" if hours is None else f"{hours:.2f}",
        "memory": "" if memory is None else f"{memory:,.0f}",
    }


def _first_to_last(dates: Iterable[str]) -> str:
    """Return the earliest and the latest date, one where they are equal."""
    ordered = sorted(dates)
    return " to ".join(dict.fromkeys([*ordered[:1], *ordered[-1:]]))


def _joined(values: Iterable[Any]) -> str:
    """Return different values once each."""
    return ", ".join(dict.fromkeys(map(str, values)))
