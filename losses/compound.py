"""Sums of a loss on pixels and a loss on regions: combo, unified focal and others."""

from collections.abc import Sequence
from typing import Annotated, Any

import keras
from keras import ops

from rareseg.losses._pixels import Pixels, safe_divide
from rareseg.losses._prediction import LARGEST_MARGIN
from rareseg.losses.entropy import balanced, cross_entropy, focal, topk
from rareseg.losses.overlap import RegionLoss, dice, focal_tversky, soft_power

# The Dice coefficient is kept above this in logarithms.
SMALLEST_INDEX = 1e-7


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
        entropy = cross_entropy(pixels, balanced(self, self.beta, pixels.classes))
        return self.alpha * entropy + (1 - self.alpha) * dice(self, pixels)


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
        rare = [0.0 if self.asymmetric else self.gamma] * (pixels.classes - 1)
        return focal(pixels, balanced(self, self.delta, pixels.classes), [self.gamma, *rare])

    def _region_part(self, pixels: Pixels) -> Any:
        distances = self.distances(pixels, 1 - self.delta, self.delta)
        powers = soft_power(distances, 1 - self.gamma)
        if self.asymmetric:
            powers = ops.concatenate([distances[:, :1], powers[:, 1:]], axis=-1)
        return self.class_mean(powers, pixels)


@keras.saving.register_keras_serializable(package="rareseg")
class HybridFocal(RegionLoss):
    """weight times the focal loss plus (1 - weight) times the focal Tversky loss, each with its own arguments.

    Source: Yeung et al. 2021 (Focus U-Net, arXiv 2105.07467); Yeung et al. 2022, equation (15).

    Args:
        weight: Weight of the focal loss.
        alpha: Weight of each foreground class in the focal loss, the background having 1 - alpha; or a list, one per
            class; None: 1 each.
        gamma: How much less well-classified pixels count in the focal loss; 0 is cross entropy.
        delta: Weight of false negatives in the focal Tversky loss; false positives have 1 - delta.
        tversky_gamma: Exponent of the focal Tversky loss; 1 is Tversky.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, "[0, 1]"] = 0.5,
        alpha: Annotated[float | Sequence[float] | None, "[0, 1]"] = None,
        gamma: Annotated[float, "[0, inf)"] = 2.0,
        delta: Annotated[float, "[0, 1]"] = 0.7,
        tversky_gamma: Annotated[float, "[0, inf)"] = 0.75,
        **shared: Any,
    ) -> None:
        self.weight = weight
        self.alpha = alpha
        self.gamma = gamma
        self.delta = delta
        self.tversky_gamma = tversky_gamma
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        weights = balanced(self, self.alpha, pixels.classes)
        entropy = focal(pixels, weights, [self.gamma] * pixels.classes)
        region = focal_tversky(self, pixels, 1 - self.delta, self.delta, self.tversky_gamma)
        return self.weight * entropy + (1 - self.weight) * region


@keras.saving.register_keras_serializable(package="rareseg")
class DiceFocal(RegionLoss):
    """Dice loss plus weight times the focal loss.

    Source: Zhu et al. 2019 (AnatomyNet, arXiv 1808.05238), weight 0.5 on the focal loss; Ma et al. 2021, weight 1.

    Args:
        weight: Weight of the focal loss.
        gamma: How much less well-classified pixels count in the focal loss; 0 is cross entropy.
        alpha: Weight of each foreground class in the focal loss, the background having 1 - alpha; or a list, one per
            class; None: 1 each.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, "[0, inf)"] = 1.0,
        gamma: Annotated[float, "[0, inf)"] = 2.0,
        alpha: Annotated[float | Sequence[float] | None, "[0, 1]"] = None,
        **shared: Any,
    ) -> None:
        self.weight = weight
        self.gamma = gamma
        self.alpha = alpha
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        weights = balanced(self, self.alpha, pixels.classes)
        return dice(self, pixels) + self.weight * focal(pixels, weights, [self.gamma] * pixels.classes)


