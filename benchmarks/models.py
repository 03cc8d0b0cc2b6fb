"""What a training step of each network costs, and of ours against MIScnn's own architecture.

Networks: a process each, at the size of its paper or at the largest that two cores bear (`NETWORKS` says which), all
threads; memory is the high-water mark of that process, libraries included. ``KERAS_BACKEND=jax`` measures JAX, and
``--peak`` prints the share of a device's rate that a network reaches.

MIScnn, which needs TensorFlow: the same network built by both, with equal weights, in one process with one thread;
steps in turn, and the median of the ratios of neighbours. In 2D at the size of its paper, in 3D at two fifths of it
along each axis, and there without XLA.
"""

import argparse
import importlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

from process import ONE_THREAD, answered, measured
from record import Figure, arguments, finish

from rareseg.experiments import hardware

NETWORKS = [  # preset, batch, input shape; what the papers have where that is more
    ("unet_all", 16, (192, 256, 3)),
    ("focusnet", 4, (192, 256, 3)),  # 16
    ("focusnet_2019", 4, (192, 256, 3)),  # 16
    ("attention_unet", 16, (192, 256, 3)),
    ("unet_miscnn", 2, (288, 384, 3)),
    ("unet_ufl", 2, (288, 384, 3)),
    ("unet_miscnn", 1, (80, 160, 160, 1)),  # 2
    ("unet_ufl", 1, (80, 160, 160, 1)),  # 2
    ("unet_demo", 8, (64, 64, 3)),
    ("focusnet_demo", 8, (64, 64, 3)),
]
QUICK = [("unet_demo", 8, (64, 64, 3))]
STEPS = 3
MODES = {  # of the comparison: dtype policy, XLA
    "float32": ("float32", False),
    "float32 with XLA": ("float32", True),
    "mixed_bfloat16": ("mixed_bfloat16", False),
    "mixed_bfloat16 with XLA": ("mixed_bfloat16", True),
}
RATIO = 1.03
PAIRED = [(2, (288, 384, 3)), (2, (32, 64, 64, 1))]  # batch, input shape
QUICK_PAIRED = [(2, (96, 128, 3))]
PAIRS, QUICK_PAIRS = 25, 5
HOW = (
    f"a process per network: one step to compile, median of {STEPS} more, random images, Adam, cross entropy, all "
    "threads; memory: high-water mark of the process. Against MIScnn's `standard`: a process with one thread per mode, "
    f"CPU time, median of the ratios of {PAIRS} neighbouring steps ({QUICK_PAIRS} if quick)"
)


def main() -> int:
    """Measure in child processes, print and record."""
    parser = arguments(__doc__)
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device; prints the share that each network reaches")
    options = parser.parse_args()
    if answered(options, lambda call: {"network": _network, "pairs": _pairs}[call[0]](**call[1])):
        return 0
    backend = hardware.backend()
    stock = _against_miscnn(options) if backend == "tensorflow" else ()
    return finish("models", HOW, chain(stock, _networks(options)), options, backend)


def _networks(options: argparse.Namespace) -> Iterator[Figure]:
    for name, batch, shape in QUICK if options.quick else NETWORKS:
        about = f"{name}, {' x '.join(map(str, (batch, *shape)))}"
        found = measured(__file__, ["network", {"name": name, "batch": batch, "shape": shape}], {})
        yield Figure(f"{about}, seconds per step", found["wall"])
        yield Figure(f"{about}, CPU seconds per step", found["cpu"])
        yield Figure(f"{about}, seconds of the first step", found["first"])
        yield Figure(f"{about}, GiB at most", found["gibibytes"])
        if options.peak:
            yield Figure(f"{about}, per cent of the peak rate", found["tera"] / found["wall"] / options.peak * 100)


