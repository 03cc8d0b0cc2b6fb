"""Stored weights -> label maps and counts of the test cases, from which all metrics are computed."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rareseg import evaluation, pipeline
from rareseg.experiments import store
from rareseg.experiments.cases import Cases

COLUMNS = ("part", "case", "group", "class", "TP", "FP", "FN", "TN", "auc")


def score(
    forward: Callable[[np.ndarray], np.ndarray],
    data: Cases,
    cases: Sequence[Any],
    settings: Mapping[str, Any],
    drawing: pipeline.Settings,
    folder: Path,
) -> None:
    """Predict the test cases and write ``predictions/``, ``scores.npz`` and, last, ``cases.csv``.

    Args:
        forward: Images (B, *space, channels) -> logits (B, *space, classes).
        data: The data set that the cases come from.
        cases: Prepared cases or patches.
        settings: Values of the section `evaluation`.
        drawing: Settings of the pipeline.
        folder: Where the files go.
    """
    rows, histogram = [], 0
    maps = pipeline.predict_many(forward, cases, drawing, grid=settings["grid"], output="probabilities")
    for (case, truth, mask), probabilities in zip(_truths(data, cases, settings), maps, strict=True):
        predicted = probabilities.argmax(axis=-1).astype(np.uint8)
        counted = evaluation.counts(truth, predicted, probabilities.shape[-1], mask=mask)
        area = None
        if settings["auc"]:
            area = evaluation.auc(probabilities[..., 1], truth, mask=mask)
            histogram = histogram + evaluation.score_histogram(probabilities[..., 1], truth, mask=mask)
        rows += [
            ["test", case.id, case.group, label, *map(int, counted[label]), _number(area)]
            for label in range(1, len(counted))
        ]
        if isinstance(case, pipeline.Prepared):  # patches are too many to keep, and drawn again in no time
            store.write(folder / "predictions" / f"{case.id}.png", _png(predicted, data.kind))
    if settings["auc"]:
        store.write(folder / "scores.npz", _npz(histogram=np.asarray(histogram)))
    store.write_rows(folder / "cases.csv", COLUMNS, rows)


def _truths(
    data: Cases, cases: Sequence[Any], settings: Mapping[str, Any]
) -> Iterator[tuple[Any, np.ndarray, np.ndarray | None]]:
    """Yield each case with its label and, if asked for, its mask, on the grid of the evaluation."""
    for case in cases:
        source = data.originals.get(case.id, case) if settings["grid"] == "original" else case
        yield case, np.asarray(source.read_label()), source.read_mask() if settings["mask"] == "fov" else None


def _number(value: float | None) -> float | None:
    """Return a value for a CSV field; an AUC that is not defined is an empty field."""
    return None if value is None or np.isnan(value) else float(value)


def _png(classes: np.ndarray, kind: str) -> bytes:
    """Return a label map as PNG: grey levels are class numbers."""
    text, stream = PngInfo(), io.BytesIO()
    text.add_text("Comment", f"label map predicted on {kind} data; grey levels are class numbers")
    Image.fromarray(classes).save(stream, "PNG", pnginfo=text)
    return stream.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()
