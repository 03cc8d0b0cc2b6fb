"""What MIScnn 1.4.0, written for TensorFlow 2.7, needs to run on today's TensorFlow and Keras.

Its modules get the cures below, each beside what fails without it; nothing else is changed, and another version is used
as it is. MIScnn itself is imported by ``miscnn``, the bridge, alone.
"""

import importlib.metadata
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from functools import partial, wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import keras
import numpy as np

VERSION = "1.4.0"


def check_version() -> bool:
    """Check that MIScnn can run here, and warn of a version that the cures were not made for.

    Returns:
        Whether it is the version that they were made for.

    Raises:
        ImportError: MIScnn is missing, or Keras does not run on TensorFlow.
    """
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


def stand_in_for_tensorflow_addons() -> None:
    """Offer the one layer that MIScnn takes from ``tensorflow_addons``, which is no longer maintained."""
    name = "tensorflow_addons"
    if name in sys.modules or importlib.util.find_spec(name):
        return
    addons = types.ModuleType(name, "Stands in for tensorflow_addons; made by rareseg.pipeline.miscnn.")
    addons.__spec__ = ModuleSpec(name, None)
    layer = partial(keras.layers.GroupNormalization, groups=-1)
    addons.__dict__["layers"] = types.SimpleNamespace(InstanceNormalization=layer)
    sys.modules[name] = addons


def cure(module: Callable[[str], Any]) -> None:
    """Make MIScnn 1.4.0 run on Keras 3 and batchgenerators 0.25; a second call changes nothing.

    Args:
        module: Returns a module of MIScnn by its name.
    """
    network = module("neural_network.model")
    if network.Adam.__module__ == __name__:
        return
    network.Adam = _adam
    network.DataGenerator = _with_own_feed(network.DataGenerator)
    network.Neural_Network.build_model = _with_plain_fit(network.Neural_Network.build_model)
    network.Neural_Network.load = _with_plain_fit(network.Neural_Network.load)
    feeder = module("neural_network.data_generator").DataGenerator
    feeder.__init__ = _with_base_constructor(feeder.__init__)
    module("processing.preprocessor").to_categorical = _to_categorical
    module("evaluation.cross_validation").Adam = _adam
    for name in ("cross_validation", "split_validation"):
        module(f"evaluation.{name}").ModelCheckpoint = _model_checkpoint
    for name in ("resize", "resampling"):
        subfunction = module(f"processing.subfunctions.{name}")
        subfunction.augment_resize = _without(subfunction.augment_resize, "cval_seg")
        subfunction.resize_segmentation = _without(subfunction.resize_segmentation, "cval")


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
        self.model.fit = _with_own_order(_without(self.model.fit, "workers", "max_queue_size"))

    return wrapped


def _with_own_order(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``fit``: batches of our `Preprocessor` come in their own order and know the epoch; others as ever."""

    @wraps(fit)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        data: Any = args[0] if args else kwargs.get("x")
        if hasattr(data, "clock"):
            kwargs |= {"shuffle": False, "callbacks": [*(kwargs.get("callbacks") or ()), data.clock]}
        return fit(*args, **kwargs)

    return wrapped


def _with_own_feed(generator: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the maker of batches for training: a preprocessor that has a ``feed`` makes them itself."""

    @wraps(generator, updated=())
    def wrapped(
        sample_list: Any,
        preprocessor: Any,
        training: bool = False,
        validation: bool = False,
        shuffle: bool = False,
        iterations: int | None = None,
    ) -> Any:
        if training and hasattr(preprocessor, "feed"):
            return preprocessor.feed(sample_list, validation, shuffle, iterations)
        return generator(sample_list, preprocessor, training, validation, shuffle, iterations)

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
