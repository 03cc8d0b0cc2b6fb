"""Which figures a table has, drawn from its runs into ``figures/``, and where each stands in the report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rareseg import evaluation
from rareseg.datasets import whole
from rareseg.evaluation.overlap import canonical
from rareseg.evaluation.pairing import joined
from rareseg.experiments import comparisons, examples, figures, grid, layout, stored
from rareseg.experiments.cases import Cases
from rareseg.experiments.config import Config
from rareseg.experiments.page import Figure
from rareseg.experiments.store import Due

MOST_ROWS = 12
"""Lines that a reader can tell apart; of more rows, as those of ALL's Table 1, figures of lines are left out."""
DRAWING = 6
"""Counts up when figures change, so that stored ones are drawn again."""


class Picture(NamedTuple):
    """A figure that can be drawn: its name, what stands below it, and how."""

    name: str
    caption: str
    draw: Callable[[Path], Any]


class Block(NamedTuple):
    """Rows that are compared with each other.

    Attributes:
        keys: Data set, and network and loss where they are not what is compared.
        runs: Row -> its run with the lowest seed, None where none is finished.
        values: Class -> per-case values of the primary metric, one column per row.
        groups: Group of each case.
    """

    keys: tuple[str, ...]
    runs: dict[str, Due | None]
    values: dict[str, pd.DataFrame]
    groups: pd.Series

    @property
    def dataset(self) -> str:
        """Key of the data set."""
        return self.keys[0]

    @property
    def title(self) -> str:
        """Data set and network, as printed."""
        return ", ".join(map(layout.name, self.keys))


