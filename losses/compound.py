"""Sums of a loss on pixels and a loss on regions: combo, unified focal."""

from typing import Annotated, Any

import keras
from keras import ops

from rareseg.losses._pixels import Pixels
from rareseg.losses.entropy import balances, cross_entropy, focal
from rareseg.losses.overlap import RegionLoss, dice, soft_power


@keras.saving.register_keras_serializable(package="rareseg")
class Combo(RegionLoss):
    """alpha times a cross entropy that weighs foreground with beta, plus (1 - alpha) times the Dice loss.

    Source: Taghanaki et al. 2019, arXiv 1805.02798. The papers subtract (1 - alpha) DSC; this adds (1 - alpha)
    (1 - DSC), with the same gradient and never below 0.

    Args:
        alpha: Weight of the cross entropy.
        beta: Weight of foreground pixels in it, the background having 1 - beta; above 0.5 false negatives cost more.
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, "[0, 1]"] = 0.5,
        beta: Annotated[float, "[0, 1]"] = 0.5,
        **shared: Any,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        balance = balances(self.beta, pixels.classes)
        weights = [v * b for v, b in zip(self.weights(pixels.classes), balance, strict=True)]
        return self.alpha * pixels.mean(cross_entropy, weights) + (1 - self.alpha) * dice(self, pixels)


@keras.saving.register_keras_serializable(package="rareseg")
class UnifiedFocal(RegionLoss):
    """weight times a focal cross entropy plus (1 - weight) times a focal Tversky loss, with one delta and gamma.

    With a_0 = 1 - delta, a_c = delta and D_c the Tversky distance of false negatives at delta:
    focal part   mean of -v_c a_c (1 - p_c)^gamma log p_c, the foreground without the power if asymmetric;
    region part  class mean of D_c^(1 - gamma), the background without the power if asymmetric.

    Source: Yeung et al. 2022, arXiv 2102.04525, equations (16) to (22), every foreground class rare; their lambda is
    ``weight``. Exponents, factors and class mean are those of the released code, where the print differs
    (equation (20) has a misprint there, says the author); the code's ``weight`` is 1 - ours.

    Args:
        weight: Weight of the focal part.
        delta: Weight of foreground pixels and of false negatives.
        gamma: Suppresses background pixels that are right already, enhances regions that are nearly right.
        asymmetric: Whether rare and frequent classes are treated differently.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, "[0, 1]"] = 0.5,
        delta: Annotated[float, "[0, 1]"] = 0.6,
        gamma: Annotated[float, "[0, 1)"] = 0.5,
        asymmetric: bool = True,
        **shared: Any,
    ) -> None:
        self.weight = weight
        self.delta = delta
        self.gamma = gamma
        self.asymmetric = asymmetric
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        return self.weight * self._focal_part(pixels) + (1 - self.weight) * self._region_part(pixels)

    def _focal_part(self, pixels: Pixels) -> Any:
        rare = pixels.classes - 1
        balance = balances(self.delta, pixels.classes)
        weights = [v * a for v, a in zip(self.weights(pixels.classes), balance, strict=True)]
        return focal(pixels, weights, [self.gamma] + [0.0 if self.asymmetric else self.gamma] * rare)

    def _region_part(self, pixels: Pixels) -> Any:
        distances = self.distances(pixels, 1 - self.delta, self.delta)
        powers = soft_power(distances, 1 - self.gamma)
        if self.asymmetric:
            powers = ops.concatenate([distances[:, :1], powers[:, 1:]], axis=-1)
        return self.class_mean(powers, pixels)
