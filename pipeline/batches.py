"""Batches for training: which samples come when, and where their pixels come from."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from rareseg.datasets import DataError
from rareseg.pipeline.patches import Patch, Sample, box, sample
from rareseg.pipeline.randomness import generator
from rareseg.pipeline.settings import Settings

MEMORY_LIMIT = 2**30  # bytes; larger sets stay mapped, and the system keeps in memory what fits
Batch = tuple[np.ndarray, np.ndarray]


class Batches(keras.utils.PyDataset):
    """Images (B, *space, C), float32, and labels (B, *space), uint8, in a seeded order.

    A batch is a pure function of (seed, epoch, index): the same for any number of workers and after resuming. An epoch
    is a permutation of the samples; its last batch is filled from a second one, so that all batches have one size.

    With ``fit``, pass ``shuffle=False`` (Keras would shuffle the batches by Python's global state) and let a callback
    set ``epoch`` when an epoch begins, since ``fit`` calls ``on_epoch_end`` before the first one, too:
    ``keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: setattr(batches, "epoch", epoch))``.

    Args:
        cases: Cases of ``rareseg.datasets``, prepared cases, or patches from ``draw_patches``.
        config: Settings of the pipeline.
        seed: Seed of the order.
        shuffle: Whether samples are shuffled; False repeats their own order.
        workers: Threads that make batches ahead of the training; always 1 with ``backend: miscnn``.
    """

    def __init__(
        self,
        cases: Sequence[Any],
        config: Settings | Mapping[str, Any],
        *,
        seed: int,
        shuffle: bool = True,
        workers: int = 1,
    ) -> None:
        """Prepare the cases; see the class."""
        settings = Settings.of(config)
        super().__init__(workers=1 if settings.backend == "miscnn" else workers)
        self.settings, self.seed, self.shuffle = settings, seed, shuffle
        self.epoch = 0
        self._samples = [sample(case, settings) for case in cases]
        _check(self._samples, settings)
        self.steps = settings.steps_per_epoch or -(-len(self._samples) // settings.batch_size)
        self._plan = (-1, np.empty(0, int))
        self._make = _maker(self._samples, settings, seed)

    def __len__(self) -> int:
        """Return the batches per epoch."""
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        """Return batch ``index`` of the current epoch."""
        return self._make(self.samples(index), self.epoch, index)

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
            order = _permutations(len(self._samples), self.steps * self.settings.batch_size, self._shuffler(epoch))
            self._plan = (epoch, order)
        return order

    def _shuffler(self, epoch: int) -> Callable[[int], np.ndarray]:
        return generator(self.seed, "order", epoch).permutation if self.shuffle else np.arange


def _permutations(samples: int, needed: int, permutation: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return permutations one after the other, cut to the length that is needed."""
    return np.concatenate([permutation(samples) for _ in range(-(-needed // samples))])[:needed]


def _check(samples: Sequence[Sample], settings: Settings) -> None:
    """Refuse what cannot be stacked or does not suit the network."""
    if not samples:
        raise DataError("there are no cases to make batches of")
    if settings.analysis == "patches" and not all(isinstance(one, Patch) for one in samples):
        raise DataError("analysis `patches` takes samples from draw_patches, got whole cases")
    first, factor = samples[0], settings.size_factor
    for one in samples:
        if any(length % factor for length in one.shape):
            raise DataError(
                f"{one.id} is {[*one.shape]}, the network needs multiples of {factor}; set `size` accordingly"
            )
        if settings.batch_size > 1 and (one.shape, one.channels) != (first.shape, first.channels):
            raise DataError(
                f"cases of one batch must agree: {first.id} is {[*first.shape, first.channels]}, {one.id} is "
                f"{[*one.shape, one.channels]}; set `size` and `channels`, or batch_size 1"
            )


def _maker(samples: Sequence[Sample], settings: Settings, seed: int) -> Callable[[Sequence[Sample], int, int], Batch]:
    """Return the function that turns (samples, epoch, index) into a batch."""
    if settings.backend == "miscnn":
        from rareseg.pipeline.miscnn import StockBatch  # here: GPL, TensorFlow only, and absent in many installations

        return StockBatch(samples, settings, seed)
    return NativeBatch(samples, settings)


class NativeBatch:
    """Copies samples out of prepared cases, which are held in memory where they are small, else mapped.

    Args:
        samples: All samples of the run.
        settings: ``cache`` is used.
    """

    def __init__(self, samples: Sequence[Sample], settings: Settings) -> None:
        """Read the sources if they may and can be held."""
        sources = {one.source for one in samples}
        size = sum(math.prod(source.shape) * (4 * source.channels + 1) for source in sources)
        hold = settings.cache == "memory" and size <= MEMORY_LIMIT
        self._held = {source: (np.array(source.image), np.array(source.label)) for source in sources} if hold else {}

    def __call__(self, samples: Sequence[Sample], *_: int) -> Batch:
        """Return the batch; epoch and index do not matter where nothing is drawn."""
        shape = (len(samples), *samples[0].shape)
        images = np.empty((*shape, samples[0].channels), np.float32)
        labels = np.empty(shape, np.uint8)
        for place, one in enumerate(samples):
            image, label = self._held.get(one.source) or (one.source.image, one.source.label)
            window = box(one.corner, one.shape)
            images[place], labels[place] = image[window], label[window]
        return images, labels
