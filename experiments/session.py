"""A compiled step, and what it is made of: the network, its losses, the counts of its foreground.

The step is the slow part of a short run, so one `Session` holds the losses of a table and picks one by a variable: runs
that differ in the loss alone share it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from rareseg import losses, models

Objective = Callable[..., Any]
"""(labels, logits of one output or of several, coarse to fine) -> scalar."""


class Trainee(keras.Model):
    """A network with several objectives, one of which is chosen by the variable ``which``.

    Args:
        network: Maps images (B, *space, channels) to logits (B, *space, classes), or to a list of them, coarse to fine.
        choices: The objectives.
        classes: Number of classes.
    """

    def __init__(self, network: keras.Model, choices: Sequence[Objective], classes: int) -> None:
        super().__init__()
        self.network = network
        self.choices = list(choices)
        self.which = self.add_weight(name="which", shape=(), dtype="int32", trainable=False, initializer="zeros")
        self.overlap = Overlap(classes, name="overlap")

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the logits."""
        return self.network(x, training=training)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:  # noqa: ARG002
        """Return the chosen loss of a batch, and the network's own weight decay."""
        chosen = ops.switch(ops.convert_to_tensor(self.which), self.choices, y, *_listed(y_pred))
        return sum(self.losses, chosen)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """Count the foreground of the batch, in the finest output."""
        self.overlap.update_state(y, _listed(y_pred)[-1])
        return self.get_metrics_result()


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


