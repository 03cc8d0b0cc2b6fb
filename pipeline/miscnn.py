"""The bridge to MIScnn 1.4.0: import this module first, and stock MIScnn scripts run on today's TensorFlow and Keras.

MIScnn was written for TensorFlow 2.7. Its modules get the cures below, each beside what fails without it; nothing else
is changed, and another version is used as it is. ``Interface`` serves our cases to MIScnn, ``StockBatch`` makes the
batches of ``backend: miscnn``.

MIScnn is licensed under the GPL-3.0; every import of it stands in this file, which nothing loads unless asked to.
"""

import importlib
import importlib.metadata
import importlib.util
import random
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from functools import partial, wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rareseg.pipeline.patches import Sample
from rareseg.pipeline.randomness import generator
from rareseg.pipeline.settings import Settings

VERSION = "1.4.0"
UNLABELLED = 255  # label of a pixel without a class, whose one-hot row is zero


def _is_known_version() -> bool:
    """Say in one sentence what keeps MIScnn from running, and warn of a version that the cures were not made for."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ImportError(
            f"MIScnn needs TensorFlow, Keras runs on {backend}; set KERAS_BACKEND=tensorflow or backend native"
        )
    try:
        found = importlib.metadata.version("miscnn")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(f"MIScnn is missing; install it with: pip install --no-deps miscnn=={VERSION}") from None
    if found != VERSION:
        warnings.warn(f"MIScnn {found} is not {VERSION}: it is used as it is, without our cures", stacklevel=3)
    return found == VERSION


def _stand_in_for_tensorflow_addons() -> None:
    """Offer the one layer that MIScnn takes from ``tensorflow_addons``, which is no longer maintained."""
    name = "tensorflow_addons"
    if name in sys.modules or importlib.util.find_spec(name):
        return
    addons = types.ModuleType(name, "Stands in for tensorflow_addons; made by rareseg.pipeline.miscnn.")
    addons.__spec__ = ModuleSpec(name, None)
    layer = partial(keras.layers.GroupNormalization, groups=-1)
    addons.__dict__["layers"] = types.SimpleNamespace(InstanceNormalization=layer)
    sys.modules[name] = addons


def _cure() -> None:
    """Make MIScnn 1.4.0 run on Keras 3 and batchgenerators 0.25; a second call changes nothing."""
    network = _module("neural_network.model")
    if network.Adam.__module__ == __name__:
        return
    network.Adam = _adam
    network.Neural_Network.build_model = _with_plain_fit(network.Neural_Network.build_model)
    network.Neural_Network.load = _with_plain_fit(network.Neural_Network.load)
    feeder = _module("neural_network.data_generator").DataGenerator
    feeder.__init__ = _with_base_constructor(feeder.__init__)
    _module("processing.preprocessor").to_categorical = _to_categorical
    _module("evaluation.cross_validation").Adam = _adam
    for name in ("cross_validation", "split_validation"):
        _module(f"evaluation.{name}").ModelCheckpoint = _model_checkpoint
    for name in ("resize", "resampling"):
        subfunction = _module(f"processing.subfunctions.{name}")
        subfunction.augment_resize = _without(subfunction.augment_resize, "cval_seg")
        subfunction.resize_segmentation = _without(subfunction.resize_segmentation, "cval")


def _module(name: str) -> Any:
    """Return a module of MIScnn: the attribute ``evaluation.cross_validation`` is a function that hides its module."""
    return importlib.import_module(f"miscnn.{name}")


def _without(function: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """Return the function, made deaf to arguments that it no longer has."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{name: value for name, value in kwargs.items() if name not in names})

    return wrapped


def _adam(lr: float, **kwargs: Any) -> keras.optimizers.Optimizer:
    """Make Adam, whose ``lr`` is ``learning_rate`` now."""
    return keras.optimizers.Adam(learning_rate=lr, **kwargs)


def _with_plain_fit(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method that makes ``self.model``: ``fit`` of that model, and of no other, drops what ``fit`` once took."""

    @wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        method(self, *args, **kwargs)
        self.model.fit = _without(self.model.fit, "workers", "max_queue_size")

    return wrapped


def _with_base_constructor(constructor: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor that never called its base's, which Keras 3 warns of; one worker, as more break MIScnn."""

    @wraps(constructor)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        keras.utils.PyDataset.__init__(self, workers=1)
        constructor(self, *args, **kwargs)

    return wrapped


def _to_categorical(*args: Any, **kwargs: Any) -> np.ndarray:
    """One-hot as float32: float64, as Keras 3 makes it, does not go with the float32 of networks in MIScnn's losses."""
    return keras.utils.to_categorical(*args, **kwargs).astype(np.float32)


def _model_checkpoint(filepath: str, **kwargs: Any) -> keras.callbacks.Callback:
    """Make the callback, whose files must end in ``.keras`` now."""
    return keras.callbacks.ModelCheckpoint(str(Path(filepath).with_suffix(".keras")), **kwargs)


with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore", (DeprecationWarning, SyntaxWarning)
    )  # escapes in MIScnn's strings, when first compiled
    _KNOWN = _is_known_version()
    if _KNOWN:
        _stand_in_for_tensorflow_addons()
    from miscnn import Data_Augmentation, Data_IO, Preprocessor
    from miscnn.data_loading.interfaces.abstract_io import Abstract_IO

    if _KNOWN:
        _cure()


