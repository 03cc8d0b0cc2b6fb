"""Labels and predictions of a batch, and the sums over pixels that the losses are made of.

`Pixels.soft_counts` holds everything a loss on regions needs, `Pixels.mean` everything a loss on single pixels needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from keras import ops

from rareseg.losses._cached import cached_property
from rareseg.losses._hard_labels import Errors, errors
from rareseg.losses._prediction import Fixed, Margin, Prediction, Softmax, View, added
from rareseg.losses._truth import Truth

# Below this a denominator counts as 0: gradients on JAX divide by its square, which would not fit into float32.
SMALLEST_DENOMINATOR = 1e-18
# The defaults of the focal losses, which need no logarithm.
POWERS = {0.5: ops.sqrt, 2.0: ops.square}


@dataclass
class Term:
    """What the formula of a loss sees: one class per pixel.

    Attributes:
        view: Probability of that class, `_prediction.View`.
        weigh: Turns K numbers a_c into the plane w y_c a_c of that class; without a class, 0.
    """

    view: View
    weigh: Callable[[Sequence[float]], Any]

    @property
    def ce(self) -> Any:
        """-log p, (B, *space)."""
        return self.view.ce

    def modulating_factor(self, exponent: float) -> Any:
        """Return (1 - p)^exponent, (B, *space), exactly 1 where the exponent is 0."""
        if exponent == 0:
            return 1.0
        power = POWERS.get(exponent)
        return ops.exp(exponent * self.view.log_q) if power is None else power(self.view.kept_q)


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
        return len(self.truth.shares[0].shape) - 1

    def sums(self, planes: Sequence[Any]) -> Any:
        """Sum M planes (B, *space) over their pixels: (B, M), or (1, M) if the batch is pooled.

        One axis after the other: TensorFlow adds the numbers of one sum one by one, which costs digits. The last axis
        comes last, for all planes together: XLA does not vectorise one sum over all axes, and would make one of two.
        """
        for _ in range(self.rank - 1):
            planes = [ops.sum(plane, axis=1) for plane in planes]
        totals = ops.sum(ops.stack(planes, axis=1), axis=-1)
        return totals if self.pool == "sample" else ops.sum(totals, axis=0, keepdims=True)

    def sum(self, plane: Any) -> Any:
        """Sum one plane, (B,) or (1,)."""
        return self.sums([plane])[:, 0]

    @cached_property
    def total_weight(self) -> Any:
        """Sum of the pixel weights, (B,) or (1,); one number, (), where every pixel counts once."""
        if self.truth.weight is not None:
            return self.sum(self.truth.weight)
        plane = self.truth.shares[0]
        size = ops.cast(ops.size(plane), plane.dtype)
        return size / ops.cast(ops.shape(plane)[0], plane.dtype) if self.pool == "sample" else size

    @cached_property
    def weighted_pixels(self) -> Any:
        """How many pixels have a weight above 0, int32, (B,) or (1,)."""
        if self.truth.weight is not None:
            return self.sum(ops.cast(self.truth.weight > 0, "int32"))
        size, samples = ops.size(self.truth.shares[0]), ops.shape(self.truth.shares[0])[0]
        return ops.cast(ops.reshape(size if self.pool == "batch" else size // samples, (1,)), "int32")

    @cached_property
    def volumes(self) -> Any:
        """Weighted pixels of each class, (B, K) or (1, K)."""
        shares = self.truth.shares
        if self.truth.weight is not None or not self.truth.masks:
            return self.sums([self.truth.weighted(share) for share in shares])
        # Rows by a product, which XLA computes from the labels in one go; zeros and ones stay exact on every device.
        *above, width = ops.shape(shares[0])
        rows = [ops.matmul(ops.reshape(share, (-1, width)), ops.ones((width, 1), share.dtype)) for share in shares]
        return self.sums([ops.reshape(row, (*above, 1)) for row in rows])

    @cached_property
    def soft_counts(self) -> tuple[Any, Any, Any]:
        """Soft true positives, false negatives, false positives of each class, weighted pixels, each (B, K) or (1, K).

        False ones are sums of their own, never a difference of large sums, so that small counts keep their digits; only
        what two classes get of pixels of no class is such a difference.
        """
        truth, classes = self.truth, range(self.classes)
        if self.errors is not None:
            return self.volumes - self.errors.fn, self.errors.fn, self.errors.fp
        shares = [term.view.q for term in self.terms]  # one, of each pixel's class, or one per class
        fn = self.sums([truth.weighted(truth.of_class(c, shares[c % len(shares)])) for c in classes])
        if isinstance(self.prediction, Margin) and truth.masks:
            return self.volumes - fn, fn, ops.flip(fn, axis=-1) + self._strays(shares[0], fn)
        wrong = truth.others(self.prediction.probabilities)
        return self.volumes - fn, fn, self.sums([truth.weighted(plane) for plane in wrong])

    @cached_property
    def errors(self) -> Errors | None:
        """What a softmax gets wrong; None for other predictions and for soft labels."""
        if isinstance(self.prediction, Softmax) and self.truth.masks:
            return errors(self.prediction, self.truth, self.sums)
        return None

    def _strays(self, error: Any, fn: Any) -> Any:
        """Return what two classes get of pixels of no class, (B, 2); to these, ``error`` is the share of class 1."""
        count = self.sum(self.truth.weighted(self.truth.lacks[0] * self.truth.lacks[1]))
        # What the classes leave of all errors, for a masked sum of its own would keep one plane more.
        left = self.sum(self.truth.weighted(error)) - ops.sum(fn, axis=-1)
        to_1 = ops.where(count > 0, ops.minimum(ops.maximum(left, 0.0), count), 0.0)
        return ops.stack([count - to_1, to_1], axis=-1)

    @cached_property
    def terms(self) -> list[Term]:
        """What a sum over pixels and classes has to visit: each pixel's class, or all classes of soft labels."""
        truth, view = self.truth, self.prediction.view
        if truth.masks:
            return [Term(self.errors or view(truth), self._weigh_all)]
        return [Term(view(Fixed(c)), partial(self._weigh, c)) for c in range(self.classes)]

    def _weigh(self, c: int, numbers: Sequence[float]) -> Any:
        return self.truth.weighted(self.truth.of_class(c, numbers[c]))

    def _weigh_all(self, numbers: Sequence[Any]) -> Any:
        plain = [number if isinstance(number, int | float) else None for number in numbers]
        planes = [
            number * self.truth.any_of([c for c, other in enumerate(plain) if other == number])
            for number in dict.fromkeys(plain)
            if number  # neither 0 nor a tensor
        ]
        tensors = [c for c, number in enumerate(plain) if number is None]
        planes += [numbers[c] * self.truth.shares[c] for c in tensors]
        return self.truth.weighted(added(planes or [0.0 * self.truth.shares[0]]))

    def plane(self, formula: Callable[[Term], Any]) -> Any:
        """Return the sum of a formula over all classes, for each pixel, (B, *space); the formula weighs its term."""
        planes = [formula(term) for term in self.terms]
        return added(planes)

    def mean(self, formula: Callable[[Term], Any]) -> Any:
        """Return the mean over pixels of a formula that weighs its term, summed over classes; 0 if no pixel counts."""
        return safe_divide(self.sum(self.plane(formula)), self.total_weight, 0.0)


def safe_divide(part: Any, whole: Any, otherwise: float) -> Any:
    """Return part / whole, or ``otherwise`` where the whole is below 1e-18; on every backend in the type of both."""
    nothing = whole < SMALLEST_DENOMINATOR
    return ops.where(nothing, otherwise, part / ops.where(nothing, 1.0, whole))
