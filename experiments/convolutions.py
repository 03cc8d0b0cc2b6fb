"""Networks as lists of convolutions, for multiply-accumulates and activations; a test holds them against built ones."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rareseg.experiments import catalogue


@dataclass(frozen=True)
class Convolution:
    """One convolution.

    Attributes:
        width: Of the kernel.
        channels_in: Channels of its input.
        channels_out: Channels of its output.
        level: How often the sides were halved before its output.
        grows: How many of these halvings it undoes: a transposed convolution of this stride (as a power of two) uses
            its whole kernel at each pixel of its input.
    """

    width: int
    channels_in: int
    channels_out: int
    level: int
    grows: int = 0

    def macs(self, shape: Sequence[int]) -> int:
        """Return the multiply-accumulates for an input of (*space)."""
        taps = self.width ** len(shape)
        return taps * self.channels_in * self.channels_out * _pixels(shape, self.level + self.grows)

    def positions(self, shape: Sequence[int]) -> int:
        """Return the pixels of the output."""
        return _pixels(shape, self.level)


def _pixels(shape: Sequence[int], level: int) -> int:
    return math.prod(side // 2**level for side in shape)


def macs(network: Mapping[str, Any], shape: Sequence[int], channels: int, classes: int = 2) -> int:
    """Return the multiply-accumulates of all convolutions in one forward pass of one sample."""
    return sum(one.macs(shape) for one in convolutions(network, channels, classes))


def activations(network: Mapping[str, Any], shape: Sequence[int], channels: int, classes: int = 2) -> int:
    """Return the numbers that all convolutions put out for one sample."""
    return sum(one.channels_out * one.positions(shape) for one in convolutions(network, channels, classes))


def parameters(network: Mapping[str, Any], rank: int, channels: int, classes: int = 2) -> int:
    """Return the weights of all kernels, for images of so many axes."""
    found = convolutions(network, channels, classes)
    return sum(one.width**rank * one.channels_in * one.channels_out for one in found)


def convolutions(network: Mapping[str, Any], channels: int, classes: int) -> list[Convolution]:
    """Return the convolutions of a network, in any order."""
    options = catalogue.filled(network, catalogue.networks())
    families = {"filters": _unet, "stem_filters": _focusnet, "attention_gates": _attention_unet}
    family = next((family for option, family in families.items() if option in options), None)
    if family is None:
        raise ValueError(f"the convolutions of {network['name']} are not known here; list them as `_unet` does")
    return list(family(options, channels, classes))


def _unet(options: Mapping[str, Any], channels: int, classes: int) -> Iterator[Convolution]:
    """U-Net: a pair per level, a way down, a way up (models/unet.py)."""
    filters = [options["filters"] * 2**level for level in range(options["depth"] + 1)]
    entering = channels
    for level, n in enumerate(filters):
        yield Convolution(3, entering, n, level)
        yield Convolution(3, n, n, level)
        entering = n
        if level < options["depth"]:
            if options["downsampling"] == "stride":
                yield Convolution(3, n, n, level + 1)
            yield Convolution(2, 2 * n, n, level, grows=int(options["upsampling"] == "transpose"))
            yield Convolution(3, 2 * n, n, level)
            yield Convolution(3, n, n, level)
    yield Convolution(1, filters[0], classes, 0)


def _residual(entering: int, n: int, level: int, down: bool = False) -> Iterator[Convolution]:
    """Two convolutions, and a third on the shortcut where the shape changes (models/blocks.py)."""
    yield Convolution(3, entering, n, level)
    yield Convolution(3, n, n, level)
    if down or entering != n:
        yield Convolution(1, entering, n, level)


# Channels in and out of FocusNet's residual blocks, in multiples of the width, and how often the sides were halved.
FOCUSNET_DOWN = (
    *((2, 2, 2), (4, 4, 3)),  # branch A, after a first block that enters from its stem
    *((2, 2, 1), (4, 4, 2), (8, 8, 3), (16, 16, 4)),  # branch B
)
FOCUSNET_FLAT = (
    *((1, 2, 1), (2, 4, 2), (4, 8, 3), (12, 8, 2), (6, 4, 1)),  # branch A; a last block enters with its stem
    *((2, 2, 0), (2, 4, 1), (4, 8, 2), (8, 16, 3), (16, 8, 3), (8, 4, 2), (4, 2, 1)),  # branch B
)
FOCUSNET_UP = (
    *((8, 8, 2), (8, 4, 1), (4, 2, 0)),  # branch A
    *((16, 8, 3), (8, 4, 2), (4, 2, 1), (2, 1, 0)),  # branch B
)


def _focusnet(options: Mapping[str, Any], channels: int, classes: int) -> Iterator[Convolution]:
    """FocusNet: branch A, branch B, tail and heads (models/focusnet.py)."""
    w = options["width"]
    stem = options["stem_filters"] or w
    yield Convolution(3, channels, stem, 0)
    yield Convolution(7, channels, 2 * w, 0)
    yield from _residual(stem, w, 1, down=True)
    for entering, n, level in FOCUSNET_DOWN:
        yield from _residual(entering * w, n * w, level, down=True)
    for entering, n, level in FOCUSNET_FLAT:
        yield from _residual(entering * w, n * w, level)
    yield from _residual(stem + 2 * w, 2 * w, 0)
    for entering, n, level in FOCUSNET_UP:
        yield Convolution(2, entering * w, n * w, level)
    tail = [3 * w, w, max(4, w // 2), max(4, w // 8)]
    for entering, n in itertools.pairwise(tail):
        yield from _residual(entering, n, 0)
    last = tail[-1]
    if options["side_outputs"]:
        for entering in (8, 4, 2):
            yield Convolution(3, entering * w, w, 0)
            yield Convolution(1, w, classes, 0)
        yield Convolution(1, last, classes, 0)
        yield Convolution(3, 4 * classes, w, 0)
        last = w
    yield Convolution(1, last, classes, 0)


def _attention_unet(options: Mapping[str, Any], channels: int, classes: int) -> Iterator[Convolution]:
    """Attention U-Net: encoder with the image beside it, gates, ways up, heads (models/attention_unet.py)."""
    w = options["width"]
    skips = (w, 2 * w, 4 * w, 2 * w)

    def pair(entering: int, n: int, level: int) -> Iterator[Convolution]:
        yield Convolution(3, entering, n, level)
        yield Convolution(3, n, n, level)

    entering = channels
    for level, n in enumerate(skips):
        if level and options["multi_input"]:
            yield Convolution(3, channels, w * 2**level, level)
            entering += w * 2**level
        yield from pair(entering, n, level)
        entering = n
    yield from pair(entering, 16 * w, 4)
    # level, channels of the signal, channels of the comparison, log2 of the stride
    gates = [(3, 16 * w, 4 * w, 0), (2, 3 * w, 2 * w, 0), (1, 3 * w, w, 1)]
    for level, signal, n, grows in gates if options["attention_gates"] else []:
        yield Convolution(1, signal, signal, level + 1 + grows)
        yield Convolution(2, skips[level], n, level + 1)
        yield Convolution(1, signal, n, level + 1 + grows)
        yield Convolution(3, n, n, level + 1, grows=grows)
        yield Convolution(1, n, 1, level + 1)
        yield Convolution(1, skips[level], skips[level], level)
    entering = 16 * w
    for level, n in ((3, w), (2, 2 * w), (1, w), (0, w)):
        yield Convolution(3, entering, n, level, grows=1)
        entering = n + skips[level]
        if options["deep_supervision"] or not level:
            yield from pair(entering, w * 2**level, level)
            yield Convolution(1, w * 2**level, classes, level)