@keras.saving.register_keras_serializable(package="rareseg")
class DiceTopK(RegionLoss):
    """Dice loss plus weight times the mean cross entropy of the k per cent worst pixels.

    Source: Ma et al. 2021, "Loss odyssey in medical image segmentation", weight 1.

    Args:
        k: Per cent of the pixels.
        weight: Weight of the cross entropy.
    """

    def __init__(
        self, *, k: Annotated[float, "(0, 100]"] = 10.0, weight: Annotated[float, "[0, inf)"] = 1.0, **shared: Any
    ) -> None:
        self.k = k
        self.weight = weight
        super().__init__(**shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        return dice(self, pixels) + self.weight * topk(pixels, self.weights(pixels.classes), self.k)


@keras.saving.register_keras_serializable(package="rareseg")
class ExponentialLog(RegionLoss):
    """weight times the class mean of (-ln DSC_c)^gamma plus (1 - weight) times the mean of l_c (-ln p_c)^gamma_ce.

    l_c is the root of all pixels over those of the class, so that rare classes count more; ``class_weights`` stand in
    its place where given, and then weigh both parts. DSC_c is kept above 1e-7.

    Source: Wong et al. 2018, arXiv 1809.00076, equations (1) to (4), whose pseudo count of 1 is smooth = 0.5 here.
    Other implementations average DSC before the power and leave the cross entropy without one.

    Args:
        weight: Weight of the region part.
        gamma: Its exponent; below 1 the loss is steepest where it is small.
        gamma_ce: Exponent of the cross entropy; None: gamma.
        smooth: s of the Dice coefficient, in pixels; the default is 0.5 here and 1e-6 in all other losses.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, "[0, 1]"] = 0.8,
        gamma: Annotated[float, "[0, inf)"] = 0.3,
        gamma_ce: Annotated[float | None, "[0, inf)"] = None,
        smooth: Annotated[float, "[0, inf)"] = 0.5,
        **shared: Any,
    ) -> None:
        self.weight = weight
        self.gamma = gamma
        self.gamma_ce = gamma_ce
        super().__init__(smooth=smooth, **shared)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        region = self.class_mean(soft_power(self._log_dice(pixels), self.gamma), pixels)
        exponent = self.gamma if self.gamma_ce is None else self.gamma_ce
        weights, largest = self._frequency_weights(pixels), LARGEST_MARGIN ** (1 / max(1, exponent))

        def powered(ce: Any) -> Any:
            return soft_power(ops.minimum(ce, largest) if exponent > 1 else ce, exponent)

        entropy = pixels.mean(lambda term: term.weigh(weights) * powered(term.ce))
        return self.weight * region + (1 - self.weight) * entropy

    def _log_dice(self, pixels: Pixels) -> Any:
        """Return -ln DSC_c, (B, K), from the distance where that is small and from the index where that is small."""
        distance, index = self.distances(pixels, 0.5, 0.5), self.indices(pixels, 0.5, 0.5)
        near = -ops.log1p(-ops.minimum(distance, 0.5))
        return ops.where(distance < 0.5, near, -ops.log(ops.maximum(index, SMALLEST_INDEX)))

    def _frequency_weights(self, pixels: Pixels) -> Sequence[Any]:
        """Return l_c per class: a number, or one value per sample, (B, 1, ..., 1)."""
        weights = self.weights(pixels.classes)
        if self.class_weights is not None:
            return weights
        shape = (-1,) + (1,) * pixels.rank
        volumes = [pixels.volumes[:, c] for c in range(pixels.classes)]
        roots = [ops.sqrt(safe_divide(pixels.total_weight, volume, 0.0)) for volume in volumes]
        return [weight * ops.reshape(root, shape) for weight, root in zip(weights, roots, strict=True)]
