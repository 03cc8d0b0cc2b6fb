"""What follows from validation: the learning rate, the best epoch, the end of a run. Plain numbers, no backend."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


def learning_rate(training: Mapping[str, Any], rate: float, step: int, steps: int) -> float:
    """Return the learning rate of one step, from 0; ``cosine`` falls to 0.

    Source: Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, one period.

    Args:
        training: Values of the section `training`.
        rate: The rate that `Watch` has come to.
        step: Steps done.
        steps: Steps of the run.
    """
    if training["schedule"] == "cosine":
        rate = rate * (1 + math.cos(math.pi * step / steps)) / 2
    return rate / (1 + training["optimiser"]["decay"] * step)


@dataclass
class Watch:
    """Looks at one validation value per epoch, as Keras' ReduceLROnPlateau, EarlyStopping and ModelCheckpoint do.

    Attributes:
        rate: The learning rate, before cosine and decay.
        stopped: Whether the run should end.
    """

    rate: float
    stopped: bool = False
    _best: float = math.inf
    _reference: float = math.inf  # of early stopping, whose min_delta may differ
    _waited: int = 0
    _plateau: float = math.inf
    _level: int = 0  # epochs without a better value since the last fall
    _cooling: int = 0

    def update(self, training: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
        """Take the values of an epoch; return whether it is the best so far.

        Args:
            training: Values of the section `training`.
            row: Holds the value that ``monitor`` names.
        """
        value = row[training["monitor"]] * (1 if training["monitor"] == "val_loss" else -1)
        better = value < self._best
        if better:
            self._best = value
        if training["schedule"] == "plateau":
            self._fall(training["plateau"], value)
        if training["stop_early"]:
            self._stop(training["stop_early"], value)
        return better

    def _fall(self, plateau: Mapping[str, Any], value: float) -> None:
        if self._cooling:
            self._cooling -= 1
            self._level = 0
        if value < self._plateau - plateau["min_delta"]:
            self._plateau, self._level = value, 0
        elif not self._cooling:
            self._level += 1
            if self._level >= plateau["patience"] and self.rate > plateau["least_rate"]:
                self.rate = max(self.rate * plateau["factor"], plateau["least_rate"])
                self._cooling, self._level = plateau["cooldown"], 0

    def _stop(self, early: Mapping[str, Any], value: float) -> None:
        if value < self._reference - early["min_delta"]:
            self._reference, self._waited = value, 0
        else:
            self._waited += 1
            self.stopped = self._waited >= early["patience"]

    def state(self) -> dict[str, Any]:
        """Return plain data for a checkpoint; infinity as None, which JSON has not."""
        return {name: None if value == math.inf else value for name, value in asdict(self).items()}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Watch":
        """Return the watch that ``state`` described."""
        values: dict[str, Any] = {name: math.inf if value is None else value for name, value in state.items()}
        return cls(**values)
