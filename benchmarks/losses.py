"""What a loss costs, forward and backward, as a ratio to Keras' cross entropy from logits.

Time: CPU time of one thread, all losses and the cross entropy in one process, interleaved, medians. Memory: high-water
mark of a process per loss, less the mark before its first step. On a GPU, where JAX has one: wall time as a multiple
of the time in which the GPU moves what a step cannot do without. ``--foreign FILE`` runs other losses beside ours: the
file holds ``LOSSES``, a mapping of names to functions (one-hot labels, probabilities) -> loss.
"""

import argparse
import importlib.util
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from process import ONE_THREAD, answered, measured
from record import Figure, arguments, finish

from rareseg.experiments.hardware import forget_peak, peak_memory

SHAPES = {"2D": (4, 288, 384, 2), "2D, batch 16": (16, 288, 384, 2), "3D": (2, 80, 160, 160, 3)}
PROMISED = ("dice", "focal", "combo", "unified_focal", "adaptive_log")
MODES = {  # what may be asked for at most, with two classes and with three
    "tensorflow graph": (1.1, 1.1),
    "tensorflow XLA": (1.4, 1.7),
    "jax": (1.2, 1.2),
}
MEMORY = (1.0, 2.0)
PROCESSES = 5  # for memory: some hold a dozen MiB more, by chance
KEPT = {  # freed planes stay with the process: getting new ones takes up to half of the time, more or less by chance
    "MALLOC_MMAP_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**29),
}
FETCHED = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # every plane from the system and back to it, so that the mark shows it
GPU_SHAPES = {"2D": (256, 288, 384, 2), "3D": (8, 160, 160, 160, 3)}  # large, so that starting kernels costs nothing
GPU_FLOOR = 1 / 0.6
IMPORT_SECONDS = 0.2
ROUNDS, QUICK_ROUNDS = 25, 7
HOW = (
    f"forward and backward, one thread, CPU time, medians of {ROUNDS} interleaved rounds ({QUICK_ROUNDS} if quick), "
    "freed memory kept by the process; "
    "ratio to keras.losses.SparseCategoricalCrossentropy(from_logits=True) in the same process; "
    "memory: high-water mark of a process per loss, less the mark before its first step, compiled before, "
    f"lowest of {PROCESSES}; "
    "GPU: wall time over that of reading logits and labels twice and writing the gradient once, as fast as it copies"
)


def main() -> int:
    """Measure in child processes, print and record."""
    parser = arguments(__doc__)
    parser.add_argument("--foreign", type=Path, help="Python file with other losses")
    options = parser.parse_args()
    if answered(options, _measure):
        return 0
    rest = () if options.quick else (_memory(), _on_gpu())
    return finish("losses", HOW, chain(_import(), _times(options), *rest), options)


def _import() -> Iterator[Figure]:
    """Yield how many seconds ``import rareseg.losses`` takes longer than ``import keras``, the median of processes."""
    code = "import time, keras; start = time.perf_counter(); import rareseg.losses; print(time.perf_counter() - start)"
    for backend in sorted({mode.split()[0] for mode in MODES}):
        if importlib.util.find_spec(backend) is None:
            continue
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", code]
        outputs = [subprocess.check_output(command, env=environment, text=True) for _ in range(3)]
        yield Figure(f"import on {backend}, seconds more than keras", sorted(map(float, outputs))[1], IMPORT_SECONDS)


def _times(options: argparse.Namespace) -> Iterator[Figure]:
    shapes = {"2D": SHAPES["2D"]} if options.quick else SHAPES
    foreign = str(options.foreign.resolve()) if options.foreign else None
    for mode, bounds in MODES.items():
        for about, shape in shapes.items():
            job = {"mode": mode, "shape": shape, "foreign": foreign, "quick": options.quick}
            for name, ratio in (_child(job) or {}).items():
                target = bounds[shape[-1] > 2] if name in PROMISED else None
                yield Figure(f"{mode}, {about}, {name}", ratio, target)


def _memory() -> Iterator[Figure]:
    for shape in (SHAPES["2D, batch 16"], SHAPES["3D"]):
        base = _lowest("cross entropy of Keras", shape)
        for name in PROMISED if base else ():
            about = f"memory on jax, {' x '.join(map(str, shape))}, {name}"
            yield Figure(about, _lowest(name, shape) / base, MEMORY[shape[-1] > 2])


def _lowest(name: str, shape: Sequence[int]) -> float:
    """Return the MiB that steps of a loss add on JAX; 0 where that is not installed."""
    found = [_child({"mode": "jax", "shape": shape, "memory": name}) for _ in range(PROCESSES)]
    return min((one["mebibytes"] for one in found if one), default=0.0)


def _on_gpu() -> Iterator[Figure]:
    for about, shape in GPU_SHAPES.items():
        for name, ratio in (_child({"mode": "jax", "shape": shape, "gpu": True}) or {}).items():
            yield Figure(f"GPU, {about}, {name}", ratio, GPU_FLOOR if name in PROMISED else None)


