"""Trains one network with one loss. Kill it, start it again: the weights are the same to the last bit.

The compiled step is the slow part of a short run, so one ``Session`` holds the losses of a table and picks one by a
variable: runs that differ in the loss alone share it.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from rareseg import losses, models
from rareseg.experiments import checkpoint, store
from rareseg.experiments.events import EventFile

HISTORY = ("epoch", "step", "loss", "jaccard", "dsc", "val_loss", "val_jaccard", "val_dsc", "learning_rate", "seconds")


class Diverged(RuntimeError):
    """The loss or a weight is not finite; names step and cases."""


class Interrupted(RuntimeError):
    """A signal asked the run to stop; its state is saved."""


class Trainee(keras.Model):
    """A network with several losses, one of which is chosen by the variable ``which``.

    Args:
        network: Maps images (B, *space, channels) to logits (B, *space, classes).
        choices: The losses, each (labels, logits) -> scalar.
    """

    def __init__(self, network: keras.Model, choices: Sequence[keras.losses.Loss]) -> None:
        super().__init__()
        self.network = network
        self.choices = list(choices)
        self.which = self.add_weight(name="which", shape=(), dtype="int32", trainable=False, initializer="zeros")
        self.overlap = Overlap(name="overlap")

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the logits."""
        return self.network(x, training=training)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:  # noqa: ARG002
        """Return the chosen loss of a batch, and the network's own weight decay."""
        return sum(self.losses, ops.switch(ops.convert_to_tensor(self.which), self.choices, y, y_pred))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """Count the foreground of the batch."""
        self.overlap.update_state(y, y_pred)
        return self.get_metrics_result()


class Overlap(keras.metrics.Metric):
    """True positive, false positive and false negative foreground pixels of the last batch, (3,)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.counts = self.add_variable(shape=(3,), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # noqa: ARG002
        """Count labels (B, *space) against logits (B, *space, classes); class 0 is the background."""
        truth = ops.cast(y_true, "int32") > 0
        found = ops.argmax(y_pred, axis=-1) > 0
        pairs = [(truth, found), (~truth, found), (truth, ~found)]
        self.counts.assign(ops.stack([ops.sum(ops.cast(a & b, "float32")) for a, b in pairs]))

    def result(self) -> Any:
        """Return the three counts."""
        return self.counts.value


class Session:
    """One compiled step, used for all runs that differ in loss, schedule and data alone.

    Args:
        network: Configuration of the network.
        seed: Seed of its weights and dropout.
        input_shape: (*space, channels).
        optimiser: ``{"name": "adam", "learning_rate": ...}`` or ``sgd`` with ``momentum`` and ``nesterov``.
        choices: Configurations of the losses to choose from.
    """

    def __init__(
        self,
        network: Mapping[str, Any],
        seed: int,
        input_shape: Sequence[int],
        optimiser: Mapping[str, Any],
        choices: Sequence[Mapping[str, Any]],
    ) -> None:
        self.losses = [dict(choice) for choice in choices]
        self.network = models.build({**network, "output": "logits", "seed": seed}, tuple(input_shape), 2)
        self.model = Trainee(self.network, [losses.get({**choice, "from_logits": True}) for choice in choices])
        self.model.compile(optimizer=_optimiser(optimiser), jit_compile="auto" if _compiles_well() else False)
        self.model.build((None, *input_shape))
        self.model.optimizer.build(self.model.trainable_variables)
        self._initial = [np.array(ops.convert_to_numpy(variable)) for variable in self._variables()]

    def reset(self, loss: Mapping[str, Any]) -> None:
        """Go back to the initial weights and choose a loss."""
        for variable, value in zip(self._variables(), self._initial, strict=True):
            variable.assign(value)
        self.model.which.assign(self.losses.index(dict(loss)))

    def step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> tuple[float, np.ndarray]:
        """Take one step; return the loss of the batch, and its true positives, false positives and false negatives."""
        self.model.optimizer.learning_rate = learning_rate
        decay = float(sum(self.network.losses, 0.0))  # learning curves show the loss without it
        self.model.reset_metrics()
        logs = self.model.train_on_batch(images, labels, return_dict=True)
        return float(logs["loss"]) - decay, np.asarray(logs["overlap"], "float64")

    def seeds(self) -> list[list[int]]:
        """Return the state of every random generator of the network."""
        return [ops.convert_to_numpy(variable).tolist() for variable in self._generators()]

    def save(self, path: Path) -> None:
        """Write weights and optimiser."""
        self.model.save_weights(path)

    def restore(self, path: Path, seeds: Sequence[Sequence[int]]) -> None:
        """Read back what ``save`` and ``seeds`` gave."""
        chosen = int(ops.convert_to_numpy(self.model.which))
        self.model.load_weights(path)
        self.model.which.assign(chosen)  # another command may hold the losses in another order
        for variable, value in zip(self._generators(), seeds, strict=True):
            variable.assign(np.asarray(value, "uint32"))

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _generators(self) -> list[Any]:
        return [variable for variable in self.model.variables if "seed_generator" in variable.path]


def _compiles_well() -> bool:
    """Return whether to leave XLA on: on the CPU TensorFlow's doubles the first step and slows the later ones."""
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _optimiser(config: Mapping[str, Any]) -> keras.optimizers.Optimizer:
    if config["name"] == "adam":
        return keras.optimizers.Adam(config["learning_rate"])
    return keras.optimizers.SGD(config["learning_rate"], momentum=config["momentum"], nesterov=config["nesterov"])


