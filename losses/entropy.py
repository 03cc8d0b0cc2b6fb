"""Losses on single pixels: cross entropy and its relatives."""

from collections.abc import Sequence
from typing import Annotated, Any

import keras
from keras import ops

from rareseg.losses._base import ClassLoss, per_class
from rareseg.losses._pixels import Pixels, Term
from rareseg.losses._prediction import added


@keras.saving.register_keras_serializable(package="rareseg")
class CrossEntropy(ClassLoss):
    """Mean over pixels of -v_c log p_c, c the pixel's class.

    Source: Yeung et al. 2022, equations (1) and (2). The mean divides by the pixels, not by their class weights as
    PyTorch does.
    """

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        return cross_entropy(pixels, self.weights(pixels.classes))


def cross_entropy(pixels: Pixels, weights: Sequence[float]) -> Any:
    """Return the mean over pixels of -weights_c log p_c."""
    return pixels.mean(lambda term: term.weigh(weights) * term.ce)


@keras.saving.register_keras_serializable(package="rareseg")
class Focal(ClassLoss):
    """Mean over pixels of -v_c a_c (1 - p_c)^gamma log p_c, c the pixel's class.

    Source: Lin et al. 2017, arXiv 1708.02002; Yeung et al. 2022, equations (6) and (7). Their alpha = 0.25 weighs all
    classes alike: ``alpha=[0.25, 0.25]`` here.

    Args:
        gamma: How much less well-classified pixels count; 0 is cross entropy.
        alpha: a_c: weight of each foreground class, the background having 1 - alpha; or a list, one per class.
    """

    def __init__(
        self,
        *,
        gamma: Annotated[float, "[0, inf)"] = 2.0,
        alpha: Annotated[float | Sequence[float] | None, "[0, 1]"] = None,
        **shared: Any,
    ) -> None:
        self.gamma = gamma
        self.alpha = alpha
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        return focal(pixels, balanced(self, self.alpha, pixels.classes), [self.gamma] * pixels.classes)


def focal(pixels: Pixels, weights: Sequence[float], exponents: Sequence[float]) -> Any:
    """Return the mean over pixels of -weights_c (1 - p_c)^exponents_c log p_c; numbers per class."""

    def formula(term: Term) -> Any:
        # Weights first, class by class: a plane of weights and one of powers would both be kept for the gradient.
        factors = [
            term.weigh([weight if g == exponent else 0.0 for weight, g in zip(weights, exponents, strict=True)])
            * term.modulating_factor(exponent)
            for exponent in sorted(set(exponents))
        ]
        return added(factors) * term.ce

    return pixels.mean(formula)


def balanced(loss: ClassLoss, alpha: float | Sequence[float] | None, classes: int) -> list[float]:
    """Return v_c a_c per class, with the class weights of ``loss``."""
    return [v * a for v, a in zip(loss.weights(classes), balances(alpha, classes), strict=True)]


def balances(alpha: float | Sequence[float] | None, classes: int) -> list[float]:
    """Return a_c per class: 1 each for None; 1 - alpha for the background and alpha for the rest; or the list."""
    if alpha is None:
        return [1.0] * classes
    if isinstance(alpha, Sequence):
        return per_class("alpha", alpha, classes)
    return [1 - alpha] + [alpha] * (classes - 1)


@keras.saving.register_keras_serializable(package="rareseg")
class TopK(ClassLoss):
    """Mean cross entropy of the k per cent of pixels that are predicted worst, at least of one pixel.

    Source: Wu et al. 2016, arXiv 1604.04339, in the form of nnU-Net and Ma et al. 2021 (there over the batch).

    Args:
        k: Per cent of the pixels that count at all; 100 is cross entropy.
    """

    def __init__(self, *, k: Annotated[float, "(0, 100]"] = 10.0, **shared: Any) -> None:
        self.k = k
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        return topk(pixels, self.weights(pixels.classes), self.k)


def topk(pixels: Pixels, weights: Sequence[float], k: float) -> Any:
    """Return the mean of the k per cent largest of -weights_c log p_c."""
    planes = pixels.plane(lambda term: term.weigh(weights) * term.ce)
    rows = ops.reshape(planes, (1, -1) if pixels.pool == "batch" else (ops.shape(planes)[0], -1))
    kept = ops.broadcast_to(ops.maximum(_per_cent(pixels.weighted_pixels, k, rows.dtype), 1), ops.shape(rows)[:1])
    return ops.sum(rows * _largest(ops.stop_gradient(rows), kept), axis=-1) / kept


def _per_cent(number: Any, k: float, dtype: Any) -> Any:
    """Return the whole part of number k / 100; hundreds apart, since the product would be rounded in large volumes."""
    hundreds, rest = (ops.cast(part, dtype) for part in (number // 100, number % 100))
    whole = ops.floor(hundreds * k)
    # TensorFlow's graphs turn "* 10 / 100" into "* 0.1", which takes 30 to 2.9999998.
    return whole + ops.floor(hundreds * k - whole + rest * k / 100 + 1e-4)


def _largest(rows: Any, kept: Any) -> Any:
    """Return 1 at the ``kept`` (B,) largest of each row (B, N) and 0 elsewhere; equal ones share what is left."""
    ordered = ops.sort(rows, axis=-1)
    place = ops.cast(ops.shape(rows)[1], "int32") - ops.cast(kept, "int32")
    bound = ops.take_along_axis(ordered, place[:, None], axis=-1)
    above, equal = ops.cast(rows > bound, rows.dtype), ops.cast(ops.equal(rows, bound), rows.dtype)
    left = kept[:, None] - ops.sum(above, axis=-1, keepdims=True)
    return above + equal * left / ops.sum(equal, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package="rareseg")
class GeneralisedCrossEntropy(ClassLoss):
    """Mean over pixels of v_c (1 - p_c^q) / q: cross entropy for q = 0, mean absolute error for q = 1.

    Source: Zhang and Sabuncu 2018, arXiv 1805.07836, equation (6).

    Args:
        q: How little confident errors count; labels with noise want more.
    """

    def __init__(self, *, q: Annotated[float, "[0, 1]"] = 0.7, **shared: Any) -> None:
        self.q = q
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        weights = self.weights(pixels.classes)
        if not self.q:
            return cross_entropy(pixels, weights)
        return pixels.mean(lambda term: term.weigh(weights) * -ops.expm1(-self.q * term.ce) / self.q)
