"""What a run costs, by arithmetic from the configuration: no backend is imported, nothing is built.

A network is a list of convolutions; a test holds their multiply-accumulates against built models. Time is a
forecast: 6 operations per multiply-accumulate in training, 2 in prediction, at a stated speed.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rareseg import datasets
from rareseg.experiments import catalogue
from rareseg.experiments.grid import Point

FLOPS = 3e10
"""Operations per second and thread that these networks reach (measured on a server core with AVX-512)."""


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


def convolutions(network: Mapping[str, Any], channels: int, classes: int) -> list[Convolution]:
    """Return the convolutions of a network, in any order."""
    options = catalogue.options(network)
    families = {"filters": _unet, "stem_filters": _focusnet, "attention_gates": _attention_unet}
    family = next(family for option, family in families.items() if option in options)
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


def _focusnet(options: Mapping[str, Any], channels: int, classes: int) -> Iterator[Convolution]:
    """FocusNet: branch A, branch B, tail and heads (models/focusnet.py)."""
    w = options["width"]
    stem = options["stem_filters"] or w
    yield Convolution(3, channels, stem, 0)
    yield Convolution(7, channels, 2 * w, 0)
    downs = [
        (stem, w, 1),
        (2 * w, 2 * w, 2),
        (4 * w, 4 * w, 3),
        (2 * w, 2 * w, 1),
        (4 * w, 4 * w, 2),
        (8 * w, 8 * w, 3),
        (16 * w, 16 * w, 4),
    ]
    flats = [
        (w, 2 * w, 1),
        (2 * w, 4 * w, 2),
        (4 * w, 8 * w, 3),
        (12 * w, 8 * w, 2),
        (6 * w, 4 * w, 1),
        (stem + 2 * w, 2 * w, 0),
    ]
    flats += [
        (2 * w, 2 * w, 0),
        (2 * w, 4 * w, 1),
        (4 * w, 8 * w, 2),
        (8 * w, 16 * w, 3),
        (16 * w, 8 * w, 3),
        (8 * w, 4 * w, 2),
        (4 * w, 2 * w, 1),
    ]
    ups = [
        (8 * w, 8 * w, 2),
        (8 * w, 4 * w, 1),
        (4 * w, 2 * w, 0),
        (16 * w, 8 * w, 3),
        (8 * w, 4 * w, 2),
        (4 * w, 2 * w, 1),
        (2 * w, w, 0),
    ]
    tail = [w, max(4, w // 2), max(4, w // 8)]
    flats += list(zip([3 * w, *tail[:2]], tail, [0, 0, 0], strict=True))
    for entering, n, level in downs:
        yield from _residual(entering, n, level, down=True)
    for entering, n, level in flats:
        yield from _residual(entering, n, level)
    for entering, n, level in ups:
        yield Convolution(2, entering, n, level)
    if options["side_outputs"]:
        for entering in (8 * w, 4 * w, 2 * w):
            yield Convolution(3, entering, w, 0)
            yield Convolution(1, w, classes, 0)
        yield Convolution(1, tail[2], classes, 0)
        yield Convolution(3, 4 * classes, w, 0)
    yield Convolution(1, w if options["side_outputs"] else tail[2], classes, 0)


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


def plan(points: Sequence[Point]) -> list[str]:
    """Return a line per kind of run, and the sum: steps, multiply-accumulates, hours, memory."""
    kinds: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        kinds.setdefault((point.dataset, point.network), []).append(point)
    lines = [_plan_line(dataset, network, same) for (dataset, network), same in kinds.items()]
    total = _duration(sum(run_hours(point.dataset, point.settings) for point in points))
    return [
        *lines,
        f"in all about {total}, one run at a time; forecast by arithmetic for {FLOPS / 1e9:.0f} Gflop/s a thread",
    ]


def _plan_line(dataset: str, network: str, same: Sequence[Point]) -> str:
    settings = same[0].settings
    rows, columns = _shape(settings)
    work = macs(settings["network"], (rows, columns), settings["dataset"]["channels"]) / 1e9
    batch = settings["training"]["batch_size"]
    return (
        f"{dataset} {network}: {len(same)} runs of {steps(dataset, settings):,} steps, batch {batch} of "
        f"{rows} x {columns}, {work:.2f} G multiply-accumulates per sample; about "
        f"{_duration(run_hours(dataset, settings))} and {memory_gib(settings):.1f} GiB per run"
    )


def steps(dataset: str, settings: Mapping[str, Any]) -> int:
    """Return the steps of a run, from the number of cases that the paper used (or of the phantoms)."""
    training = settings["training"]
    per_epoch = training["steps_per_epoch"] or math.ceil(_samples(dataset, settings) / training["batch_size"])
    return training["steps"] or training["epochs"] * per_epoch


def _samples(dataset: str, settings: Mapping[str, Any]) -> int:
    """Return the training samples of an epoch."""
    if settings["pipeline"]["analysis"] == "patches":
        draw = settings["pipeline"]["patches"]
        return round(
            draw["count"] * (settings["dataset"]["split"]["fractions"][0] if draw["split_by"] == "patch" else 1)
        )
    phantom = settings["dataset"]["phantom"]
    return round(
        (phantom["cases"] if phantom else datasets.about(dataset).cases) * settings["dataset"]["split"]["fractions"][0]
    )


def run_hours(dataset: str, settings: Mapping[str, Any]) -> float:
    """Return the forecast hours of one training."""
    work = 6 * macs(settings["network"], _shape(settings), settings["dataset"]["channels"])
    samples = steps(dataset, settings) * settings["training"]["batch_size"]
    return work * samples / (FLOPS * settings["training"]["threads"]) / 3600


def memory_gib(settings: Mapping[str, Any]) -> float:
    """Return the forecast memory of one run: the backend, and 4 bytes x 5 for each activation of a batch."""
    numbers = activations(settings["network"], _shape(settings), settings["dataset"]["channels"])
    return 1.0 + numbers * settings["training"]["batch_size"] * 4 * 5 / 2**30


def free_memory_gib() -> float:
    """Return the memory that can be had without swapping."""
    path = Path("/proc/meminfo")
    if path.is_file():
        fields = dict(line.split(":") for line in path.read_text(encoding="utf-8").splitlines())
        return int(fields["MemAvailable"].split()[0]) / 2**20
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _shape(settings: Mapping[str, Any]) -> Sequence[int]:
    """Return the spatial shape of a training sample."""
    return (
        settings["pipeline"]["patch"] if settings["pipeline"]["analysis"] == "patches" else settings["dataset"]["size"]
    )


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"
