"""What goes between MIScnn's world and ours: its samples read like our cases, our batches handed on like its own."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from rareseg.datasets import DataError
from rareseg.pipeline.batches import Batches


@dataclass(frozen=True, eq=False)
class Loaded:
    """A sample of MIScnn whose subfunctions have run, readable like a case of ``rareseg.datasets``.

    Args:
        sample: The sample.
        number: Tells samples with the same id apart that went through other subfunctions.
    """

    sample: Any
    number: int = 0
    part = ""
    spacing = None
    info: ClassVar[Mapping[str, Any]] = types.MappingProxyType({})

    @property
    def id(self) -> str:
        """The id that MIScnn knows it by."""
        return str(self.sample.index)

    @property
    def group(self) -> str:
        """MIScnn knows no groups: the id."""
        return self.id

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels per axis."""
        return self.sample.img_data.shape[:-1]

    @property
    def channels(self) -> int:
        """Channels of the image."""
        return self.sample.img_data.shape[-1]

    def state(self) -> list[Any]:
        """Return what tells it from others in the cache."""
        return [self.id, self.number]

    def kind(self, image: np.ndarray) -> str:  # noqa: ARG002
        """Return what sort of picture it is: MIScnn does not say."""
        return ""

    def read_image(self) -> np.ndarray:
        """Return the intensities, (*space, C), float32."""
        return np.asarray(self.sample.img_data, np.float32)

    def read_label(self) -> np.ndarray:
        """Return the classes, (*space), uint8; negative values, as MIScnn's padding leaves them, are background."""
        values = np.asarray(self.sample.seg_data)[..., 0]
        if values.max() >= self.sample.classes or (values != np.rint(values)).any():
            raise DataError(
                f"{self.id}: labels hold {values.max():g}, expected whole numbers below {self.sample.classes}, the "
                "classes that the interface states. Map the values (a mask of 0 and 255 to 0 and 1), or state more "
                "classes."
            )
        return np.maximum(values, 0).astype(np.uint8)

    def read_mask(self) -> None:
        """Return None: MIScnn knows no fields of view."""

    def image_slabs(self) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        """Yield the image in one part, with its place."""
        yield (slice(None),) * len(self.shape), self.read_image()

    def label_slabs(self) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        """Yield the label likewise."""
        yield (slice(None),) * len(self.shape), self.read_label()


class Feed(keras.utils.PyDataset):
    """Batches for MIScnn's networks: labels are one-hot, a row of zeros where a pixel has no class.

    Args:
        batches: What is handed on.
        classes: Classes.
        epochs: Yields the epoch that is next; None for validation, which has one.
    """

    def __init__(self, batches: Batches, classes: int, epochs: Iterator[int] | None) -> None:
        """Offer ``fit`` a ``clock``, a callback that sets the epoch; see the class."""
        super().__init__(workers=batches.workers)
        self._batches, self._classes = batches, np.arange(classes, dtype=np.uint8)
        if epochs is not None:
            self.clock = keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda *_: setattr(batches, "epoch", next(epochs))
            )

    def __len__(self) -> int:
        """Return the batches per epoch."""
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images (B, *space, C) and labels (B, *space, K), both float32."""
        images, labels = self._batches[index]
        return images, (labels[..., None] == self._classes).astype(np.float32)
