"""What can be reached without a network: one threshold for a whole set, or Otsu's threshold of each image.

A network that does not beat these has learnt nothing, and a phantom that they solve is no phantom.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rareseg.evaluation.confusion import inside
from rareseg.evaluation.overlap import Empty, mean_of_defined, metrics

POLARITIES = ("bright", "dark")
Masks = Sequence[np.ndarray | None] | None


class Threshold(NamedTuple):
    """A rule and how well it does.

    Attributes:
        value: Mean of the metric over cases.
        channel: Index of the channel that is looked at.
        polarity: ``bright``: foreground is at or above the level; ``dark``: below.
        level: In the unit of the images; NaN where each image has its own.
    """

    value: float
    channel: int
    polarity: str
    level: float

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return the label map, 0 and 1, uint8, of an image (*space, C).

        Raises:
            ValueError: Each image has a level of its own.
        """
        if np.isnan(self.level):
            raise ValueError("this rule has a level of its own for each image; compare the channel with otsu(values)")
        above = image[..., self.channel] >= self.level
        return (above == (self.polarity == POLARITIES[0])).astype(np.uint8)


def best_threshold(
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    masks: Masks = None,
    metric: str = "jaccard",
    levels: int = 256,
    empty: Empty = "nan",
) -> Threshold:
    """Find the one channel, polarity and level for all images that maximise the mean of a metric over cases.

    Args:
        images: Arrays (*space, C), any unit; sizes may differ.
        truths: Boolean or 0/1 maps (*space).
        masks: Boolean maps (*space), None for a whole image; pixels outside are left out.
        metric: A metric of ``overlap.metrics``.
        levels: Levels tried, evenly from the lowest to the highest value of the channel: all of them for 8-bit images.
        empty: Value where truth and prediction are both empty, see ``overlap.metrics``.

    Raises:
        ValueError: There are no images, they do not fit their truths or each other, the metric is none of counts, or it
            is defined for no case.
    """
    best = Threshold(-np.inf, 0, POLARITIES[0], np.nan)
    for channel in range(_channels(images, truths)):
        low = min(float(image[..., channel].min()) for image in images)
        high = max(float(image[..., channel].max()) for image in images)
        edges = np.linspace(low, high, levels)
        cases = [_level_counts(values, truth, edges) for values, truth in _pixels(images, truths, masks, channel)]
        means = mean_of_defined(metrics(np.stack(cases), (metric,), empty)[metric], axis=0)
        place = np.unravel_index(np.argmax(np.nan_to_num(means, nan=-np.inf)), means.shape)
        if means[place] > best.value:
            best = Threshold(float(means[place]), channel, POLARITIES[place[0]], float(edges[place[1]]))
    return _defined(best, metric)


def best_otsu(
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    masks: Masks = None,
    metric: str = "jaccard",
    empty: Empty = "nan",
) -> Threshold:
    """Find the channel and polarity for all images that do best with Otsu's threshold of each.

    Arguments and errors as ``best_threshold``.
    """
    best = Threshold(-np.inf, 0, POLARITIES[0], np.nan)
    for channel in range(_channels(images, truths)):
        cases = [
            _level_counts(values, truth, np.array([otsu(values)]))
            for values, truth in _pixels(images, truths, masks, channel)
        ]
        means = mean_of_defined(metrics(np.stack(cases), (metric,), empty)[metric], axis=0)[:, 0]
        for polarity, mean in zip(POLARITIES, means, strict=True):
            if mean > best.value:
                best = Threshold(float(mean), channel, polarity, np.nan)
    return _defined(best, metric)


def _defined(best: Threshold, metric: str) -> Threshold:
    """Return the best rule, if there is one."""
    if best.value == -np.inf:
        raise ValueError(
            f"{metric} is defined for no case, so no rule is best; take another metric, or images that hold both "
            "foreground and background inside their masks"
        )
    return best


def otsu(values: np.ndarray, bins: int = 256) -> float:
    """Return the level that separates values into two classes with the least variance within.

    Source: Otsu 1979, doi 10.1109/TSMC.1979.4310076; the variance between classes is maximised over a histogram.

    Args:
        values: Grey values, any shape.
        bins: Bins between the lowest and the highest value.

    Returns:
        The lower edge of the first bin of the upper class.
    """
    histogram, edges = np.histogram(values, bins=bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(histogram)[:-1].astype(float)
    above = histogram.sum() - below
    moment = np.cumsum(histogram * centres)
    split = (below > 0) & (above > 0)
    if not split.any():
        return float(edges[0])
    lower = np.divide(moment[:-1], below, out=np.zeros_like(below), where=split)
    upper = np.divide(moment[-1] - moment[:-1], above, out=np.zeros_like(below), where=split)
    return float(edges[1 + np.argmax(below * above * (lower - upper) ** 2 * split)])


def _channels(images: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> int:
    """Return the number of channels after checking shapes."""
    if not images or len(images) != len(truths):
        raise ValueError(f"got {len(images)} images and {len(truths)} truths; give one truth per image, at least one")
    for image, truth in zip(images, truths, strict=True):
        if np.shape(image)[:-1] != np.shape(truth):
            raise ValueError(f"an image has shape {np.shape(image)}, its truth {np.shape(truth)}; expected (*space, C)")
    channels = {np.shape(image)[-1] for image in images}
    if len(channels) > 1:
        raise ValueError(f"images have {sorted(channels)} channels; give all the same number")
    return channels.pop()


def _pixels(
    images: Sequence[np.ndarray], truths: Sequence[np.ndarray], masks: Masks, channel: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield flat grey values and boolean truth of each image inside its mask."""
    for image, truth, mask in zip(images, truths, masks or [None] * len(images), strict=True):
        kept = np.ones(np.shape(truth), dtype=bool) if mask is None else inside(mask, np.shape(truth))
        yield np.asarray(image)[..., channel][kept], np.asarray(truth)[kept].astype(bool)


def _level_counts(values: np.ndarray, truth: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count TP, FP, FN, TN for each polarity and level at once: (2, levels, 4), by one histogram per class."""
    place = np.searchsorted(edges, values, side="right")
    reached = [np.bincount(place[truth == label], minlength=len(edges) + 1) for label in (True, False)]
    # A value in place k is at or above the levels 0 to k - 1.
    tp, fp = (histogram.sum() - np.cumsum(histogram)[:-1] for histogram in reached)
    fn, tn = (histogram.sum() - found for histogram, found in zip(reached, (tp, fp), strict=True))
    return np.stack([np.stack([tp, fp, fn, tn], axis=-1), np.stack([fn, tn, tp, fp], axis=-1)])
