"""Trains one network with one loss. Kill it, start it again: the weights are the same to the last bit."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Self

import numpy as np
from keras import ops

from rareseg.datasets import whole
from rareseg.experiments import checkpoint, hardware, store
from rareseg.experiments.events import EventFile
from rareseg.experiments.schedule import Watch, learning_rate
from rareseg.experiments.session import Session

HISTORY = ("epoch", "step", "loss", "jaccard", "dsc", "val_loss", "val_jaccard", "val_dsc", "learning_rate", "seconds")
_VARIABLES, _BEST = "variables.npz", "best.npz"
Validate = Callable[[int], tuple[float, np.ndarray]]
"""Epoch, from 0 -> mean loss and counts (K - 1, 3) of the validation cases."""


class Diverged(RuntimeError):
    """The loss or a weight is not finite; names step and cases."""


class Interrupted(RuntimeError):
    """A signal asked the run to stop; its state is saved."""


def total_steps(training: Mapping[str, Any], steps_per_epoch: int) -> int:
    """Return how many steps a run takes at most."""
    return training["steps"] or training["epochs"] * steps_per_epoch


class Trainer:
    """One run: where it stands, and how it goes on.

    Args:
        session: The compiled step.
        run: Folder of the run.
        batches: Gives batch ``i`` of epoch ``.epoch``, and its case ids by ``.ids(i)``, to ``.workers`` threads.
        loss: Configuration of the loss.
        training: Values of the section `training`.
        validate: Looks at the validation cases; None where there are none.
    """

    def __init__(
        self,
        session: Session,
        run: store.Run,
        batches: Any,
        loss: Mapping[str, Any],
        training: Mapping[str, Any],
        validate: Validate | None = None,
    ) -> None:
        self.session, self.run, self.batches, self.training, self.validate = session, run, batches, training, validate
        self.steps = total_steps(training, len(batches))
        self.step = 0
        self.history: list[list[Any]] = []
        self.watch = Watch(training["optimiser"]["learning_rate"])
        self._best: list[np.ndarray] | None = None
        self._sums = np.zeros(2 + session.model.overlap.counts.shape[0] * 3)  # of this epoch: loss, seconds, counts
        self._ahead = Ahead(batches, batches.workers)
        self._saved = time.monotonic()
        session.reset(loss)

    def resume(self, tell: Callable[[str], None] = print) -> int:
        """Go on from the newest checkpoint; return its step, 0 where there is none.

        Args:
            tell: Takes a sentence where the numbers may not be those of an unbroken run, or a checkpoint is damaged.

        Raises:
            ValueError: The checkpoint is another run's.
        """
        found = checkpoint.load(self._checkpoints, tell)
        if found:
            state, folder = found
            if state["run"] != self.run.id:
                raise ValueError(f"{folder} is a checkpoint of {state['run']}, not of this run: remove it")
            if others := sorted(name for name, _ in state.get("versions", {}).items() ^ hardware.versions().items()):
                names = ", ".join(dict.fromkeys(others))
                tell(f"its checkpoint was saved with other versions of {names}: the last digits may differ")
            self.session.restore(folder / _VARIABLES)
            self.step, self.history = state["step"], state["history"]
            self.watch, self._sums = Watch.of(state["watch"]), np.array(state["sums"])
            if (folder / _BEST).is_file():
                with np.load(folder / _BEST, allow_pickle=False) as stored:
                    self._best = [stored[name] for name in stored.files]
        return self.step

    def fit(self, report: Callable[[Mapping[str, Any]], None], stop: Callable[[], bool]) -> None:
        """Train to the last step, or until validation says so, then write the selected weights and the history.

        Args:
            report: Takes what happened in an epoch.
            stop: Says whether a signal asked to stop.

        Raises:
            Diverged: If a loss or a weight is not finite.
            Interrupted: If ``stop`` said so; the state was saved.
        """
        with EventFile(self.run.folder / "events") as events, self._ahead:
            while not self._done():
                self._one_step()
                if self.step % len(self.batches) == 0 or self.step == self.steps:
                    row = self._end_epoch()
                    events.add(row)
                    report(row | {"steps": self.steps})
                if stop() and not self._done():
                    self.save()
                    raise Interrupted(f"stopped after step {self.step} of {self.steps}")
        self._check_weights()
        if self._best is not None:
            self.session.assign(self._best)
        store.write_rows(self.run.folder / "history.csv", HISTORY, self.history)
        whole.write_with(self.run.weights, self.session.network.save_weights)

    def _done(self) -> bool:
        return self.watch.stopped or self.step >= self.steps

    def _rate(self, step: int) -> float:
        return learning_rate(self.training, self.watch.rate, step, self.steps)

    def _one_step(self) -> None:
        epoch, index = divmod(self.step, len(self.batches))
        images, labels = self._ahead.batch(epoch, index)
        began = time.perf_counter()
        loss, counts = self.session.step(images, labels, self._rate(self.step))
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} in step {self.step + 1}, cases {', '.join(map(str, self.batches.ids(index)))}"
            )
        self._sums += [loss, time.perf_counter() - began, *counts.ravel()]
        self.step += 1

    def _end_epoch(self) -> dict[str, Any]:
        """Close the epoch: validate, one row of history, a checkpoint if the last one is old."""
        epoch, rest = divmod(self.step - 1, len(self.batches))
        loss, seconds, *counts = self._sums
        rate = self._rate(self.step - 1)
        row = [epoch + 1, self.step, float(loss) / (rest + 1), *overlap(np.reshape(counts, (-1, 3)))]
        row += [*self._validated(epoch), rate, round(float(seconds), 3)]
        self.history.append(row)
        named: dict[str, Any] = dict(zip(HISTORY, row, strict=True))
        if self.validate:
            better = self.watch.update(self.training, named)
            if better and self.training["selection"] == "best_validation":
                self._best = self.session.weights()
        self._sums = np.zeros_like(self._sums)
        if time.monotonic() - self._saved >= self.training["checkpoint_seconds"] and not self._done():
            self.save()
        return named

    def _validated(self, epoch: int) -> list[Any]:
        """Return loss, Jaccard and DSC of the validation cases, None each where there are none."""
        if self.validate is None:
            return [None, None, None]
        loss, counts = self.validate(epoch)
        if not math.isfinite(loss):
            raise Diverged(f"the validation loss is {loss} after epoch {epoch + 1}")
        return [loss, *overlap(counts)]

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            Diverged: If a weight is not finite: such a state is never kept.
        """
        self._check_weights()
        state = {
            "step": self.step,
            "history": self.history,
            "sums": self._sums.tolist(),
            "watch": self.watch.state(),
            "run": self.run.id,
            "versions": hardware.versions(),
        }
        files: dict[str, Callable[[Path], Any]] = {_VARIABLES: self.session.save}
        if self._best is not None:
            best = self._best
            files[_BEST] = lambda path: np.savez(path, *best)
        checkpoint.save(self._checkpoints, self.step, state, files)
        self._saved = time.monotonic()

    def _check_weights(self) -> None:
        for weight in self.session.network.weights:
            if not np.isfinite(ops.convert_to_numpy(weight)).all():
                raise Diverged(f"the weight {weight.path} is not finite after step {self.step}")

    @property
    def _checkpoints(self) -> Path:
        return self.run.folder / "checkpoint"


