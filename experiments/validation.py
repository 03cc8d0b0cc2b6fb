"""The validation cases of a run, looked at after each epoch."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rareseg import pipeline
from rareseg.experiments.session import Session

TINY = 1e-30  # a probability of 0 has no logarithm


class Validation:
    """Mean loss and overlap counts of the validation cases; unaugmented, in their own order, each once.

    Args:
        session: The compiled step.
        cases: Prepared cases or patches.
        drawing: Settings of the pipeline; ``validation_crops`` says which windows are looked at.
        seed: Seed of the windows.
    """

    def __init__(self, session: Session, cases: Sequence[Any], drawing: pipeline.Settings, seed: int) -> None:
        self._session, self._cases, self._drawing = session, list(cases), drawing
        whole = drawing.analysis == "crop" and drawing.validation_crops == "whole"
        self._batches = None if whole else pipeline.Batches(self._cases, drawing, seed=seed, training=False)

    def __call__(self, epoch: int) -> tuple[float, np.ndarray]:
        """Return the mean loss and the counts (K - 1, 3), for an epoch from 0."""
        results = self._by_cases() if self._batches is None else self._by_batches(self._batches, epoch)
        losses, sizes, counts = zip(*results, strict=True)
        return float(np.average(losses, weights=sizes)), np.sum(counts, axis=0)

    def _by_batches(self, batches: Any, epoch: int) -> Iterator[tuple[float, int, np.ndarray]]:
        batches.epoch = epoch
        for index in range(len(batches)):
            images, labels = batches[index]
            loss, counts = self._session.test(images, labels)
            yield loss, len(images), counts

    def _by_cases(self) -> Iterator[tuple[float, int, np.ndarray]]:
        """Predict each case by overlapping windows; the logarithm of a probability serves as its logit."""
        maps = pipeline.predict_many(
            self._session.predict, self._cases, self._drawing, grid="network", output="probabilities"
        )
        for case, probabilities in zip(self._cases, maps, strict=True):
            logits = np.log(np.maximum(probabilities, TINY))[None]
            loss, counts = self._session.judge(logits, np.asarray(case.read_label())[None])
            yield loss, 1, counts