def total_steps(training: Mapping[str, Any], steps_per_epoch: int) -> int:
    """Return how many steps a run takes."""
    return training["steps"] or training["epochs"] * steps_per_epoch


def learning_rate(training: Mapping[str, Any], step: int, steps: int) -> float:
    """Return the learning rate of one step, from 0; ``cosine`` falls to 0.

    Source: Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, one period.
    """
    first = training["optimiser"]["learning_rate"]
    return first * (1 + math.cos(math.pi * step / steps)) / 2 if training["schedule"] == "cosine" else first


class Trainer:
    """One run: where it stands, and how it goes on.

    Args:
        session: The compiled step.
        run: Folder of the run.
        batches: Gives batch ``i`` of epoch ``.epoch``, and its case ids by ``.ids(i)``.
        loss: Configuration of the loss.
        training: Values of the section `training`.
    """

    def __init__(
        self, session: Session, run: store.Run, batches: Any, loss: Mapping[str, Any], training: Mapping[str, Any]
    ) -> None:
        self.session, self.run, self.batches, self.training = session, run, batches, training
        self.steps = total_steps(training, len(batches))
        self.step = 0
        self.history: list[list[Any]] = []
        self._sums = np.zeros(5)  # of this epoch: loss, true positives, false positives, false negatives, seconds
        self._saved = time.monotonic()
        session.reset(loss)

    def resume(self) -> int:
        """Go on from the newest checkpoint; return its step, 0 where there is none."""
        found = checkpoint.load(self._checkpoints)
        if found:
            state, weights = found
            self.session.restore(weights, state["seeds"])
            self.step, self.history = state["step"], state["history"]
            self._sums = np.array(state["sums"])
        return self.step

    def fit(self, report: Callable[[Mapping[str, Any]], None], stop: Callable[[], bool]) -> None:
        """Train to the last step, then write weights and history.

        Args:
            report: Takes what happened in an epoch.
            stop: Says whether a signal asked to stop.

        Raises:
            Diverged: If a loss or a weight is not finite.
            Interrupted: If ``stop`` said so; the state was saved.
        """
        with EventFile(self.run.folder / "events") as events:
            while self.step < self.steps:
                self._one_step()
                if self.step % len(self.batches) == 0 or self.step == self.steps:
                    row = self._end_epoch()
                    events.add(row)
                    report(row)
                if stop() and self.step < self.steps:
                    self.save()
                    raise Interrupted(f"stopped after step {self.step} of {self.steps}")
        self._check_weights()
        store.write_rows(self.run.folder / "history.csv", HISTORY, self.history)
        store.write_with(self.run.weights, self.session.network.save_weights)

    def _one_step(self) -> None:
        epoch, index = divmod(self.step, len(self.batches))
        self.batches.epoch = epoch
        images, labels = self.batches[index]
        began = time.perf_counter()
        loss, counts = self.session.step(images, labels, learning_rate(self.training, self.step, self.steps))
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} in step {self.step + 1}, cases {', '.join(map(str, self.batches.ids(index)))}"
            )
        self._sums += [loss, *counts, time.perf_counter() - began]
        self.step += 1

    def _end_epoch(self) -> dict[str, Any]:
        """Close the epoch: one row of history, a checkpoint if the last one is old."""
        epoch, rest = divmod(self.step - 1, len(self.batches))
        loss, tp, fp, fn, seconds = self._sums
        rate = learning_rate(self.training, self.step - 1, self.steps)
        values = [loss / (rest + 1), _share(tp, tp + fp + fn), _share(2 * tp, 2 * tp + fp + fn)]
        self.history.append(
            [epoch + 1, self.step, *map(float, values), None, None, None, rate, round(float(seconds), 3)]
        )
        self._sums = np.zeros(5)
        if time.monotonic() - self._saved >= self.training["checkpoint_seconds"] and self.step < self.steps:
            self.save()
        return dict(zip(HISTORY, self.history[-1], strict=True)) | {"steps": self.steps}

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            Diverged: If a weight is not finite: such a state is never kept.
        """
        self._check_weights()
        state = {"step": self.step, "history": self.history, "sums": self._sums.tolist(), "seeds": self.session.seeds()}
        checkpoint.save(self._checkpoints, self.step, state, self.session.save)
        self._saved = time.monotonic()

    def _check_weights(self) -> None:
        for weight in self.session.network.weights:
            if not np.isfinite(ops.convert_to_numpy(weight)).all():
                raise Diverged(f"the weight {weight.path} is not finite after step {self.step}")

    @property
    def _checkpoints(self) -> Path:
        return self.run.folder / "checkpoint"


def _share(part: float, whole: float) -> float:
    """Return part / whole, 0 where there is nothing."""
    return part / whole if whole else 0.0
