"""What all losses share: settings, weights, the way from ``call`` to one value per sample."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import keras
from keras import ops
from keras.src.backend import get_keras_mask  # private, but under JAX's jit nothing else finds a mask

from rareseg.losses._arguments import arguments
from rareseg.losses._inputs import as_float, check_shapes, read, without_channel
from rareseg.losses._pixels import Pixels


class SegmentationLoss(keras.losses.Loss):
    """A loss with one value per sample.

    Every argument is kept as an attribute of the same name; ranges are checked here, from the signatures. A subclass
    stores its arguments, hands the others on as keywords and implements `value`.

    Args:
        from_logits: Whether the network's output is logits (recommended) or probabilities.
        ignore_class: Pixels with this label enter no sum, no count and no gradient. Other labels outside the known
            classes belong to no class: they cost whatever a network gives to a known class in an overlap, and nothing
            in `wasserstein_dice`. One-hot labels have no such pixels; give them weight 0.
        pool: "sample": one value per sample from its own pixels. "batch": all sums run over the batch, as if it
            were one sample, and all values are equal.
        reduction: As in Keras.
        name: As in Keras.
        dtype: Type of the result; None: float32, and float64 for predictions in float64.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        pool: Literal["sample", "batch"] = "sample",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.pool = pool
        self.result_dtype = None if dtype is None else self.dtype
        for argument, description in arguments(type(self)).items():  # pyright: ignore[reportArgumentType]
            if argument != "dtype":
                setattr(self, argument, description.checked(argument, getattr(self, argument)))

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss.

        Args:
            y_true: Labels (B, *space) or (B, *space, 1), or one-hot or soft labels (B, *space, C).
            y_pred: Logits or probabilities (B, *space, C); C = 1 is one sigmoid channel.
            sample_weight: Weight of each sample, () or (B,) or (B, 1), or of each pixel, (B, *space) or
                (B, *space, 1); means over pixels divide by the sum of theirs.

        Raises:
            ValueError: Shapes do not fit, or settings do not fit the number of classes.
        """
        mask = get_keras_mask(y_pred)
        y_pred = as_float(y_pred)
        pixel_weight = None if mask is None else as_pixel_weight(mask, y_pred, "mask")
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight)
            if weighs_pixels(sample_weight):
                weight = as_pixel_weight(sample_weight, y_pred, "sample_weight")
                pixel_weight = weight if pixel_weight is None else pixel_weight * weight
                sample_weight = None
            elif len(sample_weight.shape) == 2:
                sample_weight = ops.squeeze(sample_weight, axis=-1)
        values = self.per_sample(y_true, y_pred, pixel_weight)
        reduce = Reduction(name=self.name, reduction=self.reduction, dtype=self.result_dtype or values.dtype)
        return reduce(values, values, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return one loss per sample, shape (B,), float32 or (for float64 predictions) float64.

        Arguments and errors as those of the loss when called.
        """
        return self.per_sample(y_true, as_float(y_pred), None)

    def per_sample(self, y_true: Any, y_pred: Any, pixel_weight: Any) -> Any:
        """Return one loss per sample, (B,), with each pixel weighted by ``pixel_weight`` (B, *space) or None."""
        pixels = read(
            y_true,
            y_pred,
            pixel_weight,
            from_logits=self.from_logits,
            ignore_class=self.ignore_class,
            pool=self.pool,
        )
        return ops.broadcast_to(self.value(pixels), ops.shape(y_pred)[:1])

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample, (B,), or of the pooled batch, (1,)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return all arguments in plain JSON types."""
        config = {argument: getattr(self, argument) for argument in arguments(type(self))}  # pyright: ignore[reportArgumentType]
        return {**config, "dtype": self.result_dtype}


class ClassLoss(SegmentationLoss):
    """A loss whose classes can be weighted.

    Args:
        class_weights: One weight v_c per class, the background first; None: 1 each.
        include_background: Whether class 0 counts; if not, v_0 = 0.
    """

    def __init__(
        self,
        *,
        class_weights: Annotated[Sequence[float] | None, "[0, inf)"] = None,
        include_background: bool = True,
        **shared: Any,
    ) -> None:
        self.class_weights = class_weights
        self.include_background = include_background
        super().__init__(**shared)

    def weights(self, classes: int) -> list[float]:
        """Return v_c for each of ``classes`` classes."""
        given = [1.0] * classes if self.class_weights is None else self.class_weights
        weights = per_class("class_weights", given, classes)
        return weights if self.include_background else [0.0, *weights[1:]]


class Based(SegmentationLoss):
    """A loss built on another one.

    Attributes:
        base: The other loss: a name, a mapping of name and arguments, or a loss of this package; None where the
            subclass allows it. A name or mapping gets from_logits, ignore_class and pool from here; class weights,
            smooth and the like are given in it.
        base_loss: That loss, built.
    """

    base: Any
    base_loss: Any

    def __init__(self, **shared: Any) -> None:
        super().__init__(**shared)
        self.base_loss = None if self.base is None else self._build_base()

    def _build_base(self) -> SegmentationLoss:
        from rareseg.losses import get  # the registry imports the files that import this one

        if isinstance(self.base, str | Mapping):
            handed_down = ("from_logits", "ignore_class", "pool")
            mine = [key for key in handed_down if key in self.base] if isinstance(self.base, Mapping) else []
            if mine:
                raise ValueError(f"set {' and '.join(mine)} on the loss itself, not in its base {self.base}")
            return get(self.base, **{key: getattr(self, key) for key in handed_down})
        if not isinstance(self.base, SegmentationLoss):
            raise TypeError(f"base must be a name, a mapping or a loss of rareseg, got {self.base!r}")
        return self.base

    def get_config(self) -> dict[str, Any]:
        """Return all arguments in plain JSON types; a loss object as base in Keras' form."""
        config = super().get_config()
        if isinstance(self.base, SegmentationLoss):
            config["base"] = keras.saving.serialize_keras_object(self.base)
        elif isinstance(self.base, Mapping):
            plain = self.base_loss.get_config()
            config["base"] = {key: value if key == "name" else plain[key] for key, value in self.base.items()}
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Based":
        """Build the loss, and first its base if that was a loss object."""
        base = config["base"]
        if isinstance(base, Mapping) and "class_name" in base:
            base = keras.saving.deserialize_keras_object(base)
        return cls(**{**config, "base": base})


class Reduction(keras.losses.Loss):
    """Keras' own reduction, applied to values per sample that are there already."""

    def call(self, y_true: Any, y_pred: Any) -> Any:  # noqa: ARG002
        """Return the values."""
        return y_pred


def per_class(name: str, values: Sequence[float], classes: int) -> list[float]:
    """Return ``values`` if there is one per class, else raise a ValueError."""
    if len(values) != classes:
        raise ValueError(f"{name} has {len(values)} entries, but the labels and the network have {classes} classes")
    return list(values)


def weighs_pixels(sample_weight: Any) -> bool:
    """Say whether a weight has spatial axes; (), (B,) and (B, 1) weigh whole samples."""
    shape = tuple(sample_weight.shape)
    return len(shape) > 2 or (len(shape) == 2 and shape[1] != 1)


def as_pixel_weight(weight: Any, y_pred: Any, what: str) -> Any:
    """Return a weight (B, *space) or (B, *space, 1) as a plane (B, *space) in the type of ``y_pred``."""
    weight = ops.cast(ops.convert_to_tensor(weight), y_pred.dtype)
    check_shapes(weight, y_pred, what)
    return without_channel(weight, like=y_pred)