class Pictures:
    """The figures of a table.

    Args:
        config: The configuration.
        due: The runs.
        opened: Data set -> its cases.
        folder: Where they go.
        case: The case shown in examples; empty for the one that a rule chooses.
        long: ``table_long``.
        sweep: ``sweep``.
        values: Per-case values of all cells.
    """

    def __init__(
        self,
        config: Config,
        due: Sequence[Due],
        opened: Mapping[str, Cases],
        folder: Path,
        case: str,
        *,
        long: pd.DataFrame,
        sweep: pd.DataFrame,
        values: pd.DataFrame,
    ) -> None:
        self.config, self.due, self.opened, self.folder, self.case = config, due, opened, folder, case
        self.long, self.sweep, self.values = long, sweep, values
        self.data, self.metric = layout.data_of(long), config.report.metric
        self._overview = list(self._of_the_table())
        self._comparison = list(self._across_blocks())
        leading = config.report.network
        found = sorted(self._found_blocks(), key=lambda block: leading not in block.keys[1:])  # where there are several
        self._blocks = [(block, list(self._of_a_block(block))) for block in found]

    def draw(self) -> None:
        """Draw all figures, unless they were drawn from the same numbers before."""
        runs = [[one.run.id, one.evaluation.name, one.finished()] for one in self.due]
        asked = [self.config.title, *(one.model_dump(mode="json") for one in (self.config.report, self.config.compare))]
        made_from = grid.digest([DRAWING, runs, evaluation.to_csv(self.long), self.case, asked])
        stamp = self.folder / ".made-from"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == made_from:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)  # first: what a kill leaves half drawn is drawn again
        for old in (*self.folder.glob("*.svg"), *self.folder.glob("*.png")):
            old.unlink()
        for picture in [*self._overview, *self._comparison, *(one for _, drawn in self._blocks for one in drawn)]:
            picture.draw(self.folder / picture.name)
        whole.write(stamp, made_from)

    @property
    def overview(self) -> list[Figure]:
        """Figures below the table."""
        return self._shown(self._overview)

    @property
    def comparison(self) -> list[Figure]:
        """Figures across blocks."""
        return self._shown(self._comparison)

    @property
    def sections(self) -> list[dict[str, Any]]:
        """One entry per block: anchor, title, figures, what is left out, runs, primary metric and its values.

        Of several classes the values are those of the first.
        """
        return [self._section(block, drawn) for block, drawn in self._blocks]

    def _section(self, block: Block, drawn: Sequence[Picture]) -> dict[str, Any]:
        name, values = next(iter(block.values.items()))
        metric = layout.name(self.metric)
        return {
            "anchor": "-".join(block.keys),
            "title": block.title,
            "figures": self._shown(drawn),
            "left_out": _left_out(len(block.runs)),
            "runs": block.runs,
            "values": values,
            "metric": metric if name == evaluation.FOREGROUND else f"{metric} of {layout.name(name)}",
        }

    def _shown(self, pictures: Sequence[Picture]) -> list[Figure]:
        files = [(self.folder / f"{one.name}.svg", one.caption) for one in pictures]
        return [Figure(file, caption) for file, caption in files if file.is_file()]

    # Of the whole table

    def _of_the_table(self) -> Iterator[Picture]:
        long, title = self.long, self.config.title
        arranged = layout.grid(long)
        if (
            len(arranged.side) == len(arranged.top) == 1
            and "=" in arranged.rows[0][0]
            and "=" in arranged.columns[0][0]
        ):
            yield Picture(
                "matrix",
                "Each map has its own scale of blue, from its lowest to its highest value.",
                lambda path: comparisons.heat(long, title, path),
            )
        yield Picture(
            "cells",
            "Filled: ours with its 95 % interval." + (" Open: what the paper printed." if arranged.compared else ""),
            lambda path: figures.cells(long, layout.beside(title, arranged.compared), path),
        )

    def _across_blocks(self) -> Iterator[Picture]:
        compare = self.config.compare
        rows, test, _ = evaluation.across_blocks(self.long, self.metric, rows=compare.rows, blocks=compare.blocks)
        if test is not None:
            title = f"{self.config.title}: mean ranks over {test.blocks} blocks, {layout.name(self.metric)}"
            yield Picture(
                "critical-difference",
                "Losses under one bar do not differ at the 5 % level (Nemenyi).",
                lambda path: comparisons.critical_differences(
                    rows, test.mean_ranks, test.critical_difference, title, path, data=self.data
                ),
            )
        if panels := gamma_panels(*self._of_leading_network()):
            yield Picture(
                "gamma",
                "Mean DSC over test cases for each gamma; level lines: losses without gamma.",
                lambda path: comparisons.over_gamma(
                    panels, f"{self.config.title}: DSC over gamma", path, data=self.data
                ),
            )

    def _of_leading_network(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the sweep and the table of one network: a curve over gamma cannot be that of two."""
        networks = self.config.grid.network
        network = self.config.report.network if len(networks) > 1 else networks[0]
        swept = self.sweep["block"].str.split("/").str[1]
        return self.sweep[swept == network], self.long[self.long["network"] == network]

    # Of one block

    def _found_blocks(self) -> Iterator[Block]:
        """Yield the blocks in which something is finished."""
        compare = self.config.compare
        keys = [key for key in ("dataset", "network", "loss") if key in compare.blocks]
        points = self.long.drop_duplicates(["dataset", "network", "loss", "arguments"])
        values = self.values[self.values["metric"].map(canonical) == canonical(self.metric)]
        for names, block in points.groupby(keys, sort=False):
            runs = {
                row: self._run(point)
                for row, point in zip(joined(block, compare.rows), block.to_dict("records"), strict=True)
            }
            if not any(runs.values()):
                continue
            here = values[(values[keys] == list(names)).all(axis=1)]
            by_class = {
                str(name): _wide(part, compare.rows, list(runs)) for name, part in here.groupby("class", sort=False)
            }
            groups = here.drop_duplicates("case").set_index("case")["group"]
            yield Block(tuple(map(str, names)), runs, by_class, groups)

    def _run(self, point: dict[Any, Any]) -> Due | None:
        cell = tuple(point[key] for key in ("dataset", "network", "loss", "arguments"))
        found = [one for one in self.due if one.point.cell == cell and one.finished()]
        return min(found, key=lambda one: one.point.seed, default=None)

    def _of_a_block(self, block: Block) -> Iterator[Picture]:
        kind = self.opened[block.dataset].kind
        end = "-".join(block.keys)
        for name, values in block.values.items():
            ending, title = _with_class(name, end, block.title)
            yield Picture(
                f"distributions-{ending}",
                f"Left: cases, of those beyond the whiskers the {comparisons.FARTHEST} farthest; line: median, point: "
                "mean. Middle: share of cases above a value. Right: how often each loss takes each rank when cases are "
                "drawn again.",
                lambda path, values=values, title=title: comparisons.distributions(
                    values, title, path, data=kind, metric=self.metric, groups=list(block.groups[values.index])
                ),
            )
        if len(block.runs) <= MOST_ROWS:
            yield Picture(
                f"curves-{end}",
                "From history.csv; of several seeds the first.",
                lambda path: figures.learning_curves(
                    {row: one and stored.history(one) for row, one in block.runs.items()}, block.title, path, data=kind
                ),
            )
            yield from self._rocs(block, kind, end)
        case = self._case(block)
        yield Picture(f"examples-{end}", self._rule(block, case), lambda path: self._draw_examples(block, case, path))

    def _rocs(self, block: Block, kind: str, end: str) -> Iterator[Picture]:
        """Yield a figure per class whose scores were kept."""
        found = {row: dict(stored.curves(one)) if one else {} for row, one in block.runs.items()}
        classes = self.opened[block.dataset].classes
        for label in dict.fromkeys(label for curves in found.values() for label in curves):
            ending, title = _with_class(classes[int(label)], end, block.title)
            curves = {row: kept.get(label) for row, kept in found.items()}
            error = max(curve[3] for curve in curves.values() if curve)
            yield Picture(
                f"roc-{ending}",
                f"All test pixels pooled, by 65,536 steps of their probability: areas are exact to {error:.1g}.",
                lambda path, curves=curves, title=title: figures.roc(
                    {row: curve and curve[:3] for row, curve in curves.items()}, title, path, data=kind
                ),
            )

    def _case(self, block: Block) -> str:
        """Return the case that was asked for, or the median one where no run kept a label map of it."""
        finished = {row: one for row, one in block.runs.items() if one}
        if any(stored.label_map(one, self.case) for one in finished.values()):
            return self.case
        return median_case(finished)

    def _rule(self, block: Block, case: str) -> str:
        rule = "The case that was asked for"
        if case != self.case:
            rule = "The case with the median of the mean DSC over losses"
        if len(self.opened[block.dataset].prepared[0].shape) == 3:
            return f"{rule}: its axial slice with the most foreground, and the DSC of this slice."
        return f"{rule}."

    def _draw_examples(self, block: Block, case: str, path: Path) -> None:
        """Draw a case; patches keep no label maps, and have no figure."""
        cases = self.opened[block.dataset]
        prepared = {one.id: one for one in cases.prepared}
        if case not in prepared:
            return
        settings = next(one.point.settings["evaluation"] for one in self.due if one.point.dataset == block.dataset)
        source = cases.counted(prepared[case], settings["grid"])
        shown = example(source, cases.originals[case], cases.classes, block.runs, fov=settings["mask"] == "fov")
        examples.examples([shown], block.title, path, data=cases.kind)


def _left_out(rows: int) -> str:
    """Return which figures a block of so many rows lacks, and why."""
    if rows <= MOST_ROWS:
        return ""
    return f"Learning curves and ROC curves are left out: {MOST_ROWS} lines can be told apart, and there are {rows}."


def _wide(values: pd.DataFrame, rows: Sequence[str], order: list[str]) -> pd.DataFrame:
    """Return per-case values with one column per row, NaN throughout where nothing is finished."""
    wide = values.assign(row=joined(values, rows)).pivot(index="case", columns="row", values="value")
    return wide.reindex(columns=order).astype(float)


def _with_class(name: str, end: str, title: str) -> tuple[str, str]:
    """Add a class to the name and title of a figure, unless it is the only one."""
    return (
        (end, title)
        if name == evaluation.FOREGROUND
        else (f"{end}-{name.replace(' ', '_')}", f"{title}, {layout.name(name)}")
    )


def median_case(runs: dict[str, Due]) -> str:
    """Return the case with the median of the mean DSC over runs (and classes), the lower one of two."""
    counted = pd.concat([pd.read_csv(one.evaluation / "cases.csv", dtype={"case": str}) for one in runs.values()])
    counted = counted[(counted["part"] == "test") & (counted["class"].astype(str) != evaluation.HEC)]
    counts = counted[list(evaluation.COUNTS)].to_numpy()
    dsc = counted.assign(dsc=evaluation.metrics(counts, ("dsc",))["dsc"]).groupby("case")["dsc"].mean().dropna()
    return str(dsc.sort_values(kind="stable").index[(len(dsc) - 1) // 2]) if len(dsc) else ""


def example(
    source: Any, original: Any, classes: Sequence[str], runs: dict[str, Due | None], *, fov: bool
) -> dict[str, Any]:
    """Return one row of ``examples.examples``; of a volume, its axial slice with the most foreground.

    Args:
        source: The case on the grid of the evaluation.
        original: The case as it is on disk, which knows in what order the axes of its files are.
        classes: Name of each class, the background's first.
        runs: Row -> run, None where none is finished.
        fov: Whether nothing counts outside the field of view.
    """
    truth, image = np.asarray(source.read_label()), np.asarray(source.read_image())
    mask = source.read_mask() if fov else None
    where: tuple[Any, ...] = ()
    if truth.ndim == 3:
        where = examples.axial(truth, original.affine[:, [*original.order, 3]])
    image = image[where]
    image = image[..., 0] if image.shape[-1] == 1 else image[..., :3]
    if image.dtype != np.uint8:  # scaled for the network, or Hounsfield units
        low, high = np.percentile(image, [0.5, 99.5])
        image = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    paths = {row: one and stored.label_map(one, source.id) for row, one in runs.items()}
    predictions = {row: path and original.read_written(path)[where] for row, path in paths.items()}
    shown = {"id": source.id, "image": image, "classes": classes, "truth": truth[where], "predictions": predictions}
    return shown if mask is None else shown | {"mask": np.asarray(mask)[where]}


def gamma_panels(sweep: pd.DataFrame, long: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the panels of UFL's Figure 3: per data set and loss the DSC, by gamma where that was swept."""
    panels: dict[str, dict[str, Any]] = {}
    for row in sweep.to_dict("records"):
        dataset, _, metric, _ = str(row["block"]).split("/")
        text = str(row["arguments"])
        if canonical(metric) == "dsc" and text.startswith("gamma=") and ";" not in text:
            panels.setdefault(dataset, {}).setdefault(row["loss"], {})[float(text.removeprefix("gamma="))] = row["ours"]
    for row in long.to_dict("records"):
        if row["dataset"] in panels and canonical(row["metric"]) == "dsc":
            panels[row["dataset"]].setdefault(row["loss"], row["ours"])
    return {dataset: panel for dataset, panel in panels.items() if len(panel) > 1}
