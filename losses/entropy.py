"""Losses on single pixels: cross entropy and focal loss."""

from collections.abc import Sequence
from typing import Annotated, Any

import keras

from rareseg.losses._base import ClassLoss, per_class
from rareseg.losses._pixels import Pixels, Term


def cross_entropy(term: Term) -> Any:
    """Return -log p of each pixel, (B, *space)."""
    return term.ce


@keras.saving.register_keras_serializable(package="rareseg")
class CrossEntropy(ClassLoss):
    """Mean over pixels of -v_c log p_c, c the pixel's class.

    Source: Yeung et al. 2021, equations (1) and (2). The mean divides by the pixels, not by their class weights as
    PyTorch does.
    """

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        return pixels.mean(cross_entropy, self.weights(pixels.classes))


@keras.saving.register_keras_serializable(package="rareseg")
class Focal(ClassLoss):
    """Mean over pixels of -v_c a_c (1 - p_c)^gamma log p_c, c the pixel's class.

    Source: Lin et al. 2017, arXiv 1708.02002; Yeung et al. 2021, equations (6) and (7), with alpha = 0.25.

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
        balance = balances(self.alpha, pixels.classes)
        weights = [v * a for v, a in zip(self.weights(pixels.classes), balance, strict=True)]
        return focal(pixels, weights, [self.gamma] * pixels.classes)


def focal(pixels: Pixels, weights: Sequence[float], exponents: Sequence[float]) -> Any:
    """Return the mean over pixels of -weights_c (1 - p_c)^exponents_c log p_c; numbers per class."""
    return pixels.mean(lambda term: term.miss(exponents) * term.ce, weights)


def balances(alpha: float | Sequence[float] | None, classes: int) -> list[float]:
    """Return a_c per class: 1 each for None; 1 - alpha for the background and alpha for the rest; or the list."""
    if alpha is None:
        return [1.0] * classes
    if isinstance(alpha, Sequence):
        return per_class("alpha", alpha, classes)
    return [1 - alpha] + [alpha] * (classes - 1)
