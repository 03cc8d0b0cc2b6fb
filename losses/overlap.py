"""Losses on regions: Dice, Jaccard, Tversky and what follows from them.

All are made of the distance D = (beta FN + alpha FP) / (TP + beta FN + alpha FP + s) of each class, one minus the
Tversky index, computed without the subtraction so that small distances keep their digits.
"""

import math
from typing import Annotated, Any, Literal

import keras
from keras import ops

from rareseg.losses._base import ClassLoss
from rareseg.losses._pixels import Pixels, safe_divide

# Below this a root is replaced by its chord, which has a finite slope at 0.
SMALLEST_ROOT = 1e-7
# Below this ln cosh is computed by its series.
SMALLEST_LOG_COSH = 1e-2


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
        tp, fn, fp = pixels.soft_counts
        cost = beta * fn + alpha * fp
        return safe_divide(cost, tp + cost + self.smooth, 0.0)

    def indices(self, pixels: Pixels, alpha: float, beta: float) -> Any:
        """Return the Tversky index T_c, (B, K), computed without the distance."""
        tp, fn, fp = pixels.soft_counts
        return safe_divide(tp + self.smooth, tp + beta * fn + alpha * fp + self.smooth, 1.0)

    def class_mean(self, distances: Any, pixels: Pixels) -> Any:
        """Average (B, K) over the classes with their weights; 0 if none is left."""
        weights = ops.convert_to_tensor([self.weights(pixels.classes)], dtype=distances.dtype)
        if self.absent == "skip":
            weights = ops.where(pixels.volumes > 0, weights, 0.0)
        return safe_divide(ops.sum(weights * distances, axis=-1), ops.sum(weights, axis=-1), 0.0)


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

    Source: Yeung et al. 2022 (arXiv 2102.04525), equations (8) and (9); Milletari et al. 2016, there with squared
    denominators. The mean over classes is that of Yeung's code; their text sums. Released code with "smooth 1" in this
    form has s = 0.5 here.
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

    Source: Rahman and Wang 2016; Kaul et al. 2021. Their code was not released; that of their FocusNet pools the
    batch, takes the foreground alone and s = 1.
    """

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        return self.class_mean(self.distances(pixels, 1.0, 1.0), pixels)


@keras.saving.register_keras_serializable(package="rareseg")
class Tversky(RegionLoss):
    """One minus the Tversky index (TP + s) / (TP + alpha FP + beta FN + s), averaged over classes.

    Source: Salehi et al. 2017, arXiv 1706.05721; Yeung et al. 2022, equations (10) and (11). delta = 0.5 is Dice,
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
        return self.class_mean(self.distances(pixels, *self.error_weights()), pixels)

    def error_weights(self) -> tuple[float, float]:
        """Return the weights of false positives and of false negatives."""
        alpha = 1 - self.delta if self.alpha is None else self.alpha
        beta = self.delta if self.beta is None else self.beta
        return alpha, beta


@keras.saving.register_keras_serializable(package="rareseg")
class FocalTversky(Tversky):
    """Class mean of D_c^gamma with D_c the Tversky distance of each class.

    Source: Abraham and Khan 2019, arXiv 1810.07842; Yeung et al. 2022, equations (12) and (13). The papers write the
    exponent 1 / gamma with gamma = 4/3, both released codes take the exponent itself, 0.75, and so does this.

    Args:
        gamma: The exponent; 1 is Tversky, below 1 the loss is steepest where a class is nearly right, above 1 where it
            is not.
    """

    def __init__(self, *, gamma: Annotated[float, "[0, inf)"] = 0.75, **shared: Any) -> None:
        self.gamma = gamma
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        return focal_tversky(self, pixels, *self.error_weights(), self.gamma)


def focal_tversky(loss: RegionLoss, pixels: Pixels, alpha: float, beta: float, gamma: float) -> Any:
    """Return the class mean of Tversky distances to the power gamma, with the settings of ``loss``."""
    return loss.class_mean(soft_power(loss.distances(pixels, alpha, beta), gamma), pixels)


@keras.saving.register_keras_serializable(package="rareseg")
class AsymmetricSimilarity(RegionLoss):
    """One minus the F-beta score, averaged over classes: Tversky with delta = beta^2 / (1 + beta^2).

    Source: Hashemi et al. 2018, arXiv 1803.11078, equation (2).

    Args:
        beta: Its square is how many times more a false negative costs than a false positive; 1 is Dice.
    """

    def __init__(self, *, beta: Annotated[float, "[0, inf)"] = 1.5, **shared: Any) -> None:
        self.beta = beta
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        delta = self.beta**2 / (1 + self.beta**2)
        return self.class_mean(self.distances(pixels, 1 - delta, delta), pixels)


@keras.saving.register_keras_serializable(package="rareseg")
class LogCoshDice(RegionLoss):
    """ln cosh of the Dice loss: its square over two near 0, smooth everywhere.

    Source: Jadon 2020, arXiv 2006.14822, section 3.
    """

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        x = dice(self, pixels)
        series = x**2 / 2 - x**4 / 12  # x + ln(1 + exp(-2x)) - ln 2 cancels where x is small
        return ops.where(x < SMALLEST_LOG_COSH, series, x + ops.log1p(ops.exp(-2 * x)) - math.log(2))


@keras.saving.register_keras_serializable(package="rareseg")
class GeneralisedDice(RegionLoss):
    """One Dice for all classes together, each weighted by w_c = v_c (smallest volume / its volume)^volume_power.

    sum_c w_c (FN + FP) / (sum_c w_c (2 TP + FN + FP) + s). An absent class has the largest weight, v_c, or none with
    absent = "skip".

    Source: Sudre et al. 2017, arXiv 1707.03237, equation for GDL, whose weights are 1 / V^2; the common factor
    changes nothing but the meaning of ``smooth``, which would else drown large organs.

    Args:
        volume_power: How much small classes are favoured; 0: not at all.
    """

    def __init__(self, *, volume_power: Annotated[float, "[0, inf)"] = 2.0, **shared: Any) -> None:
        self.volume_power = volume_power
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        tp, fn, fp = pixels.soft_counts
        weights, any_present = self._volume_weights(pixels, tp.dtype)
        errors = ops.sum(weights * (fn + fp), axis=-1)
        loss = safe_divide(errors, 2 * ops.sum(weights * tp, axis=-1) + errors + self.smooth, 0.0)
        return ops.where(any_present, loss, 0.0)

    def _volume_weights(self, pixels: Pixels, dtype: Any) -> tuple[Any, Any]:
        """Return w_c, (B, K), and whether any class that counts is present, (B,)."""
        weights = ops.convert_to_tensor([self.weights(pixels.classes)], dtype=dtype)
        volumes = pixels.volumes
        present = volumes > 0
        counted = ops.logical_and(present, weights > 0)
        smallest = ops.amin(ops.where(counted, volumes, math.inf), axis=-1, keepdims=True)
        ratio = ops.where(counted, smallest / ops.where(counted, volumes, 1.0), 1.0)
        if self.absent == "skip":
            weights = ops.where(present, weights, 0.0)
        return weights * ratio**self.volume_power, ops.any(counted, axis=-1)