def _against_miscnn(options: argparse.Namespace) -> Iterator[Figure]:
    shapes, pairs = (QUICK_PAIRED, QUICK_PAIRS) if options.quick else (PAIRED, PAIRS)
    for batch, shape in shapes:
        for mode, (policy, xla) in list(MODES.items())[: 1 if options.quick else None]:
            if xla and len(shape) == 4:
                continue
            job = {"policy": policy, "xla": xla, "batch": batch, "shape": shape, "pairs": pairs}
            found = measured(__file__, ["pairs", job], ONE_THREAD)
            about = f"{' x '.join(map(str, (batch, *shape)))}, {mode}"
            yield Figure(f"unet_miscnn against MIScnn, {about}", found["ratio"], RATIO)
            yield Figure(f"unet_miscnn, {about}, CPU milliseconds per step", found["ours"] * 1000)


def _network(name: str, batch: int, shape: list[int]) -> dict[str, float]:
    """Return seconds per step, memory, and tera-operations per step of a network."""
    import keras

    from rareseg import models

    model = models.build({"name": name, "output": "logits"}, tuple(shape), 2)
    step = _trainer(model, batch, shape, from_logits=True, xla=keras.backend.backend() != "tensorflow")
    first, *later = [_clocked(step) for _ in range(1 + STEPS)]
    wall, cpu = (sorted(values)[STEPS // 2] for values in zip(*later, strict=True))
    return {
        "wall": wall,
        "cpu": cpu,
        "first": first[0],
        "gibibytes": hardware.peak_memory() / 2**10,
        "tera": _operations(model) * batch / 1e12,
    }


def _pairs(policy: str, xla: bool, batch: int, shape: list[int], pairs: int) -> dict[str, float]:
    """Return the median ratio of our step to MIScnn's, and the median of ours in seconds of CPU time."""
    import keras

    from rareseg import models

    importlib.import_module("rareseg.pipeline.miscnn")  # first: it makes MIScnn run on today's Keras
    standard = importlib.import_module("miscnn.neural_network.architecture.unet.standard")
    keras.config.set_dtype_policy(policy)
    architecture = standard.Architecture()
    create = {3: architecture.create_model_2D, 4: architecture.create_model_3D}[len(shape)]
    theirs = create(tuple(shape), n_labels=2)
    ours = models.build("unet_miscnn", tuple(shape), 2)
    theirs.set_weights(ours.get_weights())
    steps = [_trainer(model, batch, shape, False, xla) for model in (ours, theirs)]
    seconds: list[list[float]] = []
    for turn in range(2 + pairs):
        order = (0, 1) if turn % 2 else (1, 0)
        spent = {index: _clocked(steps[index])[1] for index in order}
        if turn > 1:  # the first two compile and warm up
            seconds.append([spent[0], spent[1]])
    ratios = sorted(own / other for own, other in seconds)
    return {"ratio": ratios[pairs // 2], "ours": sorted(own for own, _ in seconds)[pairs // 2]}


def _trainer(model: Any, batch: int, shape: Sequence[int], from_logits: bool, xla: bool) -> Callable[[], Any]:
    """Return a function that takes one step."""
    import keras
    import numpy as np

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits)
    model.compile(keras.optimizers.Adam(), loss=[loss] * len(model.outputs), jit_compile=xla)
    generator = np.random.default_rng(0)
    images = generator.normal(size=(batch, *shape)).astype("float32")
    labels = [generator.integers(0, 2, (batch, *output.shape[1:-1])).astype("int32") for output in model.outputs]
    return lambda: model.train_on_batch(images, labels)


def _clocked(step: Callable[[], Any]) -> tuple[float, float]:
    """Return seconds of wall clock and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu


def _operations(model: Any) -> int:
    """Return the operations of a training step per sample: 6 for each multiply-accumulate of a convolution."""
    found = 0
    for layer in model.layers:
        if hasattr(layer, "kernel_size"):
            transposed = "Transpose" in type(layer).__name__
            positions = (layer.input if transposed else layer.output).shape[1:-1]
            found += 6 * math.prod(positions) * math.prod(layer.kernel.shape)
    return found


if __name__ == "__main__":
    sys.exit(main())
