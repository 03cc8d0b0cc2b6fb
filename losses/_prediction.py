"""What a network says about each pixel: three forms, one interface.

A *view* answers for one class per pixel (the same class everywhere, or each pixel's true class), p its probability:
``q`` = 1 - p, ``kept_q`` the same kept off 0, ``ce`` = -log p and ``log_q`` = log(1 - p), each a plane of shape
(B, *space). Views are lazy: a loss pays for what it asks. Planes instead of a last axis of two or three classes because
both backends reduce and broadcast such an axis slowly, and TensorFlow sums it with an error of up to 8e-5 in a volume
of 160^3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

from keras import ops

from rareseg.losses._cached import cached_property

# Differences of logits end here, so that a sum over 10^8 pixels still fits into float32.
LARGEST_MARGIN = 1e30
# Stands for the share of the other classes where exp has underflowed: logarithms and roots need a positive number.
SMALLEST_SHARE = 1e-37
# Probabilities are kept this far from 0 and 1 in logarithms, as Keras does.
PROBABILITY_MARGIN = 1e-7


def added(planes: Sequence[Any]) -> Any:
    """Return the sum of one or more planes."""
    return sum(planes[1:], planes[0])


class Choice(Protocol):
    """Chooses one class per pixel among K planes (B, *space)."""

    def of(self, planes: Sequence[Any]) -> Any:
        """Return the plane of the chosen class."""
        ...

    def others(self, planes: Sequence[Any]) -> list[Any]:
        """Return the planes of all other classes."""
        ...


@dataclass
class Fixed:
    """The same class everywhere."""

    c: int

    def of(self, planes: Sequence[Any]) -> Any:
        """Return the plane of the class."""
        return planes[self.c]

    def others(self, planes: Sequence[Any]) -> list[Any]:
        """Return the planes of all other classes."""
        return [plane for c, plane in enumerate(planes) if c != self.c]


class View(Protocol):
    """One class per pixel; see the module."""

    q: Any
    kept_q: Any
    ce: Any
    log_q: Any


class Prediction(Protocol):
    """A network's output; probabilities are K planes (B, *space)."""

    probabilities: Any

    def view(self, choice: Choice) -> View:
        """Return the view of the class that ``choice`` chooses."""
        ...


class Margin:
    """Two classes from logits: all depends on the margin d = z_1 - z_0, (B, *space)."""

    def __init__(self, margin: Any) -> None:
        # As ops.clip, whose gradient keeps two planes of its own on JAX; no number stays none, so that it is noticed.
        above = ops.where(margin < -LARGEST_MARGIN, -LARGEST_MARGIN, margin)
        self.margin = ops.where(above > LARGEST_MARGIN, LARGEST_MARGIN, above)

    @cached_property
    def probabilities(self) -> list[Any]:
        """Planes of p_0 and p_1."""
        return [ops.sigmoid(-self.margin), ops.sigmoid(self.margin)]

    def view(self, choice: Choice) -> View:
        """Return the view of the class that ``choice`` chooses."""
        return MarginView(choice.of([self.margin, -self.margin]))


class MarginView:
    """View of a class whose logit is exceeded by the other's by v, (B, *space)."""

    def __init__(self, excess: Any) -> None:
        self.excess = excess

    @cached_property
    def ce(self) -> Any:
        """-log p = log(1 + exp v)."""
        return ops.softplus(self.excess)

    @cached_property
    def log_q(self) -> Any:
        """log(1 - p) = v - log(1 + exp v)."""
        return self.excess - self.ce

    @cached_property
    def q(self) -> Any:
        """1 - p, to full relative precision."""
        return ops.sigmoid(self.excess)

    @cached_property
    def kept_q(self) -> Any:
        """1 - p, never 0."""
        return self.q + SMALLEST_SHARE


class Softmax:
    """Three or more classes from logits, K planes (B, *space); for one class per pixel see `_hard_labels`."""

    def __init__(self, logits: Sequence[Any]) -> None:
        self.logits = logits

    @cached_property
    def lags(self) -> list[Any]:
        """K planes z_c - max z."""
        # Softmax does not change with a constant added to all logits, so no gradient flows through the largest.
        largest = ops.stop_gradient(reduce(ops.maximum, self.logits))
        return [plane - largest for plane in self.logits]

    @cached_property
    def exponentials(self) -> list[Any]:
        """K planes exp(z_c - max z)."""
        return [ops.exp(lag) for lag in self.lags]

    @cached_property
    def total(self) -> Any:
        """Their sum."""
        return added(self.exponentials)

    @cached_property
    def probabilities(self) -> list[Any]:
        """K planes p_c."""
        part = ops.reciprocal(self.total)  # a division per class would cost four more planes each in the gradient
        return [plane * part for plane in self.exponentials]

    def view(self, choice: Choice) -> View:
        """Return the view of the class that ``choice`` chooses."""
        return SoftmaxView(self, choice)


class ShareView:
    """A view that knows 1 - p as the sum of the other classes' shares."""

    q: Any

    @cached_property
    def kept_q(self) -> Any:
        """1 - p, never 0."""
        return self.q + SMALLEST_SHARE

    @cached_property
    def log_q(self) -> Any:
        """log(1 - p)."""
        return ops.log(self.kept_q)


class SoftmaxView(ShareView):
    """View of a softmax."""

    def __init__(self, softmax: Softmax, choice: Choice) -> None:
        self.softmax = softmax
        self.choice = choice

    @cached_property
    def ce(self) -> Any:
        """-log p, in the order that keeps small values."""
        logit = self.choice.of(self.softmax.logits)
        lead = ops.maximum(ops.stop_gradient(self.choice.of(self.softmax.lags)), -LARGEST_MARGIN)
        # The last term is 0. The gradient takes it instead of the bound, for which it would need this plane again.
        return ops.log(self.softmax.total) - lead - (logit - ops.stop_gradient(logit))

    @cached_property
    def q(self) -> Any:
        """1 - p as the sum of the other probabilities, since 1 - p itself loses all digits where p is nearly 1."""
        return added(self.choice.others(self.softmax.probabilities))


class Probabilities:
    """Probabilities as the network gives them, K planes (B, *space); not made to sum to one.

    Args:
        probabilities: K planes p_c.
        complements: K planes 1 - p_c.
    """

    def __init__(self, probabilities: list[Any], complements: list[Any]) -> None:
        self.probabilities = probabilities
        self.complements = complements

    def view(self, choice: Choice) -> View:
        """Return the view of the class that ``choice`` chooses."""
        return ProbabilityView(choice.of(self.probabilities), choice.of(self.complements))


class ProbabilityView:
    """View of a probability p and its complement q; only logarithms and powers are kept off 0 and 1."""

    def __init__(self, p: Any, q: Any) -> None:
        self.p = p
        self.q = q

    @cached_property
    def ce(self) -> Any:
        """-log p."""
        return -ops.log(ops.clip(self.p, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN))

    @cached_property
    def kept_q(self) -> Any:
        """1 - p, kept off 0 and 1."""
        return ops.clip(self.q, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)

    @cached_property
    def log_q(self) -> Any:
        """log(1 - p)."""
        return ops.log(self.kept_q)
