"""Batches for training and validation: which samples come when, and where their pixels come from."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from rareseg.datasets import DataError
from rareseg.pipeline.augment import Site, apply, draw
from rareseg.pipeline.patches import Patch, Sample, sample
from rareseg.pipeline.preprocess import Prepared
from rareseg.pipeline.randomness import generator
from rareseg.pipeline.settings import Settings
from rareseg.pipeline.stitching import starts

# Bytes; larger sets stay mapped, and the system keeps in memory what fits. A fixed number, not a share of what is free:
# several runs start at once, and each would count the same memory as its own.
MEMORY_LIMIT = 2**30
Batch = tuple[np.ndarray, np.ndarray]


class Batches(keras.utils.PyDataset):
    """Images (B, *space, C), float32, and labels (B, *space), uint8, in a seeded order.

    A batch is a pure function of (seed, epoch, index): the same for any number of workers and after resuming. An epoch
    of training is a permutation of the samples; its last batch is filled from a second one, so that all batches have
    one size. An epoch of validation is every sample once, in order, not augmented; its last batch may be smaller.

    Samples are the cases themselves (``whole``), one crop of each (``crop``), all windows of each (``grid``), or the
    given patches. A voxel without a class, as outside a case with ``outside: unlabelled``, has the label 255.

    With ``fit``, pass ``shuffle=False`` (Keras would shuffle the batches by Python's global state) and let a callback
    set ``epoch`` when an epoch begins, since ``fit`` calls ``on_epoch_end`` before the first one, too:
    ``keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: setattr(batches, "epoch", epoch))``.

    Args:
        cases: Cases of ``rareseg.datasets``, prepared cases, or patches from ``draw_patches``.
        config: Settings of the pipeline.
        seed: Seed of the order and of the augmentation.
        training: Whether samples are shuffled and augmented.
        shuffle: Whether training samples are shuffled; False repeats their own order.
        workers: Threads that make batches ahead of the training; always 1 with ``backend: miscnn``.

    Raises:
        DataError: There are no cases, they cannot be prepared, do not suit the network or the analysis, or cannot be
            stacked into one batch.
        ValueError: A setting is not possible, or not with this backend or for validation.
        ImportError: ``backend: miscnn`` without MIScnn, or without TensorFlow.
    """

    def __init__(
        self,
        cases: Sequence[Any],
        config: Settings | Mapping[str, Any],
        *,
        seed: int,
        training: bool = True,
        shuffle: bool = True,
        workers: int = 1,
    ) -> None:
        """Prepare the cases; see the class."""
        settings = Settings.of(config)
        super().__init__(workers=1 if settings.backend == "miscnn" else workers)
        if not training:
            _refuse_whole_validation(settings)
            settings = replace(settings, augment=None, mirror_tta=False, steps_per_epoch=None)
        self.settings, self.seed, self.training, self.shuffle = settings, seed, training, shuffle and training
        self.epoch = 0
        self._samples = [one for case in cases for one in _windows(sample(case, settings), settings)]
        _check(self._samples, settings)
        self.steps = settings.steps_per_epoch or -(-len(self._samples) // settings.batch_size)
        self._plan = (-1, np.empty(0, int))
        self._make = _maker(self._samples, settings, seed, training)
        self._fixed = not training and settings.validation_crops == "fixed"

    def __len__(self) -> int:
        """Return the batches per epoch."""
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        """Return batch ``index`` of the current epoch."""
        return self._make(self.samples(index), 0 if self._fixed else self.epoch, index)

    def samples(self, index: int) -> list[Sample]:
        """Return the prepared cases or patches of a batch of the current epoch."""
        if not 0 <= index < self.steps:
            raise IndexError(f"an epoch has {self.steps} batches, there is no batch {index}")
        first = index * self.settings.batch_size
        return [self._samples[place] for place in self._order(self.epoch)[first : first + self.settings.batch_size]]

    def ids(self, index: int) -> list[str]:
        """Return the ids of the cases or patches of a batch of the current epoch."""
        return [one.id for one in self.samples(index)]

    def on_epoch_end(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1

    def _order(self, epoch: int) -> np.ndarray:
        """Return the places of an epoch's samples; threads that ask at once may both compute it, and get the same."""
        planned, order = self._plan
        if planned != epoch:
            needed = self.steps * self.settings.batch_size if self.training else len(self._samples)
            order = _permutations(len(self._samples), needed, self._shuffler(epoch))
            self._plan = (epoch, order)
        return order

    def _shuffler(self, epoch: int) -> Callable[[int], np.ndarray]:
        return generator(self.seed, "order", epoch).permutation if self.shuffle else np.arange


