"""TensorBoard event files, by TensorBoard's own record writer.

Keras' callback would import TensorFlow under any backend.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

SCALARS = ("loss", "jaccard", "dsc", "val_loss", "val_jaccard", "val_dsc", "learning_rate")


class EventFile:
    """Appends the scalars of an epoch to one event file per start of a run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._stream = (folder / f"events.out.tfevents.{time.time_ns()}").open("wb")
        self._writer = RecordWriter(self._stream)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row of history."""
        values = [Summary.Value(tag=name, simple_value=row[name]) for name in SCALARS if row[name] is not None]
        self._write(Event(wall_time=time.time(), step=row["step"], summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