class Interface(Abstract_IO):
    """Serves cases to MIScnn: ``Data_IO(Interface(dataset), input_path="")``.

    Prepared cases need no subfunction of MIScnn: ``Interface(dataclasses.replace(dataset, cases=prepare_all(...)))``.

    Args:
        dataset: What ``rareseg.datasets.open`` returns, or anything with ``cases`` and ``classes``.
    """

    def __init__(self, dataset: Any) -> None:
        """Read the first image, which says how many channels and dimensions there are."""
        image = dataset.cases[0].read_image()
        super().__init__(channels=image.shape[-1], classes=len(dataset.classes), three_dim=image.ndim == 4)
        self._cases = {case.id: case for case in dataset.cases}

    def initialize(self, input_path: str) -> list[str]:  # noqa: ARG002
        """Return the ids in the order of the data set, which knows its own folder."""
        return list(self._cases)

    def load_image(self, i: str) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the image (*space, C) and a dictionary of its own, since MIScnn writes into it."""
        case = self._cases[i]
        facts = {"spacing": case.spacing, "affine": getattr(case, "affine", None)}
        return np.array(case.read_image()), {name: value for name, value in facts.items() if value is not None}

    def load_segmentation(self, i: str) -> np.ndarray:
        """Return the classes, (*space, 1)."""
        return np.array(self._cases[i].read_label())[..., None]

    def save_prediction(self, sample: Any, output_path: str) -> None:
        """Keep a prediction as ``<id>.npz``; probabilities stay what they are, label maps become uint8."""
        prediction = sample.pred_data
        if not np.issubdtype(prediction.dtype, np.floating):
            prediction = prediction.astype(np.uint8)
        np.savez_compressed(Path(output_path) / f"{sample.index}.npz", prediction=prediction)

    def load_prediction(self, i: str, output_path: str) -> np.ndarray:
        """Return what ``save_prediction`` kept."""
        with np.load(Path(output_path) / f"{i}.npz", allow_pickle=False) as stored:
            return stored["prediction"]

    @staticmethod
    def check_file_termination(termination: str) -> bool:  # noqa: ARG004
        """Return False: cases come from ``rareseg.datasets``, not from files that MIScnn finds."""
        return False


class StockBatch:
    """Makes batches by stock MIScnn, in the order of ``Batches``; each sample, also a patch, is a ``fullimage``.

    Every run has objects of its own, since MIScnn's share state through class attributes and default arguments. MIScnn
    draws from Python's and NumPy's global generators, which are seeded from (seed, epoch, index) before each batch.

    Args:
        samples: All samples of the run.
        settings: ``batch_size`` is used.
        seed: Seed of what MIScnn draws.
    """

    def __init__(self, samples: Sequence[Sample], settings: Settings, seed: int) -> None:
        """Set up MIScnn with every switch given; see the class."""
        highest = max(int(source.label.max()) for source in {one.source for one in samples})
        dataset = types.SimpleNamespace(cases=samples, classes=range(max(highest, 1) + 1))
        nothing = Data_Augmentation(
            cycles=1,
            scaling=False,
            rotations=False,
            elastic_deform=False,
            mirror=False,
            brightness=False,
            contrast=False,
            gamma=False,
            gaussian_noise=False,
        )
        files = Data_IO(Interface(dataset), input_path="")
        self._stock = Preprocessor(files, settings.batch_size, data_aug=nothing, analysis="fullimage")
        self._stock.img_queue, self._stock.cache = [], {}
        self._seed = seed

    def __call__(self, samples: Sequence[Sample], epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images (B, *space, C), float32, and labels (B, *space), uint8, 255 where MIScnn gives no class."""
        start = int(generator(self._seed, "miscnn", epoch, index).integers(2**32))
        random.seed(start)
        np.random.seed(start)
        # a sample that stands twice in a batch makes MIScnn hand it over in pieces
        pieces = self._stock.run([one.id for one in samples], training=True)
        images, one_hot = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
        labels = one_hot.argmax(axis=-1).astype(np.uint8)
        labels[one_hot.sum(axis=-1) == 0] = UNLABELLED
        return images, labels
