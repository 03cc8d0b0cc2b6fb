"""Labels of a batch, as planes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from keras import ops

from rareseg.losses._cached import cached_property


@dataclass
class Truth:
    """Labels as planes (B, *space).

    Attributes:
        shares: K planes y_c: how much of each class a pixel is.
        masks: The same as K boolean planes if each pixel has one class at most; empty for soft labels.
        weight: Plane w; None if every pixel counts once.
    """

    shares: list[Any]
    masks: list[Any]
    weight: Any

    def weighted(self, plane: Any) -> Any:
        """Return w times a plane."""
        return plane if self.weight is None else plane * self.weight

    @cached_property
    def lacks(self) -> list[Any]:
        """K planes 1 - y_c."""
        if self.masks:  # by the masks, since XLA makes a choice of it then
            return [ops.cast(ops.logical_not(mask), self.shares[0].dtype) for mask in self.masks]
        return [1 - share for share in self.shares]

    def any_of(self, classes: Sequence[int]) -> Any:
        """Return the plane that is 1 where a pixel has one of several classes, for labels with masks."""
        if len(classes) == 1:
            return self.shares[classes[0]]
        return ops.cast(reduce(ops.logical_or, [self.masks[c] for c in classes]), self.shares[0].dtype)

    def of_class(self, c: int, plane: Any) -> Any:
        """Return y_c times a plane."""
        return self.shares[c] * plane

    def but_class(self, c: int, plane: Any) -> Any:
        """Return (1 - y_c) times a plane."""
        return self.lacks[c] * plane

    def of(self, planes: Sequence[Any]) -> Any:
        """Return the plane of each pixel's class; that of class 0 where it has none."""
        chosen = planes[0]
        for mask, plane in zip(self.masks[1:], planes[1:], strict=True):
            chosen = ops.where(mask, plane, chosen)
        return chosen

    def others(self, planes: Sequence[Any]) -> list[Any]:
        """Return the planes of all classes, 0 where a class is the pixel's own."""
        return [self.but_class(c, plane) for c, plane in enumerate(planes)]
