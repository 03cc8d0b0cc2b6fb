"""From ``y_true``, ``y_pred`` and weights, in every form that Keras users have, to `Pixels`."""

from typing import Any

import keras
from keras import ops

from rareseg.losses._pixels import Pixels
from rareseg.losses._prediction import Margin, Prediction, Probabilities, Softmax
from rareseg.losses._truth import Truth


def read(y_true: Any, y_pred: Any, weight: Any, *, from_logits: bool, ignore_class: int | None, pool: str) -> Pixels:
    """Check shapes and types and return the pixels of a batch.

    Args:
        y_true: Labels (B, *space) or (B, *space, 1), or one-hot or soft labels (B, *space, C).
        y_pred: Logits or probabilities (B, *space, C); C = 1 is one sigmoid channel.
        weight: Weight of each pixel, (B, *space), or None.
        from_logits: Whether ``y_pred`` holds logits.
        ignore_class: Label of pixels that do not count, or None. One-hot labels have no such pixels.
        pool: "sample" or "batch".
    """
    y_pred = as_float(y_pred)
    y_true = ops.convert_to_tensor(y_true)
    check_shapes(y_true, y_pred)
    channels = y_pred.shape[-1]
    soft = len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] != 1 and channels != 1
    if soft:
        truth = Truth(ops.unstack(ops.cast(y_true, y_pred.dtype), num=channels, axis=-1), [], weight)
    else:
        label = comparable(without_channel(y_true, like=y_pred))
        weight = without_ignored(label, ignore_class, weight, y_pred.dtype)
        truth = read_label(label, max(channels, 2), channels == 1, weight, y_pred.dtype)
    return Pixels(truth, read_prediction(y_pred, from_logits), pool)


def as_float(values: Any) -> Any:
    """Return a tensor in float64 if it is that already, else in float32: half precision cannot count pixels."""
    values = ops.convert_to_tensor(values)
    double = keras.backend.standardize_dtype(values.dtype) == "float64"
    return ops.cast(values, "float64" if double else "float32")


def without_channel(values: Any, like: Any) -> Any:
    """Drop a last axis of length one: (B, *space, 1) -> (B, *space), ``like`` being (B, *space, C)."""
    return values if len(values.shape) == len(like.shape) - 1 else ops.squeeze(values, axis=-1)


def check_shapes(y_true: Any, y_pred: Any, what: str = "y_true") -> None:
    """Refuse arrays that do not fit together; unknown sizes fit everything."""
    true, pred = tuple(y_true.shape), tuple(y_pred.shape)
    if len(pred) < 3 or pred[-1] is None:
        raise ValueError(f"y_pred must have the shape (batch, *space, channels) with known channels, got {pred}")
    fits = len(true) in (len(pred) - 1, len(pred))
    if len(true) == len(pred):
        fits = true[-1] in ({1, None} if what != "y_true" else {1, None, pred[-1]})
    pairs = zip(true[: len(pred) - 1], pred[:-1], strict=False)
    if not fits or any(a != b for a, b in pairs if a is not None and b is not None):
        forms = f"(batch, *space), (batch, *space, 1){' or (batch, *space, channels)' if what == 'y_true' else ''}"
        raise ValueError(f"{what} {true} does not fit y_pred {pred}: expected {forms}")


def comparable(label: Any) -> Any:
    """Return integer and boolean labels as int32, since -1 cannot even be compared with uint8."""
    return label if keras.backend.is_float_dtype(label.dtype) else ops.cast(label, "int32")


def without_ignored(label: Any, ignore_class: int | None, weight: Any, dtype: Any) -> Any:
    """Return the weight with 0 where ``label`` is ``ignore_class``; None if every pixel counts once."""
    if ignore_class is None:
        return weight
    valid = ops.cast(ops.not_equal(label, ignore_class), dtype)
    return valid if weight is None else valid * weight


def read_label(label: Any, classes: int, one_channel: bool, weight: Any, dtype: Any) -> Truth:
    """Return labels (B, *space) as truth; with one channel a floating label is the share of class 1."""
    if one_channel and keras.backend.is_float_dtype(label.dtype):
        valid = ops.logical_and(label >= 0, label <= 1)
        share = ops.cast(ops.where(valid, label, 0), dtype)
        return Truth([ops.cast(valid, dtype) - share, share], [], weight)
    masks = [ops.equal(label, c) for c in range(classes)]
    return Truth([ops.cast(mask, dtype) for mask in masks], masks, weight)


def read_prediction(y_pred: Any, from_logits: bool) -> Prediction:
    """Return ``y_pred`` (B, *space, C) in the form that suits it."""
    channels, rank = y_pred.shape[-1], len(y_pred.shape)
    if channels == 2 and from_logits:
        # As they lie: of transposed planes JAX would keep one more for the gradient.
        first, second = ops.unstack(y_pred, num=2, axis=-1)
        return Margin(second - first)
    planes = ops.unstack(ops.transpose(y_pred, (rank - 1, *range(rank - 1))), num=channels, axis=0)
    if from_logits:
        return Margin(planes[0]) if channels == 1 else Softmax(planes)
    complements = [1 - plane for plane in planes]
    if channels == 1:
        return Probabilities([complements[0], planes[0]], [planes[0], complements[0]])
    return Probabilities(planes, complements)
