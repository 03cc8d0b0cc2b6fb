"""The adaptive logarithmic loss, a steeper version of any other loss where that loss is small."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import keras
from keras import ops

from rareseg.losses._base import SegmentationLoss


@keras.saving.register_keras_serializable(package="rareseg")
class AdaptiveLog(SegmentationLoss):
    """omega ln(1 + x / epsilon) where a loss x is below gamma, x - C above; C makes it continuous.

    Source: Kaul et al. 2021 (ALL), equation (1); C = gamma - omega ln(1 + gamma / epsilon). The slope jumps at gamma
    from omega / (epsilon + gamma) to 1, although the paper calls the function differentiable.

    Args:
        base: The loss x: a name, a mapping of name and arguments, or a loss of this package. A name or mapping gets
            from_logits, ignore_class and pool from here; class weights, smooth and the like are given in it.
        gamma: Where the logarithm begins, in units of x.
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
        self.base_loss = self._build_base()

    def _build_base(self) -> SegmentationLoss:
        from rareseg.losses import get  # the registry imports this file

        if isinstance(self.base, str | Mapping):
            handed_down = ("from_logits", "ignore_class", "pool")
            mine = [key for key in handed_down if key in self.base] if isinstance(self.base, Mapping) else []
            if mine:
                raise ValueError(f"set {' and '.join(mine)} on adaptive_log, not in its base")
            return get(self.base, **{key: getattr(self, key) for key in handed_down})
        if not isinstance(self.base, SegmentationLoss):
            raise TypeError(f"base must be a name, a mapping or a loss of rareseg, got {self.base!r}")
        return self.base

    def per_sample(self, y_true: Any, y_pred: Any, pixel_weight: Any) -> Any:
        """Return one loss per sample, (B,)."""
        x = ops.abs(self.base_loss.per_sample(y_true, y_pred, pixel_weight))
        below = self.omega * ops.log1p(ops.minimum(x, self.gamma) / self.epsilon)
        constant = self.gamma - self.omega * math.log1p(self.gamma / self.epsilon)
        return ops.where(x < self.gamma, below, x - constant)

    def get_config(self) -> dict[str, Any]:
        """Return all arguments in plain JSON types; a loss object as base in Keras' form."""
        config = super().get_config()
        if isinstance(self.base, SegmentationLoss):
            config["base"] = keras.saving.serialize_keras_object(self.base)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AdaptiveLog":
        """Build the loss, and first its base if that was a loss object."""
        base = config["base"]
        if isinstance(base, Mapping) and "class_name" in base:
            base = keras.saving.deserialize_keras_object(base)
        return cls(**{**config, "base": base})
