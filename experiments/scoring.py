"""Stored weights -> label maps and counts of the test cases, from which all metrics are computed."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rareseg import evaluation, pipeline
from rareseg.datasets import files, whole
from rareseg.experiments import store
from rareseg.experiments.cases import Cases

COLUMNS = ("part", "case", "group", "class", "TP", "FP", "FN", "TN", "auc")


def score(
    forward: Callable[[np.ndarray], np.ndarray],
    data: Cases,
    parts: Mapping[str, Sequence[Any]],
    settings: Mapping[str, Any],
    drawing: pipeline.Settings,
    folder: Path,
    go_on: Callable[[], None] = lambda: None,
) -> None:
    """Predict cases and write ``predictions/`` (of the test part), ``scores.npz``, ``batches.csv``, last ``cases.csv``.

    Args:
        forward: Images (B, *space, channels) -> logits (B, *space, classes).
        data: The data set that the cases come from.
        parts: Prepared cases or patches of each part.
        settings: Values of the section `evaluation`; ``parts`` says which parts are predicted.
        drawing: Settings of the pipeline.
        folder: Where the files go.
        go_on: Called for each case; raises where a signal asked to stop.
    """
    rows: list[list[Any]] = []
    areas = Areas(len(data.classes)) if settings["auc"] else None
    batches = Batchwise(drawing.batch_size, len(data.classes)) if settings["aggregation"] == "keras_batch" else None
    output = "both" if areas or batches else "label"
    probabilities: Any
    for part in settings["parts"]:
        maps = pipeline.predict_many(forward, parts[part], drawing, grid=settings["grid"], output=output)
        for (case, truth, mask, spacing), answer in zip(truths(data, parts[part], settings), maps, strict=True):
            go_on()
            predicted, probabilities = answer if output == "both" else (answer, None)
            found = areas.add(probabilities, truth, mask, part) if areas else {}
            if batches:
                batches.add(part, probabilities, truth)
            for label, row in _counted(truth, predicted, len(data.classes), mask, settings["hec"]).items():
                far = _distances(truth, predicted, label, spacing) if settings["distances"] else []
                rows.append([part, case.id, case.group, label, *row, found.get(label), *far])
            if part == "test" and isinstance(case, pipeline.Prepared):  # patches are too many, and drawn again quickly
                _keep(folder / "predictions", case.id, predicted, data, settings["grid"])
    if areas:
        whole.write(folder / "scores.npz", _npz(**areas.histograms))
    if batches:
        store.write_rows(folder / "batches.csv", batches.columns, batches.rows())
    store.write_rows(folder / "cases.csv", COLUMNS + (evaluation.DISTANCES if settings["distances"] else ()), rows)


def _distances(truth: np.ndarray, predicted: np.ndarray, label: int | str, spacing: Any) -> list[float | None]:
    """Return the distances of the surfaces of a class, None where truth or prediction has none."""
    maps = [grid > 0 if label == evaluation.HEC else grid == label for grid in (truth, predicted)]
    found = evaluation.surface_distances(*maps, spacing=spacing)
    return [_number(found[name]) for name in evaluation.DISTANCES]


class Batchwise:
    """Metrics of batches of cases, as the related code of ALL computes them.

    Args:
        size: Cases per batch.
        classes: Number of classes.
    """

    METRICS = ("dsc", "jaccard", "recall", "precision", "specificity")
    columns = ("part", "case", "group", "class", *METRICS)

    def __init__(self, size: int, classes: int) -> None:
        self._size, self._labels = size, range(1, classes)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._rows: list[list[Any]] = []
        self._number, self._part = 0, ""

    def add(self, part: str, probabilities: np.ndarray, truth: np.ndarray) -> None:
        """Take a case: its part, probabilities (*space, K) and classes (*space). No batch holds cases of two parts."""
        if self._waiting and part != self._part:
            self._close()
        self._part = part
        self._waiting.append((probabilities, truth))
        if len(self._waiting) == self._size:
            self._close()

    def rows(self) -> list[list[Any]]:
        """Return the rows of all batches; the last one of a part may be smaller."""
        if self._waiting:
            self._close()
        return self._rows

    def _close(self) -> None:
        probabilities, truth = (np.stack(arrays) for arrays in zip(*self._waiting, strict=True))
        for label in self._labels:
            found = evaluation.batch_metrics(probabilities[..., label], truth == label)
            self._rows.append([self._part, self._number, "", label, *(found[name] for name in self.METRICS)])
        self._waiting, self._number = [], self._number + 1


def _counted(
    truth: np.ndarray, predicted: np.ndarray, classes: int, mask: np.ndarray | None, hec: bool
) -> dict[Any, list[int]]:
    """Return TP, FP, FN, TN of each foreground class."""
    counted = evaluation.counts(truth, predicted, classes, mask=mask)
    found: dict[Any, list[int]] = {label: list(map(int, counted[label])) for label in range(1, classes)}
    if hec:
        found[evaluation.HEC] = list(
            map(int, evaluation.counts((truth > 0).astype(np.uint8), (predicted > 0).astype(np.uint8), 2, mask=mask)[1])
        )
    return found


class Areas:
    """Areas under the ROC curve of each case, and histograms of the scores of all test cases.

    Args:
        classes: Number of classes, K.
    """

    def __init__(self, classes: int) -> None:
        self._labels = range(1, classes)
        self._histograms: dict[int, Any] = dict.fromkeys(self._labels, 0)

    def add(self, probabilities: np.ndarray, truth: np.ndarray, mask: np.ndarray | None, part: str) -> dict[int, Any]:
        """Take the probabilities (*space, K) of a case; return the area of each class, None where it is not defined."""
        found = {}
        for label in self._labels:
            scores, right = probabilities[..., label], truth == label
            found[label] = _number(evaluation.auc(scores, right, mask=mask))
            if part == "test":
                self._histograms[label] = self._histograms[label] + evaluation.score_histogram(scores, right, mask=mask)
        return found

    @property
    def histograms(self) -> dict[str, np.ndarray]:
        """``histogram`` of a single foreground class; of several, ``histogram_1``, ``histogram_2``, ..."""
        single = len(self._labels) == 1
        return {
            "histogram" if single else f"histogram_{label}": np.asarray(value)
            for label, value in self._histograms.items()
        }


def _keep(folder: Path, case: str, predicted: np.ndarray, data: Cases, grid: str) -> None:
    """Write a label map: on the grid of the case's files as they are, 2D as PNG and 3D as NIfTI; else as PNG."""
    text = f"label map predicted on {data.kind} data; grey levels are class numbers"
    if grid == "original":
        suffix = ".png" if predicted.ndim == 2 else ".nii.gz"
        pipeline.write_prediction(data.originals[case], predicted, folder / f"{case}{suffix}", text)
    else:
        files.write_png(folder / f"{case}.png", predicted, text)


def truths(
    data: Cases, cases: Sequence[Any], settings: Mapping[str, Any]
) -> Iterator[tuple[Any, np.ndarray, np.ndarray | None, Any]]:
    """Yield each case with its label, its mask if asked for, and its spacing, on the grid of the evaluation."""
    for case in cases:
        source = data.counted(case, settings["grid"])
        yield (
            case,
            np.asarray(source.read_label()),
            source.read_mask() if settings["mask"] == "fov" else None,
            source.spacing,
        )


def _number(value: float | None) -> float | None:
    """Return a value for a CSV field; an AUC that is not defined is an empty field."""
    return None if value is None or np.isnan(value) else float(value)


def _npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # NumPy 2.0 would store an argument for pickles as an array
    return stream.getvalue()