def _child(job: dict[str, Any]) -> dict[str, float] | None:
    """Return what a process of its own measures; None where its backend is not installed."""
    backend = job["mode"].split()[0]
    if importlib.util.find_spec(backend) is None:
        print(f"{backend} is not installed: not measured")
        return None
    environment = {**ONE_THREAD, **(FETCHED if "memory" in job else KEPT), "KERAS_BACKEND": backend}
    if "gpu" not in job:
        environment["JAX_PLATFORMS"] = "cpu"
    return measured(__file__, job, environment)


def _measure(job: dict[str, Any]) -> dict[str, float]:
    """Return what a child process was asked for."""
    if "gpu" in job:
        return _over_floor(tuple(job["shape"]))
    label, logits = _draw(tuple(job["shape"]))
    if "memory" in job:
        step = _step(job["mode"], _losses(label)[job["memory"]][0], label, logits)
        forget_peak()
        before = peak_memory()
        for _ in range(2):
            step()
        return {"mebibytes": peak_memory() - before}
    chosen = _losses(label, PROMISED if job["quick"] else None, job["foreign"])
    steps = {name: _step(job["mode"], loss, truth, logits) for name, (loss, truth) in chosen.items()}
    return _ratios(steps, QUICK_ROUNDS if job["quick"] else ROUNDS)


def _ratios(steps: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the CPU time of each step over that of the cross entropy, medians of interleaved rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(2 + rounds):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if turn > 1:  # the first two compile and warm up
                seconds[name].append(time.process_time() - start)
    medians = {name: sorted(values)[len(values) // 2] for name, values in seconds.items()}
    base = medians.pop("cross entropy of Keras")
    return {name: value / base for name, value in medians.items()}


def _over_floor(shape: tuple[int, ...]) -> dict[str, float]:
    """Return the wall time of each loss on a GPU over that of moving its data; nothing where there is no GPU."""
    import jax

    if jax.default_backend() != "gpu":
        return {}
    label, logits = _draw(shape)
    block = jax.numpy.zeros(2**28, "float32")
    copy = jax.jit(lambda block: block + 1)
    speed = 2 * block.nbytes / _wall(lambda: jax.block_until_ready(copy(block)))
    floor = (2 * label.nbytes + 3 * logits.nbytes) / speed
    losses = _losses(label, PROMISED).items()
    return {name: _wall(_step("jax", loss, truth, logits)) / floor for name, (loss, truth) in losses}


def _wall(step: Callable[[], Any]) -> float:
    """Return the median wall time of a step, seconds."""
    seconds = []
    for _ in range(2 + ROUNDS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds[2:])[ROUNDS // 2]


def _draw(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return labels, a tenth of them foreground, and logits."""
    import numpy as np

    rng = np.random.default_rng(0)
    foreground = rng.random(shape[:-1]) < 0.1
    label = foreground * rng.integers(1, shape[-1], shape[:-1])
    return label.astype("int32"), rng.normal(0, 2, shape).astype("float32")


def _losses(
    label: Any, names: Sequence[str] | None = None, foreign: str | None = None
) -> dict[str, tuple[Callable[..., Any], Any]]:
    """Return by name Keras' cross entropy, ours (None: all) and others, each with labels in the form that it takes."""
    import keras
    import numpy as np

    from rareseg import losses

    classes = int(label.max()) + 1
    found = {"cross entropy of Keras": (keras.losses.SparseCategoricalCrossentropy(from_logits=True), label)}
    for name in names or losses.names():
        truth = losses.signed_distance(label, classes) if name == "boundary" else label
        found[name] = (losses.get(name, from_logits=True), truth)
    if foreign:
        one_hot = np.eye(classes, dtype="float32")[label]
        for name, loss in runpy.run_path(foreign)["LOSSES"].items():
            found[f"{name} of {Path(foreign).name}"] = (
                lambda y, z, loss=loss: keras.ops.mean(loss(y, keras.ops.softmax(z))),
                one_hot,
            )
    return found


def _step(mode: str, loss: Callable[..., Any], label: Any, logits: Any) -> Callable[[], Any]:
    """Return a function that computes value and gradient, and waits for them."""
    if mode == "jax":
        import jax

        inputs = jax.numpy.asarray(label), jax.numpy.asarray(logits)
        compiled = jax.jit(jax.value_and_grad(loss, argnums=1)).lower(*inputs).compile()
        return lambda: jax.block_until_ready(compiled(*inputs))
    import tensorflow as tf

    inputs = tf.constant(label), tf.constant(logits)

    @tf.function(jit_compile=mode.endswith("XLA"), autograph=False)
    def compiled(y_true: Any, y_pred: Any) -> Any:
        value = loss(y_true, y_pred)
        return value, tf.gradients(value, y_pred)[0]

    def step() -> float:
        return float(compiled(*inputs)[0])

    return step


if __name__ == "__main__":
    sys.exit(main())
