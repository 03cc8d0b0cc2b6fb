"""The adaptive logarithmic loss, a steeper version of any other loss where that loss is small."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import keras
from keras import ops

from rareseg.losses._base import Based


@keras.saving.register_keras_serializable(package="rareseg")
class AdaptiveLog(Based):
    """omega ln(1 + x / epsilon) where a loss x is below gamma, x - C above; C makes it continuous.

    Source: Kaul et al. 2021 (ALL, arXiv 1910.09717), equation (1); C = gamma - omega ln(1 + gamma / epsilon). The
    slope jumps at gamma from omega / (epsilon + gamma) to 1, although the paper calls the function differentiable.

    Args:
        base: The loss x: a name, a mapping of name and arguments, or a loss of this package. A name or mapping gets
            from_logits, ignore_class and pool from here; class weights, smooth and the like are given in it.
        gamma: Where the logarithm ends, in units of x.
        omega: Height of the logarithm.
        epsilon: Its curvature; small is steep.
    """

    def __init__(
        self,
        *,
        base: str | Mapping[str, Any] | keras.losses.Loss = "dice",
        gamma: Annotated[float, "[0, inf)"] = 0.1,
        omega: Annotated[float, "[0, inf)"] = 10.0,
        epsilon: Annotated[float, "(0, inf)"] = 0.5,
        **shared: Any,
    ) -> None:
        self.base = base
        self.gamma = gamma
        self.omega = omega
        self.epsilon = epsilon
        super().__init__(**shared)

    def per_sample(self, y_true: Any, y_pred: Any, pixel_weight: Any) -> Any:
        """Return one loss per sample, (B,)."""
        x = ops.abs(self.base_loss.per_sample(y_true, y_pred, pixel_weight))
        below = self.omega * ops.log1p(ops.minimum(x, self.gamma) / self.epsilon)
        constant = self.gamma - self.omega * math.log1p(self.gamma / self.epsilon)
        return ops.where(x < self.gamma, below, x - constant)
