"""A softmax of three or more classes against one class per pixel, with a backward pass in closed form.

With c a pixel's class, o_l = p_l for the other classes and o_c = 0, w its weight, all losses need of it

    q = sum_l o_l,  ce = -log p_c,  FN_c = sum over pixels of class c of w q,  FP_l = sum over pixels of w o_l.

With g the derivatives of a loss with respect to these, a = g_q + w g_FN,c, rest = g_ce + a - sum_l o_l (a + w g_FP,l):

    dL / dz_l = o_l (w g_FP,l + rest) for l != c, and less the sum of these for l = c.

Autodiff of the same formulas takes a fifth to a third more time in TensorFlow's graphs, as it differentiates each step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import ops

from rareseg.losses._prediction import LARGEST_MARGIN, ShareView, Softmax, added
from rareseg.losses._truth import Truth


@dataclass
class Errors(ShareView):
    """What a softmax gets wrong: the view of each pixel's class, and its sums.

    Attributes:
        q: Plane 1 - p of each pixel's class; 1 where a pixel has none.
        ce: Plane -log p of each pixel's class; of no use where a pixel has none.
        fn: Soft false negatives of each class, (B, K) or (1, K).
        fp: Soft false positives of each class, (B, K) or (1, K).
    """

    q: Any
    ce: Any
    fn: Any
    fp: Any


def errors(softmax: Softmax, truth: Truth, sums: Callable[[Sequence[Any]], Any]) -> Errors:
    """Return what a softmax gets wrong.

    Args:
        softmax: The network's output.
        truth: Labels with masks.
        sums: Sums planes over pixels, (B, M) or (1, M).
    """
    classes = range(len(truth.masks))

    def forward(*inputs: Any) -> tuple[tuple[Any, ...], Callable[..., tuple[Any, ...]]]:
        logits, weights = inputs[: len(classes)], inputs[len(classes) :]
        weighted = replace(truth, weight=weights[0] if weights else None).weighted
        output = Softmax(logits)
        others = [ops.where(truth.masks[c], 0.0, output.probabilities[c]) for c in classes]
        q = added(others)  # since 1 - p itself loses all digits where p is nearly 1
        ce = ops.log(output.total) - ops.maximum(truth.of(output.lags), -LARGEST_MARGIN)
        fn = sums([weighted(share * q) for share in truth.shares])
        fp = sums([weighted(other) for other in others])

        def backward(*upstream: Any) -> tuple[Any, ...]:
            g_q, g_ce, g_fn, g_fp = upstream[0] if len(upstream) == 1 else upstream  # JAX gives one tuple
            g_fn, g_fp = _spread(g_fn, q), _spread(g_fp, q)
            a = g_q + weighted(truth.of(g_fn))  # it cancels where a pixel has no class, as q is 1
            positives = [other * g for other, g in zip(others, g_fp, strict=True)]
            positive = weighted(added(positives))
            rest = g_ce + a - (positive + q * a)
            own = -(positive + q * rest)
            of_logits = [ops.where(truth.masks[c], own, weighted(positives[c]) + others[c] * rest) for c in classes]
            if not weights:
                return tuple(of_logits)
            negatives = [share * g for share, g in zip(truth.shares, g_fn, strict=True)]
            return (*of_logits, q * added(negatives) + added(positives))

        return (q, ce, fn, fp), backward

    # On PyTorch Keras' closed gradients have one output; there the formulas are differentiated as they stand.
    by_itself = keras.backend.backend() == "torch"
    compared = (lambda *inputs: forward(*inputs)[0]) if by_itself else ops.custom_gradient(forward)
    return Errors(*compared(*softmax.logits, *([] if truth.weight is None else [truth.weight])))


def _spread(totals: Any, like: Any) -> list[Any]:
    """Return the columns of (B, K) or (1, K), each in a form that broadcasts to planes (B, *space)."""
    shape = (-1,) + (1,) * (len(like.shape) - 1)
    return [ops.reshape(totals[:, c], shape) for c in range(totals.shape[-1])]
