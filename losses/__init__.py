"""Losses for rare foreground in segmentation: labels and a network's output in, one value per sample out.

    loss = rareseg.losses.get("unified_focal", gamma=0.5, from_logits=True)
    model.compile(optimizer="adam", loss=loss)

``y_true`` holds integer labels (B, *space), ``y_pred`` logits or probabilities (B, *space, C); C = 1 is one sigmoid
channel. Start reading with `overlap`, then `entropy`; `_pixels` holds the sums that they are made of.
"""

import difflib
from collections.abc import Mapping
from typing import Any

import keras

from rareseg.losses._arguments import arguments
from rareseg.losses._base import SegmentationLoss
from rareseg.losses.adaptive import AdaptiveLog
from rareseg.losses.compound import Combo, DiceFocal, DiceTopK, ExponentialLog, HybridFocal, UnifiedFocal
from rareseg.losses.distance import Boundary, WassersteinDice, signed_distance
from rareseg.losses.entropy import CrossEntropy, Focal, GeneralisedCrossEntropy, TopK
from rareseg.losses.overlap import (
    AsymmetricSimilarity,
    Dice,
    FocalTversky,
    GeneralisedDice,
    Jaccard,
    LogCoshDice,
    Tversky,
)
from rareseg.losses.supervision import deep_supervision

__all__ = ["deep_supervision", "get", "names", "signatures", "signed_distance"]

LOSSES: dict[str, type[SegmentationLoss]] = {
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "dice": Dice,
    "jaccard": Jaccard,
    "tversky": Tversky,
    "focal_tversky": FocalTversky,
    "combo": Combo,
    "hybrid_focal": HybridFocal,
    "unified_focal": UnifiedFocal,
    "adaptive_log": AdaptiveLog,
    "generalised_dice": GeneralisedDice,
    "asymmetric_similarity": AsymmetricSimilarity,
    "dice_focal": DiceFocal,
    "topk": TopK,
    "dice_topk": DiceTopK,
    "generalised_cross_entropy": GeneralisedCrossEntropy,
    "log_cosh_dice": LogCoshDice,
    "exponential_log": ExponentialLog,
    "boundary": Boundary,
    "wasserstein_dice": WassersteinDice,
}
KERAS_ARGUMENTS = ("from_logits", "reduction", "name", "dtype")
"""Set by whoever compiles a model, so not part of a loss's signature in a configuration."""


def names() -> tuple[str, ...]:
    """Return the names that `get` knows."""
    return tuple(LOSSES)


def get(loss: str | Mapping[str, Any] | keras.losses.Loss, /, **settings: Any) -> keras.losses.Loss:
    """Build a loss.

    Args:
        loss: A name; a mapping such as ``{"name": "unified_focal", "gamma": 0.5}``; or a loss, returned unchanged.
        settings: Arguments of the loss; they come after those of a mapping and prevail.

    Raises:
        ValueError: The name is unknown, or an argument has a value that it cannot have.
        TypeError: The loss takes no such argument.
    """
    if isinstance(loss, str):
        return _build(loss, settings)
    if isinstance(loss, Mapping):
        if "name" not in loss:
            raise ValueError(f"a loss needs a name, got {dict(loss)!r}")
        return _build(loss["name"], {**{key: loss[key] for key in loss if key != "name"}, **settings})
    if not isinstance(loss, keras.losses.Loss):
        raise TypeError(f"a loss is a name, a mapping or a keras.losses.Loss, got {loss!r}")
    if settings:
        raise TypeError(f"{loss.name} is built already; give {', '.join(settings)} with a name instead")
    return loss


def _build(name: Any, settings: Mapping[str, Any]) -> SegmentationLoss:
    if not isinstance(name, str) or name not in LOSSES:
        nearest = difflib.get_close_matches(str(name), LOSSES, n=1, cutoff=0)
        raise ValueError(f"unknown loss {name!r}; did you mean {nearest[0]!r}? Known: {', '.join(LOSSES)}")
    known = arguments(LOSSES[name])  # pyright: ignore[reportArgumentType]
    for setting in settings:
        if setting not in known:
            raise TypeError(f"{name} takes no argument {setting!r}; it takes {', '.join(known)}")
    return LOSSES[name](**settings)


def signatures() -> dict[str, dict[str, dict[str, Any]]]:
    """Return what each loss takes: ``{name: {argument: {"default": ..., "range": ..., "choices": ...}}}``.

    ``range`` is an interval such as ``"[0, 1)"`` or None, ``choices`` a list of words or None. All of it is JSON.
    """
    return {
        name: {
            argument: {
                "default": known.default,
                "range": known.interval,
                "choices": list(known.choices) if known.choices else None,
            }
            for argument, known in arguments(loss).items()  # pyright: ignore[reportArgumentType]
            if argument not in KERAS_ARGUMENTS
        }
        for name, loss in LOSSES.items()
    }
