"""Deep supervision: one loss per output of a network, each at the resolution of its output."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from rareseg.losses._arguments import lies_in
from rareseg.losses._base import weighs_pixels

Offset = Literal["centre", "origin"]


def deep_supervision(
    losses: str | Mapping[str, Any] | keras.losses.Loss | Sequence[str | Mapping[str, Any] | keras.losses.Loss],
    weights: Sequence[float] | None = None,
    offset: Offset = "centre",
) -> tuple[list[keras.losses.Loss], list[float]]:
    """Return losses and weights for ``model.compile(loss=..., loss_weights=...)`` of a network with several outputs.

    Every output is trained with the same integer labels at full resolution.

    Args:
        losses: One per output, coarse to fine, in any form that `get` takes; or one for all, and then ``weights`` says
            how many outputs there are.
        weights: One per output; None halves them from the finest output to the coarsest, with sum 1.
        offset: Where a coarse output looks up its labels: "centre": the pixel at the centre of its cell; "origin":
            every n-th pixel, from the first.

    Raises:
        ValueError: There is no loss, the number of weights is missing or is not that of the losses, a weight is below 0
            or not finite, or the offset is unknown.
    """
    from rareseg.losses import get  # the registry imports this file

    if offset not in ("centre", "origin"):
        raise ValueError(f"offset must be 'centre' or 'origin', got {offset!r}")
    if isinstance(losses, str | Mapping | keras.losses.Loss):
        if weights is None:
            raise ValueError("deep_supervision: give one loss per output, or one loss and the weights of all outputs")
        losses = [losses] * len(weights)
    if not losses:
        raise ValueError("deep_supervision: give at least one loss, and one weight for each")
    halves = 0.5 ** np.arange(len(losses))[::-1]
    shares = [float(weight) for weight in (halves / halves.sum() if weights is None else weights)]
    if len(shares) != len(losses):
        raise ValueError(f"deep_supervision: {len(losses)} losses, but {len(shares)} weights")
    if not all(lies_in(weight, "[0, inf)") for weight in shares):
        raise ValueError(f"deep_supervision: each weight must lie in [0, inf), got {shares}")
    return [AtResolution(get(loss), offset) for loss in losses], shares


@keras.saving.register_keras_serializable(package="rareseg")
class AtResolution(keras.losses.Loss):
    """A loss whose labels and pixel weights are brought to the resolution of the prediction.

    Args:
        base: The loss.
        offset: As for `deep_supervision`.
    """

    def __init__(self, base: keras.losses.Loss, offset: Offset = "centre", name: str | None = None) -> None:
        super().__init__(name=name or base.name, reduction=base.reduction)
        self.base = base
        self.offset = offset

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss; ``y_true`` holds integer labels (B, *space) or (B, *space, 1).

        Raises:
            ValueError: The offset is "origin" and a size of the labels is no multiple of that of ``y_pred``.
        """
        if sample_weight is not None and weighs_pixels(ops.convert_to_tensor(sample_weight)):
            sample_weight = self._resampled(sample_weight, y_pred)
        return self.base(self._resampled(y_true, y_pred), y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return one loss per sample, (B,)."""
        return self.base.call(self._resampled(y_true, y_pred), y_pred)

    def _resampled(self, values: Any, y_pred: Any) -> Any:
        values = ops.convert_to_tensor(values)
        for axis in range(1, len(y_pred.shape) - 1):
            if self.offset == "origin":
                _check_multiple(values.shape[axis], y_pred.shape[axis])
            full, size = ops.shape(values)[axis], ops.shape(y_pred)[axis]
            index = ops.arange(size)
            index = index * (full // size) if self.offset == "origin" else ((2 * index + 1) * full) // (2 * size)
            values = ops.take(values, index, axis=axis)
        return values

    def get_config(self) -> dict[str, Any]:
        """Return all arguments, the base in Keras' form."""
        return {"base": keras.saving.serialize_keras_object(self.base), "offset": self.offset, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AtResolution":
        """Build the base, then the loss."""
        return cls(**{**config, "base": keras.saving.deserialize_keras_object(config["base"])})


def _check_multiple(full: int | None, size: int | None) -> None:
    """Refuse sizes between which no whole step leads; unknown ones pass."""
    if full is not None and size is not None and full % size:
        raise ValueError(
            f"offset 'origin' takes every n-th label, but {full} labels along an axis are no multiple of {size} "
            "predictions; take 'centre'"
        )