class Ahead:
    """Makes the next batches of an epoch while a step is computed; a batch depends on nothing but its place.

    Args:
        batches: Gives batch ``i`` of epoch ``.epoch``.
        loaders: Threads.
    """

    def __init__(self, batches: Any, loaders: int) -> None:
        self._batches, self._loaders = batches, loaders
        self._made: deque[Future[Any]] = deque()
        self._next = (-1, -1)  # the place of the first that is being made

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(self._loaders)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._made.clear()

    def batch(self, epoch: int, index: int) -> Any:
        """Return a batch; those of one epoch are asked for in order."""
        if (epoch, index) != self._next:
            wait(self._made)  # the epoch is theirs until they are done
            self._made.clear()
            self._batches.epoch = epoch
        first = index + len(self._made)
        for place in range(first, min(index + self._loaders + 1, len(self._batches))):
            self._made.append(self._pool.submit(self._batches.__getitem__, place))
        self._next = (epoch, index + 1)
        return self._made.popleft().result()


def overlap(counts: np.ndarray) -> tuple[float, float]:
    """Return Jaccard and DSC, means over the foreground classes, of pooled counts TP, FP, FN, (K - 1, 3)."""
    tp, fp, fn = counts.T
    return _mean_share(tp, tp + fp + fn), _mean_share(2 * tp, 2 * tp + fp + fn)


def _mean_share(part: np.ndarray, total: np.ndarray) -> float:
    """Return the mean of part / total, 0 where there is nothing."""
    return float(np.mean(np.divide(part, total, out=np.zeros(len(part)), where=total > 0)))