def _permutations(samples: int, needed: int, permutation: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return permutations one after the other, cut to the length that is needed."""
    return np.concatenate([permutation(samples) for _ in range(-(-needed // samples))])[:needed]


def _refuse_whole_validation(settings: Settings) -> None:
    if settings.analysis == "crop" and settings.validation_crops == "whole":
        raise ValueError("validation_crops `whole` predicts cases and makes no batches; use rareseg.pipeline.predict")


def _windows(one: Sample, settings: Settings) -> list[Sample]:
    """Return the samples of a case: all windows of a grid, else itself."""
    if settings.analysis not in ("crop", "grid"):
        return [one]
    if isinstance(one, Patch) or settings.patch is None or len(one.shape) != len(settings.patch):
        raise DataError(f"{one.id} is {[*one.shape]}, from which no windows of {settings.patch} can be cut")
    if settings.analysis == "crop":
        return [one]
    axes = zip(one.shape, settings.patch, settings.shared(settings.patch), strict=True)
    # a case smaller than a window lies in its middle
    places = [starts(*axis) if axis[0] > axis[1] else ((axis[0] - axis[1]) // 2,) for axis in axes]
    return [Patch(one, number, corner, settings.patch) for number, corner in enumerate(itertools.product(*places))]


def _check(samples: Sequence[Sample], settings: Settings) -> None:
    """Refuse what cannot be stacked or does not suit the network."""
    if not samples:
        raise DataError("there are no cases to make batches of")
    if settings.analysis == "patches" and not all(isinstance(one, Patch) for one in samples):
        raise DataError("analysis `patches` takes samples from draw_patches, got whole cases")
    factor = settings.size_factor
    shape, channels = _shape(samples[0], settings), samples[0].channels
    for one in samples:
        if any(length % factor for length in _shape(one, settings)):
            raise DataError(
                f"{one.id} is {[*one.shape]}, the network needs multiples of {factor}; set `size` accordingly"
            )
        if settings.batch_size > 1 and (_shape(one, settings), one.channels) != (shape, channels):
            raise DataError(
                f"cases of one batch must agree: {samples[0].id} is {[*samples[0].shape, channels]}, {one.id} is "
                f"{[*one.shape, one.channels]}; set `size` and `channels`, or batch_size 1"
            )


def _shape(one: Sample, settings: Settings) -> tuple[int, ...]:
    """Return the voxels per axis that a batch holds of a sample."""
    return settings.patch if settings.analysis == "crop" and settings.patch else one.shape


def _maker(
    samples: Sequence[Sample], settings: Settings, seed: int, training: bool
) -> Callable[[Sequence[Sample], int, int], Batch]:
    """Return the function that turns (samples, epoch, index) into a batch."""
    if settings.backend == "miscnn":
        from rareseg.pipeline.miscnn import StockBatch  # here: GPL, TensorFlow only, and absent in many installations

        return StockBatch(samples, settings, seed)
    return NativeBatch(samples, settings, seed, training)


@dataclass(frozen=True, eq=False)
class Held:
    """A prepared case with image and label in memory; what augmentation derives from them stays where it is."""

    case: Prepared
    image: np.ndarray
    label: np.ndarray

    @property
    def coefficients(self) -> np.ndarray:
        """Those of the case."""
        return self.case.coefficients

    @property
    def statistics(self) -> np.ndarray:
        """Those of the case."""
        return self.case.statistics


class NativeBatch:
    """Makes batches of prepared cases, which are held in memory where they are small, else mapped.

    Args:
        samples: All samples of the run.
        settings: Of the pipeline.
        seed: Seed of what is drawn.
        training: Whether this is training, which draws other numbers than validation.
    """

    def __init__(self, samples: Sequence[Sample], settings: Settings, seed: int = 0, training: bool = True) -> None:
        """Read the sources if they may and can be held."""
        sources = {one.source for one in samples}
        size = sum(math.prod(source.shape) * (4 * source.channels + 1) for source in sources)
        hold = settings.cache == "memory" and size <= MEMORY_LIMIT
        self._held = {one: Held(one, np.array(one.image), np.array(one.label)) for one in sources} if hold else {}
        self._settings, self._seed, self._training = settings, seed, training

    def __call__(self, samples: Sequence[Sample], epoch: int, index: int) -> Batch:
        """Return the batch of an epoch; its samples draw one after the other from a generator of its own."""
        shape = (len(samples), *_shape(samples[0], self._settings))
        images = np.empty((*shape, samples[0].channels), np.float32)
        labels = np.empty(shape, np.uint8)
        purpose = "augment" if self._training else "validate"
        random = generator(self._seed, purpose, epoch, index)
        for place, one in enumerate(samples):
            drawn = draw(self._settings, random, self._site(one), one.channels)
            apply(drawn, self._held.get(one.source, one.source), self._settings, images[place], labels[place])
        return images, labels

    def _site(self, one: Sample) -> Site:
        if self._settings.analysis != "crop" or self._settings.patch is None:
            return Site(one.source.shape, one.shape, one.corner)
        foreground = one.source.foreground if self._settings.foreground else ()
        return Site(one.shape, self._settings.patch, None, foreground)