class Overlap(keras.metrics.Metric):
    """True positive, false positive and false negative pixels of each foreground class in the last batch, (K - 1, 3).

    Args:
        classes: Number of classes, K.
    """

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes
        self.counts = self.add_variable(shape=(classes - 1, 3), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ARG002
        """Count labels (B, *space) against logits (B, *space, K); class 0 is the background, from K on is no class."""
        labels, found = ops.cast(y_true, "int32"), ops.cast(ops.argmax(y_pred, axis=-1), "int32")
        found = ops.where(labels < self.classes, found, ops.zeros_like(found))
        self.counts.assign(ops.stack([_counted(labels == label, found == label) for label in range(1, self.classes)]))

    def result(self) -> Any:
        """Return the counts."""
        return self.counts.value


def _counted(truth: Any, found: Any) -> Any:
    pairs = [(truth, found), (~truth, found), (truth, ~found)]
    return ops.stack([ops.sum(ops.cast(a & b, "float32")) for a, b in pairs])


class Session:
    """One compiled step, used for all runs that differ in loss, schedule and data alone.

    Args:
        network: Configuration of the network.
        seed: Seed of its weights and dropout.
        input_shape: (*space, channels).
        classes: Number of classes.
        training: Values of the section `training`; those of ``grid.COMPILED`` are used.
        choices: Configurations of the losses to choose from.

    Raises:
        ValueError: If there are fewer devices than ``training`` asks for.
    """

    def __init__(
        self,
        network: Mapping[str, Any],
        seed: int,
        input_shape: Sequence[int],
        classes: int,
        training: Mapping[str, Any],
        choices: Sequence[Mapping[str, Any]],
    ) -> None:
        self.losses = [dict(choice) for choice in choices]
        self._devices = training["devices"]
        _share_devices(self._devices)
        with _precision(training["mixed_precision"]):
            self.network = models.build({**network, "output": "logits", "seed": seed}, tuple(input_shape), classes)
            outputs = len(self.network.outputs)
            objectives = [objective(choice, training["supervision"], outputs) for choice in choices]
            self.model = Trainee(self.network, objectives, classes)
            self.model.compile(optimizer=_optimiser(training["optimiser"]), jit_compile=_jit(training["xla"]))
            self.model.build((None, *input_shape))
        self.predictor = models.final(self.network)
        self.model.optimizer.build(self.model.trainable_variables)
        self._initial = self._values()

    def reset(self, loss: Mapping[str, Any]) -> None:
        """Go back to the initial weights and choose a loss."""
        self.model.which.assign(self.losses.index(dict(loss)))
        self._assign(self._initial)

    def step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> tuple[float, np.ndarray]:
        """Take one step; return the loss of the batch and the counts of `Overlap`."""
        self.model.optimizer.learning_rate = learning_rate
        return self._without_decay(self.model.train_on_batch, images, labels)

    def test(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Return loss and counts of a batch as in prediction, without a step."""
        return self._without_decay(self.model.test_on_batch, images, labels)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities or logits of the finest output."""
        with _sharing(len(images), self._devices):
            return self.predictor.predict_on_batch(images)

    def judge(self, logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Return loss and counts of given logits (B, *space, K) of the finest output."""
        chosen = self.model.choices[int(ops.convert_to_numpy(self.model.which))]
        outputs = [ops.convert_to_tensor(logits)] * len(self.network.outputs)
        self.model.overlap.update_state(labels, outputs[-1])
        counts = np.asarray(ops.convert_to_numpy(self.model.overlap.result()), "float64")
        return float(ops.convert_to_numpy(chosen(ops.convert_to_tensor(labels), *outputs))), counts

    def _without_decay(self, act: Callable[..., Any], images: np.ndarray, labels: np.ndarray) -> Any:
        """Call a function of Keras; learning curves show the loss without weight decay."""
        decay = float(sum(self.network.losses, 0.0))
        self.model.reset_metrics()
        with _sharing(len(images), self._devices):
            logs = act(images, labels, return_dict=True)
        return float(logs["loss"]) - decay, np.asarray(logs["overlap"], "float64")

    def save(self, path: Path) -> None:
        """Write all that training changes: weights, optimiser, random generators."""
        # Keras 3.15's save_weights makes an optimiser of its own each time, of which TensorFlow never frees 70 KiB.
        np.savez(path, *self._values())

    def restore(self, path: Path) -> None:
        """Read back what ``save`` wrote; the loss stays as `reset` chose it."""
        with np.load(path, allow_pickle=False) as stored:
            self._assign([stored[name] for name in stored.files])

    def weights(self) -> list[np.ndarray]:
        """Return a copy of the network's weights."""
        return [np.array(ops.convert_to_numpy(weight)) for weight in self.network.weights]

    def assign(self, weights: Sequence[np.ndarray]) -> None:
        """Take back what ``weights`` gave."""
        for variable, value in zip(self.network.weights, weights, strict=True):
            variable.assign(value)

    def _values(self) -> list[np.ndarray]:
        return [np.array(ops.convert_to_numpy(variable)) for variable in self._variables()]

    def _assign(self, values: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)

    def _variables(self) -> list[Any]:
        """Return all that training changes, without the chosen loss: other commands may order the losses otherwise."""
        every = [*self.model.variables, *self.model.optimizer.variables]
        return [variable for variable in every if variable is not self.model.which]


def objective(loss: Mapping[str, Any], supervision: Mapping[str, Any], outputs: int) -> Objective:
    """Return the loss of a network with so many outputs, coarse to fine.

    Args:
        loss: Configuration of the loss.
        supervision: ``final`` (loss of the finest output, None: the same), ``weights`` and ``offset``.
        outputs: Number of outputs; with one, the loss itself.
    """
    main = losses.get({**loss, "from_logits": True})
    if outputs == 1:
        return main
    last = main if supervision["final"] is None else losses.get({**supervision["final"], "from_logits": True})
    each, weights = losses.deep_supervision(
        [*[main] * (outputs - 1), last], supervision["weights"], supervision["offset"]
    )

    def weighted(labels: Any, *logits: Any) -> Any:
        terms = zip(each, weights, logits, strict=True)
        return sum((weight * one(labels, output) for one, weight, output in terms), 0.0)

    return weighted


@contextmanager
def _precision(half: str | None) -> Iterator[None]:
    """Build layers that compute in ``half`` and keep their weights in float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(f"mixed_{half}" if half else before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _share_devices(count: int) -> None:
    """Let so many devices act as one, for networks that are built from now on.

    Raises:
        ValueError: If there are fewer.
    """
    if count == 1:
        return
    found = keras.distribution.list_devices()
    if len(found) < count:
        raise ValueError(f"training.devices: {count}, but this process sees only {len(found)}: {', '.join(found)}")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found[:count]))


@contextmanager
def _sharing(samples: int, devices: int) -> Iterator[None]:
    """Let the devices share a batch; one that they cannot share evenly, as a last one may be, each computes whole."""
    shared = keras.distribution.distribution() if samples % devices else None
    if shared is None:
        yield
        return
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)


def _jit(xla: bool | None) -> Any:
    """Return what Keras' ``jit_compile`` should be; on the CPU TensorFlow's XLA slows the first step and later ones."""
    if xla is not None:
        return xla
    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow as tf

    return "auto" if tf.config.list_physical_devices("GPU") else False


def _optimiser(config: Mapping[str, Any]) -> keras.optimizers.Optimizer:
    if config["name"] == "adam":
        return keras.optimizers.Adam(config["learning_rate"])
    return keras.optimizers.SGD(config["learning_rate"], momentum=config["momentum"], nesterov=config["nesterov"])
