"""Labels and predictions of a batch, and the two sums over pixels that all losses are made of.

`Pixels.counts` holds everything a loss on regions needs, `Pixels.mean` everything a loss on single pixels needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from keras import ops

from rareseg.losses._prediction import Prediction, View

# Below this a denominator counts as 0: its reciprocal would not fit into float32.
SMALLEST_DENOMINATOR = 1e-30


@dataclass
class Truth:
    """Labels as planes (B, *space): masks if each pixel has one class at most, else shares.

    Attributes:
        masks: K boolean planes; empty for soft labels.
        shares: K planes y_c of soft labels; empty for hard ones.
        weight: Plane w; None if every pixel counts once.
        one: The number 1 in the type of the prediction.
    """

    masks: list[Any]
    shares: list[Any]
    weight: Any
    one: Any

    def weighted(self, plane: Any) -> Any:
        """Return w times a plane."""
        return plane if self.weight is None else plane * self.weight

    def of_class(self, c: int, plane: Any) -> Any:
        """Return w y_c times a plane."""
        plane = self.weighted(plane)
        return ops.where(self.masks[c], plane, 0.0) if self.masks else self.shares[c] * plane

    def of_others(self, c: int, plane: Any) -> Any:
        """Return w (1 - y_c) times a plane: pixels of other classes and of none, e.g. with an unknown label."""
        plane = self.weighted(plane)
        return ops.where(self.masks[c], 0.0, plane) if self.masks else (1 - self.shares[c]) * plane

    def pick(self, planes: Sequence[Any]) -> Any:
        """Return the plane (or number) of each pixel's class; that of class 0 where it has none."""
        chosen = planes[0]
        if all(plane is chosen for plane in planes):
            return chosen
        for mask, plane in zip(self.masks[1:], planes[1:], strict=True):
            chosen = ops.where(mask, plane, chosen)
        return chosen


@dataclass
class Term:
    """What the formula of a loss sees: one class per pixel.

    Attributes:
        view: Probability of that class, `_prediction.View`.
        pick: Chooses among K numbers that of the class.
        weigh: Turns K numbers a_c into the plane w y_c a_c of that class.
    """

    view: View
    pick: Callable[[Sequence[float]], Any]
    weigh: Callable[[Sequence[float]], Any]

    @property
    def ce(self) -> Any:
        """-log p, (B, *space)."""
        return self.view.ce

    def miss(self, exponents: Sequence[float]) -> Any:
        """Return (1 - p)^g with g from ``exponents``, one per class; exactly 1 where g is 0."""
        logarithms = {g: g * self.view.log_q if g else 0.0 for g in set(exponents)}
        logarithm = self.pick([logarithms[g] for g in exponents])
        return 1.0 if isinstance(logarithm, float) else ops.exp(logarithm)


@dataclass
class Pixels:
    """Labels and predictions of a batch.

    Attributes:
        truth: Labels and weights.
        prediction: The network's output.
        pool: "sample" sums over each sample and gives B values, "batch" over all and gives one.
    """

    truth: Truth
    prediction: Prediction
    pool: str

    @property
    def classes(self) -> int:
        """Number of classes K, the background included."""
        return len(self.truth.masks or self.truth.shares)

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self._labels.shape) - 1

    @property
    def _labels(self) -> Any:
        """Any plane of the labels, for its shape."""
        return (self.truth.masks or self.truth.shares)[0]

    def sum(self, plane: Any) -> Any:
        """Sum a plane (B, *space) over its pixels: (B,), or (1,) if the batch is pooled."""
        total = ops.sum(plane, axis=tuple(range(1, len(plane.shape))))
        return total if self.pool == "sample" else ops.sum(total, axis=0, keepdims=True)

    @cached_property
    def count(self) -> Any:
        """Sum of the pixel weights."""
        if self.truth.weight is not None:
            return self.sum(self.truth.weight)
        size, samples = (ops.cast(size, self.truth.one.dtype) for size in self._sizes)
        return size if self.pool == "batch" else size / samples

    @cached_property
    def number(self) -> Any:
        """How many pixels have a weight above 0, int32, (B,) or (1,)."""
        if self.truth.weight is not None:
            return self.sum(ops.cast(self.truth.weight > 0, "int32"))
        size, samples = self._sizes
        return ops.cast(ops.reshape(size if self.pool == "batch" else size // samples, (1,)), "int32")

    @property
    def _sizes(self) -> tuple[Any, Any]:
        """Number of pixels of the batch, and of samples."""
        return ops.size(self._labels), ops.shape(self._labels)[0]

    def by_class(self, planes: Sequence[Any]) -> Any:
        """Sum w y_c times the c-th of K planes (or numbers) for each class, (B, K)."""
        return ops.stack([self.sum(self.truth.of_class(c, plane)) for c, plane in enumerate(planes)], axis=-1)

    @cached_property
    def volumes(self) -> Any:
        """Weighted pixels of each class, (B, K)."""
        return self.by_class([self.truth.one] * self.classes)

    @cached_property
    def counts(self) -> tuple[Any, Any, Any]:
        """Soft true positives, false negatives and false positives of each class, (weighted) pixels, each (B, K).

        Each is a sum of its own, without any subtraction, so that small counts keep their digits.
        """
        views = [self.prediction.view(lambda planes, c=c: planes[c]) for c in range(self.classes)]
        positives = [self.sum(self.truth.of_others(c, view.p)) for c, view in enumerate(views)]
        return (
            self.by_class([view.p for view in views]),
            self.by_class([view.q for view in views]),
            ops.stack(positives, axis=-1),
        )

    @cached_property
    def terms(self) -> list[Term]:
        """What a sum over pixels and classes has to visit: each pixel's class, or all classes of soft labels."""
        truth, view = self.truth, self.prediction.view
        if truth.masks:
            return [Term(view(truth.pick), truth.pick, self._weigh_all)]
        return [self._term(c) for c in range(self.classes)]

    def _term(self, c: int) -> Term:
        def pick(planes: Sequence[Any]) -> Any:
            return planes[c]

        return Term(self.prediction.view(pick), pick, lambda numbers: self.truth.of_class(c, numbers[c]))

    def _weigh_all(self, numbers: Sequence[Any]) -> Any:
        plane = self.truth.one * 0
        for mask, number in zip(self.truth.masks, numbers, strict=True):
            plane = ops.where(mask, number, plane)
        return self.truth.weighted(plane)

    def plane(self, formula: Callable[[Term], Any], weights: Sequence[float]) -> Any:
        """Return w sum_c weights_c y_c formula_c for each pixel, (B, *space)."""
        planes = [term.weigh(weights) * formula(term) for term in self.terms]
        return sum(planes[1:], planes[0])

    def mean(self, formula: Callable[[Term], Any], weights: Sequence[float]) -> Any:
        """Return the mean over pixels of sum_c weights_c y_c formula_c; 0 if no pixel counts."""
        return share(self.sum(self.plane(formula, weights)), self.count, 0.0)


def share(part: Any, whole: Any, otherwise: float) -> Any:
    """Return part / whole, or ``otherwise`` where the whole is 0; on every backend in the type of both."""
    nothing = whole < SMALLEST_DENOMINATOR
    return ops.where(nothing, otherwise, part / ops.where(nothing, 1.0, whole))
