"""Losses that know distances: to the border of an object in space, or between classes in meaning."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import keras
import numpy as np
from keras import ops

from rareseg.losses._base import Based, ClassLoss, SegmentationLoss
from rareseg.losses._inputs import as_float, check_shapes, comparable, read_prediction, without_ignored
from rareseg.losses._pixels import Pixels, safe_divide
from rareseg.losses._prediction import added
from rareseg.losses._truth import Truth


def signed_distance(labels: np.ndarray, classes: int, spacing: Sequence[float] | None = None) -> np.ndarray:
    """Return the maps that `Boundary` takes as labels; make them in the input pipeline, never in the training step.

    Args:
        labels: Classes, integers (B, *space).
        classes: Their number K, the background included.
        spacing: Millimetres per spatial axis; None: pixels.

    Returns:
        For each class the distance to its border, float32 (B, *space, K): outside +d to the nearest of its pixels,
        inside -(d to the nearest other pixel - the least spacing), so that it is never positive
        there, and 0 beside a border along the finest axis. All 0 where the class is absent or fills the image.

    Raises:
        ValueError: ``spacing`` has not one positive entry per spatial axis.

    Source: Kervadec et al. 2019, arXiv 1812.07032; their code, which subtracts 1 whatever the spacing.
    """
    from scipy.ndimage import distance_transform_edt

    labels = np.asarray(labels)
    steps = np.ones(labels.ndim - 1) if spacing is None else np.asarray(spacing, float)
    if steps.shape != (labels.ndim - 1,) or not (steps > 0).all():
        raise ValueError(f"spacing must have {labels.ndim - 1} positive entries, one per spatial axis, got {spacing}")
    maps = np.zeros((*labels.shape, classes), "float32")
    for sample, found in zip(labels, maps, strict=True):
        for c in range(classes):
            inside = sample == c
            if inside.any() and not inside.all():
                outer = distance_transform_edt(~inside, sampling=steps)
                inner = distance_transform_edt(inside, sampling=steps) - steps.min()
                found[..., c] = np.where(inside, -inner, outer)
    return maps


@keras.saving.register_keras_serializable(package="rareseg")
class Boundary(Based, ClassLoss):
    """Class mean of the mean over pixels of phi_c p_c, phi_c the signed distance to the border of class c.

    ``y_true`` holds the maps that `signed_distance` makes, (B, *space, K). With a base, the labels stand before them,
    (B, *space, 1 + K), and the loss is base + weight * boundary. It may be negative: what is deep inside pays.

    Source: Kervadec et al. 2019, arXiv 1812.07032, equation (5); weight 0.01 there, plus 0.01 with each epoch.

    Args:
        base: Another loss to which this is added, as for `AdaptiveLog`; ``ignore_class`` needs it, for the labels.
        weight: Weight beside a base. It is kept as a variable, so that a callback may change it:
            ``loss.weight.assign(0.02)``. On JAX the model must know it: ``model.boundary_weight = loss.weight``.
    """

    def __init__(
        self,
        *,
        base: str | Mapping[str, Any] | keras.losses.Loss | None = None,
        weight: Annotated[float, "[0, inf)"] = 0.01,
        include_background: bool = False,
        **shared: Any,
    ) -> None:
        self.base = base
        self.weight = weight
        super().__init__(include_background=include_background, **shared)
        self.weight = keras.Variable(self.weight, dtype="float32", trainable=False, name="weight")
        if self.base is None and self.ignore_class is not None:
            raise ValueError("boundary: ignore_class needs a base, as distance maps have no labels; or use a mask")

    def per_sample(self, y_true: Any, y_pred: Any, pixel_weight: Any) -> Any:
        """Return one loss per sample, (B,)."""
        y_pred, y_true = as_float(y_pred), ops.convert_to_tensor(y_true)
        classes = max(y_pred.shape[-1], 2)
        self._check_maps(y_true, y_pred, classes)
        label, maps = (None, y_true) if self.base is None else (y_true[..., 0], y_true[..., 1:])
        if label is not None:
            pixel_weight = without_ignored(comparable(label), self.ignore_class, pixel_weight, y_pred.dtype)
        planes = ops.unstack(ops.cast(maps, y_pred.dtype), num=classes, axis=-1)
        prediction = read_prediction(y_pred, self.from_logits)
        loss = self._class_mean(Pixels(Truth(planes, [], pixel_weight), prediction, self.pool))
        loss = ops.broadcast_to(loss, ops.shape(y_pred)[:1])
        if self.base_loss is None:
            return loss
        base = self.base_loss.per_sample(label, y_pred, pixel_weight)
        return base + ops.cast(self.weight, base.dtype) * loss

    def _check_maps(self, y_true: Any, y_pred: Any, classes: int) -> None:
        wanted = classes + (self.base is not None)
        if len(y_true.shape) != len(y_pred.shape) or y_true.shape[-1] != wanted:
            content = "signed_distance maps" if self.base is None else "the labels and then signed_distance maps"
            raise ValueError(
                f"boundary: y_true {tuple(y_true.shape)} does not fit y_pred {tuple(y_pred.shape)}: it must hold "
                f"{content}, {wanted} channels for {classes} classes"
            )
        check_shapes(y_true[..., :1], y_pred)

    def _class_mean(self, pixels: Pixels) -> Any:
        """Return the loss of each sample; the maps stand in the place of the labels."""
        weights, maps = self.weights(pixels.classes), pixels.truth.shares
        planes = [v * phi * p for v, phi, p in zip(weights, maps, pixels.prediction.probabilities, strict=True) if v]
        if not planes:
            return ops.zeros((1,), maps[0].dtype)
        total = pixels.truth.weighted(added(planes))
        return safe_divide(pixels.sum(total), pixels.total_weight, 0.0) / sum(weights)

    def get_config(self) -> dict[str, Any]:
        """Return all arguments in plain JSON types, the weight as it stands."""
        config = super().get_config()
        return {**config, "weight": float(ops.convert_to_numpy(self.weight))}


@keras.saving.register_keras_serializable(package="rareseg")
class WassersteinDice(SegmentationLoss):
    """A Dice loss whose errors cost what the classes that are mixed up are apart.

    W_i = sum_kl y_ik M_kl p_il is the error of pixel i, M the distances over their largest. With ``foreground``:
    E = sum W, t = sum over foreground pixels of (M_k0 - W), loss E / (2 t + E + s). With ``volume``: each pixel
    weighs 1 / (V_k + 1) and the loss is E / (sum of (2 - W) + s).

    Source: Fidon et al. 2017, arXiv 1707.00478, equations (3) to (6); Fidon et al. 2020, arXiv 2011.01614, for
    ``volume``. Their code has 1 in place of M_k0, which is equal where all classes are equally far from the background.

    Args:
        distances: Between classes, a symmetric K x K list with zero diagonal; None: all 1. With ``foreground`` no class
            may be further from another than from the background, else t counts an error as less than nothing.
        weighting: "foreground" or "volume".
        smooth: s, in pixels.
    """

    def __init__(
        self,
        *,
        distances: Annotated[Sequence[Sequence[float]] | None, "[0, inf)"] = None,
        weighting: Literal["foreground", "volume"] = "foreground",
        smooth: Annotated[float, "[0, inf)"] = 1e-6,
        **shared: Any,
    ) -> None:
        self.distances = distances
        self.weighting = weighting
        self.smooth = smooth
        super().__init__(**shared)
        if self.distances is not None:
            _check_distances(self.distances, self.weighting)

    def value(self, pixels: Pixels) -> Any:
        """Return the loss of each sample."""
        apart = self._matrix(pixels.classes)
        error, whole = (self._by_class if pixels.truth.masks else self._by_pixel)(pixels, apart)
        return safe_divide(error, whole + self.smooth, 0.0)

    def _matrix(self, classes: int) -> list[list[float]]:
        """Return M, K rows of K; it is symmetric."""
        if self.distances is None:
            return [[float(row != column) for column in range(classes)] for row in range(classes)]
        if len(self.distances) != classes:
            raise ValueError(f"distances are of {len(self.distances)} classes, but the network has {classes}")
        largest = max(max(row) for row in self.distances)
        return [[distance / largest for distance in row] for row in self.distances]

    def _by_class(self, pixels: Pixels, apart: list[list[float]]) -> tuple[Any, Any]:
        """Return E and what stands below it for hard labels, class by class."""
        volumes = pixels.volumes
        costs = [_combined(row, pixels.prediction.probabilities) for row in apart]
        errors = pixels.sums([pixels.truth.weighted(pixels.truth.of_class(c, cost)) for c, cost in enumerate(costs)])
        if self.weighting == "volume":
            rarity = 1 / (volumes + 1)
            return ops.sum(rarity * errors, axis=-1), ops.sum(rarity * (2 * volumes - errors), axis=-1)
        to_background = ops.convert_to_tensor(apart[0], volumes.dtype)
        error, right = ops.sum(errors, axis=-1), ops.sum((to_background * volumes - errors)[:, 1:], axis=-1)
        return error, 2 * right + error

    def _by_pixel(self, pixels: Pixels, apart: list[list[float]]) -> tuple[Any, Any]:
        """Return the same for soft labels, which enter twice."""
        shares, weighted = pixels.truth.shares, pixels.truth.weighted
        costs = [_combined(row, pixels.prediction.probabilities) for row in apart]
        errors = sum((share * cost for share, cost in zip(shares, costs, strict=True)), ops.zeros_like(shares[0]))
        if self.weighting == "volume":
            shape = (-1,) + (1,) * pixels.rank
            volumes = [ops.reshape(pixels.volumes[:, c], shape) for c in range(pixels.classes)]
            rarity = sum((y / (v + 1) for y, v in zip(shares, volumes, strict=True)), ops.zeros_like(shares[0]))
            return pixels.sum(weighted(rarity * errors)), pixels.sum(weighted(rarity * (2 - errors)))
        foreground, to_background = added(shares[1:]), _combined(apart[0], shares)
        error = pixels.sum(weighted(errors))
        return error, 2 * pixels.sum(weighted(foreground * (to_background - errors))) + error


def _check_distances(distances: Sequence[Sequence[float]], weighting: str) -> None:
    """Refuse what is no matrix of distances, or none that the weighting can do with."""
    if not _is_distance_matrix(distances):
        raise ValueError(f"distances must be symmetric, 0 on the diagonal and not all 0, got {distances}")
    if weighting == "foreground" and any(max(row) > row[0] for row in distances[1:]):
        raise ValueError(
            "distances: each class must be at least as far from the background as from any other class, "
            f"got {distances}; take weighting='volume'"
        )


def _is_distance_matrix(distances: Sequence[Sequence[float]]) -> bool:
    """Return whether a matrix is square, symmetric, 0 on the diagonal and not all 0."""
    if any(len(row) != len(distances) for row in distances):
        return False
    matrix = np.asarray(distances)
    return bool(np.array_equal(matrix, matrix.T) and not np.diag(matrix).any() and matrix.any())


def _combined(numbers: Sequence[float], planes: Sequence[Any]) -> Any:
    """Return the sum of planes, each times its number."""
    return sum((n * plane for n, plane in zip(numbers, planes, strict=True)), ops.zeros_like(planes[0]))
