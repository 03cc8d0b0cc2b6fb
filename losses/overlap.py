"""Losses on regions: Dice, Jaccard, Tversky.

All are made of the distance D = (beta FN + alpha FP) / (TP + beta FN + alpha FP + s) of each class, one minus the
Tversky index, computed without the subtraction so that small distances keep their digits.
"""

from typing import Annotated, Any, Literal

import keras
from keras import ops

from rareseg.losses._base import ClassLoss
from rareseg.losses._pixels import Pixels

# Below this a denominator counts as 0: its reciprocal would not fit into float32.
SMALLEST_DENOMINATOR = 1e-30
# Below this a root is replaced by its chord, which has a finite slope at 0.
SMALLEST_ROOT = 1e-7


class RegionLoss(ClassLoss):
    """A loss with a region part.

    Args:
        smooth: s, added below the fraction (in the index also above), in pixels.
        absent: "keep": a class that a sample does not contain counts, and costs near 1 for any false positive.
            "skip": the sample's mean leaves it out.
    """

    def __init__(
        self,
        *,
        smooth: Annotated[float, "[0, inf)"] = 1e-6,
        absent: Literal["keep", "skip"] = "keep",
        **shared: Any,
    ) -> None:
        self.smooth = smooth
        self.absent = absent
        super().__init__(**shared)

    def distances(self, pixels: Pixels, alpha: float, beta: float) -> Any:
        """Return D_c, (B, K): one minus the Tversky index with false positives at alpha, negatives at beta."""
        tp, fn, fp = counts(pixels)
        cost = beta * fn + alpha * fp
        whole = tp + cost + self.smooth
        solved = whole < SMALLEST_DENOMINATOR
        return ops.where(solved, 0.0, cost / ops.where(solved, 1.0, whole))

    def class_mean(self, distances: Any, pixels: Pixels) -> Any:
        """Average (B, K) over the classes with their weights; 0 if none is left."""
        weights = ops.convert_to_tensor([self.weights(pixels.classes)], dtype=distances.dtype)
        if self.absent == "skip":
            weights = ops.where(pixels.volumes[:, :-1] > 0, weights, 0.0)
        return ops.divide_no_nan(ops.sum(weights * distances, axis=-1), ops.sum(weights, axis=-1))


def counts(pixels: Pixels) -> tuple[Any, Any, Any]:
    """Return soft true positives, false negatives and false positives in (weighted) pixels, each (B, K)."""
    matrix = pixels.confusion
    diagonal = ops.eye(pixels.classes + 1, dtype=matrix.dtype)
    tp = ops.sum(matrix * diagonal, axis=-1)
    errors = matrix * (1 - diagonal)
    return tuple(count[:, :-1] for count in (tp, ops.sum(errors, axis=-1), ops.sum(errors, axis=-2)))


def soft_power(x: Any, exponent: float) -> Any:
    """Return x^exponent for x >= 0, with a finite slope at 0: below 1e-7 a root is replaced by its chord."""
    if exponent == 0:
        return ops.ones_like(x)
    if exponent >= 1:
        return x if exponent == 1 else ops.power(x, exponent)
    root = ops.power(ops.maximum(x, SMALLEST_ROOT), exponent)
    return ops.where(x >= SMALLEST_ROOT, root, x * SMALLEST_ROOT ** (exponent - 1))


@keras.saving.register_keras_serializable(package="rareseg")
class Dice(RegionLoss):
    """One minus the soft Dice coefficient (2 TP + 2 s) / (2 TP + FN + FP + 2 s), averaged over classes.

    Source: Milletari et al. 2016; Yeung et al. 2021 (arXiv 2102.04525), equations (8) and (9). The mean over classes
    is that of their code; their text sums. Released code with "smooth 1" in this form has s = 0.5 here.
    """

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        return dice(self, pixels)


def dice(loss: RegionLoss, pixels: Pixels) -> Any:
    """Return the Dice loss with the settings of ``loss``: also the region part of the compound losses."""
    return loss.class_mean(loss.distances(pixels, 0.5, 0.5), pixels)


@keras.saving.register_keras_serializable(package="rareseg")
class Jaccard(RegionLoss):
    """One minus the soft Jaccard index (TP + s) / (TP + FN + FP + s), averaged over classes.

    Source: Rahman and Wang 2016; Kaul et al. 2021, whose code pools the batch, takes the foreground alone and s = 1.
    """

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        return self.class_mean(self.distances(pixels, 1.0, 1.0), pixels)


@keras.saving.register_keras_serializable(package="rareseg")
class Tversky(RegionLoss):
    """One minus the Tversky index (TP + s) / (TP + alpha FP + beta FN + s), averaged over classes.

    Source: Salehi et al. 2017, arXiv 1706.05721; Yeung et al. 2021, equations (10) and (11). delta = 0.5 is Dice,
    alpha = beta = 1 is Jaccard. Abraham and Khan (2018) write alpha for the weight of false negatives.

    Args:
        delta: Weight of false negatives; false positives have 1 - delta.
        alpha: Weight of false positives instead of 1 - delta.
        beta: Weight of false negatives instead of delta.
    """

    def __init__(
        self,
        *,
        delta: Annotated[float, "[0, 1]"] = 0.7,
        alpha: Annotated[float | None, "[0, inf)"] = None,
        beta: Annotated[float | None, "[0, inf)"] = None,
        **shared: Any,
    ) -> None:
        self.delta = delta
        self.alpha = alpha
        self.beta = beta
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        alpha = 1 - self.delta if self.alpha is None else self.alpha
        beta = self.delta if self.beta is None else self.beta
        return self.class_mean(self.distances(pixels, alpha, beta), pixels)
