"""Labels and predictions of a batch, and the two sums over pixels that all losses are made of.

`Pixels.confusion` holds everything a loss on regions needs, `Pixels.mean` everything a loss on single pixels needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from keras import ops

from rareseg.losses._prediction import Margin, Prediction, View

# Below this a denominator counts as 0: its reciprocal would not fit into float32.
SMALLEST_DENOMINATOR = 1e-30


@dataclass
class Truth:
    """Labels as planes (B, *space).

    Attributes:
        shares: K planes of w y_c: how much of each class a pixel is, times its weight.
        none: Plane of w (1 - sum of y): what belongs to no class, e.g. pixels with an unknown label.
        masks: K boolean planes if each pixel has one class at most; empty for soft labels.
        weight: Plane of w; None if every pixel counts once.
    """

    shares: list[Any]
    none: Any
    masks: list[Any]
    weight: Any

    @classmethod
    def of(cls, shares: list[Any], masks: list[Any], weight: Any) -> "Truth":
        """Apply the weights, (B, *space) or None, to the shares y_c."""
        if weight is not None:
            shares = [share * weight for share in shares]
        none = (1.0 if weight is None else weight) - sum(shares[1:], shares[0])
        return cls(shares, none, masks, weight)

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
        weigh: Turns K numbers a_c into the plane w y_c a_c.
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
        return len(self.truth.shares)

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.truth.none.shape) - 1

    def sum(self, plane: Any) -> Any:
        """Sum a plane (B, *space) over its pixels: (B,), or (1,) if the batch is pooled."""
        total = ops.sum(plane, axis=tuple(range(1, len(plane.shape))))
        return total if self.pool == "sample" else ops.sum(total, axis=0, keepdims=True)

    @cached_property
    def count(self) -> Any:
        """Sum of the pixel weights."""
        if self.truth.weight is not None:
            return self.sum(self.truth.weight)
        plane = self.truth.none
        size = ops.cast(ops.size(plane), plane.dtype)
        return size / ops.cast(ops.shape(plane)[0], plane.dtype) if self.pool == "sample" else size

    @cached_property
    def number(self) -> Any:
        """How many pixels have a weight above 0, int32, (B,) or (1,)."""
        if self.truth.weight is not None:
            return self.sum(ops.cast(self.truth.weight > 0, "int32"))
        size, samples = ops.size(self.truth.none), ops.shape(self.truth.none)[0]
        return ops.cast(ops.reshape(size if self.pool == "batch" else size // samples, (1,)), "int32")

    @cached_property
    def volumes(self) -> Any:
        """Weighted pixels of each class, and last of none, (B, K + 1)."""
        return ops.stack([self.sum(share) for share in [*self.truth.shares, self.truth.none]], axis=-1)

    @cached_property
    def confusion(self) -> Any:
        """Soft confusion matrix, (B, K + 1, K + 1): weighted pixels of class k that the network gives to class l.

        Row K: pixels of no class. Column K: what unnormalised probabilities lack to one, else 0.
        """
        if isinstance(self.prediction, Margin) and self.truth.masks:
            return self._confusion_from_errors()
        columns = self.prediction.probabilities
        rows = [*self.truth.shares, self.truth.none]
        if self.prediction.remainder is not None:
            columns = [*columns, self.prediction.remainder]
        matrix = [[self.sum(row * column) for column in columns] for row in rows]
        if self.prediction.remainder is None:
            matrix = [[*row, ops.zeros_like(row[0])] for row in matrix]
        return ops.stack([ops.stack(row, axis=-1) for row in matrix], axis=-2)

    def _confusion_from_errors(self) -> Any:
        """Two classes with hard labels: one plane, 1 - p of the true class, gives all entries."""
        error = self.terms[0].view.q  # pixels of no class are seen as class 0
        wrong = ops.stack([self.sum(row * error) for row in [*self.truth.shares, self.truth.none]], axis=-1)
        right = self.volumes - wrong
        to_0 = ops.stack([right[:, 0], wrong[:, 1], right[:, 2]], axis=-1)
        to_1 = ops.stack([wrong[:, 0], right[:, 1], wrong[:, 2]], axis=-1)
        return ops.stack([to_0, to_1, ops.zeros_like(to_0)], axis=-1)

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

        return Term(self.prediction.view(pick), pick, lambda numbers: numbers[c] * self.truth.shares[c])

    def _weigh_all(self, numbers: Sequence[float]) -> Any:
        weighed = [number * share for number, share in zip(numbers, self.truth.shares, strict=True)]
        return sum(weighed[1:], weighed[0])

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
