"""Cases in, batches out; a network in, label maps out.

One way through: ``prepare`` turns a case of ``rareseg.datasets`` into arrays ready for a network (``preprocess``,
kept by ``cache``), ``draw_patches`` cuts such cases into samples (``patches``), ``Batches`` hands them to Keras in a
seeded order (``batches``), ``predict`` brings the network's answer back to the case's own grid (``prediction``). What
can be set stands in ``settings``. The bridge to MIScnn is ``rareseg.pipeline.miscnn``, loaded on request only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rareseg.pipeline.patches import Patch, draw_patches
from rareseg.pipeline.prediction import predict, predict_many, write_prediction
from rareseg.pipeline.preprocess import Prepared, prepare, prepare_all
from rareseg.pipeline.settings import Settings

if TYPE_CHECKING:
    from rareseg.pipeline.batches import Batches

__all__ = [
    "Batches",
    "Patch",
    "Prepared",
    "Settings",
    "draw_patches",
    "predict",
    "predict_many",
    "prepare",
    "prepare_all",
    "write_prediction",
]


def __getattr__(name: str) -> Any:
    """Load ``Batches``, which needs Keras, when it is asked for: the command line must start without a backend."""
    if name == "Batches":
        return import_module("rareseg.pipeline.batches").Batches
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
